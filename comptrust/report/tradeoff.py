"""The trade-off: size against the worst drop, and the versions that nothing beats in both (the Pareto front)."""

from __future__ import annotations

from collections.abc import Sequence

from comptrust.records import Record
from comptrust.report.base import DIMENSIONS, Group, dense_of, difference, escape

WIDTH, HEIGHT, LEFT, BOTTOM = 360.0, 240.0, 36.0, 34.0


class Option(Record):
    """One compressed recipe."""

    recipe: str
    share: float
    """Size as a share of the dense source."""
    worst: float
    """Largest drop of a dimension, in points; below 0 if all gained."""
    dimension: str
    front: bool
    """Whether no other recipe is at least as small and as faithful, and better in one of the two."""


def options(groups: Sequence[Group], *, dense: Group) -> tuple[Option, ...]:
    """Return the recipes of one dense source, smallest first; one that misses a dimension of the source is left out."""
    found: list[tuple[Group, float, str]] = []
    for group in groups:
        if group.first.method == "none" or dense_of(group, groups) != dense:
            continue
        changes = {name: difference(group, dense, name) for name in DIMENSIONS if dense.mean(name) is not None}
        known = {name: -change for name, change in changes.items() if change is not None}
        if known and len(known) == len(changes):
            worst = max(known, key=lambda name: known[name])
            found.append((group, known[worst], worst))
    places = [(group.first.share, worst) for group, worst, _ in found]
    listed = [
        Option(recipe=group.first.recipe, share=mine[0], worst=worst, dimension=name, front=not any(_beats(one, mine) for one in places))
        for (group, worst, name), mine in zip(found, places, strict=True)
    ]
    return tuple(sorted(listed, key=lambda one: (one.share, one.worst)))


def render(groups: Sequence[Group]) -> str:
    """Return one figure and its table per dense source that has compressed versions."""
    blocks = []
    for dense in (group for group in groups if group.first.method == "none"):
        if found := options(groups, dense=dense):
            title = f"<h3>{escape(dense.first.model)} ({dense.first.source})</h3>"
            names = ", ".join(escape(one.recipe) for one in found if one.front)
            blocks.append(f"{title}<p>Pareto front: {names}.</p>{_figure(found)}{_table(found)}")
    return "".join(blocks) or "<p>No compressed version that measured all that its dense source did.</p>"


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[0] and one[1] <= other[1] and one != other


def _figure(found: Sequence[Option]) -> str:
    low, high = min(0.0, *(one.worst for one in found)), max(10.0, *(one.worst for one in found))

    def x(share: float) -> float:
        return LEFT + (WIDTH - LEFT - 10) * min(share, 1.0)

    def y(worst: float) -> float:
        return 10 + (HEIGHT - BOTTOM - 10) * (worst - low) / (high - low)

    front = " ".join(f"{x(one.share):.1f},{y(one.worst):.1f}" for one in found if one.front)
    parts = [f'<path d="M{LEFT} {y(5):.1f}H{WIDTH}" stroke="#444" stroke-dasharray="6 4"/>']
    parts.append(f'<polyline points="{front}" fill="none" stroke="#0072B2"/>')
    for one in found:
        hint = f"{escape(one.recipe)}: {100 * one.share:.0f}% of the size, worst drop {one.worst:.1f} ({one.dimension})"
        fill = "#0072B2" if one.front else "#999999"
        parts.append(f'<circle cx="{x(one.share):.1f}" cy="{y(one.worst):.1f}" r="4" fill="{fill}"><title>{hint}</title></circle>')
    for value in (0.0, 5.0, high):
        parts.append(f'<text x="{LEFT - 4}" y="{y(value) + 4:.1f}" font-size="11" text-anchor="end">{value:.0f}</text>')
    for share in (0.25, 0.5, 1.0):
        parts.append(f'<text x="{x(share):.1f}" y="{HEIGHT - 18}" font-size="11" text-anchor="middle">{100 * share:.0f}%</text>')
    parts.append(f'<text x="{WIDTH}" y="{HEIGHT - 3}" font-size="11" text-anchor="end">size; down: worst drop, points</text>')
    label = "Size against worst drop; the table below has the numbers"
    return f'<svg class="forest" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _table(found: Sequence[Option]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(one.recipe)}</th><td>{100 * one.share:.0f}%</td><td>{one.worst:.1f}</td>'
        f"<td>{one.dimension}</td><td>{'yes' if one.front else ''}</td></tr>"
        for one in found
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("recipe", "size", "worst drop", "in", "front"))
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
