"""The forest plot: points lost in each dimension, their bounds, and the limits of the policy."""

import functools
import textwrap
from collections.abc import Sequence

from matplotlib.figure import Figure

from comptrust.records import Finding, Record, Result, Verdict
from comptrust.report import drawing
from comptrust.report.base import ReportEntry
from comptrust.report.markup import escape, spaced

WIDTH, ROW_HEIGHT, MARGINS = 380.0, 26.0, 64.0
"""Pixels; MARGINS is the height of everything that is not a row."""
TITLE_CHARACTERS, LEGEND_CHARACTERS, LINE_HEIGHT = 72, 92, 14.0
"""What fits into a line of the PNG, and its height in pixels."""
PNG_DOTS_PER_INCH = 120.0
"""So that it fits the column of MLflow's page of a version, which shows it as large as it is."""
STYLES: dict[Result, tuple[str, str, str]] = {
    "pass": (drawing.BLUE, "o", "● within the limit"),
    "block": (drawing.RED, "s", "■ beyond the limit"),
    "inconclusive": (drawing.GRAY, "D", "◆ not decided"),
}
"""Color, marker and legend."""


class Interval(Record, extra="ignore"):
    """What a rule measured in one dimension; validated, because evidence is free-form."""

    dimension: str
    outcome: Result
    observed: float
    """Points lost; below 0 for a gain."""
    lower: float | None = None
    """Lower end of the two-sided 90% interval."""
    upper: float | None = None
    """One-sided 95% upper bound."""
    floor: float | None = None
    """What 0.1% noise in the dense weights moves, in points."""

    @property
    def description(self) -> str:
        """The interval in words."""
        bounds = ""
        if self.lower is not None and self.upper is not None:
            bounds = f" ({self.lower:+.1f} to {self.upper:+.1f})"
        return f"{spaced(self.dimension)} {self.observed:+.1f}{bounds} {self.outcome}"


def intervals(verdict: Verdict) -> tuple[Interval, ...]:
    """Return the intervals of the rule that measured drops, preferably of one with bounds."""
    measured = filter(None, map(_intervals, verdict.findings))
    return max(measured, key=_count_bounds, default=())


def _count_bounds(rows: Sequence[Interval]) -> int:
    return sum(row.upper is not None for row in rows)


def limits(verdict: Verdict) -> tuple[float, ...]:
    """Return the limits, in points, of the rules that measured drops; smallest first."""
    points = [finding.evidence.get("points") for finding in verdict.findings if _intervals(finding)]
    return tuple(sorted({float(value) for value in points if isinstance(value, int | float)}))


def render(verdict: Verdict) -> str:
    """Return the plot with its caption as HTML; empty if no drop was measured."""
    rows, allowed = intervals(verdict), limits(verdict)
    if not rows:
        return ""
    with drawing.canvas(WIDTH, ROW_HEIGHT * len(rows) + MARGINS) as figure:
        _draw(figure, rows, allowed)
        svg = drawing.svg(figure, alternative=f"Points lost: {_descriptions(rows)}.")
    caption = escape(_caption(rows, allowed))
    return f'<figure class="large">{svg}<figcaption>{caption}</figcaption></figure>'


def picture(entry: ReportEntry) -> drawing.Picture | None:
    """Return the plot of one version; None if no drop was measured."""
    rows = intervals(entry.verdict) if entry.verdict else ()
    if not entry.verdict or not rows:
        return None
    return drawing.Picture(
        name="forest",
        family=f"{entry.model}, {entry.recipe_and_seed}",
        title=f"{entry.verdict.outcome} under policy {entry.verdict.policy}",
        notes="",
        html=f"{render(entry.verdict)}<p>{escape(_descriptions(rows))}.</p>",
        draw=functools.partial(_png, rows, limits(entry.verdict)),
    )


def _descriptions(rows: Sequence[Interval]) -> str:
    return "; ".join(row.description for row in rows)


def _png(rows: Sequence[Interval], allowed: Sequence[float], title: str) -> bytes:
    lines = textwrap.wrap(title, TITLE_CHARACTERS)
    legend = textwrap.wrap(_caption(rows, allowed), LEGEND_CHARACTERS)
    above, below = LINE_HEIGHT * len(lines) + 6, LINE_HEIGHT * len(legend) + 6
    plot = ROW_HEIGHT * len(rows) + MARGINS
    height = above + plot + below
    with drawing.canvas(1.4 * WIDTH, height) as figure:
        figure.text(0.02, 1 - 4 / height, "\n".join(lines), fontweight="bold", fontsize=9, va="top")
        figure.text(0.02, 4 / height, "\n".join(legend), va="bottom")
        _draw(figure, rows, allowed, bottom=below / height, top=1 - above / height)
        return drawing.png(figure, dots_per_inch=PNG_DOTS_PER_INCH)


def _intervals(finding: Finding) -> tuple[Interval, ...]:
    return tuple(
        Interval.model_validate({"outcome": finding.outcome} | row | {"dimension": name})
        for name, row in finding.rows.items()
        if isinstance(row.get("observed"), int | float)
    )


def undecided(finding: Finding) -> tuple[str, ...]:
    """Return the dimensions in which a rule could not decide, measured or not."""
    rows = finding.rows.items()
    return tuple(name for name, row in rows if row.get("outcome") == "inconclusive")


def _caption(rows: Sequence[Interval], allowed: Sequence[float]) -> str:
    bars = "Bars: from the lower end of the 90% interval to the 95% upper bound."
    points = " and ".join(f"{value:g}" for value in allowed)
    outcomes = {row.outcome for row in rows}
    legend = "; ".join(text for outcome, (_, _, text) in STYLES.items() if outcome in outcomes)
    sentences = (
        "Points lost compared with the dense source; below 0 is a gain.",
        bars if _count_bounds(rows) else "",
        f"Dashed: {points} points allowed." if points else "",
        f"{legend}.",
    )
    return " ".join(filter(None, sentences))


def _draw(
    figure: Figure,
    rows: Sequence[Interval],
    allowed: Sequence[float],
    *,
    bottom: float = 0.0,
    top: float = 1.0,
) -> None:
    """Draw the intervals, the first on top, between two heights of the figure (0-1)."""
    start = bottom + (top - bottom) * 40 / (ROW_HEIGHT * len(rows) + MARGINS)
    axes = figure.add_axes((0.33, start, 0.65, top - start - 0.08 * (top - bottom)))
    axes.axvline(0, color=drawing.INK, linewidth=1)
    for points in allowed:
        axes.axvline(points, color=drawing.INK, linewidth=0.8, dashes=(5, 3))
    for y, row in enumerate(rows):
        color, marker, _ = STYLES[row.outcome]
        if row.lower is not None and row.upper is not None:
            ends = [row.lower, row.upper]
            axes.plot(ends, [y, y], color=color, linewidth=2, solid_capstyle="butt")
        hint = drawing.HINT + row.description
        axes.plot(row.observed, y, marker, color=color, markersize=6, gid=hint)
    axes.set_yticks(range(len(rows)), [spaced(row.dimension) for row in rows])
    axes.set(xlabel="points lost", ylim=(len(rows) - 0.5, -0.5))
