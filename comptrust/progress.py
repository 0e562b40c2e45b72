"""Progress of long work on stderr: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 20
WATCHER: ContextVar[Callable[[], None] | None] = ContextVar("watcher", default=None)


class Counter:
    """Reports progress on stderr: call `step()` after each of `total` units.

    `done` units were finished earlier; they count as done but not toward the rate.
    """

    def __init__(self, *, total: int, what: str, unit: str, done: int = 0) -> None:
        self.total, self.done, self.what, self.unit = total, done, what, unit
        self.done_before, self.started = done, time.monotonic()
        self.last_line = self.started
        self.bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            # `delay` outranks TQDM_DELAY, by which the command line hides other libraries' bars
            self.bar = tqdm(total=total, initial=done, desc=what, unit=unit, delay=0)

    def step(self) -> None:
        """Count one unit and show it: at once on a terminal, else when a line is due."""
        self.done += 1
        if self.bar is not None:
            self.bar.update()
            if self.done == self.total:
                self.bar.close()
            return
        now = time.monotonic()
        if self.done == self.total or now - self.last_line >= SECONDS_BETWEEN_LINES:
            rate = (self.done - self.done_before) / max(now - self.started, 1e-9)
            left = (self.total - self.done) / rate
            pace = f"{rate:.1f} {self.unit}s/s" if rate >= 1 else f"{1 / rate:.1f} s a {self.unit}"
            line = f"{self.what}: {self.done} of {self.total}, {pace}, {left:.0f} s left"
            print(line, file=sys.stderr, flush=True)
            self.last_line = now


def track(items: Iterable[T], *, total: int, done: int = 0, what: str) -> Iterator[T]:
    """Yield items, one per prompt, and report each on stderr; `done` prompts came before them."""
    counter = Counter(total=total, done=done, what=what, unit="prompt")
    for item in items:
        yield item
        counter.step()
        if watcher := WATCHER.get():
            watcher()


@contextmanager
def watched(watcher: Callable[[], None]) -> Iterator[None]:
    """Also call `watcher` after each answered prompt."""
    token = WATCHER.set(watcher)
    try:
        yield
    finally:
        WATCHER.reset(token)
