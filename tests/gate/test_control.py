"""Planted damage is noticed, or the dimension is named and cannot pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from comptrust.errors import UserError
from comptrust.gate import control, policy, statistics
from comptrust.gate.evidence import Evidence
from comptrust.gate.rules.max_drop import MaxDrop
from comptrust.gate.rules.sensitive import Sensitive
from comptrust.records import Generation, SuiteManifest
from comptrust.trust import base, scoring
from comptrust.trust.control import Control
from comptrust.trust.evaluation import Evaluation
from tests.support.evaluations import DENSE, THREE, evaluation
from tests.support.tables import people

SCENARIOS = tuple(base.get("toxicity").required)


def dense(correct: int = 320) -> Evaluation:
    plain = evaluation(DENSE, {"mmlu": correct / 4}, correct=correct, size=1000)
    assert plain.suite is not None
    asked = {"required": {"mmlu": ("anatomy",)}, "n_prompts": {"mmlu": {"anatomy": 400}}}
    return dataclasses.replace(plain, suite=plain.suite.model_copy(update=asked))


def toxic(values: list[float], *, scorer: str = "local@1") -> Evaluation:
    """Return an evaluation of toxicity in which every scenario has these values."""
    rows = [
        Generation(
            dimension="toxicity",
            scenario=scenario,
            id=f"{scenario}#{i}",
            texts=("I see.",),
            extra={"toxicity": [value]},
        )
        for scenario in SCENARIOS
        for i, value in enumerate(values)
    ]
    suite = SuiteManifest(
        name="mini",
        revision="1",
        required={"toxicity": SCENARIOS},
        scorers={"toxicity": scorer},
        digest="s",
        n_prompts={"toxicity": dict.fromkeys(SCENARIOS, len(values))},
    )
    plain = evaluation(DENSE, {"toxicity": 0.0})
    scores = scoring.score(rows, suite=suite, dimensions=["toxicity"])
    card = plain.scorecard.model_copy(update={"scores": scores})
    return dataclasses.replace(plain, scorecard=card, suite=suite, generations={"toxicity": rows})


def copy_of(measured: Evaluation) -> Evaluation:
    """Return the same answers of other bytes."""
    card = measured.scorecard.model_copy(update={"checkpoint_digest": "copy"})
    return dataclasses.replace(measured, scorecard=card)


@pytest.mark.parametrize(
    ("correct", "noticed", "why"), [(320, 1.0, None), (30, 0.0, "it cannot lose 10.0 points; 7.5")]
)
def test_planted_flips_are_noticed_where_there_is_something_to_lose(
    correct: int, noticed: float, why: str | None
) -> None:
    planted = control.plant(dense(correct), "mmlu", 5.0)
    assert planted.noticed == noticed
    assert (why is None and planted.why is None) or (why and str(planted.why).startswith(why))


def test_a_dimension_without_merits_notices_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base.Dimension, "merit", raise_)
    planted = control.plant(dense(), "mmlu", 5.0)
    assert (planted.noticed, planted.why) == (0.0, "no merit")


def raise_(*arguments: object) -> None:
    raise UserError("no merit")


def test_planted_flips_are_worth_the_margin_and_five_points_on_average(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drops = []

    def interval(contrast: Any, *arguments: Any, **options: Any) -> Any:
        drops.append(contrast.estimate)
        return statistics.Interval(0.0, 0.0, 0.0, 0.0, None)  # type: ignore[arg-type]

    monkeypatch.setattr(statistics, "interval", interval)
    planted = control.plant(dense(), "mmlu", 12.0)
    # Those beyond the margin need no bound; none of the others was noticed.
    assert planted.noticed == 1 - len(drops) / control.SEEDS > 0.9
    assert drops and max(drops) < 12.0


@pytest.mark.parametrize("favored", [0, 1])
def test_fairness_is_harmed_by_a_wider_gap(favored: int) -> None:
    fairness = base.get("fairness")
    before = people((np.arange(16) % 2 == favored) & (np.arange(16) % 4 < 2))
    harm = fairness.harm(before)
    after = people(before.values["prediction"] + harm)
    gaps = [fairness.aggregate(table)["mean_dpd"][0] for table in (before, after)]
    assert gaps == [50.0, 100.0]


def test_a_scorer_that_returns_a_constant_notices_nothing() -> None:
    values = np.linspace(0.1, 0.5, 50).tolist()
    assert control.plant(toxic(values), "toxicity", 5.0).noticed == 1.0
    planted = control.plant(toxic([0.0] * 50), "toxicity", 5.0)
    assert planted.noticed == 0.0 and "constant" in str(planted.why)
    finding = Sensitive().check(Evidence(copy_of(toxic(values)), toxic([0.0] * 50)))
    assert finding.outcome == "inconclusive" and "toxicity: every answer" in finding.reason


def test_constant_answers_are_noticed_by_the_rule_that_sees_them() -> None:
    said = control.constant(dense())
    assert {answer.texts for answer in said["mmlu"]} == {("A",)}
    rules = policy.Policy("p", (MaxDrop(resamples=1000), Sensitive()))
    lettered = dense()
    answers = [
        answer.model_copy(update={"texts": (letter,), "target": letter})
        for answer, letter in zip(lettered.generations["mmlu"], "ABCD" * 100, strict=True)
    ]
    lettered = dataclasses.replace(lettered, generations={"mmlu": answers})
    found = control.noticed(lettered, control.constant(lettered), rules, kind="constant answers")
    assert found.noticed_by == {"mmlu": ("max_drop",)}
    # A copy with the same answers is not noticed.
    same = control.noticed(lettered, lettered.generations, rules, kind="none")
    assert same.noticed_by == {"mmlu": ()}


def test_a_control_covers_the_margins_of_its_policy_and_keeps_the_floors() -> None:
    rules = policy.Policy("p", (MaxDrop(points=4.0, resamples=1000),))
    made = control.make(dense(), rules)
    assert sorted({row.points for row in made.planted}) == [3.0, 4.0, 5.0]
    assert made.flips("mmlu", 4.0) and made.flips("mmlu", 7.0) is None
    earlier = dataclasses.replace(dense(), control=made.model_copy(update={"floors": {"mmlu": 1}}))
    assert control.make(earlier, rules).floors == {"mmlu": 1}


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        (evaluation(THREE, {"mmlu": 80.0}, correct=320), "is compressed"),
        (evaluation(DENSE, {"mmlu": 80.0}), "has no answers"),
    ],
)
def test_damage_is_planted_in_answers_of_dense_models(measured: Evaluation, message: str) -> None:
    with pytest.raises(UserError, match=message):
        control.make(measured, policy.load("literal"))


def cases() -> Iterator[tuple[Evidence, str, str]]:
    three = evaluation(THREE, {"mmlu": 80.0}, correct=320)
    yield Evidence(three, dense()), "pass", "notices a drop of 10 points"
    yield Evidence(three, dense(30)), "inconclusive", "mmlu: it cannot lose 10.0 points"
    yield Evidence(three, None), "inconclusive", "no comparable baseline"
    no_answers = evaluation(DENSE, {"mmlu": 80.0})
    yield Evidence(three, no_answers), "inconclusive", "answers are not available"
    yield Evidence(dense(30), dense(30)), "pass", "the dense model itself"


@pytest.mark.parametrize(("evidence", "outcome", "reason"), cases())
def test_a_dimension_that_notices_nothing_cannot_pass(
    evidence: Evidence, outcome: str, reason: str
) -> None:
    finding = Sensitive().check(evidence)
    assert (finding.outcome, reason in finding.reason) == (outcome, True), finding.reason


@pytest.mark.parametrize(
    ("floor", "kind", "outcome"),
    [
        (1.6, "confident", "pass"),
        (1.7, "confident", "inconclusive"),
        (1.7, "proven", "inconclusive"),
        (1.7, "observed", "pass"),
    ],
)
def test_a_margin_below_three_noise_floors_is_unresolvable(
    floor: float, kind: Any, outcome: str
) -> None:
    record = Control(scorecard_digest="d", seeds=1, beyond=5.0, planted=(), floors={"mmlu": floor})
    reference = dataclasses.replace(dense(), control=record)
    candidate = evaluation(THREE, {"mmlu": 80.0}, correct=320)
    rule = MaxDrop(evidence=kind, resamples=1000)
    finding = rule.check(Evidence(candidate, reference))
    assert finding.outcome == outcome, finding.reason
    assert finding.evidence["dimensions"]["mmlu"]["floor"] == floor
    assert ("unresolvable" in finding.reason) == (outcome == "inconclusive")
    # A model compared with itself cannot drop, whatever the floor.
    assert rule.check(Evidence(reference, reference)).outcome == "pass"


def test_the_scorers_error_widens_the_bound_of_toxicity() -> None:
    values = np.linspace(0.1, 0.5, 100).tolist()
    uppers = [
        MaxDrop(resamples=1000)
        .check(Evidence(copy_of(toxic(values, scorer=scorer)), toxic(values, scorer=scorer)))
        .evidence["dimensions"]["toxicity"]["upper"]
        for scorer in ("perspective@1", "local@1")
    ]
    assert uppers[1] == pytest.approx(uppers[0] / 0.7339)
