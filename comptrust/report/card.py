"""The verdict card of one version: findings, drops as a forest plot, and flipped answers."""

from collections.abc import Mapping

from markupsafe import Markup

from comptrust import serving_cost
from comptrust.records import Verdict
from comptrust.report import answers, forest, markup
from comptrust.report.base import ReportEntry
from comptrust.report.markup import escape, number, spaced
from comptrust.serving_cost import ServingCosts
from comptrust.verdict_html import MARKS

MAX_FLIPS = 10
"""Flipped answers on a card."""
MAX_CHARACTERS = 1500
"""Longer texts are cut: a question keeps its end, an answer its beginning."""
MAX_UNFOLDED = 300
"""Characters of instructions and examples that stay in sight above a question."""
EFFECTS = {
    "lost": ' <strong class="block">▼ lost</strong>',
    "gained": ' <strong class="pass">▲ gained</strong>',
}


def content(entry: ReportEntry, *, viewer: str | None = None, texts: bool = True) -> Markup:
    """Return the card below its heading; without a verdict it says that there is none.

    `viewer` is the address of the page that shows all answers, empty if it is this page. Without
    `texts` a flip shows what the answers were parsed as, not the prompt and the answers.
    """
    link = (
        f'<p><a href="{escape(entry.link)}">MLflow run {escape(entry.name)}</a></p>'
        if entry.link
        else ""
    )
    urgent = ""
    if entry.emergency:
        urgent = f'<p><strong class="block">{escape(entry.emergency)}</strong></p>'
    if entry.verdict is None:
        return Markup(f"{urgent}{link}<p>This version was not judged.</p>")
    parts = (
        f'{urgent}<div class="beside">{forest.render(entry.verdict)}{_dimensions(entry)}</div>',
        f"<h3>Rules</h3>{_findings(entry.verdict)}",
        _serving(entry.costs),
        _flips(entry, viewer, texts=texts),
        link,
    )
    return Markup("".join(f'<section class="panel">{part}</section>' for part in parts if part))


def _dimensions(entry: ReportEntry) -> str:
    findings = entry.verdict.findings if entry.verdict else ()
    undecided = {name for finding in findings for name in forest.undecided(finding)}
    rows = forest.intervals(entry.verdict) if entry.verdict else ()
    measured = {row.dimension for row in rows}
    cells: list[tuple[str, str, float | None, float | None]] = [
        (row.dimension, _outcome(row.outcome), row.observed, row.upper)
        for row in sorted(rows, key=lambda row: -row.observed)
    ]
    cells += [
        (name, _outcome("inconclusive") if name in undecided else "not compared", None, None)
        for name in entry.dimensions
        if name not in measured and (name in undecided or name in entry.scores)
    ]
    lines = [
        (
            markup.header(spaced(name)),
            f"<td>{outcome}</td>",
            *(
                f'<td class="number">{number(value)}</td>'
                for value in (lost, upper, entry.scores.get(name))
            ),
        )
        for name, outcome, lost, upper in cells
    ]
    head = ("dimension", "outcome", "lost", "at most (95%)", "score")
    return markup.table(head, lines) if lines else ""


def _outcome(outcome: str) -> str:
    return f'<strong class="{outcome}">{MARKS[outcome]} {outcome}</strong>'


def _findings(verdict: Verdict) -> str:
    rank = ("block", "inconclusive", "pass")
    rows = [
        (
            markup.header(spaced(finding.rule)),
            f"<td>{_outcome(finding.outcome)}</td>",
            f"<td>{escape(finding.reason)}</td>",
        )
        for finding in sorted(verdict.findings, key=lambda one: rank.index(one.outcome))
    ]
    return markup.table(("rule", "outcome", "reason"), rows, attributes='class="rules"')


def _serving(costs: ServingCosts | None) -> str:
    if costs is None:
        return "<h3>Cost to serve</h3><p>It was not measured.</p>"
    measured = dict(zip(("compressed", "dense"), serving_cost.of_both(costs), strict=True))
    rows = [
        (
            markup.header(name),
            *(f'<td class="number">{escape(text)}</td>' for text in serving_cost.words(cost)),
        )
        for name, cost in measured.items()
    ]
    head = ("", "generation", "first token after", "peak memory")
    ways = {name: f"{cost.how}; {cost.where}" for name, cost in measured.items() if cost}
    if len(set(ways.values())) == 1 < len(ways):
        ways = {"both": next(iter(ways.values()))}
    notes = "".join(f"<p><small>{name}: {escape(way)}</small></p>" for name, way in ways.items())
    return f"<h3>Cost to serve</h3>{markup.table(head, rows)}{notes}"


def _flips(entry: ReportEntry, viewer: str | None, *, texts: bool) -> str:
    """Return the flips of failed dimensions before others, and losses before gains."""
    rows = forest.intervals(entry.verdict) if entry.verdict else ()
    failed = {row.dimension for row in rows if row.outcome == "block"}
    ordered = sorted(
        entry.flips,
        key=lambda flip: (
            flip.get("effect") == "gained",
            flip.get("effect") == "",
            flip.get("dimension") not in failed,
        ),
    )
    flips = "".join(_flip(row, viewer, texts=texts) for row in ordered[:MAX_FLIPS])
    if viewer is None:
        more = "<p>This run has no page of all answers; comptrust run logs one.</p>"
    else:
        place = f": {escape(viewer)}" if viewer else ""
        label = f"All answers side by side{place}"
        more = f'<p><a href="{escape(viewer or "#viewer")}">{label}</a></p>'
    return f"<h3>Flipped answers, losses first</h3>{flips}{more}" if flips else more


def _flip(row: Mapping[str, str], viewer: str | None, *, texts: bool) -> str:
    dimension = escape(spaced(row.get("dimension", "")))
    change = f": {escape(row['answers'])}" if row.get("answers") else ""
    title = f"{dimension}{change}{EFFECTS.get(row.get('effect', ''), '')}"
    if viewer is not None and row.get("id"):
        address = escape(f"{viewer}{answers.address(row)}")
        title += f' <a href="{address}">{escape(row["id"])}</a>'
    if not texts:
        return f'<section class="flip"><h4>{title}</h4></section>'
    earlier, question = _split(row.get("prompt", ""))
    before = (
        f"<details><summary>{len(earlier):,} characters before the question</summary>"
        f"{_pre(answers.end(earlier, MAX_CHARACTERS))}</details>"
        if earlier
        else ""
    )
    return (
        f'<section class="flip"><h4>{title}</h4>'
        f"<div><h5>prompt</h5>{before}{_pre(answers.end(question, MAX_CHARACTERS))}</div>"
        f"<div><h5>dense answer</h5>{_answer(row.get('dense', ''))}</div>"
        f"<div><h5>compressed answer</h5>{_answer(row.get('compressed', ''))}</div></section>"
    )


def _split(prompt: str) -> tuple[str, str]:
    """Return instructions and examples, and the question, which is the last part of a prompt."""
    earlier, _, question = prompt.rstrip().rpartition("\n\n")
    return (earlier, question) if len(earlier) > MAX_UNFOLDED else ("", prompt)


def _answer(text: str) -> str:
    return _pre(answers.beginning(text, MAX_CHARACTERS))


def _pre(text: str) -> str:
    if not text.strip():
        return "<p>(no text)</p>"
    return f'<pre dir="auto">{escape(markup.visible(text))}</pre>'
