"""The live view of a sweep: one line that is rewritten on a terminal, plain lines otherwise."""

import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import TextIO

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
        left = "unknown" if self.seconds_left is None else duration(self.seconds_left)
        return (
            f"{self.done} of {self.total} cells done, {self.running} running, {self.failed} failed,"
            f" {self.prompts_per_second:.1f} prompts/s, time left: {left}"
        )

    def metrics(self) -> dict[str, float]:
        """Return it as metrics of the parent run; what is unknown is absent."""
        names = ("total", "done", "running", "failed", "prompts_per_second", "seconds_left")
        values = {name: getattr(self, name) for name in names}
        return {
            f"sweep/{name}": float(value) for name, value in values.items() if value is not None
        }


class Rate:
    """Prompts per second over the last minute, from counts that only grow."""

    def __init__(self) -> None:
        self.seen: deque[tuple[float, int]] = deque()

    def add(self, prompts: int, *, now: float) -> float:
        """Add a count and return the rate."""
        self.seen.append((now, prompts))
        while len(self.seen) > 2 and now - self.seen[1][0] >= WINDOW:
            self.seen.popleft()
        began, before = self.seen[0]  # the last count that is a minute old, or the first one
        return (prompts - before) / (now - began) if now > began else 0.0


class View:
    """Shows progress and events on stderr."""

    def __init__(self, *, total: int, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.printed = 0.0
        self.last = ""
        self.bar = None
        if self.stream.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=total, file=self.stream, bar_format="{bar:12} {desc}", dynamic_ncols=True
            )

    def show(self, progress: Progress) -> None:
        """Rewrite the line, or print one now and then."""
        if self.bar is not None:
            self.bar.n = progress.done
            self.bar.set_description_str(progress.line())
        elif (
            progress.line() != self.last
            and time.monotonic() - self.printed >= SECONDS_BETWEEN_LINES
        ):
            self._print(progress.line())
            self.printed = time.monotonic()
        self.last = progress.line()

    def event(self, line: str, progress: Progress) -> None:
        """Report an event, such as the end of a cell, and how far the sweep is now."""
        if self.bar is not None:
            self.bar.clear()
            self._print(line)
            self.show(progress)
            self.bar.refresh()
        else:
            self._print(f"{line}; {progress.line()}")
            self.printed, self.last = time.monotonic(), progress.line()

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self.bar is not None:
            self.bar.close()

    def _print(self, line: str) -> None:
        print(line, file=self.stream, flush=True)


def duration(seconds: float) -> str:
    """Return a duration for people.

    >>> duration(59), duration(3700), duration(200_000)
    ('59 s', '1 h 2 min', '2 d 8 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
