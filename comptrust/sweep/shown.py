"""What a sweep prints: the plan of a dry run, and the table at its end; for people, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from comptrust.sweep.driver import Report
from comptrust.sweep.plan import Estimate, Sweep
from comptrust.sweep.view import duration
from comptrust.tracking import store, sweeps


def planned(
    sweep: Sweep,
    done: Mapping[str, sweeps.Done],
    expected: Mapping[str, Estimate],
    *,
    as_json: bool,
) -> str:
    """Return the cells, their time and disk by estimate, and what is finished already."""
    rows: list[dict[str, Any]] = []
    for cell in sweep.cells:
        estimate = expected[cell.key]
        rows.append(
            {
                "model": cell.recipe.base_model,
                "recipe": cell.recipe.slug,
                "key": cell.key,
                "finished": done[cell.key].version if cell.key in done else None,
                "seconds": None if estimate.seconds is None else round(estimate.seconds),
                "basis": estimate.basis,
                "bytes": None if estimate.bytes is None else round(estimate.bytes),
            }
        )
    left = [row for row in rows if row["finished"] is None]
    total = {
        "cells": len(rows),
        "finished": len(rows) - len(left),
        "seconds": _sum(left, "seconds"),
        "bytes": _sum(left, "bytes"),
    }
    total["prompts"] = len(left) * sweep.cells[0].questions.n_prompts
    if as_json:
        return json.dumps({"sweep": sweep.name, "cells": rows, "total": total}, indent=2)
    table = [("model", "recipe", "time", "disk", "state", "key")]
    table += [
        (
            row["model"],
            row["recipe"],
            _time(row["seconds"]),
            _size(row["bytes"]),
            row["finished"] or "to do",
            row["key"][:12],
        )
        for row in rows
    ]
    bases = ", ".join(dict.fromkeys(row["basis"] for row in left))
    return "\n".join(
        [
            *_columns(table),
            "",
            (
                f"{total['cells']} cells, {total['finished']} finished; {total['prompts']} prompts"
                " to answer"
            ),
            f"time, one cell after another: {_time(total['seconds'])}"
            + (f" (estimated from: {bases})" if bases else ""),
            f"disk, cache and artifact store: {_size(total['bytes'])} (estimated)",
        ]
    )


def ended(sweep: Sweep, report: Report, *, as_json: bool) -> str:
    """Return what became of every cell."""
    rows: list[dict[str, Any]] = []
    for cell in sweep.cells:
        outcome = report.outcomes[cell.key]
        fields = ("key", "state", "run_id", "version", "verdict", "seconds", "overhead", "reason")
        row = {"model": cell.recipe.base_model, "recipe": cell.recipe.slug} | {
            name: getattr(outcome, name) for name in fields
        }
        rows.append(row | {"before": cell.key in report.before})
    if as_json:
        return json.dumps(
            {
                "sweep": sweep.name,
                "run": report.parent,
                "seconds": round(report.seconds, 1),
                "cells": rows,
            },
            indent=2,
        )
    table = [("model", "recipe", "state", "verdict", "time", "version")]
    table += [
        (
            row["model"],
            row["recipe"],
            "done before" if row["before"] else row["state"],
            row["verdict"] or "-",
            _time(row["seconds"]),
            row["version"] or row["reason"],
        )
        for row in rows
    ]
    return "\n".join(
        [
            *_columns(table),
            "",
            f"time:  {duration(report.seconds)}",
            f"where: runs:/{report.parent}, tracking: {store.shown_uri()}",
        ]
    )


def _sum(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Return the sum, or None if one of the numbers is not known."""
    values = [row[name] for row in rows]
    return None if None in values else sum(values)


def _time(seconds: float | None) -> str:
    return "unknown" if seconds is None else duration(seconds)


def _size(size: float | None) -> str:
    return "unknown" if size is None else f"{size / 1e9:.2f} GB"


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
