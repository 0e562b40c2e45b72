"""Power: the planned number is the number at which a lossless model passes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from comptrust.gate import power, statistics
from comptrust.gate.power import Design
from comptrust.gate.statistics import score_bound
from comptrust.trust import base
from tests.support.tables import contrast, people, table


def design(n: int, *, lost: int = 0) -> Design:
    dense = table(["a"] * n, [str(i) for i in range(n)], [1.0] * n)
    return Design.of(contrast(dense, [1.0] * lost + [0.0] * (n - lost)), dense)


@pytest.mark.parametrize(("points", "changed"), [(5, 0.0), (5, 0.05), (3, 0.02)])
def test_the_number_grows_with_noise_and_is_close_to_the_formula(
    points: float, changed: float
) -> None:
    n = design(100).needed(points, changed=changed, power=0.8)
    assert n is not None
    more = design(100).needed(points, changed=changed + 0.05, power=0.8)
    assert more is not None and n < more
    error = 100 * (changed / n) ** 0.5
    luck = stats.norm.ppf(0.8) * error
    assert luck + score_bound(0, standard_error=error, step=100 / n) == pytest.approx(
        points, rel=0.08
    )


def test_a_lossless_model_passes_as_often_as_planned() -> None:
    n = design(100).needed(5, changed=0.04, power=0.8)
    assert n is not None
    dense = table(["a"] * n, [str(i) for i in range(n)], [1.0] * n)
    rng = np.random.default_rng(0)
    passes = 0
    for run in range(400):
        lost = rng.choice([-1.0, 0.0, 1.0], p=[0.02, 0.96, 0.02], size=n)
        bounds = statistics.interval(contrast(dense, lost), dense, seed=run, resamples=1000)
        passes += bounds.upper < 5
    assert 0.75 < passes / 400 < 0.9


def test_all_dimensions_together_have_the_power() -> None:
    assert power.each(9) ** 9 == pytest.approx(0.8)
    assert power.each(0) == 0.8


@pytest.mark.parametrize(("flips", "least"), [(0, 60), (4, 80), (20, 200)])
def test_the_need_is_an_interval_around_the_share_of_changed_answers(
    flips: int, least: int
) -> None:
    low, high = power.need(design(200), 5, flips=flips, prompts=200, power=0.8)
    exact = design(200).needed(5, changed=flips / 200, power=0.8)
    assert exact is not None and low is not None and high is not None
    assert least < low <= exact <= high


def test_a_single_cluster_is_never_enough() -> None:
    dense = table(["a"] * 9, ["x"] * 9, [1.0] * 9)
    alone = Design.of(contrast(dense, [0.0] * 9), dense)
    assert power.need(alone, 5, flips=0, prompts=9, power=0.8) == (None, None)


def test_a_gap_needs_more_prompts_than_a_mean() -> None:
    dense = people(np.zeros(16))
    gaps = Design.of(base.get("fairness").contrast(dense, dense), dense)
    wide = gaps.needed(5, changed=0.02, power=0.8)
    plain = design(100).needed(5, changed=0.02, power=0.8)
    assert wide is not None and plain is not None and wide > 2 * plain
