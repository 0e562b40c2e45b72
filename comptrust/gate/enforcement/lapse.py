"""The end of what was granted: emergencies are taken back, and expired signatures are logged.

Each end is noted in a file beside the log, which costs a request one look at that file.
"""

import contextlib
import datetime
import json
import os
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities.model_registry.model_version_stages import STAGE_ARCHIVED
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from comptrust import digests
from comptrust.errors import ServiceError
from comptrust.gate.enforcement import audit, audit_files, replay
from comptrust.gate.enforcement.audit_record import AuditRecord

if TYPE_CHECKING:
    from comptrust.gate.enforcement.guard import Guard
    from comptrust.gate.enforcement.store import GuardedStore

EMERGENCY = b'"emergency": "'
"""Part of the line of each emergency that was granted, and of no other."""
End = tuple[datetime.datetime, str]
"""When something ends, and of which model."""
on_its_own: ContextVar[str] = ContextVar("on_its_own", default="")
"""Why the server changes something that nobody asked for."""


def announce(log: Path, end: datetime.datetime, model: str) -> None:
    """Note when a grant ends, for every server of this log, before it is recorded."""
    try:
        with open(_noted(log), "a", encoding="ascii") as file:
            file.write(_line((end, model)))
    except OSError as error:
        raise ServiceError(
            f"Cannot write {_noted(log)}: {error.strerror}. Nothing was changed; fix this, then try"
            " again."
        ) from error


class Lapses:
    """Ends what the log of a registry granted when its time is over."""

    def __init__(self, store: "GuardedStore", guard: "Guard", log: Path | None) -> None:
        self._store, self._guard, self._log = store, guard, log
        self._state: tuple[int, int] | None = None
        self._ends: set[End] = set()

    def end_due(self) -> None:
        """Take back each emergency that is over, and log each signature that expired meanwhile.

        The alias goes to the former champion, if there is one. Raises MlflowException if that
        cannot be done or logged; then nothing may be read.
        """
        now = datetime.datetime.now(datetime.UTC)
        if self._log is None or not (due := self._due(self._log, now)):
            return
        with self._guard.locked():  # another worker may have done it meanwhile
            for model in due:
                records = audit.changes_of(self._log, model)
                changes = replay.history(records)
                for record in list(replay.promoted(changes).values()):
                    if record.grant is None or record.grant.expires > now:
                        continue
                    if record.grant.emergency:
                        self._end(record, changes)
                    elif record.grant.rollback is None and not _logged(record, records):
                        self._expire(record)
            # Notes are added under the same lock, so none is lost here.
            noted = set(_ends(self._log))
            self._ends = {end for end in self._ends | noted if end[0] > now}
            if noted - self._ends:
                digests.write_atomic(_noted(self._log), "".join(map(_line, sorted(self._ends))))

    def _due(self, log: Path, now: datetime.datetime) -> list[str]:
        """Return the models of which something is over."""
        try:
            status = os.stat(_noted(log))
            state = (status.st_mtime_ns, status.st_size)
        except FileNotFoundError:
            state = (0, 0)
        if state != self._state:
            self._ends.update(_ends(log))
            if self._state is None or state == (0, 0):  # somebody may have removed the notes
                self._ends.update(_emergencies(log))
            self._state = state
        return sorted({model for end, model in self._ends if end <= now})

    def _expire(self, record: AuditRecord) -> None:
        """Log that a signature is over. What it opened stays promoted."""
        assert record.grant is not None
        over = f"the signature of record {record.number} expired"
        token = on_its_own.set(f"at {record.grant.expires:%Y-%m-%d %H:%M} UTC.")
        try:
            change = (record.model, record.version, record.action, record.target)
            self._guard.log(*change, "expired", over)
        finally:
            on_its_own.reset(token)

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
                self._store.descriptions.refresh(self._store.get_model_version(name, version))
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
    return log.with_name(f"{log.name}.ends")


def _line(end: End) -> str:
    return f"{end[0].isoformat()} {json.dumps(end[1])}\n"


def _ends(log: Path) -> Iterator[End]:
    """Yield what is noted beside a log."""
    if not _noted(log).exists():
        return
    for line in _noted(log).read_text("ascii").splitlines():
        with contextlib.suppress(ValueError):  # what a crash left
            time, _, model = line.partition(" ")
            yield datetime.datetime.fromisoformat(time), json.loads(model)


def _emergencies(log: Path) -> Iterator[End]:
    """Yield the ends of all emergencies in a log."""
    for line in audit_files.lines_with(log, EMERGENCY, without=audit.REFUSED):
        with contextlib.suppress(ValueError):  # what a crash left
            record = AuditRecord.model_validate_json(line)
            if record.grant:
                yield record.grant.expires, record.model


def _logged(record: AuditRecord, records: Iterable[AuditRecord]) -> bool:
    """Whether it was logged before that what a record granted has expired."""
    place = replay.place(record)
    return any(
        other.decision == "expired"
        and other.number > record.number
        and replay.place(other) == place
        for other in records
    )


@contextlib.contextmanager
def _existing() -> Iterator[None]:
    """Let the body change what somebody may have deleted past the server."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
