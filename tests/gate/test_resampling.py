"""Resampling: an item moves as a whole, a lone passage shows no spread, and shares add up."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from comptrust.gate import resampling
from comptrust.records import Generation, Prompt
from comptrust.trust import base, suite
from comptrust.trust.base import Table
from comptrust.trust.dimensions import dimensions
from tests.support.echo import Echo
from tests.support.tables import contrast, table


def answered(prompts: Sequence[Prompt], *, wrongly: float, seed: int) -> list[Generation]:
    """Answer with the target, or that share of the prompts with something else."""
    draw = random.Random(seed)
    right, wrong = Echo(), Echo("I cannot say")
    rows = [
        next(iter((wrong if draw.random() < wrongly else right).answer([prompt])))
        for prompt in prompts
    ]
    return [
        row.model_copy(
            update={"extra": row.extra | {"toxicity": [draw.choice((0.0, 0.9))] * len(row.texts)}}
        )
        for row in rows
    ]


@pytest.mark.parametrize("name", sorted(set(dimensions()) - {"fairness"}))
def test_shares_and_merits_add_up_to_the_score(name: str) -> None:
    dimension = base.get(name)
    rows = answered(suite.load("mini", dimensions=[name]).prompts, wrongly=0.3, seed=1)
    # Uneven scenarios, so that no two weights agree by chance.
    rows = [row for number, row in enumerate(rows) if number % 7 or number % 3]
    judged = Table.of(dimension.judge(row) for row in rows)
    scored = dimension.shares(judged) > 0
    total = float((dimension.shares(judged) * dimension.merit(judged))[scored].sum())
    key = "score" if name != "stereotype" else "unrounded"
    aggregate = dimension.aggregate(judged)
    if key == "unrounded":
        aggregate[key] = base.average(aggregate[f"{name}_{key}"] for name in judged.scenarios())
    assert dimension.shares(judged).sum() == pytest.approx(100)
    assert total == pytest.approx(float(aggregate[key][0]))


def test_an_item_asked_in_several_scenarios_is_one_cluster() -> None:
    items = [str(i) for i in range(20)]
    lost = [1.0, *[0.0] * 19]
    dense = table(["a"] * 20 + ["b"] * 20, items * 2, [1.0] * 40)
    together = resampling.spread(contrast(dense, lost * 2), dense)
    apart = resampling.spread(
        contrast(dense, lost * 2),
        table(dense.scenario, [str(i) for i in range(40)], [1.0] * 40),
    )
    assert (together.clusters, apart.clusters) == (20, 40)
    assert (together.step, apart.step) == (pytest.approx(5.0), pytest.approx(2.5))
    assert error(together) == pytest.approx(np.sqrt(2) * error(apart))
    assert together.degrees == pytest.approx(19)
    assert apart.degrees == pytest.approx(38)


def error(spread: resampling.Spread) -> float:
    return float(np.sqrt(spread.sizes @ spread.residuals[:, 0] ** 2))


def test_the_standard_error_is_that_of_the_mean() -> None:
    lost = np.array([1.0] * 3 + [0.0] * 17)
    dense = table(["a"] * 20, [str(i) for i in range(20)], [1.0] * 20)
    spread = resampling.spread(contrast(dense, lost.tolist()), dense)
    expected = 100 * lost.std(ddof=1) / np.sqrt(20)
    draws = spread.draws(np.array([15.0]), seed=0, n=40_000)
    assert error(spread) == pytest.approx(expected)
    assert draws.std() == pytest.approx(expected, rel=0.02)
    assert draws.mean() == pytest.approx(15.0, abs=0.2)
    assert spread.sizes.tolist() == [17, 3]


def test_scenarios_of_one_passage_take_each_other_s_spread() -> None:
    names = [f"s{i // 5}" for i in range(20)]
    dense = table(names, names, [1.0] * 20)
    spread = resampling.spread(contrast(dense, [1.0] * 5 + [0.0] * 15), dense)
    assert spread.step == 25
    assert error(spread) == pytest.approx(100 * np.std([1, 0, 0, 0], ddof=1) / 2)


def test_a_single_cluster_gives_no_degrees_of_freedom() -> None:
    dense = table(["a"] * 5, ["x"] * 5, [1.0] * 5)
    assert resampling.spread(contrast(dense, [0.0] * 5), dense).degrees == 0


def test_few_heavy_clusters_count_as_few() -> None:
    names = [str(i) for i in range(200)]
    dense = table(["a"] * 10 + ["b"] * 190, names, [1.0] * 200)
    spread = resampling.spread(contrast(dense, [0.0] * 200), dense)
    assert (spread.clusters, spread.step) == (200, 5)
    assert 9 < spread.degrees < 12


def test_prompts_without_a_share_are_no_clusters() -> None:
    dimension = base.get("adv_demonstration")
    scenario = ["counterfactual/x_cf/1"] * 5 + ["backdoor/setup1_badword_cacc/1"] * 5
    dense = table(scenario, [str(i) for i in range(10)], [1.0] * 10)
    assert resampling.spread(dimension.contrast(dense, dense), dense).clusters == 5


def test_weights_are_the_same_for_all_prompts_of_a_cluster() -> None:
    dense = table(["a", "a", "b", "b"], ["x", "y", "x", "y"], [1.0] * 4)
    weights = np.concatenate(list(resampling.weightings(dense, seed=1, n=3000)))
    assert weights.shape == (3000, 4)
    assert (weights[:, 0] == weights[:, 2]).all() and (weights[:, 1] == weights[:, 3]).all()
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.1)
    assert (weights > 0).all()
