"""Bootstrap weights: how often each prompt counts in each resample, clusters drawn with replacement
within each scenario.

Clusters of a scenario that hold the same numbers count alike, so a resample needs only to know how
many of each kind it drew. That is one multinomial draw for each kind instead of one uniform draw
for each cluster: of the same distribution, whatever the number of prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from comptrust.trust.base import Dimension, Table, columns

CHUNK = 500_000
"""Weights held at once, R' x n."""
CHEAPER = 4
"""Clusters of a kind from which on the multinomial draw is the faster one."""


@dataclass(frozen=True)
class Stratum:
    """One scenario: its rows, the kind of cluster that each belongs to, and how many clusters are
    of each kind.
    """

    rows: np.ndarray
    """Shape (n,), indices into the table."""
    kinds: np.ndarray
    """Shape (n,), from 0."""
    sizes: np.ndarray
    """Shape (kinds,)."""

    @property
    def clusters(self) -> int:
        """Number of clusters."""
        return int(self.sizes.sum())

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw as many clusters as there are, with replacement, `count` times; return how many of
        each kind, shape (count, kinds).
        """
        k = len(self.sizes)
        if self.clusters > k:
            return rng.multinomial(self.clusters, self.sizes / self.clusters, size=count)
        drawn = rng.integers(0, k, size=(count, k), dtype=np.int32)
        drawn += np.arange(0, count * k, k, dtype=np.int32)[:, None]
        return np.bincount(drawn.ravel(), minlength=count * k).reshape(count, k)


def strata(table: Table) -> list[Stratum]:
    """Return a table's scenarios, each cluster a kind of its own; a scenario that is one single
    cluster is resampled prompt by prompt.
    """
    found = []
    for scenario in table.scenarios():
        rows = table.where(scenario)
        _, codes = np.unique(table.cluster[rows].astype(str), return_inverse=True)
        kinds = codes if codes.max() > 0 else np.arange(len(rows))
        found.append(Stratum(rows, kinds, np.ones(int(kinds.max()) + 1, dtype=np.int64)))
    return found


def condensed(tables: Sequence[Table], dimension: Dimension) -> tuple[list[Table], list[Stratum]]:
    """Return tables of the same prompts with one cluster of each kind, and their scenarios; as they
    are where that saves little.
    """
    whole = strata(tables[0])
    if not all(dimension.interchangeable(table) for table in tables):
        return list(tables), whole
    numbers = np.column_stack(
        [column for table in tables for column in (table.refusal, *table.values.values())]
    )
    _, codes = np.unique(
        np.ascontiguousarray(numbers).view([("", np.void, numbers.strides[0])]).ravel(),
        return_inverse=True,
    )
    kept = [_condensed(stratum, codes) for stratum in whole]
    rows = np.sort(np.concatenate([stratum.rows for stratum in kept]))
    moved = [
        Stratum(np.searchsorted(rows, stratum.rows), stratum.kinds, stratum.sizes)
        for stratum in kept
    ]
    return [table.take(rows) for table in tables], moved


def _condensed(stratum: Stratum, codes: np.ndarray) -> Stratum:
    """Keep the first cluster of each kind: those whose rows have the same codes, in any order."""
    members: list[list[int]] = [[] for _ in stratum.sizes]
    for at, cluster in enumerate(stratum.kinds.tolist()):
        members[cluster].append(at)
    alike: dict[tuple[int, ...], list[int]] = {}
    for cluster, places in enumerate(members):
        alike.setdefault(tuple(sorted(codes[stratum.rows[places]].tolist())), []).append(cluster)
    if CHEAPER * len(alike) > len(members):
        return stratum
    kinds = [
        (kind, at) for kind, clusters in enumerate(alike.values()) for at in members[clusters[0]]
    ]
    order = sorted(kinds, key=lambda pair: pair[1])
    return Stratum(
        rows=stratum.rows[[at for _, at in order]],
        kinds=np.array([kind for kind, _ in order]),
        sizes=np.array([len(clusters) for clusters in alike.values()]),
    )


def resampled(groups: Sequence[Stratum], *, seed: int, n: int) -> Iterator[np.ndarray]:
    """Yield weights of shape (R', rows) until there are n resamples: k of a scenario's k clusters
    drawn with replacement.
    """
    rng = np.random.default_rng(seed)
    width = sum(len(one.rows) for one in groups)
    size = max(1, CHUNK // width)
    for start in range(0, n, size):
        count = min(size, n - start)
        weights = np.empty((count, width), dtype=np.float64)
        for one in groups:
            drawn = one.draw(rng, count)
            weights[:, columns(one.rows)] = (
                drawn
                if np.array_equal(one.kinds, np.arange(len(one.sizes)))
                else drawn[:, one.kinds]
            )
        yield weights


def left_out(groups: Sequence[Stratum], one: Stratum) -> Iterator[np.ndarray]:
    """Yield weights of shape (R', rows) until each kind of a scenario's clusters has lost one of
    them.
    """
    width = sum(len(stratum.rows) for stratum in groups)
    base = np.empty(width)
    for stratum in groups:
        base[stratum.rows] = stratum.sizes[stratum.kinds]
    size = max(1, CHUNK // width)
    for start in range(0, len(one.sizes), size):
        lost = np.arange(start, min(len(one.sizes), start + size))
        weights = np.tile(base, (len(lost), 1))
        weights[:, one.rows] -= one.kinds[None, :] == lost[:, None]
        yield weights
