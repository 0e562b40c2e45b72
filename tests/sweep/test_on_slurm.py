"""Cells as Slurm jobs: submitit's local executor in place of a cluster, and a Slurm of scripts.

Killed cells and drivers lose nothing, and nothing is done twice.
"""

from __future__ import annotations

import io
import os
import signal
import stat
import time
from pathlib import Path

import pytest

from comptrust.errors import ServiceError, UserError
from comptrust.sweep import grid, plan
from comptrust.sweep.cell import Task
from comptrust.sweep.driver import Driver
from comptrust.sweep.engines import Capacity
from comptrust.tracking import runs, sweeps
from tests.support.sweeps import Place

pytest.importorskip("submitit")
from comptrust.sweep import on_slurm  # noqa: E402

SLURM = {
    "sinfo": 'printf "node1|4|16000|gpu:a100:2(S:0-1)\\nnode1|4|16000|gpu:a100:2(S:0-1)\\n"',
    "srun": """while [ "${1#--}" != "$1" ]; do
  case $1 in --output|--error) shift;; esac
  shift
done
exec "$@\"""",
    # one process for each job, which outlives whoever submitted it
    "sbatch": """number=$(($(ls "$SLURMS" | grep -c pid) + 1000))
SLURM_JOB_ID=$number setsid bash "$1" > "$SLURMS/$number.out" 2>&1 &
echo $! > "$SLURMS/$number.pid"; cp "$1" "$SLURMS/$number.sh"
echo "Submitted batch job $number\"""",
    "sacct": """echo "JobID|State|NodeList"
for file in "$SLURMS"/*.pid; do
  [ -e "$file" ] || continue
  state=COMPLETED; kill -0 $(cat "$file") 2> /dev/null && state=RUNNING
  echo "$(basename "$file" .pid)|$state|node1"
done""",
    "scancel": 'kill -- -$(cat "$SLURMS/$1.pid")',
}


@pytest.fixture
def cluster(place: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands of Slurm that run jobs here; returns the folder that has their scripts."""
    commands, jobs = place.folder / "bin", place.folder / "jobs"
    commands.mkdir()
    jobs.mkdir()
    for name, text in SLURM.items():
        (commands / name).write_text(f"#!/bin/bash\n{text}\n")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURMS", str(jobs))
    return jobs


def test_machines_and_their_gpus(cluster: Path) -> None:
    [node] = on_slurm.OnSlurm().nodes()
    assert (node.host, node.cpus, node.memory, node.gpus) == ("node1", 4, 16000 * 2**20, 2)
    assert on_slurm._node("n|8+|100+|(null)").gpus == 0
    assert on_slurm._node("n|8|100|gpu:a100:4,gpu:h100:2,shard:8").gpus == 6


@pytest.mark.parametrize("broken", ["sinfo", "sacct"])
def test_a_slurm_that_does_not_answer_is_one_line(broken: str, cluster: Path, place: Place) -> None:
    command = place.folder / "bin" / broken
    command.write_text("#!/bin/bash\necho 'Slurm accounting storage is disabled' >&2; exit 1\n")
    with pytest.raises(ServiceError, match=f"{broken} failed: Slurm accounting storage"):
        on_slurm.OnSlurm().nodes()
    command.write_text("not a program")
    with pytest.raises(ServiceError, match=f"Slurm's {broken} does not answer"):
        on_slurm.OnSlurm().nodes()


def test_a_folder_of_jobs_that_others_can_write_is_refused(cluster: Path, place: Place) -> None:
    on_slurm.OnSlurm()
    folder = place.folder / "cache" / "slurm"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    with pytest.raises(UserError, match="who could run code in your name"):
        on_slurm.OnSlurm()


def task_of(place: Place) -> tuple[on_slurm.OnSlurm, Task]:
    sweep = plan.build(grid.load(str(place.sweep("study", methods=["none"]))), work=True)
    settings = {"MLFLOW_TRACKING_URI": "http://me:pa55@host", "COMPTRUST_CACHE": "/c"}
    task = Task(
        cell=sweep.cells[0],
        file=sweep.file,
        suite_digest=sweep.suite.digest,
        policy=sweep.policy,
        parent="",
        driver="",
        settings=settings,
        code="",
    )
    return on_slurm.OnSlurm(), task


def test_what_a_job_requests_and_what_its_files_hold(
    cluster: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", os.environ["MLFLOW_TRACKING_URI"])
    engine, task = task_of(place)
    with pytest.raises(UserError, match="Slurm gives whole GPUs"):
        engine.submit(task, Capacity(cpus=1, memory=1e9, gpus=0.5))
    (place.folder / "bin" / "sbatch").write_text(
        '#!/bin/bash\ncp "$1" "$SLURMS/1.sh"; echo "Submitted batch job 1"\n'
    )
    engine.submit(task, Capacity(cpus=3, memory=5 * 2**30, gpus=2))
    asked = (cluster / "1.sh").read_text()
    for line in ("cpus-per-task=3", "mem=5GB", "gpus-per-node=2", "time=1440", "job-name=dense"):
        assert f"#SBATCH --{line}" in asked
    assert os.environ["MLFLOW_TRACKING_URI"] == "http://me:pa55@host", "sbatch hands it on"
    files = [file for file in (place.folder / "cache").rglob("*") if file.is_file()]
    assert any(file.name == "1_submitted.pkl" for file in files)
    assert not [file for file in files if b"pa55" in file.read_bytes()]


def test_a_job_that_sbatch_refuses(cluster: Path, place: Place) -> None:
    engine, task = task_of(place)
    (place.folder / "bin" / "sbatch").write_text(
        "#!/bin/bash\necho 'Invalid account' >&2; exit 1\n"
    )
    with pytest.raises(ServiceError, match="sbatch refused a cell: .*Invalid account"):
        engine.submit(task, Capacity(cpus=1, memory=1e9))


def test_a_driver_takes_over_the_living_job_of_one_that_was_killed(
    cluster: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", os.environ["MLFLOW_TRACKING_URI"])
    sbatch = place.folder / "bin" / "sbatch"
    sbatch.write_text(sbatch.read_text().replace('bash "$1"', "sleep 600"))
    killed, task = task_of(place)
    request = Capacity(cpus=1, memory=1e9)
    killed.submit(task, request)
    second = on_slurm.OnSlurm()
    second.submit(task, request)
    assert [job.job_id for job in second.jobs] == ["1000"]
    second.close()
    third = on_slurm.OnSlurm()
    third.submit(task, request)
    assert [job.job_id for job in third.jobs] == ["1001"], "the first one was ended"
    third.close()


def ended(driver: Driver) -> dict[str, str]:
    return {cell.recipe.slug: driver.outcomes[cell.key].state for cell in driver.sweep.cells}


@pytest.mark.slow
def test_a_killed_and_a_preempted_job_go_on(place: Place) -> None:
    """On submitit's local executor: the first cell is killed, the second is told to stop."""
    path = place.sweep("study", methods=["magnitude"], structure=["2:4"])
    engine = on_slurm.OnSlurm(cluster="local")
    driver = Driver(plan.build(grid.load(str(path)), work=True), engine, stream=io.StringIO())
    submit, told = engine.submit, []

    def and_disturb(task: Task, request: Capacity) -> None:
        submit(task, request)
        if task.cell.recipe.slug in told:
            return
        told.append(task.cell.recipe.slug)
        kind = signal.SIGKILL if task.cell.recipe.method == "none" else signal.SIGUSR2
        os.kill(process_of(task.cell.key), kind)

    engine.submit = and_disturb  # type: ignore[method-assign]
    driver.drive()
    assert ended(driver) == {"dense": "done", "magnitude-2of4-s0": "done"}
    for cell in driver.sweep.cells:
        found = runs.client().search_runs(["0", "1"], f"tags.{sweeps.CELL} = '{cell.key}'")
        assert [run.info.status for run in found].count("FINISHED") == 1 < len(found)


def process_of(key: str) -> int:
    """Wait until a cell is at work and return its process."""
    query = f"tags.{sweeps.CELL} = '{key}' and attributes.status = 'RUNNING'"
    limit = time.monotonic() + 600
    while not (found := runs.client().search_runs(["0", "1"], query)):
        assert time.monotonic() < limit, "the cell did not begin"
        time.sleep(0.1)
    return int(found[0].data.tags[runs.PROCESS].rpartition(":")[2])
