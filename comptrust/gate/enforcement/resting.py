"""Which promotions rest on a key: on its verdicts, its measurements or its waivers.

A revoked key is recorded with them, once, by the first server of the log that sees it.
"""

import contextlib
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException

from comptrust.errors import ServiceError, UserError
from comptrust.gate.enforcement import audit, lapse, recheck, reconcile, replay
from comptrust.gate.enforcement.audit_record import AuditRecord, Grant, written
from comptrust.gate.enforcement.evidence_store import EvidenceStore
from comptrust.gate.enforcement.places import run_of
from comptrust.gate.enforcement.settings import Settings
from comptrust.gate.signing import attestations, keys, provenance, revocation, waivers
from comptrust.gate.signing.attestations import NAME, Attestation

if TYPE_CHECKING:
    from comptrust.gate.enforcement.guard import Guard

ATTESTATION = f"candidate/{NAME}"
LINE = b'"decision": "revoked"'
"""Part of the line of each revocation, and of no other: inside a text the quotes are escaped."""


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
    try:
        client = MlflowClient(tracking_uri=registry, registry_uri=registry)
        present = list(reconcile.promotions(client, reconcile.guarded(records, registry)))
    except UnsupportedModelRegistryStoreURIException as error:
        raise UserError(f"{registry} is not the address or database of a registry.") from error
    except MlflowException as error:
        raise ServiceError(
            f"The registry {registry} did not answer: {error.message!a}. Nothing was changed."
        ) from error
    found = []
    for promotion in present:
        version, record = promotion.version, granted.pop(promotion.place, None)
        grant = record.grant if record else None
        run_id = grant.run_id if grant else run_of(version) if version else ""
        signed = None
        with contextlib.suppress(Exception):  # whatever somebody has put there
            signed = recheck.attestation_of(client, run_id)
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
        kept, signed = record.grant and record.grant.evidence, None
        with contextlib.suppress(OSError, KeyError, UserError):
            if store and kept:
                signed = attestations.read(store.place(store.index(kept).files[ATTESTATION]))
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
        for ref, signer in provenance.signers(findings).items()
        if signer == key
    ]
    why += [
        f"waiver of {waiver.who} for {waiver.rule}"
        for waiver in waivers.accepted(findings)
        if waiver.key_id == key
    ]
    return tuple(dict.fromkeys(why))


class Revocations:
    """Reads which keys `comptrust keys revoke` moved out of the folder of trusted keys."""

    def __init__(self, settings: Settings, guard: "Guard") -> None:
        self._settings, self._guard = settings, guard
        self._seen: set[tuple[str, float]] = set()

    def record(self) -> None:
        """Record what was revoked meanwhile; a request without any pays a look at the folder."""
        place, log = self._settings.trusted_keys, self._settings.audit_log
        for path in (place / revocation.REVOKED).glob(keys.PUBLIC) if place and log else ():
            # The time of the file is that of the command: a key may be trusted and revoked again.
            revoked = path.name.removesuffix(keys.PUBLIC[1:]), path.stat().st_mtime
            if log and revoked not in self._seen:
                self._record(log, *revoked)
                self._seen.add(revoked)

    def _record(self, log: Path, key: str, time: float) -> None:
        until = datetime.datetime.fromtimestamp(time, datetime.UTC)
        finding = f"It was trusted until {until:%Y-%m-%d %H:%M:%S} UTC."
        if _recorded(log, key, finding):
            return
        rests = by_log(key, log, self._settings.evidence)
        named = "; ".join(f"{one.ref} ({one.where}: {', '.join(one.why)})" for one in rests)
        with (
            self._guard.locked(),
            lapse.by_itself(f"Promotions that rest on it: {len(rests)}. {named}"),
        ):
            if not _recorded(log, key, finding):  # another worker may have done it meanwhile
                self._guard.log(("", "", "revoke key", key), "revoked", finding)


def _recorded(log: Path, key: str, finding: str) -> bool:
    records = audit.records(log, LINE)
    return any(
        record.target == written(key) and record.finding.startswith(finding) for record in records
    )
