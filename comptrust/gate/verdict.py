"""Judging: every rule of a policy on one candidate; whatever is absent or incomparable keeps it
from passing.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from comptrust.gate.evidence import Evidence, differences
from comptrust.gate.policy import Policy
from comptrust.gate.signing.waivers import Waiver, apply
from comptrust.records import Finding, Verdict

NO_KEYS: Mapping[str, Ed25519PublicKey] = {}


def judge(
    evidence: Evidence,
    policy: Policy,
    *,
    waivers: Sequence[Waiver] = (),
    trusted: Mapping[str, Ed25519PublicKey] = NO_KEYS,
    today: datetime.date | None = None,
) -> Verdict:
    """Return the verdict on a candidate: first whether it can be compared at all, then one finding
    per rule.

    Waivers are the policy's own and those given; only those that a trusted key signed count, so
    without keys none does. `today` decides which waivers have expired (default: the current day,
    UTC).
    """
    card = evidence.candidate.scorecard
    signed, digest = [*policy.waivers, *waivers], card.checkpoint_digest
    findings = [comparability(evidence)]
    for rule in policy.rules:
        found = rule.check(evidence)
        findings.append(
            apply(
                found,
                signed,
                waivable=rule.waivable,
                checkpoint_digest=digest,
                trusted=trusted,
                today=today,
            )
        )
    return Verdict(
        policy=policy.name,
        policy_digest=policy.digest,
        checkpoint_digest=card.checkpoint_digest,
        baseline_digest=(
            evidence.baseline.scorecard.checkpoint_digest if evidence.baseline else None
        ),
        scorecard_digest=card.digest_of_fields(),
        findings=tuple(findings),
    )


def comparability(evidence: Evidence) -> Finding:
    """Find whether candidate and baseline answered the same prompts, rendered and scored alike, and
    the candidate is what was evaluated.
    """
    candidate, baseline = evidence.candidate, evidence.baseline
    name = "comparable"
    if baseline is None:
        return Finding(
            rule=name,
            outcome="inconclusive",
            reason="There is no dense baseline. Evaluate the dense source on the same suite.",
        )
    if (
        candidate.checkpoint
        and candidate.checkpoint.digest != candidate.scorecard.checkpoint_digest
    ):
        reason = (
            "The scorecard belongs to another checkpoint than checkpoint.json. Evaluate the"
            " candidate again."
        )
        return Finding(rule=name, outcome="block", reason=reason)
    recipe = baseline.recipe
    if recipe and recipe.method != "none":
        return Finding(
            rule=name,
            outcome="inconclusive",
            reason=f"The baseline is not dense but {recipe.slug}. Name the dense source.",
        )
    mine = evidence.recipe
    if (
        recipe
        and mine
        and (recipe.revision or recipe.base_model) != (mine.revision or mine.base_model)
    ):
        reason = (
            f"The baseline is another model ({recipe.base_model}) than the candidate's source"
            f" ({mine.base_model})."
        )
        return Finding(rule=name, outcome="inconclusive", reason=reason)
    different = differences(candidate, baseline)
    if different:
        reason = (
            f"Candidate and baseline cannot be compared: {', '.join(different)} differ. Evaluate"
            " both on the same suite."
        )
        return Finding(
            rule=name, outcome="inconclusive", reason=reason, evidence={"different": different}
        )
    return Finding(
        rule=name,
        outcome="pass",
        reason="Candidate and dense baseline answered the same prompts, rendered and scored alike.",
    )
