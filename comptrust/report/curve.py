"""The curves: score against bits per weight, one panel a dimension, with the dense source and its
margin.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from comptrust.records import Record
from comptrust.report import drawing
from comptrust.report.base import (
    DIMENSIONS,
    MARGIN,
    Group,
    compressed_of,
    difference,
    escape,
    smaller_of,
    text,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 340.0, 240.0
COLUMNS = 3
"""Panels in a row of the PNG."""


class Point(Record):
    """One recipe in one panel."""

    model: str
    dimension: str
    method: str
    recipe: str
    bits: float
    mean: float
    spread: float | None
    """Standard deviation over seeds."""
    gray: bool
    """Whether it lies more than the margin below the dense source."""

    @property
    def words(self) -> str:
        """The point in words."""
        spread = "" if self.spread is None else f" ±{self.spread:.1f}"
        return f"{self.recipe} {text(self.mean)}{spread}{' (gray)' if self.gray else ''}"


class Panel(Record):
    """One dimension: its points and the lines that they are held against."""

    dimension: str
    level: float
    """Score of the dense source; the dashes lie a margin above and below."""
    small: float | None
    """Score of the smaller dense model."""
    points: tuple[Point, ...]

    @property
    def grey_below(self) -> float:
        """Score under which the panel is gray."""
        return self.level - MARGIN

    @property
    def words(self) -> str:
        """The panel in words."""
        small = "" if self.small is None else f"; smaller dense {text(self.small)}"
        said = "; ".join(point.words for point in self.points)
        return (
            f"{self.dimension.replace('_', ' ')} against bits per weight. Dense"
            f" {text(self.level)}{small}; {said}."
        )


def panels(groups: Sequence[Group], *, dense: Group, smaller: dict[str, str]) -> tuple[Panel, ...]:
    """Return a panel per dimension that the dense source and something made of it were measured
    in."""
    small = smaller_of(dense, groups, smaller)
    found = []
    for name in DIMENSIONS:
        level, points = dense.mean(name), _points(groups, dense=dense, dimension=name)
        if level is not None and points:
            found.append(
                Panel(
                    dimension=name,
                    level=level,
                    small=small.mean(name) if small else None,
                    points=points,
                )
            )
    return tuple(found)


def _points(groups: Sequence[Group], *, dense: Group, dimension: str) -> tuple[Point, ...]:
    found = []
    for group in compressed_of(dense, groups):
        mean, change = group.mean(dimension), difference(group, dense, dimension)
        if mean is not None and change is not None:
            fields: dict[str, object] = {
                "model": group.first.model,
                "dimension": dimension,
                "method": group.first.method,
                "recipe": group.first.recipe,
            }
            fields |= {
                "bits": group.first.nominal_bits,
                "mean": mean,
                "spread": group.spread(dimension),
                "gray": change < -MARGIN,
            }
            found.append(Point.model_validate(fields))
    return tuple(found)


def picture(
    groups: Sequence[Group], *, dense: Group, smaller: dict[str, str]
) -> drawing.Picture | None:
    """Return all panels of one dense source as one picture; None without any."""
    found = panels(groups, dense=dense, smaller=smaller)
    if not found:
        return None
    family = dense.first.title
    return drawing.Picture(
        "curves",
        family,
        "score against bits",
        "",
        _block(found),
        functools.partial(_png, found, family),
    )


def _png(found: Sequence[Panel], family: str) -> bytes:
    rows = math.ceil(len(found) / COLUMNS)
    height = HEIGHT * rows + 76
    with drawing.canvas(WIDTH * COLUMNS, height) as figure:
        for index, panel in enumerate(found):
            column, row = index % COLUMNS, index // COLUMNS
            box = (
                (column + 0.11) / COLUMNS,
                1 - (HEIGHT * (row + 0.84) + 44) / height,
                0.85 / COLUMNS,
                0.71 * HEIGHT / height,
            )
            _draw(figure.add_axes(box), panel)
        for index, (method, style) in enumerate(drawing.styles(_methods(found)).items()):
            figure.text(
                0.03 + 0.12 * index,
                10 / height,
                f"{style.glyph} {method}",
                color=style.color,
                fontsize=9,
            )
        figure.text(
            0.01, 1 - 16 / height, f"{family}: score against bits", fontsize=10, fontweight="bold"
        )
        figure.text(0.01, 1 - 32 / height, _lines(found), fontsize=8)
        return drawing.png(figure)


def _methods(found: Sequence[Panel]) -> list[str]:
    return [point.method for panel in found for point in panel.points]


def _block(found: Sequence[Panel]) -> str:
    key = " ".join(
        f'<span class="key" style="color:{style.color}">{style.glyph}</span> {escape(method)}'
        for method, style in drawing.styles(_methods(found)).items()
    )
    return f'<p>{key}. {_lines(found)}</p><div class="panels">{"".join(map(_figure, found))}</div>'


def _lines(found: Sequence[Panel]) -> str:
    small = (
        "; dotted: the smaller dense model"
        if any(panel.small is not None for panel in found)
        else ""
    )
    bars = (
        "; bars: standard deviation over seeds"
        if any(point.spread is not None for panel in found for point in panel.points)
        else ""
    )
    return (
        "Line: dense source; dashes: 5 points above and below it; gray: more than 5 points"
        f" lost{small}{bars}."
    )


def _figure(panel: Panel) -> str:
    with drawing.canvas(WIDTH, HEIGHT) as figure:
        hints = _draw(figure.add_axes((0.11, 0.16, 0.87, 0.73)), panel)
        return f"<figure>{drawing.svg(figure, alternative=panel.words, hints=hints)}</figure>"


def _draw(axes: Axes, panel: Panel) -> dict[str, str]:
    """Draw a panel and return the hint of each point."""
    values = [
        panel.level - MARGIN,
        panel.level + MARGIN,
        *([panel.small] if panel.small is not None else []),
    ]
    values += [
        point.mean + sign * (point.spread or 0.0) for point in panel.points for sign in (-1, 1)
    ]
    room = 0.06 * (max(values) - min(values))
    axes.set_ylim(max(min(values) - room, -2.0), min(max(values) + room, 102.0))
    axes.axhspan(axes.get_ylim()[0], panel.grey_below, color="#e4e4e4", linewidth=0, zorder=0)
    axes.axhline(panel.level, color=drawing.INK, linewidth=1)
    for score in (panel.level - MARGIN, panel.level + MARGIN):
        axes.axhline(score, color=drawing.INK, linewidth=0.8, dashes=(5, 3))
    if panel.small is not None:
        axes.axhline(panel.small, color=drawing.INK, linewidth=1.2, dashes=(1, 2))
    ticks = sorted({point.bits for point in panel.points})
    places = [math.log2(bits) for bits in ticks]
    axes.set_xlim(min(places) - 0.3, max(places) + 0.3)
    axes.set_xticks(places, [f"{bits:g}" for bits in ticks])
    axes.set_xlabel("bits per weight", loc="right", labelpad=1)
    axes.set_title(panel.dimension.replace("_", " "))
    hints: dict[str, str] = {}
    found = drawing.styles([point.method for point in panel.points])
    for index, (method, style) in enumerate(found.items()):
        own = sorted(
            (point for point in panel.points if point.method == method),
            key=lambda point: point.bits,
        )
        shift = 0.05 * (index - (len(found) - 1) / 2)  # beside each other, not on top
        x, y = [math.log2(point.bits) + shift for point in own], [point.mean for point in own]
        if len({point.bits for point in own}) == len(
            own
        ):  # patterns of one size are points, not steps of a curve
            axes.plot(x, y, color=style.color, linewidth=1)
        for place, point in zip(x, own, strict=True):
            gid = f"hint-{panel.dimension}-{len(hints)}"
            if point.spread is not None:
                axes.errorbar(
                    place, point.mean, yerr=point.spread, color=style.color, linewidth=1, capsize=2
                )
            axes.plot(
                place,
                point.mean,
                style.marker,
                color=style.color,
                markersize=5,
                markeredgecolor="white",
                markeredgewidth=0.5,
                gid=gid,
            )
            hints[gid] = point.words
    return hints
