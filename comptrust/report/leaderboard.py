"""The leaderboard: one row per recipe with mean and spread over its seeds, to sort and filter."""

from collections.abc import Iterator, Sequence

from comptrust.report import markup
from comptrust.report.base import DIMENSIONS, ReportEntry, SeedGroup
from comptrust.report.markup import escape, number
from comptrust.text_tables import counted

COLUMNS = (
    "model", "verdict", "method", "bits or structure", "source", "size",
)  # fmt: skip
LAST_COLUMNS = ("average", "refusal", "runs")
FILTER = (
    '<p class="filter"><label>Filter <input id="filter" type="search"'
    ' placeholder="e.g. gptq 3 bits"></label> {fold}<span id="shown" role="status"></span></p>'
)
FOLD = '<label><input id="published" type="checkbox"> show {count}</label> '
"""Published rows are folded away where they would bury one's own."""
NOTES = (
    "<p>Scores and refusal rates are 0-100. ± is the standard deviation over seeds. The average is"
    " the plain mean of all nine scores, as in the paper. A size with ~ is computed from the"
    " recipe, all other sizes are measured. – means not measured."
    " Click a column name to sort.</p>"
)


def render(groups: Sequence[SeedGroup]) -> str:
    """Return the table as HTML; the page's script sorts and filters it."""
    imported = {name for group in groups for name in group.first.dimensions}
    names = (*DIMENSIONS, *sorted(imported - set(DIMENSIONS)))
    head = [
        f'<button type="button" data-column="{name}">{markup.narrow_heading(name)}</button>'
        for name in (*COLUMNS, *names, *LAST_COLUMNS)
    ]
    count = sum(group.first.source == "published" for group in groups)
    fold = FOLD.format(count=counted(count, "published row")) if 0 < count < len(groups) else ""
    table = markup.table(
        head, (_row(group, names) for group in groups), attributes='id="leaderboard"'
    )
    return FILTER.format(fold=fold) + NOTES + table


def _row(group: SeedGroup, names: Sequence[str]) -> Iterator[str]:
    entry = group.first
    yield markup.header(entry.model)
    outcome = escape(group.outcome)
    yield f'<td class="{outcome}">{outcome}</td>'
    yield f"<td>{'dense' if entry.method == 'none' else escape(entry.method)}</td>"
    yield f'<td data-value="{entry.nominal_bits}">{escape(entry.form)}</td>'
    own = f"own <small>{escape(entry.suite_label.removeprefix('suite '))}</small>"
    yield f"<td>{own}</td>" if entry.source == "own" else "<td data-published>published</td>"
    yield markup.number_cell(_size(entry), value=entry.share)
    for name in names:
        mean, spread = group.mean(name), group.spread(name)
        around = "" if spread is None else f" <small>±{number(spread)}</small>"
        yield markup.number_cell(f"{number(mean)}{around}", value=mean)
    for value in (group.average, _refusal(group)):
        yield markup.number_cell(number(value), value=value)
    yield f"<td>{', '.join(map(_link, group.entries))}</td>"


def _refusal(group: SeedGroup) -> float | None:
    rates = [rate for name in DIMENSIONS if (rate := group.refusal(name)) is not None]
    return sum(rates) / len(rates) if rates else None


def _size(entry: ReportEntry) -> str:
    estimated = "" if entry.ratio else "~"
    megabytes = f" <small>{entry.bytes / 1e6:,.3g} MB</small>" if entry.bytes else ""
    return f"{estimated}{markup.percent(entry.share)}{megabytes}"


def _link(entry: ReportEntry) -> str:
    label = escape("run" if entry.seed is None else f"seed {entry.seed}")
    if not entry.link:
        return label
    return f'<a href="{escape(entry.link)}" title="{escape(entry.name)}">{label}</a>'
