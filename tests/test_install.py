"""The image of the server, built here by its Dockerfile: the wheel in a lean environment, beside
packages of the same names as our folders, and the server that the compose file starts.

These tests build environments (minutes, and a network), so `make test-install` runs them apart.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from comptrust.trust import evaluation
from tests.support import images, pins, postgres
from tests.support.environments import ROOT, SECONDS, Team

pytestmark = pytest.mark.install

KEPT = ROOT / "tests" / "data" / "release-0.1.0"
STRANGERS = ("pipelines", "validation", "tests")
HEAVY = ("torch", "transformers", "llmcompressor", "great_expectations", "datasets")


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what the image holds, and PyPI's package `validation`."""
    folder = tmp_path_factory.mktemp("image")
    images.build(folder)
    stranger = ["-m", "pip", "install", "--quiet", "validation"]
    subprocess.run([str(folder / "opt/comptrust/bin/python"), *stranger], check=True)
    return folder


@pytest.fixture(scope="session")
def wheel(image: Path) -> Path:
    [built] = (image / "wheels").glob("*.whl")
    return built


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """A team's repository, whose own packages have the names of our folders."""
    for name in STRANGERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('not comptrust')\n")
    return tmp_path


@pytest.fixture
def here(image: Path, team: Path) -> Team:
    return Team(image / "opt" / "comptrust", team)


def test_the_wheel_installs_one_name_and_carries_the_shipped_files(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [top] = [name for name in names if name.endswith("top_level.txt")]
        assert archive.read(top).decode().split() == ["comptrust"]
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"comptrust"}
    for source, place in (
        ("pipelines/recipes", "recipes"),
        ("pipelines/sweeps", "sweeps"),
        ("validation/policies", "policies"),
    ):
        shipped = {f"comptrust/shipped/{place}/{path.name}" for path in (ROOT / source).iterdir()}
        assert shipped and shipped <= set(names)


def test_packages_of_the_same_names_do_not_get_in_the_way(here: Team) -> None:
    listed = json.loads(here.run("list", "policies", "--json"))
    assert listed == ["demo", "literal", "production", "staging"]
    answers = KEPT / "candidate" / "generations" / "ethics.jsonl"
    scores = json.loads(here.run("score", answers, "--json", "--allow-partial"))
    assert scores["dimensions"]["ethics"]["n_prompts"] == 6
    cards = [KEPT / role / "scorecard.json" for role in ("candidate", "baseline")]
    named = pins.text(pins.of_answers(evaluation.load(KEPT / "candidate", ref="kept")))
    policy = here.folder / "kept.yaml"
    policy.write_text((KEPT / "policy.yaml").read_text() + named)
    words = ("gate", cards[0], "--baseline", cards[1], "--policy", policy, "--json")
    assert json.loads(here.run(*words))["outcome"] == "pass"
    here.run("gate", cards[0], "--baseline", cards[1], "--policy", "staging", code=1)


@pytest.fixture
def server(here: Team, image: Path) -> Iterator[str]:
    """The server of the compose file, with a PostgreSQL, on a free port."""
    service = images.compose()["services"]["server"]
    (image / "run" / "secrets").mkdir(parents=True, exist_ok=True)
    (image / "run" / "secrets" / "database").write_text("not asked for\n")
    here.run("keys", "init")
    shutil.copytree(here.folder / "keys", image / "etc" / "comptrust" / "trusted")
    (image / "etc" / "comptrust" / "trusted" / "signing.pem").unlink()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with postgres.started() as database, open(here.folder / "server.log", "w") as log:
        changed = {
            "postgresql://mlflow@database:5432/mlflow": database,
            "--port=5000": f"--port={port}",
            "--host=0.0.0.0": "--host=127.0.0.1",
            "$$": "$",
        }
        words = [images.here(word, image) for word in (*service["entrypoint"], *service["command"])]
        for word, other in changed.items():
            assert any(word in one for one in words), word
            words = [one.replace(word, other) for one in words]
        process = subprocess.Popen(
            [*words, "--workers=1"],
            cwd=here.folder,
            env=here.environment | {"PATH": f"{here.bin}:{os.environ['PATH']}"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        url = f"http://127.0.0.1:{port}"
        check = service["healthcheck"]["test"][-1]
        try:
            wait_for(here, check.replace("http://127.0.0.1:5000", url), process)
            yield url
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=SECONDS)


def wait_for(here: Team, check: str, process: subprocess.Popen[bytes]) -> None:
    """Run the health check until it succeeds."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        if subprocess.run([here.bin / "python", "-c", check], stderr=subprocess.PIPE).returncode:
            time.sleep(0.2)
        else:
            return
    raise AssertionError((here.folder / "server.log").read_text())


PAGE = (ROOT / "docs" / "start-gate.md").read_text(encoding="utf-8")


def test_the_server_refuses_an_unproven_version(here: Team, server: str) -> None:
    [shown] = re.findall(r"cat > try.py <<'EOF'\n(.*?)EOF", PAGE, flags=re.DOTALL)
    refused = here.python(shown.replace("http://127.0.0.1:5000", server))
    assert "PERMISSION_DENIED: comptrust refused: set alias champion" in refused, refused
    here.environment["MLFLOW_TRACKING_URI"] = server
    assert "not signed" in here.run("verify", "models:/tiny/1", code=3)
    here.run("promote", "tiny", "1", "--to", "production", code=3)
    log = (here.folder / "server.log").read_text()
    assert "Failure attempting to register store" not in log and "RuntimeError" not in log


def test_a_lean_environment_has_none_of_the_heavy_packages(here: Team) -> None:
    code = "import importlib.util; print([n for n in {} if importlib.util.find_spec(n)])"
    assert here.python(code.format(HEAVY)).strip() == "[]"


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        ("compress --method gptq --bits 4", "compress"),
        ("evaluate builtin:smollm2-135m-instruct", "compress"),
        ("run --method wanda --structure 2:4", "compress"),
        ("sweep smoke --address auto", "ray"),
        ("sweep smoke --address slurm", "slurm"),
    ],
)
def test_a_missing_extra_is_one_line_with_the_command_that_helps(
    words: str, extra: str, here: Team
) -> None:
    lines = here.run(*words.split(), code=2).strip().splitlines()
    assert f"pip install 'comptrust[{extra}]'" in lines[-1]
    assert not any("Traceback" in line for line in lines)


def test_a_folder_that_cannot_be_written_is_one_line(here: Team) -> None:
    here.folder = Path("/proc")  # read-only for everybody, root included
    for words in ("gate models:/a/1", "report", "serve", "run --method gptq --bits 4"):
        [line] = here.run(*words.split(), code=2).strip().splitlines()
        assert "/proc" in line and "MLFLOW_TRACKING_URI" in line
    assert "staging" in here.run("list", "policies")
