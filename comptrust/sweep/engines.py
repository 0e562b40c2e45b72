"""Where cells run: one after another in processes of this machine, or side by side on Ray. Both
lose a cell in the same way.
"""

from __future__ import annotations

import importlib.util
import logging
import multiprocessing
import os
import signal
import socket
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from comptrust.errors import ServiceError, UserError, unknown
from comptrust.sweep.cell import Outcome, Task, carry_out

SECONDS_TO_STOP = 20
SECONDS_TO_ANSWER = 5
STORE_BYTES = 100 * 2**20
"""Ray's object store: a cell gets and returns a few kilobytes."""
CLIENT_PORT = 10001
DEAD_RUN = "Start it, or leave --address out to run on this machine."


@dataclass(frozen=True)
class Node:
    """What one machine offers."""

    host: str
    cpus: int
    memory: float
    """Bytes."""
    gpus: float


@dataclass(frozen=True)
class Ask:
    """What one cell asks for; the engine never gives more than there is."""

    cpus: int
    memory: float
    """Bytes."""
    gpus: float = 0


class Engine(ABC):
    """Takes tasks, gives outcomes."""

    @abstractmethod
    def nodes(self) -> list[Node]:
        """Return the machines."""

    @abstractmethod
    def submit(self, task: Task, ask: Ask) -> None:
        """Take a cell; it starts when there is room."""

    @abstractmethod
    def wait(self, seconds: float) -> list[Outcome]:
        """Return what ended, after at most these seconds."""

    @abstractmethod
    def stop(self) -> None:
        """End every cell at work, at the latest by force, and let go of the machines."""


def engine(address: str) -> Engine:
    """Return the engine for `serial`, `local`, `auto` or `ray://HOST:PORT`; without the package
    ray, `local` is `serial`.

    Raises UserError for another address, ServiceError within seconds if nobody answers there.
    """
    if address not in ("serial", "local", "auto") and not address.startswith("ray://"):
        raise unknown("address", address, ["serial", "local", "auto", "ray://HOST:PORT"])
    if address == "serial":
        return Serial()
    if importlib.util.find_spec("ray") is None:
        if address != "local":
            raise UserError(
                f"--address {address} needs the package ray. Install it with: pip install"
                " 'comptrust[ray]'."
            )
        return Serial()
    return OnRay(address)


def _serve(task: Task, answer: Connection) -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the driver as well, which ends this process in order
    answer.send(carry_out(task))


class Serial(Engine):
    """One process after another on this machine."""

    def __init__(self) -> None:
        self.queue: deque[Task] = deque()
        self.current: tuple[Task, BaseProcess, Connection] | None = None

    def nodes(self) -> list[Node]:
        return [
            Node(
                socket.gethostname(),
                os.cpu_count() or 1,
                os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
                0,
            )
        ]

    def submit(self, task: Task, ask: Ask) -> None:
        self.queue.append(task)

    def wait(self, seconds: float) -> list[Outcome]:
        if self.current is None and self.queue:
            task = self.queue.popleft()
            context = multiprocessing.get_context("spawn")
            mine, its = context.Pipe(duplex=False)
            process: BaseProcess = context.Process(
                target=_serve, args=(task, its), name=task.cell.recipe.slug
            )
            process.start()
            its.close()
            self.current = (task, process, mine)
        if self.current is None:
            return []
        task, process, answer = self.current
        if not wait([answer, process.sentinel], timeout=seconds):
            return []
        try:
            outcome = answer.recv()
        except EOFError:
            process.join()
            outcome = Outcome(
                task.key,
                "lost",
                reason=f"Its process ended with exit code {process.exitcode}.",
                exit_code=4,
            )
        process.join()
        self.current = None
        return [outcome]

    def stop(self) -> None:
        self.queue.clear()
        if self.current is not None:
            _, process, _ = self.current
            process.terminate()
            process.join(SECONDS_TO_STOP)
            process.kill()
            process.join()
            self.current = None


class OnRay(Engine):
    """Ray tasks, each in a fresh process, with the CPUs, memory and GPUs that the cell asks for."""

    def __init__(self, address: str) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = (
            "0"  # read when ray is imported; nothing is sent anywhere
        )
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        self.ray: Any = ray
        own: dict[str, Any] = {}
        if address == "local":
            own = {
                "num_cpus": os.cpu_count(),
                "object_store_memory": STORE_BYTES,
                "include_dashboard": False,
            }
        _reach(address)
        try:
            ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **own)
        except (
            Exception
        ) as error:  # ray raises ConnectionError, RuntimeError, ValueError and its own classes
            reason = " ".join(str(error).split())[:200].rstrip(".")
            raise ServiceError(f"Cannot reach Ray at '{address}': {reason}. {DEAD_RUN}") from error
        self.cell = ray.remote(max_calls=1, max_retries=0)(carry_out)
        self.tasks: dict[Any, Task] = {}

    def nodes(self) -> list[Node]:
        alive = [node for node in self.ray.nodes() if node["Alive"]]
        return [
            Node(
                node["NodeManagerHostname"],
                int(node["Resources"].get("CPU", 0)),
                node["Resources"].get("memory", 0.0),
                node["Resources"].get("GPU", 0.0),
            )
            for node in alive
        ]

    def submit(self, task: Task, ask: Ask) -> None:
        asked = self.cell.options(
            name=task.cell.recipe.slug, num_cpus=ask.cpus, memory=int(ask.memory), num_gpus=ask.gpus
        )
        self.tasks[asked.remote(task)] = task

    def wait(self, seconds: float) -> list[Outcome]:
        if not self.tasks:
            return []
        ended, _ = self.ray.wait(list(self.tasks), num_returns=1, timeout=seconds)
        return [self._outcome(one) for one in ended]

    def _outcome(self, ended: Any) -> Outcome:
        task = self.tasks.pop(ended)
        try:
            outcome: Outcome = self.ray.get(ended)
            return outcome
        except (
            self.ray.exceptions.RayTaskError
        ) as error:  # the cell could not even begin, such as where comptrust is not installed
            reason = str(error.cause if hasattr(error, "cause") else error).strip().splitlines()[-1]
            return Outcome(task.key, "failed", reason=f"Could not begin: {reason}", exit_code=4)
        except self.ray.exceptions.RayError as error:
            reason = " ".join(str(error).split())[:300]
            return Outcome(
                task.key, "lost", reason=f"{type(error).__name__}: {reason}", exit_code=4
            )

    def stop(self) -> None:
        for force in (
            False,
            True,
        ):  # first as an interruption, so that the run is ended by its own process
            left = list(self.tasks)
            for one in left:
                try:
                    self.ray.cancel(one, force=force)
                except self.ray.exceptions.RayError:
                    continue
            if left:
                ended, _ = self.ray.wait(left, num_returns=len(left), timeout=SECONDS_TO_STOP)
                self.tasks = {one: self.tasks[one] for one in left if one not in ended}
        self.ray.shutdown()


def _reach(address: str) -> None:
    """Knock at the address, because Ray itself tries for minutes where nobody is. Raises
    ServiceError.
    """
    if address == "local":
        return
    where = address if address != "auto" else os.environ.get("RAY_ADDRESS") or _last_started()
    parts = urlsplit(where if "://" in where else f"ray://{where}")
    if not parts.hostname:
        return
    try:
        port = parts.port or CLIENT_PORT
        socket.create_connection((parts.hostname, port), timeout=SECONDS_TO_ANSWER).close()
    except (OSError, ValueError) as error:
        raise ServiceError(
            f"No Ray cluster answers at {parts.netloc} ({error}). {DEAD_RUN}"
        ) from error


def _last_started() -> str:
    """Return the address of the cluster that was started on this machine last, running or not, or
    nothing.
    """
    try:
        return (
            (Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster")
            .read_text()
            .strip()
        )
    except OSError:
        return ""
