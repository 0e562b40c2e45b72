"""The verdict card of one version: its findings, the drops with their bounds as a forest plot, and
the answers that flipped.
"""

from __future__ import annotations

from collections.abc import Mapping

from comptrust.records import Verdict
from comptrust.report import forest
from comptrust.report.base import Entry, escape

SHOWN = 10
"""Flipped answers on a card."""
LETTERS = 800
"""Shown of a text; of a prompt the end, where the question stands, of an answer the beginning."""
MARK = {"pass": "✓", "block": "✕", "inconclusive": "?"}


def verdict_card(entry: Entry, *, opened: bool = False) -> str:
    """Return the card as HTML, unfolded if `opened`; an entry without a verdict has a card that
    says so.
    """
    start = f'<details class="card"{" open" if opened else ""}>'
    seed = "" if entry.seed is None or entry.method == "none" else f", seed {entry.seed}"
    title = f"{escape(entry.model)}, {escape(entry.recipe)}{seed}"
    if entry.verdict is None:
        return f"{start}<summary>{title}: not judged</summary></details>"
    summary = (
        f"{title}: {_outcome(entry.verdict.outcome)} under policy {escape(entry.verdict.policy)}"
    )
    link = (
        f'<p><a href="{escape(entry.link)}">MLflow run {escape(entry.name)}</a></p>'
        if entry.link
        else ""
    )
    inner = _findings(entry.verdict) + forest.render(entry.verdict) + _flips(entry)
    return f"{start}<summary>{summary}</summary>{link}{inner}</details>"


def _outcome(outcome: str) -> str:
    return f'<strong class="{outcome}">{MARK[outcome]} {outcome}</strong>'


def _findings(verdict: Verdict) -> str:
    rows = "".join(
        "<tr><th"
        f' scope="row">{escape(one.rule.replace("_", " "))}</th>'
        f"<td>{_outcome(one.outcome)}</td><td>{escape(one.reason)}</td></tr>"
        for one in verdict.findings
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("rule", "outcome", "reason"))
    return (
        "<div"
        f' class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _flips(entry: Entry) -> str:
    if not entry.flips:
        return ""
    return (
        "<h4>Answers that flipped, the most telling"
        f" first</h4>{''.join(map(_flip, entry.flips[:SHOWN]))}"
    )


def _short(text: str, *, end: bool) -> str:
    if len(text) <= LETTERS:
        return text
    return f"… {text[-LETTERS:]}" if end else f"{text[:LETTERS]} …"


def _flip(row: Mapping[str, str]) -> str:
    where = escape(row.get("dimension", "").replace("_", " "))
    changed = f": {escape(row['answers'])}" if row.get("answers") else ""
    parts = "".join(
        f"<div><h6>{name}</h6><pre"
        f" tabindex=0>{escape(_short(row.get(key, ''), end=key == 'prompt'))}</pre></div>"
        for key, name in (
            ("prompt", "prompt"),
            ("dense", "dense answer"),
            ("compressed", "compressed answer"),
        )
    )
    return f'<section class="flip"><h5>{where}{changed}</h5>{parts}</section>'
