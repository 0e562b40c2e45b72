"""What the C library does with freed memory; each is a hint that a library other than glibc goes without."""

from __future__ import annotations

import ctypes
from contextlib import suppress

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Names of glibc's settings in malloc.h."""


def keep() -> None:
    """Keep freed memory for the next tensors.

    The system would fill every page that is given back and asked for again with zeros, over a tenth of the time in which prompts are read.
    """
    with suppress(AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(MMAP_MAX, 0)
        library.mallopt(TRIM_THRESHOLD, 2**31 - 1)


def give_back() -> None:
    """Give freed memory back to the system."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
