"""An emergency on a real server: by the command, shown to everybody, and over on time."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization

from comptrust.cli.app import comptrust
from comptrust.gate.enforcement import audit
from tests.support.enforcement import exceptions as make
from tests.support.enforcement import tricks
from tests.support.enforcement.exceptions import RELEASE
from tests.support.enforcement.world import BAD, World

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("world", ["open"], indirect=True)]
WHY = "The present champion answers nothing."


def private_key(path: Path) -> Path:
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path.write_bytes(RELEASE.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
    path.chmod(0o600)
    return path


def test_the_command_promotes_and_the_server_takes_back(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPTRUST_SIGNING_KEY", str(private_key(tmp_path / "release.pem")))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", world.base_url)
    mlflow.set_tracking_uri(world.base_url)
    former = tricks.a_pass(world)
    tricks.champion(world, former)
    candidate = world.register(BAD, name=former.name)
    command = ["promote", candidate.name, candidate.version, "--to", "champion"]
    command += ["--emergency", "--why", WHY]
    result = CliRunner().invoke(comptrust, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "EMERGENCY until " in result.output and WHY in result.output
    assert world.promoted(candidate) == ["champion", "Production"]
    version = world.client.get_model_version(candidate.name, candidate.version)
    assert version.description.startswith("EMERGENCY until ")
    assert WHY in world.client.get_run(candidate.run_id).data.tags["emergency"]

    # Back to the former champion, then once more for a few seconds.
    tricks.champion(world, former)
    tricks.stage("Archived")(world, candidate)
    ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=6)
    make.sign(world, candidate, until=ends)
    tricks.champion(world, candidate)
    tricks.stage("Production")(world, candidate)
    while (now := datetime.datetime.now(datetime.UTC)) < ends:
        time.sleep((ends - now).total_seconds())
    # The first request after the end already gets the former champion.
    champion = world.client.get_model_version_by_alias(former.name, "champion")
    assert (champion.version, world.promoted(candidate)) == (former.version, [])
    chain = audit.read(world.folder / "mlflow.db.audit.jsonl")
    assert chain.problem is None
    assert all("The emergency of record" in line.finding for line in chain.lines[-2:])
    assert "mallory" not in [line.user for line in chain.lines[-2:]]
