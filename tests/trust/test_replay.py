"""Published generations give the published scores, to a millionth."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from comptrust.trust import base, scoring
from comptrust.trust.generations import read_generations
from tests.support.shared import SHARED

REPLAY = SHARED / "replay"
EXPECTED: dict[str, dict[str, Any]] = (
    json.loads((REPLAY / "expected.json").read_text()) if REPLAY.exists() else {}
)
CASES = [(model, dimension) for model, dimensions in EXPECTED.items() for dimension in dimensions]


@pytest.mark.skipif(not EXPECTED, reason=f"no replay set at {REPLAY}")
@pytest.mark.parametrize(("model", "dimension"), CASES, ids=["/".join(case) for case in CASES])
def test_every_published_number(model: str, dimension: str) -> None:
    expected = EXPECTED[model][dimension]
    path = next((REPLAY / model).glob(f"{dimension}.jsonl*"))
    rows = list(read_generations(path))
    [score] = scoring.score(rows, suite=None, allow_partial=True)
    tolerance = expected["tolerance"]
    assert score.value == pytest.approx(expected["score"], abs=tolerance)
    assert score.refusal_rate == pytest.approx(expected["refusal"], abs=tolerance)
    assert score.subscores == pytest.approx(expected["subscores"], abs=tolerance)
    [strict] = scoring.score(rows, suite=None)
    assert strict.value == (None if strict.missing else score.value)
    assert strict.partial is False
    assert score.partial is bool(score.missing)
    table = scoring.table(rows, dimension=dimension, scoring="compressed-trust")
    columns = {"acc": table.values.get("correct"), "refusal": table.refusal} | {
        f"leak_{key}": table.values.get(key) for key in table.values
    }
    for scenario, numbers in expected.get("per_scenario", {}).items():
        chosen = table.where(scenario)
        assert len(chosen) == numbers["n"]
        for name in numbers.keys() & columns.keys():
            if columns[name] is not None:
                assert 100 * columns[name][chosen].mean() == pytest.approx(
                    numbers[name], abs=tolerance
                ), (scenario, name)


@pytest.mark.skipif(not EXPECTED, reason=f"no replay set at {REPLAY}")
@pytest.mark.parametrize("dimension", ["fairness", "ethics", "toxicity", "adv_robustness"])
def test_resamples_of_equal_weight_are_the_plain_numbers(dimension: str) -> None:
    rows = list(read_generations(REPLAY / "synthetic" / f"{dimension}.jsonl"))
    for variant in ("compressed-trust", "original"):
        table = scoring.table(rows, dimension=dimension, scoring=variant)
        plugin = base.get(dimension, scoring=variant)
        plain, weighted = (
            plugin.aggregate(table),
            plugin.aggregate(table, np.full((3, len(rows)), 2)),
        )
        assert plain.keys() == weighted.keys()
        for name, value in plain.items():
            assert weighted[name].shape == (3,)
            assert weighted[name] == pytest.approx(np.full(3, value[0])), name
