"""What a busy guarded server costs its users: an upload beside thousands of promoted versions, and
searches while many ask for the same promotion of a large model.

Run: python benchmarks/enforcement_load.py --promoted 3000 --requests 50
"""

from __future__ import annotations

import argparse
import concurrent.futures
import datetime
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from _measure import ROOT, Figure, report
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlRegisteredModel

sys.path.insert(0, str(ROOT))  # the tests know how to make a model that passes, and a server

UPLOADS = 200
ROW_BYTES = 128
"""Of the rows that make a model large."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--promoted", type=int, default=3000, help="versions that are promoted")
    parser.add_argument("--requests", type=int, default=50, help="equal requests at once")
    parser.add_argument("--megabytes", type=int, default=200, help="size of the model")
    parser.add_argument("--workers", type=int, default=2, help="processes of the server")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        figures = uploads(Path(name), given.promoted)
    with tempfile.TemporaryDirectory() as name:
        figures += searches(Path(name), given.requests, given.megabytes, given.workers)
    report(figures, json_to=given.json)


def uploads(folder: Path, count: int) -> list[Figure]:
    """Upload small files to a plain and a guarded folder, in turn, beside `count` promotions."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    os.environ["MLFLOW_TRACKING_URI"] = uri
    from mlflow.server.handlers import _get_model_registry_store

    from comptrust.gate.enforcement.frozen import FrozenRepository, frozen_uri
    from comptrust.gate.enforcement.store import GuardedStore

    store = _get_model_registry_store(f"comptrust+{uri}")
    assert isinstance(store, GuardedStore)
    promote_many(store, folder / "guarded", count)
    plain = LocalArtifactRepository((folder / "plain").as_uri())
    guarded = FrozenRepository(frozen_uri(str(folder / "guarded")))
    (folder / "file").write_bytes(b"x" * 1000)

    def upload(to: ArtifactRepository, number: int) -> float:
        return timed(lambda: to.log_artifact(str(folder / "file"), f"run-{number % 5}"))

    first = upload(guarded, 0)
    pairs = [(upload(plain, number), upload(guarded, number)) for number in range(UPLOADS)]
    after = []
    for _ in range(5):
        store.guard.log(("m", "1", "transition", "Archived"), "withdrawn", "")
        after.append(upload(guarded, 0))
    alone, beside = (statistics.median(column) for column in zip(*pairs, strict=True))
    name = f"enforcement/upload beside {count} promoted versions"
    return [
        Figure("enforcement/upload without the gate", alone, "ms"),
        Figure(f"{name}, added", beside - alone, "ms", "<= 5"),
        Figure(f"{name}, the first", first, "ms"),
        Figure(f"{name}, after each promotion", statistics.median(after), "ms"),
    ]


def promote_many(store, folder: Path, count: int) -> None:  # type: ignore[no-untyped-def]
    """Write versions that are in Production, with the records and the evidence of their grants."""
    from comptrust.gate.enforcement.audit_record import AuditEvent, Grant
    from comptrust.gate.enforcement.evidence_store import EvidenceStore

    kept = EvidenceStore(store.settings.evidence)
    expires = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    with store.ManagedSessionMaker(read_only=False) as session, store.guard.locked():
        for number in range(count):
            name, run = f"model-{number}", f"{number:032x}"
            location = (folder / "1" / "models" / f"m-{run}" / "artifacts").as_uri()
            session.add(SqlRegisteredModel(name=name, creation_time=0, last_updated_time=0))
            session.add(
                SqlModelVersion(
                    name=name,
                    version=1,
                    current_stage="Production",
                    storage_location=location,
                    source=location,
                    run_id=run,
                )
            )
            runs = {"candidate": run, "baseline": f"{number % 50:031x}f"}
            grant = Grant(
                source=location,
                storage=location,
                run_id=run,
                files="0" * 64,
                attestation=f"{number:064x}",
                policy="0" * 64,
                key_id="0" * 16,
                expires=expires,
                evidence=kept.keep({}, runs=runs, models=(f"m-{run}",), policy="{}"),
            )
            event = AuditEvent(
                action="transition",
                model=name,
                version="1",
                target="Production",
                decision="granted",
                finding="",
                grant=grant,
            )
            store.guard.audit.append(event)


def searches(folder: Path, requests: int, megabytes: int, workers: int) -> list[Figure]:
    """Search while `requests` clients ask for one promotion of one model."""
    from tests.support.enforcement import world as support
    from tests.support.enforcement.server import serve

    support.write_policies(folder)
    support.write_key(folder / "keys")
    world = next(running := serve(folder, with_auth=False, workers=workers))
    try:
        rows = megabytes * 1_000_000 // ROW_BYTES
        candidate = world.register(support.GOOD, spare=rows)
        world.gate(candidate, policy_name="staging")
        time.sleep(3)  # a file that just changed is not remembered
        path, body = "mlflow/registered-models/alias", {"alias": "challenger"}
        body |= {"name": candidate.name, "version": candidate.version}
        search = "mlflow/registered-models/search?max_results=10"
        idle = [timed(lambda: world.rest("GET", search)) for _ in range(50)]
        begun = threading.Barrier(requests + 1)

        def ask() -> str:
            begun.wait()
            answer = world.rest("POST", path, body)
            return "granted" if answer.ok else answer.text

        with concurrent.futures.ThreadPoolExecutor(requests) as pool:
            asked = [pool.submit(ask) for _ in range(requests)]
            begun.wait()
            start, during = time.perf_counter(), []
            while not all(future.done() for future in asked):
                during.append(timed(lambda: world.rest("GET", search)))
            seconds = time.perf_counter() - start
            answers = [future.result() for future in asked]
        if refused := [answer for answer in answers if answer != "granted"]:
            raise SystemExit(f"{len(refused)} of {requests} were refused: {refused[0]}")
        print(f"{requests} requests granted, {len(during)} searches meanwhile")
        return [
            Figure(f"enforcement/{requests} promotions of {megabytes} MB at once", seconds, "s"),
            Figure("enforcement/search, idle", statistics.median(idle), "ms"),
            Figure(
                f"enforcement/search during {requests} promotions of {megabytes} MB, median",
                statistics.median(during),
                "ms",
                "<= 200",
            ),
            Figure("enforcement/search during them, longest", max(during), "ms"),
        ]
    finally:
        running.close()  # type: ignore[attr-defined]


def timed(act: Callable[[], object]) -> float:
    """Return how many milliseconds something takes."""
    start = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
