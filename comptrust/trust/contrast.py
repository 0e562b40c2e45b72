"""Contrasts: the drop that the gate decides on, as sums over prompts, so that its error is known.

A published score can hide a drop: the mean of |gaps| is biased upwards by noise, most where the
gaps are small (Lum et al. 2022, De-biasing "bias" measurement), and rounding hides up to half a
step. A contrast is linear in what each prompt lost, up to one last maximum that can only raise it.
"""

from dataclasses import dataclass, field

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
    faces: np.ndarray = field(default_factory=lambda: np.ones((1, 1)))
    """Shape (f, q), by default 1: each q sums in turn give the largest of f weighted ones of them;
    the drop is the total. So noise in the sums may raise it, never lower.
    """
    statistic: str | None = None
    """What the drop is of, if that is not what the dimension's `statistic` says."""

    def combine(self, sums: np.ndarray) -> np.ndarray:
        """Return the drops, shape (R,), of sums of shape (R, m)."""
        return np.asarray(self.by_face(sums).max(axis=2).sum(axis=1))

    def by_face(self, sums: np.ndarray) -> np.ndarray:
        """Return the weighted sums of sums (R, m), shape (R, m / q, f)."""
        return np.asarray(sums.reshape(len(sums), -1, self.faces.shape[1]) @ self.faces.T)

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
