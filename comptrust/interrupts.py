"""Ending well: SIGTERM is an interruption like Ctrl-C, so that what was begun is closed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise SystemExit (128 + its number) here, so that whoever holds a run or a server
    open ends it.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    try:
        previous = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread: whoever runs us ends us
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
