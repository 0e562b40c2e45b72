"""Whether the machines that evaluated have signed what a verdict rests on.

As soon as keys are trusted, an evaluation counts only with the signature of one that may evaluate.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import Policy
from comptrust.gate.signing import keys, measurements, seals
from comptrust.gate.signing.provenance import RULE
from comptrust.gate.signing.roles import Role
from comptrust.records import Finding
from comptrust.trust.control import Control
from comptrust.trust.evaluation import Evaluation

AGAIN = "Evaluate it with a signing key that may do so."


class SignedControl(Control, keys.SignedRecord):
    """A control, signed by the machine that measured the noise floors in it."""

    purpose: ClassVar[str] = "control/v1"
    role: ClassVar[Role] = "evaluate"


def floors_refusal(control: Control | None, trusted: keys.Trusted, **scope: Any) -> str:
    """Return why noise floors do not count, to follow control.json; empty without any.

    All else in a control is planted again in each judgment, so nothing rests on it.
    """
    if control is None or not control.floors:
        return ""
    return keys.refusal(SignedControl(**dict(control)), trusted, **scope)


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
        if one and (why := floors_refusal(one.control, trusted, **scope)):
            reason = f"control.json of the {role} {why}. Again: comptrust control {one.ref}"
            return _finding("inconclusive", reason), counted
    unsealed = policy.sealed == "required" and seals.refusal(
        evidence.candidate,
        trusted,
        policy=policy.digests,
        baseline=evidence.baseline,
        scope=scope,
    )
    if unsealed:
        reason = f"Policy {policy.name} requires a sealed evaluation, but {unsealed}."
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


def _finding(outcome: Any, reason: str, **details: Any) -> Finding:
    return Finding(rule=RULE, outcome=outcome, reason=reason, evidence=details)
