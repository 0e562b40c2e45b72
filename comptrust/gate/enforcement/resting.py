"""Which promotions rest on a key: on its verdicts, its measurements or its waivers."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException

from comptrust.errors import ServiceError, UserError
from comptrust.gate.enforcement import recheck, reconcile, replay
from comptrust.gate.enforcement.audit_record import AuditRecord
from comptrust.gate.enforcement.verifier import EVALUATED_BY
from comptrust.gate.signing import provenance, waivers
from comptrust.gate.signing.attestations import Attestation


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
        run_id = grant.run_id if grant else ""
        if version is not None and not run_id:
            run_id = (version.tags or {}).get(EVALUATED_BY) or version.run_id or ""
        why = ["verdict"] if grant and grant.key_id == key else []
        try:
            why += _signed(recheck.attestation_of(client, run_id), key)
        except (MlflowException, OSError, UserError):
            why += ["unknown: its signed verdict cannot be read"]
        found.append(Resting(promotion.ref, promotion.where, tuple(dict.fromkeys(why))))
    for record in granted.values():
        if record.grant and record.grant.key_id == key:
            ref = f"models:/{record.model}/{record.version}"
            where = f"granted in record {record.number}, not in the registry"
            found.append(Resting(ref, where, ("verdict",)))
    return tuple(one for one in found if one.why)


def _signed(attestation: Attestation, key: str) -> list[str]:
    """Name what a key signed for a verdict."""
    findings = attestation.verdict.findings
    measurements = provenance.signers(findings).items()
    return [
        *(["verdict"] if attestation.key_id == key else []),
        *(f"evaluation of {ref}" for ref, signer in measurements if signer == key),
        *(
            f"waiver of {waiver.who} for {waiver.rule}"
            for waiver in waivers.accepted(findings)
            if waiver.key_id == key
        ),
    ]
