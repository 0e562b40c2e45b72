"""Plain-text tables for terminals."""

from collections.abc import Sequence


def table(
    rows: Sequence[Sequence[str]],
    *,
    align: str = "",
    widths: Sequence[int] = (),
    gap: str = "  ",
) -> list[str]:
    """Return one line per row, each column as wide as its widest cell.

    `align` holds < or > per column, `widths` the least width of each; both may be shorter than
    the rows.

    >>> table([("name", "score"), ("ethics", "7.0")], align="<>")
    ['name    score', 'ethics    7.0']
    """
    columns = range(len(rows[0]))
    align = align.ljust(len(columns), "<")
    least = [*widths, *[0] * (len(columns) - len(widths))]
    widest = [max(least[column], *(len(row[column]) for row in rows)) for column in columns]
    return [
        gap.join(f"{row[column]:{align[column]}{widest[column]}}" for column in columns).rstrip()
        for row in rows
    ]


def number(value: float | None, *, digits: int = 1, missing: str = "-") -> str:
    """Return a number for people; what was not measured is never shown as a number."""
    return missing if value is None else f"{value:.{digits}f}"
