"""`comptrust waive`: a named human accepts one inconclusive finding on one checkpoint, signed and
for a time.
"""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from comptrust import config, digests
from comptrust.cli.options import json_option
from comptrust.errors import UserError

if TYPE_CHECKING:
    from comptrust.gate.signing.waivers import Waiver


@click.command("waive")
@click.argument("rule")
@click.option(
    "--checkpoint",
    required=True,
    help="models:/NAME/VERSION, runs:/ID, or the digest of a checkpoint.",
)
@click.option("--who", required=True, help="The person who accepts it.")
@click.option("--why", required=True, help="What was looked at, and why it is right.")
@click.option(
    "--until",
    required=True,
    type=click.DateTime(["%Y-%m-%d"]),
    help="Last day on which it holds (UTC).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="File to add it to  [default: the model's run; for a digest waivers.json].",
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
    """Sign a waiver of RULE: its inconclusive finding on one checkpoint counts as a pass; a block
    cannot be waived.

    Example: comptrust waive refusal_shift --checkpoint models:/tiny/2 --who "Ada Lovelace" --why
    "Read all 40" --until 2027-01-31
    """
    from comptrust.gate import policy
    from comptrust.gate.signing import keys
    from comptrust.gate.signing.waivers import Waiver

    known = policy.waivable()
    if rule not in known:
        raise UserError(
            f"'{rule}' is no rule that can be waived. Rules that can: {', '.join(known)}."
        )
    if until.date() < datetime.datetime.now(datetime.UTC).date():
        raise UserError(f"--until {until:%Y-%m-%d} is past. Give a day from today on.")
    key = keys.signing_key()
    if key is None:
        raise UserError(
            "There is no signing key. Make one (comptrust keys init), or set COMPTRUST_SIGNING_KEY."
        )
    digest = _digest(checkpoint)
    fields = {"rule": rule, "checkpoint": digest, "who": who, "why": why, "until": until.date()}
    made = keys.sign(config.parse(fields, Waiver, where="waiver"), key)
    where = _keep(made, ref=checkpoint, out=out)
    if as_json:
        click.echo(json.dumps({"waiver": made.model_dump(mode="json"), "kept": where}, indent=2))
    else:
        click.echo(
            f"{who} waives {rule} on checkpoint {digest[:12]} until {until:%Y-%m-%d}, signed by key"
            f" {made.key_id}; kept in {where}"
        )


def _digest(checkpoint: str) -> str:
    """Return the digest itself, or that of the checkpoint which a run or version holds."""
    if re.fullmatch(r"[0-9a-f]{64}", checkpoint):
        return checkpoint
    if not checkpoint.startswith(("models:/", "runs:/")):
        raise UserError(
            f"--checkpoint '{checkpoint}' is not models:/NAME/VERSION, runs:/ID or a digest of 64"
            " hex digits."
        )
    from comptrust.tracking import evaluations

    return evaluations.load(checkpoint).scorecard.checkpoint_digest


def _keep(waiver: Waiver, *, ref: str, out: Path | None) -> str:
    """Add the waiver to a file, or to those that are logged on the run, and return where it is."""
    from comptrust.gate.signing import waivers
    from comptrust.workflow import signatures

    if out is None and ref.startswith(signatures.REMOTE):
        return signatures.log_waivers(ref, [*signatures.waivers(ref, file=None), waiver])
    path = out or Path(waivers.NAME)
    before = waivers.read(path) if path.exists() else ()
    digests.write_atomic(path, waivers.dumps([*before, waiver]))
    return str(path)
