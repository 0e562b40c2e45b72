"""The paired statistics: bounds against exact ones, resampling by cluster and scenario, outcomes at
the margin.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from comptrust.gate import statistics
from comptrust.trust import base
from comptrust.trust.base import Table


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
    assert statistics.score_bound(flips, standard_error=flips**0.5, step=1) == pytest.approx(
        exact, rel=0.02
    )


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


@pytest.mark.parametrize(("points", "changed"), [(5, 0.0), (5, 0.05), (3, 0.02)])
def test_plan_is_the_smallest_number_and_grows_with_noise(points: float, changed: float) -> None:
    n = statistics.plan(points, changed=changed)
    assert n < statistics.plan(points, changed=changed + 0.05)
    assert n < statistics.plan(points - 1, changed=changed)
    error = 100 * (changed / n) ** 0.5
    assert (
        statistics.score_bound(stats.norm.ppf(0.8) * error, standard_error=error, step=100 / n)
        < points
    )


def test_inconclusive_says_how_many_prompts_would_decide() -> None:
    dense, mine = np.ones(200), np.ones(200)
    mine[:6] = 0
    drop = compare(table(mine), table(dense))
    assert drop is not None and drop.outcome(5) == "inconclusive"
    prompts = drop.prompts_to_decide(5)
    assert prompts is not None and prompts > 200
    assert drop.prompts_to_decide(drop.observed) is None
