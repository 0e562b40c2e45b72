"""Mistakes are refused before a model is loaded, and leave no run, store or folder behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from comptrust.cli.app import comptrust
from comptrust.errors import UserError

RUN = "run --model {model} --method gptq --bits 4 --limit 2 --dimensions ethics --policy demo"
COMPRESS = "compress --model {model} --method gptq --bits 4"
EVALUATE = "evaluate {model} --dimensions ethics --limit 2"
REGISTER = "register {model} --base {model} --method gptq"
BOTH = [
    ("--group-size 100", "group_size 100 does not divide the"),
    ("--group-size 0", "group_size '0' is neither auto nor a positive whole number"),
    ("--calibration file:missing.txt", "Cannot read missing.txt"),
    ("--calibration file:short.txt --calibration-samples 3", "has 1 text, but calibration_samples"),
    ("--calibration-samples 100000", "but calibration_samples is 100000"),
    ("--out full", "full exists already"),
    ("--format gptqq", "Did you mean 'gptq'"),
    ("--format awq", "holds only what method awq produces"),
    ("--bits 7", "does not support bits 7"),
]
MISTAKES = [
    *((f"{command} {words}", says) for command in (RUN, COMPRESS) for words, says in BOTH),
    ("compress --model {model} --method magnitude --structure 3:4", "Unknown structure '3:4'"),
    (f"{RUN} --dimensions ethic", "Did you mean 'ethics'"),
    (f"{RUN} --policy odd.yaml", "odd.yaml, rule 1: Unknown rule 'max_drp'. Did you mean"),
    (f"{RUN} --promote-to stagin", "Did you mean 'staging'"),
    (f"{EVALUATE} --dimensions ethic", "Did you mean 'ethics'"),
    (f"{EVALUATE} --engine hff", "Did you mean 'hf'"),
    (f"{EVALUATE} --engine vllm", "needs vLLM, which was not found"),
    (f"{EVALUATE} --out full", "full exists already and is not an evaluation"),
    (f"{EVALUATE} --out other", "other holds answers of another model, suite or backend"),
    (f"{REGISTER} --bits 4", "You stated bits 4, but"),
    (f"{REGISTER} --bits 7", "does not support bits 7"),
    (f"{REGISTER} --bits 4 --group-size x", "group_size 'x'"),
    (f"{REGISTER} --bits 4 --policy odd.yaml --evaluate", "Unknown rule 'max_drp'"),
    ("gate card.json --policy odd.yaml", "odd.yaml, rule 1: Unknown rule 'max_drp'"),
    ("sweep group.yaml --address serial", "group_size 100 does not divide the"),
    ("sweep texts.yaml --address serial", "but calibration_samples is 100000"),
]


@pytest.fixture(scope="session")
def workplace(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("early")
    (folder / "full").mkdir()
    (folder / "full" / "file").write_text("kept")
    (folder / "other").mkdir()
    (folder / "other" / "owner.json").write_text(json.dumps({"suite": "another"}))
    (folder / "short.txt").write_text("One paragraph.")
    (folder / "odd.yaml").write_text("{name: odd, rules: [{rule: max_drp}]}")
    sweep = f"{{models: ['{tiny_model}'], methods: [gptq], bits: [4], options: {{gptq: OPTION}}}}"
    (folder / "group.yaml").write_text(sweep.replace("OPTION", "{group_size: 100}"))
    (folder / "texts.yaml").write_text(sweep.replace("OPTION", "{calibration_samples: 100000}"))
    return folder


@pytest.fixture
def place(workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "place"
    shutil.copytree(workplace, place)
    monkeypatch.chdir(place)
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place / 'mlflow.db'}")
    monkeypatch.setenv("PATH", str(tmp_path))
    # Whoever imports `load` by name comes first: else it would keep what stands here for it.
    for loader in ("comptrust.compression.oneshot.load", "comptrust.models.loading.load"):
        monkeypatch.setattr(loader, lambda *_, **__: pytest.fail("a model was loaded"))
    return place


@pytest.mark.parametrize(("line", "says"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_costs_nothing(line: str, says: str, place: Path, tiny_model: Path) -> None:
    before = sorted(place.rglob("*"))
    result = CliRunner().invoke(comptrust, line.format(model=tiny_model).split())
    assert isinstance(result.exception, UserError), (result.output, result.exception)
    assert says in str(result.exception) and "\n" not in str(result.exception)
    assert sorted(place.rglob("*")) == before
