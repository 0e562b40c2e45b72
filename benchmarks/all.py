"""Run every benchmark, keep the figures under results/VERSION.json and show what changed since
those kept last.

    python benchmarks/all.py                                             # `make bench`
    python benchmarks/all.py --data DIR --harness PYTHON --only evaluation    # prompts of
    DecodingTrust; an lm-evaluation-harness beside

Without --data there is nothing to measure the throughput of evaluation on, and it is left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from _answers import Chance
from _measure import ROOT
from compare import RESULTS, Kept, latest, table

PACKAGES = ("torch", "transformers", "llmcompressor", "mlflow", "numpy")
HARNESS_LIMIT = 16
"""Prompts of each set that the harness answers: with more, all benchmarks together take over half
an hour on two cores.
"""
BENCHMARKS = ("commands", "growth", "compression", "evaluation", "enforcement", "serving")


def figures(name: str, options: list[str]) -> list[dict[str, object]]:
    """Run one benchmark, whose tables go to stdout, and return its figures. Raises SystemExit if it
    fails.
    """
    with tempfile.TemporaryDirectory(prefix="comptrust-bench-") as folder:
        file = Path(folder) / "figures.json"
        print(f"\n## {name}\n", flush=True)
        began = time.monotonic()
        done = subprocess.run(
            [
                sys.executable,
                str(Path(__file__).parent / f"{name}.py"),
                "--json",
                str(file),
                *options,
            ],
            cwd=ROOT,
        )
        if done.returncode:
            raise SystemExit(f"{name} ended with {done.returncode}; nothing was kept")
        print(f"\n{name}: {time.monotonic() - began:.0f} s", flush=True)
        found: list[dict[str, object]] = json.loads(file.read_text())
        return found


def main() -> None:
    """Measure, keep and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="folder of the original DecodingTrust data")
    parser.add_argument("--harness", help="Python of an environment that has lm-evaluation-harness")
    parser.add_argument("--only", default=",".join(BENCHMARKS))
    given = parser.parse_args()
    before = latest()
    found: list[dict[str, object]] = []
    for name in given.only.split(","):
        if name == "evaluation" and not given.data:
            print("\n## evaluation\n\nnot measured: give --data")
            continue
        harness = (
            ["--harness", given.harness, "--peer-limit", str(HARNESS_LIMIT)]
            if given.harness
            else []
        )
        found += figures(name, [given.data, *harness] if name == "evaluation" else [])
    measured = {str(figure["name"]) for figure in found}
    old = [
        figure for figure in (before.figures if before else []) if figure["name"] not in measured
    ]
    kept = Kept(
        version=version("comptrust"),
        measured=datetime.now(UTC).isoformat(timespec="minutes"),
        machine=Chance(0).machine() | {name: version(name) for name in PACKAGES},
        figures=sorted(
            [*found, *(old if before and before.version == version("comptrust") else [])],
            key=lambda one: str(one["name"]),
        ),
    )
    kept.write(RESULTS / f"{kept.version}.json")
    print(f"\nkept in {RESULTS / kept.version}.json")
    if before:
        old = [figure for figure in before.figures if figure["name"] in measured]
        changes = table(replace(before, figures=old), replace(kept, figures=found))
        print(f"\n## Since {before.version}, measured {before.measured}\n\n{changes}")


if __name__ == "__main__":
    main()
