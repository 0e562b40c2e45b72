"""The runs of a sweep: a parent and one child per cell, found on any machine by the cell's key."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from comptrust.tracking import registry, runs
from comptrust.tracking.store import has_tags, search_runs
from comptrust.whereabouts import place

CELL, SWEEP, DRIVER, PARENT = "cell", "sweep_digest", "driver", "mlflow.parentRunId"
SO_FAR = "prompts_so_far"
"""Tag of a running cell: prompts answered."""
Rate = tuple[str | None, ...]


@dataclass(frozen=True)
class Outcome:
    """How a cell ended."""

    key: str
    state: Literal["done", "failed", "lost", "compressed", "waiting"]
    """The last two are not the end: it goes on in a process that answers, or once its dense model
    is measured."""
    run_id: str | None = None
    version: str | None = None
    """models:/NAME/VERSION."""
    verdict: str | None = None
    seconds: float | None = None
    """Duration of the work itself, as `comptrust run` does it; None if it was not logged."""
    overhead: float = 0.0
    """Seconds this process spent on the rest: locking, look-ups, opening the run, reporting."""
    prompts: int = 0
    measured: Mapping[str, float] = field(default_factory=dict)
    """Metrics of a checkpoint that was made."""
    reason: str = ""
    exit_code: int = 0


@dataclass(frozen=True)
class Past:
    """The cost of one finished run, used to estimate others."""

    model: str
    suite: str
    rate: Rate
    compress: float
    """Seconds."""
    evaluate: float
    """Seconds."""
    prompts: int
    bytes: float | None
    """Of the checkpoint's weights."""


def parent_to_resume(digest: str) -> str | None:
    """Return the run of `mlflow run`, else the newest of this sweep, else None to start anew."""
    if adopted := os.environ.get("MLFLOW_RUN_ID"):
        return adopted
    newest = search_runs(has_tags({SWEEP: digest}), limit=1)
    return next((run.info.run_id for run in newest), None)


def finished(tags: Mapping[str, str]) -> dict[str, Outcome]:
    """Return the finished cells by key: those of these tags whose version is registered."""
    cells: dict[str, Outcome] = {}
    for run in search_runs(f"{has_tags(tags)} and attributes.status = 'FINISHED'"):
        key, verdict = run.data.tags.get(CELL), run.data.tags.get("verdict")
        if key and key not in cells and (ref := _registered(run.data.tags)):
            seconds = run.data.metrics.get("time/total")
            cells[key] = Outcome(key, "done", run.info.run_id, ref, verdict, seconds)
    return cells


@runs.service()
def _registered(tags: Mapping[str, str]) -> str | None:
    """Return the version with the run's recipe and bytes, whatever the name of its model."""
    query, digest = has_tags({"recipe": str(tags.get("recipe"))}), tags.get("checkpoint_digest")
    for version in map(registry.of_entity, runs.client().search_model_versions(query)):
        if digest and registry.checkpoint_digest(version) == digest:
            return version.ref
    return None


@runs.service()
def begin(parent: str, key: str, *, name: str, driver: str) -> str:
    """Create a cell's run below its parent and return its id; the worker then adopts the run."""
    tags = {
        PARENT: parent,
        CELL: key,
        DRIVER: driver,
        runs.PROCESS: f"{place()}:{os.getpid()}",
    }
    experiment = runs.client().get_run(parent).info.experiment_id
    return str(runs.client().create_run(experiment, run_name=name, tags=tags).info.run_id)


def abandon(key: str, *, reason: str, driver: str | None = None, status: str = "FAILED") -> None:
    """End the running runs of a cell whose process is gone.

    With `driver` only the runs that this driver started; without it all of them, which is safe
    only while no other driver can be working on the cell.
    """
    tags = {CELL: key, DRIVER: driver} if driver else {CELL: key}
    for run in search_runs(f"{has_tags(tags)} and attributes.status = 'RUNNING'"):
        runs.end(run.info.run_id, status=status, reason=reason)


def running(parent: str) -> dict[str, int]:
    """Return the number of prompts answered so far by each running cell, by key."""
    children = search_runs(f"tags.`{PARENT}` = '{parent}' and attributes.status = 'RUNNING'")
    return {
        run.data.tags[CELL]: int(run.data.tags.get(SO_FAR, 0))
        for run in children
        if CELL in run.data.tags
    }


def rate(values: Mapping[str, Any]) -> Rate:
    """Return what the cost of a recipe depends on, from its fields or from logged params."""
    names = ("method", "bits", "sparsity", "structure")
    return tuple(None if (value := values.get(name)) is None else str(value) for name in names)


def past() -> list[Past]:
    """Return the cost of every finished run that answered all of its prompts, newest first."""
    needed = {"model", "suite", "method", "time/compress", "time/evaluate", runs.PROMPTS}
    logged: list[dict[str, Any]] = [
        {**run.data.params, **run.data.metrics}
        for run in search_runs("attributes.status = 'FINISHED'")
    ]
    return [
        Past(
            model=values["model"],
            suite=values["suite"],
            rate=rate(values),
            compress=values["time/compress"],
            evaluate=values["time/evaluate"],
            prompts=int(values[runs.PROMPTS]),
            bytes=values.get("size/bytes"),
        )
        for values in logged
        if needed <= values.keys()
    ]
