"""Digests of large files, remembered between runs while the files are provably untouched.

Only for naming a dense model that is about to be compressed. Signing, verifying, exporting and the
server read every byte each time: they call `digests.of_file`, which remembers nothing.
"""

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from comptrust import config, digests
from comptrust.errors import ComptrustError

NAME = "hashes.json"
"""The file in the cache folder: path -> [device, inode, size, mtime_ns, ctime_ns, SHA-256]."""
SETTLED_SECONDS = 2.0
"""A file changed more recently than this could change again without a new time stamp."""

Identity = tuple[int, int, int, int, int]
"""Device, inode, size, mtime_ns, ctime_ns. Every write moves ctime, and no program can set it."""
Entry = tuple[int, int, int, int, int, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]
"""The identity of a file when it was read, and its SHA-256."""
ENTRIES = TypeAdapter(dict[str, Entry])


class HashCache:
    """Digests files and remembers the result; `save` keeps it for later processes."""

    def __init__(self, *, reuse: bool = True) -> None:
        """Read what earlier runs remembered; without `reuse`, digest every file again."""
        self._path = config.cache_dir() / NAME
        self._remembered = _read(self._path) if reuse else {}
        self._new: dict[str, Entry] = {}

    def of_file(self, path: Path) -> str:
        """Return a file's SHA-256, without reading the file if it is untouched since the last time.

        A file that changed in the last seconds, or while it was read, is not remembered.
        """
        key = os.path.abspath(path)
        before = _identity(path)
        entry = self._new.get(key) or self._remembered.get(key)
        if entry and entry[:5] == before:
            return entry[5]
        settled = before[-1] / 1e9 < time.time() - SETTLED_SECONDS
        digest = digests.of_file(path)
        if settled and _identity(path) == before:
            self._new[key] = (*before, digest)
        return digest

    def save(self) -> None:
        """Add the new digests to the file. A cache that cannot be written is not an error."""
        if not self._new:
            return
        entries = _read(self._path) | self._new  # another process may have saved in the meantime
        lines = {key: entry for key, entry in entries.items() if Path(key).exists()}
        with contextlib.suppress(ComptrustError):
            digests.write_atomic(self._path, json.dumps(lines) + "\n")


def _identity(path: Path) -> Identity:
    state = os.stat(path)
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _read(path: Path) -> dict[str, Entry]:
    """Return the remembered digests; a missing or broken file holds none."""
    try:
        return ENTRIES.validate_json(path.read_bytes(), strict=True)
    except (OSError, ValueError):
        return {}
