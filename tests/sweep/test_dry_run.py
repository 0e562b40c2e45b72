"""`comptrust sweep --dry-run` needs no data, uses what is known, and creates nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from comptrust.cli.app import comptrust
from comptrust.errors import UserError
from comptrust.models.sources import BUILTIN_WEIGHTS
from comptrust.sweep import facts, plan
from comptrust.sweep.sweep_file import Model
from comptrust.tracking import runs, sweeps

HUB = "team/tiny"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'store' / 'mlflow.db'}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


def dry_run(sweep: str) -> dict[str, Any]:
    result = CliRunner().invoke(comptrust, ["sweep", sweep, "--dry-run", "--json"])
    assert result.exit_code == 0, (result.output, result.exception)
    fields: dict[str, Any] = json.loads(result.stdout)
    return fields


@pytest.mark.parametrize(("sweep", "known"), [("smoke", True), ("paper", False)])
def test_an_empty_folder_stays_empty(sweep: str, known: bool, place: Path) -> None:
    total = dry_run(sweep)["total"]
    assert not [*place.iterdir()]
    assert total["bytes"] > 0 and (total["seconds"] is not None) == known
    assert (total["prompts"] is not None) == known


def test_mistakes_are_refused_without_the_data(place: Path) -> None:
    grid = "models: [builtin:smollm2-135m-instruct]\nmethods: [none]\nsuite: decodingtrust:nowhere"
    (place / "s.yaml").write_text(f"{grid}\ndimensions: [ethic]\n")
    error = CliRunner().invoke(comptrust, ["sweep", "s.yaml", "--dry-run"]).exception
    assert isinstance(error, UserError) and "Did you mean 'ethics'" in str(error)


def test_sizes_come_from_a_cached_config(
    place: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = place / "snapshots" / "0123abcd"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text((tiny_model / "config.json").read_text())
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(folder))
    by_config = facts.of(Model(name=HUB), work=False)
    whole = facts.of(Model(name=str(tiny_model)), work=False)
    assert (by_config.weights, by_config.identity) == (whole.weights, "0123abcd")
    assert by_config.layers == whole.layers
    builtin = facts.of(Model(name="builtin:smollm2-135m-instruct"), work=False)
    assert builtin.weights == BUILTIN_WEIGHTS == plan.REFERENCE_WEIGHTS


def test_times_and_sizes_come_from_any_finished_run(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = {"model": "builtin:smollm2-135m-instruct", "suite": "decodingtrust:nowhere"}
    with runs.start("measured") as run:
        run._params(params | {"method": "gptq", "bits": 4, "group_size": 64})
        times = {"time/compress": 100.0, "time/evaluate": 50.0}
        run.metrics(times | {runs.PROMPTS: 500.0, "size/bytes": 99e6})
    [past] = sweeps.past()
    assert (past.suite, past.rate, past.bytes) == (params["suite"], ("gptq", "4", None, None), 99e6)
    grid = "methods: [gptq]\nbits: [4]\nseeds: 1\nsuite: decodingtrust:nowhere\npolicy: literal\n"
    (place / "s.yaml").write_text(f"models: [{params['model']}]\n{grid}")
    _, cell = dry_run("s.yaml")["cells"]
    assert (cell["seconds"], cell["basis"]) == (150, "1 finished run")
    assert 2 * 99e6 < cell["bytes"] < 2 * 99e6 + 2e6
