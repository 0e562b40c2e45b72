"""Digests of large files, remembered between runs while the files are provably untouched.

Only for naming a dense model that is about to be compressed. Signing, verifying and exporting read
every byte each time, and the server remembers nothing beyond its own memory.
"""

import contextlib
import json
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from comptrust import config, digests
from comptrust.errors import ComptrustError

NAME = "hashes.json"
"""The file in the cache folder: path -> [device, inode, size, mtime_ns, ctime_ns, SHA-256]."""
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
ENTRIES = TypeAdapter(dict[str, tuple[int, int, int, int, int, Digest]])


class HashCache(digests.Memory):
    """A memory of digests that `save` keeps for later processes."""

    def __init__(self, *, reuse: bool = True) -> None:
        """Read what earlier runs remembered; without `reuse`, digest every file again."""
        self._path = config.cache_dir() / NAME
        super().__init__(_read(self._path) if reuse else {})

    def save(self) -> None:
        """Add the new digests to the file. A cache that cannot be written is not an error."""
        if not self._new:
            return
        entries = _read(self._path) | self._new  # another process may have saved in the meantime
        lines = {key: entry for key, entry in entries.items() if Path(key).exists()}
        with contextlib.suppress(ComptrustError):
            digests.write_atomic(self._path, json.dumps(lines) + "\n")


def _read(path: Path) -> dict[str, digests.Entry]:
    try:
        return ENTRIES.validate_json(path.read_bytes(), strict=True)
    except (OSError, ValueError):
        return {}
