"""The gate behind each program and database that serves it, and behind a plain `mlflow server`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from mlflow.exceptions import MlflowException

from comptrust.gate.enforcement import settings
from tests.support import postgres
from tests.support.enforcement import server
from tests.support.enforcement.server import serve
from tests.support.enforcement.world import BAD, GOOD, Candidate, World, write_key, write_policies

pytestmark = pytest.mark.slow


@pytest.fixture(params=["gunicorn", "PostgreSQL"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        options: tuple[str, ...] = ("--gunicorn-opts", "--timeout 300")
        if request.param == "PostgreSQL":
            uri = stack.enter_context(postgres.started())
            options = ("--backend-store-uri", uri, "--audit-log", str(tmp_path / "audit.jsonl"))
        write_policies(tmp_path)
        write_key(tmp_path / "keys")
        yield from serve(tmp_path, with_auth=False, workers=1, options=options)


def promote(world: World, candidate: Candidate) -> None:
    world.client.set_registered_model_alias(candidate.name, "champion", candidate.version)


def test_judged_routes_proven_versions_and_evidence_that_stays(world: World) -> None:
    blocked, passed = world.register(BAD), world.register(GOOD)
    world.gate(blocked)
    world.gate(passed)
    with pytest.raises(MlflowException, match="The signed verdict is block"):
        promote(world, blocked)
    promote(world, passed)
    assert (world.promoted(blocked), world.promoted(passed)) == ([], ["champion"])
    assert world.dense is not None
    for run_id in (passed.run_id, world.dense.run_id):
        with pytest.raises(MlflowException, match="It is promoted and rests on"):
            world.client.delete_run(run_id)
        with pytest.raises(requests.HTTPError, match="comptrust refused to write"):
            world.client.log_text(run_id, "{}", "scorecard.json")
    with pytest.raises(MlflowException, match="It is promoted and rests on"):
        world.client.delete_experiment(world.experiment)
    with pytest.raises(MlflowException, match="comptrust refused to write"):
        world.put(passed, "MLmodel", b"evil")
    for path in ("ajax-api/3.0/mlflow/assistant/config", "api/2.0/mlflow/webhooks"):
        assert requests.get(f"{world.base_url}/{path}", timeout=60).status_code == 404


def test_a_plain_server_on_the_guarded_registry_promotes_nothing(tmp_path: Path) -> None:
    write_policies(tmp_path)
    write_key(tmp_path / "keys")
    url, database = f"http://127.0.0.1:{server.free_port()}", f"sqlite:///{tmp_path}/mlflow.db"
    environment = {
        **{name: value for name, value in os.environ.items() if "MLFLOW" not in name},
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        settings.KEYS: str(tmp_path / "keys"),
        **{
            variable: str(tmp_path / f"{level}.yaml") for level, variable in settings.POLICY.items()
        },
    }
    command = [sys.executable, "-m", "mlflow", "server", "--port", url.rpartition(":")[2]]
    command += ["--backend-store-uri", database, "--registry-store-uri", f"comptrust+{database}"]
    command += ["--artifacts-destination", f"comptrust+{(tmp_path / 'mlartifacts').as_uri()}"]
    log = tmp_path / "server.log"
    with open(log, "wb") as output:
        running = subprocess.Popen(
            [*command, "--workers", "1"],
            env=environment,
            cwd=tmp_path,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        server.wait(url, running, log)
        world = server.reach(url, tmp_path, with_auth=False)
        candidate = world.register(GOOD)
        world.gate(candidate)
        with pytest.raises(MlflowException, match="routes that comptrust has not judged"):
            promote(world, candidate)
        with pytest.raises(MlflowException, match="routes that comptrust has not judged"):
            body = {"name": candidate.name, "version": candidate.version, "stage": "Staging"}
            world.post("model-versions/transition-stage", body)
        assert world.promoted(candidate) == []
    finally:
        running.terminate()
        running.wait(timeout=60)
