"""The part of the guarded registry that keeps names, tags and texts which speak for the gate."""

from collections.abc import Sequence
from typing import TypeVar

from mlflow.entities.model_registry import (
    ModelVersion,
    ModelVersionTag,
    RegisteredModel,
    RegisteredModelTag,
)
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
from mlflow.store.model_registry.dbmodels.models import SqlRegisteredModel
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from comptrust.description import others
from comptrust.gate.enforcement import mlflow_internals, names
from comptrust.gate.enforcement.description import Descriptions
from comptrust.gate.enforcement.guard import Guard
from comptrust.gate.enforcement.settings import Settings

T = TypeVar("T", ModelVersionTag, RegisteredModelTag)
HARMLESS_CLAIMS = ("block", "inconclusive")
"""Verdicts that anyone may claim for a version."""


class ReservedNames(SqlAlchemyStore):
    """A registry in which the gate alone writes what speaks for it, and new names are of ASCII."""

    settings: Settings
    guard: Guard
    descriptions: Descriptions

    def create_registered_model(
        self,
        name: str,
        tags: Sequence[RegisteredModelTag] | None = None,
        description: str | None = None,
        deployment_job_id: str | None = None,
    ) -> RegisteredModel:
        if not any(tag.key == IS_PROMPT_TAG_KEY for tag in tags or ()):
            self.refuse_misread(name, action="create model", target=name)
        return super().create_registered_model(
            name, self._unreserved(name, tags), self._people(description, name), deployment_job_id
        )

    def update_registered_model(
        self, name: str, description: str | None, deployment_job_id: str | None = None
    ) -> RegisteredModel:
        if self.settings.guards(name) and not mlflow_internals.is_prompt(
            self.get_registered_model(name)
        ):
            description = self.descriptions.of_model(name, self._people(description, name))
        return super().update_registered_model(name, description, deployment_job_id)

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
            self._unreserved(name, tags),
            run_link,
            self._people(description, name),
            local_model_path=local_model_path,
            model_id=model_id,
        )

    def update_model_version(
        self, name: str, version: str, description: str | None = None
    ) -> ModelVersion:
        entity = self.get_model_version(name, version)
        if self.settings.guards(name) and not self.is_prompt(entity):
            people = self._people(description, name, str(version))
            description = self.descriptions.of_version(entity, people)
        return super().update_model_version(name, version, description)

    def set_registered_model_tag(self, name: str, tag: RegisteredModelTag) -> None:
        self._refuse_reserved(name, "", tag.key, action="set tag")
        super().set_registered_model_tag(name, tag)

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        self._refuse_reserved(name, "", key, action="delete tag")
        super().delete_registered_model_tag(name, key)

    def set_model_version_tag(self, name: str, version: str, tag: ModelVersionTag) -> None:
        if tag.key != names.CLAIM or not self.settings.guards(name):
            self._refuse_reserved(name, str(version), tag.key, action="set tag")
        elif tag.value not in HARMLESS_CLAIMS:
            self.guard.require_signed_pass(
                self.get_model_version(name, version),
                (name, str(version), "set tag", f"{tag.key}={tag.value}"),
                uri=self.get_model_version_download_uri(name, version),
            )
        super().set_model_version_tag(name, version, tag)
        if tag.key == names.CLAIM:
            self.describe(name, version)

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        self._refuse_reserved(name, str(version), key, action="delete tag")
        super().delete_model_version_tag(name, version, key)

    def describe(self, name: str, version: str) -> None:
        """Write the descriptions of a version and its model anew."""
        entity = mlflow_internals.existing_version(self.get_model_version, name, version)
        if entity and self.settings.guards(name) and not self.is_prompt(entity):
            self.descriptions.refresh(entity)

    def _people(self, text: str | None, name: str, version: str = "") -> str | None:
        """Return the people's part of a client's text, unless it could pass for the gate's."""
        if text and self.settings.guards(name):
            self.descriptions.check(text, target="description", model=name, version=version)
            return others(text)
        return text

    def is_prompt(self, version: ModelVersion) -> bool:
        """Whether a version is a prompt: its model was created as one, and it has no files."""
        return mlflow_internals.is_prompt_source(version) and mlflow_internals.is_prompt(
            self.get_registered_model(version.name)
        )

    def refuse_misread(self, name: str, *, action: str, target: str) -> None:
        """Refuse a name that people may take for another one."""
        if names.misread(name):
            self.guard.refuse(
                (name, "", action, target),
                "The name has characters that may be invisible or look like others. Use letters,"
                " digits and signs of ASCII.",
            )
        if not self.settings.guards(name):
            return
        with self.ManagedSessionMaker() as session:
            others = [other for (other,) in session.query(SqlRegisteredModel.name)]
        seen = names.drawn(name)
        if alike := next((one for one in others if one != name and names.drawn(one) == seen), None):
            self.guard.refuse(
                (name, "", action, target),
                f"The name reads like that of the registered model {alike}. Use another one.",
            )

    def _unreserved(self, name: str, tags: Sequence[T] | None) -> list[T]:
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
                (name, version, action, key),
                "This tag speaks for the gate; only a signed verdict sets it.",
            )
        if not version and names.fold(key) == names.fold(IS_PROMPT_TAG_KEY):
            self.guard.refuse(
                (name, version, action, key),
                "A registered model is made a prompt when it is created, not later. Create another"
                " one.",
            )
