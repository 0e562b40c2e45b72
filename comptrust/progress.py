"""Progress of long work: a bar with rate and time left on a terminal, plain lines otherwise; and no other library's."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TypeVar

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 20
LOG_SWITCH = "LLM_COMPRESSOR_LOG_DISABLED"
"""Read by llm-compressor each time it sets up its log, which otherwise goes to stdout."""


def track(items: Iterable[T], *, total: int, done: int = 0, what: str) -> Iterator[T]:
    """Yield the items and report each one on stderr; `done` of the total were finished before."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, total=total, initial=done, desc=what, unit="prompt")
        return
    began = said = time.monotonic()
    for number, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if done + number == total or now - said >= SECONDS_BETWEEN_LINES:
            rate = number / max(now - began, 1e-9)
            left = (total - done - number) / rate
            print(f"{what}: {done + number} of {total}, {rate:.1f} prompts/s, {left:.0f} s left", file=sys.stderr, flush=True)
            said = now


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back the logs and bars of libraries that load and compress, unless the user asked for them (-v); keep stdout for results."""
    import tqdm

    with redirect_stdout(sys.stderr):
        if logging.getLogger().isEnabledFor(logging.INFO):
            yield
            return
        original, disabled, setting = tqdm.tqdm.__init__, logging.root.manager.disable, os.environ.get(LOG_SWITCH)
        tqdm.tqdm.__init__ = lambda self, *args, **kwargs: original(self, *args, **{**kwargs, "disable": True})
        logging.disable(logging.WARNING)
        os.environ[LOG_SWITCH] = "true"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            tqdm.tqdm.__init__ = original
            logging.disable(disabled)
            if setting is None:
                del os.environ[LOG_SWITCH]
            else:
                os.environ[LOG_SWITCH] = setting
