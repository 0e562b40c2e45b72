"""Cells as Slurm jobs, through submitit: one job is one cell in a fresh process."""

import os
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from comptrust import config
from comptrust.errors import Exit, ServiceError, UserError
from comptrust.sweep.cell import Work, carry_out
from comptrust.sweep.engines import SECONDS_TO_STOP, Capacity, Node, this_machine
from comptrust.tracking.sweeps import Outcome

MINUTES = 24 * 60
"""Time limit of a job, unless SBATCH_TIMELIMIT says otherwise; a job that reaches it goes on."""
SECONDS_BETWEEN_LOOKS = 0.5
ALIVE = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED", "SUSPENDED", "PREEMPTED")
PASSED_BY_ENVIRONMENT = "MLFLOW_TRACKING_URI"
"""sbatch hands on the environment; jobs are files in the cache, and this may hold a password."""


class Resumable:
    """A cell that Slurm queues again after a preemption or its time limit; its work is kept."""

    def __call__(self, task: Work) -> Outcome:
        """Carry out the cell."""
        return carry_out(task)

    def checkpoint(self, task: Work) -> Any:
        """Return what to queue: the same again. submitit calls it before it stops the job."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, task)


class OnSlurm:
    """Slurm jobs that request the CPUs, memory and GPUs that the cell needs.

    Partition, account and the like are sbatch's own variables: SBATCH_PARTITION, SBATCH_ACCOUNT.
    """

    parallel = True

    def __init__(self, *, cluster: str = "slurm") -> None:
        """Ask Slurm for its machines. Raises ServiceError if it or its accounting does not answer.

        `cluster` is submitit's name of the executor.
        """
        import submitit

        self.submitit: Any = submitit
        self.cluster = cluster
        self.job_class = {"slurm": submitit.SlurmJob, "local": submitit.LocalJob}[cluster]
        self.jobs: dict[Any, Work] = {}
        self.folder = _own_folder(config.cache_dir() / "slurm")
        if cluster == "slurm":
            # A job that dies is noticed by its state alone.
            _said("sacct", "-nX", "--format=JobID")

    def nodes(self) -> list[Node]:
        if self.cluster == "local":
            return [this_machine()]
        # once for each partition that a machine is in
        return [_node(line) for line in dict.fromkeys(_said("sinfo", "-hNo", "%n|%c|%m|%G"))]

    def submit(self, task: Work, request: Capacity) -> None:
        if request.gpus != int(request.gpus):
            raise UserError(
                f"Slurm gives whole GPUs, but the sweep requests {request.gpus:g} for a cell. Set"
                " resources.gpus to a whole number."
            )
        settings = dict(task.settings)
        if uri := settings.pop(PASSED_BY_ENVIRONMENT, None):
            os.environ[PASSED_BY_ENVIRONMENT] = uri
        folder = self.folder / task.key
        job = self._left_over(folder)
        if job is None:
            executor = self.submitit.AutoExecutor(folder, cluster=self.cluster)
            executor.update_parameters(
                name=task.name,
                timeout_min=MINUTES,
                cpus_per_task=request.cpus,
                mem_gb=request.memory / 2**30,
                gpus_per_node=int(request.gpus),
            )
            own = replace(task, settings=settings)  # type: ignore[type-var]  # all are dataclasses
            try:
                job = executor.submit(Resumable(), own)
            except RuntimeError as error:  # submitit's classes for a submission that failed
                raise ServiceError(f"sbatch refused a cell: {_last_line(error)}") from error
        self.jobs[job] = task

    def _left_over(self, folder: Path) -> Any:
        """Return the living job of this cell that a driver left when it was killed, if any."""
        names = [path.name.partition("_")[0] for path in folder.glob("*_submitted.pkl")]
        jobs = [self.job_class(folder, name) for name in names]
        # one that has its result may still be listed as running
        alive = (job for job in jobs if not job.paths.result_pickle.exists())
        return next((job for job in alive if job.state in ALIVE), None)

    def wait(self, seconds: float) -> list[Outcome]:
        limit = time.monotonic() + seconds
        while not (ended := [job for job in self.jobs if job.done()]) and time.monotonic() < limit:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return [self._outcome(job) for job in ended]

    def _outcome(self, job: Any) -> Outcome:
        key = self.jobs.pop(job).key
        try:
            outcome: Outcome = job.result()
            return outcome
        except self.submitit.core.utils.FailedJobError as error:
            # carry_out returns its own errors: this cell did not even start
            reason = f"Could not start: {_last_line(error)}"
            return Outcome(key, "failed", reason=reason, exit_code=Exit.FAILURE)
        except self.submitit.core.utils.UncompletedJobError:
            reason = f"Job {job.job_id} ended without a result (state {job.state})."
            return Outcome(key, "lost", reason=reason, exit_code=Exit.FAILURE)

    def close(self) -> None:
        for job in self.jobs:
            with suppress(OSError):
                job.cancel(check=False)
        limit = time.monotonic() + SECONDS_TO_STOP
        while time.monotonic() < limit and not all(job.done(force_check=True) for job in self.jobs):
            time.sleep(SECONDS_BETWEEN_LOOKS)
        self.jobs.clear()


def _own_folder(path: Path) -> Path:
    """Make a folder that only we can write. Raises UserError for one that others may write.

    submitit reads results as pickles, and who can change a pickle can run code.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = path.stat()
    if state.st_uid != os.getuid() or state.st_mode & 0o022:
        raise UserError(
            f"{path} can be written by others, who could run code in your name. Set COMPTRUST_CACHE"
            " to a folder of yours, or remove this one."
        )
    return path


def _said(*command: str) -> list[str]:
    """Return the lines that a command of Slurm prints. Raises ServiceError if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.split())[:200]
        raise ServiceError(f"Slurm's {command[0]} failed: {reason or 'no reason given'}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServiceError(
            f"Slurm's {command[0]} does not answer ({error}). Start the sweep where sbatch works,"
            " or use another address."
        ) from error
    return done.stdout.splitlines()


def _node(line: str) -> Node:
    """Read `HOST|CPUS|MEGABYTES|GRES`, such as `n1|64|512000|gpu:a100:4(S:0-1)`."""
    host, cpus, megabytes, resources = line.split("|", 3)
    gpus = 0
    for resource in resources.split(","):
        parts = resource.partition("(")[0].split(":")
        if parts[0] == "gpu" and parts[-1].isdigit():
            gpus += int(parts[-1])
    return Node(
        host=host, cpus=int(cpus.rstrip("+")), memory=int(megabytes.rstrip("+")) * 2**20, gpus=gpus
    )


def _last_line(error: Exception) -> str:
    """Return the end of an error that submitit quotes, without its hint where the logs are."""
    quoted = str(error).partition("You can check full logs")[0].splitlines()
    return [type(error).__name__, *filter(None, (line.strip(" -") for line in quoted))][-1][:300]
