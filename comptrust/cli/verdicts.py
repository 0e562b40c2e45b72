"""A verdict on the terminal: scores with bounds, one line per rule, and the decision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from comptrust.records import SEVERITY, Finding, Scorecard, Verdict
from comptrust.text_tables import number, table
from comptrust.tracking.evaluations import REMOTE

if TYPE_CHECKING:
    from comptrust.trust.evaluation import Evaluation

MARK = {"pass": "pass", "block": "BLOCK", "inconclusive": "open"}


def scores(candidate: Scorecard, baseline: Evaluation, verdict: Verdict) -> list[str]:
    """Return the lines of the score table.

    "lost" is in points, "at most" its 95% bound, and noise the floor of the dense model, if
    measured. A dimension is marked with the worst outcome that any rule gave it. Of one that was
    asked in part there are intervals of the scores, and the items asked.
    """
    floors = baseline.control.floors if baseline.control else {}
    judged = _dimensions(verdict)
    rows = [("dimension", "dense", "compressed", "lost", "at most", "", "noise", "")]
    for score in candidate.scores:
        dense, row = baseline.scorecard.score(score.dimension), judged.get(score.dimension, {})
        before = dense.value if dense else None
        shown, part = (number(before), number(score.value)), score.estimate
        if part and dense and (whole := dense.estimate):
            shown = f"{whole.low:.0f} to {whole.high:.0f}", f"{part.low:.0f} to {part.high:.0f}"
        lost = "-"
        if before is not None and score.value is not None:
            lost = f"{before - score.value:+.1f}"
        rows.append(
            (
                score.dimension,
                *shown,
                lost,
                number(row.get("upper")),
                MARK[row["outcome"]] if row else "",
                number(floors.get(score.dimension)),
                f"{part.items} of {part.of} items" if part else "",
            )
        )
    reasons = [f"{one.dimension}: {one.reason}" for one in baseline.scorecard.scores if one.reason]
    if not floors and baseline.ref.startswith(REMOTE):
        reasons.append(f"noise: not measured; comptrust control {baseline.ref} measures it")
    return [*table(rows, align="<>>>>"), *reasons]


def findings(verdict: Verdict) -> list[str]:
    """Return one line per rule that applies, one for those that do not, and the decision."""
    applying = [found for found in verdict.findings if found.evidence.get("applies", True)]
    rows = [(named(found), MARK[found.outcome], found.reason) for found in applying]
    lines = table([("rule", "verdict", "why"), *rows])
    if others := [named(found) for found in verdict.findings if found not in applying]:
        lines.append(f"Rules that do not apply: {', '.join(others)}.")
    return [*lines, "", decision(verdict)]


def decision(verdict: Verdict) -> str:
    """Return the verdict in one line: its policy, and what blocks it or is open."""
    line = f"verdict: {verdict.outcome.upper()} under policy {verdict.policy}"
    parts = [
        f"{word}: {', '.join(names)}"
        for outcome, word in (("block", "blocked by"), ("inconclusive", "open"))
        if (names := list(_names(verdict, outcome)))
    ]
    return f"{line}; {'; '.join(parts)}" if parts else line


def named(finding: Finding) -> str:
    """Return a rule's name, with its parameters where a policy may have several of its kind."""
    scope = finding.evidence.get("scope")
    return f"{finding.rule} ({scope})" if scope else finding.rule


def _names(verdict: Verdict, outcome: str) -> Iterator[str]:
    """Yield what has this outcome: a rule, with the dimensions that it judges so."""
    for found in verdict.findings:
        rows = found.rows.items()
        dimensions = [name for name, row in rows if row.get("outcome") == outcome]
        if found.outcome == outcome or (dimensions and found.outcome != "pass"):
            listed = f" [{', '.join(dimensions)}]" if dimensions else ""
            yield f"{named(found)}{listed}"


def _dimensions(verdict: Verdict) -> dict[str, dict[str, Any]]:
    worst: dict[str, dict[str, Any]] = {}
    for found in verdict.findings:
        for name, row in found.rows.items():
            if row.get("outcome") in SEVERITY:
                rank = SEVERITY.index(row["outcome"])
                if name not in worst or rank > SEVERITY.index(worst[name]["outcome"]):
                    worst[name] = worst.get(name, {}) | row
    return worst
