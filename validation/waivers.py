"""Waivers: a named human accepts one inconclusive finding, for a reason and until a day."""

from __future__ import annotations

import datetime

from pydantic import field_validator

from comptrust.records import Finding, Record


class Waiver(Record):
    """Who accepts what, why and until when (that day included)."""

    rule: str
    """The rule whose inconclusive finding is accepted."""
    who: str
    why: str
    until: datetime.date
    checkpoint: str | None = None
    """Digest of the only checkpoint it holds for; None for any candidate of the policy."""

    @field_validator("rule", "who", "why")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must not be blank")
        return value


def apply(
    finding: Finding, waivers: tuple[Waiver, ...], *, waivable: bool, checkpoint_digest: str, today: datetime.date | None = None
) -> Finding:
    """Return the finding, as a pass if a waiver in force accepts it; every waiver of the rule is logged with what became of it.

    Only an inconclusive finding of a waivable rule can be accepted: a block never is.
    """
    today = today or datetime.datetime.now(datetime.UTC).date()
    log = []
    accepted: Waiver | None = None
    for waiver in (waiver for waiver in waivers if waiver.rule == finding.rule):
        if waiver.until < today:
            state = "ignored: expired"
        elif waiver.checkpoint not in (None, checkpoint_digest):
            state = "ignored: for another checkpoint"
        elif not waivable:
            state = "ignored: this rule cannot be waived"
        elif finding.outcome != "inconclusive":
            state = f"not used: the finding is {finding.outcome}"
        else:
            state, accepted = "accepted", accepted or waiver
        log.append(waiver.model_dump(mode="json") | {"state": state})
    if not log:
        return finding
    found = finding.model_copy(update={"evidence": finding.evidence | {"waivers": log}})
    if accepted is None:
        return found
    reason = f"{finding.reason} Accepted by {accepted.who} until {accepted.until}: {accepted.why}"
    return found.model_copy(update={"outcome": "pass", "reason": reason})
