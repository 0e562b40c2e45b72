"""Cells per hour of a sweep against one `comptrust run` after another on this machine, and what
orchestration costs a cell.

    python benchmarks/sweep.py smoke --address local --address serial

Each way starts with an empty tracking store and an empty cache but for the converted models, and
does the same cells: the dense model and every recipe of the sweep.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from comptrust import config
from comptrust.models import sources
from comptrust.records import Recipe
from comptrust.sweep import grid
from comptrust.sweep.grid import Grid

RUN_OPTIONS = (
    "method",
    "bits",
    "structure",
    "sparsity",
    "group_size",
    "calibration",
    "calibration_samples",
    "seed",
)


def words(recipe: Recipe, asked: Grid) -> list[str]:
    """Return the `comptrust run` that does one cell."""
    fields = recipe.model_dump(include=set(RUN_OPTIONS), exclude_none=True)
    if recipe.structure not in (None, "unstructured"):
        del fields["sparsity"]
    fields |= {
        "model": recipe.base_model,
        "suite": asked.file.suite,
        "limit": asked.file.limit,
        "policy": asked.file.policy,
    }
    fields |= {
        "dimensions": ",".join(asked.file.dimensions) if asked.file.dimensions else None,
        "batch_size": asked.file.batch_size,
    }
    pairs = [
        (f"--{name.replace('_', '-')}", str(value))
        for name, value in fields.items()
        if value is not None
    ]
    pairs += [("--set", f"{name}={json.dumps(value)}") for name, value in recipe.options.items()]
    return ["run", "--no-fail", *(word for pair in pairs for word in pair)]


def comptrust(line: list[str], folder: Path) -> tuple[float, str]:
    """Run one command in a folder of its own and return its seconds and its stdout."""
    cache = folder / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    if (config.cache_dir() / "models").is_dir() and not (cache / "models").exists():
        (cache / "models").symlink_to(config.cache_dir() / "models")
    settings = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "COMPTRUST_CACHE": str(cache),
    }
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    before = time.monotonic()
    command = [sys.executable, "-m", "comptrust", *line]
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        command,
        cwd=folder,
        env=kept | settings | {"PYTHONPATH": root},
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    return time.monotonic() - before, done.stdout


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sweep", nargs="?", default="smoke")
    parser.add_argument(
        "--address",
        action="append",
        choices=["local", "serial"],
        help="repeatable; both by default",
    )
    given = parser.parse_args()
    asked = grid.load(given.sweep)
    cells = len(asked.recipes)
    for name in {
        recipe.base_model for recipe in asked.recipes if recipe.base_model.startswith("builtin:")
    }:
        sources.resolve(name)
    path = str(Path(given.sweep).resolve()) if Path(given.sweep).exists() else given.sweep
    print(
        f"{cells} cells on {os.cpu_count()} CPUs,"
        f" OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}\n"
    )
    print(
        "| way | seconds | cells per hour | against runs | orchestration, share of a cell"
        " |\n|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory(prefix="comptrust-sweep-") as temporary:
        compressed = [recipe for recipe in asked.recipes if recipe.method != "none"]
        runs = sum(
            comptrust(words(recipe, asked), Path(temporary) / "runs")[0] for recipe in compressed
        )
        print(
            f"| `comptrust run`, one after another | {runs:.0f} | {3600 * cells / runs:.1f} | 1.00"
            " | - |"
        )
        for address in given.address or ["serial", "local"]:
            seconds, out = comptrust(
                ["sweep", path, "--address", address, "--json"], Path(temporary) / address
            )
            done = json.loads(out)["cells"]
            share = sum(cell["overhead"] for cell in done) / sum(cell["seconds"] for cell in done)
            rate, against = 3600 * cells / seconds, runs / seconds
            line = (
                f"| `comptrust sweep --address {address}` | {seconds:.0f} | {rate:.1f} |"
                f" {against:.2f} | {share:.1%} |"
            )
            print(line, flush=True)


if __name__ == "__main__":
    main()
