"""Progress of long work: a bar with rate and time left on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 20


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
