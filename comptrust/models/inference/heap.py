"""How glibc's malloc treats freed memory; with another C library, nothing here has an effect.

`apart` and `keep` change malloc for the whole process, so they do so only in a program that owns
its process and says so (comptrust.process).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from comptrust import process

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
"""Parameters of mallopt, from glibc's malloc.h."""
LARGE_TENSOR = 1 << 20
"""Size in bytes from which a tensor gets a memory mapping of its own."""
MAX_DYNAMIC_THRESHOLD = 32 << 20
"""Size in bytes to which glibc by itself raises its threshold for memory mappings."""


@contextmanager
def apart() -> Iterator[None]:
    """Give each large tensor allocated in the block its own mapping, returned when it is freed.

    In the heap, freed weights would stay behind live ones: packing a model layer by layer took up
    to 300 MB more.
    """
    _set(MMAP_THRESHOLD, LARGE_TENSOR)
    try:
        yield
    finally:
        _set(MMAP_THRESHOLD, MAX_DYNAMIC_THRESHOLD)
        _set(TRIM_THRESHOLD, 2 * MAX_DYNAMIC_THRESHOLD)


def keep() -> None:
    """Keep freed memory for the next tensors instead of returning it to the system.

    The system fills every page it hands out again with zeros, which took over a tenth of the time
    spent reading prompts.
    """
    _set(MMAP_MAX, 0)
    _set(TRIM_THRESHOLD, 2**31 - 1)


def give_back() -> None:
    """Return freed memory to the system now."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def _set(parameter: int, value: int) -> None:
    library = ctypes.CDLL(None)
    if os.environ.get(process.TUNE_MALLOC) == "1" and hasattr(library, "mallopt"):
        library.mallopt(parameter, value)
