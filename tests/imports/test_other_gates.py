"""What other gates let pass and ours does not: the benchmark, and its three cases by hand."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.shell import Shell

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gates.py"


def test_the_script_prints_its_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["gates.py", "--prompts", "30", "--margins", "1", "5"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    out = capsys.readouterr().out
    # 0.99^30 = 74% of the candidates that lose a point show no loss on 30 prompts.
    assert "| 30 | 74 / 100 / 74 / 0 | 55 / 100 / 21 / 0 |" in out
    assert "| 12 of 500 answered | pass | pass | not installed | inconclusive |" in out
    assert not ended.value.code


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("ten equal answers", "dropped 0.0 points (95% bound 30.5, limit 1;"),
        ("500 answers to other prompts", "nemo-evaluator/sums/reward: not measured for both"),
        ("12 of 500 answered", "nemo-evaluator/sums/reward: not measured for both"),
    ],
)
def test_no_case_by_hand_passes(
    script: dict[str, Any], tmp_path: Path, case: str, reason: str
) -> None:
    dense, candidate = script["CASES"][case]
    script["write"](tmp_path, {"dense": dense, "candidate": candidate})
    (tmp_path / "policy.yaml").write_text(script["POLICY"])
    shell = Shell(tmp_path)
    assert shell("import", "nemo-evaluator", "dense", "candidate", "--out", "pair").code == 0
    sides = [f"pair/{side}/scorecard.json" for side in ("candidate", "dense")]
    asked = ("--policy", "policy.yaml", "--json")
    gated = shell("gate", sides[0], "--baseline", sides[1], *asked)
    compared = shell("compare", sides[1], sides[0], *asked)
    assert (gated.code, compared.code) == (3, 3)
    for verdict in (json.loads(gated.out), json.loads(compared.out)["verdict"]):
        [drop] = [one for one in verdict["findings"] if one["rule"] == "max_drop"]
        assert reason in drop["reason"]
