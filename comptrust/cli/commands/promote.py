"""`comptrust promote`: move a version to a stage and alias, if its verdict passes."""

import dataclasses
import datetime

import click

from comptrust.cli import complete
from comptrust.cli.options import end, json_option, print_result, text_option
from comptrust.errors import Exit, UserError


@click.command("promote")
@click.argument("name", shell_complete=complete.registered_name)
@click.argument("version", shell_complete=complete.number)
@click.option(
    "--to",
    required=True,
    shell_complete=complete.fixed("staging", "production", "demo"),
    help="staging (stage Staging, alias challenger), production (Production, champion) or demo (the"
    " alias demo alone).",
)
@text_option(
    "--policy",
    shell_complete=complete.names("policies", files=True),
    help="Policy that it must have passed  [default: the one named like the target's stage].",
)
@click.option(
    "--emergency",
    is_flag=True,
    help="Promote without a passing verdict, for a while. Needs --why and a signing key with the"
    " role release.",
)
@click.option("--why", help="The reason, which everybody is shown  [required by --emergency].")
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"]),
    help="With --emergency: when it ends (UTC), at most 7 days from now  [default: in 24 hours].",
)
@json_option
def command(
    name: str,
    version: str,
    to: str,
    policy: str | None,
    emergency: bool,
    why: str | None,
    until: datetime.datetime | None,
    as_json: bool,
) -> None:
    """Promote a registered version whose verdict passes.

    The verdict must be about exactly the files of VERSION. Where keys are trusted (comptrust keys
    show), one of them must have signed it.

    With --emergency a guarded server needs no verdict. It checks the signature and every file,
    says EMERGENCY wherever the version is shown, and takes the promotion back when it ends.

    Exit 0 if the version was promoted, 1 if something blocks it, 3 if something is missing.

    \b
    Example:
      comptrust promote smollm2-135m-instruct 2 --to staging
    """
    from comptrust.gate import policy as policies
    from comptrust.tracking import promotion
    from comptrust.workflow import promotable

    if emergency != bool(why) or (until and not emergency) or (policy and emergency):
        raise UserError(
            "promote --emergency needs --why TEXT, may have --until, and takes no --policy; without"
            " --emergency there is neither --why nor --until."
        )
    stage, _ = promotion.check_target(to)
    if emergency:
        from comptrust.workflow import emergency as emergencies

        until = until and until.replace(tzinfo=datetime.UTC)
        decision = emergencies.promote(name, version, to=to, why=str(why), until=until)
    else:
        required = policies.load(policy or policies.default(stage=stage or to))
        if stage:
            policies.require_stages(required, target=f"stage {stage}")
        decision = promotable.promote(name, version, to=to, policy=required)
    text = f"{decision.ref} {decision.effect}. {decision.reason}"
    print_result(text, dataclasses.asdict(decision), as_json=as_json)
    end(Exit.of(decision.outcome))
