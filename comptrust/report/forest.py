"""The forest plot: the points that each dimension lost, their bounds, and the limits that the
policy set.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from comptrust.records import Finding, Record, Result, Verdict
from comptrust.report import drawing
from comptrust.report.base import Entry, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, ROW, AROUND = 380.0, 26.0, 64.0
STYLES: dict[Result, tuple[str, str]] = {
    "pass": (drawing.BLUE, "o"),
    "block": (drawing.RED, "s"),
    "inconclusive": (drawing.GRAY, "D"),
}
WORDS: dict[Result, str] = {
    "pass": "● within the limit",
    "block": "■ beyond the limit",
    "inconclusive": "◆ not decided",
}


class Interval(Record):
    """What a rule measured in one dimension."""

    dimension: str
    outcome: Result
    observed: float
    """Points lost; below 0 if it gained."""
    lower: float | None = None
    """Lower end of the two-sided 90% interval."""
    upper: float | None = None
    """One-sided 95% upper bound."""

    @property
    def words(self) -> str:
        """The interval in words."""
        bounds = (
            ""
            if self.lower is None or self.upper is None
            else f" ({self.lower:+.1f} to {self.upper:+.1f})"
        )
        return f"{self.dimension.replace('_', ' ')} {self.observed:+.1f}{bounds} {self.outcome}"


def intervals(verdict: Verdict) -> tuple[Interval, ...]:
    """Return what the rule that measured drops found, the one with bounds if there are two; empty
    without such a rule.
    """
    measured = [found for finding in verdict.findings if (found := _measured(finding))]
    return max(measured, key=lambda found: sum(one.upper is not None for one in found), default=())


def limits(verdict: Verdict) -> tuple[float, ...]:
    """Return the margins, in points, of the rules that measured drops; smallest first."""
    given = (finding.evidence.get("points") for finding in verdict.findings if _measured(finding))
    return tuple(sorted({float(points) for points in given if isinstance(points, int | float)}))


def render(verdict: Verdict) -> str:
    """Return the plot with its caption; empty where no drop was measured."""
    found, allowed = intervals(verdict), limits(verdict)
    if not found:
        return ""
    said = "Points lost: " + "; ".join(one.words for one in found) + "."
    with drawing.canvas(WIDTH, ROW * len(found) + AROUND) as figure:
        hints = _draw(_axes(figure, found), found, allowed)
        shown = drawing.svg(figure, alternative=said, hints=hints)
    return (
        "<figure"
        f' class="large">{shown}'
        f"<figcaption>{escape(_caption(found, allowed))}</figcaption></figure>"
    )


def picture(entry: Entry) -> drawing.Picture | None:
    """Return the plot of one version as a picture; None where no drop was measured."""
    if entry.verdict is None or not (found := intervals(entry.verdict)):
        return None
    allowed = limits(entry.verdict)
    family, said = (
        f"{entry.model}, {entry.recipe}",
        f"<p>{escape('; '.join(one.words for one in found))}.</p>",
    )
    draw = functools.partial(_png, found, allowed, f"{family}: points lost")
    return drawing.Picture("forest", family, "points lost", "", render(entry.verdict) + said, draw)


def _png(found: Sequence[Interval], allowed: Sequence[float], title: str) -> bytes:
    with drawing.canvas(1.4 * WIDTH, ROW * len(found) + AROUND + 20) as figure:
        axes = _axes(figure, found)
        axes.set_title(title)
        _draw(axes, found, allowed)
        return drawing.png(figure)


def _measured(finding: Finding) -> tuple[Interval, ...]:
    found = finding.evidence.get("dimensions")
    rows: dict[str, Any] = found if isinstance(found, dict) else {}
    kept = {
        name: row
        for name, row in rows.items()
        if isinstance(row, dict) and isinstance(row.get("observed"), int | float)
    }
    fields = ("outcome", "observed", "lower", "upper")
    return tuple(
        Interval.model_validate(
            {"dimension": name, "outcome": finding.outcome}
            | {key: row[key] for key in fields if key in row}
        )
        for name, row in kept.items()
    )


def _caption(found: Sequence[Interval], allowed: Sequence[float]) -> str:
    bars = (
        " Bars: from the lower end of the 90% interval to the 95% upper bound."
        if any(one.upper is not None for one in found)
        else ""
    )
    limit = (
        f" Dashed: {' and '.join(f'{points:g}' for points in allowed)} points allowed."
        if allowed
        else ""
    )
    kinds = "; ".join(
        WORDS[outcome] for outcome in STYLES if any(one.outcome == outcome for one in found)
    )
    return f"Points lost against the dense source; left of 0 is a gain.{bars}{limit} {kinds}."


def _axes(figure: Any, found: Sequence[Interval]) -> Axes:
    bottom = 40 / (ROW * len(found) + AROUND)
    axes: Axes = figure.add_axes((0.33, bottom, 0.65, 1 - bottom - 0.08))
    return axes


def _draw(axes: Axes, found: Sequence[Interval], allowed: Sequence[float]) -> dict[str, str]:
    """Draw the intervals, first on top, and return the hint of each."""
    axes.axvline(0, color=drawing.INK, linewidth=1)
    for points in allowed:
        axes.axvline(points, color=drawing.INK, linewidth=0.8, dashes=(5, 3))
    hints: dict[str, str] = {}
    for index, one in enumerate(found):
        color, marker = STYLES[one.outcome]
        if one.lower is not None and one.upper is not None:
            axes.plot(
                [one.lower, one.upper],
                [index, index],
                color=color,
                linewidth=2,
                solid_capstyle="butt",
            )
        gid = f"hint-forest-{index}"
        axes.plot(one.observed, index, marker, color=color, markersize=6, gid=gid)
        hints[gid] = one.words
    axes.set_yticks(range(len(found)), [one.dimension.replace("_", " ") for one in found])
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlabel("points lost")
    return hints
