"""The leaderboard: one row per recipe with mean and spread over its seeds, to sort and filter."""

from collections.abc import Sequence

from markupsafe import Markup

from comptrust.report import skeleton
from comptrust.report.base import DIMENSIONS, SeedGroup
from comptrust.text_tables import counted

COLUMNS = ("model", "verdict", "method", "bits or structure", "source", "size")
LAST_COLUMNS = ("average", "refusal", "runs")


def render(groups: Sequence[SeedGroup]) -> Markup:
    """Return the table as HTML; the page's script sorts and filters it."""
    imported = {name for group in groups for name in group.first.dimensions}
    names = (*DIMENSIONS, *sorted(imported - set(DIMENSIONS)))
    count = sum(group.first.source == "published" for group in groups)
    return skeleton.fill(
        "leaderboard.html",
        groups=groups,
        names=names,
        columns=(*COLUMNS, *names, *LAST_COLUMNS),
        fold=counted(count, "published row") if 0 < count < len(groups) else "",
    )
