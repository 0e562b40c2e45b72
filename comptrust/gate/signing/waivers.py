"""Waivers: a named human accepts one inconclusive finding on one checkpoint, for a reason and until
a day, and signs it.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import field_validator

from comptrust import config
from comptrust.errors import UserError
from comptrust.gate.signing import keys
from comptrust.records import Finding

NAME = "waivers.json"
ACCEPTED = "accepted"


class Waiver(keys.Signed):
    """Who accepts what, why and until when (that day included, UTC)."""

    purpose: ClassVar[str] = "waiver/v1"

    rule: str
    """The rule whose inconclusive finding is accepted."""
    checkpoint: str
    """Digest of the checkpoint it holds for."""
    who: str
    why: str
    until: datetime.date

    @field_validator("rule", "checkpoint", "who", "why")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must not be blank")
        return value


def apply(
    finding: Finding,
    waivers: Sequence[Waiver],
    *,
    waivable: bool,
    checkpoint_digest: str,
    trusted: Mapping[str, Ed25519PublicKey],
    today: datetime.date | None = None,
) -> Finding:
    """Return the finding, as a pass if a waiver in force accepts it; every waiver of the rule is
    logged with what became of it.

    Only an inconclusive finding of a waivable rule can be accepted, and only by a waiver that a
    trusted key signed: a block never is.
    """
    today = today or datetime.datetime.now(datetime.UTC).date()
    log = []
    accepted: Waiver | None = None
    for waiver in (waiver for waiver in waivers if waiver.rule == finding.rule):
        if not waiver.signature:
            state = "ignored: not signed"
        elif waiver.key_id not in trusted:
            state = (
                f"ignored: signed by key {waiver.key_id or '(none named)'}, which is not trusted"
                " here"
            )
        elif not keys.proves(waiver, trusted[waiver.key_id]):
            state = "ignored: changed since it was signed"
        elif waiver.until < today:
            state = "ignored: expired"
        elif waiver.checkpoint != checkpoint_digest:
            state = "ignored: for another checkpoint"
        elif not waivable:
            state = "ignored: this rule cannot be waived"
        elif finding.outcome != "inconclusive":
            state = f"not used: the finding is {finding.outcome}"
        else:
            state, accepted = ACCEPTED, accepted or waiver
        log.append(waiver.model_dump(mode="json") | {"state": state})
    if not log:
        return finding
    found = finding.model_copy(update={"evidence": finding.evidence | {"waivers": log}})
    if accepted is not None:
        reason = (
            f"{finding.reason} Accepted by {accepted.who} until {accepted.until}: {accepted.why}"
        )
        return found.model_copy(update={"outcome": "pass", "reason": reason})
    if finding.outcome != "inconclusive":
        return found
    told = " ".join(f"The waiver of {entry['who']} is {entry['state']}." for entry in log)
    return found.model_copy(update={"reason": f"{finding.reason} {told}"})


def accepted(findings: Sequence[Finding]) -> tuple[Waiver, ...]:
    """Return the waivers that turned a finding of a verdict into a pass."""
    logged = (entry for finding in findings for entry in finding.evidence.get("waivers", ()))
    used = (
        {key: value for key, value in entry.items() if key != "state"}
        for entry in logged
        if entry["state"] == ACCEPTED
    )
    return tuple(dict.fromkeys(Waiver.model_validate(fields) for fields in used))


def read(path: Path) -> tuple[Waiver, ...]:
    """Read a file of waivers. Raises UserError naming file and field."""
    entries = config.read_json(path)
    if not isinstance(entries, list):
        raise UserError(f"{path} is not a list of waivers. Write it with `comptrust waive`.")
    return tuple(
        config.parse(entry, Waiver, where=f"{path}, waiver {number}")
        for number, entry in enumerate(entries, start=1)
    )


def dumps(waivers: Sequence[Waiver]) -> str:
    """Return the text of a file of waivers."""
    return json.dumps([waiver.model_dump(mode="json") for waiver in waivers], indent=2) + "\n"
