"""The text and JSON of a sweep: the plan of a dry run, and the table at its end."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from comptrust.sweep.cell import Outcome, ended
from comptrust.sweep.driver import Report
from comptrust.sweep.plan import Estimate, Sweep
from comptrust.sweep.tally import duration
from comptrust.text_tables import table
from comptrust.tracking import store


def of_plan(
    sweep: Sweep,
    done: Mapping[str, Outcome],
    estimates: Mapping[str, Estimate],
    *,
    as_json: bool,
) -> str:
    """Return the cells with their estimated time and disk space, and which are finished."""
    cells: list[dict[str, Any]] = []
    for cell in sweep.cells:
        estimate = estimates[cell.key]
        cells.append(
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
    todo = [fields for fields in cells if fields["finished"] is None]
    total = {
        "cells": len(cells),
        "finished": len(cells) - len(todo),
        "seconds": _sum(todo, "seconds"),
        "bytes": _sum(todo, "bytes"),
        "prompts": len(todo) * sweep.cells[0].questions.n_prompts,
    }
    if as_json:
        return json.dumps({"sweep": sweep.file.name, "cells": cells, "total": total}, indent=2)
    rows = [
        (
            fields["model"],
            fields["recipe"],
            duration(fields["seconds"]),
            _size(fields["bytes"]),
            fields["finished"] or "to do",
            fields["key"][:12],
        )
        for fields in cells
    ]
    bases = ", ".join(dict.fromkeys(fields["basis"] for fields in todo))
    return "\n".join(
        [
            *table([("model", "recipe", "time", "disk", "state", "key"), *rows]),
            "",
            f"{total['cells']} cells, {total['finished']} finished; {total['prompts']} prompts to"
            " answer",
            f"time, one cell after another: {duration(total['seconds'])}"
            + (f" (estimated from: {bases})" if bases else ""),
            f"disk, cache and artifact store: {_size(total['bytes'])} (estimated)",
        ]
    )


def of_report(sweep: Sweep, report: Report, *, as_json: bool) -> str:
    """Return how every cell ended."""
    cells = [
        ended(cell, report.outcomes[cell.key])
        | {
            "overhead": report.outcomes[cell.key].overhead,
            "before": cell.key in report.before,
        }
        for cell in sweep.cells
    ]
    if as_json:
        whole = {
            "sweep": sweep.file.name,
            "run": report.parent,
            "seconds": round(report.seconds, 1),
        }
        return json.dumps(whole | {"cells": cells}, indent=2)
    rows = [
        (
            fields["model"],
            fields["recipe"],
            "done before" if fields["before"] else fields["state"],
            fields["verdict"] or "-",
            duration(fields["seconds"]),
            fields["version"] or fields["reason"],
        )
        for fields in cells
    ]
    return "\n".join(
        [
            *table([("model", "recipe", "state", "verdict", "time", "version"), *rows]),
            "",
            f"time:  {duration(report.seconds)}",
            f"where: runs:/{report.parent}, tracking: {store.shown_uri()}",
        ]
    )


def _sum(cells: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Return the sum, or None if one of the numbers is not known."""
    values = [fields[name] for fields in cells]
    return None if None in values else sum(values)


def _size(size: float | None) -> str:
    return "unknown" if size is None else f"{size / 1e9:.2f} GB"
