"""`comptrust control`: plant known damage in a dense model and say whether the gate notices it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from comptrust.cli import complete
from comptrust.cli.options import (
    json_option,
    policy_option,
    print_result,
    say,
    text_option,
    without_collecting,
)
from comptrust.text_tables import number, table

if TYPE_CHECKING:
    from comptrust.trust.control import Control


@click.command("control")
@click.argument("target", shell_complete=complete.models)
@text_option(
    "--suite",
    shell_complete=complete.names("suites"),
    help="The suite: mini or decodingtrust:DIR  [default: the one that TARGET answered, or mini].",
)
@policy_option
@click.option(
    "--answers-only",
    is_flag=True,
    help="Plant damage in the stored answers alone: seconds, but no noise floor.",
)
@json_option
def command(
    target: str, suite: str | None, policy: str | None, answers_only: bool, as_json: bool
) -> None:
    """Plant known damage in a dense model and say for each dimension whether the gate notices it.

    TARGET is the evaluation of a dense model (models:/NAME/VERSION, runs:/ID or a scorecard file
    with its answers), or a model, which is evaluated first. Noticed means not passed. The result is
    kept with the evaluation, as control.json.

    With the model itself, copies of it with 0.1% weight noise give the noise floor, and a copy with
    2-bit weights is judged. That takes about as long as three evaluations.

    \b
    Example:
      comptrust control models:/smollm2-135m-instruct/1
    """
    from comptrust.gate import policy as policies
    from comptrust.tracking import evaluations
    from comptrust.trust import suite as suites
    from comptrust.workflow import controls, targets

    without_collecting()
    named = policies.load(policy) if policy else None
    path = Path(target)
    stored = target.startswith(evaluations.REMOTE) or path.is_file()
    if stored or (path / "scorecard.json").is_file():
        dense = evaluations.load(target)
        model = None if answers_only else controls.model_of(dense)
    else:
        from comptrust import api
        from comptrust.models.engines import EngineOptions

        options = EngineOptions(engine="hf")
        dense = api.evaluate(target, suite=suite or "mini", engine="hf", progress=True)
        found = targets.target(target, options)
        assert found.path is not None
        model = None if answers_only else controls.Model(found.path, found.template)
    asked_suite = dense.suite.name if dense.suite else ""
    rules = named or policies.load(policies.default(asked_suite))
    dense = controls.from_answers(dense, rules)
    if model is None and not answers_only:
        say(f"noise floor: not measured; the files of the model behind {target} are not here")
    if model and dense.suite:
        asked = suites.answered(dense, suite or dense.suite.name)
        dense = controls.with_model(dense, rules, model=model, suite=asked, say=say)
    assert dense.control is not None
    print_result(
        "\n".join(_lines(dense.control, ref=dense.ref)),
        {"evaluation": dense.ref} | dense.control.model_dump(mode="json"),
        as_json=as_json,
    )


def _lines(control: Control, *, ref: str) -> list[str]:
    margins = sorted({row.points for row in control.planted})
    kinds = [f"{ruined.kind} ({ruined.policy})" for ruined in control.ruined]
    header = ("dimension", *(f"drop of {points + control.beyond:g}" for points in margins))
    rows = [(*header, *kinds, "noise floor")]
    reasons = []
    for name in dict.fromkeys(row.dimension for row in control.planted):
        planted = [control.flips(name, points) for points in margins]
        reasons += [f"{name}: {row.why}." for row in planted if row and row.why]
        rows.append(
            (
                name,
                *(f"{row.noticed:.0%}" if row else "-" for row in planted),
                *(
                    ", ".join(ruined.noticed_by[name]) or "not noticed"
                    if name in ruined.noticed_by
                    else "-"
                    for ruined in control.ruined
                ),
                number(control.floors.get(name), missing="not measured"),
            )
        )
    return [
        *table(rows),
        *dict.fromkeys(reasons),
        "",
        f"drop of N: share of {control.seeds} planted drops, N points on average, that max_drop"
        f" does not pass at a margin of N - {control.beyond:g}",
        f"kept with {ref}",
    ]
