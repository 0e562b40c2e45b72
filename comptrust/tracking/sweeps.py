"""The runs of a sweep: one parent, one child a cell, found again by the cell's key from any
machine.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comptrust.tracking import runs
from comptrust.tracking.runs import PROCESS, REASON
from comptrust.tracking.store import redacted

if TYPE_CHECKING:
    from mlflow.entities import Run

CELL, SWEEP, DRIVER, PARENT = "cell", "sweep_digest", "driver", "mlflow.parentRunId"
PROMPTS, SO_FAR = "progress/prompts", "prompts_so_far"
"""Metric of a finished cell: prompts that it answered; tag of one at work."""
PAGE = 1000


@dataclass(frozen=True)
class Done:
    """A finished cell."""

    run_id: str
    version: str
    """models:/NAME/VERSION."""
    verdict: str | None
    seconds: float | None
    """Of compressing, asking, scoring and registering; None if it was not logged."""


@dataclass(frozen=True)
class Past:
    """What one finished run of a cell took, to estimate others."""

    model: str
    method: str
    compress: float
    """Seconds."""
    evaluate: float
    """Seconds."""
    prompts: int


def parent_to_resume(digest: str) -> str | None:
    """Return the run to go on with: the one `mlflow run` made for this process, else the newest
    parent of the same sweep.
    """
    return os.environ.get("MLFLOW_RUN_ID") or next(
        (run.info.run_id for run in _search(f"tags.{SWEEP} = '{digest}'", limit=1)), None
    )


def finished(terms: Mapping[str, str]) -> dict[str, Done]:
    """Return key -> finished cell, for the runs that carry all these tags; finished means also that
    the version is registered.
    """
    where = " and ".join(
        [
            *(f"tags.{key} = '{value}'" for key, value in terms.items()),
            "attributes.status = 'FINISHED'",
        ]
    )
    found: dict[str, Done] = {}
    for run in _search(where):
        tags = run.data.tags
        if CELL in tags and tags[CELL] not in found and (ref := _registered(tags)):
            found[tags[CELL]] = Done(
                run.info.run_id, ref, tags.get("verdict"), run.data.metrics.get("time/total")
            )
    return found


def _registered(tags: Mapping[str, str]) -> str | None:
    """Return the version of the run's recipe with the run's bytes, wherever the model's folder
    lies.
    """
    same = " and ".join(
        f"tags.{key} = '{tags.get(key)}'" for key in ("recipe", "checkpoint_digest")
    )
    opened = runs.client()
    with runs.service():
        found = list(opened.search_model_versions(same))
    return f"models:/{found[0].name}/{found[0].version}" if found else None


def begin(parent: str, key: str, *, name: str, driver: str) -> str:
    """Open a cell's run below its parent and return its id; whoever carries the cell out adopts
    it."""
    opened = runs.client()
    tags = {
        PARENT: parent,
        CELL: key,
        DRIVER: driver,
        PROCESS: f"{socket.gethostname()}:{os.getpid()}",
    }
    with runs.service():
        return str(
            opened.create_run(
                opened.get_run(parent).info.experiment_id, run_name=name, tags=tags
            ).info.run_id
        )


def end(run_id: str, *, status: str, reason: str) -> None:
    """End a run that did not finish and keep why."""
    opened = runs.client()
    with runs.service():
        opened.set_tag(run_id, REASON, redacted(reason)[:500])
        opened.set_terminated(run_id, status=status)


def abandon(key: str, *, reason: str, driver: str | None = None, status: str = "FAILED") -> None:
    """End the runs of a cell whose process is gone: those that this driver handed out, or all where
    nobody else can be at work on it.
    """
    own = f" and tags.{DRIVER} = '{driver}'" if driver else ""
    for run in _search(f"tags.{CELL} = '{key}' and attributes.status = 'RUNNING'{own}"):
        end(run.info.run_id, status=status, reason=reason)


def running(parent: str) -> dict[str, int]:
    """Return key -> prompts answered so far, of the cells at work."""
    found = _search(f"tags.`{PARENT}` = '{parent}' and attributes.status = 'RUNNING'")
    return {
        run.data.tags[CELL]: int(run.data.tags.get(SO_FAR, 0))
        for run in found
        if CELL in run.data.tags
    }


def past(code_digest: str) -> list[Past]:
    """Return what the finished cells of this code took."""
    steps = ("time/compress", "time/evaluate", PROMPTS)
    found = [
        run.data
        for run in _search(f"tags.code_digest = '{code_digest}' and attributes.status = 'FINISHED'")
    ]
    return [
        Past(
            data.params["model"],
            data.params["method"],
            data.metrics[steps[0]],
            data.metrics[steps[1]],
            int(data.metrics[PROMPTS]),
        )
        for data in found
        if all(step in data.metrics for step in steps) and {"model", "method"} <= data.params.keys()
    ]


def _search(query: str, *, limit: int | None = None) -> list[Run]:
    """Return the runs of all experiments that match, newest first."""
    opened = runs.client()
    with runs.service():
        experiments = [experiment.experiment_id for experiment in opened.search_experiments()]
        found: list[Run] = []
        token: str | None = None
        while True:
            page = opened.search_runs(
                experiments,
                query,
                max_results=limit or PAGE,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            found += page
            token = page.token
            if not token or limit:
                return found
