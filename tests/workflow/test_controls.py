"""The noise floor: what a sample of items says of the drop on all of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from comptrust.records import Generation, Message, Prompt, Suite
from comptrust.trust.evaluation import Evaluation
from comptrust.workflow import controls
from tests.support.evaluations import DENSE, evaluation

ASKED = (Message(role="user", content="Is it positive?"),)
SCENARIOS = ("typo/sst2", "distractor/sst2")


def measured(right: np.ndarray) -> Evaluation:
    """Return an evaluation of reviews, each in two scenarios; `right` has shape (2, reviews)."""
    rows = [
        Generation(
            dimension="adv_robustness",
            scenario=SCENARIOS[number],
            id=f"{SCENARIOS[number]}#{item}",
            texts=("positive" if correct else "negative",),
            target=1,
            extra={"cluster": f"review {item}"},
        )
        for number, answers in enumerate(right.tolist())
        for item, correct in enumerate(answers)
    ]
    plain = evaluation(DENSE, {"adv_robustness": 50.0})
    return dataclasses.replace(plain, generations={"adv_robustness": rows})


def suite_of(dense: Evaluation) -> Suite:
    prompts = tuple(
        Prompt(
            messages=ASKED,
            **row.model_dump(include={"id", "dimension", "scenario", "target", "extra"}),
        )
        for row in dense.generations["adv_robustness"]
    )
    return Suite(name="mini", revision="1", prompts=prompts, required={"adv_robustness": SCENARIOS})


@pytest.mark.parametrize(("reviews", "sampled"), [(8, 8), (60, 30), (150, 50), (900, 100)])
def test_a_sample_is_whole_items_and_always_the_same(reviews: int, sampled: int) -> None:
    dense = measured(np.ones((2, reviews)))
    suite = suite_of(dense)
    sample = controls._sample(dense, suite)
    items = [prompt.extra["cluster"] for prompt in sample.prompts]
    assert len(items) == 2 * sampled and len(set(items)) == sampled
    assert sample == controls._sample(dense, suite)


def test_the_variance_of_the_sample_is_no_part_of_the_floor() -> None:
    """Over all samples of a fifth, the mean square is that of the drop on all items."""
    rng = np.random.default_rng(0)
    after = np.ones((2, 500))
    after[:, rng.permutation(500)[:40]] = 0  # a drop of 8 points
    dense, copy = measured(np.ones((2, 500))), measured(after)
    whole, noisy = dense.table("adv_robustness"), copy.table("adv_robustness")
    assert whole is not None and noisy is not None
    squares = []
    for _ in range(200):
        reviews = rng.permutation(500)[:100]
        rows = np.isin(np.arange(1000), np.concatenate([reviews, 500 + reviews]))
        parts = [table.select(rows) for table in (noisy, whole)]
        squares.append(controls._whole_drop(*parts, whole, dense, "adv_robustness") ** 2)
    assert np.sqrt(np.mean(squares)) == pytest.approx(8.0, abs=0.4)


def test_all_items_show_the_drop_itself() -> None:
    after = np.ones((2, 50))
    after[0, 0] = 0
    dense, copy = measured(np.ones((2, 50))), measured(after)
    assert controls._floor(dense, [dense, copy], "adv_robustness") == pytest.approx(1.0)
