"""The two ways to a guarded place without a verdict that is valid now: a rollback, an emergency.

Both are narrow. The files, their place and their address are checked as for any other promotion.
"""

import tempfile
from pathlib import Path

from mlflow.entities.model_registry import ModelVersion

from comptrust import digests
from comptrust.errors import UserError
from comptrust.gate.enforcement import replay
from comptrust.gate.enforcement.audit_record import AuditRecord, Grant
from comptrust.gate.enforcement.places import run_of
from comptrust.gate.enforcement.settings import Level
from comptrust.gate.enforcement.verifier import Verified, Verifier
from comptrust.gate.signing import emergency

SAME = ("source", "storage", "run_id", "files", "attestation", "key_id")
"""Fields of a grant that a rollback must find as they were."""


class ExceptionalVerifier(Verifier):
    """Verifies; what does not pass may be a former promotion or an emergency."""

    def exceptional(
        self,
        version: ModelVersion,
        level: Level,
        uri: str,
        place: replay.Place,
        target: str,
        changes: replay.History,
        refusal: UserError,
    ) -> Verified:
        """Verify a version that was refused as a rollback, then as an emergency.

        `changes` is what the log says of its model, and `target` the stage or alias of `place`.
        Raises the refusal, with the reason why neither applies if there is something to say.
        """
        value = str(version.version) if place[0] == "alias" else target
        former = replay.former(changes, place, value)
        if former and self.settings.policies[level].rollback != "forbidden":
            try:
                return self._rollback(version, level, uri=uri, former=former)
            except UserError as error:
                refusal = UserError(
                    f"{refusal} Record {former.number} granted this before, but it cannot be rolled"
                    f" back to: {error}"
                )
        with tempfile.TemporaryDirectory() as temporary:
            folder, run_id = Path(temporary), run_of(version)
            if not run_id:
                raise refusal
            path = self.places.fetch(run_id, (emergency.NAME,), folder) / emergency.NAME
            if not path.is_file():
                raise refusal
            record = emergency.read(path)
            problem = emergency.problem(
                record,
                trusted=self.trusted(),
                model=version.name,
                version=str(version.version),
                place=target,
            )
            # A signature has several forms; what was signed has one.
            digest = digests.of_bytes(record.payload())
            known = (digest, *record.digests)  # as older logs name it
            if not problem and replay.spent(changes, place, str(version.version), known):
                problem = f"{emergency.NAME} was used, and its version was replaced or taken back."
            if problem:
                raise UserError(f"{refusal} No emergency either: {problem}")
            snapshot = self.places.hashed(version, uri, folder)
        present = digests.of_value(snapshot.digests)
        if present != record.files:
            raise UserError(f"{refusal} No emergency either: {emergency.NAME} is for other files.")
        grant = Grant(
            source=version.source,
            storage=uri,
            run_id=run_of(version),
            files=present,
            attestation=digest,
            policy=self.settings.policies[level].digest,
            key_id=record.key_id,
            expires=record.until,
            emergency=record.why,
        )
        reason = f"{emergency.notice(record.until, record.why)} Signed by {record.key_id}"
        return reason, snapshot, grant

    def _rollback(
        self, version: ModelVersion, level: Level, *, uri: str, former: AuditRecord
    ) -> Verified:
        """Verify a version as of the time when a record granted it; only time is forgiven."""
        assert former.grant is not None
        key_id = former.grant.key_id
        key = self.trusted_at(self.settings.policies[level], former.time).get(key_id)
        # A key that has ended since is not trusted now, whatever it was then; one that was revoked
        # is if the policy says so.
        refusal = key.refusal("gate", model=version.name, level=level) if key else "is not trusted"
        if refusal:
            raise UserError(f"Key {key_id} {refusal}.")
        reason, snapshot, grant = self.verify(version, level, uri=uri, then=former.time)
        if former.grant.attestation == grant.older:
            grant = grant.model_copy(update={"attestation": grant.older})
        changed = [name for name in SAME if getattr(grant, name) != getattr(former.grant, name)]
        if changed:
            raise UserError(f"It is no longer what was granted ({', '.join(changed)}).")
        reason = f"rollback to what record {former.number} granted: {reason}, valid at that time"
        return reason, snapshot, grant.model_copy(update={"rollback": former.number})
