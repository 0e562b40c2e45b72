"""The curves: score against bits per weight, one panel per dimension with at least two points."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from comptrust.report import drawing
from comptrust.report.base import (
    DIMENSIONS,
    MARGIN,
    ReportEntry,
    SeedGroup,
    compressed_of,
    lost,
    smaller_of,
)
from comptrust.report.drawing import INK, Style
from comptrust.report.markup import escape, number, spaced

WIDTH, HEIGHT = 340.0, 240.0
"""Pixels of a panel."""
COLUMNS = 3
"""Panels in a row of the PNG."""


@dataclass(frozen=True)
class CurvePoint:
    """One recipe in one panel."""

    entry: ReportEntry
    """One of its seeds."""
    mean: float
    spread: float | None
    """Standard deviation over seeds."""
    gray: bool
    """Whether it is more than the margin below the dense source."""

    @property
    def description(self) -> str:
        """The point in words."""
        spread = "" if self.spread is None else f" ±{number(self.spread)}"
        return f"{self.entry.recipe} {number(self.mean)}{spread}{' (gray)' if self.gray else ''}"


@dataclass(frozen=True)
class Panel:
    """One dimension: its points and the scores to compare them with."""

    dimension: str
    dense: float
    """Score of the dense source; dashed lines are a margin above and below it."""
    smaller: float | None
    """Score of the smaller dense model."""
    points: tuple[CurvePoint, ...]

    @property
    def description(self) -> str:
        """The panel in words."""
        smaller = "" if self.smaller is None else f"; smaller dense {number(self.smaller)}"
        points = "; ".join(point.description for point in self.points)
        return (
            f"{spaced(self.dimension)} against bits per weight. Dense"
            f" {number(self.dense)}{smaller}; {points}."
        )


def panels(
    groups: Sequence[SeedGroup], *, dense: SeedGroup, smaller: Mapping[str, str]
) -> tuple[Panel, ...]:
    """Return a panel per dimension that the dense source and two quantized versions share."""
    smaller_dense = smaller_of(dense, groups, smaller)
    result = []
    for name in DIMENSIONS:
        score, points = dense.mean(name), _points(groups, dense=dense, dimension=name)
        if score is not None and len(points) > 1:
            smaller_score = smaller_dense.mean(name) if smaller_dense else None
            result.append(Panel(name, score, smaller_score, points))
    return tuple(result)


def _points(
    groups: Sequence[SeedGroup], *, dense: SeedGroup, dimension: str
) -> tuple[CurvePoint, ...]:
    points = []
    for group in compressed_of(dense, groups):
        mean, points_lost = group.mean(dimension), lost(group, dense, dimension)
        is_quantized = group.first.bits is not None
        if is_quantized and mean is not None and points_lost is not None:
            points.append(
                CurvePoint(
                    entry=group.first,
                    mean=mean,
                    spread=group.spread(dimension),
                    gray=points_lost > MARGIN,
                )
            )
    return tuple(points)


def picture(
    groups: Sequence[SeedGroup], *, dense: SeedGroup, smaller: Mapping[str, str]
) -> drawing.Picture | None:
    """Return all panels of one dense source as one picture; None without any."""
    return drawing.picture(
        panels(groups, dense=dense, smaller=smaller),
        name="curves",
        family=dense.first.title,
        title="score against bits",
        html=_html,
        png=_png,
    )


def _html(drawn: Sequence[Panel]) -> str:
    legend = " ".join(
        f'<span class="key" style="color:{style.color}">{style.glyph}</span> {escape(method)}'
        for method, style in _styles(drawn).items()
    )
    figures = "".join(map(_figure, drawn))
    return f'<p>{legend}. {_explanation(drawn)}</p><div class="panels">{figures}</div>'


def _figure(panel: Panel) -> str:
    with drawing.canvas(WIDTH, HEIGHT) as figure:
        _draw(figure.add_axes((0.11, 0.16, 0.87, 0.73)), panel)
        return f"<figure>{drawing.svg(figure, alternative=panel.description)}</figure>"


def _png(drawn: Sequence[Panel], title: str) -> bytes:
    height = HEIGHT * math.ceil(len(drawn) / COLUMNS) + 76
    with drawing.canvas(WIDTH * COLUMNS, height) as figure:
        for index, panel in enumerate(drawn):
            row, column = divmod(index, COLUMNS)
            left = (column + 0.11) / COLUMNS
            bottom = 1 - (HEIGHT * (row + 0.84) + 44) / height
            box = (left, bottom, 0.85 / COLUMNS, 0.71 * HEIGHT / height)
            _draw(figure.add_axes(box), panel)
        for index, (method, style) in enumerate(_styles(drawn).items()):
            label = f"{style.glyph} {method}"
            figure.text(0.03 + 0.12 * index, 10 / height, label, color=style.color, fontsize=9)
        figure.text(0.01, 1 - 16 / height, title, fontsize=10, fontweight="bold")
        figure.text(0.01, 1 - 32 / height, _explanation(drawn), fontsize=8)
        return drawing.png(figure)


def _styles(drawn: Sequence[Panel]) -> dict[str, Style]:
    return drawing.styles([point.entry.method for panel in drawn for point in panel.points])


def _explanation(drawn: Sequence[Panel]) -> str:
    has_smaller = any(panel.smaller is not None for panel in drawn)
    has_spread = any(point.spread is not None for panel in drawn for point in panel.points)
    parts = {
        "Solid line: dense source": True,
        "dashed: 5 points above and below it": True,
        "gray: more than 5 points lost": True,
        "dotted: the smaller dense model": has_smaller,
        "error bars: standard deviation over seeds": has_spread,
    }
    return f"{'; '.join(part for part, applies in parts.items() if applies)}."


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_title(spaced(panel.dimension))
    _draw_scores(axes, panel)
    # The axis of bits is logarithmic.
    ticks = sorted({point.entry.nominal_bits for point in panel.points})
    axes.set_xticks([math.log2(bits) for bits in ticks], [f"{bits:g}" for bits in ticks])
    axes.set_xlim(math.log2(ticks[0]) - 0.3, math.log2(ticks[-1]) + 0.3)
    axes.set_xlabel("bits per weight", loc="right", labelpad=1)
    styles = _styles([panel])
    for index, (method, style) in enumerate(styles.items()):
        of_method = [point for point in panel.points if point.entry.method == method]
        points = sorted(of_method, key=lambda point: point.entry.nominal_bits)
        # Methods of equal size are drawn beside each other, not on top of each other.
        shift = 0.05 * (index - (len(styles) - 1) / 2)
        places = [math.log2(point.entry.nominal_bits) + shift for point in points]
        # Recipes of equal size, such as N:M patterns, are not steps of a curve: no line.
        if len(set(places)) == len(points):
            axes.plot(places, [point.mean for point in points], color=style.color, linewidth=1)
        for x, point in zip(places, points, strict=True):
            _draw_point(axes, x, point, style)


def _draw_scores(axes: Axes, panel: Panel) -> None:
    scores = (panel.smaller, panel.dense - MARGIN, panel.dense + MARGIN)
    values = [score for score in scores if score is not None]
    for point in panel.points:
        spread = point.spread or 0.0
        values += [point.mean - spread, point.mean + spread]
    space = 0.06 * (max(values) - min(values))
    bottom = max(min(values) - space, -2.0)
    axes.set_ylim(bottom, min(max(values) + space, 102.0))
    axes.axhspan(bottom, panel.dense - MARGIN, color="#e4e4e4", linewidth=0, zorder=0)
    axes.axhline(panel.dense, color=INK, linewidth=1)
    for score in (panel.dense - MARGIN, panel.dense + MARGIN):
        axes.axhline(score, color=INK, linewidth=0.8, dashes=(5, 3))
    if panel.smaller is not None:
        axes.axhline(panel.smaller, color=INK, linewidth=1.2, dashes=(1, 2))


def _draw_point(axes: Axes, x: float, point: CurvePoint, style: Style) -> None:
    if point.spread is not None:
        axes.errorbar(x, point.mean, yerr=point.spread, color=style.color, linewidth=1, capsize=2)
    axes.plot(
        x,
        point.mean,
        style.marker,
        color=style.color,
        markersize=5,
        markeredgecolor="white",
        markeredgewidth=0.5,
        gid=drawing.HINT + point.description,
    )
