"""The heatmap: points gained or lost against the dense source at about half of its size."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from comptrust.records import Record
from comptrust.report import drawing
from comptrust.report.base import (
    DIMENSIONS,
    Group,
    compressed_of,
    difference,
    escape,
    heading,
    smaller_of,
    text,
)

ABOUT_HALF = (0.40, 0.65)
"""Share of the dense size that counts as `about half`; 3 and 4 bits of every weight lie below."""
REFUSAL_MOVED = 10.0
FULL = 30.0
"""Points at which a color is deepest."""
GAIN, DROP = (33, 102, 172), (178, 24, 43)
"""A blue-red scale stays apart under every common color blindness; the sign stands in the cell as
well.
"""
NOTES = (
    f"Points gained (blue) or lost (red, deepest at {FULL:.0f}) against the dense source; ● where"
    f" the refusal rate moved more than {REFUSAL_MOVED:.0f} points; – not measured. Rows: the"
    f" smaller dense model, and every version of {100 * ABOUT_HALF[0]:.0f} to"
    f" {100 * ABOUT_HALF[1]:.0f}% of the dense size, measured from the files where there are any,"
    " else as the recipe says. A pruned model keeps its zeros on disk and is counted, as the paper"
    " does, by the weights that are left."
)


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
    def color(self) -> str:
        """Blue for a gain, red for a drop, white for none, gray for not measured."""
        if self.points is None:
            return "#dddddd"
        depth = min(abs(self.points) / FULL, 1.0)
        end = GAIN if self.points > 0 else DROP
        return "#" + "".join(f"{round(255 + (channel - 255) * depth):02x}" for channel in end)

    @property
    def ink(self) -> str:
        """Black on light fields, white on deep ones."""
        return "#ffffff" if self.points is not None and abs(self.points) > FULL * 0.6 else "#000000"

    @property
    def words(self) -> str:
        """What stands in the field."""
        return text(self.points, sign=True) + (" ●" if self.dot else "")


class Line(Record):
    """One row of the heatmap."""

    model: str
    label: str
    share: float | None
    """Counted size as a share of the dense source; None where it is not known."""
    cells: tuple[Cell, ...]


def lines(groups: Sequence[Group], *, dense: Group, smaller: dict[str, str]) -> tuple[Line, ...]:
    """Return the rows of one dense source: its smaller dense model, if there is one, then every
    recipe of about half its size.
    """
    low, high = ABOUT_HALF
    found = []
    if (small := smaller_of(dense, groups, smaller)) is not None:
        sizes = (small.first.bytes, dense.first.bytes)
        share = sizes[0] / sizes[1] if sizes[0] and sizes[1] else None
        found.append(_line(small, dense, label=f"dense {small.first.model}", share=share))
    for group in compressed_of(dense, groups):
        if low <= group.first.counted_share <= high:
            found.append(
                _line(group, dense, label=group.first.recipe, share=group.first.counted_share)
            )
    return tuple(found)


def _line(group: Group, dense: Group, *, label: str, share: float | None) -> Line:
    found = []
    for name in DIMENSIONS:
        before, after = dense.refusal(name), group.refusal(name)
        dot = (
            before is not None
            and after is not None
            and round(abs(after - before), 9) > REFUSAL_MOVED
        )
        found.append(
            Cell(
                model=dense.first.model,
                row=label,
                dimension=name,
                points=difference(group, dense, name),
                dot=dot,
            )
        )
    return Line(model=dense.first.model, label=label, share=share, cells=tuple(found))


def picture(
    groups: Sequence[Group], *, dense: Group, smaller: dict[str, str]
) -> drawing.Picture | None:
    """Return the heatmap of one dense source as a picture; None without any row."""
    found = lines(groups, dense=dense, smaller=smaller)
    if not found:
        return None
    family = dense.first.title
    title = "points against the dense source at about half its size"
    return drawing.Picture(
        "heatmap",
        family,
        title,
        f"<p>{NOTES}</p>",
        _table(found),
        functools.partial(_png, found, f"{family}: {title}"),
    )


def _png(found: Sequence[Line], title: str) -> bytes:
    wide, high, left = 84.0, 26.0, 240.0
    height = high * len(found) + 90
    with drawing.canvas(left + wide * len(DIMENSIONS), height) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, left + wide * len(DIMENSIONS)), ylim=(height, 0))
        axes.axis("off")
        axes.text(6, 18, title, fontsize=9, fontweight="bold")
        axes.text(
            6,
            height - 8,
            f"● refusal rate moved more than {REFUSAL_MOVED:.0f} points; – not measured",
            fontsize=8,
        )
        for index, name in enumerate(DIMENSIONS):
            axes.text(
                left + wide * (index + 0.5),
                46,
                name.replace("_", "\n"),
                ha="center",
                va="center",
                fontsize=8,
            )
        for row, line in enumerate(found):
            y = 60 + high * row
            axes.text(6, y + high / 2, f"{line.label}{_share(line)}", va="center", fontsize=8)
            for column, cell in enumerate(line.cells):
                x = left + wide * column
                axes.fill(
                    [x, x + wide, x + wide, x],
                    [y, y, y + high, y + high],
                    color=cell.color,
                    linewidth=0,
                )
                axes.text(
                    x + wide / 2,
                    y + high / 2,
                    cell.words,
                    ha="center",
                    va="center",
                    color=cell.ink,
                    fontsize=8,
                )
        return drawing.png(figure)


def _share(line: Line) -> str:
    return "" if line.share is None else f" ({100 * line.share:.0f}%)"


def _table(found: Sequence[Line]) -> str:
    head = "".join(
        f'<th scope="col">{heading(name)}</th>' for name in ("version", "size", *DIMENSIONS)
    )
    return (
        '<div class="wide"><table'
        f' class="heat"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(_rows(found))}</tbody></table></div>"
    )


def _rows(found: Sequence[Line]) -> Iterator[str]:
    for line in found:
        size = "–" if line.share is None else f"{100 * line.share:.0f}%"
        fields = "".join(map(_field, line.cells))
        yield (
            f'<tr><th scope="row">{escape(line.label)}</th><td'
            f' class="size">{size}</td>{fields}</tr>'
        )


def _field(cell: Cell) -> str:
    dot = (
        f' <span role="img" aria-label="refusal rate moved more than {REFUSAL_MOVED:.0f}'
        ' points">●</span>'
        if cell.dot
        else ""
    )
    style = f"background:{cell.color};color:{cell.ink}"
    return f'<td style="{style}">{text(cell.points, sign=True)}{dot}</td>'
