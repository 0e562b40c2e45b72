"""The trade-off of size and points lost, with the Pareto front of what passed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from markupsafe import Markup
from matplotlib.axes import Axes

from comptrust.report import drawing, skeleton
from comptrust.report.base import (
    DIMENSIONS,
    MARGIN,
    ReportEntry,
    SeedGroup,
    compressed_of,
    lost,
)
from comptrust.report.drawing import INK, Style
from comptrust.report.markup import number, percent, spaced

WIDTH, HEIGHT = 380.0, 360.0
AXES = {
    "size": "size, % of the dense source",
    "tokens_per_second": "time per token, % of the dense source, as measured",
    "peak_bytes": "peak memory, % of the dense source, as measured",
}
"""What a version may cost, and the label of its axis; less is better."""
NOTES = (
    "<p>Points lost in the dimension that lost most. Size: measured from the files, where a"
    " pruned model still stores its zeros, or computed from the recipe if there are no files. Bold"
    " and joined by a line: the Pareto front, versions that passed and that no other one beats in"
    " both. Hollow: did not pass. Time and memory are drawn if two versions were measured as their"
    " dense source was. A version without a verdict counts as passed up to 5 points, the"
    " dashed line.</p>"
)
LABEL_OFFSET, LABEL_WIDTH = 4.0, 44.0
"""Distance of a label from its point and its width, in percent of the dense size."""
LABEL_CHARACTERS = 18


@dataclass(frozen=True)
class Option:
    """One compressed recipe."""

    entry: ReportEntry
    """One of its seeds."""
    cost: float
    """Size, time or memory as a share of the dense source's."""
    worst: float
    """Points lost in the dimension that lost most; below 0 if all gained."""
    dimension: str
    """The dimension that lost most."""
    outcome: str
    """The outcomes of its verdicts; `-` without one."""
    passed: bool
    """Whether it was never judged otherwise; without a verdict, whether it is within the margin."""
    front: bool = False
    """Whether it passed and no other that did is as good in both, and better in one."""

    @property
    def description(self) -> str:
        """The option in words."""
        return (
            f"{self.entry.recipe}: {percent(self.cost)} of the dense source, lost"
            f" {number(self.worst)} in {spaced(self.dimension)}"
            f"{'' if self.passed else ', did not pass'}"
        )

    def beats(self, other: Self) -> bool:
        """Return whether this option is at least as good in both, and better in one."""
        return (
            self.cost <= other.cost
            and self.worst <= other.worst
            and (self.cost, self.worst) != (other.cost, other.worst)
        )


def options(
    groups: Sequence[SeedGroup], *, dense: SeedGroup, axis: str = "size"
) -> tuple[Option, ...]:
    """Return the recipes of one dense source, cheapest first, that are measured on the axis."""
    measured = [name for name in DIMENSIONS if dense.mean(name) is not None]
    candidates = []
    for group in compressed_of(dense, groups):
        changes = [(lost(group, dense, name), name) for name in measured]
        losses = [(points, name) for points, name in changes if points is not None]
        cost = _cost(group.first, axis)
        if cost is not None and losses and len(losses) == len(measured):
            worst, dimension = max(losses, key=lambda loss: loss[0])
            passed = group.passed(worst)
            candidates.append(Option(group.first, cost, worst, dimension, group.outcome, passed))
    candidates.sort(key=lambda option: (option.cost, option.worst, option.entry.recipe))
    passing = [option for option in candidates if option.passed]
    return tuple(
        replace(option, front=option.passed and not any(other.beats(option) for other in passing))
        for option in candidates
    )


def _cost(entry: ReportEntry, axis: str) -> float | None:
    if axis == "size":
        return entry.share
    share = entry.costs.share(axis) if entry.costs else None
    return 1 / share if share and axis == "tokens_per_second" else share


def picture(groups: Sequence[SeedGroup], *, dense: SeedGroup) -> drawing.Picture | None:
    """Return the trade-off of one dense source; None with less than two options."""
    by_axis = {axis: options(groups, dense=dense, axis=axis) for axis in AXES}
    return drawing.picture(
        [(axis, drawn) for axis, drawn in by_axis.items() if len(drawn) > 1],
        name="tradeoff",
        family=dense.first.title,
        title="size against points lost",
        notes=NOTES,
        html=_html,
        png=_png,
    )


def _html(by_axis: Sequence[tuple[str, Sequence[Option]]]) -> str:
    return "".join(_figure(axis, drawn) for axis, drawn in by_axis)


def _figure(axis: str, drawn: Sequence[Option]) -> str:
    front = [option for option in drawn if option.front]
    descriptions = "; ".join(option.description for option in front)
    with drawing.canvas(WIDTH, HEIGHT) as figure:
        _draw(figure.add_axes((0.13, 0.11, 0.86, 0.87)), drawn, AXES[axis])
        svg = drawing.svg(
            figure,
            alternative=f"{AXES[axis].capitalize()}, against points lost. On the Pareto front:"
            f" {descriptions or 'none'}.",
        )
    return skeleton.fill(
        "tradeoff.html",
        svg=Markup(svg),
        options=drawn,
        front=front,
        cost=AXES[axis].partition(",")[0],
    )


def _png(by_axis: Sequence[tuple[str, Sequence[Option]]], title: str) -> bytes:
    count = len(by_axis)
    with drawing.canvas(1.7 * WIDTH, 1.5 * HEIGHT * count) as figure:
        for row, (axis, drawn) in enumerate(reversed(by_axis)):
            axes = figure.add_axes((0.08, (row + 0.09) / count, 0.9, 0.85 / count))
            axes.set_title(f"{title}; line: Pareto front")
            _draw(axes, drawn, AXES[axis])
        return drawing.png(figure)


def _draw(axes: Axes, drawn: Sequence[Option], label: str) -> None:
    losses = [option.worst for option in drawn]
    widest = max(100.0, *(100 * option.cost for option in drawn))
    low, high = min(0.0, *losses), max(2 * MARGIN, *losses)
    heights = _label_heights(drawn, line=0.045 * (high - low))
    space = 0.05 * (high - low)
    axes.set(
        xlim=(0, 1.45 * widest),  # leaves space for the labels of the points on the right
        xticks=[0, 25, 50, 75, 100] if widest == 100 else [0, 100, round(widest)],
        ylim=(low - space, max(high, *heights) + space),
        ylabel="points lost in the dimension that lost most",
    )
    axes.set_xlabel(label, loc="left")
    axes.axhline(0, color=INK, linewidth=0.8, zorder=1)
    axes.axhline(MARGIN, color=INK, linewidth=0.8, dashes=(5, 3), zorder=1)
    front = [option for option in drawn if option.front]
    costs = [100 * option.cost for option in front]
    axes.plot(costs, [option.worst for option in front], color=INK, linewidth=1.4, zorder=1)
    styles = drawing.styles([option.entry.method for option in drawn])
    for option, height in zip(drawn, heights, strict=True):
        _draw_option(axes, option, styles[option.entry.method], label_height=height)


def _draw_option(axes: Axes, option: Option, style: Style, *, label_height: float) -> None:
    x, y, recipe = 100 * option.cost, option.worst, option.entry.recipe
    axes.plot(
        x,
        y,
        style.marker,
        color=style.color,
        markersize=6,
        markeredgecolor="white" if option.passed else style.color,
        markerfacecolor=style.color if option.passed else "white",
        zorder=4 if option.front else 3,
        gid=drawing.HINT + option.description,
    )
    axes.plot(
        [x, x + LABEL_OFFSET - 0.5], [y, label_height], color=drawing.GRAY, linewidth=0.5, zorder=1
    )
    cut = f"{recipe[: LABEL_CHARACTERS - 1]}…"
    axes.text(
        x + LABEL_OFFSET,
        label_height,
        cut if len(recipe) > LABEL_CHARACTERS else recipe,
        fontsize=7,
        va="center",
        fontweight="bold" if option.front else "normal",
        zorder=2,
        bbox={"facecolor": "white", "alpha": 0.8, "pad": 0.2, "linewidth": 0},
    )


def _label_heights(drawn: Sequence[Option], *, line: float) -> list[float]:
    """Return the heights of labels, moved up by a `line` past other labels and points."""
    heights: dict[int, float] = {}
    lowest_first = sorted(
        range(len(drawn)), key=lambda index: (drawn[index].worst, not drawn[index].front)
    )
    for index in lowest_first:
        cost, height = drawn[index].cost, drawn[index].worst
        reach = LABEL_WIDTH / 100 * max(1.0, *(option.cost for option in drawn))
        taken = [label for other, label in heights.items() if abs(drawn[other].cost - cost) < reach]
        # Labels extend to the right, so only points there can be covered.
        taken += [other.worst for other in drawn if 0.01 < other.cost - cost < reach]
        for obstacle in sorted(taken):
            if abs(obstacle - height) < line:
                height = obstacle + line
        heights[index] = height
    return [heights[index] for index in range(len(drawn))]
