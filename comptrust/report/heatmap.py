"""The heatmap: points gained or lost against the dense source at about half of its size."""

from __future__ import annotations

from collections.abc import Sequence

from comptrust.records import Record
from comptrust.report.base import DENSE_BITS, DIMENSIONS, Group, dense_of, difference, escape, smaller_of, text

HALF = DENSE_BITS / 2
REFUSAL_MOVED = 10.0
FULL = 30.0
"""Points at which a colour is deepest."""


class Cell(Record):
    """One field of the heatmap."""

    model: str
    row: str
    dimension: str
    points: float | None
    """Gain over the dense source; None is not measured."""
    dot: bool
    """Whether the refusal rate moved by more than ten points."""

    @property
    def colour(self) -> str:
        """Blue for a gain, red for a drop (a blue-red scale stays apart under every common colour blindness)."""
        if self.points is None:
            return "#dddddd"
        depth = min(abs(self.points) / FULL, 1.0)
        end = (33, 102, 172) if self.points > 0 else (178, 24, 43)
        return "#" + "".join(f"{round(255 + (channel - 255) * depth):02x}" for channel in end)

    @property
    def ink(self) -> str:
        """Black on light fields, white on deep ones."""
        return "#ffffff" if self.points is not None and abs(self.points) > FULL * 0.6 else "#000000"


def cells(groups: Sequence[Group], *, smaller: dict[str, str]) -> tuple[Cell, ...]:
    """Return the fields: per dense source its smaller dense model, if named, and every recipe of half the size."""
    found = []
    for dense in (group for group in groups if group.first.method == "none"):
        rows = [one for one in groups if one.first.method != "none" and dense_of(one, groups) == dense and one.first.nominal_bits == HALF]
        if (small := smaller_of(dense, groups, smaller)) is not None:
            rows.insert(0, small)
        for row in rows:
            label = row.first.recipe if row.first.method != "none" else f"dense {row.first.model}"
            for name in DIMENSIONS:
                before, after = dense.refusal(name), row.refusal(name)
                dot = before is not None and after is not None and abs(after - before) > REFUSAL_MOVED
                found.append(Cell(model=dense.first.model, row=label, dimension=name, points=difference(row, dense, name), dot=dot))
    return tuple(found)


def render(groups: Sequence[Group], *, smaller: dict[str, str]) -> str:
    """Return the heatmap as a table, whose text is its own alternative."""
    rows: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells(groups, smaller=smaller):
        rows.setdefault((cell.model, cell.row), []).append(cell)
    if not rows:
        return "<p>No recipe of half the dense size beside its dense source.</p>"
    head = "".join(f'<th scope="col">{name.replace("_", " ")}</th>' for name in ("model", "version", *DIMENSIONS))
    body = "".join(
        f'<tr><th scope="row">{escape(model)}</th><th scope="row">{escape(row)}</th>{"".join(map(_field, found))}</tr>'
        for (model, row), found in rows.items()
    )
    return f'<div class="wide"><table class="heat"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _field(cell: Cell) -> str:
    dot = ' <span role="img" aria-label="refusal moved more than 10 points">●</span>' if cell.dot else ""
    return f'<td style="background:{cell.colour};color:{cell.ink}">{text(cell.points, sign=True)}{dot}</td>'
