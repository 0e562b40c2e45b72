"""MLflow runs: start one, log what a compression produces, end it, and read its artifacts."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comptrust import config, digests
from comptrust.interrupts import terminable
from comptrust.records import Checkpoint, Prompt, Recipe, Scorecard, Verdict
from comptrust.tracking import metrics, views
from comptrust.tracking.store import (
    EXPERIMENT,
    client,
    experiment_id,
    redacted,
    search_runs,
    service,
)
from comptrust.trust.evaluation import Evaluation
from comptrust.whereabouts import place

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Dataset
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

__all__ = ["EXPERIMENT", "client", "experiment_id", "service"]
"""Of the store, for those who use its runs."""
PROCESS, REASON = "process", "reason"
"""Run tags: place and process id of the writer; why the run did not finish."""
MAX_VALUE = 5_000
"""Characters of the longest param and tag that every store of MLflow takes."""
PROMPTS = "progress/prompts"
"""Metric: prompts that the run itself answered; an earlier run may have answered others."""
EVALUATION_FILES = (
    *("suite.json", "rendered.json", "scorecard.json", "generations/**/[!.]*.jsonl"),
    *("measurement.json", "seal.json"),
)


@dataclass(frozen=True)
class Run:
    """An MLflow run that is being written."""

    id: str

    def recipe(self, recipe: Recipe, *, suite: str) -> None:
        """Log the recipe as params, without its unset fields, and as recipe.json."""
        excluded = {"base_model", "options", "calibration_digest", "layer_bits"}
        fields = recipe.model_dump(mode="json", exclude=excluded, exclude_none=True)
        if recipe.layer_bits:
            known_by = digests.of_value(recipe.mixture)[:8]
            fields["layer_bits"] = f"{known_by} {recipe.mixture}"[:MAX_VALUE]
        options = {f"option.{key}": value for key, value in recipe.options.items()}
        self._params({"model": recipe.base_model, "suite": suite} | fields | options)
        self.text("recipe.json", recipe.model_dump_json(indent=2))

    def resolved(self, requested: Recipe, final: Recipe) -> None:
        """Log the params that were only known after compression, such as the group size."""
        before = requested.model_dump(mode="json")
        after = final.model_dump(
            mode="json", exclude={"calibration_digest", "layer_bits"}, exclude_none=True
        )
        self._params({key: value for key, value in after.items() if before[key] is None})

    @service()
    def _params(self, values: Mapping[str, Any]) -> None:
        """Log params without overwriting those that `mlflow run` logged as typed, such as `auto`.

        Where the two differ, the tag `resolved.<param>` holds the final value.
        """
        logged = client().get_run(self.id).data.params
        for key, value in values.items():
            text = redacted(str(value))
            if key not in logged:
                client().log_param(self.id, key, text)
            elif logged[key] != text:
                client().set_tag(self.id, f"resolved.{key}", text)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Log the checkpoint's record and its measured size."""
        self.text("checkpoint.json", checkpoint.model_dump_json(indent=2))
        self.metrics(metrics.size_metrics(checkpoint))
        self.tags({"checkpoint_digest": checkpoint.digest})

    @service()
    def evaluation(self, folder: Path, scorecard: Scorecard) -> None:
        """Log an evaluation folder and the scores that were measured."""
        paths = sorted(path for pattern in EVALUATION_FILES for path in folder.glob(pattern))
        for path in paths:
            subfolder = path.parent.relative_to(folder).as_posix().strip(".")
            client().log_artifact(self.id, str(path), subfolder or None)
        self.metrics(metrics.score_metrics(scorecard))
        self.tags(metrics.scorecard_tags(scorecard))

    def comparison(
        self, candidate: Evaluation, baseline: Evaluation, *, prompts: Sequence[Prompt] = ()
    ) -> dict[str, float]:
        """Log drops, refusals and flipped answers (questions: `prompts`); return the drops."""
        drops = metrics.drop_metrics(candidate.scorecard, baseline.scorecard)
        self.metrics(drops)
        changes = metrics.changes(candidate, baseline)
        self.metrics(metrics.flip_metrics(changes))
        self.text("flip_shares.json", json.dumps(metrics.flip_summary(changes), indent=2))
        flagged = [name for name, flips in changes.items() if flips.refusal_flagged]
        self.tags({"refusal_flagged": ", ".join(flagged) or "none"})
        questions = {
            (prompt.dimension, prompt.id): "\n".join(message.content for message in prompt.messages)
            for prompt in prompts
        }
        table = metrics.flip_table(changes, prompts=questions)
        if table["id"]:
            with service():
                client().log_table(self.id, data=table, artifact_file="flips.json")
        return drops

    def verdict(self, verdict: Verdict) -> None:
        """Log the verdict as an artifact and as tags."""
        self.text("verdict.json", text_of(verdict))
        self.tags(metrics.verdict_tags(verdict))

    @service()
    def metrics(
        self,
        values: Mapping[str, float],
        *,
        model_id: str | None = None,
        dataset: Dataset | None = None,
    ) -> None:
        """Log metrics, also as those of a logged model, measured on a dataset."""
        from mlflow.entities import Metric

        about: dict[str, str] = {}
        if model_id:
            about |= {"model_id": model_id, "run_id": self.id}
        if dataset:
            about |= {"dataset_name": dataset.name, "dataset_digest": dataset.digest}
        now = int(1000 * time.time())
        metrics = [Metric(key, value, now, 0, **about) for key, value in values.items()]
        client().log_batch(self.id, metrics=metrics)

    @service()
    def read(self, dataset: Dataset | None, *, context: str) -> None:
        """Log what the run read, if anything, and what for."""
        from mlflow.entities import DatasetInput, InputTag

        if dataset:
            tag = InputTag("mlflow.data.context", context)
            client().log_inputs(self.id, [DatasetInput(dataset, [tag])])

    @service()
    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        for key, value in values.items():
            client().set_tag(self.id, key, value)

    @service()
    def text(self, name: str, text: str) -> None:
        """Log a text artifact."""
        client().log_text(self.id, text, name)

    @service()
    def folder(self, folder: Path, name: str) -> None:
        """Log a folder of artifacts under a name."""
        client().log_artifacts(self.id, str(folder), name)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Log the duration of a step, in seconds, as `time/<step>`."""
        started = time.monotonic()
        yield
        self.metrics({f"time/{step}": time.monotonic() - started})


@contextmanager
def start(
    name: str,
    *,
    adopt: bool = True,
    resume: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Iterator[Run]:
    """Open a run and end it as FINISHED, FAILED (an error) or KILLED (interrupted, terminated).

    With `adopt` the run that `mlflow run` created for this process is used, if there is one; with
    `resume` the run of that id is continued; otherwise a new run is created.
    """
    run_id = resume or (os.environ.get("MLFLOW_RUN_ID") if adopt else None)
    all_tags = {**(tags or {}), PROCESS: f"{place()}:{os.getpid()}"}
    with service():
        experiment = experiment_id()
        views.ensure(experiment)
        _end_abandoned(experiment)
        if run_id:
            client().update_run(run_id, status="RUNNING", name=name)
            if REASON in client().get_run(run_id).data.tags:
                client().delete_tag(run_id, REASON)  # of an earlier process that did not finish
            Run(run_id).tags(all_tags)
        else:
            from mlflow.tracking.context import registry

            # With MLflow's own tags, such as the user and the commit.
            all_tags = registry.resolve_tags(all_tags)
            run_id = client().create_run(experiment, run_name=name, tags=all_tags).info.run_id
    try:
        with terminable():
            yield Run(run_id)
    except BaseException as error:
        killed = isinstance(error, (KeyboardInterrupt, SystemExit))
        reason = "It was interrupted." if killed else str(error) or type(error).__name__
        end(run_id, status="KILLED" if killed else "FAILED", reason=reason)
        raise
    with service():
        client().set_terminated(run_id, status="FINISHED")


def text_of(verdict: Verdict) -> str:
    """Return the content of verdict.json."""
    return verdict.model_dump_json(indent=2)


def _end_abandoned(experiment: str) -> None:
    """End the runs that killed processes left open, of those that this process could see."""
    import psutil

    query = f"attributes.status = 'RUNNING' and tags.{PROCESS} LIKE '{place()}:%'"
    reason = "The process exited without reporting (killed, or the machine went down)."
    for run in search_runs(query, experiments=[experiment]):
        if not psutil.pid_exists(int(run.data.tags[PROCESS].rpartition(":")[2])):
            end(run.info.run_id, status="FAILED", reason=reason)


@service()
def end(run_id: str, *, status: str, reason: str) -> None:
    """End a run that did not finish and record why."""
    client().set_tag(run_id, REASON, redacted(reason)[:500])
    client().set_terminated(run_id, status=status)


def download(run_id: str, *, into: Path, only: Sequence[str] = ()) -> Path:
    """Download a run's artifacts, or those of `only` that it has, but not its model."""
    into.mkdir(parents=True, exist_ok=True)
    with service():
        kept = artifacts(run_id)
        names = [item.path for item in kept.list_artifacts()]
        for name in only or names:
            if name in names and name != "model":
                kept.download_artifacts(name, str(into))
    return into


def artifacts(run_id: str) -> ArtifactRepository:
    """Return the store of a run's own artifacts.

    MLflow's client would look for a logged model with the name of the file or its folder at every
    read, and prefer it.
    """
    return _artifacts(client(), run_id)


@lru_cache(maxsize=1024)
def _artifacts(mlflow: MlflowClient, run_id: str) -> ArtifactRepository:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    uri = mlflow.get_run(run_id).info.artifact_uri
    return get_artifact_repository(uri, tracking_uri=mlflow.tracking_uri)


@contextmanager
def files(run_id: str, *names: str) -> Iterator[Path]:
    """Yield a folder with these artifacts of a run, as far as it has them, for the block."""
    with tempfile.TemporaryDirectory() as temporary:
        yield download(run_id, into=Path(temporary), only=names)


def read_json(run_id: str, name: str) -> Any:
    """Return the content of a JSON artifact, or None if the run does not have it."""
    with files(run_id, name) as folder:
        path = folder / name
        return config.read_json(path) if path.exists() else None
