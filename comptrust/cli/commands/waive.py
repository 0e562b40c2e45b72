"""`comptrust waive`: a person accepts one inconclusive finding on one checkpoint until a date."""

import datetime
import re
from pathlib import Path

import click

from comptrust import config, digests
from comptrust.cli import complete
from comptrust.cli.options import file_option, json_option, print_result
from comptrust.errors import UserError
from comptrust.gate.signing import waivers


@click.command("waive")
@click.argument("rule", shell_complete=complete.names("rules"))
@click.option(
    "--checkpoint",
    required=True,
    shell_complete=complete.versions,
    help="models:/NAME/VERSION, runs:/ID or the digest of a checkpoint.",
)
@click.option("--who", required=True, help="Name of the person who accepts the finding.")
@click.option("--why", required=True, help="What was checked, and why the finding is acceptable.")
@click.option(
    "--until",
    required=True,
    type=click.DateTime(["%Y-%m-%d"]),
    help="Last day on which the waiver holds (UTC).",
)
@file_option(
    "--out",
    help="File to add the waiver to  [default: logged on the model's run; for a digest,"
    " waivers.json].",
)
@json_option
def command(
    rule: str,
    checkpoint: str,
    who: str,
    why: str,
    until: datetime.datetime,
    out: Path | None,
    as_json: bool,
) -> None:
    """Accept an inconclusive finding on one checkpoint.

    The waiver is signed. Until it expires, the finding of RULE on that checkpoint counts as a pass.
    A block cannot be waived.

    \b
    Example:
      comptrust waive refusal_shift --checkpoint models:/tiny/2 \\
        --who "Ada Lovelace" --why "Read all 40" --until 2027-01-31
    """
    from comptrust.gate import policy
    from comptrust.gate.signing import keys

    waivable = policy.waivable()
    if rule not in waivable:
        raise UserError(f"Rule '{rule}' cannot be waived. Waivable rules: {', '.join(waivable)}.")
    if until.date() < datetime.datetime.now(datetime.UTC).date():
        raise UserError(f"--until {until:%Y-%m-%d} is past. Give today or a later day.")
    key = keys.signing_key()
    if key is None:
        raise UserError(
            "There is no signing key. Make one (comptrust keys init) or set COMPTRUST_SIGNING_KEY."
        )
    digest = _digest(checkpoint)
    fields = {"rule": rule, "checkpoint": digest, "who": who, "why": why, "until": until.date()}
    waiver = keys.sign(config.parse(fields, waivers.Waiver, where="waiver"), key)
    where = _keep(waiver, ref=checkpoint, out=out)
    text = (
        f"{who} waives {rule} on checkpoint {digest[:12]} until {until:%Y-%m-%d}, signed by key"
        f" {waiver.key_id}; kept in {where}"
    )
    result = {"waiver": waiver.model_dump(mode="json"), "kept": where}
    print_result(text, result, as_json=as_json)


def _digest(checkpoint: str) -> str:
    if re.fullmatch(r"[0-9a-f]{64}", checkpoint):
        return checkpoint
    if not checkpoint.startswith(("models:/", "runs:/")):
        raise UserError(
            f"--checkpoint '{checkpoint}' is not models:/NAME/VERSION, runs:/ID or a digest of 64"
            " hex digits."
        )
    from comptrust.tracking import evaluations

    return evaluations.load(checkpoint).scorecard.checkpoint_digest


def _keep(waiver: waivers.Waiver, *, ref: str, out: Path | None) -> str:
    from comptrust.report import descriptions
    from comptrust.tracking import history, registry
    from comptrust.tracking.evaluations import REMOTE
    from comptrust.workflow import logged_waivers

    if out is None and ref.startswith(REMOTE):
        where = logged_waivers.log(ref, [*logged_waivers.read(ref), waiver])
        text = f"{waiver.who} accepts {waiver.rule} until {waiver.until}: {waiver.why}"
        event = history.now("waiver", text, key_id=waiver.key_id)
        run_id = registry.run_of(ref)
        history.record(run_id, event)
        descriptions.update(run_id)
        return where
    path = out or Path(waivers.NAME)
    before = waivers.read(path) if path.exists() else ()
    digests.write_atomic(path, waivers.dumps([*before, waiver]))
    return str(path)
