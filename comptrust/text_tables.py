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


def counted(count: int, noun: str) -> str:
    """Return a count with its noun.

    >>> counted(1, "dimension"), counted(0, "prompt"), counted(2, "copy")
    ('1 dimension', 'no prompts', '2 copies')
    """
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count or 'no'} {noun if count == 1 else plural}"


def duration(seconds: float | None) -> str:
    """Return a duration for people; None is unknown.

    >>> duration(59), duration(3700), duration(200_000)
    ('59 s', '1 h 1 min', '2 d 7 h')
    """
    if seconds is None:
        return "unknown"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def number(value: float | None, *, digits: int = 1, missing: str = "-") -> str:
    """Return a number for people; what was not measured is never shown as a number."""
    return missing if value is None else f"{value:.{digits}f}"
