"""Resampling of clusters: what a score or a drop would be with other prompts of the same kind.

A cluster is what stands behind prompts: an item, a passage, a person. It may occur in several
scenarios, seeds or styles, and its prompts then share their fate, so a cluster is drawn once for
all of them. Each draw gives every cluster an independent weight with mean 1 and variance 1,
exponentially distributed (the Bayesian bootstrap, Rubin 1981). Unlike counts, such weights never
leave a scenario without prompts.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse  # type: ignore[import-untyped]
from scipy.sparse import csgraph  # type: ignore[import-untyped]

from comptrust.trust.base import Table
from comptrust.trust.contrast import Contrast

MAX_WEIGHTS = 500_000
"""Weights held in memory at once: draws x clusters."""


def clusters(table: Table) -> tuple[np.ndarray, int]:
    """Return the number of each prompt's cluster, shape (n,), and how many there are."""
    names, numbers = np.unique(table.cluster.astype(str), return_inverse=True)
    return numbers, len(names)


def weightings(table: Table, *, seed: int, n: int) -> Iterator[np.ndarray]:
    """Yield weights of prompts, shape (draws, n prompts), until there are n draws."""
    numbers, count = clusters(table)
    rng = np.random.default_rng(seed)
    size = max(1, MAX_WEIGHTS // len(numbers))
    for start in range(0, n, size):
        yield rng.standard_exponential((min(size, n - start), count))[:, numbers]


@dataclass(frozen=True)
class Spread:
    """How a contrast varies with its clusters."""

    residuals: np.ndarray
    """Shape (kinds, m): how one cluster of each kind moves each sum, in points."""
    sizes: np.ndarray
    """Shape (kinds,): clusters of each kind, which move the sums alike."""
    step: float
    """Points by which the heaviest cluster can move the drop."""
    degrees: float
    """Degrees of freedom of the standard error; unequal clusters count as fewer equal ones."""

    @property
    def clusters(self) -> int:
        """The number of clusters."""
        return int(self.sizes.sum())

    def draws(self, sums: np.ndarray, *, seed: int, n: int) -> np.ndarray:
        """Return n draws of the sums, shape (n, m)."""
        rng = np.random.default_rng(seed)
        size = max(1, MAX_WEIGHTS // len(self.sizes))
        # The weights of k clusters that move the sums alike add up to a gamma variable.
        parts = [
            (rng.standard_gamma(self.sizes, (min(size, n - start), len(self.sizes))) - self.sizes)
            @ self.residuals
            for start in range(0, n, size)
        ]
        return np.asarray(sums + np.concatenate(parts))


def spread(contrast: Contrast, table: Table) -> Spread:
    """Return how a contrast varies with the clusters of its prompts.

    Without a prompt that counts there are no degrees of freedom, and so no bound.

    A mean over k clusters estimates its own center, so its residuals are widened by
    sqrt(k / (k - 1)). A mean over a single cluster shows no spread at all: such means are put
    together and take each other's spread (collapsed strata, Cochran 1977, 5A.12).
    """
    numbers, count = clusters(table)
    losses = np.nan_to_num(contrast.losses)
    residuals = np.zeros((count, len(contrast.coefficients)))
    for column, (coefficients, cells) in enumerate(
        zip(contrast.coefficients, contrast.cells, strict=True)
    ):
        used = np.flatnonzero(coefficients)
        parts = _centered(losses[used], coefficients[used], cells[used], numbers[used])
        residuals[:, column] = np.bincount(numbers[used], weights=parts, minlength=count)
    weights = np.bincount(numbers, weights=contrast.shares, minlength=count)
    scored = weights > 0
    if not scored.any():
        return Spread(residuals[:1], np.ones(1, dtype=int), step=100.0, degrees=0.0)
    kinds, sizes = np.unique(residuals[scored].round(12), axis=0, return_counts=True)
    return Spread(
        residuals=kinds,
        sizes=sizes,
        step=float(weights.max()),
        degrees=_degrees(weights[scored], _islands(table, numbers, contrast.shares)),
    )


def _centered(
    losses: np.ndarray, coefficients: np.ndarray, cells: np.ndarray, clusters: np.ndarray
) -> np.ndarray:
    """Return how each prompt moves the sum: its loss less its cell's mean, times its coefficient.

    All shapes are (n,).
    """
    _, cells = np.unique(cells, return_inverse=True)
    # Clusters of each cell.
    sizes = np.bincount(np.unique(np.stack([cells, clusters]), axis=1)[0])
    if (sizes == 1).any():
        cells = np.where(sizes[cells] == 1, len(sizes), cells)
        sizes = np.bincount(np.unique(np.stack([cells, clusters]), axis=1)[0])
    if (sizes == 1).any():
        # A single one is left: all prompts take each other's spread.
        cells, sizes = np.zeros(len(cells), dtype=int), np.array([len(np.unique(clusters))])
    share = np.abs(coefficients)
    means = np.bincount(cells, share * losses) / np.maximum(np.bincount(cells, share), 1e-300)
    widening = np.sqrt(sizes / np.maximum(sizes - 1, 1))
    return np.asarray(coefficients * (losses - means[cells]) * widening[cells])


def _islands(table: Table, clusters: np.ndarray, shares: np.ndarray) -> int:
    """Count the groups of scenarios that share no cluster with another group."""
    scored = shares > 0
    links = np.stack([table.scenario_numbers[scored], clusters[scored]])
    scenarios = int(links[0].max()) + 1
    size = scenarios + int(links[1].max()) + 1
    ones = np.ones(links.shape[1])
    graph = sparse.coo_array((ones, (links[0], scenarios + links[1])), shape=(size, size))
    _, labels = csgraph.connected_components(graph, directed=False)
    return len(np.unique(labels[links[0]]))


def _degrees(weights: np.ndarray, islands: int) -> float:
    """Return the degrees of freedom: the effective number of clusters, less one per island.

    Clusters of unequal weight count as (sum w^2)^2 / sum w^4 equal ones (Satterthwaite 1946).
    """
    squares = weights**2
    effective = float(squares.sum() ** 2 / (squares**2).sum())
    return effective * (1 - islands / len(weights))
