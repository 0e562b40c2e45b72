"""A real Ray cluster of two nodes that loses a worker, a node or its driver.

Nothing finished is lost, and nothing is counted twice.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from comptrust.cli.app import comptrust
from comptrust.tracking import registry, runs, sweeps
from comptrust.tracking.store import search_runs
from tests.support.sweeps import Place, enter, make_place

pytest.importorskip("ray")
pytestmark = pytest.mark.slow
SECONDS_TO_BEGIN = 1200


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, empty_store: Path) -> Place:
    """One place for all of these tests: the dense model is evaluated by the first and reused by the
    others.
    """
    return make_place(tmp_path_factory.mktemp("ray"), tiny_model, empty_store)


@pytest.fixture
def place(shared: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    enter(shared, monkeypatch)
    return shared


@pytest.fixture
def cluster(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two nodes of one CPU each on this machine; cells of the first two cannot share a node."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv(
        "GRPC_ENABLE_FORK_SUPPORT", "0"
    )  # with it 5 of 300 servers of clients ended before they began (docs/scale.md)
    for name, value in place.environment().items():
        monkeypatch.setenv(name, value)
    from ray.cluster_utils import Cluster

    node = {
        "num_cpus": 1,
        "memory": 4 * 2**30,
        "object_store_memory": 80 * 2**20,
        "include_dashboard": False,
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = Cluster(initialize_head=True, head_node_args=node | {"ray_client_server_port": port})
    found.elsewhere = f"ray://127.0.0.1:{port}"
    found.second = found.add_node(**node)
    found.wait_for_nodes()
    yield found
    found.shutdown()


@contextmanager
def driven(place: Place, path: Path, cluster: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a sweep on the cluster; it does not outlive a test that fails."""
    process = place.start(path, "--address", "auto", "--json", RAY_ADDRESS=cluster.address)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def at_work(names: set[str]) -> dict[str, int]:
    """Wait until every one of these cells has a run at work, and return name -> process id."""
    client = runs.client()
    limit = time.monotonic() + SECONDS_TO_BEGIN
    while time.monotonic() < limit:
        found = client.search_runs(
            [one.experiment_id for one in client.search_experiments()],
            "attributes.status = 'RUNNING'",
        )
        processes = {
            run.info.run_name: int(run.data.tags["process"].split(":")[1])
            for run in found
            if "process" in run.data.tags
        }
        if names <= processes.keys():
            return {name: processes[name] for name in names}
        time.sleep(0.2)
    raise AssertionError(f"{names} did not begin within {SECONDS_TO_BEGIN} s")


def check(output: str) -> dict[str, dict[str, Any]]:
    """Check that each cell finished once and each recipe is registered once; return recipe ->
    cell."""
    cells = json.loads(output)["cells"]
    assert {cell["state"] for cell in cells} == {"done"}
    client = runs.client()
    experiments = [one.experiment_id for one in client.search_experiments()]
    for cell in cells:
        found = client.search_runs(experiments, f"tags.{sweeps.CELL} = '{cell['key']}'")
        assert Counter(run.info.status for run in found)["FINISHED"] == 1
        assert all(
            run.data.tags.get(runs.REASON) for run in found if run.info.status != "FINISHED"
        ), "an unfinished one says why"
        assert "RUNNING" not in {run.info.status for run in found}
    versions = registry.versions(cells[0]["version"].split("/")[1])
    assert set(Counter(version.tags["recipe"] for version in versions).values()) == {1}
    return {cell["recipe"]: cell for cell in cells}


def test_a_killed_worker(place: Place, cluster: Any) -> None:
    dense = place.run(place.sweep("dense", methods=["none"]), "--address", "serial")
    assert dense.returncode == 0, dense.stderr
    path = place.sweep(
        "killed",
        methods=["magnitude"],
        structure=["2:4", "4:8"],
        resources={"cpus": 1, "memory_gb": 0.5, "retries": 0},
    )
    with driven(place, path, cluster) as process:
        workers = at_work({"magnitude-2of4-s0", "magnitude-4of8-s0"})
        assert len(set(workers.values())) == 2, "each cell is a process"
        os.kill(workers["magnitude-2of4-s0"], signal.SIGKILL)
        out, err = process.communicate()
    assert process.returncode == 4 and out, err
    before = {cell["recipe"]: cell for cell in json.loads(out)["cells"]}
    assert {name: cell["state"] for name, cell in before.items()} == {
        "dense": "done",
        "magnitude-2of4-s0": "lost",
        "magnitude-4of8-s0": "done",
    }
    assert before["magnitude-2of4-s0"]["reason"]
    again = place.run(path, "--address", cluster.elsewhere, "--json")
    assert again.returncode == 0, again.stderr
    after = check(again.stdout)
    assert {name for name, cell in after.items() if cell["before"]} == {
        "dense",
        "magnitude-4of8-s0",
    }
    assert after["magnitude-4of8-s0"]["run_id"] == before["magnitude-4of8-s0"]["run_id"]


def test_a_lost_node(place: Place, cluster: Any) -> None:
    path = place.sweep("lost", methods=["magnitude"], structure=["1:2", "unstructured"])
    names = {"magnitude-1of2-s0", "magnitude-50pct-s0"}
    with driven(place, path, cluster) as process:
        at_work(names)
        cluster.remove_node(cluster.second, allow_graceful=False)
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert "lost, restarting" in err
    assert names <= check(out).keys()
    again = place.run(path, "--address", "auto", "--json", RAY_ADDRESS=cluster.address)
    assert again.returncode == 0 and all(cell["before"] for cell in check(again.stdout).values())


def test_a_stopped_driver(place: Place, cluster: Any) -> None:
    path = place.sweep("stopped", methods=["magnitude"], sparsity=[0.25, 0.75])
    names = {"magnitude-25pct-s0", "magnitude-75pct-s0"}
    with driven(place, path, cluster) as process:
        at_work(names)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (
        process.returncode == 130 and out == "" and "Stopped. Finished cells have been kept" in err
    )
    again = place.run(path, "--address", "auto", "--json", RAY_ADDRESS=cluster.address)
    assert again.returncode == 0, again.stderr
    assert names <= check(again.stdout).keys()


def test_a_search_asks_its_candidates_side_by_side(
    place: Place, cluster: Any, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    policy = tmp_path / "wide.yaml"
    policy.write_text(
        "name: wide\nstages: false\ndense: allowed\n"
        "rules: [{rule: max_drop, points: 60, dimensions: [fairness]}]\n"
    )
    words = ["--model", str(tiny_model), "--policy", str(policy), "--dimensions", "fairness"]
    words += ["--method", "rtn", "--held-back", "20%", "--budget", "2", "--at-once", "2"]
    done = CliRunner().invoke(comptrust, ["search", *words, "--address", "auto", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert len(found["trials"]) == 2 and found["verdict"] == "pass"
    asked = search_runs("tags.searched LIKE '%' and attributes.status = 'FINISHED'")
    began = sorted(run.info.start_time for run in asked)
    ended = sorted(run.info.end_time for run in asked)
    assert began[1] < ended[0], "both were at work at once"
