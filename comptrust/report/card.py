"""The verdict card of one version: findings, drops as a forest plot, and flipped answers."""

import functools
from collections import defaultdict
from typing import Any

from markupsafe import Markup

from comptrust import serving_cost
from comptrust.report import answers, forest, narrowing, skeleton
from comptrust.report.base import ReportEntry
from comptrust.report.forest import Interval
from comptrust.serving_cost import ServingCosts

MAX_FLIPS = 10
"""Flipped answers on a card."""
MAX_CHARACTERS = 1500
"""Longer texts are cut: a question keeps its end, an answer its beginning."""
MAX_UNFOLDED = 300
"""Characters of instructions and examples that stay in sight above a question."""
RANK = ("block", "inconclusive", "pass")


def content(entry: ReportEntry, *, viewer: str | None = None, texts: bool = True) -> Markup:
    """Return the card below its heading; without a verdict it says that there is none.

    `viewer` is the address of the page of all answers, empty if it is this one. Without `texts` a
    flip shows only what the answers were parsed as.
    """
    verdict = entry.verdict
    rows = forest.intervals(verdict) if verdict else ()
    failed = {row.dimension for row in rows if row.outcome == "block"}
    flips = sorted(
        entry.flips,
        key=lambda flip: (
            flip.get("effect") == "gained",
            flip.get("effect") == "",
            flip.get("dimension") not in failed,
        ),
    )
    findings = verdict.findings if verdict else ()
    return skeleton.fill(
        "card.html",
        entry=entry,
        forest=Markup(forest.render(verdict)) if verdict else "",
        narrowing=Markup(narrowing.render(*narrowing.of_verdict(verdict))) if verdict else "",
        dimensions=_dimensions(entry, rows),
        findings=sorted(findings, key=lambda finding: RANK.index(finding.outcome)),
        **_serving(entry.costs),
        flips=[defaultdict(str, flip) for flip in flips[:MAX_FLIPS]],
        viewer=viewer,
        texts=texts,
        split=_split,
        address=answers.address,
        beginning=functools.partial(answers.beginning, most=MAX_CHARACTERS),
        end=functools.partial(answers.end, most=MAX_CHARACTERS),
    )


def _dimensions(
    entry: ReportEntry, rows: tuple[Interval, ...]
) -> list[tuple[str, str, list[float | None]]]:
    """Return name, outcome, and points lost, their bound and the score, the most lost first."""
    findings = entry.verdict.findings if entry.verdict else ()
    undecided = {name for finding in findings for name in forest.undecided(finding)}
    measured = {row.dimension for row in rows}
    return [
        (row.dimension, row.outcome, [row.observed, row.upper, entry.scores.get(row.dimension)])
        for row in sorted(rows, key=lambda row: -row.observed)
    ] + [
        (name, "inconclusive" if name in undecided else "", [None, None, entry.scores.get(name)])
        for name in entry.dimensions
        if name not in measured and (name in undecided or name in entry.scores)
    ]


def _serving(costs: ServingCosts | None) -> dict[str, Any]:
    if costs is None:
        return {"costs": {}, "ways": {}}
    measured = dict(zip(("compressed", "dense"), serving_cost.of_both(costs), strict=True))
    ways = {name: f"{cost.how}; {cost.where}" for name, cost in measured.items() if cost}
    if len(set(ways.values())) == 1 < len(ways):
        ways = {"both": next(iter(ways.values()))}
    figures = {name: serving_cost.words(cost) for name, cost in measured.items()}
    return {"costs": figures, "ways": ways}


def _split(prompt: str) -> tuple[str, str]:
    """Return instructions and examples, and the question, which is the last part of a prompt."""
    earlier, _, question = prompt.rstrip().rpartition("\n\n")
    return (earlier, question) if len(earlier) > MAX_UNFOLDED else ("", prompt)
