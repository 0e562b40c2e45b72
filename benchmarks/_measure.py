"""What the benchmarks share: a figure, a command measured as a process, how time grows with work,
the file of figures.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Figure:
    """One measured number."""

    name: str
    """Unique among all benchmarks: `score/ethics`."""
    value: float
    unit: str
    """`s`, `ms`, `MB`, `records/s`, `prompts/s`, `x` (times as fast), `%`; empty for an
    exponent."""
    goal: str = ""
    """What it should be, such as `>= 20000`; empty where nothing is promised."""

    @property
    def met(self) -> bool:
        """Return whether the goal is reached; a figure without one has nothing to miss."""
        if not self.goal:
            return True
        sign, limit = self.goal.split()
        return self.value >= float(limit) if sign == ">=" else self.value <= float(limit)


@dataclass(frozen=True)
class Process:
    """A command that ran to its end."""

    seconds: float
    peak_mb: float
    out: str


def comptrust(*words: str, folder: Path, codes: Sequence[int] = (0,)) -> Process:
    """Run `comptrust WORDS` in a folder with a tracking store and a cache of its own. Raises
    SystemExit if it ends with another code.
    """
    own = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "COMPTRUST_CACHE": str(folder / "cache"),
    }
    settings = own | {"MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(ROOT)}
    return process(
        [sys.executable, "-m", "comptrust", *words],
        folder=folder,
        environment=settings,
        codes=codes,
    )


def process(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    codes: Sequence[int] = (0,),
) -> Process:
    """Run a command and return its wall-clock seconds and peak memory. Raises SystemExit if it ends
    with another code.
    """
    out = folder / "stdout"
    began = time.perf_counter()
    with open(out, "w") as file:
        child = subprocess.Popen(command, cwd=folder, env=os.environ | environment, stdout=file)
        peak = 0.0
        while child.poll() is None:
            peak = max(peak, _peak_mb(child.pid))
            time.sleep(0.005)
    seconds = time.perf_counter() - began
    if child.returncode not in codes:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    return Process(seconds, peak, out.read_text())


def _peak_mb(pid: int) -> float:
    """Return what a running process has held at most; its resource usage would count what this
    process held when it was forked.
    """
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return max(
        (int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), default=0.0
    )


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Return the slope of log(seconds) over log(size): 1 is linear, 2 quadratic."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def report(figures: Sequence[Figure], *, json_to: Path | None) -> None:
    """Print a table of figures and write them to a file if one is given."""
    print("| figure | measured | goal | |\n|---|---|---|---|")
    for figure in figures:
        state = ("met" if figure.met else "missed") if figure.goal else ""
        print(f"| {figure.name} | {figure.value:.4g} {figure.unit} | {figure.goal} | {state} |")
    if json_to:
        json_to.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")
