"""Judging: check a candidate against every rule of a policy.

Anything absent or incomparable keeps a candidate from passing.
"""

import dataclasses
import datetime
from collections.abc import Iterator, Mapping, Sequence

from comptrust import plugins
from comptrust.gate import comparability, dense, earlier, measured, pins, stopping
from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import RULES, Policy
from comptrust.gate.signing.roles import TrustedKey
from comptrust.gate.signing.waivers import Waiver, apply
from comptrust.records import CHOSEN, Finding, Verdict
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
    level: str | None = None,
) -> Verdict:
    """Return the verdict on a candidate.

    Findings on comparability, pinned suites and sources, and earlier blocks come first, then rules.

    Both the policy's waivers and `waivers` apply. Only those signed by a trusted key count, so
    without keys none does. As soon as keys are trusted, evaluations must be signed too, by keys
    that may do so for the evidence's registered model and this level. `today` decides which waivers
    and keys have expired (default: today, UTC).
    """
    card = evidence.candidate.scorecard
    baseline = evidence.baseline
    scope = {"model": evidence.model or None, "level": level, "today": today}
    proof, evidence = measured.check(evidence, policy, trusted, scope)
    pin = pins.named(evidence.candidate.suite, policy.suites) if policy.stages else None
    least = pin.items_at_least if pin else {}
    judged = dataclasses.replace(evidence.without(policy.exclude), items_at_least=least)
    stop, judged = stopping.check(judged, policy)
    few = pins.too_few(judged, least)
    block = earlier.check(evidence, trusted, scope) if policy.stages else None
    found = [
        (finding, waivable)
        for finding, waivable in ((proof, False), (block, True), (stop, False))
        if finding
    ]
    found += [
        (_undecided(finding) if few and rule.rests_on_scores else finding, rule.waivable)
        for rule in policy.rules
        for finding in [rule.check(judged)]
    ]
    findings = [
        apply(
            finding,
            [*policy.waivers, *waivers],
            waivable=waivable,
            checkpoint_digest=card.checkpoint_digest,
            trusted=trusted,
            scope=scope,
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
            _saying_how_chosen(
                _naming_packages(comparability.check(evidence, policy), evidence, policy), evidence
            ),
            *_places(evidence, policy),
            *findings,
        ),
    )


def _places(evidence: Evidence, policy: Policy) -> Iterator[Finding]:
    """Yield the findings on what a policy pins: its suites, and the dense sources of names."""
    if policy.stages:
        yield pins.check(evidence, policy.suites, policy=policy.name)
    bound = dense.check(
        policy.sources,
        model=evidence.model,
        recipe=evidence.recipe,
        checkpoint=evidence.baseline.scorecard.checkpoint_digest if evidence.baseline else None,
    )
    if bound:
        yield bound


def _undecided(finding: Finding) -> Finding:
    """Return a finding on fewer items than the policy asks for: it blocks nothing."""
    if finding.outcome != "block":
        return finding
    reason = f"Too few items to decide. {finding.reason}"
    return finding.model_copy(update={"outcome": "inconclusive", "reason": reason})


def _saying_how_chosen(finding: Finding, evidence: Evidence) -> Finding:
    """Add to a finding among how many others a search chose the candidate, if one did."""
    chosen = evidence.candidate.scorecard.provenance.get(CHOSEN)
    if not chosen:
        return finding
    return finding.model_copy(
        update={
            "reason": f"{finding.reason} A search chose the candidate: {chosen}.",
            "evidence": finding.evidence | {CHOSEN: chosen},
        }
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
