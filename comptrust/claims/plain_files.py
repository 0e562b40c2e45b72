"""The files of a folder that was handed over, hashed; whatever else is among them is refused."""

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from comptrust import digests
from comptrust.errors import UserError

HASHED_AT_ONCE = 4


def hashed(folder: Path) -> dict[str, str]:
    """Return path -> SHA-256 of every file, each read once.

    Raises UserError for anything that is not a plain file or folder.
    """
    names = sorted(_names(folder))
    try:
        with ThreadPoolExecutor(HASHED_AT_ONCE) as pool:
            hashes = pool.map(digests.of_file, (folder / name for name in names))
            return dict(zip(names, hashes, strict=True))
    except OSError as error:
        raise UserError(f"Cannot read {error.filename or folder}: {error.strerror}.") from error


def _names(folder: Path) -> Iterator[str]:
    """Yield the path of every file; nothing vouches for what a link leads to, so it is refused."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            mode = path.lstat().st_mode
            if not name.isprintable():
                raise UserError(
                    f"{place} has a file named {ascii(name)}, which a bundle does not have."
                )
            if stat.S_ISREG(mode):
                yield path.relative_to(folder).as_posix()
            elif not stat.S_ISDIR(mode):
                raise UserError(
                    f"{path} is a link or a device, which a bundle does not have. Copy the bundle"
                    " again, with files in place of links."
                )
