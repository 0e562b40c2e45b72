"""The append-only log of every decision.

One JSON line for each, chained by hashes, written under a lock that several servers can share. A
long log continues in a new file. Beside it, a small file names the newest record, so that lines
cut off the end show.
"""

import contextlib
import datetime
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import Timeout

from comptrust import digests
from comptrust.errors import ServiceError, UserError
from comptrust.gate.enforcement import audit_files
from comptrust.gate.enforcement.audit_files import Head
from comptrust.gate.enforcement.audit_record import AuditEvent, AuditRecord
from comptrust.gate.enforcement.locks import SharedLock

GENESIS_HASH = "0" * 64
"""The `previous` of the first record."""
LOCK_SECONDS = 30
REFUSED = b'"decision": "refused"'
"""Part of the line of each refusal, and of no other: inside a text the quotes are escaped."""
MAX_FILE_BYTES = 16 << 20
"""A log of this size is set aside, and a new file continues it."""


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
    """A log that is open for writing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = SharedLock(path.with_name(f"{path.name}.lock"), seconds=LOCK_SECONDS)

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
                newest, torn = self._newest()
                if not torn and newest:
                    self._set_aside(newest)
                record = _next(event, newest=newest, torn=torn)
                # A crash left half a line: end it, so that it stays visible and apart.
                start = "\n" if torn else ""
                content = f"{start}{json.dumps(record.model_dump(mode='json'))}\n".encode()
                # One write call: another process never sees or interleaves half a record.
                opener = partial(os.open, mode=0o640)
                with open(self.path, "ab", buffering=0, opener=opener) as file:
                    written = file.write(content)
                    os.fsync(file.fileno())
            except OSError as error:
                raise _cannot_write(self.path, error) from error
            if written != len(content):
                raise ServiceError(
                    f"The record could not be written completely to the audit log {self.path} (disk"
                    " full?). Nothing was changed."
                )
            # The record is on disk, so it counts. A head that is behind is not a problem.
            with contextlib.suppress(OSError):
                audit_files.write_head(self.path, Head(number=record.number, hash=record.hash))
        return record

    def _newest(self) -> tuple[Head | None, bytes]:
        """Return which record comes before the next one, and what a crash left after it.

        That is the last complete record. If the head names a later one, or another with this
        number, lines were removed: then the chain continues after the head, so that `read` shows
        the gap for good.
        """
        last, torn = self._last()
        try:
            head = audit_files.head(self.path)
        except ValueError as error:
            raise ServiceError(
                f"{audit_files.head_path(self.path)}, which names the newest record, is broken, so"
                " nothing is promoted. Check the log with comptrust audit, then remove that file."
            ) from error
        if last and (head is None or last.number > head.number):
            return Head(number=last.number, hash=last.hash), torn
        return head, torn

    def _last(self) -> tuple[AuditRecord | None, bytes]:
        """Return the last complete record, and what a crash left after it."""
        torn = complete = b""
        for path in reversed(audit_files.parts(self.path)):
            if path.exists() and not complete:
                complete, rest = audit_files.tail(path)
                torn = torn or rest
        if not complete:
            return None, torn
        try:
            record = AuditRecord.model_validate_json(complete)
        except ValueError:
            record = None
        if record is None or record.hash != record.true_hash():
            raise ServiceError(
                f"The last line of the audit log {self.path} is broken, so nothing is promoted."
                " Check it: comptrust audit."
            )
        return record, torn

    def _set_aside(self, newest: Head) -> None:
        """Rename a long file, so that the next record begins a new one."""
        if self.path.exists() and os.path.getsize(self.path) >= MAX_FILE_BYTES:
            # An append-only file (chattr +a) cannot be renamed; it just grows.
            with contextlib.suppress(OSError):
                self.path.rename(self.path.with_name(f"{self.path.name}.{newest.number:012d}"))


def read(path: Path) -> Chain:
    """Read a log with all its files and check its chain. Raises UserError if there is none."""
    head, head_problem = None, None
    try:
        head = audit_files.head(path)  # before the lines, which may grow meanwhile
    except ValueError:
        head_problem = f"{audit_files.head_path(path)}, which does not name a record"
    except OSError as error:
        raise UserError(
            f"Cannot read {audit_files.head_path(path)}: {error.strerror}. Let this user read it."
        ) from error
    texts, rest = audit_files.texts(path)
    if not texts and not rest and head is None and not path.is_file():
        raise UserError(
            f"There is no audit log at {path}. Name it with --log, or set COMPTRUST_AUDIT_LOG."
        )
    records: list[AuditRecord] = []
    torn: str | None = None
    for place, text in enumerate(texts, start=1):
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
    problem = head_problem or _end_problem(records, head, torn=bool(rest) or torn is not None)
    return Chain(tuple(records), problem, sum(record.after is not None for record in records))


def records(path: Path, part: bytes = b"") -> Iterator[AuditRecord]:
    """Yield the records whose line has a text in it, but for refusals; the chain is not checked.

    Only their lines are parsed, so a long log takes little time.
    """
    for line in audit_files.lines_with(path, part, without=REFUSED):
        with contextlib.suppress(ValueError):  # what a crash left
            yield AuditRecord.model_validate_json(line)


def changes_of(path: Path, model: str) -> tuple[AuditRecord, ...]:
    """Return the records of a model but for refusals."""
    named = records(path, json.dumps(model).encode())
    return tuple(record for record in named if record.model == model)


def _next(event: AuditEvent, *, newest: Head | None, torn: bytes) -> AuditRecord:
    unhashed = AuditRecord.model_construct(
        **dict(event),
        number=newest.number + 1 if newest else 1,
        time=datetime.datetime.now(datetime.UTC),
        after=digests.of_text(torn.decode("ascii", "backslashreplace")) if torn else None,
        previous=newest.hash if newest else GENESIS_HASH,
        hash="",
    )
    return unhashed.model_copy(update={"hash": unhashed.true_hash()})


def _problem(record: AuditRecord, *, number: int, previous: str, torn: str | None) -> str | None:
    checks = (
        (record.hash != record.true_hash(), "was changed: its hash does not match its fields"),
        (
            (record.number, record.previous) != (number, previous),
            "does not follow the one before: a record, or a whole file of the log, was removed,"
            " added or moved",
        ),
        (record.after != torn, "does not explain the unfinished line before it"),
    )
    return next((problem for wrong, problem in checks if wrong), None)


def _end_problem(records: Sequence[AuditRecord], head: Head | None, *, torn: bool) -> str | None:
    if head and len(records) < head.number:
        return (
            f"record {len(records) + 1}: it is missing, but the server wrote {head.number} records."
            " Restore the removed lines or files from a backup"
        )
    if head and records[head.number - 1].hash != head.hash:
        return f"record {head.number}: it is not the one that the server wrote"
    if torn:
        return f"record {len(records) + 1} is unfinished: the server stopped while writing it"
    return None


def _cannot_write(path: Path, error: OSError) -> ServiceError:
    return ServiceError(
        f"Cannot write the audit log {path}: {error.strerror}. Nothing was changed; fix this, then"
        " try again."
    )
