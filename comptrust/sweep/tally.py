"""How far a sweep is: outcomes, answered prompts and the time left, and the live view of them."""

import sys
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import TextIO

from tqdm import tqdm

from comptrust.sweep.cell import Cell, Outcome
from comptrust.sweep.plan import Estimate, Sweep

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


@dataclass
class Rate:
    """Prompts per second over the last minute, from counts that only grow."""

    seen: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, prompts: int, *, now: float) -> float:
        """Add a count and return the rate."""
        self.seen.append((now, prompts))
        while len(self.seen) > 2 and now - self.seen[1][0] >= WINDOW:
            self.seen.popleft()
        began, before = self.seen[0]  # the last count that is a minute old, or the first one
        return (prompts - before) / (now - began) if now > began else 0.0


@dataclass(kw_only=True)
class Tally:
    """Counts of one sweep; dictionaries are by the cell's key."""

    sweep: Sweep
    estimates: Mapping[str, Estimate]
    outcomes: dict[str, Outcome]
    """Cells that have ended for good."""
    running: dict[str, int] = field(default_factory=dict)
    """Prompts that each cell at work has answered."""
    answered: dict[str, int] = field(default_factory=dict)
    """Prompts answered during this sweep, also by cells that have ended or were lost."""
    rate: Rate = field(default_factory=Rate)

    @property
    def open_cells(self) -> list[Cell]:
        """The cells without an outcome."""
        return [cell for cell in self.sweep.cells if cell.key not in self.outcomes]

    def count(self, prompts: Mapping[str, int]) -> None:
        """Take the number of prompts that cells have answered.

        It never goes down: a cell that starts again after a loss counts from 0.
        """
        for key, number in prompts.items():
            self.answered[key] = max(number, self.answered.get(key, 0))

    def progress(self) -> Progress:
        """Return how far the sweep is."""
        states = [outcome.state for outcome in self.outcomes.values()]
        done = states.count("done")
        return Progress(
            total=len(self.sweep.cells),
            done=done,
            running=len(self.running),
            failed=len(states) - done,
            prompts_per_second=self.rate.add(sum(self.answered.values()), now=time.monotonic()),
            seconds_left=self._seconds_left(),
        )

    def _seconds_left(self) -> float | None:
        """Return the seconds until the end if as many cells as now keep running side by side.

        An open cell takes as long as the finished cells of its method did, else as estimated; None
        if that is not known for every cell.
        """
        durations: dict[str, list[float]] = defaultdict(list)
        for cell in self.sweep.cells:
            outcome = self.outcomes.get(cell.key)
            if outcome and outcome.seconds:
                durations[cell.recipe.method].append(outcome.seconds)
        means = {method: fmean(values) for method, values in durations.items()}
        left = 0.0
        for cell in self.open_cells:
            seconds = means.get(cell.recipe.method, self.estimates[cell.key].seconds)
            if seconds is None:
                return None
            left += seconds * (1 - self.running.get(cell.key, 0) / cell.questions.n_prompts)
        return max(0.0, left) / max(1, len(self.running))


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
        """Rewrite the line, or print one now and then, and one for each event.

        An event is something like the end of a cell.
        """
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


def duration(seconds: float | None) -> str:
    """Return a duration for people; None is unknown.

    >>> duration(59), duration(3700), duration(200_000)
    ('59 s', '1 h 2 min', '2 d 8 h')
    """
    if seconds is None:
        return "unknown"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
