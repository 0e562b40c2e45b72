"""The data of the heatmap: points gained or lost at about half of the dense source's size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from comptrust.report.base import DIMENSIONS, SeedGroup, compressed_of, difference, smaller_of
from comptrust.report.markup import number

ABOUT_HALF = (0.40, 0.65)
"""Shares of the dense size that count as about half; 3 and 4 bits per weight are below."""
MAX_REFUSAL_CHANGE = 10.0
"""Points by which the refusal rate may change without a dot."""
DEEPEST_COLOR_AT = 30.0
"""Points."""
GAIN, DROP = (33, 102, 172), (178, 24, 43)
"""Blue and red, distinguishable with any common color blindness; each cell shows its sign too."""


@dataclass(frozen=True)
class HeatmapCell:
    """One dimension of a row."""

    dimension: str
    points: float | None
    """Gain over the dense source; None if not measured."""
    dot: bool
    """Whether the refusal rate changed too much."""

    @property
    def color(self) -> str:
        """Blue for a gain, red for a drop, white for no change, gray for not measured."""
        if self.points is None:
            return "#dddddd"
        depth = min(abs(self.points) / DEEPEST_COLOR_AT, 1.0)
        end = GAIN if self.points > 0 else DROP
        return "#" + "".join(f"{round(255 + (channel - 255) * depth):02x}" for channel in end)

    @property
    def ink(self) -> str:
        """White text on deep colors, black on light ones."""
        is_deep = self.points is not None and abs(self.points) > DEEPEST_COLOR_AT * 0.6
        return "#ffffff" if is_deep else "#000000"

    @property
    def text(self) -> str:
        """The number, without the dot."""
        return number(self.points, sign=True)


@dataclass(frozen=True)
class HeatmapRow:
    """One version."""

    label: str
    share: float | None
    """Counted size as a share of the dense source, if known."""
    cells: tuple[HeatmapCell, ...]


def rows(
    groups: Sequence[SeedGroup], *, dense: SeedGroup, smaller: Mapping[str, str]
) -> tuple[HeatmapRow, ...]:
    """Return the rows of one dense source.

    The first is its smaller dense model, if there is one; then every recipe of about half the size.
    """
    result = []
    smaller_dense = smaller_of(dense, groups, smaller)
    if smaller_dense is not None:
        size, dense_size = smaller_dense.first.bytes, dense.first.bytes
        share = size / dense_size if size and dense_size else None
        label = f"dense {smaller_dense.first.model}"
        result.append(HeatmapRow(label, share, _cells(smaller_dense, dense)))
    low, high = ABOUT_HALF
    for group in compressed_of(dense, groups):
        share = group.first.counted_share
        if low <= share <= high:
            result.append(HeatmapRow(group.first.recipe, share, _cells(group, dense)))
    return tuple(result)


def _cells(group: SeedGroup, dense: SeedGroup) -> tuple[HeatmapCell, ...]:
    return tuple(
        HeatmapCell(
            dimension=name,
            points=difference(group, dense, name),
            dot=_refusal_changed(dense.refusal(name), group.refusal(name)),
        )
        for name in DIMENSIONS
    )


def _refusal_changed(before: float | None, after: float | None) -> bool:
    if before is None or after is None:
        return False
    return round(abs(after - before), 9) > MAX_REFUSAL_CHANGE
