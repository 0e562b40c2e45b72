"""`comptrust gate`: judge a candidate against its dense baseline under a policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comptrust.cli import complete
from comptrust.cli.ci_files import ci_options
from comptrust.cli.options import (
    LIMIT,
    end,
    file_option,
    json_option,
    policy_option,
    print_result,
    text_option,
    without_collecting,
)
from comptrust.errors import Exit, UserError
from comptrust.records import Limit
from comptrust.text_tables import table
from comptrust.trust.limit import shown

if TYPE_CHECKING:
    from comptrust.gate.planning import PromptPlan


@click.command("gate")
@click.argument("candidate", required=False, shell_complete=complete.versions)
@text_option(
    "--baseline",
    shell_complete=complete.versions,
    help="The dense model's evaluation  [default: the logged one of the same suite]. With --plan:"
    " plan with its answers.",
)
@policy_option
@file_option(
    "--waivers", help="File of signed waivers, beside those logged on the run  [default: no file]."
)
@click.option(
    "--plan",
    is_flag=True,
    help="Judge nothing: show how many items let a lossless model pass the verdict (80% power).",
)
@click.option(
    "--record",
    is_flag=True,
    help="Keep the verdict with the run and its version, and sign it if there is a key. Without it"
    " nothing is written.",
)
@text_option(
    "--suite",
    shell_complete=complete.names("suites"),
    help="Refuse answers that are not of this suite or a seeded sample of it. With --plan: the"
    " suite to plan  [default: mini].",
)
@click.option(
    "--limit",
    type=LIMIT,
    help="With --plan: items of each dimension, or a share such as 50%  [default: all].",
)
@ci_options
@json_option
def command(
    candidate: str | None,
    baseline: str | None,
    policy: str | None,
    waivers: Path | None,
    plan: bool,
    record: bool,
    suite: str | None,
    limit: Limit | None,
    as_json: bool,
    **files: Any,
) -> None:
    """Judge a candidate against its dense source under a policy.

    CANDIDATE is models:/NAME/VERSION, runs:/ID or a scorecard file. This only asks: with --record
    the verdict is kept, beside those under other policies (comptrust history shows them).

    Exit 0 if the verdict passes, 1 if it blocks, 3 if it is inconclusive.

    \b
    Example:
      comptrust gate models:/smollm2-135m-instruct/2
    """
    if plan and (candidate or waivers or record or any(files.values())):
        raise UserError(
            "gate --plan judges nothing. Give --policy, --suite and --baseline, no candidate, no"
            " --waivers, no --record and no files."
        )
    if record and candidate and not candidate.startswith(("models:/", "runs:/")):
        raise UserError(
            f"gate --record needs models:/NAME/VERSION or runs:/ID; there is no run to record the"
            f" verdict of '{candidate}' on."
        )
    if plan and baseline and limit is not None:
        raise UserError("gate --plan --baseline plans the prompts that it answered, no --limit.")
    if limit is not None and not plan:
        raise UserError(
            "gate judges all answers that the candidate gave; --limit belongs to --plan."
        )
    if not plan and not candidate:
        raise UserError(
            "gate needs a candidate: models:/NAME/VERSION, runs:/ID or a scorecard file. To plan a"
            " suite: gate --plan."
        )
    if candidate is None:
        _print_plan(policy, suite=suite or "mini", limit=limit, baseline=baseline, as_json=as_json)
        return
    from comptrust.cli import ci_files, verdicts
    from comptrust.workflow.signatures import judge_again

    without_collecting()
    judgment = judge_again(
        candidate,
        baseline=baseline,
        policy=policy,
        waivers_file=waivers,
        suite=suite,
        record=record,
    )
    verdict = judgment.verdict
    scores = ["There is no dense baseline."]
    if judgment.baseline:
        scores = verdicts.scores(judgment.candidate.scorecard, judgment.baseline, verdict)
    ci_files.write(verdict, judgment.candidate, judgment.baseline, **files)
    signed = f"signed:  {judgment.signature.line}"
    text = "\n".join([*scores, "", *verdicts.findings(verdict), signed])
    fields = {"outcome": verdict.outcome} | verdict.model_dump(mode="json")
    print_result(text, fields | {"signed": judgment.signature.brief()}, as_json=as_json)
    end(Exit.of(verdict.outcome))


def _print_plan(
    policy: str | None, *, suite: str, limit: Limit | None, baseline: str | None, as_json: bool
) -> None:
    from comptrust.gate import planning
    from comptrust.gate import policy as policies
    from comptrust.tracking import evaluations
    from comptrust.trust import suite as suites

    rules = policies.load(policy or policies.default(suite))
    dense = evaluations.load(baseline) if baseline else None
    asked = suites.answered(dense, suite) if dense else suites.load(suite, limit=limit)
    limit = asked.limit
    taken = evaluations.seconds(baseline, prompts=len(asked.prompts)) if baseline else None
    plan = planning.plan(asked, rules, dense=dense, seconds=taken)
    sampled = "" if limit is None else f", limit {shown(limit)}"
    lines = [f"Policy {rules.name}, suite {suite}{sampled}"]
    for points, applies_to in dict.fromkeys((row.points, row.applies_to) for row in plan.rows):
        rows = [row for row in plan.rows if (row.points, row.applies_to) == (points, applies_to)]
        cells = [
            (
                row.dimension,
                str(row.prompts),
                str(row.clusters),
                f"{row.step:.2f}",
                str(row.needed or "-"),
                f" {row}",
            )
            for row in rows
        ]
        header = ("dimension", "prompts", "items", "points", "needed", " enough")
        aligned = table([header, *cells], align="<>>>>", widths=(18, 7, 6, 7, 7), gap=" ")
        lines += [
            "",
            f"{points:g} points ({applies_to})",
            *(f"  {line}" for line in aligned),
        ]
    lines += [
        "",
        "items: prompts about one item, in whatever scenario, count once. points: the most that one"
        " item can move the score.",
        "needed: items like these with which a lossless model passes the whole verdict with"
        f" {100 * plan.power:g}% power if {100 * plan.changed:g}% of its answers change, equally"
        " often in each direction.",
        *_forecasts(plan),
    ]
    fields = {"policy": rules.name, "suite": suite, "limit": limit} | plan.model_dump(mode="json")
    print_result("\n".join(lines), fields, as_json=as_json)


def _forecasts(plan: PromptPlan) -> list[str]:
    """Return what an evaluation costs that may stop early, as lines."""
    if plan.stopping is None:
        return []
    fixed = plan.prompts_needed
    cells = [
        (
            f"{row.drop:g}",
            f"{row.prompts:.0f}",
            f"{100 * row.prompts / fixed:.0f}%" if fixed else "-",
            _hours(plan.hours(row.items)),
            f"{100 * row.passed:.0f}%",
            f"{100 * row.blocked:.0f}%",
        )
        for row in plan.forecasts
    ]
    header = ("points lost", "prompts", "of fixed", "hours", "passes", "blocked")
    aligned = table([header, *cells], align=">>>>>>", widths=(11, 8, 8, 7, 7, 8), gap=" ")
    late = [row.dimension for row in plan.stopping.stretches if not row.early]
    takes = plan.hours(plan.items_needed)
    speed = (
        f"hours: at the speed of the dense model's run; the fixed plan takes {_hours(takes)}."
        if plan.hours_per_token
        else "hours: name a logged run of the dense model with --baseline, whose speed is known."
    )
    return [
        "",
        f"All dimensions need {fixed or 'no number of'} prompts. With --stop early, if one of them"
        " loses so many points:",
        *(f"  {line}" for line in aligned),
        "passes, blocked: before the caps, of simulated evaluations.",
        speed,
        *_each(plan),
        *([f"Decided at their caps only: {', '.join(late)}."] if late else []),
    ]


def _each(plan: PromptPlan) -> list[str]:
    """Return the items and hours of each dimension, fixed and if nothing is lost, as lines."""
    lossless = plan.forecasts[0].items
    cells = [
        (
            name,
            str(needed or "-"),
            f"{lossless[name]:.0f}",
            _hours(plan.hours({name: needed})),
            _hours(plan.hours({name: lossless[name]})),
        )
        for name, needed in plan.items_needed.items()
    ]
    header = ("dimension", "items", "if early", "hours", "if early")
    aligned = table([header, *cells], align="<>>>>", widths=(18, 7, 8, 7, 8), gap=" ")
    return [
        "",
        "Of each dimension, fixed and early if nothing is lost:",
        *map("  {}".format, aligned),
    ]


def _hours(hours: float | None) -> str:
    """Return hours with two digits, a dash if nobody knows."""
    return "-" if hours is None else f"{hours:.2g}"
