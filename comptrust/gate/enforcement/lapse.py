"""The end of what was granted: emergencies are taken back, and expired signatures are logged."""

import contextlib
import datetime
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING

from mlflow.entities.model_registry.model_version_stages import STAGE_ARCHIVED
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from comptrust.gate.enforcement import audit, replay
from comptrust.gate.enforcement.audit_record import AuditRecord
from comptrust.gate.signing import emergency

if TYPE_CHECKING:
    from comptrust.gate.enforcement.store import GuardedStore

MAX_DESCRIPTION = 5_000
on_its_own: ContextVar[str] = ContextVar("on_its_own", default="")
"""Why the server records something that nobody asked for."""


@contextlib.contextmanager
def by_itself(why: str) -> Iterator[None]:
    """Let the body record what the server does on its own, and why."""
    token = on_its_own.set(why)
    try:
        yield
    finally:
        on_its_own.reset(token)


def described(description: str | None, line: str) -> str:
    """Return a version's description that begins with a line about its emergency.

    >>> described("EMERGENCY until now\\nours", "EMERGENCY ended")
    'EMERGENCY ended\\nours'
    """
    first, _, rest = (description or "").partition("\n")
    kept = rest if first.startswith(emergency.MARK) else description or ""
    return f"{line}\n{kept}"[:MAX_DESCRIPTION].rstrip()


class Lapses:
    """Ends what the log of a registry granted when its time is over."""

    def __init__(self, store: "GuardedStore") -> None:
        self._store, self._guard = store, store.guard

    def end_due(self) -> None:
        """Take back each emergency that is over, and log each signature that expired meanwhile.

        The alias goes to the former champion, if there is one. Raises MlflowException if that
        cannot be done or logged; then nothing may be read.
        """
        now = datetime.datetime.now(datetime.UTC)
        if not (due := self._store.promoted.due(now)):
            return
        with self._guard.locked():  # another worker may have done it meanwhile
            for model in due:
                records = audit.changes_of(self._guard.audit.path, model)
                changes = replay.history(records)
                for record in list(replay.promoted(changes).values()):
                    if record.grant is None or record.grant.expires > now:
                        continue
                    if record.grant.emergency:
                        self._end(record, changes)
                    elif record.grant.rollback is None and not _logged(record, records):
                        self._expire(record)
                self._store.promoted.settled(model, now)

    def _expire(self, record: AuditRecord) -> None:
        """Log that a signature is over. What it opened stays promoted."""
        assert record.grant is not None
        over = f"the signature of record {record.number} expired"
        change = (record.model, record.version, record.action, record.target)
        with by_itself(f"at {record.grant.expires:%Y-%m-%d %H:%M} UTC."):
            self._guard.log(*change, "expired", over)

    def _end(self, record: AuditRecord, changes: replay.History) -> None:
        """Take one emergency back. What it left in its place was granted by nothing else."""
        assert record.grant is not None
        over = f"The emergency of record {record.number} ended at {record.grant.expires:%H:%M} UTC."
        name, version = record.model, record.version
        with by_itself(over):
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

    def _moved(self, name: str, alias: str, version: str) -> bool:
        """Move an alias as any client would, so only to what may be promoted."""
        try:
            self._store.set_registered_model_alias(name, alias, version)
        except MlflowException:
            return False
        return True


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
