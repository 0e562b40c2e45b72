"""The driver's order, retries, stops and metrics, with a scripted engine and a real store."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable

import pytest

from comptrust.errors import ServiceError, UserError
from comptrust.sweep import engines, grid, plan
from comptrust.sweep.cell import Task
from comptrust.sweep.driver import Driver
from comptrust.sweep.engines import Capacity, Node
from comptrust.tracking import runs, sweeps
from comptrust.tracking.sweeps import Outcome
from tests.support.sweeps import Place

HERE = Node(host=socket.gethostname(), cpus=4, memory=8e9, gpus=0)
Script = Callable[[Task, int], Outcome]


class Scripted:
    """Ends each cell at once, as its script says."""

    def __init__(self, script: Script, *, parallel: bool = False) -> None:
        self.script, self.queue, self.seen, self.closed = script, [], [], False
        self.parallel = parallel

    def nodes(self) -> list[Node]:
        return [HERE]

    def submit(self, task: Task, request: Capacity) -> None:
        self.queue.append(task)

    def wait(self, seconds: float) -> list[Outcome]:
        if not self.queue:
            return []
        task = self.queue.pop(0)
        self.seen.append(task.cell.recipe.slug)
        run_id = sweeps.begin(
            task.parent, task.cell.key, name=task.cell.recipe.slug, driver=task.driver
        )
        outcome = self.script(task, self.seen.count(task.cell.recipe.slug))
        if outcome.state == "failed":
            runs.end(run_id, status="FAILED", reason=outcome.reason)
        return [outcome]

    def close(self) -> None:
        self.closed = True


def done(task: Task) -> Outcome:
    return Outcome(
        task.cell.key, "done", version="models:/x/1", verdict="pass", seconds=10.0, prompts=4
    )


FIELDS: tuple[dict[str, object], ...] = ({}, {"dtype": "auto"}, {"dtype": "bfloat16"})


def sweep_of(place: Place, **fields: object) -> plan.Sweep:
    given = {
        "methods": ["magnitude"],
        "structure": ["2:4", "4:8"],
        "resources": {"retries": 1, "memory_gb": 1},
    } | fields
    return plan.build(grid.load(str(place.sweep("study", **given))), work=True)


def test_another_dtype_is_another_sweep_of_other_cells(place: Place) -> None:
    plain, auto, other = (sweep_of(place, **fields) for fields in FIELDS)
    assert plain.digest == auto.digest != other.digest
    assert [cell.key for cell in plain.cells] == [cell.key for cell in auto.cells]
    assert not {cell.key for cell in plain.cells} & {cell.key for cell in other.cells}


def drive(sweep: plan.Sweep, engine: Scripted) -> tuple[Driver, str]:
    said = io.StringIO()
    driver = Driver(sweep, engine, stream=said)
    driver.drive()
    return driver, said.getvalue()


def children(parent: str) -> dict[str, list[tuple[str, str | None]]]:
    """Return name -> (status, reason) of the cells' runs."""
    cells: dict[str, list[tuple[str, str | None]]] = {}
    client = runs.client()
    for run in client.search_runs(
        [client.get_run(parent).info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'"
    ):
        cells.setdefault(run.info.run_name, []).append(
            (run.info.status, run.data.tags.get("reason"))
        )
    return cells


def test_dense_comes_first_and_the_parent_run_has_the_final_metrics(place: Place) -> None:
    engine = Scripted(lambda task, attempt: done(task))
    report, said = drive(sweep_of(place), engine)
    assert engine.seen == ["dense", "magnitude-2of4-s0", "magnitude-4of8-s0"] and not report.failed
    parent = runs.client().get_run(report.parent.id)
    assert parent.info.status == "FINISHED" and parent.data.tags["sweep"] == "study"
    figures = {
        name: parent.data.metrics[f"sweep/{name}"]
        for name in ("total", "done", "running", "failed", "seconds_left")
    }
    assert figures == {"total": 3, "done": 3, "running": 0, "failed": 0, "seconds_left": 0}
    rows = runs.read_json(report.parent.id, "cells.json")
    assert [(row["recipe"], row["state"]) for row in rows] == [
        (name, "done") for name in engine.seen
    ]
    assert "3 of 3 cells done" in said.splitlines()[-1]


def test_a_failed_dense_model_takes_its_cells_along_and_a_rerun_tries_again(place: Place) -> None:
    sweep = sweep_of(place)
    engine = Scripted(
        lambda task, attempt: Outcome(task.cell.key, "failed", reason="no weights", exit_code=2)
    )
    report, _ = drive(sweep, engine)
    assert engine.seen == ["dense"]
    assert [(one.reason, one.exit_code) for one in report.failed] == [("no weights", 2)] + [
        ("Not started, because its dense model failed.", 2)
    ] * 2
    again = Scripted(lambda task, attempt: done(task))
    second, _ = drive(sweep, again)
    assert not second.failed and second.parent.id == report.parent.id, (
        "the same sweep goes on under the same run"
    )
    assert children(report.parent.id)["dense"].count(("FAILED", "no weights")) == 1


def test_other_cells_answer_beside_the_dense_model_and_wait_for_it_at_most_once(
    place: Place,
) -> None:
    told: list[tuple[str, bool]] = []

    def script(task: Task, attempt: int) -> Outcome:
        told.append((task.cell.recipe.slug, task.dense_is_done))
        if task.cell.recipe.method != "none" and not task.dense_is_done:
            return Outcome(task.cell.key, "waiting", prompts=4)
        return done(task)

    engine = Scripted(script, parallel=True)
    submit = engine.submit
    # the dense cell comes last, as if it were the slowest
    engine.submit = lambda task, request: (  # type: ignore[method-assign]
        engine.queue.insert(-1, task) if engine.queue else submit(task, request)
    )
    report, _ = drive(sweep_of(place), engine)
    names = ["magnitude-2of4-s0", "magnitude-4of8-s0"]
    assert sorted(told[:2]) == [(name, False) for name in names] and told[2] == ("dense", False)
    assert sorted(told[3:]) == [(name, True) for name in names] and not report.failed
    assert report.answered.total() == 12, "no answer is counted twice"


def test_cells_that_wait_for_a_dense_model_that_fails(place: Place) -> None:
    def script(task: Task, attempt: int) -> Outcome:
        if task.cell.recipe.method == "none":
            return Outcome(task.cell.key, "failed", reason="no weights", exit_code=2)
        return Outcome(task.cell.key, "waiting")

    engine = Scripted(script, parallel=True)
    report, _ = drive(sweep_of(place), engine)
    assert sorted(engine.seen) == ["dense", "magnitude-2of4-s0", "magnitude-4of8-s0"]
    assert {one.reason for one in report.failed} == {
        "no weights",
        "Not started, because its dense model failed.",
    }


def test_compression_apart_asks_for_its_own_machine_and_passes_on_what_it_measured(
    place: Place,
) -> None:
    asked: list[tuple[str, bool, int, object]] = []

    def script(task: Task, attempt: int) -> Outcome:
        if task.only_compress:
            return Outcome(task.cell.key, "compressed", measured={"time/compress": 7.0})
        return done(task)

    resources = {"memory_gb": 1, "cpus": 1, "compress": {"cpus": 3, "memory_gb": 2}}
    engine = Scripted(script)
    submit = engine.submit

    def noted(task: Task, request: Capacity) -> None:
        asked.append((task.cell.recipe.slug, task.only_compress, request.cpus, task.measured))
        submit(task, request)

    engine.submit = noted  # type: ignore[method-assign]
    report, said = drive(sweep_of(place, structure=["2:4"], resources=resources), engine)
    assert not report.failed and "compressed: " in said
    assert asked == [
        ("dense", False, 1, {}),
        ("magnitude-2of4-s0", True, 3, {}),
        ("magnitude-2of4-s0", False, 1, {"time/compress": 7.0}),
    ]


@pytest.mark.parametrize(("losses", "state", "starts"), [(1, "done", 2), (2, "lost", 2)])
def test_a_lost_cell_is_restarted_once(losses: int, state: str, starts: int, place: Place) -> None:
    def script(task: Task, attempt: int) -> Outcome:
        if task.cell.recipe.method == "magnitude" and attempt <= losses:
            return Outcome(task.cell.key, "lost", reason="node died", exit_code=4)
        return done(task)

    sweep = sweep_of(place, structure=["2:4"])
    engine = Scripted(script)
    report, said = drive(sweep, engine)
    assert engine.seen.count("magnitude-2of4-s0") == starts
    assert report.outcomes[sweep.cells[1].key].state == state
    ended = children(report.parent.id)["magnitude-2of4-s0"]
    assert ended.count(("FAILED", "node died")) == losses and "lost, restarting" in said


def test_a_stop_ends_what_this_driver_handed_out_and_nothing_else(place: Place) -> None:
    sweep = sweep_of(place, structure=["2:4"])
    others = []

    def script(task: Task, attempt: int) -> Outcome:
        if task.cell.recipe.method == "magnitude":
            others.append(
                sweeps.begin(task.parent, task.cell.key, name="of another driver", driver="another")
            )
            raise KeyboardInterrupt
        return done(task)

    engine = Scripted(script)
    with pytest.raises(KeyboardInterrupt):
        drive(sweep, engine)
    assert engine.closed
    client = runs.client()
    parent = client.get_run(others[0]).data.tags["mlflow.parentRunId"]
    assert client.get_run(parent).info.status == "KILLED"
    assert children(parent)["magnitude-2of4-s0"] == [
        ("KILLED", "The sweep was stopped (KeyboardInterrupt).")
    ]
    assert children(parent)["of another driver"] == [("RUNNING", None)]


def test_the_run_of_mlflow_run_becomes_the_parent(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = runs.client()
    run_id = client.create_run(runs.experiment_id()).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    report, _ = drive(
        sweep_of(place, structure=["2:4"]), Scripted(lambda task, attempt: done(task))
    )
    assert report.parent.id == run_id


def test_a_process_that_asks_for_no_gpu_does_not_take_that_of_a_cell(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scripted, "nodes", lambda self: [WITH_GPU])
    monkeypatch.setattr(plan, "settings", lambda nodes, experiment: {})
    hidden: dict[tuple[str, bool], bool] = {}

    def script(task: Task, attempt: int) -> Outcome:
        settings = task.settings.items()
        hidden[task.cell.recipe.slug, task.only_compress] = ("CUDA_VISIBLE_DEVICES", "") in settings
        if task.only_compress:
            return Outcome(task.cell.key, "compressed")
        return done(task)

    resources = {"memory_gb": 1, "gpus": 1, "compress": {"memory_gb": 1}}
    drive(sweep_of(place, structure=["2:4"], resources=resources), Scripted(script))
    assert hidden == {
        ("dense", False): False,
        ("magnitude-2of4-s0", True): True,
        ("magnitude-2of4-s0", False): False,
    }


SMALL = Node(host="small", cpus=2, memory=1e9, gpus=0)
WITH_GPU = Node(host="gpu", cpus=16, memory=64e9, gpus=4)
REQUESTS = [
    (
        "the machine is shared among the cells that fit",
        [HERE],
        {"memory_gb": 4},
        Capacity(cpus=2, memory=4e9),
    ),
    (
        "never more cells than there are",
        [WITH_GPU],
        {"memory_gb": 1},
        Capacity(cpus=5, memory=1e9),
    ),
    (
        "a GPU a cell",
        [HERE, WITH_GPU],
        {"memory_gb": 8, "gpus": 1},
        Capacity(cpus=5, memory=8e9, gpus=1),
    ),
    ("as set", [HERE], {"memory_gb": 1, "cpus": 3}, Capacity(cpus=3, memory=1e9)),
]


@pytest.mark.parametrize(
    ("nodes", "resources", "expected"),
    [case[1:] for case in REQUESTS],
    ids=[case[0] for case in REQUESTS],
)
def test_the_resources_that_a_cell_requests(
    nodes: list[Node], resources: dict[str, object], expected: Capacity, place: Place
) -> None:
    sweep = sweep_of(place, resources=resources)
    assert plan.request(sweep.facts[str(place.model)], sweep, nodes) == expected


TOO_MUCH = [
    (
        "memory by estimate",
        [SMALL],
        {},
        "needs about 1.2 GB of memory and 0 GPUs (90624 weights); the largest has 1.0 GB",
    ),
    ("memory as set", [HERE, SMALL], {"memory_gb": 9}, "needs about 9.0 GB of memory and 0 GPUs"),
    ("no GPU", [HERE], {"gpus": 1}, "and 1 GPUs"),
    (
        "GPU memory",
        [WITH_GPU],
        {"memory_gb": 1, "gpus": 1, "gpu_memory_gb": 0.0001},
        "needs about 0.0 GB of GPU memory (90624 weights)",
    ),
    (
        "CPUs",
        [HERE],
        {"memory_gb": 1, "cpus": 8},
        "resources request 8 CPUs per cell, but the largest machine has 4",
    ),
]


@pytest.mark.parametrize(
    ("nodes", "resources", "message"),
    [case[1:] for case in TOO_MUCH],
    ids=[case[0] for case in TOO_MUCH],
)
def test_a_request_that_no_machine_fits_is_refused_with_figures(
    nodes: list[Node], resources: dict[str, object], message: str, place: Place
) -> None:
    sweep = sweep_of(place, resources=resources)
    with pytest.raises(UserError) as caught:
        plan.request(sweep.facts[str(place.model)], sweep, nodes)
    assert message in str(caught.value)


def test_a_store_in_a_file_is_refused_for_other_machines(place: Place) -> None:
    with pytest.raises(UserError, match="is a file on this one"):
        plan.settings([HERE, Node(host="elsewhere", cpus=1, memory=1e9, gpus=0)], "1")


def test_settings_reach_the_cells(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere")
    monkeypatch.setenv("COMPTRUST_ARTIFACT_URI", "s3://bucket")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hidden")
    passed = plan.settings([HERE], "7")
    assert (
        passed["MLFLOW_TRACKING_URI"] == "http://somewhere"
        and passed["MLFLOW_EXPERIMENT_ID"] == "7"
    )
    assert passed["COMPTRUST_ARTIFACT_URI"] == "s3://bucket" and passed["COMPTRUST_CACHE"] == str(
        place.folder / "cache"
    )
    assert "hidden" not in json.dumps(passed)


@pytest.mark.parametrize("address", ["ray://127.0.0.1:1", "auto"])
def test_a_cluster_that_does_not_answer(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ServiceError, match="No Ray cluster answers at 127.0.0.1:1"):
        engines.engine(address)


def test_an_unknown_address_is_refused() -> None:
    with pytest.raises(UserError, match="Unknown address 'lokal'. Did you mean 'local'"):
        engines.engine("lokal")
