"""Paired statistics of the gate: how far a dimension fell, and how certain that is."""

import math
import operator
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from pydantic import Field
from scipy import special  # type: ignore[import-untyped]

from comptrust.errors import UserError
from comptrust.gate import resampling
from comptrust.records import TOO_LONG, Record, Result
from comptrust.trust.base import Dimension, Table
from comptrust.trust.contrast import Contrast

CONFIDENCE = 0.95
SKEW = 0.18
"""Clusters added to the bound.

With it, the score bound is within 1% of Clopper-Pearson's for 0 to 20 one-sided flips.
"""
RESAMPLES = 10_000
ROUNDING = 1e-6
"""Points by which two ways to add up a score may differ."""


class Drop(Record):
    """How far one dimension of the candidate is below its dense source, in points (0-100).

    Positive is worse.
    """

    dimension: str
    observed: float
    """The drop of the published score."""
    statistic: str | None = None
    """What the bound is about, if not the published score."""
    estimate: float
    """The drop that the bound is about."""
    lower: float
    """Two-sided 90% bootstrap interval, lower end."""
    upper: float
    """One-sided 95% upper bound of the drop."""
    standard_error: float
    step: float
    """Points by which the heaviest cluster can move the drop."""
    n_prompts: int
    n_clusters: int
    """Independent items among the prompts, as far as they are scored."""
    n_flips: int
    """Prompts whose parsed answer changed."""
    n_withheld: int = Field(default=0, exclude_if=operator.not_)
    """Prompts without an answer by one of the two; the bound counts them as lost."""
    fidelity: float = 1.0
    """Share of a true drop that the classifier shows that scores the texts; the bound is divided by
    it.
    """
    mcnemar: float | None = None
    """Exact two-sided p that right -> wrong and wrong -> right are equally likely.

    None if the answers are not binary.
    """

    def outcome(self, points: float, *, proven: bool = False) -> Result:
        """Return block above the margin, pass if such a drop is ruled out, else inconclusive.

        If a block must be `proven`, the lower bound decides instead of the observed drop.
        """
        if (self.lower if proven else self.observed) > points:
            return "block"
        return "pass" if self.upper < points else "inconclusive"

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
    fidelity: float = 1.0,
    confidence: float = CONFIDENCE,
) -> Drop | None:
    """Return the paired drop of one dimension.

    The upper bound is the larger of the quantile of draws of the clusters and a score bound, which
    holds when few answers changed and the draws show no spread; `confidence` is that of each end.
    Prompts without a measured loss count as lost. Those beyond the dense model's context window are
    left out of both. `same_model` says that both are the same bytes with the same answers: then no
    drop is possible and the bound is 0. `fidelity` is that of the classifier that scores the texts,
    0-1, see `revealed`. Returns None if the tables are not the same prompts in the same order, or
    give no score. Raises UserError for a plug-in dimension whose shares and merits do not add up to
    its score.
    """
    if not same_prompts(candidate, baseline):
        return None
    fits = _fits(baseline)
    candidate, baseline = candidate.select(fits), baseline.select(fits)
    given = candidate.given & baseline.given
    answered = candidate.select(given), baseline.select(given)
    if answered[1].scenarios() != baseline.scenarios():
        return None
    point = observed(*answered, dimension=dimension)
    if not math.isfinite(point):
        return None

    contrast = dimension.contrast(candidate, baseline)
    contrast = replace(contrast, losses=np.where(given, contrast.losses, math.nan))
    bounds = interval(contrast, baseline, seed=seed, resamples=resamples, confidence=confidence)
    statistic = contrast.statistic or dimension.statistic
    if statistic is None and not contrast.unmeasured and abs(bounds.estimate - point) > ROUNDING:
        raise UserError(
            f"Dimension {dimension.name}: the shares and merits of its prompts give a drop of"
            f" {bounds.estimate:.3f} points, but its score dropped {point:.3f}. Define `shares` and"
            " `merit` so that they add up to the score, or name another `statistic`."
        )
    unchanged = point == 0 and candidate.answer.tolist() == baseline.answer.tolist()
    return Drop(
        dimension=dimension.name,
        statistic=statistic,
        observed=point,
        estimate=bounds.estimate,
        lower=bounds.lower,
        upper=0.0 if same_model and unchanged else revealed(bounds.upper, fidelity),
        standard_error=bounds.standard_error,
        step=bounds.spread.step,
        n_prompts=len(candidate.ids),
        n_clusters=bounds.spread.clusters,
        n_flips=int(np.sum(answered[0].answer != answered[1].answer)),
        n_withheld=int(np.sum(~given)),
        fidelity=fidelity,
        mcnemar=mcnemar(*answered),
    )


def observed(candidate: Table, baseline: Table, *, dimension: Dimension) -> float:
    """Return the drop of the published score, in points; NaN if there is none."""
    given = candidate.given & baseline.given
    answered = candidate.select(given), baseline.select(given)
    return round(_score(dimension, answered[1]) - _score(dimension, answered[0]), 9)


def same_prompts(first: Table, second: Table) -> bool:
    """Return whether two models answered the same prompts in the same order."""
    same = np.array_equal(first.ids, second.ids)
    return same and np.array_equal(first.scenario, second.scenario)


def points_withheld(candidate: Table, baseline: Table, *, dimension: Dimension) -> float:
    """Return the points that answers not given could add to the drop, as if all were lost.

    Infinite if the tables are not the same prompts.
    """
    if not np.array_equal(candidate.ids, baseline.ids):
        return math.inf
    fits = _fits(baseline)
    given = (candidate.given & baseline.given)[fits]
    return float(dimension.shares(baseline.select(fits))[~given].sum())


def _fits(table: Table) -> np.ndarray:
    """Return which prompts fit the model's context window, shape (n,)."""
    return np.array([table.withheld.get(row) != TOO_LONG for row in range(len(table.ids))])


class Interval(NamedTuple):
    """An estimated drop and its bounds, in points."""

    estimate: float
    lower: float
    upper: float
    standard_error: float
    spread: resampling.Spread


def interval(
    contrast: Contrast,
    table: Table,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return the interval of a contrast; each end is a bound of that confidence by itself."""
    spread = resampling.spread(contrast, table)
    estimate = contrast.estimate
    draws = contrast.combine(spread.draws(contrast.sums, seed=seed, n=resamples))
    # Where noise raises the drop, draws lie above the estimate, which has that noise in it already.
    draws += estimate - draws.mean()
    error = float(draws.std())
    widened = error * students_t(spread.degrees, confidence=confidence)
    upper = max(
        float(np.quantile(draws, confidence, method="higher")),
        score_bound(estimate, standard_error=widened, step=spread.step, confidence=confidence),
    )
    lower = float(np.quantile(draws, 1 - confidence, method="lower"))
    return Interval(estimate, lower, upper + contrast.unmeasured, error, spread)


def revealed(upper: float, fidelity: float) -> float:
    """Return the bound of the true drop, given that of the measured one.

    A classifier that errs as often on both models' texts shows only a part of a drop, its fidelity
    (Rogan and Gladen 1978; for scores, regression dilution: Spearman 1904).
    """
    return upper / fidelity if upper > 0 else upper


def score_bound(
    observed: float, *, standard_error: float, step: float, confidence: float = CONFIDENCE
) -> float:
    """Return the upper bound U that solves

        U = observed + SKEW step + z sqrt(standard_error^2 + (U - observed) step).

    The second term under the root is the spread that further losses would bring if the true drop
    were U (as in Wilson's interval). No loss in n prompts gives 3.0 / n, the rule of three.
    """
    z = float(special.ndtri(confidence))
    if not math.isfinite(standard_error):
        return math.inf
    # With x = U - observed, squaring gives x^2 - 2 half x + base^2 - (z standard_error)^2 = 0; the
    # larger root is the bound.
    base = SKEW * step
    half = (2 * base + z * z * step) / 2
    return observed + half + math.sqrt(half * half - base * base + (z * standard_error) ** 2)


def students_t(degrees: float, *, confidence: float = CONFIDENCE) -> float:
    """Return the factor by which Student's t replaces the normal distribution."""
    if degrees < 1:
        return math.inf
    return float(special.stdtrit(degrees, confidence) / special.ndtri(confidence))


def holm(p_values: Mapping[str, float], *, level: float = 1 - CONFIDENCE) -> tuple[str, ...]:
    """Return the names significant at a family-wise level (Holm 1979), smallest p first."""
    names = sorted(p_values, key=p_values.__getitem__)
    fails = [p_values[name] > level / (len(names) - rank) for rank, name in enumerate(names)]
    return tuple(names[: [*fails, True].index(True)])


def mcnemar(candidate: Table, baseline: Table) -> float | None:
    """Return the exact two-sided p of McNemar's test on `correct`, for clusters.

    A cluster is lost if more of its answers went from right to wrong than back, and won if fewer.
    None if the tables have no binary `correct`.
    """
    if not all("correct" in table.values for table in (candidate, baseline)):
        return None
    ours, dense = (table.values["correct"] for table in (candidate, baseline))
    both = np.isfinite(ours) & np.isfinite(dense)
    if not both.any() or not np.isin(np.stack([ours, dense])[:, both], (0, 1)).all():
        return None
    numbers, count = resampling.clusters(baseline)
    changes = np.bincount(numbers[both], (ours - dense)[both], minlength=count)
    lost, won = int(np.sum(changes < 0)), int(np.sum(changes > 0))
    return min(1.0, 2 * float(special.bdtr(min(lost, won), lost + won, 0.5)))


def _score(dimension: Dimension, table: Table) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        score = dimension.aggregate(table).get("score")
    return math.nan if score is None else float(score[0])
