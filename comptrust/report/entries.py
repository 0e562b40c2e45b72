"""Read the runs of an experiment as entries of the report, our own and published ones alike."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import ValidationError

from comptrust import config
from comptrust.errors import UserError
from comptrust.records import Recipe
from comptrust.report import answers
from comptrust.report.base import DIMENSIONS, ReportEntry
from comptrust.tracking import runs, serving_cost
from comptrust.tracking.published import SMALLER
from comptrust.tracking.store import published_id, search_runs, tracking_uri
from comptrust.trust.imported import is_name

if TYPE_CHECKING:
    from mlflow.entities import Run


LOCAL_UI = "http://127.0.0.1:5000"
"""Where `make ui` and `mlflow ui` show a store that has no server."""
RECIPE_PARAMS = ("model", *(Recipe.model_fields.keys() & ReportEntry.model_fields.keys()))
EMERGENCY = "emergency"
"""Tag of a run whose version was promoted without a passing verdict: until when, and why."""
RESOLVED = "resolved."
"""Prefix of the tags that hold the final value of a param such as `auto`."""


def read(experiment: str | None = None, *, ui: str | None = None) -> tuple[ReportEntry, ...]:
    """Return every finished run that has a score, oldest first, with the published rows.

    `ui` is the address at which MLflow shows the store. Raises UserError for an unknown experiment
    and for a run whose params cannot be read.
    """
    own = experiment_id(experiment)
    finished = search_runs(
        "attributes.status = 'FINISHED'",
        experiments=[own, *filter(None, [published_id(own)])],
        oldest_first=True,
    )
    return tuple(_entry(run, ui=ui) for run in finished if _of_dimensions(run, "trust"))


def read_run(run_id: str) -> ReportEntry:
    """Return one run, finished or not. Raises UserError if its params cannot be read."""
    with runs.service():
        run = runs.client().get_run(run_id)
    return _entry(run, ui=None)


@runs.service()
def experiment_id(name: str | None) -> str:
    """Return the id of an experiment, the default one without a name."""
    if name is None:
        return runs.experiment_id()
    experiment = runs.client().get_experiment_by_name(name)
    if experiment is None:
        names = ", ".join(sorted(item.name for item in runs.client().search_experiments()))
        raise UserError(f"Unknown experiment '{name}'. Known: {names}.")
    return str(experiment.experiment_id)


def _entry(run: Run, *, ui: str | None) -> ReportEntry:
    metrics, tags = run.data.metrics, run.data.tags
    # A resolved value replaces what was logged as typed.
    keys = [key for key in tags if key.startswith(RESOLVED)]
    params = run.data.params | {key.removeprefix(RESOLVED): tags[key] for key in keys}
    is_own = tags.get("source") != "published"
    fields: dict[str, Any] = {key: params.get(key) for key in RECIPE_PARAMS} | {
        "name": run.info.run_name,
        "run_id": run.info.run_id,
        "url": address(f"experiments/{run.info.experiment_id}/runs/{run.info.run_id}", ui=ui),
        "source": "own" if is_own else "published",
        "suite": tags.get("suite_digest") or params.get("suite", "unknown"),
        "suite_name": params.get("suite", "") if "suite_digest" in tags else "",
        "date": f"{datetime.fromtimestamp(run.info.start_time / 1000, UTC):%Y-%m-%d %H:%M}",
        "settings": {
            key: value
            for key, value in params.items()
            if key in ("calibration_samples", "format", "layer_bits") or key.startswith("option.")
            if value != "compressed-tensors"
        },
        "bytes": metrics.get("size/bytes"),
        "ratio": metrics.get("size/ratio"),
        "scores": _of_dimensions(run, "trust"),
        "refusals": _of_dimensions(run, "refusal"),
        "smaller": tags.get(SMALLER),
        "weights": tags.get("weights", ""),
        "emergency": tags.get(EMERGENCY, ""),
    }
    if is_own and "verdict" in tags:
        fields |= _judgment(run.info.run_id)
    try:
        return ReportEntry.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        remedy = "Delete the run or fix the parameter."
        if first["loc"][0] == "verdict":
            remedy = f"Judge the run again with `comptrust gate runs:/{run.info.run_id} --record`."
        raise UserError(
            f"Run {run.info.run_id}: cannot read '{field}': {first['msg']}. {remedy}"
        ) from error


def _of_dimensions(run: Run, prefix: str) -> dict[str, float]:
    """Return dimension -> metric `<prefix>/<dimension>`, if logged."""
    logged = {key.partition("/")[2] for key in run.data.metrics if key.startswith(f"{prefix}/")}
    names = (*DIMENSIONS, *sorted(filter(is_name, logged)))
    return {name: run.data.metrics[f"{prefix}/{name}"] for name in names if name in logged}


def _judgment(run_id: str) -> dict[str, Any]:
    table = runs.read_json(run_id, "flips.json")
    rows = table["data"] if table else []
    flips = [dict(zip(table["columns"], map(str, row), strict=True)) for row in rows]
    return {
        "verdict": runs.read_json(run_id, "verdict.json"),
        "flips": flips,
        "answers": _answers(run_id),
        "costs": serving_cost.of_run(run_id),
    }


@runs.service()
def _answers(run_id: str) -> str:
    path = f"{answers.FOLDER}/{answers.PAGE}"
    kept = runs.artifacts(run_id)
    if path not in {item.path for item in kept.list_artifacts(answers.FOLDER)}:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        # Where the file lands below the folder differs between artifact stores.
        page = Path(kept.download_artifacts(path, folder))
        return answers.find(config.read_text(page))


def address(place: str, *, ui: str | None = None) -> str:
    """Return the address of a page of MLflow, without any user name and password."""
    uri = tracking_uri()
    parts = urlsplit(ui or (uri if uri.startswith(("http://", "https://")) else LOCAL_UI))
    host = parts.netloc.rpartition("@")[2]
    base = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
    # Without the type MLflow opens a page for traces, which has no model registry.
    return f"{base}/#/{place}?workflowType=machine_learning"
