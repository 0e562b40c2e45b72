"""Compare the evidence that a promotion kept with what the runs have now."""

import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository

from comptrust import digests
from comptrust.errors import UserError
from comptrust.gate.enforcement import files
from comptrust.gate.enforcement.evidence_store import EvidenceStore, Kept
from comptrust.gate.enforcement.needed import FREE, GATE
from comptrust.gate.signing import attestations
from comptrust.gate.signing.attestations import Attestation


class KeptEvidence:
    """The evidence store of a log, beside the tracking store of its registry."""

    def __init__(self, client: MlflowClient, store: EvidenceStore) -> None:
        self._client, self._store = client, store
        self._artifacts: dict[str, ArtifactRepository] = {}
        self._listed: dict[tuple[str, str], list[str]] = {}
        self._hashed: dict[tuple[str, str], str] = {}
        self._damage: dict[str, tuple[str, ...]] = {}

    def problems(self, index: str, newest: Attestation | None) -> Iterator[str]:
        """Yield what the store or the runs no longer have, each with what to do.

        `newest` is the verdict on the candidate's run now, if a trusted key signed it.
        """
        try:
            kept = self._store.index(index)
        except UserError as error:
            yield (
                f"the index of its kept evidence is damaged: {error} Restore {self._store.folder}"
                " from a backup, or name its place with --evidence."
            )
            return
        if index not in self._damage:
            self._damage[index] = tuple(self._store.damage(kept))
        for damage in self._damage[index]:
            yield (
                f"its kept evidence is damaged: {damage}. Restore {self._store.folder} from a"
                " backup, or promote it again."
            )
        for role, run_id in kept.runs.items():
            yield from self._of_run(role, run_id, kept, newest if role == "candidate" else None)

    def _of_run(
        self, role: str, run_id: str, kept: Kept, newest: Attestation | None
    ) -> Iterator[str]:
        whose = role if role in ("candidate", "baseline") else f"sibling {role}"
        expected = {
            name.removeprefix(f"{role}/"): digest
            for name, digest in (kept.files | kept.left_out).items()
            if name.startswith(f"{role}/")
        }
        try:
            present = self._files(run_id, expected)
        except (MlflowException, OSError) as error:
            yield (
                f"the run {run_id} of its {whose} cannot be read: {files.reason(error)}. Its"
                f" evidence is kept: {len(expected)} files in {self._store.folder}."
            )
            return
        for name, digest in expected.items():
            # A newer signed verdict is no difference; that it is a good one is checked elsewhere.
            same = present.get(name)
            signed = {**dict.fromkeys(GATE, same), **newest.files.get(role, {})} if newest else {}
            if name in FREE or signed.get(name, digest) == same is not None:
                continue
            if name == attestations.NAME and newest is None:
                continue  # that it cannot be read was said before
            state = "was changed" if name in present else "is missing"
            yield (
                f"{name} of its {whose} (run {run_id}) {state} since it was promoted."
                f" {self._instead(digest)} Restore it there, or gate it again and promote it."
            )

    def instead(self, index: str, name: str) -> str:
        """Say where a file of the candidate is kept."""
        try:
            return self._instead(self._store.index(index).files.get(f"candidate/{name}", ""))
        except UserError:
            return ""

    def _instead(self, digest: str) -> str:
        place = self._store.place(digest)
        return f"The evidence store has it: {place}." if place.is_file() else "It was not kept."

    def _files(self, run_id: str, wanted: Collection[str]) -> dict[str, str]:
        """Return those of the wanted files that a run has -> SHA-256."""
        present = {name for name in wanted if name in self._names(run_id, name.rpartition("/")[0])}
        with tempfile.TemporaryDirectory() as temporary:
            for name in [name for name in present if (run_id, name) not in self._hashed]:
                path = self._own(run_id).download_artifacts(name, temporary)
                self._hashed[run_id, name] = digests.of_file(Path(path))
        return {name: self._hashed[run_id, name] for name in present}

    def _names(self, run_id: str, folder: str) -> list[str]:
        """Return the paths of the artifacts in a folder of a run; none if it has no such folder."""
        top = folder.partition("/")[0]
        if top and top not in self._names(run_id, ""):
            return []
        if (run_id, folder) not in self._listed:
            items = self._own(run_id).list_artifacts(folder or None)
            self._listed[run_id, folder] = [item.path for item in items]
        return self._listed[run_id, folder]

    def _own(self, run_id: str) -> ArtifactRepository:
        """Return the store of a run's own artifacts: the client would read those of a logged model
        that somebody laid over them.
        """
        if run_id not in self._artifacts:
            uri = self._client.get_run(run_id).info.artifact_uri
            self._artifacts[run_id] = files.repository(uri, self._client.tracking_uri)
        return self._artifacts[run_id]
