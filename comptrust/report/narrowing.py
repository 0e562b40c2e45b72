"""The narrowing plots: bounds of each dimension's drop, batch by batch, until it was decided."""

import functools
import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from pydantic import ValidationError

from comptrust.gate.sequential.course import Decision
from comptrust.gate.sequential.plan import StoppingPlan
from comptrust.records import Verdict
from comptrust.report import drawing
from comptrust.report.base import ReportEntry
from comptrust.report.forest import STYLES
from comptrust.report.markup import escape, spaced

COLUMNS, WIDTH, HEIGHT = 3, 560.0, 120.0
"""Plots side by side, the width of all, and the height of each, in pixels."""
OUTCOMES = {"pass": "pass", "block": "block", "inconclusive": "open"}
"""Short enough for the title of a plot."""
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


def of_verdict(verdict: Verdict) -> tuple[tuple[Decision, ...], dict[str, float]]:
    """Return how an evaluation that stopped early was decided, and the margins; else nothing."""
    for finding in verdict.findings:
        if finding.rule == "stopping" and "decisions" in finding.evidence:
            try:
                plan = StoppingPlan.model_validate(finding.evidence["plan"])
                rows = map(Decision.model_validate, finding.evidence["decisions"])
                return tuple(rows), {one.dimension: one.points for one in plan.stretches}
            except (ValidationError, TypeError, KeyError):  # evidence is free-form
                continue
    return (), {}


def picture(entry: ReportEntry) -> drawing.Picture | None:
    """Return the plots of one version; None if it did not stop early."""
    rows, margins = of_verdict(entry.verdict) if entry.verdict else ((), {})
    if not any(row.bounds for row in rows):
        return None
    return drawing.Picture(
        name="narrowing",
        family=f"{entry.model}, {entry.recipe_and_seed}",
        title="bounds of the points lost, by items asked",
        notes="",
        html=render(rows, margins),
        draw=functools.partial(png, rows, margins),
    )


def png(decisions: Sequence[Decision], margins: Mapping[str, float], title: str) -> bytes:
    """Return the plots below a title as a PNG image."""
    shown = [row for row in decisions if row.bounds]
    with drawing.canvas(WIDTH, HEIGHT * math.ceil(len(shown) / COLUMNS)) as figure:
        figure.suptitle(title, fontsize=9)
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
        # Before the first look nothing is ruled out.
        items, lower, upper = zip((0, -100.0, 100.0), *row.bounds, strict=True)
        axes.fill_between(items, lower, upper, color=color, alpha=0.25, linewidth=0, step="post")
        for bound in (lower, upper):
            axes.plot(items, bound, color=color, linewidth=1, drawstyle="steps-post")
        axes.plot([items[-1]] * 2, [lower[-1], upper[-1]], color=color, linewidth=2)
        axes.axhline(0, color=drawing.INK, linewidth=0.8)
        axes.axhline(margin, color=drawing.INK, linewidth=0.8, dashes=(5, 3))
        if row.decided_at:
            axes.plot(row.decided_at, margin, marker, color=color, markersize=5)
        axes.set(xlim=(0, most * 1.05), ylim=(-RANGE * margin, RANGE * margin))
        axes.set_title(f"{spaced(row.dimension)}: {OUTCOMES[row.outcome]}", fontsize=7)
    figure.tight_layout(pad=0.6)
