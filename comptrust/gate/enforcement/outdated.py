"""Find what was promoted before the present policy or checks, and would not be promoted now."""

import datetime
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from comptrust.errors import UserError
from comptrust.gate import policy as policies
from comptrust.gate.enforcement import settings
from comptrust.gate.enforcement.audit_record import AuditRecord
from comptrust.gate.enforcement.files import Snapshot
from comptrust.gate.enforcement.settings import Level
from comptrust.gate.enforcement.verifier import Verifier
from comptrust.gate.policy import Policy
from comptrust.gate.signing import keys


@dataclass(frozen=True)
class Present:
    """The policy that a level needs now, as far as it is known here."""

    digests: Collection[str]
    tolerate_until: datetime.date | None
    policy: Policy | None
    """None if the server has another one than this machine."""


class Outdated(Verifier):
    """Judges promoted versions again, and names those that the present policy did not let in.

    The signed evidence is judged as the server does, without the version's files.
    """

    def __init__(
        self, client: MlflowClient, present: Mapping[Level, Present], trusted: keys.Trusted
    ) -> None:
        self._present = present
        known = {level: now.policy for level, now in present.items() if now.policy}
        here = settings.Settings(database="", models=(), aliases=(), policies=known)
        super().__init__(here, lambda: client, client.get_model_version)
        self._trusted = trusted

    def trusted(self) -> keys.Trusted:
        return self._trusted

    def _weights(self, *_: Any, **__: Any) -> Snapshot:
        return Snapshot(Path(), {}, {})

    def line(
        self, version: ModelVersion, what: str, record: AuditRecord, level: Level, *, sound: bool
    ) -> tuple[str, bool] | None:
        """Return what is outdated about a promotion and whether it is tolerated; None if nothing.

        `what` names the version, its place and its record. Only `sound` evidence is judged again.
        """
        present, grant = self._present.get(level), record.grant
        if present is None or (grant and grant.emergency):
            return None
        why = ""
        if grant is None:
            why = "it was promoted before the log said what it granted"
        elif grant.policy not in present.digests:
            why = f"it was granted under another policy than that of {level} now"
        if present.policy and sound:
            try:
                _, _, judged = self.verify(version, level, uri="")
                if grant and grant.attestation not in (judged.attestation, judged.older):
                    why = ""  # it was gated again since
            except UserError as error:
                why = f"its evidence does not pass policy {present.policy.name} now: {error}"
        if not why:
            return None
        ref, until = f"models:/{version.name}/{version.version}", present.tolerate_until
        line = f"{what}: {why.rstrip('.')}. Bring it up to date: comptrust regate {ref}"
        line += "" if grant else ", then promote it again"
        tolerated = until is not None and datetime.datetime.now(datetime.UTC).date() <= until
        if until:
            line += f" ({'tolerated' if tolerated else 'it was tolerated'} until {until})"
        return line, tolerated


def present(records: Iterable[AuditRecord]) -> dict[Level, Present]:
    """Return the policy of each level: what the environment names, else the log's newest line."""
    told = {
        level: (digest, until)
        for record in records
        if record.guards
        for level, digest, until in record.guards.policies
    }
    found: dict[Level, Present] = {}
    for level in settings.LEVELS:
        named = os.environ.get(settings.POLICY[level])
        policy = policies.load(named or level)
        digest, until = told.get(level, ("", None))
        if named or digest in policy.digests:
            found[level] = Present(policy.digests, policy.tolerate_until, policy)
        elif digest:
            found[level] = Present((digest,), until, None)
    return found
