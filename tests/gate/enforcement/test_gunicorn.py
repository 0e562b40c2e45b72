"""A guarded server by gunicorn, with prompt lab allowed: as closed as the one by uvicorn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tests.support.enforcement.server import serve
from tests.support.enforcement.world import GOOD, World, raise_for, write_key, write_policies

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("gunicorn")
    write_policies(folder)
    write_key(folder / "keys")
    options = ("--gunicorn-opts", "--timeout 300", "--allow", "promptlab")
    yield from serve(folder, with_auth=False, workers=1, options=options)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "ajax-api/3.0/mlflow/assistant/config"),
        ("POST", "ajax-api/3.0/mlflow/genai/evaluate/invoke"),
        ("GET", "ajax-api/2.0/mlflow/gateway-proxy"),
        ("POST", "api/2.0/mlflow/webhooks"),
        ("DELETE", "api/3.0/mlflow/prompt-optimization/jobs/x"),
    ],
)
def test_routes_that_are_off(world: World, method: str, path: str) -> None:
    answer = requests.request(method, f"{world.base_url}/{path}", json={}, timeout=60)
    assert answer.status_code == 404


def test_the_operator_is_warned(world: World) -> None:
    said = (world.folder / "server.log").read_text()
    assert "WARNING: --allow promptlab: the server makes runs from answers that clients" in said
    assert "nobody has judged" not in said


def test_what_is_allowed_writes_nothing_among_promoted_files(world: World) -> None:
    candidate = world.register(GOOD)
    world.gate(candidate)
    world.client.set_registered_model_alias(candidate.name, "champion", candidate.version)
    before = sorted(world.files(candidate).rglob("*"))

    # An experiment from before this server: a client could not create it here.
    database = MlflowClient(tracking_uri=f"sqlite:///{world.folder}/mlflow.db")
    inside = database.create_experiment("inside", artifact_location=world.files(candidate).as_uri())
    with pytest.raises(MlflowException, match="comptrust refused to write evil.txt"):
        upload(world, inside)
    assert [path for path in sorted(world.files(candidate).rglob("*")) if path.is_file()] == [
        path for path in before if path.is_file()
    ]
    upload(world, world.experiment)


def upload(world: World, experiment: str) -> None:
    """Let the server write a file where the experiment says."""
    run_id = world.client.create_run(experiment).info.run_id
    path = f"mlflow/upload-artifact?run_uuid={run_id}&path=evil.txt"
    raise_for(world.rest("POST", path, {"text": "evil"}, prefix="ajax-api"))
