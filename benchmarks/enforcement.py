"""What the gate costs where it has nothing to say: the same registry requests with and without it, on the same database.

Run: python benchmarks/enforcement.py --requests 300
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.store.model_registry.abstract_store import AbstractStore
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

Requests = dict[str, Callable[[AbstractStore, int], Any]]
MODEL = "churn"


def unguarded() -> Requests:
    """Return requests that the guard lets straight through."""
    return {
        "get version": lambda store, n: store.get_model_version(MODEL, "1"),
        "search models": lambda store, n: store.search_registered_models(),
        "create version": lambda store, n: store.create_model_version(MODEL, "s3://bucket/model", tags=[ModelVersionTag("note", "x")]),
        "set version tag": lambda store, n: store.set_model_version_tag(MODEL, "1", ModelVersionTag("note", str(n))),
        "set model tag": lambda store, n: store.set_registered_model_tag(MODEL, RegisteredModelTag("team", str(n))),
        "set alias": lambda store, n: store.set_registered_model_alias(MODEL, f"try-{n % 5}", "1"),
        "delete alias": lambda store, n: store.delete_registered_model_alias(MODEL, f"try-{n % 5}"),
        "archive": lambda store, n: store.transition_model_version_stage(MODEL, "1", "Archived", False),
    }


def main() -> None:
    """Alternate between both stores, request by request, and print the medians in ms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=300, help="requests of each kind and store")
    count = parser.parse_args().requests
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{Path(folder) / 'mlflow.db'}"
        os.environ["MLFLOW_TRACKING_URI"] = uri
        from validation.enforcement.store import GuardedStore

        stores = {"plain": SqlAlchemyStore(uri), "guarded": GuardedStore(f"comptrust+{uri}")}
        stores["plain"].create_registered_model(MODEL)
        stores["plain"].create_model_version(MODEL, "s3://bucket/model")
        print(f"{'request':<16} {'plain ms':>9} {'guarded ms':>11} {'added ms':>9}")
        added = []
        for name, request in unguarded().items():
            taken: dict[str, list[float]] = {kind: [] for kind in stores}
            for number in range(count):
                for kind in sorted(stores, reverse=bool(number % 2)):
                    before = time.perf_counter()
                    request(stores[kind], number)
                    taken[kind].append(1000 * (time.perf_counter() - before))
            plain, guarded = (statistics.median(taken[kind]) for kind in ("plain", "guarded"))
            added.append(guarded - plain)
            print(f"{name:<16} {plain:>9.2f} {guarded:>11.2f} {guarded - plain:>+9.2f}")
        print(f"median over the kinds of request: {statistics.median(added):+.2f} ms, largest {max(added):+.2f} ms")


if __name__ == "__main__":
    main()
