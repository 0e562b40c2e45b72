"""One live view of a sweep: a line that renews itself on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import TextIO

SECONDS_BETWEEN_LINES = 30
WINDOW = 60
"""Seconds over which prompts per second are counted."""


@dataclass(frozen=True)
class State:
    """How far a sweep is."""

    total: int
    done: int
    running: int
    failed: int
    prompts_per_second: float = 0.0
    seconds_left: float | None = None
    """None until something is known to estimate it from."""

    def line(self) -> str:
        """Return it in words."""
        left = "unknown" if self.seconds_left is None else duration(self.seconds_left)
        return (
            f"{self.done} of {self.total} cells done, {self.running} running, {self.failed} failed,"
            f" {self.prompts_per_second:.1f} prompts/s, time left: {left}"
        )

    def metrics(self) -> dict[str, float]:
        """Return the same as the parent run's metrics; what is unknown is absent."""
        names = ("total", "done", "running", "failed", "prompts_per_second", "seconds_left")
        return {
            f"sweep/{name}": float(value)
            for name in names
            if (value := getattr(self, name)) is not None
        }


class Rate:
    """Prompts per second over the last minute, from ever-growing counts."""

    def __init__(self) -> None:
        self.seen: deque[tuple[float, int]] = deque()

    def add(self, prompts: int, *, now: float) -> float:
        """Add a count and return the rate."""
        self.seen.append((now, prompts))
        while len(self.seen) > 2 and now - self.seen[1][0] >= WINDOW:
            self.seen.popleft()
        began, before = self.seen[0]
        return (prompts - before) / (now - began) if now > began else 0.0


class View:
    """Shows states and events on stderr."""

    def __init__(self, *, total: int, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.said = 0.0
        self.last = ""
        self.bar = None
        if self.stream.isatty():
            from tqdm import tqdm

            self.bar = tqdm(
                total=total, file=self.stream, bar_format="{bar:12} {desc}", dynamic_ncols=True
            )

    def show(self, state: State) -> None:
        """Renew the line, or print one now and then."""
        if self.bar is not None:
            self.bar.n = state.done
            self.bar.set_description_str(state.line())
        elif state.line() != self.last and time.monotonic() - self.said >= SECONDS_BETWEEN_LINES:
            self._print(state.line())
            self.said = time.monotonic()
        self.last = state.line()

    def event(self, line: str, state: State) -> None:
        """Say that something happened, such as the end of a cell, and how far the sweep is now."""
        if self.bar is not None:
            self.bar.clear()
            self._print(line)
            self.show(state)
            self.bar.refresh()
        else:
            self._print(f"{line}; {state.line()}")
            self.said, self.last = time.monotonic(), state.line()

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self.bar is not None:
            self.bar.close()

    def _print(self, line: str) -> None:
        print(line, file=self.stream, flush=True)


def duration(seconds: float) -> str:
    """Return a time for people.

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
