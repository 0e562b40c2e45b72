"""The main job on the embedded model, from compressing to a refused promotion; then once more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from comptrust import config

ROOT = Path(__file__).parents[2]
RUN = (
    "run --method magnitude --structure 2:4 --suite mini --dimensions mmlu,ethics --limit 4"
    " --promote-to staging --json"
)


def comptrust(
    line: str, folder: Path, *, program: tuple[str, ...] = ("comptrust",)
) -> subprocess.CompletedProcess[str]:
    """Run one command in a folder of its own; the embedded model is taken from the user's cache."""
    settings = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COMPTRUST_CACHE": str(folder / "cache"),
    }
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")
    } | settings
    command = [sys.executable, "-m", *program, *line.split()]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def look_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process see what the commands logged in a folder, and nothing else."""
    for name in (
        "MLFLOW_RUN_ID",
        "MLFLOW_EXPERIMENT_ID",
        "MLFLOW_EXPERIMENT_NAME",
        "MLFLOW_REGISTRY_URI",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache that holds the embedded model and nothing else."""
    from comptrust.models import sources

    sources.resolve("builtin:smollm2-135m-instruct")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "models").symlink_to(config.cache_dir() / "models")
    return tmp_path


@pytest.mark.slow
def test_the_main_job(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from comptrust.tracking import registry, runs

    done = comptrust(RUN, folder)
    assert done.returncode in (1, 3), done.stderr
    result = json.loads(done.stdout)
    assert result["outcome"] in ("block", "inconclusive")
    assert result["promotion"]["stage"] is None
    assert result["sparsity"] == pytest.approx(0.5, abs=0.01)
    assert result["version"] == "models:/smollm2-135m-instruct/2"
    for cost in (result["serving"]["model"], result["serving"]["dense"]):
        assert cost["tokens_per_second"] > 0 and cost["peak_bytes"] > 1e8
    for scores in result["dimensions"].values():
        assert all(value is None or 0 <= value <= 100 for value in scores.values())

    look_at(folder, monkeypatch)
    dense, compressed = registry.versions("smollm2-135m-instruct")
    assert (dense.tags["recipe"], compressed.tags["recipe"]) == ("dense", "magnitude-2of4-s0")
    assert compressed.tags["verdict"] == result["outcome"]
    artifacts = {item.path for item in runs.client().list_artifacts(compressed.run_id)}
    assert {
        "recipe.json",
        "checkpoint.json",
        "generations",
        "scorecard.json",
        "suite.json",
        "verdict.json",
        "validation",
        "serving_cost.json",
    } <= artifacts
    metrics = runs.client().get_run(compressed.run_id).data.metrics
    assert {
        "size/bytes",
        "size/ratio",
        "time/compress",
        "time/evaluate",
        "time/total",
        "refusal/ethics",
        "serve/first_token_seconds",
        "drop/worst",
    } <= metrics.keys()
    assert metrics["probe/kl"] > 0 and metrics["probe/perplexity"] > 1

    gated = comptrust(f"gate {compressed.ref} --json", folder)
    assert gated.returncode == done.returncode
    assert json.loads(gated.stdout)["outcome"] == result["outcome"]

    again = comptrust(RUN, folder)
    assert again.returncode == done.returncode
    assert "reused" in again.stderr and "reusing the checkpoint" in again.stderr
    assert json.loads(again.stdout)["dimensions"] == result["dimensions"]
    assert [version.tags["recipe"] for version in registry.versions("smollm2-135m-instruct")] == [
        "dense",
        "magnitude-2of4-s0",
    ]


@pytest.mark.slow
def test_an_mlflow_project_run_is_the_run_that_holds_everything(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from comptrust.tracking import registry, runs

    options = (
        "-P method=gptq -P bits=4 -P group_size=auto -P calibration_samples=4 -P dimensions=mmlu -P"
        " limit=2"
    )
    line = (
        f"run {ROOT} --env-manager=local --experiment-name comptrust -P model={tiny_model}"
        f" {options}"
    )
    done = comptrust(line, tmp_path, program=("mlflow",))
    assert "verdict: INCONCLUSIVE" in done.stdout, done.stderr
    look_at(tmp_path, monkeypatch)
    dense, compressed = registry.versions(
        registry.model_name(str(tiny_model), _revision(tiny_model))
    )
    run = runs.client().get_run(compressed.run_id)
    assert done.returncode != 0 and run.info.status == "FAILED", "what is not a pass fails"
    assert run.data.tags["mlflow.project.entryPoint"] == "main"
    given = {
        "method": "gptq",
        "bits": "4",
        "group_size": "auto",
        "calibration_samples": "4",
        "calibration": "builtin",
        "suite": "mini",
    }
    assert given.items() <= run.data.params.items()
    assert run.data.tags["resolved.group_size"] == "64"
    assert "sparsity" not in run.data.params
    assert runs.client().get_run(dense.run_id).data.params["method"] == "none"
    refused = comptrust(
        f"run {ROOT} --env-manager=local -P method=gptq -P bitz=4", tmp_path, program=("mlflow",)
    )
    assert refused.returncode != 0 and "No such option '--bitz'" in refused.stderr


def _revision(model: Path) -> str:
    from comptrust.models import sources

    return sources.resolve(str(model)).revision
