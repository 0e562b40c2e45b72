"""`comptrust promote`: move a version to a stage and alias, if its verdict passes."""

import dataclasses

import click

from comptrust.cli.options import TEXT, end, json_option, print_result
from comptrust.errors import Exit


@click.command("promote")
@click.argument("name")
@click.argument("version")
@click.option(
    "--to",
    required=True,
    help="staging (stage Staging, alias challenger) or production (Production, champion).",
)
@click.option(
    "--policy",
    type=TEXT,
    help="Policy that it must have passed  [default: the one named like the stage, else staging].",
)
@json_option
def command(name: str, version: str, to: str, policy: str | None, as_json: bool) -> None:
    """Promote a registered version whose verdict passes.

    The verdict must be about exactly the files of VERSION. Where keys are trusted (comptrust keys
    show), one of them must have signed it.

    Exit 0 if the version was promoted, 1 if something blocks it, 3 if something is missing.

    \b
    Example:
      comptrust promote smollm2-135m-instruct 2 --to staging
    """
    from comptrust.gate import policy as policies
    from comptrust.tracking import promotion
    from comptrust.workflow import signatures

    stage, _ = promotion.check_target(to)
    shipped = stage.lower() if stage.lower() in policies.names() else policies.DEFAULT
    required = policies.load(policy or shipped)
    check = signatures.promotion_check(required.digest)
    decision = promotion.promote(name, version, to=to, policy_digest=required.digest, check=check)
    moved = f"is now in {decision.stage} with alias {decision.alias}"
    text = f"{decision.ref} {moved if decision.stage else 'was not promoted'}. {decision.reason}"
    print_result(text, dataclasses.asdict(decision), as_json=as_json)
    end(Exit.of(decision.outcome))
