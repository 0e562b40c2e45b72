"""Waivers: a named human accepts one inconclusive finding on one checkpoint, and signs it.

A waiver has a reason and a last day.
"""

import datetime
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from comptrust import config
from comptrust.errors import UserError
from comptrust.gate.signing import keys
from comptrust.gate.signing.roles import Role
from comptrust.records import Finding, Verdict

NAME = "waivers.json"
ACCEPTED = "accepted"


class Waiver(keys.SignedRecord):
    """Who accepts what, why, and through which day (UTC)."""

    purpose: ClassVar[str] = "waiver/v2"
    role: ClassVar[Role] = "waive"

    rule: keys.NotBlank
    checkpoint: keys.NotBlank
    """Digest of the checkpoint that it is for."""
    who: keys.NotBlank
    why: keys.NotBlank
    until: datetime.date


def apply(
    finding: Finding,
    waivers: Sequence[Waiver],
    *,
    waivable: bool,
    checkpoint_digest: str,
    trusted: keys.Trusted,
    scope: Mapping[str, Any] = {},
) -> Finding:
    """Return the finding, as a pass if a valid waiver accepts it.

    Only an inconclusive finding of a waivable rule can be accepted, and only by a waiver that a
    trusted key signed; a block never is. `scope` are the model, level and day for which the key
    must be allowed to sign. Every waiver of the rule is logged in the evidence with what became of
    it.
    """
    today = scope.get("today") or datetime.datetime.now(datetime.UTC).date()

    def state(waiver: Waiver) -> str:
        """Return what becomes of a waiver: the first obstacle, or that it is accepted."""
        refusal = keys.refusal(waiver, trusted, **scope)
        obstacles = (
            (not waiver.signature, "ignored: not signed"),
            (bool(refusal), f"ignored: it {refusal}"),
            (waiver.until < today, "ignored: expired"),
            (waiver.checkpoint != checkpoint_digest, "ignored: for another checkpoint"),
            (not waivable, "ignored: this rule cannot be waived"),
            (finding.outcome != "inconclusive", f"not used: the finding is {finding.outcome}"),
        )
        return next((state for applies, state in obstacles if applies), ACCEPTED)

    own = [waiver for waiver in waivers if waiver.rule == finding.rule]
    log = [waiver.model_dump(mode="json") | {"state": state(waiver)} for waiver in own]
    if not log:
        return finding
    update: dict[str, Any] = {"evidence": finding.evidence | {"waivers": log}}
    if accepting := [entry for entry in log if entry["state"] == ACCEPTED]:
        words = "Accepted by {who} until {until}: {why}".format_map(accepting[0])
        update |= {"outcome": "pass", "reason": f"{finding.reason} {words}"}
    elif finding.outcome == "inconclusive":
        states = [f"The waiver of {entry['who']} was {entry['state']}." for entry in log]
        update["reason"] = " ".join([finding.reason, *states])
    return finding.model_copy(update=update)


def accepted(findings: Sequence[Finding]) -> tuple[Waiver, ...]:
    """Return the waivers that turned a finding of a verdict into a pass."""
    entries = [entry for finding in findings for entry in finding.evidence.get("waivers", ())]
    used = [
        Waiver.model_validate({key: value for key, value in entry.items() if key != "state"})
        for entry in entries
        if entry["state"] == ACCEPTED
    ]
    return tuple(dict.fromkeys(used))


def since(
    verdict: Verdict, waivers: Sequence[Waiver], *, waivable: Collection[str], **scope: Any
) -> tuple[str, ...]:
    """Return in words the waivers that accept what a verdict left open; it does not count them.

    `scope` are the trusted keys and the model for which a key must be allowed to sign.
    """
    trusted = scope.pop("trusted")
    applied = [
        apply(
            finding,
            waivers,
            waivable=finding.rule in waivable,
            checkpoint_digest=verdict.checkpoint_digest,
            trusted=trusted,
            scope=scope,
        )
        for finding in verdict.findings
        if finding.outcome == "inconclusive"
    ]
    return tuple(
        f"{waiver.rule}, by {waiver.who} until {waiver.until}. {waiver.why}"
        for waiver in accepted([finding for finding in applied if finding.outcome == "pass"])
    )


def read(path: Path) -> tuple[Waiver, ...]:
    """Read a file of waivers. Raises UserError naming file and field."""
    entries = config.read_json(path)
    if not isinstance(entries, list):
        raise UserError(f"{path} is not a list of waivers. Create it with `comptrust waive`.")
    return tuple(
        config.parse(entry, Waiver, where=f"{path}, waiver {number}")
        for number, entry in enumerate(entries, start=1)
    )


def dumps(waivers: Sequence[Waiver]) -> str:
    """Return the text of a file of waivers."""
    return json.dumps([waiver.model_dump(mode="json") for waiver in waivers], indent=2) + "\n"
