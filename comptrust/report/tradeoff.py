"""The trade-off: size against the worst drop, and the versions that nothing beats in both (the
Pareto front).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from comptrust.records import Record
from comptrust.report import drawing
from comptrust.report.base import DIMENSIONS, MARGIN, Group, compressed_of, difference, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 380.0, 360.0
NOTES = (
    "<p>Worst drop: the dimension that lost most. Size: measured from the files, which keep a"
    " pruned model's zeros; where there are none, as the recipe says. Joined and in bold: the"
    " Pareto front, which no other version beats in both. Dashed: 5 points.</p>"
)
LABEL_AT, LABEL_WIDE, LETTERS = 4.0, 44.0, 18
"""Where a label starts beside its point, how far it reaches, in percent of the dense size, and how
many letters fit.
"""


class Option(Record):
    """One compressed recipe."""

    recipe: str
    method: str
    share: float
    """Size as a share of the dense source."""
    worst: float
    """Largest drop of a dimension, in points; below 0 if all gained."""
    dimension: str
    front: bool
    """Whether no other recipe is at least as small and as faithful, and better in one of the
    two."""

    @property
    def words(self) -> str:
        """The option in words."""
        return (
            f"{self.recipe}: {100 * self.share:.0f}% of the size, worst drop {self.worst:.1f}"
            f" ({self.dimension.replace('_', ' ')})"
        )


def options(groups: Sequence[Group], *, dense: Group) -> tuple[Option, ...]:
    """Return the recipes of one dense source, smallest first; one that misses a dimension of the
    source is left out.
    """
    found: list[tuple[Group, float, str]] = []
    for group in compressed_of(dense, groups):
        changes = {
            name: difference(group, dense, name)
            for name in DIMENSIONS
            if dense.mean(name) is not None
        }
        known = {name: -change for name, change in changes.items() if change is not None}
        if known and len(known) == len(changes):
            worst = max(known, key=lambda name: known[name])
            found.append((group, known[worst], worst))
    places = [(group.first.share, worst) for group, worst, _ in found]
    listed = [
        Option(
            recipe=group.first.recipe,
            method=group.first.method,
            share=mine[0],
            worst=worst,
            dimension=name,
            front=not any(_beats(one, mine) for one in places),
        )
        for (group, worst, name), mine in zip(found, places, strict=True)
    ]
    return tuple(sorted(listed, key=lambda one: (one.share, one.worst, one.recipe)))


def picture(groups: Sequence[Group], *, dense: Group) -> drawing.Picture | None:
    """Return the trade-off of one dense source as a picture; None without any option."""
    found = options(groups, dense=dense)
    if not found:
        return None
    family = dense.first.title
    return drawing.Picture(
        "tradeoff",
        family,
        "size against worst drop",
        NOTES,
        _block(found),
        functools.partial(_png, found, family),
    )


def _png(found: Sequence[Option], family: str) -> bytes:
    with drawing.canvas(1.7 * WIDTH, 1.5 * HEIGHT) as figure:
        axes = figure.add_axes((0.08, 0.09, 0.9, 0.85))
        axes.set_title(f"{family}: size against worst drop; line: Pareto front")
        _draw(axes, found)
        return drawing.png(figure)


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] <= other[1] and one != other


def _block(found: Sequence[Option]) -> str:
    names = ", ".join(escape(one.recipe) for one in found if one.front)
    said = (
        "Size against worst drop. On the Pareto front:"
        f" {'; '.join(one.words for one in found if one.front)}."
    )
    with drawing.canvas(WIDTH, HEIGHT) as figure:
        hints = _draw(figure.add_axes((0.13, 0.11, 0.86, 0.87)), found)
        shown = drawing.svg(figure, alternative=said, hints=hints)
    caption = f"<figcaption>Pareto front: {names}.</figcaption>"
    return (
        f'<div class="beside"><figure class="large">{shown}{caption}</figure>{_table(found)}</div>'
    )


def _draw(axes: Axes, found: Sequence[Option]) -> dict[str, str]:
    """Draw all options with their names and return the hint of each."""
    low, high = (
        min(0.0, *(one.worst for one in found)),
        max(2 * MARGIN, *(one.worst for one in found)),
    )
    styles, heights = (
        drawing.styles([one.method for one in found]),
        _label_heights(found, tall=0.045 * (high - low)),
    )
    axes.set_ylim(low - 0.05 * (high - low), max(high, *heights) + 0.05 * (high - low))
    axes.set_xlim(0, 145)
    axes.set_xticks([0, 25, 50, 75, 100])
    axes.set_xlabel("size, % of the dense source", loc="left")
    axes.set_ylabel("worst drop, points")
    axes.axhline(0, color=drawing.INK, linewidth=0.8, zorder=1)
    axes.axhline(MARGIN, color=drawing.INK, linewidth=0.8, dashes=(5, 3), zorder=1)
    front = [one for one in found if one.front]
    axes.plot(
        [100 * one.share for one in front],
        [one.worst for one in front],
        color=drawing.INK,
        linewidth=1.4,
        zorder=1,
    )
    hints: dict[str, str] = {}
    for index, (one, height) in enumerate(zip(found, heights, strict=True)):
        gid, style, x = f"hint-option-{index}", styles[one.method], 100 * one.share
        look: dict[str, Any] = {
            "color": style.color,
            "markersize": 6,
            "markeredgecolor": "white",
            "zorder": 4 if one.front else 3,
        }
        axes.plot(x, one.worst, style.marker, gid=gid, **look)
        hints[gid] = one.words
        axes.plot(
            [x, x + LABEL_AT - 0.5],
            [one.worst, height],
            color=drawing.GRAY,
            linewidth=0.5,
            zorder=1,
        )
        weight = "bold" if one.front else "normal"
        name = one.recipe if len(one.recipe) <= LETTERS else f"{one.recipe[: LETTERS - 1]}…"
        halo = {"facecolor": "white", "alpha": 0.8, "pad": 0.2, "linewidth": 0}
        axes.text(
            x + LABEL_AT,
            height,
            name,
            fontsize=7,
            va="center",
            fontweight=weight,
            zorder=2,
            bbox=halo,
        )
    return hints


def _label_heights(found: Sequence[Option], *, tall: float) -> list[float]:
    """Return a height for each label, its own or the next above at which it covers neither another
    label nor another's point.
    """
    placed: dict[int, float] = {}
    for index in sorted(
        range(len(found)), key=lambda index: (found[index].worst, not found[index].front)
    ):
        mine = found[index]
        labels = [
            height
            for other, height in placed.items()
            if abs(found[other].share - mine.share) < LABEL_WIDE / 100
        ]
        points = [one.worst for one in found if 0.01 < one.share - mine.share < LABEL_WIDE / 100]
        height = mine.worst
        for taken in sorted([*labels, *points]):
            if abs(taken - height) < tall:
                height = taken + tall
        placed[index] = height
    return [placed[index] for index in range(len(found))]


def _table(found: Sequence[Option]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(one.recipe)}</th><td'
        f' class="number">{100 * one.share:.0f}%</td>'
        f'<td class="number">{one.worst:.1f}</td>'
        f"<td>{one.dimension.replace('_', ' ')}</td><td>{'yes' if one.front else ''}</td></tr>"
        for one in found
    )
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("recipe", "size", "worst drop", "in", "front")
    )
    return (
        "<div"
        f' class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )
