"""The files of the audit log: the current one, those that were set aside, and the head."""

import glob
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from comptrust import config
from comptrust.records import Record

BLOCK_BYTES = 1 << 16
"""Read back at first to find the last line; more, if that line is longer."""
HEAD_BYTES = 120
"""Length of the head, filled with spaces, so that a new one covers the old one."""
SET_ASIDE = re.compile(r"\.\d{12}")
"""Ends the name of a file that was set aside: the number of its last record."""


class Head(Record):
    """The newest record, as the file beside the log names it."""

    number: int = Field(ge=1)
    hash: str


def head_path(path: Path) -> Path:
    """Return the file that names the newest record of a log."""
    return path.with_name(f"{path.name}.head")


def head(path: Path) -> Head | None:
    """Return what the file beside a log names. Raises ValueError if it is broken."""
    try:
        content = head_path(path).read_bytes()
    except FileNotFoundError:
        return None
    return Head.model_validate_json(content) if content else None


def write_head(path: Path, newest: Head) -> None:
    """Name the newest record of a log, in place.

    It is one short write without waiting for the disk: after a crash the file may be behind.
    """
    file = os.open(head_path(path), os.O_WRONLY | os.O_CREAT, 0o640)
    try:
        os.pwrite(file, newest.model_dump_json().ljust(HEAD_BYTES).encode(), 0)
    finally:
        os.close(file)


def parts(path: Path) -> list[Path]:
    """Return the files of a log, oldest first; the current one, the last, may be missing."""
    beside = (Path(name) for name in glob.glob(f"{glob.escape(str(path))}.*"))
    return [*sorted(file for file in beside if SET_ASIDE.fullmatch(file.suffix)), path]


def texts(path: Path) -> tuple[list[str], str]:
    """Return all complete lines of a log and what comes after the last one."""
    lines: list[str] = []
    rest, files = "", parts(path)
    for file in files:
        if file.exists():
            *complete, rest = config.read_text(file).split("\n")
            lines += complete
    # A file that was set aside meanwhile may have been missed, so read again.
    return (lines, rest) if parts(path) == files else texts(path)


def lines_with(path: Path, part: bytes, *, without: bytes) -> Iterator[bytes]:
    """Yield the lines of a log that contain one text and not another."""
    for file in filter(Path.exists, parts(path)):
        with open(file, "rb") as lines:
            yield from (line for line in lines if part in line and without not in line)


def tail(path: Path) -> tuple[bytes, bytes]:
    """Return the last complete line of a file, however long, and what follows it."""
    end, size = os.path.getsize(path), BLOCK_BYTES
    with open(path, "rb") as file:
        while True:
            file.seek(max(0, end - size))
            *complete, torn = file.read().split(b"\n")
            # The first piece may be the end of a longer line, unless the file begins there.
            if len(complete) > 1 or size >= end:
                return complete[-1] if complete else b"", torn
            size *= 2
