"""The leaderboard: one row per recipe, its seeds folded into mean and spread, sortable and
filterable.
"""

from __future__ import annotations

from collections.abc import Sequence

from comptrust.report.base import DIMENSIONS, Entry, Group, escape, heading, text

COLUMNS = (
    "model",
    "method",
    "bits or structure",
    "source",
    "size",
    *DIMENSIONS,
    "average",
    "refusal",
    "verdict",
    "runs",
)


def render(groups: Sequence[Group]) -> str:
    """Return the table as HTML; the page's script sorts and filters it."""
    head = "".join(
        f'<th scope="col"><button type="button" data-column="{name}">{heading(name)}</button></th>'
        for name in COLUMNS
    )
    rows = "".join(_row(group) for group in groups)
    box = (
        '<p><label>Filter <input id="filter" type="search" placeholder="such as: gptq 3'
        ' bits"></label> <span id="shown" role="status"></span></p><p>Scores and refusal rates'
        " 0-100; ± is the standard deviation over seeds; average: plain mean of all nine, as the"
        " paper counts it; size: measured, or with ~ as the recipe says; – not measured. Press a"
        " column's name to sort.</p>"
    )
    return (
        f'{box}<div class="wide"><table'
        f' id="leaderboard"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def refusal(group: Group) -> float | None:
    """Return the mean refusal rate over the dimensions that have one, in percent; None without
    any."""
    known = [value for name in DIMENSIONS if (value := group.refusal(name)) is not None]
    return sum(known) / len(known) if known else None


def _row(group: Group) -> str:
    first = group.first
    source = (
        "published"
        if first.source == "published"
        else f"own <small>{escape(first.suite[:8])}</small>"
    )
    cells = [
        f'<th scope="row">{escape(first.model)}</th>',
        _cell("dense" if first.method == "none" else first.method),
    ]
    cells += [_cell(first.form, value=first.nominal_bits), f"<td>{source}</td>", _size(first)]
    cells += [_number(group.mean(name), group.spread(name)) for name in DIMENSIONS]
    cells += [
        _number(group.average),
        _number(refusal(group)),
        f'<td class="{escape(group.outcome)}">{escape(group.outcome)}</td>',
    ]
    return f"<tr>{''.join(cells)}<td>{', '.join(map(_link, group.entries))}</td></tr>"


def _size(entry: Entry) -> str:
    megabytes = f" <small>{entry.bytes / 1e6:,.3g} MB</small>" if entry.bytes else ""
    return (
        '<td class="number"'
        f' data-value="{entry.share}">{"" if entry.ratio else "~"}'
        f"{100 * entry.share:.0f}%{megabytes}</td>"
    )


def _link(entry: Entry) -> str:
    name = escape("run" if entry.seed is None else f"seed {entry.seed}")
    return (
        f'<a href="{escape(entry.link)}" title="{escape(entry.name)}">{name}</a>'
        if entry.link
        else name
    )


def _cell(shown: str, *, value: float | None = None) -> str:
    """Return a cell; it is sorted by `value` where there is one."""
    order = "" if value is None else f' data-value="{value}"'
    return f"<td{order}>{escape(shown)}</td>"


def _number(value: float | None, spread: float | None = None) -> str:
    around = "" if spread is None else f" <small>±{spread:.1f}</small>"
    return (
        '<td class="number"'
        f' data-value="{"" if value is None else value}">{text(value)}{around}</td>'
    )
