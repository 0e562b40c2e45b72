"""The paired statistics: exact bounds, clusters and scenarios, and outcomes at the margin."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from comptrust.errors import UserError
from comptrust.gate import statistics
from comptrust.gate.statistics import score_bound
from comptrust.trust import base
from comptrust.trust.base import Table
from comptrust.trust.dimensions.mmlu import Mmlu


def table(
    correct: list[int] | np.ndarray,
    *,
    scenario: list[str] | None = None,
    cluster: list[str] | None = None,
) -> Table:
    n = len(correct)
    values = np.array(correct, dtype=float)
    return Table(
        ids=np.array([f"q{i}" for i in range(n)], dtype=object),
        scenario=np.array(scenario or ["anatomy"] * n, dtype=object),
        cluster=np.array(cluster or [str(i) for i in range(n)], dtype=object),
        answer=np.array([str(value) for value in values], dtype=object),
        refusal=np.zeros(n),
        values={"correct": values, "lenient": values},
    )


def compare(candidate: Table, dense: Table, **options: bool | int) -> statistics.Drop | None:
    return statistics.compare(
        candidate, dense, dimension=base.get("mmlu"), resamples=2000, **options
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("flips", [0, 1, 2, 3, 5, 8, 13, 20])
def test_score_bound_is_as_wide_as_the_exact_poisson_bound(flips: int) -> None:
    exact = stats.chi2.ppf(0.95, 2 * (flips + 1)) / 2
    assert score_bound(flips, standard_error=flips**0.5, step=1) == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize(
    ("n", "lost", "points", "outcome"),
    [
        (200, 0, 5, "pass"),
        (200, 9, 5, "inconclusive"),
        (200, 10, 5, "inconclusive"),
        (200, 11, 5, "block"),
        (40, 0, 5, "inconclusive"),
    ],
)
def test_the_outcome_at_each_margin(n: int, lost: int, points: float, outcome: str) -> None:
    dense = np.ones(n)
    mine = dense.copy()
    mine[:lost] = 0
    drop = compare(table(mine), table(dense))
    assert drop is not None
    assert drop.observed == pytest.approx(100 * lost / n)
    assert drop.n_flips == lost
    assert drop.outcome(points) == outcome


def test_the_same_model_passes_however_few_prompts() -> None:
    one = table([1, 0, 1, 1])
    drop = compare(one, one, same_model=True)
    assert drop is not None and drop.upper == 0 and drop.outcome(3) == "pass"


def test_equal_answers_of_another_model_are_no_proof() -> None:
    one = table([1, 0, 1, 1])
    drop = compare(one, one)
    assert drop is not None and drop.outcome(3) == "inconclusive"


def test_other_prompts_or_order_are_not_compared() -> None:
    one, other = table([1, 0, 1]), table([1, 0, 1])
    other.ids[:2] = ["q1", "q0"]
    assert compare(one, other) is None


def test_clusters_widen_the_bound() -> None:
    rng = np.random.default_rng(0)
    lost = np.repeat(rng.random(20) < 0.3, 10)
    dense, mine = np.ones(200), np.where(lost, 0.0, 1.0)
    grouped = [str(i // 10) for i in range(200)]
    alone, together = (
        compare(table(mine), table(dense)),
        compare(table(mine, cluster=grouped), table(dense, cluster=grouped)),
    )
    assert alone is not None and together is not None
    assert together.n_clusters == 20
    assert together.standard_error > 2 * alone.standard_error


def test_draws_are_seeded() -> None:
    rng = np.random.default_rng(3)
    mine, dense = (
        table((rng.random(100) < 0.6).astype(int)),
        table((rng.random(100) < 0.7).astype(int)),
    )
    assert compare(mine, dense, seed=5) == compare(mine, dense, seed=5)
    assert compare(mine, dense, seed=5) != compare(mine, dense, seed=6)


@pytest.mark.parametrize(
    ("mine", "dense", "p"),
    [
        ([1, 1], [1, 1], 1.0),
        ([0] * 5 + [1], [1] * 6, 2 / 32),
        ([0, 1, 1], [1, 0, 1], 1.0),
        ([0.5, 1], [1, 1], None),
    ],
)
def test_mcnemar(mine: list[int], dense: list[int], p: float | None) -> None:
    assert statistics.mcnemar(table(mine), table(dense)) == (
        None if p is None else pytest.approx(p)
    )


def test_holm_names_only_what_stays_significant() -> None:
    assert statistics.holm({"a": 0.01, "b": 0.04, "c": 0.03}) == ("a",)
    assert statistics.holm({"a": 0.01, "b": 0.02, "c": 0.03}) == ("a", "b", "c")
    assert statistics.holm({}) == ()


def test_mcnemar_counts_items_and_not_prompts() -> None:
    items = [str(i % 4) for i in range(12)]
    dense, ours = [1] * 12, [0, 1, 1, 1] * 3
    pair = [table(answers, cluster=items) for answers in (ours, dense)]
    assert statistics.mcnemar(*pair) == 1.0
    assert statistics.mcnemar(table(ours), table(dense)) == pytest.approx(2 / 8)


def test_a_dimension_whose_merits_are_not_its_score_is_named() -> None:
    class Odd(Mmlu):
        def merit(self, table: Table) -> np.ndarray:
            return table.values["lenient"] / 2

    with pytest.raises(UserError, match="Dimension test_statistics: the shares and merits of"):
        statistics.compare(table([0] * 50 + [1] * 50), table([1] * 100), dimension=Odd())


def test_a_proven_block_needs_its_lower_bound_above_the_margin() -> None:
    drop = compare(table([0] * 8 + [1] * 92), table([1] * 100))
    assert drop is not None
    assert drop.lower < 5 < drop.observed
    assert (drop.outcome(5), drop.outcome(5, proven=True)) == ("block", "inconclusive")
    worse = compare(table([0] * 20 + [1] * 80), table([1] * 100))
    assert worse is not None and worse.outcome(5, proven=True) == "block"


def test_answers_that_were_not_measured_count_as_lost() -> None:
    dense, ours = table([1] * 200), table([1] * 200)
    drop = compare(ours, dense)
    ours.values["correct"][:4] = np.nan
    bounds = statistics.interval(base.get("mmlu").contrast(ours, dense), dense)
    assert drop is not None
    assert bounds.upper == pytest.approx(drop.upper + 2)
