"""Whether a version has earned a level: its signed evidence read from the tracking store, judged
anew, and its files hashed.
"""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from mlflow.exceptions import MlflowException

from comptrust import digests
from comptrust.errors import UserError
from comptrust.gate.enforcement import files
from comptrust.gate.enforcement.settings import Level, Settings
from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import Policy
from comptrust.gate.signing import attestations, keys
from comptrust.gate.signing.attestations import Attestation
from comptrust.gate.verdict import judge
from comptrust.trust import evaluation
from comptrust.trust.evaluation import Evaluation

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

EVALUATED_BY = "evaluated_by"
"""Tag of a version: the run whose evaluation counts. Anybody may set it; the attestation found
there names its run itself.
"""
REMEMBERED = 256
"""Judgments kept, so that the same attestation is not judged twice a day."""


@dataclass(frozen=True)
class Earned:
    """What a version has shown."""

    reason: str
    snapshot: files.Snapshot | None
    """Its files as hashed; None where the operator vouches for the place they are in."""


class Judge:
    """Reads and judges; every method raises UserError with the first failing finding and what to
    do.
    """

    def __init__(
        self,
        settings: Settings,
        tracking: Callable[[], MlflowClient],
        version_of: Callable[[str, str], ModelVersion],
    ) -> None:
        self._settings, self._tracking, self._version_of = settings, tracking, version_of
        self._hasher = files.Hasher()
        self._passed: dict[tuple[str, str, datetime.date], None] = {}

    def earned(self, version: ModelVersion, level: Level, *, uri: str) -> Earned:
        """Judge a version, whose files are at `uri`, under the policy of a level."""
        policy = self._settings.policies[level]
        with tempfile.TemporaryDirectory() as temporary:
            trusted = self._trusted()
            attestation, run_id, digest = self._attestation(
                version, Path(temporary), trusted=trusted
            )
            key = (digest, policy.digest, datetime.datetime.now(datetime.UTC).date())
            if key not in self._passed:
                self._judge(attestation, run_id, version, policy, Path(temporary), trusted=trusted)
                while len(self._passed) >= REMEMBERED:
                    self._passed.pop(next(iter(self._passed)))
                self._passed[key] = None
            snapshot = self._weights(attestation, version, uri, Path(temporary))
        reason = (
            f"passes policy {policy.name} ({policy.digest[:12]}), signed by {attestation.key_id},"
            " files unchanged"
        )
        return Earned(reason, snapshot)

    def signed_pass(self, version: ModelVersion) -> None:
        """Raise UserError unless a trusted key attests a pass of this version."""
        with tempfile.TemporaryDirectory() as temporary:
            self._attestation(version, Path(temporary), trusted=self._trusted())

    def _trusted(self) -> Mapping[str, Ed25519PublicKey]:
        place = self._settings.trusted_keys
        trusted = keys.load_public_keys(place) if place and place.exists() else {}
        if not trusted:
            raise UserError(
                "This server trusts no key, so nothing can prove itself. Put a public key"
                " (*.pub.pem) into its --trusted-keys."
            )
        return trusted

    def _attestation(
        self, version: ModelVersion, temporary: Path, *, trusted: Mapping[str, Ed25519PublicKey]
    ) -> tuple[Attestation, str, str]:
        """Return the attestation, its run and the digest of its bytes: signed by a trusted key, in
        force, a pass, of this model and run.
        """
        ref = f"models:/{version.name}/{version.version}"
        again = f"Run `comptrust gate {ref}` with a signing key that this server trusts."
        run_id = (version.tags or {}).get(EVALUATED_BY) or version.run_id
        if not run_id:
            raise UserError(f"It has no run, so no evaluation and no signed verdict. {again}")
        path = self._fetch(run_id, (attestations.NAME,), temporary / "signed") / attestations.NAME
        if not path.is_file():
            raise UserError(
                f"There is no signed verdict ({attestations.NAME}) in its run {run_id}. {again}"
            )
        attestation = attestations.read(path)
        found = [*attestations.problems(attestation, trusted=trusted)]
        found += attestations.changes(
            attestation.model_copy(update={"files": {}}),
            artifacts={},
            run_id=run_id,
            model=version.name,
        )
        if found:
            judged = found[0].kind in ("block", "inconclusive")
            raise UserError(
                f"{found[0].text}"
                f" {'Promote another version, or see docs/gate.md.' if judged else again}"
            )
        return attestation, run_id, digests.of_file(path)

    def _judge(
        self,
        attestation: Attestation,
        run_id: str,
        version: ModelVersion,
        policy: Policy,
        temporary: Path,
        *,
        trusted: Mapping[str, Ed25519PublicKey],
    ) -> None:
        ids = {"candidate": run_id} | (
            {"baseline": attestation.baseline_run_id} if attestation.baseline_run_id else {}
        )
        names = (*attestations.EVALUATION, attestations.VERDICT)
        folders = {role: self._fetch(run, names, temporary / role) for role, run in ids.items()}
        found = attestations.changes(
            attestation, artifacts=folders, run_id=run_id, model=version.name
        )
        if found:
            raise UserError(f"{found[0].text} Evaluate and gate it again.")
        read = {
            role: evaluation.load(folder, ref=f"runs:/{ids[role]}")
            for role, folder in folders.items()
        }
        siblings = tuple(
            self._sibling(ref, signed, temporary) for ref, signed in attestation.siblings.items()
        )
        evidence = Evidence(
            candidate=read["candidate"], baseline=read.get("baseline"), siblings=siblings
        )
        verdict = judge(evidence, policy, waivers=attestation.waivers, trusted=trusted)
        if verdict.outcome == "pass":
            return
        failing = next((one for one in verdict.findings if one.outcome == verdict.outcome), None)
        why = f"{failing.rule}: {failing.reason}" if failing else "The policy has no rule."
        raise UserError(
            f"Verdict {verdict.outcome} under policy {policy.name}. {why} Promote another version,"
            " or see docs/gate.md."
        )

    def _sibling(self, ref: str, signed: Mapping[str, str], temporary: Path) -> Evaluation:
        name, _, number = ref.removeprefix("models:/").rpartition("/")
        try:
            version = self._version_of(name, number)
        except MlflowException as error:
            raise UserError(f"Its signed sibling {ref} is gone. Gate it again.") from error
        run_id = (version.tags or {}).get(EVALUATED_BY) or version.run_id or ""
        read = evaluation.load(
            self._fetch(run_id, tuple(signed), temporary / digests.of_text(ref)), ref=ref
        )
        if attestations.summary(read) != signed:
            raise UserError(
                f"Its sibling {ref} was evaluated anew since it was judged. Gate it again."
            )
        return read

    def _weights(
        self, attestation: Attestation, version: ModelVersion, uri: str, temporary: Path
    ) -> files.Snapshot | None:
        """Compare every file of the version with what was signed, where only this server can change
        it afterwards.
        """
        folder, vouched = (
            files.local(uri),
            any(files.below(uri, root) for root in self._settings.artifact_roots),
        )
        if vouched and folder is None:
            folder = (
                files.fetch(
                    uri.rpartition("/")[0], (uri.rpartition("/")[2],), temporary / "weights"
                )
                / uri.rpartition("/")[2]
            )
        elif files.in_server() and not vouched:
            self._only_here(uri)
        if folder is None:
            raise UserError(
                f"Its files are at {uri}, where others can change them. Log the model through this"
                " server and register it anew."
            )
        if not folder.is_dir():
            raise UserError("Its files are gone. Register it again.")
        taken = self._hasher.snapshot(folder)
        found = attestations.changed_artifact(attestation, taken.digests)
        if found:
            raise UserError(f"{found[0].text} Register and gate it anew.")
        return None if vouched else taken

    def _only_here(self, uri: str) -> None:
        """Raise UserError unless a version's files can be written through this server alone, which
        refuses it once they are promoted.
        """
        root, folder = files.destination(), files.local(uri)
        if root is None or not files.frozen():
            raise UserError(
                "This server's artifact folder does not keep promoted files. Start it with"
                " `comptrust serve`."
            )
        if folder is None or not folder.is_relative_to(root):
            raise UserError(
                f"Its files are at {uri}, outside this server's artifact folder. Log the model"
                " through this server."
            )
        if uri.startswith(f"{files.PROXIED}:"):
            return
        # A run's folder can be written past the artifact folder's guard (upload-artifact); a logged
        # model's cannot.
        if folder not in (
            self._logged_model(part) for part in folder.parts if part.startswith("m-")
        ):
            raise UserError(
                "Its files are in a run's folder, which others can write. Log it with"
                " mlflow.transformers.log_model."
            )

    def _logged_model(self, model_id: str) -> Path | None:
        try:
            return files.local(self._tracking().get_logged_model(model_id).artifact_location)
        except MlflowException:
            return None

    def _fetch(self, run_id: str, names: tuple[str, ...], into: Path) -> Path:
        try:
            uri = self._tracking().get_run(run_id).info.artifact_uri
        except MlflowException as error:
            raise UserError(f"Its run {run_id} cannot be read: {error.message}.") from error
        return files.fetch(uri, names, into)
