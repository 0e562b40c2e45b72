"""Compare what a registry has promoted with what its log granted, both ways."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY

from comptrust.errors import ServiceError
from comptrust.gate.enforcement import names, outdated, replay, settings
from comptrust.gate.enforcement.audit_record import AuditRecord, Guarded
from comptrust.gate.enforcement.evidence_store import EvidenceStore
from comptrust.gate.enforcement.mlflow_internals import (
    existing_version,
    is_prompt_source,
    registry_of,
)
from comptrust.gate.enforcement.recheck import Recheck
from comptrust.gate.signing import keys

PAST = "Somebody changed the database past the server"


@dataclass(frozen=True)
class Promotion:
    """A guarded stage or alias as the registry has it."""

    place: replay.Place
    value: str
    """The stage of a version, or the version of an alias."""
    ref: str
    """The version, as users type it."""
    where: str
    """`in Production` or `@champion`."""
    version: ModelVersion | None
    """None if an alias points to a version that does not exist."""


def differences(
    records: Sequence[AuditRecord], registry: str, *, trusted: keys.Trusted, evidence: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return each difference between a log and a registry, and what is tolerated for a while.

    What is granted in both is checked again: source, files, signed verdict, key, validity, the
    present policy, and the evidence in the runs and in the folder `evidence`. Which models and
    aliases are guarded is read from the log. Raises ServiceError if the registry does not answer.
    """
    history = replay.history(records)
    granted = replay.promoted(history)
    client = MlflowClient(tracking_uri=registry, registry_uri=registry)
    recheck = Recheck(client, registry, trusted, EvidenceStore(evidence))
    old = outdated.Outdated(client, outdated.present(records), trusted)
    lines: list[str] = []
    notes: list[str] = []
    watched = guarded(records, registry)
    try:
        present = list(promotions(client, watched))
        for promotion in present:
            record = granted.get(promotion.place)
            if promotion.version is None:
                lines.append(
                    f"{promotion.ref} is {promotion.where}, but does not exist. {PAST}: delete the"
                    " alias or restore a backup, and check who can write to the database."
                )
            elif record and replay.value(record) == promotion.value:
                problems = list(recheck.problems(promotion.version, promotion.where, record))
                lines += problems
                level = settings.STAGES.get(record.target) or watched.of_alias(record.target)
                what = f"{promotion.ref} ({promotion.where}, granted in record {record.number})"
                sound = not problems
                line = level and old.line(promotion.version, what, record, level, sound=sound)
                if line:
                    (notes if line[1] else lines).append(line[0])
            else:
                lines.append(_unexplained(promotion, history.get(promotion.place, ())))
    except MlflowException as error:
        raise ServiceError(
            f"The registry {registry} did not answer: {error.message!a}. The log itself was read."
        ) from error
    places = {promotion.place for promotion in present}
    lines += [_lost(record) for place, record in granted.items() if place not in places]
    return tuple(lines), tuple(notes)


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
        newer = last is not None and last.decision == "granted"
        instead = f" (record {last.number} granted {_said(last)})" if last and newer else ""
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
        f"models:/{record.model}/{record.version} is not {where(record)}, which record"
        f" {record.number} granted: the registry has nothing there, and no record takes it back."
        " The grant never reached the database (the server stopped), an older database was"
        f" restored, or {PAST.lower()} (such as a version pushed out without a record). Promote it"
        f" again; or {back} through the server, which records that it is gone."
    )


def _said(record: AuditRecord) -> str:
    by_alias = record.action in replay.ALIAS_ACTIONS
    return f"version {record.version}" if by_alias else record.target


def where(record: AuditRecord) -> str:
    """Return `in Production` or `@champion`."""
    by_alias = record.action in replay.ALIAS_ACTIONS
    return f"@{record.target}" if by_alias else f"in {record.target}"


def guarded(records: Sequence[AuditRecord], registry: str) -> settings.Settings:
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
        models=tuple(sorted({pattern for guards in told for pattern in guards.models})),
        aliases=(
            *settings.ALIASES,
            *(alias for guards in told for alias in guards.aliases),
            *((names.fold(alias), level) for alias, level in aliases),
        ),
    )


def promotions(client: MlflowClient, guarding: settings.Settings) -> Iterator[Promotion]:
    """Yield each promotion of a registry; prompts do not count."""
    for version in _pages(client.search_model_versions):
        stage = version.current_stage
        if (
            guarding.guards(version.name)
            and stage in settings.STAGES
            and not is_prompt_source(version)
        ):
            ref = f"models:/{version.name}/{version.version}"
            place = replay.stage_place(version.name, version.version)
            yield Promotion(place, stage, ref, f"in {stage}", version)
    for model in _pages(client.search_registered_models):
        for alias, number in model.aliases.items():
            if guarding.guards(model.name) and guarding.of_alias(alias) is not None:
                version = existing_version(
                    registry_of(client).get_model_version, model.name, number
                )
                if version is None or not is_prompt_source(version):
                    ref = f"models:/{model.name}/{number}"
                    place = replay.alias_place(model.name, alias)
                    yield Promotion(place, str(number), ref, f"@{alias}", version)


def _pages(search: Callable[..., Any]) -> Iterator[Any]:
    """Yield everything: MLflow lists what is tagged as a prompt only if asked for it."""
    for tagged in (None, f"tags.`{IS_PROMPT_TAG_KEY}` = 'true'"):
        page = search(filter_string=tagged)
        yield from page
        while page.token:
            page = search(filter_string=tagged, page_token=page.token)
            yield from page
