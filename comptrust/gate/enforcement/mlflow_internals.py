"""MLflow's private names that enforcement needs, all of them here.

None has a public equivalent. When MLflow is upgraded, this is the file to check; a name that is
gone fails at import, so the server does not start unguarded.
"""

from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import _PROMPT_SOURCE_PLACEHOLDERS
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry
from mlflow.store.artifact.local_artifact_repo import (
    _TEMP_ARTIFACT_PREFIX,
    LocalArtifactRepository,
)
from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.store.model_registry.abstract_store import AbstractStore
from mlflow.tracking._model_registry.client import ModelRegistryClient
from mlflow.utils.validation import _validate_model_version

TRACKING_STORE = "_MLFLOW_SERVER_FILE_STORE"
"""Environment variable in which a server's processes find the tracking store: evidence is there."""
REGISTRY_STORE = "_MLFLOW_SERVER_REGISTRY_STORE"
"""Set in a server's processes and nowhere else: tells a server from a plain client."""
ARTIFACT_DESTINATION = "_MLFLOW_SERVER_ARTIFACT_DESTINATION"
"""Environment variable with the folder or bucket that a server serves: files there can freeze."""

SERVER_KIND = "_MLFLOW_SGI_NAME"
"""Environment variable that says which program serves: uvicorn or gunicorn."""
UPLOAD_PREFIX = _TEMP_ARTIFACT_PREFIX
"""Starts the file name of an upload in progress, which is not part of a version yet."""

_PUBLISH = LocalArtifactRepository._publish_staged_artifact  # must exist to be overridden below


def is_prompt_source(version: ModelVersion) -> bool:
    """Whether a version has no files: prompts are versions too, with a placeholder as source."""
    return version.source in _PROMPT_SOURCE_PLACEHOLDERS


def is_prompt(model: RegisteredModel) -> bool:
    """Whether a registered model was created as a prompt; the tag alone could be added later."""
    return bool(model._is_prompt())


def registry_of(client: MlflowClient) -> ModelRegistryClient:
    """Return the client's registry, which does not hide what is tagged as a prompt."""
    return client._get_registry_client()


def existing_version(
    get: Callable[[str, str], ModelVersion], name: str, version: object
) -> ModelVersion | None:
    """Return a version, or None if an alias points to one that does not exist."""
    try:
        return get(name, str(version))
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        return None


def version_number(version: str) -> int:
    """Read a version as MLflow does: `1`, `01` and 1 name the same one."""
    return int(_validate_model_version(version))


def registry_store() -> AbstractStore:
    """Return the store of this server's requests, so that artifacts ask the same registry."""
    from mlflow.server.handlers import _get_model_registry_store

    return _get_model_registry_store()


def use_stores(
    tracking: Callable[[str, str], object], local_artifacts: type[LocalArtifactRepository]
) -> None:
    """Let this server keep its runs in `tracking`, and open local folders as the other says.

    Several of MLflow's handlers write where an experiment says, not only below the artifact folder.
    """
    from mlflow.server.handlers import _tracking_store_registry

    for scheme in DATABASE_ENGINES:
        _tracking_store_registry.register(scheme, tracking)
    for scheme in ("", "file"):
        _artifact_repository_registry.register(scheme, local_artifacts)


class PublishingRepository(LocalArtifactRepository):
    """A local artifact folder that says when an uploaded file appears under its final name.

    The public methods return after the whole upload, which is too early and too late for a lock.
    """

    @abstractmethod
    def publishing(self, path: Path, staged: Path) -> AbstractContextManager[None]:
        """Enter before the file `staged` appears at `path`, leave when it has appeared."""

    def _publish_staged_artifact(
        self,
        temp_file_path: str,
        destination_file_path: str,
        finalize_temp_path: Callable[[str], None] | None = None,
    ) -> None:
        with self.publishing(Path(destination_file_path), Path(temp_file_path)):
            _PUBLISH(self, temp_file_path, destination_file_path, finalize_temp_path)
