"""Robustness under load: 20 clients log runs while 10 promote rivals, on PostgreSQL and on sqlite.

Nothing is lost, and there is exactly one champion at any time.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner
from mlflow import MlflowClient
from sqlalchemy import create_engine, text

from comptrust.cli.app import comptrust
from comptrust.gate import policy
from comptrust.gate.enforcement import audit
from comptrust.tracking import promotion
from comptrust.workflow import promotable
from tests.support import postgres
from tests.support.enforcement.server import serve
from tests.support.enforcement.world import GOOD, Candidate, World

pytestmark = pytest.mark.slow
LOGGING, RIVALS = 20, 10
START = 60
"""Seconds within which all clients must be ready."""
MODEL, ALIAS = "rivals", "champion"
HELD = text("SELECT version FROM registered_model_aliases WHERE name = :model AND alias = :alias")


@dataclass
class Served:
    """A guarded server, its database, and rivals whose verdicts all pass."""

    database: str
    uri: str
    world: World
    log: Path
    rivals: list[Candidate]


@pytest.fixture(scope="module", params=["PostgreSQL", "sqlite"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Start the database and `comptrust serve`, and gate the rivals."""
    from tests.support.enforcement.world import write_key, write_policies

    folder = tmp_path_factory.mktemp(request.param)
    write_policies(folder)
    write_key(folder / "keys")
    kept = dict(os.environ)
    with ExitStack() as stack:
        stack.callback(lambda: (os.environ.clear(), os.environ.update(kept)))
        uri = f"sqlite:///{folder}/mlflow.db"
        if request.param == "PostgreSQL":
            uri = stack.enter_context(postgres.started())
        # mlflow sets it to the store that this process used last
        os.environ.pop("MLFLOW_REGISTRY_URI", None)
        log = folder / "audit.jsonl"
        options = ("--backend-store-uri", uri, "--audit-log", str(log))
        world = stack.enter_context(contextmanager(serve)(folder, with_auth=False, options=options))
        os.environ |= {
            "MLFLOW_TRACKING_URI": world.base_url,
            "COMPTRUST_KEYS": str(folder / "keys"),
        }
        rivals = [world.register(GOOD, name=MODEL) for _ in range(RIVALS)]
        for rival in rivals:
            world.gate(rival)
        yield Served(request.param, uri, world, log, rivals)


@dataclass
class Watched:
    """What is observed while the server is under load."""

    statuses: Counter[int] = field(default_factory=Counter)
    """Status codes of all answers to the clients of this process."""
    champions: Counter[str] = field(default_factory=Counter)
    """Version -> number of observations in which it was the champion."""


@contextmanager
def watched(served: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """Count the answers, and observe the champion in the database and through the server."""
    seen, over = Watched(), threading.Event()
    send = requests.Session.send

    def counted(self: requests.Session, *arguments: Any, **settings: Any) -> requests.Response:
        answer = send(self, *arguments, **settings)
        seen.statuses[answer.status_code] += 1
        return answer

    def look() -> None:
        engine = create_engine(served.uri)
        while not over.is_set():
            with engine.connect() as connection:
                # exactly one row, at any time
                (row,) = connection.execute(HELD, {"model": MODEL, "alias": ALIAS})
            seen.champions[str(row[0])] += 1
            champion = served.world.client.get_model_version_by_alias(MODEL, ALIAS)
            seen.champions[champion.version] += 1
            time.sleep(0.02)
        engine.dispose()

    monkeypatch.setattr(requests.Session, "send", counted)
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        try:
            yield seen
        finally:
            over.set()
        looking.result()


def test_clients_log_and_promote_at_once(
    served: Served, monkeypatch: pytest.MonkeyPatch, tell: Callable[[str], None], tmp_path: Path
) -> None:
    world, url = served.world, served.world.base_url
    needed = policy.load(str(world.folder / "production.yaml"))
    begin = threading.Barrier(LOGGING + RIVALS)

    def log_a_run(number: int) -> str:
        client, path = MlflowClient(tracking_uri=url, registry_uri=url), tmp_path / f"{number}.txt"
        path.write_text(f"artifact {number}\n" * 500)
        begin.wait(START)
        run_id = client.create_run(world.experiment, run_name=f"client-{number}").info.run_id
        for key in "abc":
            client.log_param(run_id, key, f"{key}{number}")
            client.log_metric(run_id, key, number)
        client.log_artifact(run_id, str(path))
        client.set_terminated(run_id)
        return str(run_id)

    def promote(rival: Candidate) -> promotion.Promotion:
        begin.wait(START)
        check = promotable.check(needed, stage="Production")
        named = needed.digests
        return promotion.promote(MODEL, rival.version, to=ALIAS, policy=named, check=check)

    world.client.set_registered_model_alias(MODEL, ALIAS, served.rivals[0].version)
    began = time.monotonic()
    with watched(served, monkeypatch) as seen, ThreadPoolExecutor(LOGGING + RIVALS) as pool:
        logged = [pool.submit(log_a_run, number) for number in range(LOGGING)]
        promoted = [pool.submit(promote, rival) for rival in served.rivals]
        run_ids = [one.result() for one in logged]
        decisions = [one.result() for one in promoted]
    seconds = time.monotonic() - began

    assert {decision.outcome for decision in decisions} == {"pass"}, decisions
    assert [status for status in seen.statuses if status >= 400] == [], seen.statuses
    for number, run_id in enumerate(run_ids):
        run = world.client.get_run(run_id)
        assert run.info.status == "FINISHED" and run.data.params == {
            key: f"{key}{number}" for key in "abc"
        }
        assert run.data.metrics == dict.fromkeys("abc", float(number))
        held = world.client.download_artifacts(run_id, f"{number}.txt", str(tmp_path))
        assert Path(held).read_text() == f"artifact {number}\n" * 500
    found = world.client.search_runs([world.experiment], "attributes.run_name LIKE 'client-%'")
    assert sorted(run.info.run_id for run in found) == sorted(run_ids)

    chain = audit.read(served.log)
    granted = [
        line.version
        for line in chain.lines
        if (line.action, line.target, line.decision) == ("set alias", ALIAS, "granted")
    ]
    assert len(granted) == 1 + RIVALS and {line.decision for line in chain.lines} == {"granted"}
    assert seen.champions.keys() <= set(granted) and len(seen.champions) > 1
    assert world.client.get_model_version_by_alias(MODEL, ALIAS).version == granted[-1], (
        "the log says who is champion"
    )
    command = ["audit", "--log", str(served.log), "--registry", url, "--last", "1"]
    command += ["--keys", str(served.log.with_name("keys"))]
    audited = CliRunner().invoke(comptrust, command)
    assert audited.exit_code == 0 and "the chain holds" in audited.output, audited.output
    requested = seen.statuses.total()
    tell(
        f"load on {served.database}: {LOGGING} clients logged a run with an artifact each, {RIVALS}"
        f" promoted a version each, all at once: {requested} requests in {seconds:.1f} s"
        f" ({requested / seconds:.0f}/s), none answered with an error, none sent twice;"
        f" {seen.champions.total()} looks saw one champion each, {len(seen.champions)} versions in"
        f" turn; lost runs: 0 of {LOGGING}; records of the audit log: {len(chain.lines)}, the chain"
        " holds"
    )
