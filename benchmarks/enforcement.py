"""What the gate costs where it has nothing to say: the same requests with and without it, on the
same database and folder.

Run: python benchmarks/enforcement.py --requests 300
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from _measure import Figure, report
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.model_registry.abstract_store import AbstractStore
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

MODEL = "churn"


@dataclass(frozen=True)
class Side:
    """A registry and an artifact folder, with or without the gate."""

    store: AbstractStore
    artifacts: ArtifactRepository


Request = Callable[[Side, int, Path], object]
REQUESTS: Mapping[str, Request] = {
    "get version": lambda side, n, file: side.store.get_model_version(MODEL, "1"),
    "search models": lambda side, n, file: side.store.search_registered_models(),
    "create version": lambda side, n, file: side.store.create_model_version(
        MODEL, "s3://b/m", tags=[ModelVersionTag("note", "x")]
    ),
    "set version tag": lambda side, n, file: side.store.set_model_version_tag(
        MODEL, "1", ModelVersionTag("note", str(n))
    ),
    "set model tag": lambda side, n, file: side.store.set_registered_model_tag(
        MODEL, RegisteredModelTag("team", str(n))
    ),
    "set alias": lambda side, n, file: side.store.set_registered_model_alias(
        MODEL, f"try-{n % 5}", "1"
    ),
    "delete alias": lambda side, n, file: side.store.delete_registered_model_alias(
        MODEL, f"try-{n % 5}"
    ),
    "archive": lambda side, n, file: side.store.transition_model_version_stage(
        MODEL, "1", "Archived", False
    ),
    "upload artifact": lambda side, n, file: side.artifacts.log_artifact(str(file), f"run-{n % 5}"),
}


def main() -> None:
    """Alternate between both sides, request by request; print medians of wall clock and of CPU
    time, which other work does not stretch.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=300, help="requests of each kind and side")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    count = given.requests
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sides = build(folder)
        print(
            f"{'request':<16} {'plain ms':>9} {'added ms':>9} {'plain CPU ms':>13}"
            f" {'added CPU ms':>13}"
        )
        added = []
        for request, act in REQUESTS.items():
            wall: dict[str, list[float]] = {side: [] for side in sides}
            cpu: dict[str, list[float]] = {side: [] for side in sides}
            for number in range(count):
                for side in sorted(sides, reverse=bool(number % 2)):
                    began, used = time.perf_counter(), time.thread_time()
                    act(sides[side], number, folder / "file")
                    cpu[side].append(1000 * (time.thread_time() - used))
                    wall[side].append(1000 * (time.perf_counter() - began))
            plain, guarded = (statistics.median(wall[side]) for side in ("plain", "guarded"))
            busy, more = (statistics.median(cpu[side]) for side in ("plain", "guarded"))
            added.append((guarded - plain, more - busy))
            print(
                f"{request:<16} {plain:>9.2f} {guarded - plain:>+9.2f} {busy:>13.2f}"
                f" {more - busy:>+13.2f}"
            )
        middle = [statistics.median(column) for column in zip(*added, strict=True)]
        print(f"median over the kinds of request: {middle[0]:+.2f} ms, CPU {middle[1]:+.2f} ms\n")
        added_ms = Figure("enforcement/added to a request, median", middle[0], "ms", "<= 2")
        report(
            [added_ms, Figure("enforcement/added to a request, CPU", middle[1], "ms")],
            json_to=given.json,
        )


def build(folder: Path) -> dict[str, Side]:
    """Make a database with one model and a folder for artifacts, open with and without the gate."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    os.environ["MLFLOW_TRACKING_URI"] = uri
    from mlflow.server.handlers import _get_model_registry_store

    from comptrust.gate.enforcement.frozen import FrozenRepository, frozen_uri

    plain = SqlAlchemyStore(uri)
    plain.create_registered_model(MODEL)
    plain.create_model_version(MODEL, "s3://b/m")
    (folder / "file").write_bytes(b"x" * 1000)
    guarded = _get_model_registry_store(f"comptrust+{uri}")
    return {
        "plain": Side(plain, LocalArtifactRepository((folder / "plain").as_uri())),
        "guarded": Side(guarded, FrozenRepository(frozen_uri(str(folder / "guarded")))),
    }


if __name__ == "__main__":
    main()
