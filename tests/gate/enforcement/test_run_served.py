"""The main job against a guarded server: only a signed pass is promoted.

The job succeeds with and without a signing key.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from comptrust.trust import suite as suites
from tests.support import pins
from tests.support.enforcement.server import serve
from tests.support.enforcement.world import World

pytestmark = pytest.mark.slow
POLICY = (
    "name: {name}\nrules:\n  - {{rule: complete}}\n  - {{rule: max_drop, points: 99, evidence:"
    " observed}}\n"
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("served")
    asked = pins.of_suite(suites.load("mini", dimensions=["fairness"]))
    for level in ("staging", "production"):
        (folder / f"{level}.yaml").write_text(POLICY.format(name=level) + pins.text(asked))
    yield from serve(folder, with_auth=False, workers=1)


def comptrust(world: World, *words: str, keys: Path) -> subprocess.CompletedProcess[str]:
    settings = {
        "MLFLOW_TRACKING_URI": world.base_url,
        "COMPTRUST_KEYS": str(keys),
        "COMPTRUST_CACHE": str(world.folder / "cache"),
    }
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("MLFLOW_", "COMPTRUST_"))
    } | settings
    command = [sys.executable, "-m", "comptrust", *words]
    return subprocess.run(
        command,
        cwd=world.folder,
        env=environment | {"PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
    )


def test_run_and_gate_against_the_server(served: World, tiny_model: Path) -> None:
    keys = served.folder / "keys"
    policy = str(served.folder / "staging.yaml")
    run = [
        "run",
        "--model",
        str(tiny_model),
        "--method",
        "magnitude",
        "--structure",
        "2:4",
        "--suite",
        "mini",
        "--dimensions",
        "fairness",
    ]
    run += ["--limit", "6", "--policy", policy, "--promote-to", "staging", "--json"]

    unsigned = comptrust(served, *run, keys=keys)
    assert unsigned.returncode in (1, 3), unsigned.stderr
    told = json.loads(unsigned.stdout)
    assert (told["outcome"], told["promotion"]["stage"]) == ("pass", None)
    assert "This server trusts no key" in told["promotion"]["reason"]
    gated = comptrust(served, "gate", told["version"], "--policy", policy, "--record", keys=keys)
    assert gated.returncode == 0, gated.stderr

    assert comptrust(served, "keys", "init", "--dir", str(keys), keys=keys).returncode == 0
    signed = comptrust(served, *run, keys=keys)
    assert signed.returncode == 0, signed.stdout + signed.stderr
    told = json.loads(signed.stdout)
    name, version = told["version"].removeprefix("models:/").split("/")
    held = served.client.get_model_version(name, version)
    assert (held.current_stage, held.aliases, held.tags["verdict"]) == (
        "Staging",
        ["challenger"],
        "pass",
    )
