"""`comptrust compare`: the paired table of any two evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comptrust.cli import complete
from comptrust.cli.ci_files import ci_options
from comptrust.cli.options import end, json_option, print_result, without_collecting
from comptrust.errors import Exit
from comptrust.text_tables import number, table

if TYPE_CHECKING:
    from comptrust.api import Comparison
    from comptrust.trust.evaluation import Evaluation


@click.command("compare")
@click.argument("a", shell_complete=complete.versions)
@click.argument("b", shell_complete=complete.versions)
@click.option(
    "--policy",
    shell_complete=complete.names("policies", files=True),
    help="Also judge B against A under this policy, without recording anything  [default: no].",
)
@click.option(
    "--every-eval-ever",
    "shared",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Also write both, with their answers, in the schemas of Every Eval Ever, as FOLDER/a and"
    " FOLDER/b  [default: none].",
)
@ci_options
@json_option
def command(
    a: str, b: str, policy: str | None, shared: Path | None, as_json: bool, **files: Any
) -> None:
    """Compare two evaluations prompt by prompt: A is the reference, B what changed.

    A and B are models:/NAME/VERSION, runs:/ID or a scorecard file. "lost" is in points, "at most"
    its 95% bound. McNemar's p is of as many answers turning wrong as turning right.

    With --policy, exit 0 if the verdict passes, 1 if it blocks, 3 if it is inconclusive.

    \b
    Example:
      comptrust compare models:/smollm2-135m-instruct/1 models:/smollm2-135m-instruct/2
    """
    from comptrust import api
    from comptrust.cli import ci_files, verdicts
    from comptrust.imports.formats import every_eval_ever
    from comptrust.tracking import evaluations

    without_collecting()
    reference, changed = evaluations.load(a), evaluations.load(b)
    compared = api.compare(changed, reference)
    verdict = api.judge(changed, reference, policy=policy) if policy else None
    lines = _lines(compared, reference, changed)
    if verdict:
        lines += ["", *verdicts.findings(verdict)]
    rows = {name: drop and drop.model_dump(mode="json") for name, drop in compared.drops.items()}
    fields = {"dimensions": rows, "verdict": verdict and verdict.model_dump(mode="json")}
    if verdict:
        ci_files.write(verdict, changed, reference, **files)
    for name, evaluation in (("a", reference), ("b", changed)) if shared else ():
        every_eval_ever.write(evaluation, Path(shared or "") / name)
    print_result("\n".join(lines), fields, as_json=as_json)
    if verdict:
        end(Exit.of(verdict.outcome))


def _lines(compared: Comparison, reference: Evaluation, changed: Evaluation) -> list[str]:
    rows = [("dimension", "A", "B", "lost", "at most", "flips", "prompts", "McNemar p")]
    for name, drop in compared.drops.items():
        values = [card.score(name) for card in (reference.scorecard, changed.scorecard)]
        before, after = (number(score.value if score else None) for score in values)
        if drop is None:
            rows.append((name, before, after, "-", "-", "-", "-", "-"))
            continue
        rows.append(
            (
                name,
                before,
                after,
                f"{drop.observed:+.1f}",
                number(drop.upper),
                str(drop.n_flips),
                str(drop.n_prompts),
                number(drop.mcnemar, digits=3),
            )
        )
    return table(rows, align="<>>>>>>>")
