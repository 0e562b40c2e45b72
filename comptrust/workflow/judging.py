"""Judge a candidate that was evaluated before, record the verdict on its run and sign it."""

from dataclasses import dataclass
from pathlib import Path

from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import Policy
from comptrust.gate.verdict import judge
from comptrust.records import Verdict
from comptrust.tracking import evaluations, promotion, registry
from comptrust.trust.evaluation import Evaluation
from comptrust.workflow import signatures


@dataclass(frozen=True)
class Judgment:
    """A verdict with what it is about."""

    candidate: Evaluation
    baseline: Evaluation | None
    verdict: Verdict
    signature: signatures.SignatureStatus


def judge_again(
    candidate: str, *, baseline: str | None, policy: Policy, waivers: Path | None
) -> Judgment:
    """Judge `models:/NAME/VERSION`, `runs:/ID` or a scorecard file under a policy.

    Without `baseline` the logged dense evaluation of the same suite is used. `waivers` is a file
    of signed waivers, beside those logged on the candidate's run.
    """
    signer = signatures.Signer.load()
    measured = evaluations.load(candidate)
    dense = evaluations.load(baseline) if baseline else evaluations.baseline(measured)
    evidence = Evidence(
        candidate=measured, baseline=dense, siblings=evaluations.siblings(candidate)
    )
    waived = signatures.waivers(candidate, file=waivers)
    verdict = judge(evidence, policy, waivers=waived, trusted=signer.trusted)
    if candidate.startswith(signatures.REMOTE):
        from comptrust.report import figures

        promotion.record_verdict(candidate, verdict)
        figures.log(registry.run_of(candidate))
    signature = signer.sign(verdict, evidence, days=policy.valid_days)
    return Judgment(measured, dense, verdict, signature)
