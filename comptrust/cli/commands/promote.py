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
    help="staging (stage Staging, alias challenger), production (Production, champion) or demo (the"
    " alias demo alone).",
)
@click.option(
    "--policy",
    type=TEXT,
    help="Policy that it must have passed  [default: the one named like the target's stage].",
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
    from comptrust.workflow import promotable

    stage, _ = promotion.check_target(to)
    required = policies.load(policy or policies.default(stage=stage or to))
    if stage:
        policies.require_stages(required, target=f"stage {stage}")
    check = promotable.check(required, stage=stage)
    decision = promotion.promote(name, version, to=to, policy_digest=required.digest, check=check)
    text = f"{decision.ref} {decision.effect}. {decision.reason}"
    print_result(text, dataclasses.asdict(decision), as_json=as_json)
    end(Exit.of(decision.outcome))
