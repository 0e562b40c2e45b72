"""The append-only log of every decision: one JSON line each, chained by hashes, written under a
lock that several servers can share.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from comptrust import config, digests
from comptrust.errors import ServiceError, UserError
from comptrust.records import Record

Decision = Literal["granted", "refused", "withdrawn", "failed"]
FIRST = "0" * 64
LOCK_SECONDS = 30
TAIL = 1 << 16
"""Bytes read back to find the last line; a line is kept well below."""
LONGEST = 4_000
"""Characters kept of one field."""


class Entry(Record):
    """What is to be recorded."""

    action: str
    """`transition`, `set alias`, `delete version`, ..."""
    model: str
    version: str
    target: str
    """The stage, alias, name or tag that was asked for."""
    decision: Decision
    """`withdrawn`: a promoted version was taken back. `failed`: granted, but the database then
    refused.
    """
    finding: str
    """The first failing finding, or why it was granted."""
    user: str | None = None
    """Name by which the server's basic-auth knows the caller, or the owner of the process; None if
    nobody asked.
    """
    address: str | None = None
    """Network address of the caller; None inside a process."""


class Line(Entry):
    """One line of the log."""

    number: int
    """1, 2, 3, ..."""
    time: datetime.datetime
    """UTC."""
    after: str | None = None
    """SHA-256 of an unfinished line before this one, left by a crash."""
    previous: str
    """Hash of the line before; zeros for the first."""
    hash: str
    """SHA-256 of all other fields."""

    def true_hash(self) -> str:
        """Return what the hash must be."""
        return digests.of_value(self.model_dump(mode="json", exclude={"hash"}))


@dataclass(frozen=True)
class Chain:
    """A log as read."""

    lines: tuple[Line, ...]
    """All lines before the first that is wrong."""
    problem: str | None
    """What is wrong, naming the record; None if the chain holds."""
    unfinished: int = 0
    """Lines that a crash cut off; each is named by the hash in the record after it."""


class Audit:
    """A log at one place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path.with_name(f"{path.name}.lock"), timeout=LOCK_SECONDS)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that all servers of this log share; the same thread may take it again.

        Raises ServiceError if it cannot be had.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise ServiceError(
                f"The audit log {self.path} has been locked for {LOCK_SECONDS} s. Nothing was"
                " changed; try again."
            ) from error
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        try:
            yield
        finally:
            self._lock.release()

    def append(self, entry: Entry) -> Line:
        """Add a line and return it when it is on disk. Raises ServiceError if it cannot be written
        or its last line is broken.
        """
        with self.locked():
            last, torn = self._last()
            fields: dict[str, Any] = {
                key: value[:LONGEST] if isinstance(value, str) else value
                for key, value in entry.model_dump().items()
            }
            line = Line.model_construct(
                **fields,
                number=last.number + 1 if last else 1,
                time=datetime.datetime.now(datetime.UTC),
                after=digests.of_text(torn.decode("ascii", "backslashreplace")) if torn else None,
                previous=last.hash if last else FIRST,
                hash="",
            )
            line = Line.model_validate(line.model_dump() | {"hash": line.true_hash()})
            text = (
                ("\n" if torn else "")
                + json.dumps(line.model_dump(mode="json"), ensure_ascii=True)
                + "\n"
            )
            try:
                handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
                try:
                    written = os.write(handle, text.encode())
                    os.fsync(handle)
                finally:
                    os.close(handle)
            except OSError as error:
                raise _cannot_write(self.path, error) from error
            if written != len(text.encode()):
                raise ServiceError(
                    f"The audit log {self.path} could not be written whole (disk full?). Nothing"
                    " was changed."
                )
        return line

    def _last(self) -> tuple[Line | None, bytes]:
        """Return the last whole line and what a crash left after it."""
        try:
            with open(self.path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - TAIL))
                *whole, torn = file.read().split(b"\n")
        except FileNotFoundError:
            return None, b""
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        if not whole:
            return None, torn
        try:
            line = Line.model_validate_json(whole[-1])
        except ValueError:
            line = None
        if line is None or line.hash != line.true_hash():
            raise ServiceError(
                f"The last line of the audit log {self.path} is broken, so nothing is promoted."
                " Look: comptrust audit."
            )
        return line, torn


def read(path: Path) -> Chain:
    """Read a log and check its chain. Raises UserError if there is none."""
    if not path.is_file():
        raise UserError(
            f"There is no audit log at {path}. Name it with --log, or set COMPTRUST_AUDIT_LOG."
        )
    lines: list[Line] = []
    torn: str | None = None
    *whole, rest = config.read_text(path).split("\n")
    for place, text in enumerate(whole, start=1):
        try:
            line = Line.model_validate_json(text)
        except ValueError:
            if torn is not None:
                return Chain(
                    tuple(lines), f"record {len(lines) + 1} (line {place - 1}) is no record"
                )
            torn = digests.of_text(text)
            continue
        number, previous = len(lines) + 1, lines[-1].hash if lines else FIRST
        named = f"record {number} (line {place})"
        if line.hash != line.true_hash():
            return Chain(tuple(lines), f"{named} was changed: its hash is not that of its fields")
        if (line.number, line.previous) != (number, previous):
            return Chain(
                tuple(lines),
                f"{named} does not follow the one before: a record was removed, added or moved",
            )
        if line.after != torn:
            return Chain(tuple(lines), f"{named} does not explain the unfinished line before it")
        torn = None
        lines.append(line)
    if rest or torn is not None:
        return Chain(
            tuple(lines),
            f"record {len(lines) + 1} is unfinished; the server stopped while writing it",
        )
    return Chain(tuple(lines), None, unfinished=sum(line.after is not None for line in lines))


def _cannot_write(path: Path, error: OSError) -> ServiceError:
    return ServiceError(
        f"Cannot write the audit log {path}: {error.strerror}. Nothing was changed; mend that, then"
        " try again."
    )
