"""A verdict as HTML for a notebook: the outcome, each rule's reason, and the drop per dimension."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comptrust.records import Verdict

MARKS = {"pass": "✓", "block": "✕", "inconclusive": "?"}


def render(verdict: "Verdict") -> str:
    """Return the card as one HTML element without scripts or links."""
    outcome = f"{MARKS[verdict.outcome]} {verdict.outcome}"
    rules = [
        (finding.rule, f"{MARKS[finding.outcome]} {finding.outcome}", finding.reason)
        for finding in verdict.findings
    ]
    drops = [
        (name, _points(drop.get("observed")), _points(drop.get("upper")), str(drop.get("outcome")))
        for finding in verdict.findings
        for name, drop in finding.rows.items()
    ]
    parts = [
        f"<p><b>{outcome}</b> under policy {escape(verdict.policy)}</p>",
        _table(("rule", "outcome", "reason"), rules),
    ]
    if drops:
        parts.append(_table(("dimension", "points lost", "at most (95%)", "outcome"), drops))
    return f"<div>{''.join(parts)}</div>"


def _points(value: object) -> str:
    return f"{value:+.1f}" if isinstance(value, int | float) else "not measured"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    header = "".join(f"<th>{title}</th>" for title in head)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"
