"""`comptrust gate`: judge a candidate against its dense baseline under a policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from comptrust.cli.options import TEXT, end, json_option, policy_option, without_collecting
from comptrust.errors import Exit, UserError
from comptrust.text_tables import table

if TYPE_CHECKING:
    from comptrust.gate.policy import Policy
    from comptrust.workflow.signatures import Judgment

WIDTHS = (18, 7, 11)
"""Columns of a plan: dimension, prompts, independent prompts."""


@click.command("gate")
@click.argument("candidate", required=False)
@click.option(
    "--baseline",
    type=TEXT,
    help="The dense model's evaluation  [default: the logged one of the same suite].",
)
@policy_option
@click.option(
    "--waivers",
    type=click.Path(path_type=Path),
    help="File of signed waivers, beside those logged on the run.",
)
@click.option(
    "--plan",
    is_flag=True,
    help="Judge nothing: show how many prompts per dimension give 80% power.",
)
@click.option("--suite", type=TEXT, help="With --plan: mini or decodingtrust:DIR  [default: mini].")
@json_option
def command(
    candidate: str | None,
    baseline: str | None,
    policy: str | None,
    waivers: Path | None,
    plan: bool,
    suite: str | None,
    as_json: bool,
) -> None:
    """Judge a candidate against its dense source under a policy.

    CANDIDATE is models:/NAME/VERSION, runs:/ID or a scorecard file.

    Exit 0 if the verdict passes, 1 if it blocks, 3 if it is inconclusive.

    \b
    Example:
      comptrust gate models:/smollm2-135m-instruct/2
    """
    if plan and (candidate or baseline or waivers):
        raise UserError(
            "gate --plan judges nothing. Give --policy and --suite, no candidate, no --baseline"
            " and no --waivers."
        )
    if suite and not plan:
        raise UserError(
            "gate judges on the suite that the candidate answered; --suite belongs to --plan."
        )
    if not plan and not candidate:
        raise UserError(
            "gate needs a candidate: models:/NAME/VERSION, runs:/ID or a scorecard file. To plan a"
            " suite: gate --plan."
        )
    from comptrust.gate import policy as policies

    rules = policies.load(policy or policies.DEFAULT)
    if candidate is None:
        click.echo(_plan(rules, suite=suite or "mini", as_json=as_json))
        return
    from comptrust.workflow.signatures import judge_again

    without_collecting()
    judgment = judge_again(candidate, baseline=baseline, policy=rules, waivers_file=waivers)
    click.echo(_judged(judgment, as_json=as_json))
    end(Exit.of(judgment.verdict.outcome))


def _judged(judgment: Judgment, *, as_json: bool) -> str:
    from comptrust.cli import summary

    verdict, baseline = judgment.verdict, judgment.baseline
    if as_json:
        fields = {"outcome": verdict.outcome} | verdict.model_dump(mode="json")
        return json.dumps(fields | {"signed": judgment.signature.brief()}, indent=2)
    scores = (
        summary.scores(judgment.candidate.scorecard, baseline.scorecard)
        if baseline
        else ["There is no dense baseline."]
    )
    signed = f"signed:  {judgment.signature.line}"
    return "\n".join([*scores, "", *summary.of_verdict(verdict), signed])


def _plan(policy: Policy, *, suite: str, as_json: bool) -> str:
    """Return what each dimension of a suite has and needs for the policy's margins."""
    from comptrust.gate import planning
    from comptrust.trust import suite as suites

    plan = planning.plan(suites.load(suite), policy)
    if as_json:
        fields = {"policy": policy.name, "suite": suite} | plan.model_dump(mode="json")
        return json.dumps(fields, indent=2)
    lines = [f"Policy {policy.name}, suite {suite}"]
    for margin in dict.fromkeys((row.points, row.applies_to) for row in plan.rows):
        rows = [row for row in plan.rows if (row.points, row.applies_to) == margin]
        points, applies_to = margin
        cells = [
            (row.dimension, str(row.prompts), str(row.clusters), " yes" if row.enough else " no")
            for row in rows
        ]
        header = ("dimension", "prompts", "independent", " decides")
        lines += [
            "",
            f"{points:g} points ({applies_to}): {rows[0].needed} independent prompts needed",
            *(f"  {line}" for line in table([header, *cells], align="<>>", widths=WIDTHS, gap=" ")),
        ]
    lines += [
        "",
        f"needed: a lossless model passes with {100 * plan.power:g}% power if"
        f" {100 * plan.changed:g}% of its answers change, equally often in each direction.",
    ]
    return "\n".join(lines)
