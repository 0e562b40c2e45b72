"""The server's tracking store: no experiment keeps its artifacts where they could do harm."""

import os
from collections.abc import Sequence
from typing import NoReturn

from mlflow.entities import ExperimentTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.server.constants import READ_REPLICA_BACKEND_STORE_URI_ENV_VAR
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from comptrust.gate.enforcement import addresses, files
from comptrust.gate.enforcement.frozen import guarded_store

ACTION = "create experiment"


class GuardedTracking(SqlAlchemyStore):
    """MLflow's store of runs, but the place of an experiment's artifacts is checked.

    Runs and logged models get their places from their experiment.
    """

    def __init__(self, store_uri: str, artifact_uri: str) -> None:
        replica = os.environ.get(READ_REPLICA_BACKEND_STORE_URI_ENV_VAR)
        super().__init__(store_uri, artifact_uri, read_db_uri=replica)

    def create_experiment(
        self,
        name: str,
        artifact_location: str | None = None,
        tags: Sequence[ExperimentTag] | None = None,
    ) -> str:
        if artifact_location and (why := _problem(artifact_location)):
            _refuse(name, artifact_location, why)
        return str(super().create_experiment(name, artifact_location, tags))


def _problem(location: str) -> str | None:
    """Return why no experiment may keep its artifacts at a location; None if it may."""
    if problem := addresses.misread(location):
        return problem
    registry, folder = guarded_store(), files.local(location)
    proxied = location.startswith(f"{files.PROXIED}:")
    if folder is None:
        return "it is outside this server's artifact folder" if proxied else None
    for ref, frozen in registry.protected_folders():
        if folder.is_relative_to(frozen):
            return f"it is among the files of {ref}, which is promoted"
    root = files.destination()
    if not proxied and root and (folder.is_relative_to(root) or root.is_relative_to(folder)):
        return "it is a second address of this server's artifact folder"
    if not proxied and not addresses.vouched(location, registry.settings):
        return "it is a folder of the server's machine that no --artifact-root names"
    return None


def _refuse(name: str, location: str, why: str) -> NoReturn:
    finding = f"The artifact_location {location} is refused: {why}."
    guarded_store().guard.log("", "", ACTION, name, "refused", finding)
    raise MlflowException(
        f"comptrust refused: {ACTION} {name}. {finding} Leave artifact_location out, or use"
        f" {files.PROXIED}:/FOLDER.",
        error_code=PERMISSION_DENIED,
    )
