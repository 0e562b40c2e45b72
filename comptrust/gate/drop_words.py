"""The sentence of `max_drop`: which dimensions block or are undecided, or how near a pass was."""

import math
from collections.abc import Mapping
from typing import Any

from comptrust.gate.rule import change
from comptrust.records import Result
from comptrust.text_tables import counted

NO_SECOND_LOOK = (
    "Plan the number of prompts before the next run: more prompts for this candidate, judged again"
    " by the same rule, let a bad model pass too often."
)

Row = Mapping[str, Any]
"""What is known of one dimension, see `MaxDrop.check`."""


def summary(judged: Mapping[str, Row], *, points: float) -> tuple[Result, str]:
    """Return the outcome of all dimensions, the worst one, and why."""
    drops = {name: row["observed"] for name, row in judged.items() if row["outcome"] == "block"}
    if drops:
        ranked = sorted(drops, key=lambda name: -drops[name])
        listed = ", ".join(f"{name} {_lost(judged[name])}" for name in ranked)
        return "block", f"Dropped more than {points:g} points: {listed}."
    undecided = [
        _undecided(name, row, points=points)
        for name, row in judged.items()
        if row["outcome"] != "pass"
    ]
    if undecided:
        return "inconclusive", f"Undecided: {'; '.join(undecided)}. {NO_SECOND_LOOK}"
    how = _certain(judged) or _nearest(judged)
    return "pass", f"No dimension dropped{f' more than {points:g} points ({how})' if how else ''}."


def _certain(judged: Mapping[str, Row]) -> str:
    """Say after how many items a sequential evaluation was certain; empty if it was not one."""
    items = {name: row["items"] for name, row in judged.items() if row.get("decided_at")}
    if len(items) < len(judged):
        return ""
    least, most = min(items, key=items.__getitem__), max(items, key=items.__getitem__)
    return f"certain after {items[least]} items of {least} to {items[most]} of {most}"


def _nearest(judged: Mapping[str, Row]) -> str:
    """Say which dimension came nearest to the margin; empty if none dropped."""
    worst = max(judged, key=lambda name: judged[name].get("upper", judged[name]["observed"]))
    row = judged[worst]
    if "upper" in row:
        return f"closest: {worst}, {change(row['observed'])}, 95% bound {row['upper']:.1f}"
    return f"largest: {worst}, {row['observed']:.1f}" if row["observed"] > 0 else ""


def _undecided(name: str, row: Row, *, points: float) -> str:
    if "why" in row:
        return f"{name}: {row['why']}"
    drop = f"{name} {change(row['observed'])}"
    low, high = row["needs"]
    span = f"at least {low}" if high is None else f"{low} to {high}"
    if row.get("n_withheld"):
        drop += f", {counted(row['n_withheld'], 'answer')} not given and counted as lost"
    needs = (
        f"a lossless model that changes as many answers needs {span} independent prompts, and"
        f" there are {row['n_clusters']}"
    )
    if low is None:
        needs = "no number of prompts like these is enough"
    elif high is not None and high <= row["n_clusters"]:
        needs = "there are enough prompts for a lossless model, so the drop may well be real"
    if not math.isfinite(row["upper"]):
        return f"{drop}, with too few independent prompts for a 95% bound ({needs})"
    return f"{drop} (95% bound {row['upper']:.1f}, limit {points:g}; {needs})"


def _lost(row: Row) -> str:
    """Return the points lost; of a part, what is certain."""
    if row.get("decided_at"):
        bounds = f"{row['lower']:.1f} to {row['upper']:.1f}"
        return f"{bounds} (certain after {counted(row['items'], 'item')})"
    return f"{row['observed']:.1f}"
