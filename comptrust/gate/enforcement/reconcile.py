"""What a registry holds against what its log granted: a promotion without a record came past the
gate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import _PROMPT_SOURCE_PLACEHOLDERS

from comptrust.errors import ServiceError
from comptrust.gate.enforcement import settings
from comptrust.gate.enforcement.audit import Line
from comptrust.gate.enforcement.names import fold
from comptrust.gate.enforcement.settings import STAGES, Settings

Key = tuple[str, str, str]
"""`stage`, model, version; or `alias`, model, folded alias."""


def unrecorded(lines: Sequence[Line], registry: str) -> tuple[str, ...]:
    """Return what is promoted in a registry although the log's last word on it is another.

    Which models and aliases are guarded is read from the environment, as the server reads it.
    Raises ServiceError if the registry does not answer.
    """
    granted = last_words(lines)
    guarded = settings.load(settings.SCHEME + registry.removeprefix(settings.SCHEME))
    try:
        promoted = list(_promoted(guarded, registry))
    except MlflowException as error:
        raise ServiceError(
            f"The registry {registry} did not answer: {error.message}. The log itself was read."
        ) from error
    return tuple(
        f"{named}, which the log never granted"
        for key, value, named in promoted
        if granted.get(key) != value
    )


def last_words(lines: Sequence[Line]) -> dict[Key, str]:
    """Return what the log leaves promoted: the stage of each version, the version of each alias."""
    held: dict[Key, str] = {}
    before: tuple[Key, str | None] | None = None
    for line in lines:
        by_alias = line.action in ("set alias", "delete alias")
        key = (
            ("alias", line.model, fold(line.target))
            if by_alias
            else ("stage", line.model, line.version)
        )
        if line.decision == "granted":
            before = (key, held.get(key))
            held[key] = line.version if by_alias else line.target
        elif line.decision == "withdrawn":
            held.pop(key, None)
        elif line.decision == "failed" and before is not None and before[0] == key:
            held.pop(key)
            if before[1] is not None:
                held[key] = before[1]
    return held


def _promoted(guarded: Settings, registry: str) -> Iterator[tuple[Key, str, str]]:
    """Yield the key, the value and a name of everything that is promoted; prompts are not."""
    client = MlflowClient(tracking_uri=registry, registry_uri=registry)
    for version in _all(client.search_model_versions):
        if (
            guarded.guards(version.name)
            and version.current_stage in STAGES
            and version.source not in _PROMPT_SOURCE_PLACEHOLDERS
        ):
            key = ("stage", version.name, str(version.version))
            yield (
                key,
                version.current_stage,
                f"models:/{version.name}/{version.version} is in {version.current_stage}",
            )
    for model in _all(client.search_registered_models):  # prompts are not among them
        for alias, number in model.aliases.items():
            if guarded.guards(model.name) and guarded.of_alias(alias) is not None:
                yield (
                    ("alias", model.name, fold(alias)),
                    str(number),
                    f"models:/{model.name}/{number} is @{alias}",
                )


def _all(search: Callable[..., Any]) -> Iterator[Any]:
    """Yield the results of a paged search."""
    token = None
    while True:
        page = search(page_token=token)
        yield from page
        token = page.token
        if not token:
            return
