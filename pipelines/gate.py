"""`comptrust gate`: judge a candidate against its dense baseline under a policy."""

from __future__ import annotations

import json
import sys

import click

from pipelines.options import TEXT, json_option
from pipelines.run import EXIT


@click.command("gate")
@click.argument("candidate")
@click.option("--baseline", type=TEXT, help="The dense model's evaluation  [default: the logged one of the same suite].")
@click.option("--policy", type=TEXT, help="Name of a shipped policy or path of a YAML file.")
@json_option
def command(candidate: str, baseline: str | None, policy: str | None, as_json: bool) -> None:
    """Judge CANDIDATE (models:/NAME/VERSION, runs:/ID or a scorecard file); exit 0 pass, 1 block, 3 inconclusive.

    Example: comptrust gate models:/smollm2-135m-instruct/2
    """
    from validation.verdict import judge

    from comptrust.tracking import promotion, registry
    from pipelines import _summary
    from validation import policy as policies
    from validation.base import Evidence

    rules = policies.load(policy or policies.DEFAULT)
    judged = registry.load_evaluation(candidate)
    dense = registry.load_evaluation(baseline) if baseline else registry.baseline(judged)
    verdict = judge(Evidence(candidate=judged, baseline=dense, siblings=registry.siblings(candidate)), rules)
    if candidate.startswith(("models:/", "runs:/")):
        promotion.record_verdict(candidate, verdict)
    if as_json:
        click.echo(json.dumps({"outcome": verdict.outcome, **verdict.model_dump(mode="json")}, indent=2))
    else:
        table = _summary.scores(judged.scorecard, dense.scorecard) + [""] if dense else ["There is no dense baseline.", ""]
        click.echo("\n".join([*table, *_summary.of_verdict(verdict)]))
    sys.exit(EXIT[verdict.outcome])
