"""`comptrust promote`: move a version to a stage and alias, if its verdict passes."""

from __future__ import annotations

import dataclasses
import json
import sys

import click

from pipelines.options import json_option
from pipelines.run import EXIT


@click.command("promote")
@click.argument("name")
@click.argument("version")
@click.option("--to", required=True, help="staging (Staging, alias challenger) or production (Production, alias champion).")
@json_option
def command(name: str, version: str, to: str, as_json: bool) -> None:
    """Promote VERSION of the registered model NAME; refused without a passing verdict on exactly its files.

    Example: comptrust promote smollm2-135m-instruct 2 --to staging
    """
    from comptrust.tracking import promotion

    decision = promotion.promote(name, version, to=to)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(decision), indent=2))
    elif decision.stage:
        click.echo(f"{decision.ref} is now in {decision.stage} with alias {decision.alias}. {decision.reason}")
    else:
        click.echo(f"{decision.ref} was not promoted. {decision.reason}")
    sys.exit(EXIT[decision.outcome])
