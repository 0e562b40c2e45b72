"""What the C library does with freed memory; each is a hint that a library other than glibc goes
without.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
"""Names of glibc's settings in malloc.h."""
LARGE = 1 << 20
"""Bytes from which a tensor counts as large."""
USUAL = 32 << 20
"""Bytes up to which glibc, left alone, comes to serve requests from its heap."""


@contextmanager
def apart() -> Iterator[None]:
    """Give each large tensor made meanwhile memory of its own, which goes back to the system when
    it is freed.

    In the heap it would stay behind others: a model that is packed layer by layer took up to 300 MB
    more.
    """
    _set(MMAP_THRESHOLD, LARGE)
    try:
        yield
    finally:
        _set(MMAP_THRESHOLD, USUAL)
        _set(TRIM_THRESHOLD, 2 * USUAL)


def keep() -> None:
    """Keep freed memory for the next tensors.

    The system would fill every page that is given back and asked for again with zeros, over a tenth
    of the time in which prompts are read.
    """
    _set(MMAP_MAX, 0)
    _set(TRIM_THRESHOLD, 2**31 - 1)


def give_back() -> None:
    """Give freed memory back to the system."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def _set(setting: int, value: int) -> None:
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(setting, value)
