"""`comptrust promote`: move a version to a stage and alias, if its verdict passes."""

from __future__ import annotations

import dataclasses
import json
import sys

import click

from comptrust.cli.commands.run import EXIT
from comptrust.cli.options import TEXT, json_option


@click.command("promote")
@click.argument("name")
@click.argument("version")
@click.option(
    "--to",
    required=True,
    help="staging (Staging, alias challenger) or production (Production, alias champion).",
)
@click.option(
    "--policy",
    type=TEXT,
    help="The policy that it must have passed  [default: production for production, else staging].",
)
@json_option
def command(name: str, version: str, to: str, policy: str | None, as_json: bool) -> None:
    """Promote VERSION of the registered model NAME; refused without a passing verdict on exactly
    its files.

    Where keys are trusted (comptrust keys show) the verdict must be signed by one of them.

    Example: comptrust promote smollm2-135m-instruct 2 --to staging
    """
    from comptrust.gate import policy as policies
    from comptrust.tracking import promotion
    from comptrust.workflow import signatures

    stage, _ = promotion.check_target(to)
    shipped = stage.lower() if stage.lower() in policies.names() else policies.DEFAULT
    needed = policies.load(policy or shipped)
    check = signatures.promotion_check(needed.digest)
    decision = promotion.promote(name, version, to=to, policy_digest=needed.digest, check=check)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(decision), indent=2))
    elif decision.stage:
        click.echo(
            f"{decision.ref} is now in {decision.stage} with alias {decision.alias}."
            f" {decision.reason}"
        )
    else:
        click.echo(f"{decision.ref} was not promoted. {decision.reason}")
    sys.exit(EXIT[decision.outcome])
