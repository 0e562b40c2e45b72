"""The curves: score against bits per weight, one panel a dimension, with the dense source and its margin."""

from __future__ import annotations

from collections.abc import Sequence

from comptrust.records import Record
from comptrust.report.base import DENSE_BITS, DIMENSIONS, MARGIN, Group, dense_of, difference, escape, smaller_of, text

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, told apart under every common colour blindness."""
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 340.0, 220.0, 32.0, 24.0, 30.0


class Point(Record):
    """One recipe in one panel."""

    model: str
    dimension: str
    method: str
    recipe: str
    bits: float
    mean: float
    spread: float | None
    """Standard deviation over seeds."""
    grey: bool
    """Whether it lies more than the margin below the dense source."""


def points(groups: Sequence[Group], *, dense: Group) -> tuple[Point, ...]:
    """Return the points of all recipes of one dense source; what was not measured has none."""
    found = []
    for group in groups:
        if group.first.method == "none" or dense_of(group, groups) != dense:
            continue
        for name in DIMENSIONS:
            mean, change = group.mean(name), difference(group, dense, name)
            if mean is None or change is None:
                continue
            fields = {"model": group.first.model, "dimension": name, "method": group.first.method, "recipe": group.first.recipe}
            fields |= {"bits": group.first.nominal_bits, "mean": mean, "spread": group.spread(name), "grey": change < -MARGIN}
            found.append(Point.model_validate(fields))
    return tuple(found)


def render(groups: Sequence[Group], *, smaller: dict[str, str]) -> str:
    """Return one block of panels per dense source that has compressed versions."""
    blocks = []
    for dense in (group for group in groups if group.first.method == "none"):
        found = points(groups, dense=dense)
        if not found:
            continue
        small = smaller_of(dense, groups, smaller)
        methods = sorted({point.method for point in found})
        colours = {method: COLOURS[index % len(COLOURS)] for index, method in enumerate(methods)}
        key = " ".join(f'<span style="color:{colours[method]}">■</span> {escape(method)}' for method in methods)
        panels = "".join(_panel(name, found, dense=dense, small=small, colours=colours) for name in DIMENSIONS)
        lines = "line: dense; dashes: ±5 points; grey: more than 5 points lost" + ("; dotted: smaller dense" if small else "")
        title = f"{escape(dense.first.model)} ({dense.first.source})"
        blocks.append(f'<h3>{title}</h3><p>{key}. {lines}.</p><div class="panels">{panels}</div>')
    return "".join(blocks) or "<p>No compressed version beside its dense source.</p>"


def _panel(name: str, found: Sequence[Point], *, dense: Group, small: Group | None, colours: dict[str, str]) -> str:
    level = dense.mean(name)
    mine = [point for point in found if point.dimension == name]
    if level is None or not mine:
        return ""
    parts = [
        f'<rect x="{LEFT}" y="{_y(level - MARGIN):.1f}" width="{WIDTH - LEFT}" height="{_y(0) - _y(level - MARGIN):.1f}" fill="#e4e4e4"/>'
    ]
    parts += [_line(level), _line(level + MARGIN, dash="6 4"), _line(level - MARGIN, dash="6 4")]
    if small is not None and (other := small.mean(name)) is not None:
        parts.append(_line(other, dash="1 3"))
    for index, (method, colour) in enumerate(colours.items()):
        own = sorted((point for point in mine if point.method == method), key=lambda point: point.bits)
        shift = 3.0 * (index - len(colours) / 2)
        path = " ".join(f"{_x(point.bits) + shift:.1f},{_y(point.mean):.1f}" for point in own)
        if len({point.bits for point in own}) == len(own):  # patterns of one size are points, not steps of a curve
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
        for point in own:
            x, bar = _x(point.bits) + shift, point.spread or 0.0
            parts.append(f'<path d="M{x:.1f} {_y(point.mean - bar):.1f}V{_y(point.mean + bar):.1f}" stroke="{colour}"/>')
            spread = "" if point.spread is None else f" ±{point.spread:.1f}"
            hint = f"{escape(point.recipe)}: {text(point.mean)}{spread}"
            parts.append(f'<circle cx="{x:.1f}" cy="{_y(point.mean):.1f}" r="3.5" fill="{colour}"><title>{hint}</title></circle>')
    for bits in sorted({point.bits for point in mine}):
        parts.append(f'<text x="{_x(bits):.1f}" y="{HEIGHT - 14}" font-size="11" text-anchor="middle">{bits:g}</text>')
    for score in (0, 50, 100):
        parts.append(f'<text x="{LEFT - 5}" y="{_y(score) + 4:.1f}" font-size="11" text-anchor="end">{score}</text>')
    label = name.replace("_", " ")
    parts.append(f'<text x="{LEFT}" y="14" font-size="13" font-weight="600">{label}</text>')
    parts.append(f'<text x="{WIDTH}" y="{HEIGHT - 2}" font-size="11" text-anchor="end">bits per weight</text>')
    said = "; ".join(f"{point.recipe} {text(point.mean)}" for point in mine)
    alternative = f"{label} against bits; dense {text(level)}; {said}"
    return f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(alternative)}">{"".join(parts)}</svg>'


def _x(bits: float) -> float:
    return LEFT + 12 + (WIDTH - LEFT - 24) * bits / DENSE_BITS


def _y(score: float) -> float:
    """Place a score, 0-100, inside the panel."""
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(max(score, 0.0), 100.0) / 100)


def _line(score: float, *, dash: str = "") -> str:
    style = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="M{LEFT} {_y(score):.1f}H{WIDTH}" stroke="#444"{style}/>'
