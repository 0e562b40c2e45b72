"""The engine is one choice for a whole job: both models, checked before any work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from comptrust.cli.app import comptrust as command
from comptrust.errors import UserError
from comptrust.gate import comparability
from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import load
from comptrust.models import vllm_program
from comptrust.sweep import grid, plan
from comptrust.tracking import evaluations
from tests.support.served import stand_in_for_vllm

RUN = "--method magnitude --structure 2:4 --dimensions toxicity --limit 2 --no-fail --json"


def call(line: str) -> Result:
    return CliRunner().invoke(command, line.split(), catch_exceptions=False)


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(vllm_program.VARIABLE, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return stand_in_for_vllm(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--method magnitude --engine openai", "weights cannot be seen"),
        ("--method gptq --bits 3 --engine vllm", "on a CPU cannot load .* 3 bits.*; or use engine"),
        ("--method magnitude --engine vlm", "Unknown engine 'vlm'. Did you mean 'vllm'"),
    ],
)
def test_an_engine_that_cannot_do_it_is_refused_before_any_work(
    started: Path, tiny_model: Path, options: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        call(f"run --model {tiny_model} {options}")


def test_a_sweep_is_refused_for_the_same_reason(
    started: Path, tiny_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(f"models: ['{tiny_model}']\nmethods: [gptq]\nbits: [3]\nengine: vllm\n")
    with pytest.raises(UserError, match="on a CPU cannot load .* 3 bits"):
        plan.build(grid.load(str(file)), work=True)


@pytest.mark.slow
def test_both_models_are_answered_by_the_engine(
    started: Path, store: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path / "cache"))
    runs = {
        name: json.loads(call(f"run --model {tiny_model} {RUN} --engine {name}").stdout)
        for name in ("vllm", "hf")
    }
    found = {name: evaluations.load(run["run"]) for name, run in runs.items()}
    assert [one.scorecard.engine["backend"] for one in found.values()] == ["vllm", "hf"]
    assert len(started.read_text().splitlines()) == 2, "one server for each model"
    for name, run in runs.items():
        comparable = next(row for row in run["findings"] if row["rule"] == "comparable")
        assert comparable["outcome"] == "pass", (name, comparable)
    mixed = Evidence(found["vllm"], evaluations.baseline(found["hf"], counts=None))
    finding = comparability.check(mixed, load("demo"))
    assert finding.outcome == "inconclusive" and "backend" in finding.evidence["different"]
