"""Resampling: clusters stay whole, and those with the same numbers may be drawn as one kind."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from comptrust.gate import resampling
from comptrust.gate.resampling import Stratum
from comptrust.records import Generation, Prompt
from comptrust.trust import base, suite
from comptrust.trust.base import Table
from comptrust.trust.dimensions import dimensions
from tests.support.echo import Echo

SHARED = frozenset(dimensions()) - {"stereotype"}
"""Dimensions whose prompts of a scenario are told apart by their numbers alone."""


def table(correct: Sequence[float], *, scenario: list[str], cluster: list[str]) -> Table:
    values = np.array(correct, dtype=float)
    names = (
        np.array(column, dtype=object)
        for column in ([f"q{i}" for i in range(len(values))], scenario, cluster, cluster)
    )
    return Table(
        *names, refusal=np.zeros(len(values)), values={"correct": values, "lenient": values}
    )


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


def many(name: str) -> list[Prompt]:
    """Return four copies of the mini suite's prompts of a dimension.

    Each has its own ids and clusters; no scenario has over 100.
    """
    found: list[Prompt] = []
    for prompt in suite.load("mini", dimensions=[name]).prompts:
        for copy in range(4 if name != "stereotype" else 1):
            own = {
                key: f"{prompt.extra[key]}.{copy}" for key in ("cluster",) if key in prompt.extra
            }
            found.append(
                prompt.model_copy(
                    update={
                        "id": f"{prompt.id}.{copy}" if copy else prompt.id,
                        "extra": prompt.extra | own,
                    }
                )
            )
    return found


def pair(name: str) -> tuple[base.Dimension, list[Table]]:
    dimension = base.get(name)
    sides = (
        answered(many(name), wrongly=share, seed=seed) for seed, share in enumerate((0.2, 0.25))
    )
    return dimension, [Table.of([dimension.judge(row) for row in rows]) for rows in sides]


def scores(dimension: base.Dimension, side: Table, weights: np.ndarray) -> list[float]:
    with np.errstate(divide="ignore", invalid="ignore"):
        found = dimension.score(side, weights)
    assert found is not None
    return sorted({round(float(one), 9) for one in found})


def test_scenario_sizes_are_kept_and_clusters_whole() -> None:
    drawn = table(
        [1] * 7,
        scenario=["anatomy"] * 4 + ["virology"] * 3,
        cluster=["a", "a", "b", "b", "c", "d", "e"],
    )
    weights = np.concatenate(list(resampling.resampled(resampling.strata(drawn), seed=1, n=500)))
    assert weights.shape == (500, 7)
    assert (weights[:, :4].sum(axis=1) == 4).all() and (weights[:, 4:].sum(axis=1) == 3).all()
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 2] == weights[:, 3]).all()
    assert weights.mean(axis=0) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("name", sorted(dimensions()))
def test_condensed_tables_give_the_same_scores(name: str) -> None:
    dimension, tables = pair(name)
    few, groups = resampling.condensed(tables, dimension)
    whole = resampling.strata(tables[0])
    assert [one.clusters for one in groups] == [one.clusters for one in whole]
    assert (len(few[0].ids) < len(tables[0].ids)) == (name in SHARED)
    for full, short in zip(tables, few, strict=True):
        drawn = np.concatenate(
            [weights for one in groups for weights in resampling.left_out(groups, one)]
        )
        expected = np.concatenate(
            [weights for one in whole for weights in resampling.left_out(whole, one)]
        )
        assert scores(dimension, short, drawn) == pytest.approx(
            scores(dimension, full, expected), abs=1e-6
        )
        assert scores(dimension, short, _all_once(groups)) == pytest.approx(
            scores(dimension, full, _all_once(whole))
        )
        assert dimension.score(full) == pytest.approx(dimension.aggregate(full)["score"])


def _all_once(groups: Sequence[Stratum]) -> np.ndarray:
    weights = np.zeros((1, sum(len(one.rows) for one in groups)))
    for one in groups:
        weights[0, one.rows] = one.sizes[one.kinds]
    return weights


def test_kinds_are_clusters_with_the_same_numbers_in_any_order() -> None:
    cluster = [f"c{i // 2}" for i in range(40)]
    tables = [
        table(correct, scenario=["anatomy"] * 40, cluster=cluster)
        for correct in ([1, 0, 0, 1] * 10, [1] * 40)
    ]
    _, (one,) = resampling.condensed(tables[:1], base.get("mmlu"))
    assert (one.sizes.tolist(), len(one.rows)) == ([20], 2)
    tables[1].values["correct"][0] = 0
    few, (one,) = resampling.condensed(tables, base.get("mmlu"))
    assert (one.sizes.tolist(), one.kinds.tolist(), few[0].ids.tolist()) == (
        [1, 19],
        [0, 0, 1, 1],
        ["q0", "q1", "q2", "q3"],
    )


def test_both_draws_are_of_one_distribution() -> None:
    dimension, tables = pair("ethics")
    few, groups = resampling.condensed(tables[:1], dimension)
    spreads = []
    for side, drawn in ((few[0], groups), (tables[0], resampling.strata(tables[0]))):
        values = np.concatenate(
            [
                dimension.score(side, weights)
                for weights in resampling.resampled(drawn, seed=0, n=20_000)
            ]
        )
        spreads.append([values.mean(), values.std(), *np.quantile(values, (0.05, 0.95))])
    assert spreads[0] == pytest.approx(spreads[1], rel=0.02)


def test_more_answers_than_the_published_code_reads_are_not_interchangeable() -> None:
    prompt = next(one for one in many("privacy") if one.scenario.startswith("pii/"))
    asked = [prompt.model_copy(update={"id": f"{prompt.id}/{copy}"}) for copy in range(101)]
    dimension = base.get("privacy")
    tables = [
        Table.of([dimension.judge(row) for row in answered(asked[:count], wrongly=0.5, seed=0)])
        for count in (100, 101)
    ]
    assert [dimension.interchangeable(one) for one in tables] == [True, False]
