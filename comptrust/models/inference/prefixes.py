"""The beginnings that prompts share (system text, demonstrations), as a tree: each is computed
once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from comptrust.models.inference.spans import Ids, common_prefix

GAIN = 24
"""Tokens that a shared beginning must save, over all rows that have it, to be worth a computation
of its own.
"""


@dataclass(frozen=True, eq=False)
class Shared:
    """A beginning that several rows have in common, as it goes on from a shorter one."""

    parent: Shared | None
    ids: Ids
    """The tokens after those of `parent`."""

    @property
    def begin(self) -> int:
        """Number of tokens before its own."""
        return self.parent.end if self.parent else 0

    @property
    def end(self) -> int:
        """Number of tokens up to its end."""
        return self.begin + len(self.ids)

    def path(self) -> Iterator[Shared]:
        """Yield it and all that it goes on from, the longest first."""
        node: Shared | None = self
        while node:
            yield node
            node = node.parent


def shared_beginnings(rows: Mapping[Ids, int]) -> dict[Ids, Shared | None]:
    """Return each row with its longest shared beginning, given how many of its tokens may be shared
    at most.

    Rows with a beginning in common stand together, the shorter first.
    """
    ordered = sorted(rows)
    alike = [common_prefix(pair) for pair in zip(ordered, ordered[1:], strict=False)]
    found: dict[Ids, Shared | None] = {}
    todo: list[tuple[int, int, Shared | None]] = [(0, len(ordered), None)]
    while todo:
        low, high, parent = todo.pop()
        if high - low < 2:
            found |= dict.fromkeys(ordered[low:high], parent)
            continue
        least = min(alike[low : high - 1])
        end = min(least, *(rows[row] for row in ordered[low:high]))
        begin = parent.end if parent else 0
        if (high - low - 1) * (end - begin) >= GAIN:
            parent = Shared(parent, ordered[low][begin:end])
        cuts = [low, *(at + 1 for at in range(low, high - 1) if alike[at] == least), high]
        parts = [(first, last, parent) for first, last in zip(cuts, cuts[1:], strict=False)]
        # Taken from the end: single rows first, then the groups among them, so that what shares a
        # beginning stays together.
        todo += sorted(parts, key=lambda part: (part[1] - part[0] < 2, -len(ordered[part[0]])))
    return found
