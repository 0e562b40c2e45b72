"""Decisions on guarded stages, aliases, tags and versions: granted or refused, and logged before
anything is done.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, PERMISSION_DENIED, TEMPORARILY_UNAVAILABLE

from comptrust.errors import ComptrustError, ServiceError, UserError
from comptrust.gate.enforcement.audit import Audit, Decision, Entry
from comptrust.gate.enforcement.judgment import Judge
from comptrust.gate.enforcement.settings import AUDIT_LOG, Level, Settings

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

AUTH = "mlflow.server.auth"


class Guard:
    """Decides, logs and tells why."""

    def __init__(self, settings: Settings, judge: Judge) -> None:
        self.settings, self._judge = settings, judge
        self._audit = Audit(settings.audit_log) if settings.audit_log else None

    @property
    def audit(self) -> Audit:
        """The log. Raises PERMISSION_DENIED if there is no place for one: what is not logged is not
        done.
        """
        if self._audit is None:
            text = (
                "There is no audit log for this database, so nothing guarded is allowed. Set"
                f" {AUDIT_LOG} to a file and start again."
            )
            raise MlflowException(text, error_code=PERMISSION_DENIED)
        return self._audit

    @contextmanager
    def promotion(
        self,
        version: ModelVersion,
        level: Level,
        *,
        action: str,
        target: str,
        uri: str,
        reread: Callable[[], ModelVersion],
    ) -> Iterator[None]:
        """Let the body promote the version if it has earned the level.

        While the body runs, the lock of the log is held: no file of the server's artifact folder is
        published, no model is deleted or renamed, and both the version and its files are the ones
        that were judged.
        """
        model, number = version.name, str(version.version)
        try:
            earned = self._judge.earned(version, level, uri=uri)
        except ServiceError as error:
            raise MlflowException(str(error), error_code=TEMPORARILY_UNAVAILABLE) from error
        except ComptrustError as error:
            self.refuse(model, number, action=action, target=target, finding=str(error))
        except Exception as error:
            self.log(
                model,
                number,
                action=action,
                target=target,
                decision="refused",
                finding=f"{type(error).__name__}: {error}",
            )
            raise MlflowException(
                "comptrust could not judge this version; nothing was changed.",
                error_code=INTERNAL_ERROR,
            ) from error
        with self.locked():
            if _identity(reread()) != _identity(version) or (
                earned.snapshot and not _unchanged(earned.snapshot.unchanged)
            ):
                finding = "It changed while it was judged. Try again when nobody writes it."
                self.refuse(model, number, action=action, target=target, finding=finding)
            self.log(
                model,
                number,
                action=action,
                target=target,
                decision="granted",
                finding=earned.reason,
            )
            try:
                yield
            except BaseException as error:
                self.log(
                    model,
                    number,
                    action=action,
                    target=target,
                    decision="failed",
                    finding=f"{type(error).__name__}: {error}",
                )
                raise

    def proven(self, version: ModelVersion, *, action: str, target: str) -> None:
        """Refuse unless a trusted key attests a pass of the version."""
        try:
            self._judge.signed_pass(version)
        except UserError as error:
            self.refuse(
                version.name, str(version.version), action=action, target=target, finding=str(error)
            )

    def refuse(
        self, model: str, version: str, *, action: str, target: str, finding: str
    ) -> NoReturn:
        """Log a refusal, then raise PERMISSION_DENIED with the finding, which says what to do."""
        self.log(model, version, action=action, target=target, decision="refused", finding=finding)
        named = f"models:/{model}/{version}" if version else f"the model {model}"
        raise MlflowException(
            f"comptrust refused: {action} {target}, {named}. {finding}",
            error_code=PERMISSION_DENIED,
        )

    def log(
        self,
        model: str,
        version: str,
        *,
        action: str,
        target: str,
        decision: Decision,
        finding: str,
    ) -> None:
        """Write one decision; what cannot be logged must not happen, so a failure is raised as
        TEMPORARILY_UNAVAILABLE.
        """
        user, address = caller()
        entry = Entry(
            action=action,
            model=model,
            version=version,
            target=target,
            decision=decision,
            finding=finding,
            user=user,
            address=address,
        )
        try:
            self.audit.append(entry)
        except ServiceError as error:
            raise MlflowException(str(error), error_code=TEMPORARILY_UNAVAILABLE) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the log's lock, which every server of this log shares."""
        try:
            with self.audit.locked():
                yield
        except ServiceError as error:
            raise MlflowException(str(error), error_code=TEMPORARILY_UNAVAILABLE) from error


def caller() -> tuple[str | None, str | None]:
    """Return who asks, as (user, address): known to basic-auth, or the owner of this process; a
    name nobody checked is no name.
    """
    flask = sys.modules.get("flask")
    if flask is None or not flask.has_request_context():
        return getpass.getuser(), None
    hooks = flask.current_app.before_request_funcs.get(None, [])
    checked = any(getattr(hook, "__module__", "") == AUTH for hook in hooks)
    given = flask.request.authorization
    return (given.username if checked and given else None), flask.request.remote_addr


def _identity(version: ModelVersion) -> tuple[object, ...]:
    return (
        version.name,
        str(version.version),
        version.creation_timestamp,
        version.source,
        version.run_id,
    )


def _unchanged(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except UserError:
        return False
