"""The server's artifact folder, in which the files of promoted versions stay as they were judged:
no overwriting, adding or deleting.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

if TYPE_CHECKING:
    from comptrust.gate.enforcement.store import GuardedStore

SCHEME = "comptrust+"


class FrozenRepository(LocalArtifactRepository):
    """A local artifact folder that asks the guarded registry before each write.

    A file is published under the lock that promotions hold too: either it is in place before a
    version is hashed for the last time, or it comes after the promotion and is refused, however
    long its upload took.
    """

    def __init__(
        self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
    ) -> None:
        super().__init__(artifact_uri.removeprefix(SCHEME), tracking_uri, registry_uri)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        self._refuse_frozen(self._below(artifact_path) / Path(local_file).name)
        super().log_artifact(local_file, artifact_path)

    def log_artifact_from_stream(
        self, stream: BinaryIO, artifact_file_name: str, artifact_path: str | None = None
    ) -> None:
        self._refuse_frozen(self._below(artifact_path) / artifact_file_name)
        super().log_artifact_from_stream(stream, artifact_file_name, artifact_path)

    async def log_artifact_from_async_stream(
        self,
        chunks: AsyncIterable[bytes],
        artifact_file_name: str,
        artifact_path: str | None = None,
    ) -> None:
        self._refuse_frozen(self._below(artifact_path) / artifact_file_name)
        await super().log_artifact_from_async_stream(chunks, artifact_file_name, artifact_path)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        with _store().guard.audit.locked():
            self._refuse_frozen(self._below(artifact_path))
            super().log_artifacts(local_dir, artifact_path)

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        with _store().guard.audit.locked():
            self._refuse_frozen(self._below(artifact_path))
            super().delete_artifacts(artifact_path)

    def _publish_staged_artifact(
        self,
        temp_file_path: str,
        destination_file_path: str,
        finalize_temp_path: Callable[[str], None] | None = None,
    ) -> None:
        with _store().guard.audit.locked():
            self._refuse_frozen(Path(destination_file_path))
            super()._publish_staged_artifact(
                temp_file_path, destination_file_path, finalize_temp_path
            )

    def _below(self, artifact_path: str | None) -> Path:
        return Path(self.artifact_dir, artifact_path or "")

    def _refuse_frozen(self, path: Path) -> None:
        """Raise PERMISSION_DENIED if the path is in, or above, the files of a promoted version."""
        touched = path.resolve()
        for ref, folder in _store().protected_folders():
            if touched.is_relative_to(folder) or folder.is_relative_to(touched):
                raise MlflowException(
                    f"comptrust refused to write {path.name}: it belongs to {ref}, which is"
                    " promoted, so its files stay as judged. Log a new model and register it, or"
                    " archive that version first.",
                    error_code=PERMISSION_DENIED,
                )


def frozen_uri(destination: str) -> str:
    """Return the `comptrust+file:` URI of a local artifact folder."""
    return SCHEME + Path(destination).absolute().as_uri()


def _store() -> GuardedStore:
    """Return this server's guarded registry. Raises PERMISSION_DENIED if its registry is not
    guarded.
    """
    from mlflow.server.handlers import _get_model_registry_store

    from comptrust.gate.enforcement.store import GuardedStore

    store = _get_model_registry_store()
    if not isinstance(store, GuardedStore):
        text = (
            "The artifact folder is comptrust+file: but the registry is not guarded. Start this"
            " server with `comptrust serve`."
        )
        raise MlflowException(text, error_code=PERMISSION_DENIED)
    return store
