"""Check again what was granted: the version's place, its files and its signed verdict."""

import datetime
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from comptrust import digests
from comptrust.errors import UserError
from comptrust.gate.enforcement import files
from comptrust.gate.enforcement.audit_record import AuditRecord, Grant, written
from comptrust.gate.enforcement.evidence_store import EvidenceStore
from comptrust.gate.enforcement.kept_evidence import KeptEvidence
from comptrust.gate.enforcement.mlflow_internals import registry_of
from comptrust.gate.enforcement.places import run_of
from comptrust.gate.signing import attestations, keys, provenance


def attestation_of(client: MlflowClient, run_id: str) -> attestations.Attestation:
    """Return the signed verdict of a run. Raises UserError or MlflowException if it is gone."""
    if client.get_run(run_id).info.lifecycle_stage == LifecycleStage.DELETED:
        raise UserError("The run was deleted.")
    with tempfile.TemporaryDirectory() as temporary:
        path = client.download_artifacts(run_id, attestations.NAME, temporary)
        return attestations.read(Path(path))


class Recheck:
    """Checks promoted versions as a client of the registry sees them."""

    def __init__(
        self, client: MlflowClient, registry: str, trusted: keys.Trusted, evidence: EvidenceStore
    ) -> None:
        self._client, self._registry, self._trusted = client, registry, trusted
        self._evidence = KeptEvidence(client, evidence)
        self._hashed: dict[str, str] = {}

    def problems(self, version: ModelVersion, where: str, record: AuditRecord) -> Iterator[str]:
        """Yield what is no longer as a record granted it, each with what to do.

        `where` says in which place the version is promoted.
        """
        ref = f"models:/{version.name}/{version.version}"
        what = f"{ref} ({where}, granted in record {record.number})"
        grant = record.grant
        served = registry_of(self._client).get_model_version_download_uri(
            version.name, version.version
        )
        for name, now, then in (
            ("source", version.source, grant and grant.source),
            ("storage place", served, grant and grant.storage),
        ):
            if then is not None and written(now or "") != then:
                yield (
                    f"{what}: its {name} is {now}, but {then} was granted. Somebody changed the"
                    " database past the server: set it back or archive this version, and check who"
                    " can write to the database."
                )
                return  # other files than the granted ones
        if grant and grant.emergency:
            yield from self._of_emergency(grant, version, what)
        run_id = grant.run_id if grant else run_of(version)
        attestation: attestations.Attestation | None = None
        try:
            if not (grant and grant.emergency):
                attestation = attestation_of(self._client, run_id)
        except (MlflowException, OSError, UserError) as error:
            kept = grant and grant.evidence
            instead = f" {self._evidence.instead(kept, attestations.NAME)}" if kept else ""
            yield (
                f"{what}: its signed verdict cannot be read from run {run_id}:"
                f" {files.reason(error)}.{instead} Restore it, or gate it again: comptrust gate"
                f" {ref} --record"
            )
        granted = grant.files if grant else ""
        if attestation:
            same = grant and grant.attestation in attestation.digests
            expires = grant.expires if grant and same else attestation.expires
            yield from self._of_attestation(attestation, version, what, ref, expires=expires)
            granted = granted or digests.of_value(attestation.artifact)
        if grant and grant.evidence:
            proven = attestation and keys.proven(attestation, self._trusted)
            newest = attestation if proven else None
            for problem in self._evidence.problems(grant.evidence, newest):
                yield f"{what}: {problem}"
        try:
            if granted and self._files(served) != granted:
                yield (
                    f"{what}: its files at {served} changed since they were granted. Archive this"
                    " version, restore its files or register them again, and check who can write"
                    " there."
                )
        except (MlflowException, OSError, UserError) as error:
            yield (
                f"{what}: its files at {served} cannot be read from here: {files.reason(error)}."
                " Restore them, or audit through the address of the server: --registry http://..."
            )

    def _of_attestation(
        self,
        attestation: attestations.Attestation,
        version: ModelVersion,
        what: str,
        ref: str,
        *,
        expires: datetime.datetime,
    ) -> Iterator[str]:
        # As of its own time: whether it has expired since is another question.
        for problem in attestations.problems(
            attestation,
            trusted=self._trusted,
            run_id=attestation.run_id,
            model=version.name,
            now=attestation.issued,
        ):
            yield (
                f"{what}: {problem} Gate it again with a trusted key (comptrust gate {ref}"
                " --record), or archive it."
            )
        signers = set(provenance.signers(attestation.verdict.findings).values())
        if unknown := signers - {*self._trusted, attestation.key_id}:  # that one is named above
            yield (
                f"{what}: evaluations behind it are signed by {', '.join(sorted(unknown))}, which"
                f" is not trusted here. Evaluate it again with a trusted key, then: comptrust gate"
                f" {ref} --record"
            )
        if datetime.datetime.now(datetime.UTC) >= expires:
            yield (
                f"{what}: its signature expired on {expires:%Y-%m-%d %H:%M} UTC; it was"
                f" valid when it was granted. Gate it again: comptrust gate {ref} --record"
            )

    def _of_emergency(self, grant: Grant, version: ModelVersion, what: str) -> Iterator[str]:
        if datetime.datetime.now(datetime.UTC) >= grant.expires:
            yield (
                f"{what}: the emergency that it was promoted for ended at"
                f" {grant.expires:%Y-%m-%d %H:%M} UTC. Any request to the server takes it back; or"
                " archive it or move the alias."
            )
        key = self._trusted.get(grant.key_id)
        refusal = key.refusal("release", model=version.name) if key else "is not trusted here"
        if refusal:
            yield (
                f"{what}: it was promoted in an emergency signed by key {grant.key_id}, which"
                f" {refusal}. Archive it."
            )

    def _files(self, uri: str) -> str:
        """Return the digest of the files at a URI: of path -> SHA-256."""
        if uri not in self._hashed:
            with tempfile.TemporaryDirectory() as temporary:
                folder = files.local(uri)
                if folder is None:
                    repository = get_artifact_repository(uri, tracking_uri=self._registry)
                    folder = Path(repository.download_artifacts("", temporary))
                if not folder.is_dir():
                    raise UserError("The folder is gone.")
                self._hashed[uri] = digests.of_value(attestations.held_by(folder))
        return self._hashed[uri]
