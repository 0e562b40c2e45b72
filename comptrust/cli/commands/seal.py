"""`comptrust seal`: sign the bar before the first answer."""

import datetime
from collections.abc import Sequence
from pathlib import Path

import click

from comptrust import digests
from comptrust.cli import complete
from comptrust.cli.options import (
    LIMIT,
    dimensions_option,
    file_option,
    json_option,
    print_result,
    scoring_option,
    stop_option,
    text_option,
)
from comptrust.errors import UserError
from comptrust.records import Limit, Scoring, Stop
from comptrust.text_tables import counted


@click.command("seal")
@text_option(
    "--policy",
    required=True,
    shell_complete=complete.names("policies", files=True),
    help="Shipped policy or YAML file.",
)
@click.option(
    "--suite",
    required=True,
    shell_complete=complete.names("suites"),
    help="Suite of prompts: mini or decodingtrust:DIR.",
)
@dimensions_option
@click.option(
    "--limit",
    type=LIMIT,
    help="Random sample: items of each dimension, or a share  [default: all; 50% of mini, as run].",
)
@scoring_option
@stop_option
@click.option(
    "--baseline",
    help="The dense evaluation to compare with: models:/NAME/VERSION, runs:/ID or a scorecard file"
    "  [default: the one found when it is judged].",
)
@file_option("--out", default=Path("seal.json"), show_default=True, help="File to write.")
@json_option
def command(
    policy: str,
    suite: str,
    dimensions: Sequence[str] | None,
    limit: Limit | None,
    scoring: Scoring,
    stop: Stop,
    baseline: str | None,
    out: Path,
    as_json: bool,
) -> None:
    """Sign what will be asked and how it will be judged, before the first answer.

    Evaluate with --seal FILE afterwards: then the answers are younger than the bar, and are signed
    together with it. A policy may require that (`sealed: required`).

    \b
    Example:
      comptrust seal --policy production --suite mini
      comptrust run --method gptq --bits 4 --policy production --seal seal.json
    """
    from comptrust.gate import policy as policies
    from comptrust.gate.signing import keys, seals
    from comptrust.tracking import evaluations
    from comptrust.trust import suite as suites

    key = keys.signing_key()
    if key is None:
        raise UserError(
            "There is no signing key. Make one (comptrust keys init) or set COMPTRUST_SIGNING_KEY."
        )
    if out.exists():
        raise UserError(f"{out} exists, and a seal is not overwritten. Choose another --out.")
    rules = policies.load(policy)
    asked = suites.for_run(suite, dimensions=dimensions, scoring=scoring, limit=limit, stop=stop)
    dense = evaluations.load(baseline) if baseline else None
    seal = seals.Seal(
        policy=rules.name,
        policy_digest=rules.digest,
        suite=suite,
        suite_digest=asked.digest,
        limit=asked.limit,
        sample=asked.sample,
        stop=stop,
        baseline=dense and dense.scorecard.digest_of_fields(),
        time=datetime.datetime.now(datetime.UTC),
    )
    signed = keys.sign(seal, key)
    digests.write_atomic(out, signed.model_dump_json(indent=2) + "\n")
    most = "at most " if stop == "early" else ""
    text = (
        f"{out}: policy {rules.name} ({rules.digest[:12]}),"
        f" {most}{counted(len(asked.prompts), 'prompt')} of suite {suite} ({asked.digest[:12]}),"
        f" signed by key {signed.key_id}"
    )
    fields = {"seal": signed.model_dump(mode="json"), "file": str(out)}
    print_result(text, fields, as_json=as_json)
