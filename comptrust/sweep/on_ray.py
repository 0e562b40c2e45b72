"""Cells as Ray tasks, on this machine or on a cluster."""

import logging
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from comptrust.errors import Exit, ServiceError
from comptrust.sweep.cell import Work, carry_out
from comptrust.sweep.engines import SECONDS_TO_STOP, Capacity, Node
from comptrust.tracking.sweeps import Outcome

SECONDS_TO_ANSWER = 5
RAY_CLIENT_PORT = 10001
NO_CLUSTER = "Start it, or use the address local to run on this machine."


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
        self.tasks: dict[Any, Work] = {}

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

    def submit(self, task: Work, request: Capacity) -> None:
        cell = self.cell.options(
            name=task.name,
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
            return Outcome(task.key, "failed", reason=reason, exit_code=Exit.FAILURE)
        except self.ray.exceptions.RayError as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            return Outcome(task.key, "lost", reason=reason, exit_code=Exit.FAILURE)

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
