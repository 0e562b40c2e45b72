"""Compare what a registry has promoted with what its log granted, both ways."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from comptrust.errors import ServiceError
from comptrust.gate.enforcement import names, replay, settings
from comptrust.gate.enforcement.audit_record import AuditRecord, Guarded
from comptrust.gate.enforcement.mlflow_internals import is_prompt_source
from comptrust.gate.enforcement.recheck import Recheck
from comptrust.gate.signing import keys

PAST = "Somebody changed the database past the server"


@dataclass(frozen=True)
class Promotion:
    """A guarded stage or alias as the registry has it."""

    place: replay.Place
    value: str
    """The stage of a version, or the version of an alias."""
    version: ModelVersion
    where: str
    """`in Production` or `@champion`."""

    @property
    def ref(self) -> str:
        """Return the reference that users type."""
        return f"models:/{self.version.name}/{self.version.version}"


def differences(
    records: Sequence[AuditRecord], registry: str, *, trusted: keys.Trusted
) -> tuple[str, ...]:
    """Return each difference between a log and a registry, and what to do.

    What is granted in both is checked again: source, files, signed verdict, key and validity. Which
    models and aliases are guarded is read from the log. Raises ServiceError if the registry does
    not answer.
    """
    history = replay.history(records)
    granted = replay.promoted(history)
    client = MlflowClient(tracking_uri=registry, registry_uri=registry)
    recheck = Recheck(client, registry, trusted)
    lines: list[str] = []
    try:
        promotions = list(_promotions(client, _guarded(records, registry)))
        for promotion in promotions:
            record = granted.get(promotion.place)
            if record and replay.value(record) == promotion.value:
                lines += recheck.problems(promotion.version, promotion.where, record)
            else:
                lines.append(_unexplained(promotion, history.get(promotion.place, ())))
    except MlflowException as error:
        raise ServiceError(
            f"The registry {registry} did not answer: {error.message!a}. The log itself was read."
        ) from error
    present = {promotion.place for promotion in promotions}
    lines += [_lost(record) for place, record in granted.items() if place not in present]
    return tuple(lines)


def _unexplained(promotion: Promotion, events: Sequence[AuditRecord]) -> str:
    """Describe a promotion that is not the one that the log left in its place."""
    what = f"{promotion.ref} is {promotion.where}, which"
    values = [replay.value(event) for event in events]
    earlier = [
        event
        for event, value in zip(events, values, strict=True)
        if event.decision == "granted" and value == promotion.value
    ]
    last = events[-1] if events else None
    if last is None or not earlier:
        instead = f" (record {last.number} granted {_said(last)})" if last else ""
        return (
            f"{what} the log never granted{instead}. {PAST}: archive this version or promote a"
            " proven one, and check who can write to the database."
        )
    then = f"record {earlier[-1].number} granted"
    if last.decision == "withdrawn":
        return (
            f"{what} {then} and record {last.number} took back. An older database was restored, or"
            f" {PAST.lower()}: take it back again, or restore a newer backup."
        )
    return (
        f"{what} {then} before record {last.number} granted {_said(last)}. That newer grant never"
        f" reached the database, an older database was restored, or {PAST.lower()}: promote the"
        " newer one again, or restore a newer backup."
    )


def _lost(record: AuditRecord) -> str:
    """Describe a grant that the registry does not have."""
    back = "delete the alias" if record.action in replay.ALIAS_ACTIONS else "archive it"
    return (
        f"models:/{record.model}/{record.version} is not {_place(record)}, which record"
        f" {record.number} granted: the registry has nothing there, and no record takes it back."
        " The grant never reached the database (the server stopped), an older database was"
        f" restored, or {PAST.lower()} (such as a version pushed out without a record). Promote it"
        f" again; or {back} through the server, which records that it is gone."
    )


def _said(record: AuditRecord) -> str:
    by_alias = record.action in replay.ALIAS_ACTIONS
    return f"version {record.version}" if by_alias else record.target


def _place(record: AuditRecord) -> str:
    by_alias = record.action in replay.ALIAS_ACTIONS
    return f"@{record.target}" if by_alias else f"in {record.target}"


def _guarded(records: Sequence[AuditRecord], registry: str) -> settings.Settings:
    """Return what the servers of this log guard, as their records say.

    Records of older versions do not say it. If none does, the environment counts.
    """
    told = {record.guards for record in records if record.guards}
    aliases = {
        (record.target, record.level or "production")
        for record in records
        if record.action in replay.ALIAS_ACTIONS and record.decision == "granted"
    }
    if not told:
        here = settings.load(registry)
        told = {Guarded(models=here.models, aliases=here.aliases)}
    return settings.Settings(
        database=registry,
        trusted_keys=None,
        policies={},
        models=tuple(sorted({pattern for guards in told for pattern in guards.models})),
        aliases=(
            *settings.ALIASES,
            *(alias for guards in told for alias in guards.aliases),
            *((names.fold(alias), level) for alias, level in aliases),
        ),
        artifact_roots=(),
        audit_log=None,
    )


def _promotions(client: MlflowClient, guarded: settings.Settings) -> Iterator[Promotion]:
    """Yield each promotion of a registry; prompts do not count."""
    for version in _pages(client.search_model_versions):
        stage = version.current_stage
        if (
            guarded.guards(version.name)
            and stage in settings.STAGES
            and not is_prompt_source(version)
        ):
            place = replay.stage_place(version.name, version.version)
            yield Promotion(place, stage, version, f"in {stage}")
    for model in _pages(client.search_registered_models):  # never lists prompts
        for alias, number in model.aliases.items():
            if guarded.guards(model.name) and guarded.of_alias(alias) is not None:
                place = replay.alias_place(model.name, alias)
                version = client.get_model_version(model.name, str(number))
                yield Promotion(place, str(number), version, f"@{alias}")


def _pages(search: Callable[..., Any]) -> Iterator[Any]:
    page = search()
    yield from page
    while page.token:
        page = search(page_token=page.token)
        yield from page
