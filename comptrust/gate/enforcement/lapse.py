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

if TYPE_CHECKING:
    from comptrust.gate.enforcement.store import GuardedStore

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


def end_due(store: "GuardedStore") -> None:
    """Take back each emergency that is over, and log each signature that expired meanwhile.

    What an expired signature opened stays promoted. An emergency's alias goes to the former
    champion, if there is one. Raises MlflowException if that cannot be done or logged; then nothing
    may be read.
    """
    now = datetime.datetime.now(datetime.UTC)
    if not (due := store.promoted.due(now)):
        return
    with store.guard.locked():  # another worker may have done it meanwhile
        for model in due:
            records = audit.changes_of(store.guard.audit.path, model)
            changes = replay.history(records)
            for record in list(replay.promoted(changes).values()):
                if record.grant is None or record.grant.expires > now:
                    continue
                if record.grant.emergency:
                    _end(store, record, changes)
                elif record.grant.rollback is None and not _logged(record, records):
                    change = (record.model, record.version, record.action, record.target)
                    with by_itself(f"at {record.grant.expires:%Y-%m-%d %H:%M} UTC."):
                        over = f"the signature of record {record.number} expired"
                        store.guard.log(change, "expired", over)
            store.promoted.settled(model, now)


def _end(store: "GuardedStore", record: AuditRecord, changes: replay.History) -> None:
    """Take one emergency back. What it left in its place was granted by nothing else."""
    assert record.grant is not None
    over = f"The emergency of record {record.number} ended at {record.grant.expires:%H:%M} UTC."
    name, version = record.model, record.version
    with by_itself(over):
        if record.action in replay.ALIAS_ACTIONS:
            former = replay.before_emergency(changes, replay.place(record))
            if not former or not _moved(store, name, record.target, former.version):
                change = (name, version, "delete alias", record.target)
                with store.guard.withdrawal(change, "no former champion"), _existing():
                    SqlAlchemyStore.delete_registered_model_alias(store, name, record.target)
        else:
            change = (name, version, "transition", STAGE_ARCHIVED)
            with store.guard.withdrawal(change, f"was in {record.target}"), _existing():
                SqlAlchemyStore.transition_model_version_stage(
                    store, name, version, STAGE_ARCHIVED, False
                )
        with _existing():
            store.descriptions.refresh(store.get_model_version(name, version))


def _moved(store: "GuardedStore", name: str, alias: str, version: str) -> bool:
    """Move an alias as any client would, so only to what may be promoted."""
    try:
        store.set_registered_model_alias(name, alias, version)
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
