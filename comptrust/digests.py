"""SHA-256 digests of values, files and folders, and files that appear whole or not at all."""

import functools
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from comptrust.errors import ServiceError


def of_value(value: Any) -> str:
    """Digest a JSON-able value by its canonical form."""
    return of_text(canonical(value))


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def of_text(text: str) -> str:
    """Digest one string."""
    return hashlib.sha256(text.encode()).hexdigest()


def of_file(path: Path) -> str:
    """Digest the bytes of one file, read now; nothing is remembered."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_folder(
    folder: Path, *, leave_out: Collection[str] = (), hasher: Callable[[Path], str] = of_file
) -> dict[str, str]:
    """Digest every file below a folder: relative POSIX path -> SHA-256, sorted by path.

    Only where a stale digest does no harm may `hasher` be one that remembers (hash_cache.py).
    """
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    return {
        name: hasher(path)
        for name, path in paths.items()
        if name not in leave_out and path.is_file()
    }


@functools.cache
def of_code() -> str:
    """Digest the code that compresses, answers and scores.

    Results are reused only as long as the code that produced them is the same.
    """
    package = Path(__file__).parent
    folders = ("compression", "models", "trust")
    files = sorted(path for name in folders for path in (package / name).rglob("*.py"))
    return of_value({str(path.relative_to(package)): of_file(path) for path in files})


def write_atomic(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old one or the whole new one.

    Raises ServiceError if the folder cannot be written or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with open(temporary, "x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ServiceError(
            f"Cannot write {path}: {error.strerror}. Nothing was changed; free space or choose"
            " another folder."
        ) from error
