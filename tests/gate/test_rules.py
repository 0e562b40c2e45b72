"""Policies, rules and verdicts on small evaluations; what is absent or differs never passes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from comptrust.errors import UserError
from comptrust.gate import policy as policies
from comptrust.gate.evidence import Evidence
from comptrust.gate.rules.calibration_seeds import CalibrationSeeds
from comptrust.gate.rules.complete import Complete
from comptrust.gate.rules.fresh import Fresh
from comptrust.gate.rules.full_evaluation import FullEvaluation
from comptrust.gate.rules.max_drop import MaxDrop
from comptrust.gate.rules.min_compression import MinCompression
from comptrust.gate.rules.quantization_preferred import QuantizationPreferred
from comptrust.gate.rules.refusal_shift import RefusalShift
from comptrust.gate.rules.trusted_source import TrustedSource
from comptrust.gate.verdict import judge
from comptrust.records import Sample
from comptrust.trust.dimensions import dimensions
from tests.support import pins
from tests.support.evaluations import DENSE, EIGHT, PRUNED, THREE, evaluation, pair, policy


@pytest.mark.parametrize(
    ("rule", "evidence", "outcome"),
    [
        (MaxDrop(evidence="observed"), pair(THREE, 74.9), "block"),
        (MaxDrop(evidence="observed"), pair(THREE, 75.0), "pass"),
        (MaxDrop(evidence="observed"), pair(THREE, 61.4, dense=66.4), "pass"),
        (MaxDrop(evidence="observed", bits_at_most=3), pair(EIGHT, 10), "pass"),
        (MaxDrop(evidence="observed", applies_to="pruned"), pair(PRUNED, 10), "block"),
        (MaxDrop(evidence="observed", applies_to="quantized"), pair(PRUNED, 10), "pass"),
        (MaxDrop(evidence="observed"), pair(THREE, None), "inconclusive"),
        (MaxDrop(evidence="observed"), pair(THREE, 80, dense=None), "inconclusive"),
        (MaxDrop(evidence="observed", dimensions=("ethics",)), pair(THREE, 80), "inconclusive"),
        (MaxDrop(evidence="observed", bits_at_most=3), pair(None, 80), "inconclusive"),
        (MaxDrop(), pair(THREE, 80), "inconclusive"),
        (MaxDrop(), pair(THREE, 60), "block"),
        (MaxDrop(evidence="observed"), pair(THREE, 80, suite_digest="0" * 64), "inconclusive"),
        (Complete(), pair(THREE, 80), "pass"),
        (Complete(), pair(THREE, None), "inconclusive"),
        (Complete(), pair(THREE, 80, unscored=1), "inconclusive"),
        (Complete(dimensions=("ethics",)), pair(THREE, 80), "inconclusive"),
        (MinCompression(), pair(THREE, 80, size=999), "pass"),
        (MinCompression(), pair(THREE, 80, size=1000), "block"),
        (MinCompression(), pair(THREE, 80, size=0), "inconclusive"),
        (MinCompression(), pair(None, 80), "inconclusive"),
        (MinCompression(), pair(PRUNED, 80, size=1000), "block"),
        (MinCompression(count="nonzero"), pair(PRUNED, 80, size=1000), "pass"),
        (TrustedSource(floors={"mmlu": 81}), pair(THREE, 80), "block"),
        (TrustedSource(floors={"mmlu": 80}), pair(THREE, 80), "pass"),
        (TrustedSource(floors={"ethics": 1}), pair(THREE, 80), "inconclusive"),
        (TrustedSource(), pair(THREE, 80, rendering="other"), "inconclusive"),
        (FullEvaluation(), pair(THREE, 80), "inconclusive"),
        (FullEvaluation(), pair(EIGHT, 80), "pass"),
        (
            FullEvaluation(),
            Evidence(evaluation(THREE, dict.fromkeys(dimensions(), 50.0)), None),
            "pass",
        ),
        (
            FullEvaluation(),
            Evidence(evaluation(THREE, dict.fromkeys(dimensions(), 50.0), limit=5), None),
            "inconclusive",
        ),
        (CalibrationSeeds(), pair(THREE, 80), "inconclusive"),
        (CalibrationSeeds(), pair(EIGHT, 80), "pass"),
        (RefusalShift(), pair(THREE, 80, refusal=10.0), "pass"),
        (RefusalShift(), pair(THREE, 80, refusal=10.1), "inconclusive"),
        (RefusalShift(), pair(THREE, 80, refusal=None), "inconclusive"),
        (Fresh(), pair(THREE, 80, version="1.9"), "pass"),
        (Fresh(), pair(THREE, 80, version="2.0"), "inconclusive"),
        (Fresh(), pair(THREE, 80, version=None), "inconclusive"),
        (Fresh(), Evidence(evaluation(THREE, {"mmlu": 80}), None), "inconclusive"),
    ],
)
def test_rule(rule: Any, evidence: Evidence, outcome: str) -> None:
    finding = rule.check(evidence)
    assert finding.outcome == outcome, finding.reason
    assert finding.rule == rule.name


@pytest.mark.parametrize(
    ("correct", "outcome"), [(320, "pass"), (306, "inconclusive"), (299, "block")]
)
def test_max_drop_resamples_the_answers(correct: int, outcome: str) -> None:
    candidate = evaluation(THREE, {"mmlu": correct / 4}, correct=correct)
    baseline = evaluation(DENSE, {"mmlu": 80.0}, correct=320)
    finding = MaxDrop(resamples=1000).check(Evidence(candidate, baseline))
    assert finding.outcome == outcome, finding.reason
    if outcome == "inconclusive":
        assert "there are enough prompts for a lossless model" in finding.reason


@pytest.mark.parametrize(
    ("rule", "outcome", "reason"),
    [
        (MaxDrop(), "block", "Dropped more than 5 points"),
        (MaxDrop(items_at_least=400), "block", "Dropped more than 5 points"),
        (MaxDrop(items_at_least=401), "inconclusive", "400 items: too few"),
        (MaxDrop(items_at_least=401, evidence="observed"), "inconclusive", "asks for 401"),
        (MaxDrop(items_at_least=401, evidence="proven"), "inconclusive", "asks for 401"),
    ],
)
def test_with_too_few_items_nothing_is_decided(rule: MaxDrop, outcome: str, reason: str) -> None:
    candidate = evaluation(THREE, {"mmlu": 50.0}, correct=200)
    evidence = Evidence(candidate, evaluation(DENSE, {"mmlu": 80.0}, correct=320))
    finding = rule.check(evidence)
    assert finding.outcome == outcome and reason in finding.reason


@pytest.mark.parametrize(
    ("sample", "outcome"), [(None, "inconclusive"), (Sample(parent="p", seed=0), "block")]
)
def test_the_first_prompts_of_an_old_record_do_not_count_as_a_sample(
    sample: Sample | None, outcome: str
) -> None:
    candidate, baseline = (
        evaluation(recipe, {"mmlu": value}, correct=int(4 * value), limit=400)
        for recipe, value in ((THREE, 50.0), (DENSE, 80.0))
    )
    assert candidate.suite
    suite = candidate.suite.model_copy(update={"sample": sample})
    candidate = dataclasses.replace(candidate, suite=suite)
    finding = MaxDrop(items_at_least=100).check(Evidence(candidate, baseline))
    assert finding.outcome == outcome
    assert (sample is None) == ("not a random sample" in finding.reason)


@pytest.mark.parametrize("kind", ["observed", "confident", "proven"])
@pytest.mark.parametrize("value", [90.0, 50.0])
def test_a_side_with_fewer_answers_is_neither_passed_nor_blocked(kind: Any, value: float) -> None:
    candidate = evaluation(THREE, {"mmlu": value}, correct=int(4 * value))
    baseline = evaluation(DENSE, {"mmlu": 80.0}, correct=320)
    fewer = dataclasses.replace(candidate, generations={"mmlu": candidate.generations["mmlu"][:-1]})
    finding = MaxDrop(evidence=kind).check(Evidence(fewer, baseline))
    assert finding.outcome == "inconclusive"
    assert "(399 answers and 400 of the dense model)" in finding.reason

    [score] = candidate.scorecard.scores
    part = score.model_copy(update={"partial": True, "missing": ("virology",)})
    card = candidate.scorecard.model_copy(update={"scores": (part,)})
    partial = dataclasses.replace(candidate, scorecard=card)
    finding = MaxDrop(evidence=kind).check(Evidence(partial, baseline))
    assert finding.outcome == "inconclusive" and "same scenarios in full" in finding.reason


@pytest.mark.parametrize(
    ("others", "outcome"),
    [([80, 79], "pass"), ([80, 74], "block"), ([80], "inconclusive"), ([80, None], "inconclusive")],
)
def test_the_worst_calibration_seed_counts(others: list[float | None], outcome: str) -> None:
    siblings = tuple(
        evaluation(THREE.model_copy(update={"seed": i}), {"mmlu": value})
        for i, value in enumerate(others, start=1)
    )
    evidence = pair(THREE, 80)
    finding = CalibrationSeeds().check(Evidence(evidence.candidate, evidence.baseline, siblings))
    assert finding.outcome == outcome, finding.reason


@pytest.mark.parametrize(
    ("size", "score", "outcome"),
    [(500, 80.0, "block"), (501, 80.0, "pass"), (400, 79.9, "pass"), (400, None, "pass")],
)
def test_a_better_quantized_sibling_blocks_a_pruned_candidate(
    size: int, score: float | None, outcome: str
) -> None:
    evidence = pair(PRUNED, 80)
    finding = QuantizationPreferred().check(
        Evidence(
            evidence.candidate, evidence.baseline, (evaluation(EIGHT, {"mmlu": score}, size=size),)
        )
    )
    assert finding.outcome == outcome
    if outcome == "block":
        assert "gptq-8bit-s0" in finding.reason


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", policies.names())
def test_shipped_policies_load(name: str) -> None:
    loaded = policies.load(name)
    assert loaded.name == name and loaded.rules and loaded.digest == policies.load(name).digest


@pytest.mark.parametrize(("blank", "outcome"), [(0, "pass"), (40, "pass"), (41, "inconclusive")])
def test_refusal_shift_sees_answers_that_turned_blank(blank: int, outcome: str) -> None:
    dense, mine = (
        evaluation(DENSE, {"mmlu": 80.0}, correct=400),
        evaluation(THREE, {"mmlu": 80.0}, correct=400),
    )
    answers = mine.generations["mmlu"]
    mine.generations["mmlu"] = [
        one.model_copy(update={"texts": (" ",)}) for one in answers[:blank]
    ] + answers[blank:]
    finding = RefusalShift().check(Evidence(candidate=mine, baseline=dense))
    assert finding.outcome == outcome
    assert ("mmlu (blank answers)" in finding.reason) == (blank > 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nrules: []\n", "rules"),
        ("rules: [{rule: complete}]\n", "name"),
        ("name: x\nrules: [{rule: max_dorp}]\n", "Did you mean 'max_drop'"),
        ("name: x\nrules: [{rule: max_drop, point: 5}]\n", "Did you mean 'points'"),
        ("name: x\nrules: [{rule: max_drop, points: five}]\n", "points"),
        ("name: x\nrules: [{points: 5}]\n", "'rule' is missing"),
        ("name: x\nrules: [{rule: trusted_source, floors: {etics: 5}}]\n", "Did you mean 'ethics'"),
        ("name: [\n", "not valid YAML"),
        (
            (
                "name: x\nrules: [{rule: complete}]\nwaivers: [{rule: refusal_shift, checkpoint: c,"
                " who: '', why: a, until: 2030-01-01}]\n"
            ),
            "who",
        ),
        (
            (
                "name: x\nrules: [{rule: complete}]\nwaivers: [{rule: refusal_shift, who: a, why:"
                " a, until: 2030-01-01}]\n"
            ),
            "checkpoint",
        ),
        ("name: x\nrules: [{rule: complete}]\nvalid_days: 0\n", "valid_days"),
    ],
)
def test_bad_policies_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        policies.load(write(tmp_path / "p.yaml", text))


@pytest.mark.parametrize(
    ("name", "message"), [("stagin", "Did you mean 'staging'"), ("no/such.yaml", "No policy file")]
)
def test_unknown_policies_are_refused(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        policies.load(name)


@pytest.mark.parametrize(
    ("evidence", "outcome"),
    [
        (pair(EIGHT, 80), "pass"),
        (Evidence(evaluation(EIGHT, {"mmlu": 80.0}), None), "inconclusive"),
        (pair(EIGHT, 80, suite_digest="0" * 64), "inconclusive"),
        (pair(EIGHT, 80, rendering="other"), "inconclusive"),
        (
            Evidence(evaluation(EIGHT, {"mmlu": 80.0}), evaluation(THREE, {"mmlu": 80.0})),
            "inconclusive",
        ),
        (
            Evidence(
                evaluation(EIGHT.model_copy(update={"revision": "z"}), {"mmlu": 80.0}),
                evaluation(DENSE, {"mmlu": 80.0}),
            ),
            "inconclusive",
        ),
    ],
)
def test_what_cannot_be_compared_never_passes(evidence: Evidence, outcome: str) -> None:
    rules = pins.naming(policy(MinCompression()), evidence.candidate, evidence.baseline)
    assert judge(evidence, rules).outcome == outcome


def test_a_model_passes_against_itself() -> None:
    dense = evaluation(DENSE, {"mmlu": 80.0}, correct=320, size=1000)
    staging = pins.naming(policies.load("staging"), dense)
    staging = dataclasses.replace(staging, dense="allowed")
    asked = dataclasses.replace(staging, rules=(Complete(), *staging.rules[1:]))
    assert judge(Evidence(dense, dense), asked).outcome == "pass"
    verdict = judge(Evidence(dense, dense), staging)
    incomplete = [finding.rule for finding in verdict.findings if finding.outcome != "pass"]
    assert (verdict.outcome, incomplete) == ("inconclusive", ["complete"])
