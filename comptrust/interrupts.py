"""SIGTERM treated as an interruption, like Ctrl-C, so that open runs and servers are closed."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType


@contextmanager
def terminable() -> Iterator[None]:
    """Make SIGTERM raise SystemExit(128 + 15) inside the block, if this is the main thread."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with ExitStack() as stack:
        with suppress(ValueError):  # not the main thread
            previous = signal.signal(signal.SIGTERM, stop)
            stack.callback(signal.signal, signal.SIGTERM, previous)
        yield
