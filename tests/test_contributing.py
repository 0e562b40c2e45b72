"""CONTRIBUTING.md is true: its plug-ins work in a copy of the code, its workflow is checked."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.support import samples

ROOT = Path(__file__).parents[1]
SHOWN = dict(
    re.findall(
        r"```python\n# (\S+)\n(.*?)```",
        (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
)
Run = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code with the shown files in it."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(
        ROOT / "comptrust", folder / "comptrust", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name, text in SHOWN.items():
        assert not (folder / name).exists(), f"{name} is there already"
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def run(copy: Path, tmp_path: Path) -> Run:
    """Run a command line of the copy in an empty folder."""

    def called(line: str) -> subprocess.CompletedProcess[str]:
        settings = {
            "PYTHONPATH": str(copy),
            "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
        }
        command = [sys.executable, "-m", "comptrust", *line.split()]
        return subprocess.run(
            command, cwd=tmp_path, env=os.environ | settings, capture_output=True, text=True
        )

    return called


@pytest.mark.slow
def test_a_method(run: Run, tiny_model: Path) -> None:
    done = run(
        f"compress --method random_mask --sparsity 0.5 --model {tiny_model} --out out --json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sparsity"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.slow
def test_a_dimension_and_a_backend(run: Run, tiny_model: Path) -> None:
    done = run(
        f"evaluate {tiny_model} --backend parrot --dimensions brevity,fairness --limit 3 --out out"
        " --json"
    )
    assert done.returncode == 0, done.stderr
    scores = {score["dimension"]: score for score in json.loads(done.stdout)["scores"]}
    assert (scores["brevity"]["value"], scores["brevity"]["n_prompts"]) == (
        pytest.approx(100 / 3),
        3,
    )
    assert scores["fairness"]["value"] is not None
    refused = run(f"evaluate {tiny_model} --backend parot")
    assert refused.returncode == 2 and "Did you mean 'parrot'" in refused.stderr


@pytest.mark.slow
def test_a_rule(run: Run, tmp_path: Path) -> None:
    folder = samples.evaluation(tmp_path / "evaluation").parent
    for limit, outcome in ((1000, "pass"), (100, "block")):
        (tmp_path / "size.yaml").write_text(
            f"name: size\nrules: [{{rule: max_bytes, bytes: {limit}}}]\n"
        )
        done = run(f"gate {folder} --baseline {folder} --policy size.yaml --json")
        findings = {
            finding["rule"]: finding["outcome"] for finding in json.loads(done.stdout)["findings"]
        }
        assert findings["max_bytes"] == outcome


def test_the_script_of_the_workflow_installs_nothing_on_a_contributors_machine() -> None:
    settings = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        ["bash", str(ROOT / ".ci" / "run")],
        env=settings | {"PYTHON": "python0.0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "python0.0-venv" in done.stderr and "apt-get install" in done.stderr


def test_the_workflow_runs_the_script_with_pinned_actions_and_may_only_read() -> None:
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    steps = workflow["jobs"]["test"]["steps"]
    assert workflow["permissions"] == {"contents": "read"} and "secrets." not in text
    assert [step["run"] for step in steps if "run" in step] == ["bash .ci/run"]
    for action in (step["uses"] for step in steps if "uses" in step):
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action), action
