"""Sweeps of the tiny model in real processes, one cell at a time.

Finished cells stay finished, and secrets stay secret.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from comptrust.sweep import engines, grid, plan
from comptrust.sweep.cell import Task
from comptrust.sweep.engines import Capacity
from comptrust.tracking import registry, runs
from tests.support.sweeps import ROOT, Place

SECRET = "pa55-that-nobody-may-see"


def test_dry_run_starts_nothing(place: Place) -> None:
    path = place.sweep(
        "study",
        methods=["gptq"],
        bits=[4],
        models=[str(place.model), {"name": "org/elsewhere", "parameters": 7_000_000_000}],
    )
    done = place.run(path, "--dry-run", "--json", HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["total"]["cells"] == 8 and found["total"]["finished"] == 0
    sizes = {(cell["model"], cell["recipe"]): cell["bytes"] for cell in found["cells"]}
    assert sizes["org/elsewhere", "dense"] == pytest.approx(2 * 14e9, rel=0.01), (
        "cache and artifact store at 16 bits a weight"
    )
    assert sizes["org/elsewhere", "gptq-4bit-s0"] == pytest.approx(2 * 7e9 * 4.125 / 8, rel=0.01)
    assert all(cell["seconds"] >= 0 and cell["finished"] is None for cell in found["cells"])
    assert (
        runs.client().search_runs(["0"]) == [] and not (place.folder / "cache" / "cells").exists()
    )


REFUSED = [
    ("grid", ["--address", "serial"], {"methods": ["wanda"], "bits": [4]}, {}, 2, "line"),
    (
        "cluster",
        ["--address", "ray://127.0.0.1:1"],
        {"methods": ["none"]},
        {},
        4,
        "No Ray cluster answers at 127.0.0.1:1",
    ),
    (
        "model",
        ["--address", "serial"],
        {"methods": ["none"], "models": ["/no/such/folder"]},
        {},
        2,
        "No model '/no/such/folder'",
    ),
    (
        "memory",
        ["--address", "serial"],
        {"methods": ["none"], "resources": {"memory_gb": 1e6}},
        {},
        2,
        "needs about 1000000.0 GB of memory",
    ),
    (
        "store",
        ["--address", "serial"],
        {"methods": ["none"]},
        {"MLFLOW_TRACKING_URI": f"postgresql://me:{SECRET}@127.0.0.1:1/mlflow"},
        4,
        "postgresql://me:***@127.0.0.1:1/mlflow",
    ),
]


@pytest.mark.parametrize(
    ("words", "fields", "more", "code", "message"),
    [case[1:] for case in REFUSED],
    ids=[case[0] for case in REFUSED],
)
def test_refused_before_any_work(
    words: list[str],
    fields: dict[str, object],
    more: dict[str, str],
    code: int,
    message: str,
    place: Place,
) -> None:
    done = place.run(place.sweep("study", **fields), *words, **more)
    assert done.returncode == code, done.stderr
    assert (
        message in done.stderr
        and done.stderr.count("\n") == 1
        and SECRET not in done.stderr + done.stdout
    )
    assert (
        runs.client().search_runs([one.experiment_id for one in runs.client().search_experiments()])
        == []
    )


def test_a_killed_process_is_a_lost_cell(place: Place) -> None:
    sweep = plan.build(grid.load(str(place.sweep("study", methods=["none"]))), work=True)
    cell = sweep.cells[0]
    engine = engines.Serial()
    suite = sweep.suite.digest
    task = Task(cell, sweep.file, suite, sweep.policy, parent="", driver="", settings={}, code="")
    engine.submit(task, Capacity(cpus=1, memory=1e9))
    assert engine.wait(0.01) == []
    assert engine.current is not None
    engine.current[1].kill()
    (outcome,) = engine.wait(60)
    assert (outcome.state, outcome.key) == ("lost", cell.key) and "exit code -9" in outcome.reason
    assert engine.wait(0.01) == []


@pytest.mark.slow
def test_finished_cells_stay_finished_for_every_sweep(place: Place) -> None:
    first = place.run(
        place.sweep("first", methods=["magnitude"], structure=["2:4"]),
        "--address",
        "serial",
        "--json",
    )
    assert first.returncode == 0, first.stderr
    cells = json.loads(first.stdout)["cells"]
    assert [(cell["recipe"], cell["state"], cell["before"]) for cell in cells] == [
        ("dense", "done", False),
        ("magnitude-2of4-s0", "done", False),
    ]
    second = place.run(
        place.sweep("second", methods=["magnitude"], structure=["4:8", "2:4"]),
        "--address",
        "serial",
        "--json",
    )
    again = {cell["recipe"]: cell for cell in json.loads(second.stdout)["cells"]}
    assert [again[cell["recipe"]]["run_id"] for cell in cells] == [cell["run_id"] for cell in cells]
    assert {name: cell["before"] for name, cell in again.items()} == {
        "dense": True,
        "magnitude-4of8-s0": False,
        "magnitude-2of4-s0": True,
    }
    run = runs.client().get_run(again["magnitude-4of8-s0"]["run_id"])
    assert (
        run.data.metrics[runs.PROMPTS] > 0
        and run.data.tags["mlflow.parentRunId"] == json.loads(second.stdout)["run"]
    )
    found = registry.versions(again["dense"]["version"].split("/")[1])
    assert Counter(version.tags["recipe"] for version in found) == Counter(
        {name: 1 for name in again}
    )
    planned = place.run(place.folder / "second.yaml", "--dry-run", "--json")
    assert json.loads(planned.stdout)["total"] == {
        "cells": 3,
        "finished": 3,
        "seconds": 0,
        "bytes": 0,
        "prompts": 0,
    }


@pytest.mark.slow
def test_a_cell_that_is_compressed_apart_is_probed_once_and_finished_once(place: Place) -> None:
    resources = {"cpus": 1, "memory_gb": 0.5, "compress": {"cpus": 1, "memory_gb": 0.6}}
    path = place.sweep("apart", methods=["magnitude"], structure=["2:4"], resources=resources)
    ended = place.run(path, "--address", "serial", "--json")
    assert ended.returncode == 0, ended.stderr
    cell = json.loads(ended.stdout)["cells"][1]
    found = runs.client().search_runs(["0", "1"], f"tags.cell = '{cell['key']}'")
    by_name = {run.info.run_name: run for run in found}
    assert by_name.keys() == {"magnitude-2of4-s0", "magnitude-2of4-s0 (compress)"}
    assert {run.info.status for run in found} == {"FINISHED"}
    whole, first = (by_name[name].data.metrics for name in sorted(by_name))
    for name in ("time/compress", "probe/perplexity", "probe/kl"):
        assert whole[name] == first[name]
    assert "trust/mmlu" in whole and "trust/mmlu" not in first
    again = json.loads(place.run(path, "--address", "serial", "--json").stdout)["cells"]
    assert all(one["before"] for one in again) and again[1]["run_id"] == cell["run_id"]


@pytest.fixture
def server(place: Place) -> Iterator[str]:
    """A real tracking server on the place's store; returns its address with a name and a password
    in it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        place.uri,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += ["--artifacts-destination", str(place.folder / "served")]
    with open(place.folder / "server.log", "w") as log:
        process = subprocess.Popen(command, env=place.environment(), stdout=log, stderr=log)
    try:
        for _ in range(600):
            try:
                urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except (URLError, OSError):
                time.sleep(0.5)
        yield f"http://me:{SECRET}@127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
def test_a_password_in_the_tracking_address_goes_nowhere(place: Place, server: str) -> None:
    pytest.importorskip("ray")
    path = place.sweep("study", methods=["none"])
    with tempfile.TemporaryDirectory(prefix="r") as ray:  # short, since Ray's sockets lie in it
        done = place.run(
            path,
            "--address",
            "local",
            MLFLOW_TRACKING_URI=server,
            RAY_TMPDIR=ray,
            MLFLOW_TRACKING_PASSWORD=SECRET,
        )
        logs = [file for file in Path(ray).rglob("*") if file.is_file()]
        assert any(file.name.startswith("worker-") for file in logs)
        assert [file for file in logs if SECRET.encode() in file.read_bytes()] == []
    assert done.returncode == 0, done.stderr
    assert (
        "tracking: http://me:***@127.0.0.1" in done.stdout
        and SECRET not in done.stdout + done.stderr
    )
    written = [file for file in place.folder.rglob("*") if file.is_file()]
    assert {"scorecard.json", "mlflow.db"} <= {file.name for file in written} and (
        place.folder / "cache" / "cells"
    ).is_dir()
    assert [file for file in written if SECRET.encode() in file.read_bytes()] == []


def test_a_crash_in_a_cell_is_a_failure_with_its_traceback_in_a_file(place: Place) -> None:
    (place.folder / "great_expectations.py").write_text("raise RuntimeError('broken\\nlibrary')\n")
    path = place.sweep("study", methods=["none"])
    done = place.run(path, "--address", "serial", PYTHONPATH=f"{place.folder}:{ROOT}")
    assert done.returncode == 4 and "Traceback" not in done.stderr, done.stderr
    [file] = (place.folder / "cache" / "crashes").iterdir()
    assert "RuntimeError: broken library" in done.stderr and str(file) in done.stderr
    assert "great_expectations.py" in file.read_text()
