"""Paired statistics of the gate.

How far a dimension fell, how certain that is, and how many prompts would decide.
"""

import bisect
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special  # type: ignore[import-untyped]

from comptrust.gate.resampling import Stratum, condensed, left_out, resampled
from comptrust.records import Record, Result
from comptrust.trust.base import Dimension, Table

CONFIDENCE = 0.95
POWER = 0.80
RESAMPLES = 10_000
CHANGED = 0.02
"""Share of answers that a lossless model is assumed to change."""
SKEW = 0.18
"""Clusters added to the bound.

With it, the score bound is within 1% of Clopper-Pearson's for 0 to 20 one-sided flips.
"""


class Drop(Record):
    """How far one dimension of the candidate is below its dense source, in points (0-100).

    Positive is worse.
    """

    dimension: str
    observed: float
    lower: float
    """Two-sided 90% bootstrap interval, lower end."""
    upper: float
    """One-sided 95% upper bound of the drop."""
    standard_error: float
    step: float
    """Points by which one flipped cluster can move the drop."""
    n_prompts: int
    n_clusters: int
    n_flips: int
    """Prompts whose parsed answer changed."""
    mcnemar: float | None = None
    """Exact two-sided p that right -> wrong and wrong -> right are equally likely.

    None if the answers are not binary.
    """

    def outcome(self, points: float) -> Result:
        """Return block above the margin, pass if such a drop is ruled out, else inconclusive."""
        if self.observed > points:
            return "block"
        return "pass" if self.upper < points else "inconclusive"

    def prompts_to_decide(self, points: float) -> int | None:
        """Return how many prompts like these would decide with power POWER.

        The true drop is assumed to be the observed one. None: no number would.
        """
        room = abs(points - self.observed)
        if room == 0 or not math.isfinite(self.upper):
            return None
        n = self.n_prompts
        return needed(room, spread=self.standard_error * math.sqrt(n), step=self.step * n)

    def p_beyond(self, points: float) -> float:
        """Return the one-sided p of "the true drop is at most `points`".

        It comes from the bootstrap's standard error.
        """
        if self.standard_error == 0:
            return 0.0 if self.observed > points + self.step else 1.0
        return float(special.ndtr((points - self.observed) / self.standard_error))


def compare(
    candidate: Table,
    baseline: Table,
    *,
    dimension: Dimension,
    seed: int = 0,
    resamples: int = RESAMPLES,
    same_model: bool = False,
) -> Drop | None:
    """Return the paired drop of one dimension.

    Clusters are drawn with replacement within each scenario, the same draw for both models, and the
    dimension's own aggregate is recomputed for each. The upper bound is the larger of the
    bootstrap's 95th percentile and a score bound, which holds when few answers changed and the
    bootstrap sees no spread. `same_model` says that both are the same bytes with the same answers:
    then no drop is possible and the bound is 0. Returns None if the tables are not the same prompts
    in the same order, or give no score.
    """
    same_prompts = candidate.ids.tolist() == baseline.ids.tolist()
    if not same_prompts or candidate.scenario.tolist() != baseline.scenario.tolist():
        return None
    point = round(float(_drops(dimension, candidate, baseline, None)[0]), 9)
    if not math.isfinite(point):
        return None

    # From here on the tables are condensed; weights say how often each row counts.
    (ours, dense), strata = condensed([candidate, baseline], dimension)
    weightings = resampled(strata, seed=seed, n=resamples)
    draws = np.concatenate([_drops(dimension, ours, dense, weights) for weights in weightings])
    # A resample without a score could have been any drop, so it counts as the worst.
    draws = np.where(np.isfinite(draws), draws, np.inf)
    percentile = float(np.quantile(draws, CONFIDENCE, method="higher"))
    finite = draws[np.isfinite(draws)]
    error = float(finite.std()) if len(finite) else math.inf

    # The score bound: one observation per cluster, one mean per scenario to estimate.
    step = _step(dimension, ours, dense, strata)
    clusters = sum(stratum.clusters for stratum in strata)
    widened = error * _small_sample(clusters, degrees=clusters - len(strata))
    upper = max(percentile, score_bound(point, standard_error=widened, step=step))
    if same_model and point == 0 and candidate.answer.tolist() == baseline.answer.tolist():
        upper = 0.0
    return Drop(
        dimension=dimension.name,
        observed=point,
        lower=float(np.quantile(draws, 1 - CONFIDENCE, method="lower")),
        upper=upper,
        standard_error=error,
        step=step,
        n_prompts=len(candidate.ids),
        n_clusters=clusters,
        n_flips=int(np.sum(candidate.answer != baseline.answer)),
        mcnemar=mcnemar(candidate, baseline),
    )


def score_bound(observed: float, *, standard_error: float, step: float) -> float:
    """Return the upper bound U that solves

        U = observed + SKEW step + z sqrt(standard_error^2 + (U - observed) step).

    The second term under the root is the spread that further losses would bring if the true drop
    were U (as in Wilson's interval). No loss in n prompts gives 3.0 / n, the rule of three.
    """
    z = float(special.ndtri(CONFIDENCE))
    if not math.isfinite(standard_error):
        return math.inf
    # With x = U - observed, squaring gives x^2 - 2 half x + base^2 - (z standard_error)^2 = 0; the
    # larger root is the bound.
    base = SKEW * step
    half = (2 * base + z * z * step) / 2
    return observed + half + math.sqrt(half * half - base * base + (z * standard_error) ** 2)


def needed(room: float, *, spread: float, step: float, power: float = POWER) -> int:
    """Return the smallest n at which a true drop `room` points below the margin passes.

    It passes with probability `power`. `spread` is the standard deviation of one prompt's drop and
    `step` the points by which one flip moves a set of one prompt.
    """

    def decides(n: int) -> bool:
        """Whether n prompts pass that drop with that power."""
        error = spread / math.sqrt(n)
        # The observed drop may be this far above the true one. Half a flip: counts are whole.
        luck = special.ndtri(power) * error + (step / n / 2 if error else 0.0)
        return bool(luck + score_bound(0.0, standard_error=error, step=step / n) < room)

    # More prompts always help: double until n decides, then bisect.
    high = 1
    while not decides(high):
        high *= 2
    return bisect.bisect_left(range(high), True, lo=high // 2 + 1, key=decides)


def plan(points: float, *, changed: float = CHANGED, power: float = POWER) -> int:
    """Return the prompts per dimension with which a lossless model passes a margin of `points`.

    It passes with probability `power`. `changed` is the share of its answers that change from right
    to wrong or back; a lossless model changes as many one way as the other.
    """
    return needed(points, spread=100 * math.sqrt(changed), step=100.0, power=power)


def holm(p_values: Mapping[str, float], *, level: float = 1 - CONFIDENCE) -> tuple[str, ...]:
    """Return the names that are significant at a family-wise level, smallest p first.

    Holm 1979.
    """
    significant: list[str] = []
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda pair: pair[1])):
        if p > level / (len(p_values) - rank):
            break
        significant.append(name)
    return tuple(significant)


def mcnemar(candidate: Table, baseline: Table) -> float | None:
    """Return the exact two-sided p of McNemar's test on `correct`.

    None if the tables have no binary `correct`.
    """
    if not all("correct" in table.values for table in (candidate, baseline)):
        return None
    pairs = np.stack([table.values["correct"] for table in (candidate, baseline)])
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    if not pairs.size or not np.isin(pairs, (0, 1)).all():
        return None
    lost, won = int(np.sum(pairs[0] < pairs[1])), int(np.sum(pairs[0] > pairs[1]))
    return min(1.0, 2 * float(special.bdtr(min(lost, won), lost + won, 0.5)))


def _drops(
    dimension: Dimension, candidate: Table, baseline: Table, weights: np.ndarray | None
) -> np.ndarray:
    """Return the drop for each weighting, shape (R,), NaN without a score."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ours, dense = dimension.score(candidate, weights), dimension.score(baseline, weights)
    drops: np.ndarray = np.full(1 if weights is None else len(weights), np.nan)
    if ours is not None and dense is not None:
        drops = np.asarray(dense, dtype=float) - np.asarray(ours, dtype=float)
    return drops


def _step(
    dimension: Dimension, candidate: Table, baseline: Table, strata: Sequence[Stratum]
) -> float:
    """Return the points that one cluster can move.

    At least 100 / clusters; more where a scenario's scores vary more when one cluster is left out.
    """
    largest = 100.0 / sum(stratum.clusters for stratum in strata)
    for stratum in strata:
        for table in (candidate, baseline):
            with np.errstate(divide="ignore", invalid="ignore"):
                scores = [dimension.score(table, weights) for weights in left_out(strata, stratum)]
            values = np.concatenate([np.empty(0), *(one for one in scores if one is not None)])
            values = values[np.isfinite(values)]
            if len(values):
                # Leave-one-out means range over n / (n - 1) times what one flip moves the mean.
                share = (stratum.clusters - 1) / stratum.clusters
                largest = max(largest, float(np.ptp(values)) * share)
    return largest


def _small_sample(clusters: int, *, degrees: int) -> float:
    """Return the factor by which few clusters widen a standard error.

    The bootstrap divides by n rather than by the degrees of freedom, and Student's t replaces the
    normal distribution.
    """
    if degrees < 1:
        return math.inf
    quantiles = special.stdtrit(degrees, CONFIDENCE) / special.ndtri(CONFIDENCE)
    return math.sqrt(clusters / degrees) * float(quantiles)
