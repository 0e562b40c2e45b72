"""Contrasts: gaps never cancel, noise never hides a drop, and what is not measured counts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from comptrust.gate import statistics
from comptrust.records import Generation
from comptrust.trust import base
from comptrust.trust.contrast import Contrast
from tests.support.tables import people


def test_without_a_change_nothing_moved() -> None:
    dense = people(np.arange(16) % 3 == 0)
    assert base.get("fairness").contrast(dense, dense).estimate == 0


def test_gaps_of_opposite_sign_do_not_cancel() -> None:
    fair = people(np.zeros(16))
    men, women = np.arange(16) % 2 == 1, np.arange(16) % 2 == 0
    one_way = people(np.where(np.arange(16) < 8, men, men))
    both_ways = people(np.where(np.arange(16) < 8, men, women))
    fairness = base.get("fairness")
    assert fairness.contrast(one_way, fair).estimate == pytest.approx(100)
    assert fairness.contrast(both_ways, fair).estimate == pytest.approx(100)


@pytest.mark.parametrize("scoring", ["compressed-trust", "original"])
def test_the_published_drop_is_at_most_the_change(scoring: str) -> None:
    rng = np.random.default_rng(0)
    fairness = base.get("fairness", scoring=scoring)  # type: ignore[arg-type]
    for run in range(400):
        ours, dense = (people(rng.random(16) < rng.random()) for _ in range(2))
        # Half of the runs have labels and groups at random, so that some classes are empty.
        label, group = (rng.random(16) < rng.random() for _ in range(2))
        for side in (ours, dense) if run % 2 else ():
            side.values.update(label=label.astype(float), sensitive=group.astype(float))
        scores = [float(fairness.aggregate(side)["score"][0]) for side in (dense, ours)]
        assert scores[0] - scores[1] <= fairness.contrast(ours, dense).estimate + 1e-9


def test_a_share_is_the_most_that_one_prediction_can_move() -> None:
    fairness, dense = base.get("fairness"), people(np.zeros(16))
    shares = fairness.shares(dense)
    for person in range(16):
        changed = people(np.arange(16) == person)
        assert fairness.contrast(changed, dense).estimate == pytest.approx(shares[person])


def test_people_of_one_group_give_no_bound() -> None:
    dense = people(np.zeros(16))
    dense.values["sensitive"][:] = 1
    bounds = statistics.interval(base.get("fairness").contrast(dense, dense), dense)
    assert (bounds.estimate, bounds.upper) == (0, np.inf)


def test_what_is_not_measured_could_all_be_lost() -> None:
    contrast = Contrast(
        losses=np.array([0.0, np.nan, 1.0, np.nan]),
        coefficients=np.full((1, 4), 25.0),
        cells=np.zeros((1, 4), dtype=int),
        shares=np.full(4, 25.0),
    )
    assert (contrast.estimate, contrast.unmeasured) == (25.0, 50.0)
    whole = dataclasses.replace(contrast, losses=np.zeros(4))
    assert (whole.estimate, whole.unmeasured) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("dimension", "scenarios", "items"),
    [
        ("toxicity", ("toxic/template-0", "toxic/template-1"), 1),
        ("toxicity", ("toxic/template-0", "nontoxic/template-0"), 2),
        ("ood", ("knowledge/qa_2023", "knowledge/qa_2023_idk"), 1),
        ("ood", ("style/shake_w", "style_fewshot/tweet/2"), 1),
        ("ood", ("knowledge_fewshot/global_facts/0", "knowledge/qa_2023"), 2),
        ("adv_demonstration", ("counterfactual/x_cf/42", "counterfactual/x_cf/2333"), 1),
        ("adv_demonstration", ("spurious/PP/entail-bias/0", "spurious/PP/non-entail-bias/42"), 1),
        ("adv_demonstration", ("spurious/PP/entail-bias/0", "spurious/adverb/entail-bias/0"), 2),
        ("adv_demonstration", ("backdoor/setup1_x_asr/42", "backdoor/setup2_y_asr/1"), 1),
        ("adv_demonstration", ("backdoor/setup1_x_asr/42", "backdoor/setup1_x_cacc/42"), 2),
        ("privacy", ("pii/ssn/0shot_attack", "pii/address/3shot_protect"), 1),
        ("ethics", ("zero_shot", "few_shot"), 1),
        ("ethics", ("jailbreak/1", "evasive/5"), 1),
        ("fairness", ("few_shot_16_fair_demon", "few_shot_32_fair_demon"), 1),
        ("fairness", ("few_shot_tr_br_0.0", "few_shot_tr_br_1.0"), 1),
        ("fairness", ("few_shot_tr_br_0.0", "zero_shot_br_0.0"), 2),
        ("fairness", ("zero_shot_br_0.0", "zero_shot_br_0.5"), 2),
        ("mmlu", ("anatomy", "virology"), 2),
    ],
)  # fmt: skip
def test_published_answers_of_one_place_are_one_item(
    dimension: str, scenarios: tuple[str, str], items: int
) -> None:
    measured = base.get(dimension)
    fields = {
        "toxicity": {},
        "fairness": {"target": "no"},
        "mmlu": {"target": "A"},
        "ethics": {"target": "wrong"},
        "privacy": {"target": "123"},
    }
    extra = {"index": 3, "sensitive": 1, "choices": ["a", "b"], "option": ["yes", "no"]}
    clusters = set()
    for scenario in scenarios:
        target = {"target": 0 if scenario.startswith("knowledge") else "positive"}
        row = Generation(
            id=f"{scenario}#3",
            dimension=dimension,
            scenario=scenario,
            texts=("no",),
            extra=extra,
            **fields.get(dimension, target),  # type: ignore[arg-type]
        )
        clusters.add(measured.judge(row).cluster)
    assert len(clusters) == items


def test_fairness_of_people_asked_about_as_either_sex_is_a_mean_over_people() -> None:
    dimension = base.get("fairness")

    def table(answers: list[tuple[str, str]]) -> base.Table:
        return base.Table.of(
            dimension.judge(
                Generation(
                    dimension="fairness",
                    scenario="zero_shot_br_0.5",
                    id=f"{number}/{sensitive}",
                    texts=(answer,),
                    target="yes",
                    extra={"sensitive": sensitive, "pair": number, "cluster": str(number)},
                )
            )
            for number, pair in enumerate(answers)
            for sensitive, answer in enumerate(pair)
        )

    dense = table([("yes", "yes"), ("no", "no"), ("yes", "no"), ("yes", "yes")])
    # Two people whose answer now depends on their sex, in opposite directions: no gap moves.
    candidate = table([("yes", "no"), ("no", "yes"), ("yes", "yes"), ("yes", "no")])
    contrast = dimension.contrast(candidate, dense)
    assert contrast.estimate == pytest.approx(100 * (3 - 1) / 4)
    assert contrast.losses.tolist() == [1, 0, 1, 0, -1, 0, 1, 0]
    assert contrast.shares.sum() == pytest.approx(100)
    assert "changes with their sex" in str(contrast.statistic)
    assert dimension.aggregate(candidate)["same_answer"] == pytest.approx(25)
    assert dimension.contrast(dense, dense).estimate == 0
