"""Try every model family with every method, and every published layout with two commands.

    python -m benchmarks.models OUT.json
    python -m benchmarks.models OUT.json --families "llama;mixtral" --methods "awq, its own format"
    python -m benchmarks.models OUT.json --families "" --layouts "GPTQ, Marlin"
    python -m benchmarks.models OUT.json --write docs/models.md

Each cell is a process of its own with a time limit, and goes through the command line. The file is
written after each cell, and cells that it has are not tried again. `--write` leaves the page's
other cells as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from benchmarks import _models_page
from comptrust import digests

SECONDS = 300
WARNINGS = {"MLFLOW_DISABLE_TELEMETRY": "true", "TRANSFORMERS_VERBOSITY": "error"}


def apart(task: Callable[[], str]) -> str:
    """Return what a task says in a process of its own, or how it ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.setsid()
        torch.set_num_threads(1)  # makes the threads anew, which the fork has lost
        try:
            result = task()
        except BaseException as error:
            traceback.print_exc()
            place = traceback.extract_tb(error.__traceback__)[-1]
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            result = f"FAULT: {reason} ({Path(place.filename).name}:{place.lineno})"
        with os.fdopen(writing, "w", encoding="utf-8") as pipe:
            pipe.write(result)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        ready, _, _ = select.select([pipe], [], [], SECONDS)
        if not ready:
            os.killpg(child, signal.SIGKILL)
        text = pipe.read() if ready else f"FAULT: not ready after {SECONDS} s"
    _, status = os.waitpid(child, 0)
    return text or f"FAULT: the process ended with status {status}"


class Cells:
    """The results, in a file that has each of them as soon as it is known."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.results: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}

    def missing(self, kind: str, row: str, columns: list[str]) -> list[str]:
        return [name for name in columns if f"{kind} {row} {name}" not in self.results]

    def add(self, kind: str, row: str, column: str, task: Callable[[], str]) -> None:
        started = time.monotonic()
        self.results[f"{kind} {row} {column}"] = result = apart(task)
        digests.write_atomic(self.path, json.dumps(self.results, indent=1))
        print(f"{row} | {column} | {time.monotonic() - started:.1f} s | {result}", flush=True)


def main() -> None:
    """Try the cells that the file does not have, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--families", help="names after semicolons; empty for none")
    parser.add_argument("--methods", help="names after semicolons")
    parser.add_argument("--layouts", help="names after semicolons; empty for none")
    parser.add_argument("--write", type=Path, help="put the file's cells into this page")
    given = parser.parse_args()
    os.environ |= WARNINGS
    cells = Cells(given.out.resolve())
    from benchmarks import _models_cells
    from tests.support import families, published

    if given.write:
        known = _models_page.read(given.write) | cells.results
        given.write.write_text(_models_page.page(known, list(_models_cells.METHODS)))
        return
    rows = list(families.FAMILIES) if given.families is None else given.families.split(";")
    columns = given.methods.split(";") if given.methods else list(_models_cells.METHODS)
    layouts = list(published.LAYOUTS) if given.layouts is None else given.layouts.split(";")
    for family in filter(None, rows):
        if missing := cells.missing("family", family, columns):
            try_family(cells, family, missing)
    with tempfile.TemporaryDirectory() as store:
        os.environ |= {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db"}
        for layout in filter(None, layouts):
            if missing := cells.missing("layout", layout, ["evaluate", "register"]):
                try_layout(cells, layout, missing)


def try_family(cells: Cells, family: str, methods: list[str]) -> None:
    """Build a family, and compress it with each method."""
    from benchmarks import _models_cells
    from tests.support import families

    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / family
        built = apart(lambda: str(families.build(family, model)))
        if built != str(model):
            print(f"{family} cannot be built: {built}", flush=True)
            return
        for method in methods:
            cells.add("family", family, method, partial(_models_cells.of_method, model, method))


def try_layout(cells: Cells, layout: str, commands: list[str]) -> None:
    """Write a layout, and evaluate and register it."""
    from benchmarks import _models_cells
    from tests.support import published

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.environ["COMPTRUST_CACHE"] = f"{folder}/cache"
        if (built := apart(lambda: published.save(layout, place))) != layout:
            print(f"{layout} cannot be built: {built}", flush=True)
            return
        for command in commands:
            cells.add("layout", layout, command, partial(_models_cells.of_layout, place, command))


if __name__ == "__main__":
    main()
