"""Whether the machines that evaluated have signed what a verdict rests on.

As soon as keys are trusted, an evaluation counts only with the signature of one that may evaluate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import Policy
from comptrust.gate.signing import keys, measurements, seals
from comptrust.records import Finding
from comptrust.trust.evaluation import Evaluation

RULE = "measured"
AGAIN = "Evaluate it with a signing key that may do so."


def check(
    evidence: Evidence, policy: Policy, trusted: keys.Trusted, scope: Mapping[str, Any]
) -> tuple[Finding | None, Evidence]:
    """Return a finding, and the evidence without siblings that nothing proves.

    Without trusted keys there is no finding, unless the policy requires a seal, which none can
    then prove. `scope` are the model, the level and the day for which keys must be allowed to sign.
    """
    if not trusted:
        unseen = policy.sealed == "required"
        reason = f"Policy {policy.name} requires a sealed evaluation, and no key is trusted here."
        return _finding("inconclusive", reason) if unseen else None, evidence
    imports = policy.evidence == "imported"

    def refusal(evaluated: Evaluation) -> str:
        return measurements.refusal(evaluated, trusted, imports=imports, scope=scope)

    refused = {one.ref: why for one in evidence.siblings if (why := refusal(one))}
    proven = tuple(one for one in evidence.siblings if one.ref not in refused)
    counted = replace(evidence, siblings=proven)
    for role, one in (("candidate", evidence.candidate), ("baseline", evidence.baseline)):
        if one and (why := refusal(one)):
            return _finding("inconclusive", f"The {role} ({one.ref}) {why}. {AGAIN}"), counted
    if policy.sealed == "required" and (why := _unsealed(evidence, policy, trusted, scope)):
        reason = f"Policy {policy.name} requires a sealed evaluation, but {why}."
        return _finding("inconclusive", reason), counted
    signed_by = {
        one.ref: measurements.read(one).key_id
        for one in filter(None, (evidence.candidate, evidence.baseline, *proven))
    }
    reason = f"Evaluated and signed by {', '.join(sorted(set(signed_by.values())))}."
    if refused:
        listed = "; ".join(f"{ref} {why}" for ref, why in refused.items())
        reason += f" Siblings that do not count: {listed}."
    return _finding("pass", reason, signed_by=signed_by, left_out=refused), counted


def signers(findings: Sequence[Finding]) -> dict[str, str]:
    """Return reference -> key id of the measurements that a verdict rests on."""
    found = [finding.evidence for finding in findings if finding.rule == RULE]
    return {ref: key for evidence in found for ref, key in evidence.get("signed_by", {}).items()}


def left_out(findings: Sequence[Finding]) -> set[str]:
    """Return the references of the siblings that did not count in a verdict."""
    found = [finding.evidence for finding in findings if finding.rule == RULE]
    return {ref for evidence in found for ref in evidence.get("left_out", ())}


def _unsealed(
    evidence: Evidence, policy: Policy, trusted: keys.Trusted, scope: Mapping[str, Any]
) -> str:
    return seals.refusal(
        evidence.candidate,
        trusted,
        policy_digest=policy.digest,
        baseline=evidence.baseline,
        scope=scope,
    )


def _finding(outcome: Any, reason: str, **details: Any) -> Finding:
    return Finding(rule=RULE, outcome=outcome, reason=reason, evidence=details)
