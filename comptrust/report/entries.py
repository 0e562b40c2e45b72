"""The runs of an experiment as entries of the report, own and published alike."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import ValidationError

from comptrust.errors import UserError
from comptrust.records import Verdict
from comptrust.report.base import DIMENSIONS, Entry
from comptrust.tracking import runs
from comptrust.tracking.published import SMALLER
from comptrust.tracking.store import tracking_uri

if TYPE_CHECKING:
    from mlflow.entities import Run


LOCAL_UI = "http://127.0.0.1:5000"
"""Where `make ui` and `mlflow ui` show a store that has no server."""


def read(experiment: str | None = None, *, ui: str | None = None) -> tuple[Entry, ...]:
    """Return every finished run that has a score, oldest first. `ui` is the address under which
    MLflow shows the store.

    Raises UserError for an unknown experiment and for a run whose params cannot be read.
    """
    opened = runs.client()
    found: list[Run] = []
    with runs.service():
        if experiment is None:
            number = runs.experiment_id(opened)
        elif (known := opened.get_experiment_by_name(experiment)) is None:
            names = ", ".join(sorted(one.name for one in opened.search_experiments()))
            raise UserError(f"Unknown experiment '{experiment}'. Known: {names}.")
        else:
            number = known.experiment_id
        token = None
        while True:
            query = "attributes.status = 'FINISHED'"
            page = opened.search_runs(
                [number],
                query,
                max_results=1000,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
            found += page
            token = page.token
            if not token:
                break
    scored = [
        run for run in found if any(f"trust/{name}" in run.data.metrics for name in DIMENSIONS)
    ]
    return tuple(_entry(run, ui=ui) for run in scored)


def one(run_id: str) -> Entry:
    """Return one run, finished or not, as an entry. Raises UserError if its params cannot be
    read."""
    opened = runs.client()
    with runs.service():
        run = opened.get_run(run_id)
    return _entry(run, ui=None)


def _entry(run: Run, *, ui: str | None) -> Entry:
    metrics, tags = run.data.metrics, run.data.tags
    params = run.data.params | {
        key.removeprefix("resolved."): value
        for key, value in tags.items()
        if key.startswith("resolved.")
    }
    own = tags.get("source") != "published"
    fields: dict[str, Any] = {
        key: params.get(key)
        for key in (
            "revision",
            "bits",
            "sparsity",
            "structure",
            "group_size",
            "calibration",
            "seed",
        )
    }
    fields |= {"name": run.info.run_name, "source": "own" if own else "published"}
    fields |= {"run_id": run.info.run_id, "url": _url(run, ui=ui), "smaller": tags.get(SMALLER)}
    fields["settings"] = {
        key: value
        for key, value in params.items()
        if key == "calibration_samples" or key.startswith("option.")
    }
    fields |= {"model": params.get("model"), "method": params.get("method")}
    fields["suite"] = tags.get("suite_digest") or params.get("suite", "unknown")
    fields |= {"bytes": metrics.get("size/bytes"), "ratio": metrics.get("size/ratio")}
    for field, group in (("scores", "trust"), ("refusals", "refusal")):
        fields[field] = {
            name: metrics[f"{group}/{name}"] for name in DIMENSIONS if f"{group}/{name}" in metrics
        }
    if own and "verdict" in tags:
        fields |= _judged(run.info.run_id)
    try:
        return Entry.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"Run {run.info.run_id}: '{where}' cannot be read: {first['msg']}. Delete the run or"
            " mend it."
        ) from error


def _judged(run_id: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        verdict = runs.read_json(run_id, "verdict.json", into=Path(folder))
        table = runs.read_json(run_id, "flips.json", into=Path(folder)) or {
            "columns": [],
            "data": [],
        }
    try:
        judged = None if verdict is None else Verdict.model_validate(verdict)
    except ValidationError as error:
        raise UserError(
            f"Run {run_id}: verdict.json is no verdict. Judge the run again with `comptrust gate"
            f" runs:/{run_id}`."
        ) from error
    rows = [dict(zip(table["columns"], map(str, row), strict=True)) for row in table["data"]]
    return {"verdict": judged, "flips": tuple(rows)}


def _url(run: Run, *, ui: str | None) -> str:
    """Return the address of the run's page, without the name and password that the tracking address
    may hold.
    """
    uri = tracking_uri()
    parts = urlsplit(ui or (uri if uri.startswith(("http://", "https://")) else LOCAL_UI))
    base = urlunsplit(
        (parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", "")
    )
    return f"{base}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
