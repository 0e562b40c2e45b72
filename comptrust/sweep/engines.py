"""Where cells run: in processes one after another, on Ray or Slurm; a dead one is reported lost."""

import importlib.util
import multiprocessing
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

from comptrust.errors import Exit, UserError, unknown
from comptrust.sweep.cell import Work, carry_out
from comptrust.tracking.sweeps import Outcome

SECONDS_TO_STOP = 20


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

    def submit(self, task: Work, request: Capacity) -> None:
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
        from comptrust.sweep.on_slurm import OnSlurm

        return OnSlurm()
    from comptrust.sweep.on_ray import OnRay

    return OnRay(address)


def this_machine() -> Node:
    """Return what this machine has, without its GPUs."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Node(host=socket.gethostname(), cpus=os.cpu_count() or 1, memory=memory)


def _serve(task: Work, answer: Connection) -> None:
    # Ctrl-C reaches the driver as well, which ends this process in an orderly way.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answer.send(carry_out(task))


class Serial:
    """One process after another on this machine."""

    parallel = False

    def __init__(self) -> None:
        self.queue: list[Work] = []
        self.current: tuple[Work, BaseProcess, Connection] | None = None

    def nodes(self) -> list[Node]:
        return [this_machine()]

    def submit(self, task: Work, request: Capacity) -> None:
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
        return [outcome or Outcome(task.key, "lost", reason=reason, exit_code=Exit.FAILURE)]

    def _start(self, task: Work) -> None:
        # spawn: a forked process would inherit open database connections and threads
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_serve, args=(task, sender), name=task.name)
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
