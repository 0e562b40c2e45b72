"""The verdict card of one version: its findings, the drops with their bounds as a forest plot, and the answers that flipped."""

from __future__ import annotations

from typing import Any

from comptrust.records import Finding, Verdict
from comptrust.report.base import Entry, escape

SHOWN = 10
"""Flipped answers on a card."""
WIDTH, LEFT, REACH = 360.0, 120.0, 40.0
COLOURS = {"pass": "#0072B2", "block": "#B2182B", "inconclusive": "#555555"}


def verdict_card(entry: Entry, *, opened: bool = False) -> str:
    """Return the card as HTML, unfolded if `opened`; an entry without a verdict has a card that says so."""
    start = f'<details class="card"{" open" if opened else ""}>'
    title = f"{escape(entry.model)}, {escape(entry.recipe)}" + ("" if entry.seed is None else f", seed {entry.seed}")
    if entry.verdict is None:
        return f"{start}<summary>{title}: not judged</summary></details>"
    rows = "".join(
        f'<tr><th scope="row">{escape(one.rule)}</th><td style="color:{COLOURS[one.outcome]}">{one.outcome}</td>'
        f"<td>{escape(one.reason)}</td></tr>"
        for one in entry.verdict.findings
    )
    table = f"<table><thead><tr><th>rule</th><th>outcome</th><th>reason</th></tr></thead><tbody>{rows}</tbody></table>"
    summary = f"{title}: <strong>{entry.verdict.outcome}</strong> under {escape(entry.verdict.policy)}"
    content = f'<div class="wide">{table}</div>{_forest(entry.verdict)}{_flips(entry)}'
    return f"{start}<summary>{summary}</summary>{content}</details>"


def drops(verdict: Verdict) -> dict[str, dict[str, Any]]:
    """Return dimension -> evidence of a rule that measured drops; empty without such a rule."""
    return next((found for finding in verdict.findings if (found := _measured(finding))), {})


def limits(verdict: Verdict) -> tuple[float, ...]:
    """Return the margins, in points, of the rules that measured drops; smallest first."""
    given = (finding.evidence.get("points") for finding in verdict.findings if _measured(finding))
    return tuple(sorted({float(points) for points in given if isinstance(points, int | float)}))


def _measured(finding: Finding) -> dict[str, dict[str, Any]]:
    found = finding.evidence.get("dimensions")
    rows = found.items() if isinstance(found, dict) else ()
    return {name: row for name, row in rows if isinstance(row, dict) and isinstance(row.get("observed"), int | float)}


def _forest(verdict: Verdict) -> str:
    found = drops(verdict)
    if not found:
        return ""
    parts, said, height = [], [], 24.0 * len(found) + 30
    allowed = limits(verdict)
    for points, dash in ((0.0, ""), *((points, "6 4") for points in allowed)):
        parts.append(f'<path d="M{_x(points):.1f} 0V{height - 24}" stroke="#444" stroke-dasharray="{dash}"/>')
    shown = ", ".join(f"{points:g}" for points in allowed)
    parts.append(f'<text x="{_x(0) - 4:.1f}" y="{height - 10}" font-size="11" text-anchor="end">0</text>')
    if allowed:
        parts.append(f'<text x="{_x(allowed[0]):.1f}" y="{height - 10}" font-size="11">limit {shown}</text>')
    for index, (name, row) in enumerate(found.items()):
        y, observed = 24.0 * index + 14, float(row["observed"])
        low, high = (float(row[key]) if isinstance(row.get(key), int | float) else None for key in ("lower", "upper"))
        words = f"{name.replace('_', ' ')} {observed:+.1f}" + ("" if high is None else f", 95% bound {high:+.1f}")
        said.append(words)
        start, end = _x(observed if low is None else low), _x(observed if high is None else high)
        parts.append(f'<text x="0" y="{y + 4}" font-size="12">{escape(name.replace("_", " "))}</text>')
        parts.append(f'<path d="M{start:.1f} {y}H{end:.1f}" stroke="#0072B2" stroke-width="2"/>')
        parts.append(f'<circle cx="{_x(observed):.1f}" cy="{y}" r="4" fill="#0072B2"><title>{escape(words)}</title></circle>')
    label = escape("Points dropped: " + "; ".join(said))
    limit = f" Allowed (dashed): {shown}." if allowed else ""
    text = f"<p>Points dropped, with the bound of each: {escape('; '.join(said))}.{limit}</p>"
    return f'<svg class="forest" viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{label}">{"".join(parts)}</svg>{text}'


def _x(points: float) -> float:
    """Place a drop between -REACH and REACH points; what lies beyond is drawn at the edge."""
    return LEFT + (WIDTH - LEFT - 8) * (min(max(points, -REACH), REACH) + REACH) / (2 * REACH)


def _flips(entry: Entry) -> str:
    if not entry.flips:
        return ""
    names = ("dimension", "prompt", "dense", "compressed")
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = "".join("<tr>" + "".join(f"<td>{escape(row.get(name, ''))}</td>" for name in names) + "</tr>" for row in entry.flips[:SHOWN])
    return f'<p>Answers that flipped</p><div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
