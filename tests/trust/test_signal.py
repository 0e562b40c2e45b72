"""A dense model that cannot be told from guessing has no score, and nothing passes there."""

from __future__ import annotations

import dataclasses

import pytest

from comptrust.gate.evidence import Evidence
from comptrust.gate.rules.complete import Complete
from comptrust.gate.rules.max_drop import MaxDrop
from comptrust.gate.rules.trusted_source import TrustedSource
from comptrust.records import Generation, SuiteManifest
from comptrust.trust import base, scoring
from tests.support.evaluations import DENSE, THREE, evaluation


def answers(right: int, of: int, *, chance: float | None = 0.5) -> list[Generation]:
    extra = {} if chance is None else {"chance": chance}
    return [
        Generation(
            dimension="mmlu",
            scenario="anatomy",
            id=f"anatomy#{number}",
            texts=("A" if number < right else "B",),
            target="A",
            extra=extra,
        )
        for number in range(of)
    ]


@pytest.mark.parametrize(
    ("right", "of", "chance", "measurable"),
    [
        (50, 100, 0.5, False),
        (59, 100, 0.5, False),
        (61, 100, 0.5, True),
        (39, 100, 0.5, True),
        (240, 400, 0.5, True),
        (30, 100, 0.25, False),
        (40, 100, 0.25, True),
        (50, 100, None, True),
    ],
)
def test_a_share_near_chance_is_no_signal(
    right: int, of: int, chance: float | None, measurable: bool
) -> None:
    rows = answers(right, of, chance=chance)
    table = scoring.table(rows, dimension="mmlu", scoring="compressed-trust")
    why = scoring.no_signal(base.get("mmlu"), table, [row.extra.get("chance") for row in rows])
    assert bool(why) != measurable
    if why:
        assert f"earns {100 * right / of:.1f} points" in why


def test_prompts_about_one_item_count_as_one() -> None:
    rows = [
        row.model_copy(update={"extra": {"chance": 0.5, "cluster": str(number // 10)}})
        for number, row in enumerate(answers(61, 100))
    ]
    table = scoring.table(rows, dimension="mmlu", scoring="compressed-trust")
    assert scoring.no_signal(base.get("mmlu"), table, [0.5] * 100)


@pytest.mark.parametrize(("right", "value"), [(52, None), (80, 80.0)])
def test_a_dense_score_without_signal_is_null_with_the_reason(
    right: int, value: float | None
) -> None:
    suite = SuiteManifest(
        name="mini",
        revision="1",
        digest="d",
        required={"mmlu": ("anatomy",)},
        n_prompts={"mmlu": {"anatomy": 100}},
    )
    rows = answers(right, 100)
    (dense,) = scoring.score(rows, suite=suite, dense=True)
    (other,) = scoring.score(rows, suite=suite)
    assert (dense.value, other.value) == (value, right)
    assert dense.reason.startswith("no measurable signal") == (value is None)
    # A score without a reason reads as it did before.
    assert ("reason" in dense.model_dump(mode="json")) == (value is None)


def test_a_dimension_without_signal_neither_passes_nor_blocks() -> None:
    dense, candidate = (
        dataclasses.replace(
            evaluation(recipe, {"mmlu": value}), generations={"mmlu": answers(right, 400)}
        )
        for recipe, value, right in ((DENSE, 51.0, 204), (THREE, 20.0, 80))
    )
    for kind in ("observed", "confident", "proven"):
        finding = MaxDrop(evidence=kind, resamples=1000).check(Evidence(candidate, dense))
        assert finding.outcome == "inconclusive"
        assert "no measurable signal" in finding.reason
    score = dense.scorecard.scores[0].model_copy(update={"value": None, "reason": "no signal"})
    card = dense.scorecard.model_copy(update={"scores": (score,)})
    evidence = Evidence(candidate, dataclasses.replace(dense, scorecard=card))
    assert TrustedSource(floors={"mmlu": 1}).check(evidence).outcome == "inconclusive"
    # It was measured, so the evaluation is complete.
    assert Complete().check(Evidence(evidence.baseline, evidence.baseline)).outcome == "pass"
