"""Decisions on guarded stages, aliases, tags and versions, logged before anything is done."""

import getpass
import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from mlflow.entities.model_registry import ModelVersion
from mlflow.entities.model_registry.model_version_stages import STAGE_ARCHIVED
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, PERMISSION_DENIED, TEMPORARILY_UNAVAILABLE

from comptrust.errors import ComptrustError, ServiceError, UserError
from comptrust.gate.enforcement import audit, bindings, lapse, replay, routes, webhooks
from comptrust.gate.enforcement.audit import Audit
from comptrust.gate.enforcement.audit_record import AuditEvent, Effect, Grant, Guarded, written
from comptrust.gate.enforcement.exceptional import ExceptionalVerifier
from comptrust.gate.enforcement.settings import ALIASES, AUDIT_LOG, Level, Settings

BASIC_AUTH = "mlflow.server.auth"
IDENTITY = operator.attrgetter("name", "version", "creation_timestamp", "source", "run_id")
"""What makes a version the same one as before."""
Change = tuple[str, str, str, str]
"""Model, version, action, and target: the stage, alias, name or tag."""


class Guard:
    """Grants or refuses, logs it and says why."""

    def __init__(self, settings: Settings, verifier: ExceptionalVerifier) -> None:
        self.verifier, self._policies = verifier, settings.policies
        self.policies = {name for policy in settings.policies.values() for name in policy.digests}
        self._webhooks = webhooks.open_all()
        self._audit = Audit(settings.audit_log) if settings.audit_log else None
        added = tuple(alias for alias in settings.aliases if alias not in ALIASES)
        named = settings.policies.items()
        policies = tuple((level, one.digest, one.tolerate_until) for level, one in named)
        self._guards = Guarded(models=settings.models, aliases=added, policies=policies)

    @property
    def audit(self) -> Audit:
        """The log. Raises PERMISSION_DENIED if there is no place for one: no log, no promotion."""
        if self._audit is None:
            raise MlflowException(
                "There is no audit log for this database, so nothing guarded is allowed. Set"
                f" {AUDIT_LOG} to a file and restart the server.",
                error_code=PERMISSION_DENIED,
            )
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
        displaced: Callable[[], Sequence[str]],
    ) -> Iterator[None]:
        """Let the body promote the version if it has earned the level.

        While the body runs, the lock of the log is held: no file appears in the server's artifact
        folder, no model is deleted or renamed, and both the version and its files are the ones that
        were judged. `displaced` names the versions that the body archives too.
        """
        change = (version.name, str(version.version), action, target)
        if not routes.is_closed():
            self.refuse(
                change,
                "This server has routes that comptrust has not judged. Start it with `comptrust"
                " serve`.",
            )
        changes: replay.History | None = None
        try:
            try:
                reason, snapshot, grant = self.verifier.verify(version, level, uri=uri)
            except UserError as refusal:
                changes = self._changes(version.name)
                place = replay.place_of(action, version.name, str(version.version), target)
                reason, snapshot, grant = self.verifier.exceptional(
                    version, level, uri, place, target, changes, refusal
                )
        except ServiceError as error:
            raise MlflowException(str(error), error_code=TEMPORARILY_UNAVAILABLE) from error
        except ComptrustError as error:
            self.refuse(change, str(error), level=level)
        except Exception as error:  # any failure to judge is a refusal, and is logged as one
            reason = f"{type(error).__name__}: {error}"
            self.log(change, "refused", reason, level=level)
            raise MlflowException(
                "comptrust could not judge this version; nothing was changed.",
                error_code=INTERNAL_ERROR,
            ) from error
        with self.locked():
            # Judging takes a while. Under the lock, look once more: nothing may change from here.
            same = IDENTITY(reread()) == IDENTITY(version)
            same = same and (changes is None or changes == self._changes(version.name))
            if not same or not snapshot.unchanged():
                self.refuse(
                    change,
                    "It changed while it was judged. Try again when nothing writes to it.",
                    level=level,
                )
            policy = self._policies[level]
            try:
                first = bindings.check(self.audit.path, version.name, grant, policy)
            except UserError as error:
                self.refuse(change, str(error), level=level)
            reason = ". ".join(filter(None, [reason, first]))
            archived = [
                self._event(
                    (version.name, number, "transition", STAGE_ARCHIVED),
                    "withdrawn",
                    f"{replay.DISPLACED} {version.version}",
                )
                for number in displaced()
            ]
            if grant.emergency and archived:
                self.refuse(change, "An emergency archives no other version.", level=level)
            granted = self._event(change, "granted", reason, level=level, grant=grant)
            with self._recorded(granted, *archived):
                yield

    @contextmanager
    def withdrawal(self, change: Change, finding: str) -> Iterator[None]:
        """Record that the body takes a promotion back."""
        with self._recorded(self._event(change, "withdrawn", finding)):
            yield

    def granted(self, place: replay.Place) -> bool:
        """Whether a place is promoted according to the log, whatever the registry says."""
        return place in replay.promoted(self._changes(place[1]))

    def ever_granted(self, model: str, version: str) -> bool:
        """Whether a version was promoted at any time according to the log."""
        return any(
            event.version == version and event.decision == "granted"
            for events in self._changes(model).values()
            for event in events
        )

    def _changes(self, model: str) -> replay.History:
        return replay.history(audit.changes_of(self.audit.path, model))

    def require_signed_pass(self, version: ModelVersion, change: Change, *, uri: str) -> None:
        """Refuse unless a trusted key attests a pass of the version."""
        try:
            self.verifier.signed_pass(version, uri=uri)
        except UserError as error:
            self.refuse(change, str(error))

    def refuse(self, change: Change, finding: str, *, level: Level | None = None) -> NoReturn:
        """Log a refusal, then raise PERMISSION_DENIED with the finding, which says what to do."""
        self.log(change, "refused", finding, level=level)
        model, version, action, target = change
        ref = f"models:/{model}/{version}" if version else f"the model {model}"
        raise MlflowException(
            f"comptrust refused: {action} {target}, {ref}. {finding}",
            error_code=PERMISSION_DENIED,
        )

    def log(
        self, change: Change, decision: Effect, finding: str, *, level: Level | None = None
    ) -> None:
        """Write one decision. Raises TEMPORARILY_UNAVAILABLE if it cannot be logged."""
        self._append(self._event(change, decision, finding, level=level))

    def _event(
        self,
        change: Change,
        decision: Effect,
        finding: str,
        *,
        level: Level | None = None,
        grant: Grant | None = None,
    ) -> AuditEvent:
        (model, version, action, target), (user, address) = change, caller()
        return AuditEvent(
            action=action,
            model=model,
            version=version,
            target=target,
            decision=decision,
            finding=" ".join(filter(None, [finding, lapse.on_its_own.get()])),
            user=user,
            address=address,
            level=level,
            grant=grant,
            guards=self._guards,
        )

    def _append(self, event: AuditEvent) -> None:
        """Write one record. Raises TEMPORARILY_UNAVAILABLE if it cannot be written.

        What is not logged must not happen.
        """
        with self.locked():
            record = self.audit.append(event)
        for webhook in self._webhooks:
            webhook.send(record)

    @contextmanager
    def _recorded(self, *events: AuditEvent) -> Iterator[None]:
        """Record what the body is about to change; if it fails, record that too."""
        with self.locked():
            recorded: list[AuditEvent] = []
            try:
                for event in events:
                    self._append(event)
                    recorded.append(event)
                yield
            except BaseException as error:
                finding = written(f"{type(error).__name__}: {error}")
                changes = {"decision": "failed", "finding": finding, "grant": None}
                for event in recorded:
                    self._append(event.model_copy(update=changes))
                raise

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the log's lock, which every server of this log shares."""
        try:
            with self.audit.locked():
                yield
        except ServiceError as error:
            raise MlflowException(str(error), error_code=TEMPORARILY_UNAVAILABLE) from error


def caller() -> tuple[str | None, str | None]:
    """Return the caller as (user, address).

    The user is the name checked by basic-auth or, outside a server, the owner of this process. A
    name that nothing checked is not returned.
    """
    flask = sys.modules.get("flask")
    if flask is None or not flask.has_request_context() or lapse.on_its_own.get():
        return getpass.getuser(), None
    hooks = flask.current_app.before_request_funcs.get(None, [])
    checked = any(getattr(hook, "__module__", "") == BASIC_AUTH for hook in hooks)
    login = flask.request.authorization
    return (login.username if checked and login else None), flask.request.remote_addr
