"""Order: in which order a dimension's items are asked if an evaluation may stop early.

Each next item is drawn so that what it loses is, on average, the drop of the dimension, whatever
came before: first a stratum (the items that the same scenarios ask), with the probability of its
weight in the score, then the next of its items in their random order. A fixed turn of the strata
would not do: whoever knows whose turn it is knows more than the average. The order depends on the
seed, the dimension and the items alone.
"""

import bisect
import itertools
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from comptrust.records import Suite
from comptrust.trust import base, sample


@dataclass(frozen=True)
class Order:
    """The items of one dimension, in the order in which they are asked."""

    items: tuple[tuple[int, ...], ...]
    """Per item, the rows of its prompts among the dimension's; items without weight are left out.
    """
    shares: np.ndarray
    """Shape (n prompts,): points of the whole suite's score that each prompt holds."""
    scales: np.ndarray
    """Shape (k,): what a point of each item counts, so that k items average to the drop (0-1)."""
    exact: int
    """Items up to which that holds: then a stratum that was drawn has no item left, and the others
    follow in proportion.
    """

    def rows(self, stop: int) -> list[int]:
        """Return the rows of the first items, in the suite's order."""
        return sorted(itertools.chain.from_iterable(self.items[:stop]))


def of(suite: Suite, name: str, *, seed: int = sample.SEED) -> Order:
    """Return the order of one dimension of a whole suite."""
    prompts = suite.by_dimension()[name]
    table = sample.unanswered(prompts, dimension=name, suite=suite)
    shares = base.get(name, scoring=suite.scoring).shares(table)
    key = f"{seed}/{name}"
    names = sample.items_of(prompts, table)
    strata = [part for part in sample.strata(names, prompts, shares, key=key) if part.weight > 0]
    strata.sort(key=lambda part: part.start)  # whatever the order of the suite
    chosen = _drawn(strata, key=key)
    exact = len(chosen)
    drawn = set(chosen)
    chosen += [item for item in sample.proportional(strata) if item not in drawn]

    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, item in enumerate(names):
        rows[item].append(row)
    total = sum(part.weight for part in strata)
    # A stratum of weight W and N items is drawn with probability W / total.
    scale = {
        item: total / 100 * len(part.items) / part.weight for part in strata for item in part.items
    }
    return Order(
        items=tuple(tuple(rows[item]) for item in chosen),
        shares=shares,
        scales=np.array([scale[item] for item in chosen]),
        exact=exact,
    )


def _drawn(strata: list[sample.Stratum], *, key: str) -> list[str]:
    """Return the items that independent draws of the strata give, until one is used up."""
    ends = list(itertools.accumulate(part.weight for part in strata))
    left = [iter(part.items) for part in strata]
    items: list[str] = []
    while True:
        place = sample.uniform(key, "draw", str(len(items))) * ends[-1]
        number = min(bisect.bisect_right(ends, place), len(ends) - 1)
        item = next(left[number], None)
        if item is None:
            return items
        items.append(item)
