"""SHA-256 digests of values, files and folders, and files that appear whole or not at all."""

import functools
import hashlib
import json
import os
import re
import secrets
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import rfc8785 as jcs

from comptrust.errors import ServiceError, UserError

SETTLED_SECONDS = 2.0
"""A file changed more recently than this could change again without a new time stamp."""
RARE = tuple(map(re.compile, (r"[\[:,-]\d{16}", r"e[+-]\d", "[\U00010000-\U0010ffff]")))
"""What JSON texts need for RFC 8785 to differ: long numbers, exponents, pairs of surrogates."""
Identity = tuple[int, int, int, int, int]
"""Device, inode, size, mtime_ns, ctime_ns. Every write moves ctime, and no program can set it."""
Entry = tuple[int, int, int, int, int, str]
"""The identity of a file when it was read, and its SHA-256."""


def of_value(value: Any) -> str:
    """Digest a JSON-able value as RFC 8785 writes it."""
    return of_text(canonical(value))


def forms(value: Any) -> tuple[str, str]:
    """Return the digest of a value, and the one that earlier versions gave it.

    What they wrote names records, policies and suites by the older one, which counts as well.
    """
    return of_value(value), of_older(value)


def of_older(value: Any) -> str:
    """Digest a JSON-able value as earlier versions did."""
    return of_text(older(value))


def older(value: Any) -> str:
    """Return the JSON text that earlier versions digested: sorted keys, no spaces.

    It differs from RFC 8785 in how floats are written (1.0, 1e-07, 1e+16, -0.0) and in the order of
    keys with characters beyond U+FFFF. Raises ValueError for a number that is not finite.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def canonical(value: Any) -> str:
    """Return the one JSON text of a value that RFC 8785 knows.

    Raises ValueError for a number that is not finite, and UserError for a whole number beyond
    2**53, which other readers of JSON would round.
    """
    # The package takes five times as long, and is needed for rare numbers and characters only.
    text = older([_whole(value)])
    if not any(pattern.search(text) for pattern in RARE):
        return text[1:-1]
    try:
        return rfc8785(value).decode()
    except jcs.IntegerDomainError as error:
        raise UserError(f"{error}: give a smaller number.") from error


def rfc8785(value: Any) -> bytes:
    """Return the canonical JSON text of a value as UTF-8, for values nested deeply as well."""
    return jcs.dumps(value)


def _whole(value: Any) -> Any:
    """Return a value with whole floats as integers, which is how RFC 8785 writes them."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list | tuple) else value


def of_text(text: str) -> str:
    """Digest one string."""
    return of_bytes(text.encode())


def of_bytes(content: bytes) -> str:
    """Digest bytes."""
    return hashlib.sha256(content).hexdigest()


def of_list(texts: Iterable[str], *, start: str, end: str) -> str:
    """Digest texts with commas between them, after `start` and before `end`."""
    digest = hashlib.sha256(start.encode())
    for number, text in enumerate(texts):
        digest.update(f",{text}".encode() if number else text.encode())
    digest.update(end.encode())
    return digest.hexdigest()


def of_file(path: Path) -> str:
    """Digest the bytes of one file, read now; nothing is remembered."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identity(path: Path) -> Identity:
    """Return numbers that stay the same only as long as nobody writes the file."""
    state = os.stat(path)
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


class Memory:
    """Digests files and remembers them, and those `remembered` before, while provably untouched."""

    def __init__(self, remembered: dict[str, Entry]) -> None:
        self._remembered = remembered
        self._new: dict[str, Entry] = {}
        self._reading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def of_file(self, path: Path) -> str:
        """Return a file's SHA-256, read only if it was touched; recent changes are not kept."""
        key = os.path.abspath(path)
        with self._reading[key]:  # whoever else wants this file waits for what is read now
            before = identity(path)
            entry = self._new.get(key) or self._remembered.get(key)
            if entry and entry[:5] == before:
                return entry[5]
            settled = before[-1] / 1e9 < time.time() - SETTLED_SECONDS
            digest = of_file(path)
            if settled and identity(path) == before:
                self._new[key] = (*before, digest)
            return digest


def of_folder(
    folder: Path, *, leave_out: Collection[str] = (), hasher: Callable[[Path], str] = of_file
) -> dict[str, str]:
    """Digest a folder, path -> SHA-256; a `hasher` may remember where stale ones do no harm."""
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    return {
        name: hasher(path)
        for name, path in paths.items()
        if name not in leave_out and path.is_file()
    }


@functools.cache
def of_code() -> str:
    """Digest the code that compresses, answers and scores: results of other code are not reused."""
    package = Path(__file__).parent
    folders = (package / name for name in ("compression", "models", "trust"))
    files = sorted(path for folder in folders for path in folder.rglob("*.py"))
    return of_value({str(path.relative_to(package)): of_file(path) for path in files})


def write_atomic(path: Path, text: str) -> None:
    """Write a text file whole or not at all. Raises ServiceError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
    except OSError as error:
        raise ServiceError(
            f"Cannot write {path}: {error.strerror}. Nothing was changed; free space or choose"
            " another folder."
        ) from error


def write_whole(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file so that a reader sees the old one or the whole new one, and the disk has it."""
    temporary = path.with_name(f".{path.name[:64]}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb", opener=functools.partial(os.open, mode=mode)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
