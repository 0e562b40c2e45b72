"""The narrowing plots: bounds of each dimension's drop, batch by batch, until it was decided."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from comptrust.gate.sequential.course import Decision
from comptrust.report import drawing
from comptrust.report.forest import STYLES
from comptrust.report.markup import escape, spaced

COLUMNS, WIDTH, HEIGHT = 3, 560.0, 120.0
"""Plots side by side, the width of all, and the height of each, in pixels."""
RANGE = 4.0
"""How far the axis reaches beyond 0 and beyond the margin, in margins."""


def render(decisions: Sequence[Decision], margins: Mapping[str, float]) -> str:
    """Return the plots with a caption as HTML; `margins` are in points. Empty without a batch."""
    shown = [row for row in decisions if row.bounds]
    if not shown:
        return ""
    with drawing.canvas(WIDTH, HEIGHT * math.ceil(len(shown) / COLUMNS)) as figure:
        _draw(figure, shown, margins)
        svg = drawing.svg(figure, alternative=f"Bounds by items asked: {_descriptions(shown)}.")
    caption = escape(
        "Shaded: points lost that the answers so far have not ruled out, by the items asked; the"
        " bounds hold at all looks together. Dashed: the points allowed. A dimension is decided"
        " where a bound meets them."
    )
    return f'<figure class="large">{svg}<figcaption>{caption}</figcaption></figure>'


def png(decisions: Sequence[Decision], margins: Mapping[str, float]) -> bytes:
    """Return the plots as a PNG image."""
    shown = [row for row in decisions if row.bounds]
    with drawing.canvas(WIDTH, HEIGHT * math.ceil(len(shown) / COLUMNS)) as figure:
        _draw(figure, shown, margins)
        return drawing.png(figure)


def _descriptions(decisions: Sequence[Decision]) -> str:
    return "; ".join(
        f"{spaced(row.dimension)} {row.bounds[-1][1]:+.1f} to {row.bounds[-1][2]:+.1f} after"
        f" {row.items} items, {row.outcome}"
        for row in decisions
    )


def _draw(figure: Figure, decisions: Sequence[Decision], margins: Mapping[str, float]) -> None:
    rows = math.ceil(len(decisions) / COLUMNS)
    most = max(row.items for row in decisions)
    for number, row in enumerate(decisions):
        axes = figure.add_subplot(rows, COLUMNS, number + 1)
        color, marker, _ = STYLES[row.outcome]
        margin = margins[row.dimension]
        items, lower, upper = zip(*row.bounds, strict=True)
        axes.fill_between(items, lower, upper, color=color, alpha=0.25, linewidth=0, step="post")
        for bound in (lower, upper):
            axes.plot(items, bound, color=color, linewidth=1, drawstyle="steps-post")
        axes.axhline(0, color=drawing.INK, linewidth=0.8)
        axes.axhline(margin, color=drawing.INK, linewidth=0.8, dashes=(5, 3))
        if row.decided_at:
            axes.plot(row.decided_at, margin, marker, color=color, markersize=5)
        axes.set(xlim=(0, most * 1.05), ylim=(-RANGE * margin, RANGE * margin))
        axes.set_title(f"{spaced(row.dimension)}: {row.outcome}", fontsize=8)
    figure.tight_layout(pad=0.6)
