"""MLflow runs: how one starts and ends, and what one compression logs."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comptrust import config
from comptrust.errors import UserError
from comptrust.interrupts import terminable
from comptrust.records import Checkpoint, Prompt, Recipe, Scorecard, Verdict
from comptrust.tracking import metrics
from comptrust.tracking.store import client as client
from comptrust.tracking.store import project_root, redacted, tracking_uri
from comptrust.tracking.store import service as service
from comptrust.trust.evaluation import Evaluation

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "comptrust"
PROCESS, REASON = "process", "reason"
"""Run tags: host and process id of who writes it; why it did not finish."""
EVALUATION = ("suite.json", "rendered.json", "scorecard.json", "generations/[!.]*.jsonl")


@dataclass(frozen=True)
class Run:
    """One MLflow run that is being written."""

    id: str
    client: MlflowClient
    started: float

    def recipe(self, recipe: Recipe, *, suite: str) -> None:
        """Log the recipe as params and as recipe.json; what the recipe does not have is not
        logged."""
        values = recipe.model_dump(
            mode="json", exclude={"base_model", "options", "calibration_digest"}, exclude_none=True
        )
        params = {
            "model": recipe.base_model,
            "suite": suite,
            **values,
            **{f"option.{key}": value for key, value in recipe.options.items()},
        }
        self._params(params)
        self.text("recipe.json", recipe.model_dump_json(indent=2))

    def resolved(self, asked: Recipe, done: Recipe) -> None:
        """Log the params that only compressing settled, such as the group size."""
        before, after = (
            asked.model_dump(mode="json"),
            done.model_dump(mode="json", exclude={"calibration_digest"}, exclude_none=True),
        )
        self._params({key: value for key, value in after.items() if before[key] is None})

    def _params(self, values: Mapping[str, Any]) -> None:
        """Log params; what `mlflow run` logged as typed, such as `auto`, stays, and the tag
        `resolved.<param>` says what it became.
        """
        with service():
            typed = self.client.get_run(self.id).data.params
            for key, value in values.items():
                shown = redacted(str(value))
                if key not in typed:
                    self.client.log_param(self.id, key, shown)
                elif typed[key] != shown:
                    self.client.set_tag(self.id, f"resolved.{key}", shown)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Log the checkpoint's record and its measured size."""
        self.text("checkpoint.json", checkpoint.model_dump_json(indent=2))
        ratio = (
            {"size/ratio": checkpoint.dense_bytes / checkpoint.bytes} if checkpoint.bytes else {}
        )
        values = {
            "size/bytes": checkpoint.bytes,
            "size/effective_bits": checkpoint.effective_bits,
            "size/sparsity": checkpoint.sparsity,
        }
        self.metrics(values | ratio)
        self.tags({"checkpoint_digest": checkpoint.digest})

    def evaluation(self, folder: Path, scorecard: Scorecard) -> None:
        """Log an evaluation folder and its scores; what was not measured is not logged."""
        with service():
            for path in sorted(path for name in EVALUATION for path in folder.glob(name)):
                below = path.parent.relative_to(folder).as_posix()
                self.client.log_artifact(self.id, str(path), None if below == "." else below)
        self.metrics(metrics.score_metrics(scorecard))
        self.tags(metrics.scorecard_tags(scorecard))

    def comparison(
        self, candidate: Evaluation, baseline: Evaluation, *, prompts: Sequence[Prompt] = ()
    ) -> None:
        """Log how far each dimension fell below the baseline, how many answers flipped and how
        refusal moved, and the clearest flips.
        """
        self.metrics(metrics.drop_metrics(candidate.scorecard, baseline.scorecard))
        found = metrics.changes(candidate, baseline)
        self.metrics(metrics.flip_metrics(found))
        self.text("flip_shares.json", json.dumps(metrics.flip_summary(found), indent=2))
        self.tags(
            {
                "refusal_flagged": (
                    ", ".join(name for name, one in found.items() if one.refusal_flagged) or "none"
                )
            }
        )
        asked = {
            (prompt.dimension, prompt.id): "\n".join(message.content for message in prompt.messages)
            for prompt in prompts
        }
        table = metrics.flip_table(found, prompts=asked)
        if table["id"]:
            with service():
                self.client.log_table(self.id, data=table, artifact_file="flips.json")

    def verdict(self, verdict: Verdict) -> None:
        """Log the verdict as artifact and tag."""
        self.text("verdict.json", verdict.model_dump_json(indent=2))
        self.tags({"verdict": verdict.outcome, "policy": verdict.policy})

    def metrics(self, values: Mapping[str, float]) -> None:
        """Log metrics."""
        with service():
            for key, value in values.items():
                self.client.log_metric(self.id, key, value)

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""
        with service():
            for key, value in values.items():
                self.client.set_tag(self.id, key, value)

    def text(self, name: str, text: str) -> None:
        """Log one text artifact."""
        with service():
            self.client.log_text(self.id, text, name)

    def folder(self, folder: Path, name: str) -> None:
        """Log a folder of artifacts under a name."""
        with service():
            self.client.log_artifacts(self.id, str(folder), name)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Log the seconds that a step took as `time/<step>`."""
        before = time.monotonic()
        yield
        self.metrics({f"time/{step}": time.monotonic() - before})


@contextmanager
def start(
    name: str,
    *,
    adopt: bool = True,
    resume: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Iterator[Run]:
    """Open a run and end it FINISHED, FAILED (an error) or KILLED (interrupted or terminated).

    With `adopt` the run that `mlflow run` created for this process is used; other runs stand beside
    it. With `resume` that run goes on.
    """
    opened = client()
    adopted = resume or (os.environ.get("MLFLOW_RUN_ID") if adopt else None)
    own = {**(tags or {}), PROCESS: f"{socket.gethostname()}:{os.getpid()}"}
    with service():
        experiment = experiment_id(opened)
        _end_abandoned(opened, experiment)
        run_id = (
            adopted or opened.create_run(experiment, run_name=name, tags=_context(own)).info.run_id
        )
        if adopted:
            opened.update_run(run_id, status="RUNNING", name=name)
            for key, value in own.items():
                opened.set_tag(run_id, key, value)
    status = "FAILED"
    try:
        with terminable():
            yield Run(run_id, opened, time.monotonic())
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        with service():
            opened.set_terminated(run_id, status=status)


def _end_abandoned(opened: MlflowClient, experiment: str) -> None:
    """End, as failed, the runs that killed processes of this machine left open; nobody else
    will."""
    import psutil

    host = socket.gethostname()
    for run in opened.search_runs(
        [experiment], f"attributes.status = 'RUNNING' and tags.{PROCESS} LIKE '{host}:%'"
    ):
        if not psutil.pid_exists(int(run.data.tags[PROCESS].rpartition(":")[2])):
            opened.set_tag(
                run.info.run_id,
                REASON,
                "Its process ended without a word: it was killed, or its machine went down.",
            )
            opened.set_terminated(run.info.run_id, status="FAILED")


def experiment_id(opened: MlflowClient) -> str:
    """Return the experiment that the environment names, else `comptrust`, created where artifacts
    belong.

    Raises UserError if COMPTRUST_ARTIFACT_URI asks for another place than the one where the
    experiment keeps them already.
    """
    if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return given
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
    local = (
        "MLFLOW_TRACKING_URI" not in os.environ
        or tracking_uri() == f"sqlite:///{project_root() / 'mlflow.db'}"
    )
    if (local or "COMPTRUST_ARTIFACT_URI" in os.environ) and ".." in Path(name).parts:
        raise UserError(
            f"MLFLOW_EXPERIMENT_NAME '{name}' leads out of the folder of artifacts. Give a name"
            " without '..'."
        )
    location = (project_root() / "mlartifacts" / name).as_uri() if local else None
    if wanted := os.environ.get("COMPTRUST_ARTIFACT_URI"):
        location = f"{wanted.rstrip('/')}/{name}"
    if found := opened.get_experiment_by_name(name):
        if wanted and found.artifact_location != location:
            raise UserError(
                f"Experiment '{name}' keeps its artifacts in {found.artifact_location}, not in"
                f" {location}, and cannot move them. Set MLFLOW_EXPERIMENT_NAME to a new one, or"
                " leave COMPTRUST_ARTIFACT_URI out."
            )
        return found.experiment_id
    return opened.create_experiment(name, artifact_location=location)


def _context(tags: Mapping[str, str]) -> dict[str, str]:
    from mlflow.tracking.context import registry

    resolved: dict[str, str] = registry.resolve_tags(dict(tags))
    return resolved


def download(run_id: str, *, into: Path, only: Sequence[str] = ()) -> Path:
    """Fetch a run's artifacts, all but the models, and return their folder."""
    opened = client()
    with service():
        names = [item.path for item in opened.list_artifacts(run_id)]
        for name in only or names:
            if name in names and name != "model":
                opened.download_artifacts(run_id, name, str(into))
    return into


def read_json(run_id: str, name: str, *, into: Path) -> Any:
    """Return one JSON artifact, or None if the run has none of that name."""
    path = download(run_id, into=into, only=[name]) / name
    return config.read_json(path) if path.exists() else None
