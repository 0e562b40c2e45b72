"""A guarded server per module, without and with basic-auth, and a guarded registry in process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from comptrust.gate.enforcement import settings
from tests.support.enforcement.exceptions import name_roles
from tests.support.enforcement.inprocess import open_world
from tests.support.enforcement.server import serve
from tests.support.enforcement.world import World, write_key, write_policies


@pytest.fixture(scope="module", params=["open", "basic-auth"])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Start a guarded server as a user would; its client is anyone, or an ordinary user."""
    folder = tmp_path_factory.mktemp(request.param)
    with_auth = request.param == "basic-auth"
    write_policies(folder)
    name_roles(folder / "keys")
    yield from serve(folder, with_auth=with_auth, workers=1 if with_auth else 2)


@pytest.fixture
def inside(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A guarded registry in a sqlite file, without a server; its files lie beside it."""
    for name in [
        name for name in os.environ if name.startswith(("MLFLOW_", "_MLFLOW_", "COMPTRUST_"))
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    write_policies(tmp_path)
    write_key(tmp_path / "keys")
    monkeypatch.setenv(settings.KEYS, str(tmp_path / "keys"))
    for level in settings.LEVELS:
        monkeypatch.setenv(settings.POLICY[level], str(tmp_path / f"{level}.yaml"))
    monkeypatch.chdir(tmp_path)
    return open_world(tmp_path)
