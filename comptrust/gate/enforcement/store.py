"""MLflow's registry store with a gate in it.

Every way to a guarded stage or alias, and every way around, passes here.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from mlflow import MlflowClient
from mlflow.entities.model_registry import (
    ModelVersion,
    RegisteredModel,
)
from mlflow.entities.model_registry.model_version_stages import STAGE_ARCHIVED, get_canonical_stage
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion

from comptrust import plugins
from comptrust.gate.enforcement import mlflow_internals, names, replay, settings
from comptrust.gate.enforcement.description import Descriptions
from comptrust.gate.enforcement.exceptional import ExceptionalVerifier
from comptrust.gate.enforcement.guard import Guard
from comptrust.gate.enforcement.promoted import Promoted
from comptrust.gate.enforcement.reserved import ReservedNames
from comptrust.gate.enforcement.resting import Revocations


class GuardedStore(ReservedNames):
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
        self.revocations = Revocations(self.settings, self.guard)

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
        self.describe(name, version)
        return moved

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        level = self.settings.of_alias(alias)
        # In the log both would be one place, whose end only the newer one would know.
        if level and self.settings.guards(name) and (other := self._other_spelling(name, alias)):
            self.guard.refuse(
                (name, str(version), "set alias", alias),
                f"The model has the alias {other}, which reads the same. Use that one.",
            )
        with self._promotion(name, version, level, action="set alias", target=alias):
            super().set_registered_model_alias(name, alias, version)
        if level:
            self.describe(name, version)

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
                only_in_log = not self._other_spelling(name, alias)
                if only_in_log and self.guard.granted(replay.alias_place(name, alias)):
                    recorded = self.guard.withdrawal(change, "was only in the log")
            elif not self.is_prompt(entity):
                if entity.current_stage != STAGE_ARCHIVED:
                    self.guard.refuse(
                        change,
                        "It is promoted. Move the alias to another proven version, or archive this"
                        " one first.",
                    )
                recorded = self.guard.withdrawal(change, "is archived")
            with recorded:
                super().delete_registered_model_alias(name, alias)
        if number:
            self.describe(name, number)

    def delete_model_version(self, name: str, version: str) -> None:
        # Under the lock, so that it is not promoted in between.
        with self.guard.locked() if self.settings.guards(name) else nullcontext():
            if listed := ", ".join(self._places(name, version)):
                self.guard.refuse(
                    (name, str(version), "delete version", listed),
                    f"It is {listed}. Archive it and delete its aliases first.",
                )
            super().delete_model_version(name, version)

    def delete_registered_model(self, name: str) -> None:
        with self._unpromoted(name, action="delete model", target=name):
            super().delete_registered_model(name)

    def rename_registered_model(self, name: str, new_name: str) -> RegisteredModel:
        self.refuse_misread(new_name, action="rename", target=name)
        with self._unpromoted(name, action="rename", target=new_name):
            return super().rename_registered_model(name, new_name)

    # What is promoted

    def _promoted_versions(self, name: str) -> dict[int, list[str]]:
        """Return version -> its guarded stages and aliases; prompts have none."""
        places: dict[int, list[str]] = {}
        for _, number, *_, place in self.promoted.rows(SqlModelVersion.name == name):
            places.setdefault(number, []).append(place)
        return {
            number: listed
            for number, listed in places.items()
            if not self.is_prompt(self.get_model_version(name, str(number)))
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
        if self.is_prompt(entity):
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
            change, finding = (name, number, "transition", stage), f"was {', '.join(places)}"
            with self.guard.withdrawal(change, finding) if places else nullcontext():
                yield

    def _other_spelling(self, name: str, alias: str) -> str | None:
        """Return an alias of a model that differs from a given one in its spelling alone."""
        others = self.get_registered_model(name).aliases.keys() - {alias}
        return next((other for other in others if names.fold(other) == names.fold(alias)), None)

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
                    (name, str(number), action, target),
                    f"Version {number} is {', '.join(places)}. Archive it and delete its aliases"
                    " first.",
                )
            yield
