"""Compare what a registry has promoted with what its log granted.

A promotion without a record bypassed the gate.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from comptrust.errors import ServiceError
from comptrust.gate.enforcement import names, settings
from comptrust.gate.enforcement.audit import AuditRecord
from comptrust.gate.enforcement.mlflow_internals import is_prompt_source

Key = tuple[str, str, str]
"""`stage`, model, version; or `alias`, model, folded alias."""


def unrecorded(records: Sequence[AuditRecord], registry: str) -> tuple[str, ...]:
    """Return every promotion in a registry that the log does not account for.

    Which models and aliases are guarded is read from the environment, as the server reads it.
    Raises ServiceError if the registry does not answer.
    """
    granted = last_granted(records)
    guarded = settings.load(registry)
    try:
        promoted = list(_promoted(guarded, registry))
    except MlflowException as error:
        raise ServiceError(
            f"The registry {registry} did not answer: {error.message}. The log itself was read."
        ) from error
    return tuple(
        f"{promotion}, which the log never granted"
        for key, value, promotion in promoted
        if granted.get(key) != value
    )


def last_granted(records: Sequence[AuditRecord]) -> dict[Key, str]:
    """Return what the log leaves promoted: the stage of each version, the version of each alias."""
    granted: dict[Key, str | None] = {}
    # A `failed` record undoes the grant just before it: the database refused, nothing changed.
    undo: tuple[Key, str | None] | None = None
    for record in records:
        by_alias = record.action in ("set alias", "delete alias")
        key = (
            ("alias", record.model, names.fold(record.target))
            if by_alias
            else ("stage", record.model, record.version)
        )
        if record.decision == "granted":
            undo = (key, granted.get(key))
            granted[key] = record.version if by_alias else record.target
        elif record.decision == "withdrawn":
            granted[key] = None
        elif record.decision == "failed" and undo is not None and undo[0] == key:
            granted[key] = undo[1]
    return {key: value for key, value in granted.items() if value is not None}


def _promoted(guarded: settings.Settings, registry: str) -> Iterator[tuple[Key, str, str]]:
    """Yield the key, the value and a description of each promotion; prompts do not count."""
    client = MlflowClient(tracking_uri=registry, registry_uri=registry)
    for version in _pages(client.search_model_versions):
        stage = version.current_stage
        if (
            guarded.guards(version.name)
            and stage in settings.STAGES
            and not is_prompt_source(version)
        ):
            ref = f"models:/{version.name}/{version.version}"
            yield ("stage", version.name, str(version.version)), stage, f"{ref} is in {stage}"
    for model in _pages(client.search_registered_models):  # never lists prompts
        for alias, number in model.aliases.items():
            if guarded.guards(model.name) and guarded.of_alias(alias) is not None:
                key = ("alias", model.name, names.fold(alias))
                yield key, str(number), f"models:/{model.name}/{number} is @{alias}"


def _pages(search: Callable[..., Any]) -> Iterator[Any]:
    page = search()
    yield from page
    while page.token:
        page = search(page_token=page.token)
        yield from page
