"""MLflow's registry store with a gate in it.

Every way to a guarded stage or alias, and every way around, passes here.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities.model_registry import (
    ModelVersion,
    ModelVersionTag,
    RegisteredModel,
    RegisteredModelTag,
)
from mlflow.entities.model_registry.model_version_stages import STAGE_ARCHIVED, get_canonical_stage
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from comptrust import description as description_of
from comptrust import plugins
from comptrust.gate.enforcement import lapse, mlflow_internals, names, replay, settings
from comptrust.gate.enforcement.description import Descriptions
from comptrust.gate.enforcement.exceptional import ExceptionalVerifier
from comptrust.gate.enforcement.guard import Guard
from comptrust.gate.enforcement.promoted import Promoted

T = TypeVar("T", ModelVersionTag, RegisteredModelTag)
HARMLESS_CLAIMS = ("block", "inconclusive")
"""Verdicts that anyone may claim for a version."""


class GuardedStore(SqlAlchemyStore):
    """The registry of a database in which only proven versions are promoted.

    Everything else is as in MLflow.
    """

    def __init__(self, store_uri: str, tracking_uri: str | None = None) -> None:
        # Only packages that this server's own configuration names may bring plug-ins here.
        os.environ.setdefault(plugins.ALLOWED, "")
        self.settings = settings.load(store_uri)
        super().__init__(self.settings.database)
        tracking = (
            tracking_uri
            or os.environ.get(mlflow_internals.TRACKING_STORE)
            or self.settings.database
        ).removeprefix(settings.SCHEME)
        self.promoted = Promoted(self.settings, self.ManagedSessionMaker)

        def client() -> MlflowClient:
            return MlflowClient(tracking_uri=tracking, registry_uri=self.settings.database)

        verifier = ExceptionalVerifier(self.settings, client, self.get_model_version)
        self.guard = Guard(self.settings, verifier)
        self.descriptions = Descriptions(self, self.guard, client)
        self.lapses = lapse.Lapses(self, self.guard, self.settings.audit_log)

    # Promotion

    def transition_model_version_stage(
        self, name: str, version: str, stage: str, archive_existing_versions: bool
    ) -> ModelVersion:
        canonical = get_canonical_stage(stage)
        level = settings.STAGES.get(canonical)
        change = (
            self._demotion(name, version, canonical)
            if level is None
            else self._promotion(
                name,
                version,
                level,
                action="transition",
                target=canonical,
                displaces=archive_existing_versions,
            )
        )
        with change:
            moved = super().transition_model_version_stage(
                name, version, stage, archive_existing_versions
            )
        self._describe(name, version)
        return moved

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        level = self.settings.of_alias(alias)
        with self._promotion(name, version, level, action="set alias", target=alias):
            super().set_registered_model_alias(name, alias, version)
        if level:
            self._describe(name, version)

    # Ways around: taking a promoted version away, or putting something else under its name

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        if not self.settings.guards(name) or self.settings.of_alias(alias) is None:
            super().delete_registered_model_alias(name, alias)
            return
        with self.guard.locked():
            number = self.get_registered_model(name).aliases.get(alias)
            entity = number and mlflow_internals.existing_version(
                self.get_model_version, name, number
            )
            change = (name, str(number or ""), "delete alias", alias)
            recorded: AbstractContextManager[None] = nullcontext()
            if not entity:
                if self.guard.granted(replay.alias_place(name, alias)):
                    recorded = self.guard.withdrawal(*change, "was only in the log")
            elif not self._is_prompt(entity):
                if entity.current_stage != STAGE_ARCHIVED:
                    self.guard.refuse(
                        *change,
                        "It is promoted. Move the alias to another proven version, or archive this"
                        " one first.",
                    )
                recorded = self.guard.withdrawal(*change, "is archived")
            with recorded:
                super().delete_registered_model_alias(name, alias)
        if number:
            self._describe(name, number)

    def delete_model_version(self, name: str, version: str) -> None:
        # Under the lock, so that it is not promoted in between.
        with self.guard.locked() if self.settings.guards(name) else nullcontext():
            if listed := ", ".join(self._places(name, version)):
                self.guard.refuse(
                    *(name, str(version), "delete version", listed),
                    f"It is {listed}. Archive it and delete its aliases first.",
                )
            super().delete_model_version(name, version)

    def delete_registered_model(self, name: str) -> None:
        with self._unpromoted(name, action="delete model", target=name):
            super().delete_registered_model(name)

    def rename_registered_model(self, name: str, new_name: str) -> RegisteredModel:
        self._refuse_misread(new_name, action="rename", target=name)
        with self._unpromoted(name, action="rename", target=new_name):
            return super().rename_registered_model(name, new_name)

    # Tags that speak for the gate

    def create_registered_model(
        self,
        name: str,
        tags: Sequence[RegisteredModelTag] | None = None,
        description: str | None = None,
        deployment_job_id: str | None = None,
    ) -> RegisteredModel:
        if not any(tag.key == IS_PROMPT_TAG_KEY for tag in tags or ()):
            self._refuse_misread(name, action="create model", target=name)
        text = self._people(description, name)
        return super().create_registered_model(
            name, self._unreserved(name, tags), text, deployment_job_id
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
        if self.settings.guards(name) and not self._is_prompt(entity):
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
                action="set tag",
                target=f"{tag.key}={tag.value}",
            )
        super().set_model_version_tag(name, version, tag)
        if tag.key == names.CLAIM:
            self._describe(name, version)

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        self._refuse_reserved(name, str(version), key, action="delete tag")
        super().delete_model_version_tag(name, version, key)

    # What is promoted

    def _promoted_versions(self, name: str) -> dict[int, list[str]]:
        """Return version -> its guarded stages and aliases; prompts have none."""
        places: dict[int, list[str]] = {}
        for _, number, *_, place in self.promoted.rows(SqlModelVersion.name == name):
            places.setdefault(number, []).append(place)
        return {
            number: listed
            for number, listed in places.items()
            if not self._is_prompt(self.get_model_version(name, str(number)))
        }

    def _places(self, name: str, version: str) -> list[str]:
        """Return where a version is promoted; nowhere if its model is not guarded."""
        promoted = self._promoted_versions(name) if self.settings.guards(name) else {}
        return promoted.get(mlflow_internals.version_number(version), [])

    def _promotion(
        self,
        name: str,
        version: str,
        level: settings.Level | None,
        *,
        action: str,
        target: str,
        displaces: bool = False,
    ) -> AbstractContextManager[None]:
        """Return a context in which a version may be promoted; a prompt always may."""
        if level is None or not self.settings.guards(name):
            return nullcontext()
        entity = self.get_model_version(name, version)
        if self._is_prompt(entity):
            return nullcontext()
        return self.guard.promotion(
            entity,
            level,
            action=action,
            target=target,
            uri=self.get_model_version_download_uri(name, entity.version),
            reread=lambda: self.get_model_version(name, entity.version),
            displaced=lambda: [
                str(number)
                for number, places in sorted(self._promoted_versions(name).items())
                if displaces and number != int(entity.version) and f"in {target}" in places
            ],
        )

    @contextmanager
    def _demotion(self, name: str, version: str, stage: str) -> Iterator[None]:
        """Let the body move a version to a stage that is not guarded, and record what it was."""
        if not self.settings.guards(name):
            yield
            return
        with self.guard.locked():
            places = self._places(name, version)
            number = str(mlflow_internals.version_number(version))
            # Whatever a crash or an older database left in the log alone is taken back too.
            if not places and self.guard.granted(replay.stage_place(name, number)):
                places = ["promoted in the log alone"]
            # Archiving a former champion says that nobody should roll back to it.
            if not places and stage == STAGE_ARCHIVED and self.guard.ever_granted(name, number):
                places = ["promoted earlier"]
            change = (name, number, "transition", stage, f"was {', '.join(places)}")
            with self.guard.withdrawal(*change) if places else nullcontext():
                yield

    def _describe(self, name: str, version: str) -> None:
        """Write the descriptions of a version and its model anew."""
        entity = mlflow_internals.existing_version(self.get_model_version, name, version)
        if entity and self.settings.guards(name) and not self._is_prompt(entity):
            self.descriptions.refresh(entity)

    def _people(self, text: str | None, name: str, version: str = "") -> str | None:
        """Return the people's part of a client's text, unless it could pass for the gate's."""
        if text and self.settings.guards(name):
            self.descriptions.check(text, target="description", model=name, version=version)
            return description_of.others(text)
        return text

    def _is_prompt(self, version: ModelVersion) -> bool:
        """Whether a version is a prompt: its model was created as one, and it has no files."""
        return mlflow_internals.is_prompt_source(version) and mlflow_internals.is_prompt(
            self.get_registered_model(version.name)
        )

    @contextmanager
    def _unpromoted(self, name: str, *, action: str, target: str) -> Iterator[None]:
        """Let the body run if no version of the model is promoted.

        The lock keeps a new model of this name from passing for one that is being judged.
        """
        guarded = self.settings.guards(name) or self.settings.guards(target)
        with self.guard.locked() if guarded else nullcontext():
            promoted = self._promoted_versions(name) if guarded else {}
            for number, places in sorted(promoted.items()):
                self.guard.refuse(
                    *(name, str(number), action, target),
                    f"Version {number} is {', '.join(places)}. Archive it and delete its aliases"
                    " first.",
                )
            yield

    def _refuse_misread(self, name: str, *, action: str, target: str) -> None:
        if names.misread(name):
            self.guard.refuse(
                *(name, "", action, target),
                "The name has characters that may be invisible or look like others. Use letters,"
                " digits and signs of ASCII.",
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
                *(name, version, action, key),
                "This tag speaks for the gate; only a signed verdict sets it.",
            )
        if not version and names.fold(key) == names.fold(IS_PROMPT_TAG_KEY):
            self.guard.refuse(
                *(name, version, action, key),
                "A registered model is made a prompt when it is created, not later. Create another"
                " one.",
            )
