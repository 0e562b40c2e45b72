"""Progress of long work: a bar on a terminal or in a notebook, else a line now and then."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import IO, TypeVar

from comptrust.text_tables import duration

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 20
SECONDS_TOGETHER = 0.5
"""Steps that follow each other faster may be those of one batch, which all wait for its first."""
WATCHER: ContextVar[Callable[[], None] | None] = ContextVar("watcher", default=None)
STREAM: ContextVar[Callable[[], IO[str] | None]] = ContextVar("stream", default=lambda: None)
"""Returns where progress is shown; nowhere by default, so that a library call prints nothing."""


class Counter:
    """Shows progress on STREAM at each `step()`; `done` earlier ones do not count for the rate."""

    def __init__(
        self, *, total: int, what: str, unit: str, done: int = 0, brief: bool = False
    ) -> None:
        """If `brief`, the end is no line of its own: it is one of many short steps."""
        self.brief = brief
        self.total, self.done, self.what, self.unit = total, done, what, unit
        self.done_before, self.started = done, time.monotonic()
        self.last_line = self.last_step = self.batch = self.started
        self.batches = 0.0
        """Units a second up to the batch that began at `batch`; 0 if it is the first."""
        self.bar = None
        self.stream = STREAM.get()()
        if self.stream and (self.stream.isatty() or "ipykernel" in sys.modules):
            from tqdm.auto import tqdm  # a widget in a notebook

            # `delay` outranks TQDM_DELAY, by which the command line hides other libraries' bars
            self.bar = tqdm(
                total=total, initial=done, desc=what, unit=unit, delay=0, file=self.stream
            )

    def step(self) -> None:
        """Count one unit and show it: at once on a terminal, else when a line is due."""
        self.done += 1
        if self.bar is not None:
            self.bar.update()
            if self.done == self.total:
                self.bar.close()
            return
        if self.stream is None:
            return
        now = time.monotonic()
        self._notice_batch(now)
        ended = self.done == self.total and not self.brief
        if ended or now - self.last_line >= SECONDS_BETWEEN_LINES:
            print(self._line(now, ended=ended), file=self.stream, flush=True)
            self.last_line = now

    def _notice_batch(self, now: float) -> None:
        """If this step is the first of a batch, those before took the time until their own."""
        if now - self.last_step > SECONDS_TOGETHER:
            if self.batch > self.started:
                self.batches = (self.done - 1 - self.done_before) / (self.batch - self.started)
            self.batch = now
        self.last_step = now

    def _line(self, now: float, *, ended: bool) -> str:
        line = f"{self.what}: {self.done} of {self.total}"
        flows = ended or now - self.batch > SECONDS_TOGETHER
        overall = (self.done - self.done_before) / max(now - self.started, 1e-9)
        if not (rate := overall if flows else self.batches):
            return line
        pace = f"{rate:.1f} {self.unit}s/s" if rate >= 1 else f"{1 / rate:.1f} s a {self.unit}"
        left = "" if ended else f", {duration((self.total - self.done) / rate)} left"
        return f"{line}, {pace}{left}"


def track(
    items: Iterable[T], *, total: int, done: int = 0, what: str, brief: bool = False
) -> Iterator[T]:
    """Yield items, one per prompt, and show each; `done` prompts came before them."""
    counter = Counter(total=total, done=done, what=what, unit="prompt", brief=brief)
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
