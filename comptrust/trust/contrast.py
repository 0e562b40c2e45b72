"""Contrasts: the drop that the gate decides on, as sums over prompts, so that its error is known.

A published score can hide a drop: the mean of |gaps| is biased upwards by noise, most where the
gaps are small (Lum et al. 2022, De-biasing "bias" measurement), and rounding hides up to half a
step. A contrast is linear in what each prompt lost, up to one last step that can only raise it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Contrast:
    """The drop between two models on the same n prompts, in points, from m weighted sums."""

    losses: np.ndarray
    """Shape (n,): what the candidate lost on each prompt, from -1 to 1; NaN if not measured."""
    coefficients: np.ndarray
    """Shape (m, n): points per unit of loss; 0 where a prompt is not part of a sum."""
    cells: np.ndarray
    """Shape (m, n): prompts with the same number are averaged together in that sum."""
    shares: np.ndarray
    """Shape (n,): points by which losing this prompt alone can move the drop."""
    combine: Callable[[np.ndarray], np.ndarray] = np.ravel
    """Sums (R, m), by default one, -> drops (R,). Noise in the sums may raise it, never lower."""
    statistic: str | None = None
    """What the drop is of, if that is not what the dimension's `statistic` says."""

    @property
    def linear(self) -> bool:
        """Whether the drop is one weighted sum."""
        return len(self.coefficients) == 1 and self.combine is np.ravel

    @property
    def sums(self) -> np.ndarray:
        """The sums, shape (m,); a prompt that was not measured adds nothing."""
        return np.asarray(self.coefficients @ np.nan_to_num(self.losses))

    @property
    def estimate(self) -> float:
        """The drop, in points."""
        return float(self.combine(self.sums[None, :])[0])

    @property
    def unmeasured(self) -> float:
        """Points that prompts without a measured loss could add to the drop."""
        return float(self.shares[np.isnan(self.losses)].sum())
