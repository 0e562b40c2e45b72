"""MLflow's registry store with a gate in it: every way to a guarded stage or alias, and every way
around, passes here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities.model_registry import (
    ModelVersion,
    ModelVersionTag,
    RegisteredModel,
    RegisteredModelTag,
)
from mlflow.entities.model_registry.model_version_stages import STAGE_ARCHIVED, get_canonical_stage
from mlflow.prompt.constants import _PROMPT_SOURCE_PLACEHOLDERS, IS_PROMPT_TAG_KEY
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlRegisteredModelAlias
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.validation import _validate_model_version

from comptrust.gate.enforcement import files, names, settings
from comptrust.gate.enforcement.guard import Guard
from comptrust.gate.enforcement.judgment import Judge
from comptrust.gate.enforcement.settings import STAGES, Level

T = TypeVar("T", ModelVersionTag, RegisteredModelTag)
BACKEND = "_MLFLOW_SERVER_FILE_STORE"
"""Where MLflow tells its server processes the tracking store."""
HARMLESS = ("block", "inconclusive")
"""Claims that anybody may make about a version."""


class GuardedStore(SqlAlchemyStore):
    """The registry of a database in which only proven versions are promoted; all else is as in
    MLflow.
    """

    def __init__(self, store_uri: str, tracking_uri: str | None = None) -> None:
        loaded = settings.load(store_uri)
        super().__init__(loaded.database)
        tracking = (tracking_uri or os.environ.get(BACKEND) or loaded.database).removeprefix(
            settings.SCHEME
        )
        self.settings = loaded
        self.guard = Guard(
            loaded,
            Judge(
                loaded,
                lambda: MlflowClient(tracking_uri=tracking, registry_uri=loaded.database),
                self.get_model_version,
            ),
        )

    # Promotion

    def transition_model_version_stage(
        self, name: str, version: str, stage: str, archive_existing_versions: bool
    ) -> ModelVersion:
        canonical = get_canonical_stage(stage)
        if not self.settings.guards(name):
            return super().transition_model_version_stage(
                name, version, stage, archive_existing_versions
            )
        level = STAGES.get(canonical)
        if level is not None and not self._is_prompt(
            found := self.get_model_version(name, version)
        ):
            with self._promotion(found, level, action="transition", target=canonical):
                return super().transition_model_version_stage(
                    name, version, stage, archive_existing_versions
                )
        if level is None and (held := self._promoted(name).get(_validate_model_version(version))):
            reason = f"was {', '.join(held)}"
            self.guard.log(
                name,
                str(version),
                action="transition",
                target=canonical,
                decision="withdrawn",
                finding=reason,
            )
        return super().transition_model_version_stage(
            name, version, stage, archive_existing_versions
        )

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        level = self.settings.of_alias(alias) if self.settings.guards(name) else None
        if level is None:
            return super().set_registered_model_alias(name, alias, version)
        found = self.get_model_version(name, version)
        if self._is_prompt(found):
            return super().set_registered_model_alias(name, alias, version)
        with self._promotion(found, level, action="set alias", target=alias):
            return super().set_registered_model_alias(name, alias, version)

    # Ways around: taking a promoted version away, or another thing in under its name

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        if self.settings.guards(name) and self.settings.of_alias(alias) is not None:
            number = self.get_registered_model(name).aliases.get(alias)
            if number is not None and not self._is_prompt(
                found := self.get_model_version(name, number)
            ):
                self._withdraw(found, action="delete alias", target=alias)
        super().delete_registered_model_alias(name, alias)

    def delete_model_version(self, name: str, version: str) -> None:
        if self.settings.guards(name) and (
            held := self._promoted(name).get(_validate_model_version(version))
        ):
            finding = f"It is {', '.join(held)}. Archive it and delete its aliases first."
            self.guard.refuse(
                name, str(version), action="delete version", target=", ".join(held), finding=finding
            )
        super().delete_model_version(name, version)

    def delete_registered_model(self, name: str) -> None:
        if not self.settings.guards(name):
            return super().delete_registered_model(name)
        with (
            self.guard.locked()
        ):  # a new model of this name must not be mistaken for one that is being judged
            self._refuse_while_promoted(name, action="delete model", target=name)
            super().delete_registered_model(name)

    def rename_registered_model(self, name: str, new_name: str) -> RegisteredModel:
        if not (self.settings.guards(name) or self.settings.guards(new_name)):
            return super().rename_registered_model(name, new_name)
        with self.guard.locked():
            self._refuse_while_promoted(name, action="rename", target=new_name)
            return super().rename_registered_model(name, new_name)

    # Tags that speak for the gate

    def create_registered_model(
        self,
        name: str,
        tags: Sequence[RegisteredModelTag] | None = None,
        description: str | None = None,
        deployment_job_id: str | None = None,
    ) -> RegisteredModel:
        return super().create_registered_model(
            name, self._free(name, tags), description, deployment_job_id
        )

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Sequence[ModelVersionTag] | None = None,
        run_link: str | None = None,
        description: str | None = None,
        local_model_path: str | None = None,
        model_id: str | None = None,
    ) -> ModelVersion:
        return super().create_model_version(
            name,
            source,
            run_id,
            self._free(name, tags),
            run_link,
            description,
            local_model_path=local_model_path,
            model_id=model_id,
        )

    def set_registered_model_tag(self, name: str, tag: RegisteredModelTag) -> None:
        self._refuse_reserved(name, "", tag.key, action="set tag")
        super().set_registered_model_tag(name, tag)

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        self._refuse_reserved(name, "", key, action="delete tag")
        super().delete_registered_model_tag(name, key)

    def set_model_version_tag(self, name: str, version: str, tag: ModelVersionTag) -> None:
        if tag.key != names.CLAIM or not self.settings.guards(name):
            self._refuse_reserved(name, str(version), tag.key, action="set tag")
        elif tag.value not in HARMLESS:
            found = self.get_model_version(name, version)
            self.guard.proven(found, action="set tag", target=f"{tag.key}={tag.value}")
        super().set_model_version_tag(name, version, tag)

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        self._refuse_reserved(name, str(version), key, action="delete tag")
        super().delete_model_version_tag(name, version, key)

    # What is promoted

    def protected_folders(self) -> Iterator[tuple[str, Path]]:
        """Yield each promoted version of a guarded model and the local folder of its files."""
        with self.ManagedSessionMaker() as session:
            places = (
                SqlModelVersion.name,
                SqlModelVersion.version,
                SqlModelVersion.storage_location,
            )
            staged = session.query(*places).filter(SqlModelVersion.current_stage.in_(STAGES)).all()
            same = (SqlRegisteredModelAlias.name == SqlModelVersion.name) & (
                SqlRegisteredModelAlias.version == SqlModelVersion.version
            )
            aliased = (
                session.query(*places, SqlRegisteredModelAlias.alias)
                .join(SqlRegisteredModelAlias, same)
                .all()
            )
        promoted = {row[:3] for row in staged} | {
            row[:3] for row in aliased if self.settings.of_alias(row[3]) is not None
        }
        for name, number, uri in promoted:
            if uri and self.settings.guards(name) and (folder := files.local(uri)):
                yield f"models:/{name}/{number}", folder

    def _promoted(self, name: str) -> dict[int, list[str]]:
        """Return version -> the guarded stages and aliases that it has; prompts are none of
        them."""
        with self.ManagedSessionMaker() as session:
            versions, aliases = (
                self._get_query(session, SqlModelVersion),
                self._get_query(session, SqlRegisteredModelAlias),
            )
            staged = versions.filter(
                SqlModelVersion.name == name, SqlModelVersion.current_stage.in_(STAGES)
            ).all()
            found: dict[int, list[str]] = {
                one.version: [f"in {one.current_stage}"] for one in staged
            }
            for one in aliases.filter(SqlRegisteredModelAlias.name == name).all():
                if self.settings.of_alias(one.alias) is not None:
                    found.setdefault(one.version, []).append(f"@{one.alias}")
        return {
            number: held
            for number, held in found.items()
            if not self._is_prompt(self.get_model_version(name, str(number)))
        }

    def _promotion(
        self, version: ModelVersion, level: Level, *, action: str, target: str
    ) -> AbstractContextManager[None]:
        uri = self.get_model_version_download_uri(version.name, version.version)
        return self.guard.promotion(
            version,
            level,
            action=action,
            target=target,
            uri=uri,
            reread=lambda: self.get_model_version(version.name, version.version),
        )

    def _is_prompt(self, version: ModelVersion) -> bool:
        """Whether a version is a prompt: of a model that was made as one, and without any file that
        could be loaded.
        """
        return (
            version.source in _PROMPT_SOURCE_PLACEHOLDERS
            and self.get_registered_model(version.name)._is_prompt()
        )

    def _withdraw(self, version: ModelVersion, *, action: str, target: str) -> None:
        number = str(version.version)
        if version.current_stage != STAGE_ARCHIVED:
            finding = (
                "It is promoted. Move the alias to another proven version, or move this one to"
                " stage Archived first."
            )
            self.guard.refuse(version.name, number, action=action, target=target, finding=finding)
        self.guard.log(
            version.name,
            number,
            action=action,
            target=target,
            decision="withdrawn",
            finding="is archived",
        )

    def _refuse_while_promoted(self, name: str, *, action: str, target: str) -> None:
        for number, held in sorted(self._promoted(name).items()):
            finding = (
                f"Version {number} is {', '.join(held)}. Archive it and delete its aliases first."
            )
            self.guard.refuse(name, str(number), action=action, target=target, finding=finding)

    def _free(self, name: str, tags: Sequence[T] | None) -> list[T]:
        """Leave out the tags that speak for the gate: copying a version sends them again."""
        return [
            tag
            for tag in tags or ()
            if not (self.settings.guards(name) and names.reserved(tag.key))
        ]

    def _refuse_reserved(self, name: str, version: str, key: str, *, action: str) -> None:
        if not self.settings.guards(name):
            return
        if names.reserved(key):
            self.guard.refuse(
                name,
                version,
                action=action,
                target=key,
                finding="This tag speaks for the gate; only a signed verdict sets it.",
            )
        if not version and names.fold(key) == names.fold(IS_PROMPT_TAG_KEY):
            finding = (
                "Whether a registered model is a prompt is settled when it is created. Create"
                " another one."
            )
            self.guard.refuse(name, version, action=action, target=key, finding=finding)
