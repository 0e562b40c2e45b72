"""The server's artifact folder, in which what promoted versions rest on cannot be changed.

Their files stay as they were judged: nothing is overwritten, added or deleted. The same holds for
the evidence in their runs and in those of their baselines and siblings.
"""

import asyncio
from collections.abc import AsyncIterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

from comptrust.gate.enforcement import mlflow_internals, needed
from comptrust.gate.enforcement.settings import SCHEME
from comptrust.gate.enforcement.store import GuardedStore
from comptrust.gate.signing import attestations


class FrozenRepository(mlflow_internals.PublishingRepository):
    """A local artifact folder that asks the guarded registry before each write.

    A file appears under the lock that promotions also hold. Either it is in place before a version
    is hashed for the last time, or it comes after the promotion and is refused, however long its
    upload took. The checks before an upload only save the transfer of a file that will be refused.
    """

    def __init__(
        self, artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
    ) -> None:
        super().__init__(artifact_uri.removeprefix(SCHEME), tracking_uri, registry_uri)

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        self._refuse_early(self._below(artifact_path) / Path(local_file).name)
        super().log_artifact(local_file, artifact_path)

    def log_artifact_from_stream(
        self, stream: BinaryIO, artifact_file_name: str, artifact_path: str | None = None
    ) -> None:
        self._refuse_early(self._below(artifact_path) / artifact_file_name)
        super().log_artifact_from_stream(stream, artifact_file_name, artifact_path)

    async def log_artifact_from_async_stream(
        self,
        chunks: AsyncIterable[bytes],
        artifact_file_name: str,
        artifact_path: str | None = None,
    ) -> None:
        target = self._below(artifact_path) / artifact_file_name
        await asyncio.to_thread(self._refuse_early, target)
        await super().log_artifact_from_async_stream(chunks, artifact_file_name, artifact_path)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        self._refuse_early(self._below(artifact_path))
        with guarded_store().guard.locked():
            for path in filter(Path.is_file, Path(local_dir).rglob("*")):
                target = self._below(artifact_path) / path.relative_to(local_dir)
                self._refuse_frozen(target, staged=path)
            super().log_artifacts(local_dir, artifact_path)

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        target = self._below(artifact_path)
        with guarded_store().guard.locked():
            for path in (target, *target.rglob("*")):
                self._refuse_frozen(path)
            super().delete_artifacts(artifact_path)

    @contextmanager
    def publishing(self, path: Path, staged: Path) -> Iterator[None]:
        with guarded_store().guard.locked():
            self._refuse_frozen(path, staged=staged)
            if path.name == attestations.NAME:
                guarded_store().guard.verifier.see(staged, path.resolve().parent)
            yield

    def _below(self, artifact_path: str | None) -> Path:
        return Path(self.artifact_dir, artifact_path or "")

    def _refuse_early(self, path: Path) -> None:
        """Refuse a file of a promoted version before it is sent; the others are checked later."""
        index = guarded_store().promoted.last
        # What is remembered may be old, so it only says when to look.
        if index and index.of_folder(path.resolve()):
            with guarded_store().guard.locked():
                self._refuse_frozen(path, staged=path)

    def _refuse_frozen(self, path: Path, *, staged: Path | None = None) -> None:
        """Raise PERMISSION_DENIED unless the path may be written, or deleted if nothing is staged.

        The caller holds the log's lock.
        """
        store = guarded_store()
        index, trusted = store.promoted.now(), store.settings.trusted_keys
        if why := needed.problem(index, path.resolve(), trusted=trusted, staged=staged):
            raise MlflowException(
                f"comptrust refused to write {path.name}: {why}, so its files cannot change. Log a"
                " new model and register it, or archive that version first.",
                error_code=PERMISSION_DENIED,
            )


class ForeignRepository(FrozenRepository):
    """A local folder that an experiment names: this server reads it, but never writes there.

    It may be a second address of the artifact folder, or of a place that the operator vouches for.
    """

    def _refuse_early(self, path: Path) -> NoReturn:
        self._refuse_frozen(path)

    def _refuse_frozen(self, path: Path, *, staged: Path | None = None) -> NoReturn:
        raise MlflowException(
            f"comptrust refused to write {path.name}: its experiment keeps artifacts in a folder"
            " outside this server's artifact folder. Use an experiment without artifact_location.",
            error_code=PERMISSION_DENIED,
        )


def frozen_uri(destination: str) -> str:
    """Return the `comptrust+file:` URI of a local artifact folder."""
    return SCHEME + Path(destination).absolute().as_uri()


def guarded_store() -> GuardedStore:
    """Return this server's guarded registry. Raises PERMISSION_DENIED if it is not guarded."""
    store = mlflow_internals.registry_store()
    if not isinstance(store, GuardedStore):
        raise MlflowException(
            "The artifact folder is comptrust+file: but the registry is not guarded. Start this"
            " server with `comptrust serve`.",
            error_code=PERMISSION_DENIED,
        )
    return store
