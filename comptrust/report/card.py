"""The verdict card of one version: findings, drops as a forest plot, and flipped answers."""

from collections.abc import Mapping

from comptrust.records import Verdict
from comptrust.report import forest, markup
from comptrust.report.base import ReportEntry
from comptrust.report.markup import escape, spaced
from comptrust.verdict_html import MARKS

MAX_FLIPS = 10
"""Flipped answers on a card."""
MAX_CHARACTERS = 800
"""Longer texts are cut: a prompt keeps its end, where the question is, an answer its beginning."""


def verdict_card(entry: ReportEntry, *, unfolded: bool = False) -> str:
    """Return the card as HTML; without a verdict it says that the version was not judged."""
    seed = "" if entry.seed is None or entry.method == "none" else f", seed {entry.seed}"
    title = f"{escape(entry.model)}, {escape(entry.recipe)}{seed}"
    opening = f'<details class="card"{" open" if unfolded else ""}>'
    if entry.emergency:
        opening = f'<p><strong class="block">{escape(entry.emergency)}</strong></p>{opening}'
    if entry.verdict is None:
        return f"{opening}<summary>{title}: not judged</summary></details>"
    summary = (
        f"{title}: {_outcome(entry.verdict.outcome)} under policy {escape(entry.verdict.policy)}"
    )
    link = (
        f'<p><a href="{escape(entry.link)}">MLflow run {escape(entry.name)}</a></p>'
        if entry.link
        else ""
    )
    content = _findings(entry.verdict) + forest.render(entry.verdict) + _flips(entry)
    return f"{opening}<summary>{summary}</summary>{link}{content}</details>"


def _outcome(outcome: str) -> str:
    return f'<strong class="{outcome}">{MARKS[outcome]} {outcome}</strong>'


def _findings(verdict: Verdict) -> str:
    rows = [
        (
            markup.header(spaced(finding.rule)),
            f"<td>{_outcome(finding.outcome)}</td>",
            f"<td>{escape(finding.reason)}</td>",
        )
        for finding in verdict.findings
    ]
    return markup.table(("rule", "outcome", "reason"), rows)


def _flips(entry: ReportEntry) -> str:
    flips = "".join(map(_flip, entry.flips[:MAX_FLIPS]))
    return f"<h4>Flipped answers, clearest first</h4>{flips}" if flips else ""


def _flip(row: Mapping[str, str]) -> str:
    dimension = escape(spaced(row.get("dimension", "")))
    change = f": {escape(row['answers'])}" if row.get("answers") else ""
    texts = {
        "prompt": _end(row.get("prompt", "")),
        "dense answer": _beginning(row.get("dense", "")),
        "compressed answer": _beginning(row.get("compressed", "")),
    }
    parts = "".join(
        f"<div><h6>{title}</h6><pre tabindex=0>{escape(text)}</pre></div>"
        for title, text in texts.items()
    )
    return f'<section class="flip"><h5>{dimension}{change}</h5>{parts}</section>'


def _beginning(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]} …"


def _end(text: str) -> str:
    return text if len(text) <= MAX_CHARACTERS else f"… {text[-MAX_CHARACTERS:]}"
