"""The server's tracking store.

No experiment keeps its artifacts where they could do harm, and what a promoted version rests on is
not deleted.
"""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TypeVar

from mlflow.entities import (
    ExperimentTag,
    LoggedModel,
    LoggedModelParameter,
    LoggedModelStatus,
    LoggedModelTag,
    Metric,
    Param,
    Run,
    RunInfo,
    RunStatus,
    RunTag,
)
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.server.constants import READ_REPLICA_BACKEND_STORE_URI_ENV_VAR
from mlflow.store.tracking.dbmodels.models import SqlLoggedModel, SqlRun
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from comptrust import description
from comptrust.gate.enforcement import files, names
from comptrust.gate.enforcement.frozen import guarded_store

ACTION = "create experiment"
T = TypeVar("T", ExperimentTag, LoggedModelTag)

EVALUATION_TAGS = {
    *("base_model", "bits", "checkpoint_digest", "code_digest", "engine", "method", "recipe"),
    *("rendering_digest", "revision", "scorecard_digest", "seed", "sparsity", "structure"),
    *("suite_digest", "weights"),
}
"""Tags by which evaluations are found and compared."""


class GuardedTracking(SqlAlchemyStore):
    """MLflow's store of runs, with two differences.

    The place of an experiment's artifacts is checked; runs and logged models get their places from
    their experiment. While a version is promoted, its run, those of its baseline and siblings, and
    their logged models and experiments stay, and so do the tags by which they are found.
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
            finding = f"The artifact_location {artifact_location} is refused: {why}."
            guarded_store().guard.log(("", "", ACTION, name), "refused", finding)
            raise MlflowException(
                f"comptrust refused: {ACTION} {name}. {finding} Leave artifact_location out, or use"
                f" {files.PROXIED}:/FOLDER.",
                error_code=PERMISSION_DENIED,
            )
        tags = _people(tags, target=f"experiment {name}")
        return str(super().create_experiment(name, artifact_location, tags))

    def set_experiment_tag(self, experiment_id: str, tag: ExperimentTag) -> None:
        [tag] = _people([tag], target=f"experiment {experiment_id}")
        super().set_experiment_tag(experiment_id, tag)

    def create_logged_model(
        self,
        experiment_id: str,
        name: str | None = None,
        source_run_id: str | None = None,
        tags: list[LoggedModelTag] | None = None,
        params: list[LoggedModelParameter] | None = None,
        model_type: str | None = None,
    ) -> LoggedModel:
        tags = _people(tags, target=f"logged model {name}")
        return super().create_logged_model(
            experiment_id, name, source_run_id, tags, params, model_type
        )

    def set_logged_model_tags(self, model_id: str, tags: list[LoggedModelTag]) -> None:
        tags = _people(tags, target=f"logged model {model_id}")
        super().set_logged_model_tags(model_id, tags)

    def delete_experiment(self, experiment_id: str) -> None:
        with _kept("delete experiment", experiment_id, lambda: self._contents(experiment_id)):
            super().delete_experiment(experiment_id)

    def delete_run(self, run_id: str) -> None:
        with _kept("delete run", run_id):
            super().delete_run(run_id)

    def update_run_info(
        self, run_id: str, run_status: int | None, end_time: int | None, run_name: str | None
    ) -> RunInfo:
        # A run that has not finished is not found as a baseline.
        renamed = run_status in (None, RunStatus.FINISHED)
        with nullcontext() if renamed else _kept("change the status of run", run_id):
            return super().update_run_info(run_id, run_status, end_time, run_name)

    def delete_logged_model(self, model_id: str) -> None:
        with _kept("delete logged model", model_id):
            super().delete_logged_model(model_id)

    def finalize_logged_model(self, model_id: str, status: LoggedModelStatus) -> LoggedModel:
        with _kept("change the status of logged model", model_id):
            return super().finalize_logged_model(model_id, status)

    def create_run(
        self,
        experiment_id: str,
        user_id: str,
        start_time: int,
        tags: Sequence[RunTag],
        run_name: str,
    ) -> Run:
        tags = _described("", tags)
        return super().create_run(experiment_id, user_id, start_time, tags, run_name)

    def set_tag(self, run_id: str, tag: RunTag) -> None:
        [tag] = _described(run_id, [tag])
        with _kept(f"set tag {tag.key} of run", run_id, tags=[tag.key]):
            super().set_tag(run_id, tag)

    def delete_tag(self, run_id: str, key: str) -> None:
        with _kept(f"delete tag {key} of run", run_id, tags=[key]):
            super().delete_tag(run_id, key)
        [left] = _described(run_id, [RunTag(key, "")])
        if left.value:  # what is the server's stays
            super().set_tag(run_id, left)

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric],
        params: Sequence[Param],
        tags: Sequence[RunTag],
    ) -> None:
        tags = _described(run_id, tags)
        with _kept("set tags of run", run_id, tags=[tag.key for tag in tags]):
            super().log_batch(run_id, metrics, params, tags)

    def _contents(self, experiment_id: str) -> set[str]:
        """Return the runs and logged models of an experiment."""
        number = int(experiment_id)
        with self.ManagedSessionMaker() as session:
            runs = session.query(SqlRun.run_uuid).filter(SqlRun.experiment_id == number)
            models = session.query(SqlLoggedModel.model_id).filter(
                SqlLoggedModel.experiment_id == number
            )
            return {name for query in (runs, models) for (name,) in query}


def _described(run_id: str, tags: Sequence[RunTag]) -> list[RunTag]:
    """Return tags of a run, of which one may be its description."""
    note = names.fold(description.NOTE)
    return [
        RunTag(tag.key, guarded_store().descriptions.of_run(run_id, tag.value))
        if names.fold(tag.key) == note
        else tag
        for tag in tags
    ]


def _people(tags: Sequence[T] | None, *, target: str) -> list[T]:
    """Return tags of what no verdict is about. A note among them may not pass for the gate's."""
    note, checked = names.fold(description.NOTE), []
    for tag in tags or ():
        if names.fold(tag.key) == note:
            guarded_store().descriptions.check(tag.value, target=target)
            tag = type(tag)(tag.key, description.others(tag.value))
        checked.append(tag)
    return checked


@contextmanager
def _kept(
    action: str,
    target: str,
    contents: Callable[[], Collection[str]] | None = None,
    *,
    tags: Sequence[str] | None = None,
) -> Iterator[None]:
    """Let the body change a run or logged model unless a promoted version rests on it.

    `contents` are the runs and logged models of an experiment; of `tags`, only those that speak of
    an evaluation count.
    """
    if tags is not None and not EVALUATION_TAGS & {names.fold(key) for key in tags}:
        yield
        return
    store = guarded_store()
    with store.guard.locked():
        index = store.promoted.now()
        for name in contents() if contents else [target]:
            if ref := index.rests_on(name):
                model, _, version = ref.removeprefix("models:/").rpartition("/")
                store.guard.refuse(
                    (model, version, action, target),
                    f"It is promoted and rests on {name}. Archive it and delete its aliases first.",
                )
        yield


def _problem(location: str) -> str | None:
    """Return why no experiment may keep its artifacts at a location; None if it may."""
    if problem := files.ambiguous(location):
        return problem
    registry, folder = guarded_store(), files.local(location)
    proxied = location.startswith(f"{files.PROXIED}:")
    if folder is None:
        return "it is outside this server's artifact folder" if proxied else None
    with registry.guard.locked():
        if ref := registry.promoted.now().of_folder(folder):
            return f"it is among the files of {ref}, which is promoted"
    root = files.destination()
    if not proxied and root and (folder.is_relative_to(root) or root.is_relative_to(folder)):
        return "it is a second address of this server's artifact folder"
    if not proxied and not files.vouched(location, registry.settings):
        return "it is a folder of the server's machine that no --artifact-root names"
    return None
