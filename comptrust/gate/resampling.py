"""Bootstrap weights: how often each prompt counts in each resample.

Clusters are drawn with replacement within each scenario. Clusters of a scenario that hold the same
numbers are of one kind, and a resample only needs to know how many of each kind it drew. That is
one multinomial draw per kind instead of one uniform draw per cluster, with the same distribution.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from comptrust.trust.base import Dimension, Table, columns

MAX_WEIGHTS = 500_000
"""Weights held in memory at once: resamples x rows."""
MIN_CLUSTERS_PER_KIND = 4
"""Clusters per kind above which the multinomial draw is faster."""


@dataclass(frozen=True)
class Stratum:
    """One scenario: its rows, the kind of cluster each is in, and the clusters of each kind."""

    rows: np.ndarray
    """Shape (n,), indices into the table."""
    kinds: np.ndarray
    """Shape (n,), from 0."""
    sizes: np.ndarray
    """Shape (kinds,)."""

    @property
    def clusters(self) -> int:
        return int(self.sizes.sum())

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw as many clusters as there are, with replacement, `count` times.

        Returns how many of each kind, shape (count, kinds).
        """
        k = len(self.sizes)
        if self.clusters > k:
            return rng.multinomial(self.clusters, self.sizes / self.clusters, size=count)
        # Every cluster is its own kind. Count the draws of all resamples in one pass, with the
        # kinds of resample r numbered from r k.
        drawn = rng.integers(0, k, size=(count, k), dtype=np.int32)
        drawn += np.arange(0, count * k, k, dtype=np.int32)[:, None]
        return np.bincount(drawn.ravel(), minlength=count * k).reshape(count, k)


def strata(table: Table) -> list[Stratum]:
    """Return a table's scenarios, with each cluster its own kind.

    A scenario that is a single cluster is resampled prompt by prompt.
    """
    scenarios = []
    for scenario in table.scenarios():
        rows = table.where(scenario)
        _, codes = np.unique(table.cluster[rows].astype(str), return_inverse=True)
        kinds = codes if codes.max() > 0 else np.arange(len(rows))
        scenarios.append(Stratum(rows, kinds, np.ones(int(kinds.max()) + 1, dtype=np.int64)))
    return scenarios


def condensed(tables: Sequence[Table], dimension: Dimension) -> tuple[list[Table], list[Stratum]]:
    """Return tables of the same prompts with one cluster of each kind, and their scenarios.

    They stay as they are if the dimension looks at more than numbers, or where little is saved.
    """
    whole = strata(tables[0])
    if not all(dimension.interchangeable(table) for table in tables):
        return list(tables), whole
    # Rows are alike if all numbers of all tables are, bit for bit (NaN included): compare them as
    # raw bytes, one void value per row.
    numeric = [column for table in tables for column in (table.refusal, *table.values.values())]
    numbers = np.ascontiguousarray(np.column_stack(numeric))
    raw = numbers.view([("", np.void, numbers.strides[0])]).ravel()
    _, codes = np.unique(raw, return_inverse=True)
    kept = [_condensed(stratum, codes) for stratum in whole]
    rows = np.sort(np.concatenate([stratum.rows for stratum in kept]))
    renumbered = [
        Stratum(np.searchsorted(rows, stratum.rows), stratum.kinds, stratum.sizes)
        for stratum in kept
    ]
    return [table.take(rows) for table in tables], renumbered


def _condensed(stratum: Stratum, codes: np.ndarray) -> Stratum:
    """Keep the first cluster of each kind: those whose rows have the same codes, in any order."""
    by_cluster = np.argsort(stratum.kinds, kind="stable")
    members = np.split(by_cluster, np.cumsum(np.bincount(stratum.kinds))[:-1])
    alike: dict[tuple[int, ...], list[int]] = {}
    for cluster, places in enumerate(members):
        content = tuple(sorted(codes[stratum.rows[places]].tolist()))
        alike.setdefault(content, []).append(cluster)
    if MIN_CLUSTERS_PER_KIND * len(alike) > len(members):
        return stratum
    # The kept rows stay in the table's order, in which sums are taken.
    kinds = {
        place: kind
        for kind, clusters in enumerate(alike.values())
        for place in members[clusters[0]].tolist()
    }
    kept = sorted(kinds)
    return Stratum(
        rows=stratum.rows[kept],
        kinds=np.array([kinds[place] for place in kept]),
        sizes=np.array([len(clusters) for clusters in alike.values()]),
    )


def resampled(groups: Sequence[Stratum], *, seed: int, n: int) -> Iterator[np.ndarray]:
    """Yield weights of shape (R', rows) until there are n resamples.

    In each, k of a scenario's k clusters are drawn with replacement.
    """
    rng = np.random.default_rng(seed)
    width = sum(len(stratum.rows) for stratum in groups)
    size = max(1, MAX_WEIGHTS // width)
    for start in range(0, n, size):
        count = min(size, n - start)
        weights = np.empty((count, width), dtype=np.float64)
        for stratum in groups:
            drawn = stratum.draw(rng, count)
            # One row per kind, in order: the draws are the weights. Saves a copy.
            one_each = np.array_equal(stratum.kinds, np.arange(len(stratum.sizes)))
            weights[:, columns(stratum.rows)] = drawn if one_each else drawn[:, stratum.kinds]
        yield weights


def left_out(groups: Sequence[Stratum], scenario: Stratum) -> Iterator[np.ndarray]:
    """Yield weights of shape (R', rows), each with one cluster of a scenario left out.

    Clusters of a kind give the same weights, so each kind is left out once.
    """
    width = sum(len(stratum.rows) for stratum in groups)
    base = np.empty(width)
    for stratum in groups:
        base[stratum.rows] = stratum.sizes[stratum.kinds]
    size = max(1, MAX_WEIGHTS // width)
    kinds = len(scenario.sizes)
    for start in range(0, kinds, size):
        lost = np.arange(start, min(kinds, start + size))
        weights = np.tile(base, (len(lost), 1))
        weights[:, scenario.rows] -= scenario.kinds[None, :] == lost[:, None]
        yield weights
