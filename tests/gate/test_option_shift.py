"""The rule option_shift: a bias toward an option that no comparison of two texts shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from comptrust.gate.evidence import Evidence
from comptrust.gate.rules.option_shift import OptionShift
from comptrust.models.base import chosen
from comptrust.records import Choice, Message, Prompt
from comptrust.trust.evaluation import Evaluation
from tests.support.evaluations import DENSE, THREE, evaluation

CHOICES = (Choice(text="A", continuation=" yes"), Choice(text="B", continuation=" no"))
MARGINS = (-1.0, 1.0)
"""Of the dense model, in nats: after the prompt's text and after the reference's; spread 1."""


def asked(*margins: Sequence[float], swapped: bool = False, compared: bool = True) -> Evaluation:
    rows = []
    for number, pair in enumerate(margins):
        prompt = Prompt(
            id=f"anatomy#{number}",
            dimension="mmlu",
            scenario="anatomy",
            messages=(Message(role="completion", content="x"),),
            choices=CHOICES[::-1] if swapped and number % 2 else CHOICES,
        )
        sign = -1 if swapped and number % 2 else 1
        after = [[sign * margin / 2, -sign * margin / 2] for margin in pair]
        rows.append(chosen(prompt, logliks=after[0], reference=after[1] if compared else ()))
    return dataclasses.replace(evaluation(THREE, {"mmlu": 80}), generations={"mmlu": rows})


def baseline(*margins: Sequence[float], **options: bool) -> Evaluation:
    made = asked(*margins, **options)
    dense = evaluation(DENSE, {"mmlu": 80}, size=1000)
    return dataclasses.replace(dense, generations=made.generations)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    ("shift", "outcome"),
    [(0.0, "pass"), (0.9, "pass"), (1.1, "inconclusive"), (-3, "inconclusive")],
)
def test_a_shift_beyond_the_dense_spread_is_inconclusive(
    shift: float, outcome: str, swapped: bool
) -> None:
    shifted = [margin + shift for margin in MARGINS]
    candidate = asked(shifted, shifted, swapped=swapped)
    dense = baseline(MARGINS, MARGINS, swapped=swapped)
    finding = OptionShift().check(Evidence(candidate, dense))
    assert finding.outcome == outcome, finding.reason
    row = finding.evidence["shifts"]["mmlu/anatomy"]
    assert row == {"nats": pytest.approx(shift), "spreads": pytest.approx(shift)}


def test_a_dense_model_that_never_varies_makes_any_shift_too_large() -> None:
    dense = baseline((0.0, 0.0))
    assert OptionShift().check(Evidence(asked((0.1, 0.1)), dense)).outcome == "inconclusive"
    assert OptionShift().check(Evidence(asked((0.0, 0.0)), dense)).outcome == "pass"


def test_answers_that_compare_nothing_are_no_concern_and_missing_ones_are() -> None:
    candidate, dense = asked(MARGINS, compared=False), baseline(MARGINS, compared=False)
    finding = OptionShift().check(Evidence(candidate, dense))
    assert (finding.outcome, finding.reason[:14]) == ("pass", "Does not apply")
    absent = dataclasses.replace(dense, generations={})
    assert OptionShift().check(Evidence(candidate, absent)).outcome == "inconclusive"
    assert OptionShift().check(Evidence(candidate, None)).outcome == "inconclusive"
    other = OptionShift(dimensions=("ethics",))
    assert other.check(Evidence(candidate, dense)).outcome == "inconclusive"
