"""The heatmap: points lost at about half of the dense source's size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from comptrust.report import drawing, markup, skeleton
from comptrust.report.base import DIMENSIONS, SeedGroup, compressed_of, lost, smaller_of
from comptrust.report.markup import number

ABOUT_HALF = (0.40, 0.65)
"""Shares of the dense size that count as about half; 3 and 4 bits per weight are below."""
MAX_REFUSAL_CHANGE = 10.0
"""Points by which the refusal rate may change without a dot."""
DEEPEST_COLOR_AT = 30.0
"""Points."""
GAIN, DROP = (33, 102, 172), (178, 24, 43)
"""Blue and red, distinguishable with any common color blindness; each cell shows its sign too."""
DOT_MEANS = f"the refusal rate changed by more than {MAX_REFUSAL_CHANGE:.0f} points"
NOTES = (
    "<p>Points lost (red) compared with the dense source; below 0 is a gain (blue). The colors are"
    f" deepest at {DEEPEST_COLOR_AT:.0f} points. ● means that {DOT_MEANS}, – that the score was"
    f" not measured. The rows are the smaller dense model and every version of"
    f" {100 * ABOUT_HALF[0]:.0f} to {100 * ABOUT_HALF[1]:.0f}% of the dense size. Sizes are"
    " measured from the files, or computed from the recipe if there are no files. A pruned model"
    " still stores its zeros; as in the paper, they do not count here.</p>"
)
CELL_WIDTH, ROW_HEIGHT, LABEL_WIDTH = 84.0, 26.0, 240.0
"""Pixels of the PNG."""


@dataclass(frozen=True)
class HeatmapCell:
    """One dimension of a row."""

    dimension: str
    lost: float | None
    """Points below the dense source, negative for a gain; None if not measured."""
    dot: bool
    """Whether the refusal rate changed too much."""

    @property
    def color(self) -> str:
        """Blue for a gain, red for a drop, white for no change, gray for not measured."""
        if self.lost is None:
            return "#dddddd"
        depth = min(abs(self.lost) / DEEPEST_COLOR_AT, 1.0)
        end = GAIN if self.lost < 0 else DROP
        return "#" + "".join(f"{round(255 + (channel - 255) * depth):02x}" for channel in end)

    @property
    def ink(self) -> str:
        """White text on deep colors, black on light ones."""
        is_deep = self.lost is not None and abs(self.lost) > DEEPEST_COLOR_AT * 0.6
        return "#ffffff" if is_deep else "#000000"

    @property
    def text(self) -> str:
        """The number, without the dot."""
        return number(self.lost, sign=True)


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
    """Return the rows of one dense source: its smaller model, then recipes of half its size."""
    low, high = ABOUT_HALF
    result = [
        HeatmapRow(group.first.recipe, group.first.counted_share, _cells(group, dense))
        for group in compressed_of(dense, groups)
        if low <= group.first.counted_share <= high
    ]
    if other := smaller_of(dense, groups, smaller):
        size, dense_size = other.first.bytes, dense.first.bytes
        share = size / dense_size if size and dense_size else None
        result.insert(0, HeatmapRow(f"dense {other.first.model}", share, _cells(other, dense)))
    return tuple(result)


def _cells(group: SeedGroup, dense: SeedGroup) -> tuple[HeatmapCell, ...]:
    return tuple(
        HeatmapCell(
            dimension=name,
            lost=lost(group, dense, name),
            dot=_refusal_changed(dense.refusal(name), group.refusal(name)),
        )
        for name in DIMENSIONS
    )


def _refusal_changed(before: float | None, after: float | None) -> bool:
    if before is None or after is None:
        return False
    return round(abs(after - before), 9) > MAX_REFUSAL_CHANGE


def picture(
    groups: Sequence[SeedGroup], *, dense: SeedGroup, smaller: Mapping[str, str]
) -> drawing.Picture | None:
    """Return the heatmap of one dense source; None without any row."""
    return drawing.picture(
        rows(groups, dense=dense, smaller=smaller),
        name="heatmap",
        family=dense.first.title,
        title="points lost at about half of the size",
        notes=NOTES,
        html=_html,
        png=_png,
    )


def _html(drawn: Sequence[HeatmapRow]) -> str:
    columns = ("version", "size", *DIMENSIONS)
    return skeleton.fill("heatmap.html", rows=drawn, columns=columns, meaning=DOT_MEANS)


def _png(drawn: Sequence[HeatmapRow], title: str) -> bytes:
    width = LABEL_WIDTH + CELL_WIDTH * len(DIMENSIONS)
    height = ROW_HEIGHT * len(drawn) + 90
    with drawing.canvas(width, height) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.axis("off")
        axes.text(6, 18, title, fontsize=9, fontweight="bold")
        axes.text(6, height - 8, f"● {DOT_MEANS}; – not measured", fontsize=8)
        for column, name in enumerate(DIMENSIONS):
            x = LABEL_WIDTH + CELL_WIDTH * (column + 0.5)
            axes.text(x, 46, name.replace("_", "\n"), ha="center", va="center", fontsize=8)
        for index, row in enumerate(drawn):
            top = 60 + ROW_HEIGHT * index
            share = "" if row.share is None else f" ({markup.percent(row.share)})"
            axes.text(6, top + ROW_HEIGHT / 2, f"{row.label}{share}", va="center", fontsize=8)
            for column, cell in enumerate(row.cells):
                _draw_cell(axes, cell, left=LABEL_WIDTH + CELL_WIDTH * column, top=top)
        return drawing.png(figure)


def _draw_cell(axes: Axes, cell: HeatmapCell, *, left: float, top: float) -> None:
    right, bottom = left + CELL_WIDTH, top + ROW_HEIGHT
    axes.fill([left, right, right, left], [top, top, bottom, bottom], color=cell.color, linewidth=0)
    axes.text(
        (left + right) / 2,
        (top + bottom) / 2,
        cell.text + (" ●" if cell.dot else ""),
        ha="center",
        va="center",
        color=cell.ink,
        fontsize=8,
    )
