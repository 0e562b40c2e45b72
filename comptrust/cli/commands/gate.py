"""`comptrust gate`: judge a candidate against its dense baseline under a policy."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from comptrust.cli.commands.run import EXIT
from comptrust.cli.options import TEXT, json_option, without_collecting
from comptrust.errors import UserError


@click.command("gate")
@click.argument("candidate", required=False)
@click.option(
    "--baseline",
    type=TEXT,
    help="The dense model's evaluation  [default: the logged one of the same suite].",
)
@click.option("--policy", type=TEXT, help="Name of a shipped policy or path of a YAML file.")
@click.option(
    "--waivers",
    type=click.Path(path_type=Path),
    help="File of signed waivers, beside those logged on the run.",
)
@click.option(
    "--plan",
    is_flag=True,
    help="Judge nothing: say how many prompts per dimension decide at 80% power.",
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
    """Judge CANDIDATE (models:/NAME/VERSION, runs:/ID or a scorecard file); exit 0 pass, 1 block, 3
    inconclusive.

    Example: comptrust gate models:/smollm2-135m-instruct/2
    """
    if plan:
        if candidate or baseline or waivers:
            raise UserError(
                "gate --plan judges nothing. Give --policy and --suite, no candidate, no --baseline"
                " and no --waivers."
            )
        _plan(policy, suite=suite or "mini", as_json=as_json)
        return
    if suite:
        raise UserError(
            "gate judges on the suite that the candidate answered; --suite belongs to --plan."
        )
    if not candidate:
        raise UserError(
            "gate needs a candidate: models:/NAME/VERSION, runs:/ID or a scorecard file. To plan a"
            " suite: gate --plan."
        )
    from comptrust.cli import summary
    from comptrust.gate import policy as policies
    from comptrust.gate.evidence import Evidence
    from comptrust.gate.verdict import judge
    from comptrust.tracking import evaluations, promotion, registry
    from comptrust.workflow import signatures

    without_collecting()
    signer = signatures.Signer.load()
    rules = policies.load(policy or policies.DEFAULT)
    judged = evaluations.load(candidate)
    dense = evaluations.load(baseline) if baseline else evaluations.baseline(judged)
    evidence = Evidence(candidate=judged, baseline=dense, siblings=evaluations.siblings(candidate))
    verdict = judge(
        evidence, rules, waivers=signatures.waivers(candidate, file=waivers), trusted=signer.trusted
    )
    if candidate.startswith(signatures.REMOTE):
        from comptrust.report import figures

        promotion.record_verdict(candidate, verdict)
        figures.log(registry.run_of(candidate))
    signed = signer.sign(verdict, evidence, days=rules.valid_days)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "outcome": verdict.outcome,
                    **verdict.model_dump(mode="json"),
                    "signed": signed.brief(),
                },
                indent=2,
            )
        )
    else:
        table = (
            summary.scores(judged.scorecard, dense.scorecard) + [""]
            if dense
            else ["There is no dense baseline.", ""]
        )
        click.echo("\n".join([*table, *summary.of_verdict(verdict), f"signed:  {signed.line}"]))
    sys.exit(EXIT[verdict.outcome])


def _plan(policy: str | None, *, suite: str, as_json: bool) -> None:
    """Print what each dimension of a suite has and needs for the policy's margins."""
    from comptrust.gate import policy as policies
    from comptrust.gate.planning import plan
    from comptrust.trust import suite as suites

    rules = policies.load(policy or policies.DEFAULT)
    found = plan(suites.load(suite), rules)
    if as_json:
        click.echo(
            json.dumps(
                {"policy": rules.name, "suite": suite, **found.model_dump(mode="json")}, indent=2
            )
        )
        return
    click.echo(f"Policy {rules.name}, suite {suite}")
    margin = None
    for row in found.rows:
        if margin != (margin := (row.points, row.applies_to)):
            click.echo(
                f"\n{row.points:g} points ({row.applies_to}): {row.needed} independent prompts"
                " needed"
            )
            click.echo(f"  {'dimension':<18} {'prompts':>7} {'independent':>11}  decides")
        click.echo(
            f"  {row.dimension:<18} {row.prompts:>7} {row.clusters:>11} "
            f" {'yes' if row.enough else 'no'}"
        )
    click.echo(
        f"\nneeded: a lossless model passes with {100 * found.power:g}% power if"
        f" {100 * found.changed:g}% of its answers change, as many one way as the other."
    )
