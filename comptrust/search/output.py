"""What a search shows: candidates, what binds, which layers cost most, and the winner."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from comptrust import config
from comptrust.compression.sensitivity import units_of
from comptrust.report.markup import escape
from comptrust.search.result import FILE, Searched, Trial
from comptrust.text_tables import counted, table
from comptrust.tracking import runs
from comptrust.tracking.store import search_runs

MOST = 5
"""Layers that are listed."""


def text(found: Searched) -> str:
    """Return the result for people."""
    names = ("candidate", "MB", "bits", "3 or fewer", "ended", "binds", "points lost", "prompts")
    timed = any(trial.cost for trial in found.trials)
    rows = [names + ("tokens/s",) * timed]
    for number, trial in enumerate(found.trials, start=1):
        rows.append(
            (
                str(number),
                f"{trial.bytes / 1e6:.1f}",
                f"{trial.effective_bits:.2f}",
                f"{trial.few_bits:.0%}",
                trial.words,
                trial.binds,
                _lost(trial),
                str(trial.prompts),
                *((f"{trial.speed:.3g}" if trial.speed else "-",) if timed else ()),
            )
        )
    stopped = [
        f"candidate {number}: {trial.why}"
        for number, trial in enumerate(found.trials, start=1)
        if trial.finding
    ]
    fewest = min(found.sensitivity.units[0].losses)
    worst = list(units_of(found.sensitivity))[:MOST]
    lines = [
        *table(rows),
        "",
        *stopped,
        f"binds most often: {found.binding or 'nothing'}",
        f"most sensitive at {fewest} bits: {', '.join(unit.name for unit in worst)}",
        f"prompts: {found.asked:,} answered by {counted(len(found.trials), 'candidate')}, of"
        f" {found.search_prompts:,} to search with and {found.held_prompts:,} held back",
    ]
    if found.winner is None:
        lines.append("winner: none. No candidate passed the search part.")
    else:
        size = next(trial.bytes for trial in found.trials if trial.recipe.slug == found.winner.slug)
        lines.append(
            f"winner: {found.winner.slug}, {size / 1e6:.1f} MB of {found.dense_bytes / 1e6:.1f} MB"
            f" dense: {found.verdict} on prompts that the search never saw"
        )
        lines.append(f"where: {found.version}, {found.run}; again: recipe.yaml of the search")
    return "\n".join(lines)


def _lost(trial: Trial) -> str:
    if trial.binding is None:
        return "not asked"
    return f"{trial.binding.words}, margin {trial.binding.margin:g}"


def fields(found: Searched) -> dict[str, Any]:
    """Return the result as JSON."""
    return found.model_dump(mode="json") | {
        "candidates": len(found.trials),
        "asked": found.asked,
        "binding": found.binding,
    }


def logged(experiment: str) -> list[Searched]:
    """Return the finished searches of an experiment, by its id, oldest first."""
    query = "attributes.status = 'FINISHED' and tags.search LIKE '%'"
    found = search_runs(query, experiments=[experiment], oldest_first=True)
    read = ((run.info.run_id, runs.read_json(run.info.run_id, FILE)) for run in found)
    return [
        config.parse(content, Searched, where=f"runs:/{run_id}/{FILE}")
        for run_id, content in read
        if content is not None
    ]


def html(searches: Sequence[Searched]) -> Markup:
    """Return searches as a part of a page."""
    from comptrust.search import figure

    return Markup("").join(
        Markup(
            f"<h3>{escape(found.model)}, policy {escape(found.policy)}</h3>"
            f"<pre>{escape(text(found))}</pre>{figure.html(found)}"
        )
        for found in searches
    )
