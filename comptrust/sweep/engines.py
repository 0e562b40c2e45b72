"""Where cells run: in processes one after another, on Ray or Slurm; a dead one is reported lost."""

import importlib.util
import logging
import multiprocessing
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from comptrust.errors import Exit, ServiceError, UserError, unknown
from comptrust.sweep.cell import Task, carry_out
from comptrust.tracking.sweeps import Outcome

SECONDS_TO_STOP = 20
SECONDS_TO_ANSWER = 5
RAY_CLIENT_PORT = 10001
NO_CLUSTER = "Start it, or use the address local to run on this machine."


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What a machine offers, or what a cell needs: it starts only where that much is free."""

    cpus: int
    memory: float
    """Bytes."""
    gpus: float = 0


@dataclass(frozen=True, kw_only=True)
class Node(Capacity):
    """One machine."""

    host: str


class Engine(Protocol):
    """Takes tasks and returns outcomes."""

    parallel: bool
    """Whether cells may run side by side."""

    def nodes(self) -> list[Node]:
        """Return the machines."""

    def submit(self, task: Task, request: Capacity) -> None:
        """Take a cell; it starts when there is room."""

    def wait(self, seconds: float) -> list[Outcome]:
        """Return what ended, after at most these seconds."""

    def close(self) -> None:
        """End every cell at work, at the latest by force, and let go of the machines."""


def engine(address: str) -> Engine:
    """Return the engine for `serial`, `local`, `auto`, `ray://HOST:PORT` or `slurm`.

    Without Ray, `local` is `serial`. Raises UserError, or ServiceError if no cluster answers.
    """
    if address not in ("serial", "local", "auto", "slurm") and not address.startswith("ray://"):
        raise unknown("address", address, ["serial", "local", "auto", "ray://HOST:PORT", "slurm"])
    package, extra = ("submitit", "slurm") if address == "slurm" else ("ray", "ray")
    missing = importlib.util.find_spec(package) is None
    if address == "serial" or (address == "local" and missing):
        return Serial()
    if missing:
        raise UserError(
            f"The address {address} needs the package {package}. Install it with: pip install"
            f" 'comptrust[{extra}]'."
        )
    if address == "slurm":
        from comptrust.sweep.slurm import OnSlurm

        return OnSlurm()
    return OnRay(address)


def this_machine() -> Node:
    """Return what this machine has, without its GPUs."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Node(host=socket.gethostname(), cpus=os.cpu_count() or 1, memory=memory)


def _serve(task: Task, answer: Connection) -> None:
    # Ctrl-C reaches the driver as well, which ends this process in an orderly way.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answer.send(carry_out(task))


class Serial:
    """One process after another on this machine."""

    parallel = False

    def __init__(self) -> None:
        self.queue: list[Task] = []
        self.current: tuple[Task, BaseProcess, Connection] | None = None

    def nodes(self) -> list[Node]:
        return [this_machine()]

    def submit(self, task: Task, request: Capacity) -> None:
        self.queue.append(task)

    def wait(self, seconds: float) -> list[Outcome]:
        if self.current is None and self.queue:
            self._start(self.queue.pop(0))
        if self.current is None:
            return []
        task, process, answer = self.current
        if not wait([answer, process.sentinel], timeout=seconds):
            return []
        outcome = None
        with suppress(EOFError):  # the process died without sending an outcome
            outcome = answer.recv()
        process.join()
        self.current = None
        reason = f"The process ended with exit code {process.exitcode}."
        return [outcome or Outcome(task.cell.key, "lost", reason=reason, exit_code=Exit.FAILURE)]

    def _start(self, task: Task) -> None:
        # spawn: a forked process would inherit open database connections and threads
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_serve, args=(task, sender), name=task.cell.recipe.slug)
        process.start()
        sender.close()  # ours: the receiver sees the end only when no sender is left
        self.current = task, process, receiver

    def close(self) -> None:
        self.queue.clear()
        if self.current is not None:
            _, process, _ = self.current
            process.terminate()
            process.join(SECONDS_TO_STOP)
            process.kill()
            process.join()
            self.current = None


class OnRay:
    """Ray tasks, each in a fresh process, with the CPUs, memory and GPUs that the cell needs."""

    parallel = True

    def __init__(self, address: str) -> None:
        # Both are read when ray is imported: send no statistics, and do not hide the GPUs from a
        # cell that requests none.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        self.ray: Any = ray
        local: dict[str, Any] = {}
        if address == "local":
            local = {
                "num_cpus": os.cpu_count(),
                "object_store_memory": 100 * 2**20,  # a cell gets and returns a few kilobytes
                "include_dashboard": False,
            }
        else:
            _reach(address)
        try:
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **local)
        except Exception as error:  # of many classes, Ray's own and others
            reason = " ".join(str(error).split())[:200].rstrip(".")
            raise ServiceError(
                f"Cannot reach Ray at '{address}': {reason}. {NO_CLUSTER}"
            ) from error
        # one process per cell, as with Serial; a lost cell is ours to start again, not Ray's
        self.cell = ray.remote(max_calls=1, max_retries=0)(carry_out)
        self.tasks: dict[Any, Task] = {}

    def nodes(self) -> list[Node]:
        return [
            Node(
                host=node["NodeManagerHostname"],
                cpus=int(node["Resources"].get("CPU", 0)),
                memory=node["Resources"].get("memory", 0.0),
                gpus=node["Resources"].get("GPU", 0.0),
            )
            for node in self.ray.nodes()
            if node["Alive"]
        ]

    def submit(self, task: Task, request: Capacity) -> None:
        cell = self.cell.options(
            name=task.cell.recipe.slug,
            num_cpus=request.cpus,
            memory=int(request.memory),
            num_gpus=request.gpus,
        )
        self.tasks[cell.remote(task)] = task

    def wait(self, seconds: float) -> list[Outcome]:
        if not self.tasks:
            return []
        ended, _ = self.ray.wait(list(self.tasks), num_returns=1, timeout=seconds)
        return [self._outcome(reference) for reference in ended]

    def _outcome(self, reference: Any) -> Outcome:
        task = self.tasks.pop(reference)
        try:
            outcome: Outcome = self.ray.get(reference)
            return outcome
        except self.ray.exceptions.RayTaskError as error:
            # carry_out returns its own errors: this cell did not even start, for example because
            # comptrust is not installed on that machine
            cause = str(getattr(error, "cause", error)).strip().splitlines()[-1]
            reason = f"Could not start: {cause}"
            return Outcome(task.cell.key, "failed", reason=reason, exit_code=Exit.FAILURE)
        except self.ray.exceptions.RayError as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            return Outcome(task.cell.key, "lost", reason=reason, exit_code=Exit.FAILURE)

    def close(self) -> None:
        # First as an interruption, so that each cell closes its own run; then by force.
        for force in (False, True):
            for reference in self.tasks:
                with suppress(self.ray.exceptions.RayError):
                    self.ray.cancel(reference, force=force)
            if self.tasks:
                ended, _ = self.ray.wait(
                    list(self.tasks), num_returns=len(self.tasks), timeout=SECONDS_TO_STOP
                )
                for reference in ended:
                    del self.tasks[reference]
        self.ray.shutdown()


def _reach(address: str) -> None:
    """Connect to the address once; Ray itself tries for minutes. Raises ServiceError."""
    if address == "auto":
        # Ray notes here the last cluster started on this machine, running or not.
        last = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
        noted = last.read_text().strip() if os.access(last, os.R_OK) else ""
        address = os.environ.get("RAY_ADDRESS") or noted
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    if not parts.hostname:
        return
    try:
        place = (parts.hostname, parts.port or RAY_CLIENT_PORT)
        socket.create_connection(place, timeout=SECONDS_TO_ANSWER).close()
    except (OSError, ValueError) as error:
        raise ServiceError(
            f"No Ray cluster answers at {parts.netloc} ({error}). {NO_CLUSTER}"
        ) from error
