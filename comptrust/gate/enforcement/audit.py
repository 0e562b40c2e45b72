"""The append-only log of every decision.

One JSON line for each, chained by hashes, written under a lock that several servers can share.
"""

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

Effect = Literal["granted", "refused", "withdrawn", "failed"]
"""`withdrawn`: a promoted version was taken back. `failed`: granted, then the database refused."""
GENESIS_HASH = "0" * 64
"""The `previous` of the first record."""
LOCK_SECONDS = 30
TAIL_BYTES = 1 << 16
"""Read back to find the last line; no line comes close to this."""
MAX_FIELD_CHARACTERS = 4_000
"""Longer fields are cut, which keeps a line below `TAIL_BYTES`."""


class AuditEvent(Record):
    """What is to be recorded."""

    action: str
    """`transition`, `set alias`, `delete version`, ..."""
    model: str
    version: str
    target: str
    """The requested stage, alias, name or tag."""
    decision: Effect
    finding: str
    """The first failing finding, or why it was granted."""
    user: str | None = None
    """The caller's name in the server's basic-auth, or the owner of the process; else None."""
    address: str | None = None
    """The caller's network address; None inside a process."""


class AuditRecord(AuditEvent):
    """One line of the log."""

    number: int
    time: datetime.datetime
    after: str | None = None
    """SHA-256 of an unfinished line before this one, left by a crash."""
    previous: str
    """Hash of the record before; zeros for the first."""
    hash: str
    """SHA-256 of all other fields."""

    def true_hash(self) -> str:
        """Return what the hash must be."""
        return digests.of_value(self.model_dump(mode="json", exclude={"hash"}))


@dataclass(frozen=True)
class Chain:
    """A log as read."""

    lines: tuple[AuditRecord, ...]
    """All records before the first that is wrong."""
    problem: str | None
    """What is wrong, naming the record; None if the chain is intact."""
    unfinished: int = 0
    """Lines cut off by a crash; the record after each contains its hash."""


class Audit:
    """A log in one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path.with_name(f"{path.name}.lock"), timeout=LOCK_SECONDS)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that all servers of this log share; the same thread may take it again.

        Raises ServiceError if the lock is not free in time.
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

    def append(self, event: AuditEvent) -> AuditRecord:
        """Add a record and return it once it is on disk.

        Raises ServiceError if it cannot be written or if the log's last line is broken.
        """
        with self.locked():
            try:
                last, torn = self._last()
                record = _next(event, last=last, torn=torn)
                # A crash left half a line: end it, so that it stays visible and apart.
                start = "\n" if torn else ""
                content = f"{start}{json.dumps(record.model_dump(mode='json'))}\n".encode()
                # One write call: another process never sees or interleaves half a record.
                with open(
                    self.path,
                    "ab",
                    buffering=0,
                    opener=lambda path, flags: os.open(path, flags, 0o640),
                ) as file:
                    written = file.write(content)
                    os.fsync(file.fileno())
            except OSError as error:
                raise _cannot_write(self.path, error) from error
            if written != len(content):
                raise ServiceError(
                    f"The record could not be written completely to the audit log {self.path} (disk"
                    " full?). Nothing was changed."
                )
        return record

    def _last(self) -> tuple[AuditRecord | None, bytes]:
        """Return the last complete record, and what a crash left after it."""
        if not self.path.exists():
            return None, b""
        with open(self.path, "rb") as file:
            file.seek(max(0, os.path.getsize(self.path) - TAIL_BYTES))
            *complete, torn = file.read().split(b"\n")
        if not complete:
            return None, torn
        try:
            record = AuditRecord.model_validate_json(complete[-1])
        except ValueError:
            record = None
        if record is None or record.hash != record.true_hash():
            raise ServiceError(
                f"The last line of the audit log {self.path} is broken, so nothing is promoted."
                " Check it: comptrust audit."
            )
        return record, torn


def read(path: Path) -> Chain:
    """Read a log and check its chain. Raises UserError if there is none."""
    if not path.is_file():
        raise UserError(
            f"There is no audit log at {path}. Name it with --log, or set COMPTRUST_AUDIT_LOG."
        )
    records: list[AuditRecord] = []
    torn: str | None = None
    *lines, rest = config.read_text(path).split("\n")
    for place, text in enumerate(lines, start=1):
        number = len(records) + 1
        try:
            record = AuditRecord.model_validate_json(text)
        except ValueError:
            # One broken line may be what a crash left; the record after it must name its hash.
            if torn is not None:
                return Chain(tuple(records), f"record {number} (line {place - 1}) is not a record")
            torn = digests.of_text(text)
            continue
        previous = records[-1].hash if records else GENESIS_HASH
        if problem := _problem(record, number=number, previous=previous, torn=torn):
            return Chain(tuple(records), f"record {number} (line {place}) {problem}")
        torn = None
        records.append(record)
    if rest or torn is not None:
        return Chain(
            tuple(records),
            f"record {len(records) + 1} is unfinished: the server stopped while writing it",
        )
    return Chain(tuple(records), None, sum(record.after is not None for record in records))


def _next(event: AuditEvent, *, last: AuditRecord | None, torn: bytes) -> AuditRecord:
    fields: dict[str, Any] = {
        key: value[:MAX_FIELD_CHARACTERS] if isinstance(value, str) else value
        for key, value in event.model_dump().items()
    }
    unhashed = AuditRecord.model_construct(
        **fields,
        number=last.number + 1 if last else 1,
        time=datetime.datetime.now(datetime.UTC),
        after=digests.of_text(torn.decode("ascii", "backslashreplace")) if torn else None,
        previous=last.hash if last else GENESIS_HASH,
        hash="",
    )
    return AuditRecord.model_validate(unhashed.model_dump() | {"hash": unhashed.true_hash()})


def _problem(record: AuditRecord, *, number: int, previous: str, torn: str | None) -> str | None:
    checks = (
        (
            record.hash != record.true_hash(),
            "was changed: its hash does not match its fields",
        ),
        (
            (record.number, record.previous) != (number, previous),
            "does not follow the one before: a record was removed, added or moved",
        ),
        (record.after != torn, "does not explain the unfinished line before it"),
    )
    return next((problem for wrong, problem in checks if wrong), None)


def _cannot_write(path: Path, error: OSError) -> ServiceError:
    return ServiceError(
        f"Cannot write the audit log {path}: {error.strerror}. Nothing was changed; fix this, then"
        " try again."
    )
