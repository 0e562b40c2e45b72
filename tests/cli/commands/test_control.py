"""`comptrust control` on a tiny model: from a logged evaluation, and from one on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from comptrust.cli.app import comptrust
from comptrust.errors import UserError
from comptrust.records import Suite
from comptrust.trust import suite as suites
from comptrust.trust.control import NAME, Control
from tests.support.stores import RUN_VARIABLES

SMALL = "--dimensions fairness,toxicity --limit 6"


def call(line: str) -> Result:
    done = CliRunner().invoke(comptrust, line.split(), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in RUN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_control_plants_flips_and_measures_the_noise_floor(here: Path, tiny_model: Path) -> None:
    line = f"run --model {tiny_model} --method magnitude --structure 2:4 {SMALL} --json --no-fail"
    ref = json.loads(call(line).stdout)["version"].rpartition("/")[0] + "/1"
    assert not list(here.rglob(NAME))
    call(f"control {ref} --answers-only")
    [kept] = here.rglob(NAME)
    first = Control.model_validate_json(kept.read_text())
    assert {row.dimension for row in first.planted} == {"fairness", "toxicity"}
    assert not first.floors

    printed = json.loads(call(f"control {ref} --json").stdout)
    whole = Control.model_validate_json(kept.read_text())
    assert printed == {"evaluation": ref} | whole.model_dump(mode="json")
    assert whole.planted == first.planted
    assert [ruined.kind for ruined in whole.ruined] == ["constant answers", "2-bit weights"]
    assert whole.floors.keys() == {"fairness", "toxicity"}
    assert all(0 <= floor < 100 for floor in whole.floors.values())

    # What needs the model is kept when only the answers are looked at again.
    shown = call(f"control {ref} --answers-only").stdout
    assert Control.model_validate_json(kept.read_text()) == whole
    assert "noise floor" in shown and "drop of 10" in shown
    candidate = ref.replace("/1", "/2")
    gated = CliRunner().invoke(comptrust, ["gate", candidate])
    assert f"{whole.floors['fairness']:.1f}" in gated.output and "noise" in gated.output
    with pytest.raises(UserError, match="is compressed"):
        CliRunner().invoke(comptrust, ["control", candidate], catch_exceptions=False)


def test_an_evaluation_on_disk_keeps_its_control(here: Path, tiny_model: Path) -> None:
    call(f"evaluate {tiny_model} {SMALL} --out dense")
    done = call("control dense/scorecard.json")
    assert "not measured" in done.output
    kept = Control.model_validate_json((here / "dense" / NAME).read_text())
    assert kept.planted
    # A control of another scorecard is not taken for one of this.
    other = kept.model_copy(update={"scorecard_digest": "0"})
    (here / "dense" / NAME).write_text(other.model_dump_json())
    with pytest.raises(UserError, match="belongs to another scorecard"):
        CliRunner().invoke(comptrust, ["control", "dense"], catch_exceptions=False)


def test_a_model_is_evaluated_first(
    here: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = suites.load

    def few(spec: str, **options: Any) -> Suite:
        if "toxicity_scorer" in options:  # to see what was asked
            return load(spec, **options)
        return load(spec, dimensions=["mmlu"], limit=1)

    monkeypatch.setattr(suites, "load", few)
    printed = json.loads(call(f"control {tiny_model} --policy literal --json").stdout)
    kept = Path(printed["evaluation"]).with_name(NAME)
    assert json.loads(kept.read_text())["floors"] == printed["floors"]
    assert printed["floors"].keys() == {"mmlu"}
    assert {ruined["policy"] for ruined in printed["ruined"]} == {"literal"}
    planned = call(f"gate --plan --baseline {printed['evaluation']}").output
    assert "mmlu" in planned and "no: no measurable signal" in planned
