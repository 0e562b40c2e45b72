"""The leaderboard: one row per recipe, its seeds folded into mean and spread, sortable and filterable."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from comptrust.report.base import DIMENSIONS, Group, escape, text


def render(groups: Sequence[Group]) -> str:
    """Return the table as HTML; the page's script sorts and filters it."""
    names = ("model", "recipe", "source", "size", *DIMENSIONS, "average", "refusal", "verdict", "runs")
    head = "".join(f'<th scope="col"><button type="button" data-column="{name}">{name.replace("_", " ")}</button></th>' for name in names)
    rows = "".join(_row(group) for group in groups)
    box = '<p><label>Filter <input id="filter" type="search"></label> <span id="shown" role="status"></span></p>'
    return f'{box}<div class="wide"><table id="leaderboard"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def refusal(group: Group) -> float | None:
    """Return the mean refusal rate over the dimensions that have one, in percent; None without any."""
    known = [value for name in DIMENSIONS if (value := group.refusal(name)) is not None]
    return sum(known) / len(known) if known else None


def _row(group: Group) -> str:
    first = group.first
    cells = [f'<th scope="row">{escape(first.model)}</th>', _cell(first.recipe), _cell(first.source)]
    cells.append(_number(100 * first.share, None, unit="%"))
    cells += [_number(group.mean(name), group.spread(name)) for name in DIMENSIONS]
    cells += [_number(group.average, None), _number(refusal(group), None), _cell(group.outcome)]
    links = []
    for entry in group.entries:
        name = escape(entry.name if entry.seed is None else f"seed {entry.seed}")
        safe = entry.url is not None and urlsplit(entry.url).scheme in ("http", "https")
        links.append(f'<a href="{escape(entry.url)}">{name}</a>' if safe else name)
    return f"<tr>{''.join(cells)}<td>{', '.join(links)}</td></tr>"


def _cell(value: str) -> str:
    return f"<td>{escape(value)}</td>"


def _number(value: float | None, spread: float | None, *, unit: str = "") -> str:
    shown = text(value) + (unit if value is not None else "") + ("" if spread is None else f" ±{spread:.1f}")
    return f'<td class="number" data-value="{"" if value is None else value}">{shown}</td>'
