"""Record a verdict: in the history of its run, in the tags of its version, in what pages say."""

from comptrust.gate.signing import attestations
from comptrust.records import Verdict
from comptrust.report import descriptions
from comptrust.tracking import history, registry, runs
from comptrust.workflow.signatures import SignatureStatus


def record(
    run_id: str, verdict: Verdict, signature: SignatureStatus, version: registry.Version | None
) -> None:
    """Record a verdict that was logged on a run, with its signature if it has one."""
    signed = signature.attestation
    key_id, until = (signed.key_id, signed.expires) if signed else ("", None)
    event = history.of_verdict(verdict, key_id=key_id)
    history.record(run_id, event, {attestations.VERDICT: runs.text_of(verdict), **signature.files})
    if version:
        registry.claim(version, verdict, until=until)
    descriptions.update(run_id)
