"""Judging: check a candidate against every rule of a policy.

Anything absent or incomparable keeps a candidate from passing.
"""

import datetime
from collections.abc import Mapping, Sequence

from comptrust import plugins
from comptrust.gate import comparability, earlier, measured
from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import RULES, Policy
from comptrust.gate.signing.roles import TrustedKey
from comptrust.gate.signing.waivers import Waiver, apply
from comptrust.records import Finding, Verdict
from comptrust.trust.dimensions import REGISTRY as DIMENSIONS
from comptrust.trust.scorers import SCORERS
from comptrust.trust.suite import SUITES


def judge(
    evidence: Evidence,
    policy: Policy,
    *,
    waivers: Sequence[Waiver] = (),
    trusted: Mapping[str, TrustedKey] = {},
    today: datetime.date | None = None,
    model: str | None = None,
    level: str | None = None,
) -> Verdict:
    """Return the verdict on a candidate: findings on comparability and earlier blocks, then rules.

    Both the policy's waivers and `waivers` apply. Only those signed by a trusted key count, so
    without keys none does. As soon as keys are trusted, evaluations must be signed too, by keys
    that may do so for this registered model and level. `today` decides which waivers and keys have
    expired (default: today, UTC).
    """
    card = evidence.candidate.scorecard
    baseline = evidence.baseline
    scope = {"model": model, "level": level, "today": today}
    proof, evidence = measured.check(evidence, policy, trusted, scope)
    judged = evidence.without(policy.exclude)
    block = earlier.check(evidence, trusted, scope) if policy.stages else None
    found = [
        (finding, waivable) for finding, waivable in ((proof, False), (block, True)) if finding
    ]
    found += [(rule.check(judged), rule.waivable) for rule in policy.rules]
    findings = [
        apply(
            finding,
            [*policy.waivers, *waivers],
            waivable=waivable,
            checkpoint_digest=card.checkpoint_digest,
            trusted=trusted,
            today=today,
        )
        for finding, waivable in found
    ]
    return Verdict(
        policy=policy.name,
        policy_digest=policy.digest,
        checkpoint_digest=card.checkpoint_digest,
        baseline_digest=baseline.scorecard.checkpoint_digest if baseline else None,
        scorecard_digest=card.digest_of_fields(),
        stages=policy.stages,
        findings=(
            _naming_packages(comparability.check(evidence, policy), evidence, policy),
            *findings,
        ),
    )


def _naming_packages(finding: Finding, evidence: Evidence, policy: Policy) -> Finding:
    """Add to a finding which other packages' plug-ins took part in the verdict, if any did."""
    used = [(RULES, rule.name) for rule in policy.rules]
    used += [(DIMENSIONS, score.dimension) for score in evidence.candidate.scorecard.scores]
    if suite := evidence.candidate.suite:
        used += [(SUITES, suite.name)]
        used += [(SCORERS, identity.partition("@")[0]) for identity in suite.scorers.values()]
    packages = plugins.packages(used)
    if not packages:
        return finding
    return finding.model_copy(update={"evidence": finding.evidence | {"packages": packages}})
