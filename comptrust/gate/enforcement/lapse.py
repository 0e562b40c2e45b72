"""The end of emergencies: the server takes back what it granted for a while.

The end of each is noted in a file beside the log, which costs a request one look at that file.
"""

import contextlib
import datetime
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities.model_registry.model_version_stages import STAGE_ARCHIVED
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from comptrust.errors import ServiceError
from comptrust.gate.enforcement import audit, audit_files, replay
from comptrust.gate.enforcement.audit_record import AuditRecord
from comptrust.gate.signing import emergency

if TYPE_CHECKING:
    from comptrust.gate.enforcement.guard import Guard

GRANTED = b'"emergency": "'
"""Part of the line of each emergency that was granted, and of no other."""
MAX_DESCRIPTION = 5_000
NEVER = datetime.datetime.min.replace(tzinfo=datetime.UTC)
on_its_own: ContextVar[str] = ContextVar("on_its_own", default="")
"""Why the server changes something that nobody asked for."""


def announce(log: Path, end: datetime.datetime) -> None:
    """Note when an emergency ends, for every server of this log, before it is granted."""
    try:
        with open(_noted(log), "a", encoding="ascii") as file:
            file.write(f"{end.isoformat()}\n")
    except OSError as error:
        raise ServiceError(
            f"Cannot write {_noted(log)}: {error.strerror}. Nothing was changed; fix this, then try"
            " again."
        ) from error


def described(description: str | None, line: str) -> str:
    """Return a version's description that begins with a line about its emergency.

    >>> described("EMERGENCY until now\\nours", "EMERGENCY ended")
    'EMERGENCY ended\\nours'
    """
    first, _, rest = (description or "").partition("\n")
    kept = rest if first.startswith(emergency.MARK) else description or ""
    return f"{line}\n{kept}"[:MAX_DESCRIPTION].rstrip()


class Lapses:
    """Ends the emergencies of one log when their time is over."""

    def __init__(self, store: SqlAlchemyStore, guard: "Guard", log: Path | None) -> None:
        self._store, self._guard, self._log = store, guard, log
        self._state: tuple[int, int] | None = None
        self._ends: list[datetime.datetime] = []
        self._done = NEVER

    def end_due(self) -> None:
        """Take back each emergency that is over: the alias goes to the former champion, if any.

        Raises MlflowException if that cannot be done or logged; then nothing guarded may be read.
        """
        now = datetime.datetime.now(datetime.UTC)
        if self._log is None or not self._due(self._log, now):
            return
        with self._guard.locked():  # another worker may have done it meanwhile
            for record, changes in list(_over(self._log, now)):
                self._end(record, changes)
        self._done = now

    def _due(self, log: Path, now: datetime.datetime) -> bool:
        try:
            status = os.stat(_noted(log))
            state = (status.st_mtime_ns, status.st_size)
        except FileNotFoundError:
            state = (0, 0)
        if state != self._state:
            # Somebody may have removed the notes, so the first look is at the log.
            found = [record.grant.expires for record in _granted(log) if record.grant]
            self._ends, self._state = found, state
        if now < self._done:  # the clock was wrong
            self._done = NEVER
        return any(self._done < end <= now for end in self._ends)

    def _end(self, record: AuditRecord, changes: replay.History) -> None:
        """Take one emergency back. What it left in its place was granted by nothing else."""
        assert record.grant is not None
        over = f"The emergency of record {record.number} ended at {record.grant.expires:%H:%M} UTC."
        name, version = record.model, record.version
        token = on_its_own.set(over)
        try:
            if record.action in replay.ALIAS_ACTIONS:
                former = replay.before_emergency(changes, replay.place(record))
                if not former or not self._moved(name, record.target, former.version):
                    change = (name, version, "delete alias", record.target)
                    with self._guard.withdrawal(*change, "no former champion"), _existing():
                        SqlAlchemyStore.delete_registered_model_alias(
                            self._store, name, record.target
                        )
            else:
                change = (name, version, "transition", STAGE_ARCHIVED)
                with self._guard.withdrawal(*change, f"was in {record.target}"), _existing():
                    SqlAlchemyStore.transition_model_version_stage(
                        self._store, name, version, STAGE_ARCHIVED, False
                    )
            with _existing():
                entity = self._store.get_model_version(name, version)
                line = f"{emergency.MARK} ended at {record.grant.expires:%Y-%m-%d %H:%M} UTC."
                text = described(entity.description, line)
                self._store.update_model_version(name, version, text)
        finally:
            on_its_own.reset(token)

    def _moved(self, name: str, alias: str, version: str) -> bool:
        """Move an alias as any client would, so only to what may be promoted."""
        try:
            self._store.set_registered_model_alias(name, alias, version)
        except MlflowException:
            return False
        return True


def _noted(log: Path) -> Path:
    return log.with_name(f"{log.name}.emergencies")


def _granted(log: Path) -> Iterator[AuditRecord]:
    for line in audit_files.lines_with(log, GRANTED, without=audit.REFUSED):
        with contextlib.suppress(ValueError):  # what a crash left
            yield AuditRecord.model_validate_json(line)


def _over(log: Path, now: datetime.datetime) -> Iterator[tuple[AuditRecord, replay.History]]:
    """Yield each emergency that is over but still promoted, with what happened to its model."""
    for model in dict.fromkeys(record.model for record in _granted(log)):
        changes = replay.history(audit.changes_of(log, model))
        for record in replay.promoted(changes).values():
            if record.grant and record.grant.emergency and record.grant.expires <= now:
                yield record, changes


@contextlib.contextmanager
def _existing() -> Iterator[None]:
    """Let the body change what somebody may have deleted past the server."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
