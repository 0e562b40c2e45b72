"""What a registered version needs, besides a passing verdict, before a client promotes it."""

from pathlib import Path

from comptrust.gate import dense, earlier
from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import Policy
from comptrust.gate.signing import attestations, keys, waivers
from comptrust.models import measure, packaged
from comptrust.records import Verdict
from comptrust.report import descriptions
from comptrust.tracking import evaluations, history, promotion, registry, runs
from comptrust.trust import rescoring
from comptrust.workflow import logged_waivers, signatures


def promote(name: str, version: str, *, to: str, policy: Policy) -> promotion.Promotion:
    """Promote a version whose recorded verdict under a policy passes, and say so on its pages."""
    stage, _ = promotion.check_target(to)
    decision = promotion.promote(
        name, version, to=to, policy=policy.digests, check=check(policy, stage=stage)
    )
    if decision.outcome == "pass":
        candidate = registry.resolve(decision.ref)
        descriptions.update(candidate.run_id)
    return decision


def check(policy: Policy, *, stage: str | None) -> promotion.Check:
    """Return the check of a version: scores, sizes, earlier blocks and, with keys, signature."""
    trusted = keys.load_public_keys()

    def refuse(version: registry.Version, registered: Path) -> promotion.Promotion | None:
        signed = _refusal(version, registered=registered, policy=policy, trusted=trusted)
        if signed or not trusted:
            return signed
        attestation, problems = signatures.check(
            version,
            registered=registered,
            trusted=trusted,
            level=stage and stage.lower(),
            policy=policy,
        )
        if problems:
            outcome = attestations.outcome(problems)
            return promotion.Promotion(version.ref, outcome, " ".join(map(str, problems)))
        if attestation and attestation.verdict.policy_digest not in policy.digests:
            return promotion.Promotion(
                version.ref,
                "inconclusive",
                "The signed verdict was given under another policy. Gate it again.",
            )
        return None

    return refuse


def _refusal(
    version: registry.Version, *, registered: Path, policy: Policy, trusted: keys.Trusted
) -> promotion.Promotion | None:
    """Return why a version may not be promoted whoever signed its verdict, None if it may."""
    candidate = evaluations.load(version.ref)
    rescoring.check(candidate, complete=True)
    if candidate.checkpoint:
        measure.check(candidate.checkpoint, registry.checkpoint_in(registered))
        packaged.check(registered)
    if policy.sources:
        recipe, digest = candidate.recipe, _baseline_of(version, policy)
        bound = dense.check(policy.sources, model=version.name, recipe=recipe, checkpoint=digest)
        if bound and bound.outcome != "pass":
            return promotion.Promotion(version.ref, bound.outcome, f"{bound.rule}: {bound.reason}")
    evidence = Evidence(candidate, None, blocked=signatures.blocked(candidate, trusted))
    scope = {"model": version.name}
    finding = earlier.check(evidence, trusted, scope) if policy.stages else None
    if finding is None:
        return None
    finding = waivers.apply(
        finding,
        [*policy.waivers, *logged_waivers.read(version.ref, accepted=True)],
        waivable=True,
        checkpoint_digest=candidate.scorecard.checkpoint_digest,
        trusted=trusted,
        scope=scope,
    )
    if finding.outcome == "pass":
        return None
    return promotion.Promotion(version.ref, finding.outcome, f"{finding.rule}: {finding.reason}")


def _baseline_of(version: registry.Version, policy: Policy) -> str | None:
    with runs.files(version.run_id, "verdict.json") as folder:
        history.restore(version.run_id, policy.digests, into=folder)
        return promotion.read(folder, "verdict.json", Verdict).baseline_digest
