"""Power: how many independent prompts let a lossless model pass a margin.

The numbers are those of the gate itself: its clusters and their weights, its standard error, its
score bound, and its combination of sums. Only the answers are assumed.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from comptrust.gate import resampling
from comptrust.gate.statistics import CONFIDENCE, score_bound, students_t
from comptrust.trust.base import Dimension, Table
from comptrust.trust.contrast import Contrast

POWER = 0.80
"""The probability that a lossless model passes the whole verdict."""
CHANGED = 0.02
"""Share of answers that a lossless model is assumed to change."""
DRAWS = 4000
LARGEST = 1e6
"""Multiple of a suite beyond which no number of prompts is reported."""


@dataclass(frozen=True)
class Design:
    """What decides the power of a dimension: its clusters and how they add up."""

    weights: np.ndarray
    """Shape (m, k): points by which a flip of each cluster moves each sum."""
    contrast: Contrast
    spread: resampling.Spread

    @classmethod
    def of(cls, contrast: Contrast, table: Table) -> "Design":
        """Return the design of the prompts of a table."""
        numbers, count = resampling.clusters(table)
        sums = [np.bincount(numbers, row, count) for row in contrast.coefficients]
        return cls(np.stack(sums), contrast, resampling.spread(contrast, table))

    def passes(self, points: float, *, times: float, changed: float, power: float) -> bool:
        """Return whether a lossless model passes with so many times the clusters.

        `changed` is the share of its clusters that flip, equally often in each direction.
        """
        if self.spread.degrees * times < 1:
            return False
        covariance = changed * self.weights @ self.weights.T / times
        rng = np.random.default_rng(0)
        sums = rng.multivariate_normal(np.zeros(len(covariance)), covariance, DRAWS, method="eigh")
        drops = self.contrast.combine(sums)
        error, step = float(drops.std()), self.spread.step / times
        width = score_bound(
            0.0, standard_error=error * students_t(self.spread.degrees * times), step=step
        )
        # Half a flip: counts are whole.
        luck = float(np.quantile(drops, power)) + (step / 2 if error else 0.0)
        return luck + width < points

    def needed(self, points: float, *, changed: float, power: float) -> int | None:
        """Return the fewest clusters like these with which a lossless model passes.

        It passes with probability `power`. None: no number is enough.
        """
        clusters = self.spread.clusters
        low, high = 1 / clusters, 1.0
        while not self.passes(points, times=high, changed=changed, power=power):
            low, high = high, 2 * high
            if high > LARGEST:
                return None
        while high / low > 1 + 0.5 / clusters and math.ceil(high * clusters) > 1:
            middle = math.sqrt(low * high)
            if self.passes(points, times=middle, changed=changed, power=power):
                high = middle
            else:
                low = middle
        return math.ceil(high * clusters)


def items(dimension: Dimension, table: Table) -> int:
    """Return how many items of a dimension are scored, as the gate counts them."""
    return len(set(table.cluster[dimension.shares(table) > 0].tolist()))


def each(dimensions: int, *, power: float = POWER) -> float:
    """Return the power that each dimension needs for the whole verdict to have `power`."""
    return float(power ** (1 / max(1, dimensions)))


def need(
    design: Design, points: float, *, flips: int, prompts: int, power: float
) -> tuple[int | None, int | None]:
    """Return what a lossless model needs that changes answers as often as a candidate did.

    The ends are those of the share of changed answers (90%, Clopper-Pearson 1934); None: no number
    is enough.
    """
    shares = stats.binomtest(flips, prompts).proportion_ci(2 * CONFIDENCE - 1, method="exact")
    low, high = (design.needed(points, changed=share, power=power) for share in shares)
    return low, high
