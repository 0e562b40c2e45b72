"""The beginnings that prompts share (system text, demonstrations), as a tree.

Each beginning is computed once, however many prompts continue it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from comptrust.models.inference.spans import Ids, common_prefix

MIN_TOKENS_SAVED = 24
"""Tokens that a shared beginning must save, over all its rows, to be computed separately."""


@dataclass(frozen=True, eq=False)
class Beginning:
    """Tokens that several rows share, as a continuation of a shorter shared beginning."""

    parent: Beginning | None
    ids: Ids
    """The tokens after those of `parent`."""

    @property
    def begin(self) -> int:
        """Number of tokens before `ids`."""
        return self.parent.end if self.parent else 0

    @property
    def end(self) -> int:
        """Number of tokens up to the end of `ids`."""
        return self.begin + len(self.ids)

    def path(self) -> Iterator[Beginning]:
        """Yield this beginning and all that it continues, the longest first."""
        node: Beginning | None = self
        while node:
            yield node
            node = node.parent


def shared_beginnings(limits: Mapping[Ids, int]) -> dict[Ids, Beginning | None]:
    """Return each row with its longest shared beginning, None if it shares none.

    `limits` gives, for each row, how many of its leading tokens may be shared. In the result, rows
    with a common beginning are neighbors, the shorter ones first.
    """
    # In sorted order, rows with a common beginning are neighbors, and what a range of rows shares
    # is the least that any two neighbors in it share.
    ordered = sorted(limits)
    shared = [common_prefix(pair) for pair in zip(ordered, ordered[1:], strict=False)]
    beginnings: dict[Ids, Beginning | None] = {}
    ranges: list[tuple[int, int, Beginning | None]] = [(0, len(ordered), None)]
    while ranges:
        low, high, parent = ranges.pop()
        if high - low < 2:
            beginnings |= dict.fromkeys(ordered[low:high], parent)
            continue
        least = min(shared[low : high - 1])
        end = min(least, *(limits[row] for row in ordered[low:high]))
        begin = parent.end if parent else 0
        # all rows but one are spared these tokens
        if (high - low - 1) * (end - begin) >= MIN_TOKENS_SAVED:
            parent = Beginning(parent, ordered[low][begin:end])
        # Split the range where neighbors share no more than all do; each part may share more.
        cuts = [low, *(at + 1 for at in range(low, high - 1) if shared[at] == least), high]
        parts = [(first, last, parent) for first, last in zip(cuts, cuts[1:], strict=False)]
        # `pop` takes the last part first: single rows, then larger parts, so that the rows of one
        # beginning stay together.
        ranges += sorted(parts, key=lambda part: (part[1] - part[0] < 2, -len(ordered[part[0]])))
    return beginnings
