"""What MLflow's pages say of a verdict: a block of Markdown between two marks in a description.

Text that others wrote stays, below the block. What the block quotes (names, reasons) is escaped, so
that it can neither end a table nor look like a verdict.
"""

import datetime
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from comptrust import serving_cost
from comptrust.records import SEVERITY, Verdict
from comptrust.serving_cost import ServingCosts
from comptrust.verdict_html import MARKS

BEGIN, END = "<!-- comptrust:begin -->", "<!-- comptrust:end -->"
BLOCK = re.compile(f"[^\n]*{BEGIN}.*?{END}|{BEGIN}|{END}", re.DOTALL)
"""Our text: from the beginning of the line with the first mark, as lists show that line alone."""
BELOW = "---\n*Notes of people; comptrust wrote only what is above.*"
NOTE = "mlflow.note.content"
"""Tag that MLflow shows as a run's description."""
MAX_CHARACTERS = 5_000
"""The longest description that MLflow's database takes."""
MAX_QUOTED, MAX_REASON, MAX_REASONS, MAX_ROWS = 240, 140, 3, 9
TYPE = "?workflowType=machine_learning"
"""Without it MLflow opens a page for traces, which has no model registry."""
UNSAFE = re.compile(r"[^\w\s,;:()%+.'?-]|(?<!\w)_|_(?!\w)")
"""What Markdown or HTML could take for markup; an underscore within a word is none."""


@dataclass(frozen=True)
class Facts:
    """What is known of a judged version or run besides its verdict."""

    experiment: str
    run_id: str
    recipe: str = ""
    signed: str = ""
    """By which key and until when."""
    urgent: str = ""
    """Its emergency, if there was one."""
    waived: Sequence[str] = ()
    """Waivers that were signed after the verdict, for what it left open."""
    costs: ServingCosts | None = None
    """What it costs to serve, as the run says; nothing proves it."""


@dataclass(frozen=True)
class Place:
    """A stage or alias of a registered model: what is there, since when and why."""

    name: str
    model: str
    version: str
    since: datetime.datetime
    who: str
    why: str


def of_version(verdict: Verdict | None, facts: Facts) -> str:
    """Return the text about a version: verdict, reasons, points lost, the card and its picture."""
    if verdict is None:
        return f"{quoted(facts.urgent)}\n===" if facts.urgent else ""
    rows = dict(_rows(verdict))
    open_rows = {name: row for name, row in rows.items() if row["outcome"] != "pass"}
    run = f"#/experiments/{facts.experiment}/runs/{facts.run_id}"
    links = [f"[Verdict card]({run}/artifacts/report/card.html{TYPE})", f"[run]({run}{TYPE})"]
    picture = f"![points lost](get-artifact?path=report%2Fforest.png&run_uuid={facts.run_id})"
    parts = (
        *_first(verdict, facts),
        _table(open_rows),
        " · ".join(filter(None, [*links, quoted(facts.recipe), quoted(facts.signed)])),
        picture if any("observed" in row for row in rows.values()) else "",
        _serving(facts),
    )
    return "\n\n".join(filter(None, parts))


def of_run(verdict: Verdict, facts: Facts) -> str:
    """Return the text about a run, of which MLflow shows the first lines only."""
    page = f"#/experiments/{facts.experiment}/runs/{facts.run_id}/artifacts/report/card.html{TYPE}"
    return "\n\n".join([*_first(verdict, facts), f"[Verdict card]({page})"])


def of_model(places: Sequence[Place]) -> str:
    """Return the text about a registered model: what is in each guarded place, and why."""
    return "\n\n".join(
        f"**{quoted(place.name)}: [version {place.version}](#/models/{quote(place.model, safe='')}"
        f"/versions/{place.version}{TYPE})** since {place.since:%Y-%m-%d %H:%M} UTC, by"
        f" {quoted(place.who)}. {quoted(place.why)}"
        for place in places
    )


def merged(text: str, before: str | None) -> str:
    """Return a description that begins with a text of ours and keeps what others wrote.

    >>> merged("PASS", "ours") == merged("PASS", merged("BLOCK", "ours"))
    True
    >>> merged("", merged("BLOCK", "ours"))
    'ours'
    """
    rest = others(before)
    if not text:
        return rest[:MAX_CHARACTERS]
    first, _, more = text.partition("\n")
    block = f"{first} {BEGIN}\n{more}\n\n{END}"
    if rest:
        block = f"{first} {BEGIN}\n{more}\n\n{BELOW}\n\n{END}\n{rest}"
    return block[:MAX_CHARACTERS]


def others(description: str | None) -> str:
    """Return what others wrote in a description."""
    return BLOCK.sub("", description or "").strip()


def quoted(text: object, *, longest: int = MAX_QUOTED) -> str:
    """Return a text as one line in which nothing is markup, a link, or hidden.

    >>> quoted("a|b <b>**PASS**</b> max_drop")
    'a&#124;b &#60;b&#62;&#42;&#42;PASS&#42;&#42;&#60;&#47;b&#62; max_drop'
    """
    words = " ".join(str(text).split())
    words = words if len(words) <= longest else f"{words[: longest - 1]}…"
    seen = "".join("�" if unicodedata.category(one).startswith("C") else one for one in words)
    safe = UNSAFE.sub(lambda found: f"&#{ord(found[0])};" if found[0].isascii() else found[0], seen)
    safe = re.sub(r"(?i)www\.", lambda found: f"{found[0][:-1]}&#46;", safe)
    turned = any(unicodedata.bidirectional(one) in ("R", "AL", "AN") for one in safe)
    return f"\u2068{safe}\u2069" if turned else safe  # isolated, so that it turns nothing else


def _first(verdict: Verdict, facts: Facts) -> Iterator[str]:
    if facts.urgent:
        yield f"{quoted(facts.urgent)}\n==="
    outcome = f"{MARKS[verdict.outcome]} {verdict.outcome.upper()}"
    yield f"{outcome} under policy {quoted(verdict.policy, longest=80)}\n---"
    decisive = [found for found in verdict.findings if found.outcome == verdict.outcome]
    if verdict.outcome == "pass":
        measured = [found for found in decisive if "dimensions" in found.evidence]
        waived = [found for found in decisive if "waivers" in found.evidence]
        yield f"All {len(decisive)} rules pass. {_reasons([*waived, *measured[:1]])}".rstrip()
    elif decisive:
        yield _reasons(decisive[:MAX_REASONS])
        if len(decisive) > MAX_REASONS:
            yield f"and {len(decisive) - MAX_REASONS} more"
    yield "\n".join(
        f"Waived since, counts from the next verdict on: {quoted(one)}"
        for one in facts.waived[:MAX_REASONS]
    )


def _serving(facts: Facts) -> str:
    own, dense = serving_cost.of_both(facts.costs)
    if own is None:
        return ""
    names = ("generation", "first token after", "peak memory")
    pairs = zip(names, serving_cost.words(own), serving_cost.words(dense), strict=True)
    figures = "; ".join(f"{name} {one}, dense {other}" for name, one, other in pairs)
    return f"Cost to serve, measured in run {facts.run_id[:8]}, not verified: {quoted(figures)}"


def _reasons(findings: Sequence[Any]) -> str:
    return "\n".join(
        f"{quoted(found.rule)}: {quoted(found.reason, longest=MAX_REASON)}" for found in findings
    )


def _rows(verdict: Verdict) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each dimension with what its most severe rule says; the worst first."""
    worst: dict[str, dict[str, Any]] = {}
    for found in verdict.findings:
        for name, row in found.rows.items():
            if row.get("outcome") in SEVERITY and (
                name not in worst or _severity(row) > _severity(worst[name])
            ):
                worst[name] = row
    yield from sorted(worst.items(), key=lambda item: _severity(item[1]), reverse=True)


def _severity(row: dict[str, Any]) -> tuple[int, float]:
    return SEVERITY.index(row["outcome"]), _float(row.get("observed")) or 0.0


def _table(rows: dict[str, dict[str, Any]]) -> str:
    if not rows:
        return ""
    lines = [
        "| dimension |&ensp;dense |&ensp;compressed |&ensp;lost |&ensp;at most | |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for name, row in list(rows.items())[:MAX_ROWS]:
        values = [_float(row.get(key)) for key in ("dense", "compressed", "observed", "upper")]
        cells = [f"&ensp;{'–' if value is None else f'{value:.1f}'}" for value in values]
        judged = f"{MARKS[row['outcome']]} {'open' if row['outcome'] != 'block' else 'block'}"
        lines.append(f"| {quoted(name, longest=60)} | {' | '.join(cells)} | {judged} |")
    return "\n".join(lines)


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
