"""Evaluations that stopped early: the rule is followed again, and nothing but its stop counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from comptrust.errors import UserError
from comptrust.gate import policy as policies
from comptrust.gate import stopping
from comptrust.gate.evidence import Evidence
from comptrust.gate.rules.calibration_seeds import CalibrationSeeds
from comptrust.gate.rules.full_evaluation import FullEvaluation
from comptrust.gate.rules.max_drop import MaxDrop
from comptrust.gate.verdict import judge
from comptrust.records import Finding, Recipe, Stopped, Suite, Verdict
from comptrust.trust import rescoring, stopped
from comptrust.trust.evaluation import Evaluation
from tests.support.early import both, suite
from tests.support.evaluations import EIGHT, policy

SEQUENTIAL = dataclasses.replace(policy(MaxDrop()), evidence="sequential", stages=False)
Pair = tuple[Evaluation, Evaluation]


def verdict(pair: Pair, rules: policies.Policy = SEQUENTIAL) -> Verdict:
    candidate, dense = (dataclasses.replace(one, stated_recipe=EIGHT) for one in pair)
    return judge(Evidence(candidate, dense), rules)


def finding(pair: Pair, rules: policies.Policy = SEQUENTIAL, *, rule: str = "stopping") -> Finding:
    return next(one for one in verdict(pair, rules).findings if one.rule == rule)


@pytest.fixture(scope="module")
def lossless(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return both(tmp_path_factory.mktemp("lossless"), SEQUENTIAL)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return both(tmp_path_factory.mktemp("broken"), SEQUENTIAL, lost={"mmlu": 0.3})


def test_a_lossless_model_passes_on_a_part(lossless: Pair) -> None:
    found, drops = finding(lossless), finding(lossless, rule="max_drop")
    assert found.outcome == drops.outcome == "pass", (found.reason, drops.reason)
    card = lossless[0].scorecard
    for name, row in drops.rows.items():
        score = card[name]
        assert score.value is score.refusal_rate is None and not score.subscores
        assert score.estimate and score.estimate.value == score.estimate.high == 100
        assert row["decided_at"] == score.estimate.items < score.estimate.of / 2
        assert row["upper"] <= 5


def test_a_broken_model_is_blocked_sooner(broken: Pair, lossless: Pair) -> None:
    found, drops = finding(broken), finding(broken, rule="max_drop")
    assert (found.outcome, drops.outcome) == ("pass", "block"), found.reason
    assert drops.rows["mmlu"]["outcome"] == "block" and drops.rows["mmlu"]["lower"] >= 5
    asked = [sum(map(len, pair[0].generations.values())) for pair in (broken, lossless)]
    assert asked[0] < asked[1]


def test_a_policy_that_does_not_say_so_takes_no_part(lossless: Pair, tmp_path: Path) -> None:
    found = finding(lossless, dataclasses.replace(SEQUENTIAL, evidence="measured"))
    assert found.outcome == "inconclusive" and "evidence: sequential" in found.reason
    three = Recipe(base_model="m", method="gptq", bits=3)
    for rule in (FullEvaluation(), CalibrationSeeds(), MaxDrop(evidence="observed")):
        rules = dataclasses.replace(SEQUENTIAL, rules=(MaxDrop(), rule))
        with pytest.raises(UserError, match=f"asks for every answer .*rule {rule.name}"):
            stopping.margins(suite(), rules, three)
    with pytest.raises(UserError, match="has no max_drop rule for gptq-8bit"):
        rules = dataclasses.replace(SEQUENTIAL, rules=(MaxDrop(bits_at_most=4),))
        stopping.margins(suite(), rules, EIGHT)


def test_a_full_evaluation_still_counts(tmp_path: Path) -> None:
    assert policies.load("demo").evidence == "sequential"


def restated(one: Evaluation, part: Suite) -> Evaluation:
    """Return an evaluation of another part of the suite, as far as there are answers."""
    rows = {(row.dimension, row.id): row for answers in one.generations.values() for row in answers}
    answers = {
        name: [rows[name, prompt.id] for prompt in prompts if (name, prompt.id) in rows]
        for name, prompts in part.by_dimension().items()
    }
    card = one.scorecard.model_copy(update={"suite_digest": part.digest})
    return dataclasses.replace(one, suite=part.manifest(), generations=answers, scorecard=card)


def again(pair: Pair, change: Callable[[Stopped], dict[str, object]]) -> Pair:
    """State another end of both evaluations."""
    assert pair[0].suite and pair[0].suite.stopped
    ended = pair[0].suite.stopped
    part = stopped.part(suite(), ended.model_copy(update=change(ended)))
    return restated(pair[0], part), restated(pair[1], part)


def less(ended: Stopped) -> dict[str, object]:
    return {"items": {name: count - 4 for name, count in ended.items.items()}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (less, "it ended before the rule stops: the rule goes on with"),
        (lambda ended: {"items": {"mmlu": ended.items["mmlu"]}}, "ended before the rule stops"),
        (lambda ended: {"seed": 7}, "answers to other prompts"),
        (lambda ended: {"plan": "0" * 64}, "another plan"),
    ],
)
def test_another_end_is_refused(
    change: Callable[[Stopped], dict[str, object]], says: str, lossless: Pair
) -> None:
    found = finding(again(lossless, change))
    assert found.outcome == "inconclusive" and says in found.reason, found.reason
    assert verdict(again(lossless, change)).outcome == "inconclusive"


def test_more_answers_than_the_rule_asks_are_refused(lossless: Pair, tmp_path: Path) -> None:
    # A smaller margin needs more, so its evaluation has answers to spare.
    stricter = dataclasses.replace(SEQUENTIAL, rules=(MaxDrop(points=3),))
    longer = both(tmp_path, stricter)
    assert finding(longer, stricter).outcome == "pass"
    found = finding(longer)
    assert found.outcome == "inconclusive" and "another plan" in found.reason
    assert lossless[0].suite and lossless[0].suite.stopped
    plan = lossless[0].suite.stopped.plan
    found = finding(again(longer, lambda ended: {"plan": plan}))
    assert "it went on after the rule stopped" in found.reason
    [mmlu, *_] = [one for one in verdict(longer).findings if one.rule == "max_drop"]
    assert mmlu.outcome == "inconclusive", "partial scores do not count as scores"


def test_a_changed_answer_gives_another_course(broken: Pair) -> None:
    candidate, dense = broken
    mmlu = [
        row.model_copy(update={"texts": (str(row.target),)})
        for row in candidate.generations["mmlu"]
    ]
    rows = candidate.generations | {"mmlu": mmlu}
    found = finding((dataclasses.replace(candidate, generations=rows), dense))
    assert found.outcome == "inconclusive" and "it ended before the rule stops" in found.reason


def test_another_part_of_the_dense_model_is_refused(lossless: Pair, broken: Pair) -> None:
    found = finding((lossless[0], broken[1]))
    assert found.outcome == "inconclusive" and "has answers to other prompts" in found.reason


def test_estimates_are_scored_again(lossless: Pair) -> None:
    rescoring.check(lossless[0], complete=True)
    card = lossless[0].scorecard
    assert card.scores[0].estimate
    better = card.scores[0].estimate.model_copy(update={"low": 99.0, "value": 99.5})
    scores = (card.scores[0].model_copy(update={"estimate": better}), *card.scores[1:])
    forged = dataclasses.replace(lossless[0], scorecard=card.model_copy(update={"scores": scores}))
    with pytest.raises(UserError, match="estimate"):
        rescoring.check(forged, complete=True)


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    first = both(tmp_path, SEQUENTIAL)
    kept = {path: path.read_text() for path in tmp_path.glob("kept/*/generations/.*")}
    second = both(tmp_path, SEQUENTIAL)
    assert kept == {path: path.read_text() for path in kept}
    assert first[0].scorecard.scores == second[0].scorecard.scores
