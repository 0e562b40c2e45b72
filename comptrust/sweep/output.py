"""What a sweep shows: its live progress, the plan of a dry run, and the table at the end."""

import json
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from tqdm import tqdm

from comptrust.sweep.cell import ended
from comptrust.sweep.plan import Sweep
from comptrust.text_tables import counted, duration, table
from comptrust.tracking import store
from comptrust.tracking.sweeps import Outcome

SECONDS_BETWEEN_LINES = 30
WINDOW = 60
"""Seconds over which prompts per second are averaged."""


@dataclass(frozen=True)
class Progress:
    """How far a sweep is."""

    total: int
    done: int
    running: int
    failed: int
    prompts_per_second: float = 0.0
    seconds_left: float | None = None
    """None while there is nothing to estimate it from."""

    def line(self) -> str:
        """Return it as one line."""
        return (
            f"{self.done} of {self.total} cells done, {self.running} running, {self.failed} failed,"
            f" {self.prompts_per_second:.1f} prompts/s,"
            f" time left: {duration(self.seconds_left)}"
        )

    def metrics(self) -> dict[str, float]:
        """Return it as metrics of the parent run; what is unknown is absent."""
        return {
            f"sweep/{name}": float(value)
            for name, value in asdict(self).items()
            if value is not None
        }


def rate(counts: deque[tuple[float, int]], prompts: int, *, now: float) -> float:
    """Add a count that only grows to those of the last minute, and return prompts per second."""
    counts.append((now, prompts))
    while len(counts) > 2 and now - counts[1][0] >= WINDOW:
        counts.popleft()
    began, before = counts[0]  # the last count that is a minute old, or the first one
    return (prompts - before) / (now - began) if now > began else 0.0


class View:
    """Shows progress on stderr: one line that is rewritten on a terminal, plain lines elsewhere."""

    def __init__(self, *, total: int, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.printed, self.last = 0.0, ""
        self.bar = tqdm(
            total=total,
            file=self.stream,
            bar_format="{bar:12} {desc}",
            dynamic_ncols=True,
            disable=not self.stream.isatty(),
        )

    def show(self, progress: Progress, event: str = "") -> None:
        """Rewrite the line, or print one now and then, and one for each event (a cell's end)."""
        line = progress.line()
        due = line != self.last and time.monotonic() - self.printed >= SECONDS_BETWEEN_LINES
        self.last = line
        if not self.bar.disable:
            if event:
                self.bar.write(event, file=self.stream)
            self.bar.n = progress.done
            self.bar.set_description_str(line)
        elif event or due:
            print(f"{event}; {line}" if event else line, file=self.stream, flush=True)
            self.printed = time.monotonic()


def of_plan(sweep: Sweep, *, as_json: bool) -> str:
    """Return the cells with their estimated time and disk space, and which are finished."""
    cells: list[dict[str, Any]] = [
        {
            "model": cell.recipe.base_model,
            "recipe": cell.recipe.slug,
            "key": cell.key,
            "finished": sweep.finished[cell.key].version if cell.key in sweep.finished else None,
            "seconds": None if cell.seconds is None else round(cell.seconds),
            "basis": cell.basis,
            "bytes": None if cell.bytes is None else round(cell.bytes),
        }
        for cell in sweep.cells
    ]
    todo = [fields for fields in cells if fields["finished"] is None]
    total = {
        "cells": len(cells),
        "finished": len(cells) - len(todo),
        "seconds": _sum(todo, "seconds"),
        "bytes": _sum(todo, "bytes"),
        "prompts": len(todo) * len(sweep.suite.prompts) or (None if todo else 0),
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
    prompts = total["prompts"]
    bases = ", ".join(dict.fromkeys(fields["basis"] for fields in todo))
    return "\n".join(
        [
            *table([("model", "recipe", "time", "disk", "state", "key"), *rows]),
            "",
            f"{counted(len(cells), 'cell')}, {len(cells) - len(todo)} finished;"
            f" prompts to answer: {'unknown' if prompts is None else prompts}",
            f"time, one cell after another: {duration(total['seconds'])}"
            + (f" (estimated from: {bases})" if bases else ""),
            f"disk, cache and artifact store: {_size(total['bytes'])} (estimated)",
        ]
    )


def of_result(
    sweep: Sweep, outcomes: Mapping[str, Outcome], *, run: str, seconds: float, as_json: bool
) -> str:
    """Return how every cell ended. `run` is the id of the sweep's run."""
    cells = [
        ended(cell, outcomes[cell.key])
        | {"overhead": outcomes[cell.key].overhead, "before": cell.key in sweep.finished}
        for cell in sweep.cells
    ]
    if as_json:
        whole = {"sweep": sweep.file.name, "run": run, "seconds": round(seconds, 1)}
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
            f"time:  {duration(seconds)}",
            f"where: runs:/{run}, tracking: {store.shown_uri()}",
        ]
    )


def _sum(cells: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [fields[name] for fields in cells]
    return None if None in values else sum(values)


def _size(size: float | None) -> str:
    return "unknown" if size is None else f"{size / 1e9:.2f} GB"
