"""Progress of long work: a bar with rate and time left on a terminal, plain lines otherwise; and no
other library's.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 20
LOG_SWITCH = "LLM_COMPRESSOR_LOG_DISABLED"
"""Read by llm-compressor each time it sets up its log, which otherwise goes to stdout."""
WATCHER: ContextVar[Callable[[], None] | None] = ContextVar("watcher", default=None)


class Counter:
    """Says how far a piece of work is, on stderr: `step()` after each of `total` units, of which
    `done` were finished before.
    """

    def __init__(self, *, total: int, what: str, unit: str, done: int = 0) -> None:
        self.total, self.done, self.what, self.unit = total, done, what, unit
        self.before, self.began = done, time.monotonic()
        self.said = self.began
        self.bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            class Bar(tqdm[NoReturn]):
                shown_when_quiet = True

            self.bar = Bar(total=total, initial=done, desc=what, unit=unit)

    def step(self) -> None:
        """Count one unit; a terminal shows a bar, anything else gets a line now and then."""
        self.done += 1
        if self.bar is not None:
            self.bar.update()
            if self.done == self.total:
                self.bar.close()
            return
        now = time.monotonic()
        if self.done == self.total or now - self.said >= SECONDS_BETWEEN_LINES:
            rate = (self.done - self.before) / max(now - self.began, 1e-9)
            left = (self.total - self.done) / rate
            pace = f"{rate:.1f} {self.unit}s/s" if rate >= 1 else f"{1 / rate:.1f} s a {self.unit}"
            print(
                f"{self.what}: {self.done} of {self.total}, {pace}, {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )
            self.said = now


def track(items: Iterable[T], *, total: int, done: int = 0, what: str) -> Iterator[T]:
    """Yield the items, prompts of which `done` were finished before, and report each one on
    stderr."""
    counter = Counter(total=total, done=done, what=what, unit="prompt")
    for item in items:
        yield item
        counter.step()
        if watcher := WATCHER.get():
            watcher()


@contextmanager
def watched(watcher: Callable[[], None]) -> Iterator[None]:
    """Call `watcher` after each answered prompt as well."""
    token = WATCHER.set(watcher)
    try:
        yield
    finally:
        WATCHER.reset(token)


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back the logs and bars of libraries that load and compress, unless the user asked for
    them (-v); keep stdout for results.
    """
    import tqdm

    with redirect_stdout(sys.stderr):
        if logging.getLogger().isEnabledFor(logging.INFO):
            yield
            return
        original, disabled, setting = (
            tqdm.tqdm.__init__,
            logging.root.manager.disable,
            os.environ.get(LOG_SWITCH),
        )

        def hidden(self: Any, *args: Any, **kwargs: Any) -> None:
            original(
                self,
                *args,
                **(kwargs if hasattr(self, "shown_when_quiet") else {**kwargs, "disable": True}),
            )

        tqdm.tqdm.__init__ = hidden  # type: ignore[method-assign]
        logging.disable(logging.WARNING)
        os.environ[LOG_SWITCH] = "true"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            tqdm.tqdm.__init__ = original  # type: ignore[method-assign]
            logging.disable(disabled)
            if setting is None:
                del os.environ[LOG_SWITCH]
            else:
                os.environ[LOG_SWITCH] = setting
