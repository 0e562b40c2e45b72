"""What a search shows: candidates, what binds, which layers cost most, and the winner."""

from typing import Any

from comptrust.compression.sensitivity import units_of
from comptrust.search.result import Searched
from comptrust.text_tables import counted, table

MOST = 5
"""Layers that are listed."""


def text(found: Searched) -> str:
    """Return the result for people."""
    rows = [("candidate", "MB", "bits", "3 or fewer", "ended", "binds", "points lost", "prompts")]
    for number, trial in enumerate(found.trials, start=1):
        rows.append(
            (
                str(number),
                f"{trial.bytes / 1e6:.1f}",
                f"{trial.effective_bits:.2f}",
                f"{trial.few_bits:.0%}",
                trial.words,
                trial.binding.dimension,
                f"{trial.binding.words}, margin {trial.binding.margin:g}",
                str(trial.prompts),
            )
        )
    fewest = min(found.sensitivity.units[0].losses)
    worst = list(units_of(found.sensitivity))[:MOST]
    lines = [
        *table(rows),
        "",
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


def fields(found: Searched) -> dict[str, Any]:
    """Return the result as JSON."""
    return found.model_dump(mode="json") | {
        "candidates": len(found.trials),
        "asked": found.asked,
        "binding": found.binding,
    }
