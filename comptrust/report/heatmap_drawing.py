"""The heatmap as a picture: a table in the page, and a PNG."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from comptrust.report import drawing, markup
from comptrust.report.base import DIMENSIONS, SeedGroup
from comptrust.report.heatmap import (
    ABOUT_HALF,
    DEEPEST_COLOR_AT,
    MAX_REFUSAL_CHANGE,
    HeatmapCell,
    HeatmapRow,
    rows,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "change from the dense source at about half its size"
DOT_MEANS = f"the refusal rate changed by more than {MAX_REFUSAL_CHANGE:.0f} points"
NOTES = (
    "<p>Points gained (blue) or lost (red) compared with the dense source; the colors are deepest"
    f" at {DEEPEST_COLOR_AT:.0f} points. ● means that {DOT_MEANS}, – that the score was not"
    f" measured. The rows are the smaller dense model and every version of"
    f" {100 * ABOUT_HALF[0]:.0f} to {100 * ABOUT_HALF[1]:.0f}% of the dense size. Sizes are"
    " measured from the files, or computed from the recipe if there are no files. A pruned model"
    " still stores its zeros; as in the paper, they do not count here.</p>"
)
CELL_WIDTH, ROW_HEIGHT, LABEL_WIDTH = 84.0, 26.0, 240.0
"""Pixels of the PNG."""


def picture(
    groups: Sequence[SeedGroup], *, dense: SeedGroup, smaller: Mapping[str, str]
) -> drawing.Picture | None:
    """Return the heatmap of one dense source; None without any row."""
    drawn = rows(groups, dense=dense, smaller=smaller)
    if not drawn:
        return None
    family = dense.first.title
    return drawing.Picture(
        name="heatmap",
        family=family,
        title=TITLE,
        notes=NOTES,
        html=_html(drawn),
        png=functools.partial(_png, drawn, f"{family}: {TITLE}"),
    )


def _html(drawn: Sequence[HeatmapRow]) -> str:
    head = [markup.narrow_heading(name) for name in ("version", "size", *DIMENSIONS)]
    return markup.table(head, map(_row, drawn), attributes='class="heat"')


def _row(row: HeatmapRow) -> Iterator[str]:
    yield markup.header(row.label)
    yield f'<td class="size">{markup.percent(row.share)}</td>'
    for cell in row.cells:
        style = f"background:{cell.color};color:{cell.ink}"
        dot = f' <span role="img" aria-label="{DOT_MEANS}">●</span>' if cell.dot else ""
        yield f'<td style="{style}">{cell.text}{dot}</td>'


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
            label = name.replace("_", "\n")
            axes.text(x, 46, label, ha="center", va="center", fontsize=8)
        for index, row in enumerate(drawn):
            top = 60 + ROW_HEIGHT * index
            share = "" if row.share is None else f" ({markup.percent(row.share)})"
            middle = top + ROW_HEIGHT / 2
            axes.text(6, middle, f"{row.label}{share}", va="center", fontsize=8)
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
