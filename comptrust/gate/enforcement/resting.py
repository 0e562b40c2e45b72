"""Which promotions rest on a key: on its verdicts, its measurements or its waivers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from comptrust.errors import ServiceError, UserError
from comptrust.gate import measured
from comptrust.gate.enforcement import audit, recheck, reconcile, replay
from comptrust.gate.enforcement.audit_record import AuditRecord, Grant
from comptrust.gate.enforcement.evidence_store import EvidenceStore
from comptrust.gate.enforcement.places import run_of
from comptrust.gate.signing import attestations, waivers
from comptrust.gate.signing.attestations import NAME, Attestation


@dataclass(frozen=True)
class Resting:
    """A promotion that rests on a key."""

    ref: str
    """The version, as users type it."""
    where: str
    """`in Production` or `@champion`."""
    why: tuple[str, ...]
    """What the key signed for it."""


def on(key: str, records: Sequence[AuditRecord], registry: str) -> tuple[Resting, ...]:
    """Return what is promoted in a registry, or granted in its log, and rests on a key.

    A promotion whose signed verdict cannot be read is named too. Raises ServiceError if the
    registry does not answer.
    """
    granted = replay.promoted(replay.history(records))
    client = MlflowClient(tracking_uri=registry, registry_uri=registry)
    try:
        present = list(reconcile.promotions(client, reconcile.guarded(records, registry)))
    except MlflowException as error:
        raise ServiceError(
            f"The registry {registry} did not answer: {error.message!a}. Nothing was changed."
        ) from error
    found = []
    for promotion in present:
        version, record = promotion.version, granted.pop(promotion.place, None)
        grant = record.grant if record else None
        run_id = grant.run_id if grant else run_of(version) if version else ""
        try:
            signed = recheck.attestation_of(client, run_id)
        except (MlflowException, OSError, UserError):
            signed = None
        found.append(Resting(promotion.ref, promotion.where, _why(key, grant, signed)))
    for record in granted.values():
        if record.grant and record.grant.key_id == key:
            where = f"granted in record {record.number}, not in the registry"
            found.append(Resting(_ref(record), where, ("verdict",)))
    return tuple(one for one in found if one.why)


def by_log(key: str, log: Path, evidence: Path | None) -> tuple[Resting, ...]:
    """Return what a log leaves promoted and rests on a key, by the evidence that was kept."""
    store = EvidenceStore(evidence) if evidence else None
    found = []
    for record in replay.promoted(replay.history(audit.records(log))).values():
        try:
            kept = record.grant and record.grant.evidence
            place = store and store.place(store.index(kept or "").files[f"candidate/{NAME}"])
            signed = attestations.read(place) if place else None
        except (OSError, KeyError, UserError):
            signed = None
        where = f"{reconcile.where(record)}, record {record.number}"
        found.append(Resting(_ref(record), where, _why(key, record.grant, signed)))
    return tuple(one for one in found if one.why)


def _ref(record: AuditRecord) -> str:
    return f"models:/{record.model}/{record.version}"


def _why(key: str, grant: Grant | None, signed: Attestation | None) -> tuple[str, ...]:
    """Name what a key signed for a promotion, as far as its signed verdict can be read."""
    why = ["verdict"] if grant and grant.key_id == key else []
    if grant and grant.emergency:
        return ("emergency",) if why else ()
    if signed is None:
        return (*why, "unknown: its signed verdict cannot be read")
    findings = signed.verdict.findings
    why += ["verdict"] if signed.key_id == key else []
    why += [
        f"evaluation of {ref}"
        for ref, signer in measured.signers(findings).items()
        if signer == key
    ]
    why += [
        f"waiver of {waiver.who} for {waiver.rule}"
        for waiver in waivers.accepted(findings)
        if waiver.key_id == key
    ]
    return tuple(dict.fromkeys(why))
