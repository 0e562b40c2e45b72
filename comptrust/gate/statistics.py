"""Paired statistics of the gate: how far a dimension fell, how sure that is, and how many prompts
would decide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np

from comptrust.gate.distributions import heads_at_most, normal_below, student_quantile
from comptrust.gate.resampling import Stratum, condensed, left_out, resampled
from comptrust.records import Record, Result
from comptrust.trust.base import Dimension, Table

CONFIDENCE = 0.95
POWER = 0.80
RESAMPLES = 10_000
NORMAL = NormalDist()
SKEW = 0.18
"""Clusters added to the bound: with it the score bound equals Clopper-Pearson's within 1% for 0 to
20 one-sided flips.
"""


class Drop(Record):
    """How far one dimension of the candidate lies below its dense source, in points (0-100);
    positive is worse.
    """

    dimension: str
    observed: float
    lower: float
    """Two-sided 90% bootstrap interval, lower end."""
    upper: float
    """One-sided 95% upper bound of the drop."""
    standard_error: float
    step: float
    """Points that one flipped cluster can move the drop."""
    n_prompts: int
    n_clusters: int
    n_flips: int
    """Prompts whose parsed answer changed."""
    mcnemar: float | None = None
    """Exact two-sided p that right -> wrong and wrong -> right are equally likely; None if not
    binary.
    """

    def outcome(self, points: float) -> Result:
        """Return block if more than `points` were lost, pass if a greater loss is ruled out, else
        inconclusive.
        """
        if self.observed > points:
            return "block"
        return "pass" if self.upper < points else "inconclusive"

    def prompts_to_decide(self, points: float, *, power: float = POWER) -> int | None:
        """Return how many prompts of this kind decide with that power if the true drop is the
        observed one; None: no number does.
        """
        room = abs(points - self.observed)
        if room == 0 or not math.isfinite(self.upper):
            return None
        spread = self.standard_error * math.sqrt(self.n_prompts)
        return needed(room, spread=spread, step=self.step * self.n_prompts, power=power)

    def p_beyond(self, points: float) -> float:
        """Return the one-sided p of `the true drop is at most points`, from the bootstrap's
        standard error.
        """
        if self.standard_error == 0:
            return 0.0 if self.observed > points + self.step else 1.0
        return normal_below((points - self.observed) / self.standard_error)


def compare(
    candidate: Table,
    baseline: Table,
    *,
    dimension: Dimension,
    seed: int = 0,
    resamples: int = RESAMPLES,
    same_model: bool = False,
) -> Drop | None:
    """Return the paired drop of one dimension, or None if the two tables are not the same prompts
    in the same order or give no score.

    Clusters are drawn with replacement within each scenario, the same draw for both models, and the
    dimension's own aggregate is recomputed for each. The upper bound is the larger of the
    bootstrap's 95th percentile and a score bound, which holds when few answers changed and the
    bootstrap sees no spread. `same_model` says that both are the same bytes answering alike: then
    no drop is possible and the bound is 0.
    """
    if (
        candidate.ids.tolist() != baseline.ids.tolist()
        or candidate.scenario.tolist() != baseline.scenario.tolist()
    ):
        return None
    observed = _drops(dimension, candidate, baseline, None)
    if observed is None or not np.isfinite(observed[0]):
        return None
    (mine, dense), groups = condensed([candidate, baseline], dimension)
    draws = np.concatenate(
        [
            _required(dimension, mine, dense, weights)
            for weights in resampled(groups, seed=seed, n=resamples)
        ]
    )
    draws = np.where(np.isfinite(draws), draws, np.inf)
    step = _step(dimension, mine, dense, groups)
    finite = draws[np.isfinite(draws)]
    error = float(finite.std()) if len(finite) else math.inf
    percentile = float(np.quantile(draws, CONFIDENCE, method="higher"))
    point = round(float(observed[0]), 9)
    count = sum(one.clusters for one in groups)
    margin_error = error * _small_sample(count, degrees=count - len(groups))
    exact = same_model and point == 0 and candidate.answer.tolist() == baseline.answer.tolist()
    return Drop(
        dimension=dimension.name,
        observed=point,
        lower=float(np.quantile(draws, 1 - CONFIDENCE, method="lower")),
        upper=(
            0.0
            if exact
            else max(percentile, score_bound(point, standard_error=margin_error, step=step))
        ),
        standard_error=error,
        step=step,
        n_prompts=len(candidate.ids),
        n_clusters=count,
        n_flips=int(np.sum(candidate.answer != baseline.answer)),
        mcnemar=mcnemar(candidate, baseline),
    )


def score_bound(
    observed: float, *, standard_error: float, step: float, confidence: float = CONFIDENCE
) -> float:
    """Return the upper bound U that solves U = observed + SKEW step + z sqrt(standard_error^2 + (U
    - observed) step).

    The second term of the root is the spread that the further losses would bring if the true drop
    were U (as in Wilson's interval): no loss seen in n prompts gives 3.0 / n, the rule of three.
    """
    z = NORMAL.inv_cdf(confidence)
    if not math.isfinite(standard_error):
        return math.inf
    base = SKEW * step
    half = (2 * base + z * z * step) / 2
    rest = half * half - base * base + (z * standard_error) ** 2
    return observed + half + math.sqrt(rest)


def needed(
    room: float, *, spread: float, step: float, power: float = POWER, confidence: float = CONFIDENCE
) -> int:
    """Return the smallest n at which a true drop `room` points below the margin passes with this
    power.

    `spread` is the standard deviation of one prompt's drop, `step` the points that one flip in a
    set of one prompt moves.
    """
    if room <= 0:
        raise ValueError("room must be positive")
    high = 1
    while not _decides(high, room, spread, step, power, confidence):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (low, middle)
            if _decides(middle, room, spread, step, power, confidence)
            else (middle, high)
        )
    return high


def plan(
    points: float, *, changed: float = 0.02, power: float = POWER, confidence: float = CONFIDENCE
) -> int:
    """Return the prompts per dimension with which a lossless model passes a margin of `points` with
    this power.

    `changed` is the share of answers that change from right to wrong or back; a lossless model
    changes as many one way as the other.
    """
    return needed(
        points, spread=100 * math.sqrt(changed), step=100.0, power=power, confidence=confidence
    )


def holm(p_values: Mapping[str, float], *, level: float = 1 - CONFIDENCE) -> tuple[str, ...]:
    """Return the names that are significant at a family-wise level, smallest p first (Holm
    1979)."""
    kept: list[str] = []
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda pair: pair[1])):
        if p > level / (len(p_values) - rank):
            break
        kept.append(name)
    return tuple(kept)


def mcnemar(candidate: Table, baseline: Table) -> float | None:
    """Return the exact two-sided p of McNemar's test on `correct`; None if the tables have no
    binary `correct`.
    """
    if "correct" not in candidate.values or "correct" not in baseline.values:
        return None
    mine, dense = candidate.values["correct"], baseline.values["correct"]
    both = np.isfinite(mine) & np.isfinite(dense)
    if not both.any() or not np.isin(np.concatenate([mine[both], dense[both]]), (0, 1)).all():
        return None
    lost, won = int(np.sum((dense > mine)[both])), int(np.sum((mine > dense)[both]))
    return min(1.0, 2 * heads_at_most(min(lost, won), lost + won))


def _drops(
    dimension: Dimension, candidate: Table, baseline: Table, weights: np.ndarray | None
) -> np.ndarray | None:
    with np.errstate(divide="ignore", invalid="ignore"):
        mine, dense = dimension.score(candidate, weights), dimension.score(baseline, weights)
    return (
        None
        if mine is None or dense is None
        else np.asarray(dense, dtype=float) - np.asarray(mine, dtype=float)
    )


def _required(
    dimension: Dimension, candidate: Table, baseline: Table, weights: np.ndarray
) -> np.ndarray:
    drops = _drops(dimension, candidate, baseline, weights)
    return np.full(len(weights), np.nan) if drops is None else drops


def _step(
    dimension: Dimension, candidate: Table, baseline: Table, groups: Sequence[Stratum]
) -> float:
    """Return the points that one cluster can move: at least 100 / clusters, or the range of
    leave-one-out scores in some scenario.
    """
    largest = 100.0 / sum(one.clusters for one in groups)
    for one in groups:
        for table in (candidate, baseline):
            with np.errstate(divide="ignore", invalid="ignore"):
                scores = [dimension.score(table, weights) for weights in left_out(groups, one)]
            values = np.concatenate(
                [score for score in scores if score is not None] or [np.empty(0)]
            )
            values = values[np.isfinite(values)]
            if len(values):
                largest = max(largest, float(np.ptp(values)) * (one.clusters - 1) / one.clusters)
    return largest


def _small_sample(count: int, *, degrees: int) -> float:
    """Return the factor by which few clusters widen a standard error: the bootstrap's divisor, and
    Student's t for the normal.
    """
    if degrees < 1:
        return math.inf
    return (
        math.sqrt(count / degrees)
        * student_quantile(CONFIDENCE, degrees)
        / NORMAL.inv_cdf(CONFIDENCE)
    )


def _decides(
    n: int, room: float, spread: float, step: float, power: float, confidence: float
) -> bool:
    error = spread / math.sqrt(n)
    lucky = NORMAL.inv_cdf(power) * error + (
        step / n / 2 if error else 0.0
    )  # half a flip: counts are whole numbers
    return bool(
        lucky + score_bound(0.0, standard_error=error, step=step / n, confidence=confidence) < room
    )
