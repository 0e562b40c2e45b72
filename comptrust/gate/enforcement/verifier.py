"""Verify that a version has earned a level.

Its signed evidence is read from the tracking store and judged again, and its files are hashed.
"""

import datetime
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from comptrust import digests
from comptrust.errors import UserError
from comptrust.gate.enforcement import addresses, blocks, files, keeping, locks
from comptrust.gate.enforcement.audit_record import Grant
from comptrust.gate.enforcement.evidence_store import EvidenceStore
from comptrust.gate.enforcement.settings import Level, Settings
from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import Policy
from comptrust.gate.signing import attestations, keys, waivers
from comptrust.gate.verdict import judge
from comptrust.models import measure
from comptrust.records import Checkpoint
from comptrust.trust import evaluation, rescoring

EVALUATED_BY = "evaluated_by"
"""Tag of a version: the run whose evaluation counts.

Anyone may set it, which is harmless: the attestation found there names its own run.
"""
MAX_REMEMBERED = 256
"""Passes kept in memory, so that the same attestation is not judged twice a day."""

Verified = tuple[str, files.Snapshot | None, Grant]
"""Why a version may be promoted, its files as hashed (None where the operator vouches for their
place), and what is granted."""
OTHERS = "Promote another version, or see docs/gate.md."
"""What to do when the gate does not let a version pass."""


class Verifier:
    """Reads and judges. Every method raises UserError with the first problem and what to do."""

    def __init__(
        self,
        settings: Settings,
        tracking: Callable[[], MlflowClient],
        version_of: Callable[[str, str], ModelVersion],
    ) -> None:
        self.settings, self._tracking, self._version_of = settings, tracking, version_of
        self._memory = digests.Memory({})
        self._passed: dict[tuple[object, ...], str | None] = {}
        self._kept = EvidenceStore(settings.evidence) if settings.evidence else None
        self._turns = locks.Turns(max(1, (os.cpu_count() or 2) // 2))

    def verify(
        self,
        version: ModelVersion,
        level: Level,
        *,
        uri: str,
        then: datetime.datetime | None = None,
    ) -> Verified:
        """Verify a version, whose files are at `uri`, under the policy of a level.

        With `then`, its signature and waivers need not be valid now, but at that time.
        """
        policy = self.settings.policies[level]
        with tempfile.TemporaryDirectory() as temporary:
            folder, trusted = Path(temporary), self.trusted()
            attestation = self._attestation(
                version, folder, trusted=trusted, level=level, days=policy.valid_days, now=then
            )
            earlier = blocks.find(
                self._tracking(),
                attestation.verdict.checkpoint_digest,
                but=attestation.run_id,
                also=[version.run_id],
                trusted=trusted,
            )
            # The day is part of the key because waivers expire at its end. The attestation itself
            # is checked every time, as are earlier blocks and every file of the version.
            today = (then or datetime.datetime.now(datetime.UTC)).date()
            grants = ((name, str(key.grant)) for name, key in sorted(trusted.items()))
            blocked = (block.ref for block in earlier)
            key = (attestation.signature, policy.digest, today, *grants, *blocked)
            record = None
            # Of equal requests at once, one judges and reads the files; the others wait for it.
            with self._turns.take(key):
                evidence = self._passed.get(key)
                judged = evidence is not None and keeping.is_whole(self._kept, evidence)
                if not judged:
                    record = self._judge(
                        attestation,
                        policy,
                        folder,
                        trusted=trusted,
                        blocked=earlier,
                        level=level,
                        today=today,
                    )
                # Files that were measured once are the same if their hashes are.
                snapshot = self._weights(attestation, version, uri, folder, unmeasured=record)
                if not judged:
                    evidence = self._keep(attestation, policy, folder)
                while len(self._passed) >= MAX_REMEMBERED:
                    self._passed.pop(next(iter(self._passed)), None)
                self._passed[key] = evidence
        reason = f"passes policy {policy.name} ({policy.digest[:12]})"
        grant = Grant(
            source=version.source,
            storage=uri,
            run_id=attestation.run_id,
            files=digests.of_value(attestation.artifact),
            attestation=attestation.digest_of_fields(),
            policy=policy.digest,
            key_id=attestation.key_id,
            expires=min(
                attestation.expires, attestation.issued + policy.valid_days * attestations.DAY
            ),
            evidence=evidence,
            dense=attestation.verdict.baseline_digest or "",
            baseline=attestation.scorecards.get("baseline", ""),
        )
        return f"{reason}, signed by {attestation.key_id}, files unchanged", snapshot, grant

    def signed_pass(self, version: ModelVersion) -> None:
        """Raise UserError unless a trusted key attests a pass of this version."""
        with tempfile.TemporaryDirectory() as temporary:
            days = max(policy.valid_days for policy in self.settings.policies.values())
            self._attestation(version, Path(temporary), trusted=self.trusted(), days=days)

    def trusted(self) -> keys.Trusted:
        """Return the trusted keys, read each time: a key can be removed while the server runs."""
        place = self.settings.trusted_keys
        trusted = keys.load_public_keys(place) if place and place.exists() else {}
        if not trusted:
            raise UserError(
                "This server trusts no key, so no verdict can be verified. Put a public key"
                " (*.pub.pem) into the folder given as --trusted-keys."
            )
        return trusted

    def _attestation(
        self,
        version: ModelVersion,
        temporary: Path,
        *,
        trusted: keys.Trusted,
        days: int,
        level: Level | None = None,
        now: datetime.datetime | None = None,
    ) -> attestations.Attestation:
        """Return the attestation of a version.

        It is signed by a trusted key at most `days` days ago, a pass, and of this model and run.
        """
        ref = f"models:/{version.name}/{version.version}"
        again = f"With a signing key that this server trusts, run `comptrust gate {ref} --record`."
        run_id = (version.tags or {}).get(EVALUATED_BY) or version.run_id
        if not run_id:
            raise UserError(f"It has no run, so no evaluation and no signed verdict. {again}")
        path = self.fetch(run_id, (attestations.NAME,), temporary / "signed") / attestations.NAME
        if not path.is_file():
            raise UserError(
                f"Its run {run_id} has no signed verdict ({attestations.NAME}). {again}"
            )
        attestation = attestations.read(path)
        # Whether the run's files changed only matters if they are judged again.
        for problem in attestations.problems(
            attestation,
            trusted=trusted,
            run_id=run_id,
            model=version.name,
            level=level,
            days=days,
            now=now,
        ):
            judged = problem.kind in ("block", "inconclusive")
            raise UserError(f"{problem} {OTHERS if judged else again}")
        return attestation

    def _judge(
        self,
        attestation: attestations.Attestation,
        policy: Policy,
        temporary: Path,
        *,
        trusted: keys.Trusted,
        blocked: tuple[evaluation.Evaluation, ...],
        level: Level,
        today: datetime.date,
    ) -> Checkpoint | None:
        """Judge the signed evidence under this server's policy; raise UserError unless it passes.

        The signed verdict may be of a more lenient policy, so its outcome alone proves nothing, and
        neither do signed scores: the answers are scored again. Returns the checkpoint's record.
        """
        run_ids = {"candidate": attestation.run_id, "baseline": attestation.baseline_run_id}
        # What was added since counts for nothing, so it is not read.
        folders = {
            role: self.fetch(run, tuple(attestation.files.get(role, ())), temporary / role)
            for role, run in run_ids.items()
            if run
        }
        for problem in attestations.changes(attestation, folders):
            raise UserError(f"{problem} Evaluate and gate it again.")
        evaluations = {
            role: evaluation.load(folder, ref=f"runs:/{run_ids[role]}")
            for role, folder in folders.items()
        }
        for evaluated in evaluations.values():
            rescoring.check(evaluated, complete=True)
        evidence = Evidence(
            evaluations["candidate"],
            evaluations.get("baseline"),
            tuple(self._sibling(*sibling, temporary) for sibling in attestation.siblings.items()),
            blocked,
            model=attestation.model,
        )
        accepted = waivers.accepted(attestation.verdict.findings)
        verdict = judge(
            evidence, policy, waivers=accepted, trusted=trusted, level=level, today=today
        )
        if verdict.outcome != "pass":
            why = attestations.first_failure(verdict) or "The policy has no rules."
            raise UserError(f"Verdict {verdict.outcome} under policy {policy.name}. {why} {OTHERS}")
        if verdict.baseline_digest != attestation.verdict.baseline_digest:
            raise UserError("Its signed verdict is about another baseline. Gate it again.")
        return evaluations["candidate"].checkpoint

    def _sibling(
        self, ref: str, signed: Mapping[str, str], temporary: Path
    ) -> evaluation.Evaluation:
        names = (*signed, *attestations.SIGNED_BESIDE)
        folder = self.fetch(self._sibling_run(ref), names, temporary / digests.of_text(ref))
        sibling = evaluation.load(folder, ref=ref)
        if attestations.summary(sibling) != signed:
            raise UserError(
                f"Its sibling {ref} was evaluated again after the verdict. Gate it again."
            )
        return sibling

    def _sibling_run(self, ref: str) -> str:
        name, _, number = ref.removeprefix("models:/").rpartition("/")
        try:
            version = self._version_of(name, number)
        except MlflowException as error:
            raise UserError(f"Its signed sibling {ref} is gone. Gate it again.") from error
        return (version.tags or {}).get(EVALUATED_BY) or version.run_id or ""

    def _keep(
        self, attestation: attestations.Attestation, policy: Policy, temporary: Path
    ) -> str | None:
        """Keep the evidence that was just judged, and return the digest of its index."""
        return keeping.keep(
            self._kept,
            attestation,
            temporary,
            client=self._tracking(),
            siblings={ref: self._sibling_run(ref) for ref in attestation.siblings},
            policy=policy,
            fetch=self.fetch,
        )

    def _weights(
        self,
        attestation: attestations.Attestation,
        version: ModelVersion,
        uri: str,
        temporary: Path,
        *,
        unmeasured: Checkpoint | None,
    ) -> files.Snapshot | None:
        """Compare every file of the version with what was signed, and measure those of a record."""
        folder, snapshot, vouched = self.hashed(version, uri, temporary)
        for problem in attestations.changed_artifact(attestation, snapshot.digests):
            raise UserError(f"{problem} Register and gate it again.")
        if unmeasured:
            within = folder / "model"
            measure.check(unmeasured, within if within.is_dir() else folder)
        return None if vouched else snapshot

    def hashed(
        self, version: ModelVersion, uri: str, temporary: Path
    ) -> tuple[Path, files.Snapshot, bool]:
        """Hash every file of a version, which must be where only this server can change it.

        Returns their folder, their hashes, and whether the operator vouches for their place.
        """
        if files.in_server() and (ambiguous := addresses.misread(uri)):
            raise UserError(
                f"Its files are at {uri}, but {ambiguous}, so it could be read in two ways. Log the"
                " model again."
            )
        folder = files.local(uri)
        vouched = any(files.below(uri, root) for root in self.settings.artifact_roots)
        if vouched and folder is None:
            parent, _, name = uri.rpartition("/")
            folder = files.fetch(parent, (name,), temporary / "weights") / name
        elif files.in_server() and not vouched:
            self._require_served(version, uri)
        if folder is None:
            raise UserError(
                f"Its files are at {uri}, where others can change them. Log the model through this"
                " server and register it again."
            )
        return folder, files.snapshot(folder, self._memory), vouched

    def _require_served(self, version: ModelVersion, uri: str) -> None:
        """Raise UserError unless the files can be written through this server alone.

        Only then can it refuse to change them once they are promoted.
        """
        root, folder = files.destination(), files.local(uri)
        if root is None or not files.frozen():
            raise UserError(
                "This server's artifact folder does not protect promoted files. Start it with"
                " `comptrust serve`."
            )
        if folder is None or not folder.is_relative_to(root):
            raise UserError(
                f"Its files are at {uri}, outside this server's artifact folder. Log the model"
                " through this server."
            )
        # The address is compared, not parsed: it is the one that the server itself gave out.
        model_ids = {version.model_id, *(part for part in uri.split("/") if part.startswith("m-"))}
        if uri in map(self._of_logged_model, filter(None, model_ids)):
            return
        if not uri.startswith(f"{files.PROXIED}:"):
            raise UserError(
                "Its files are in a run's folder, which others can write to. Log it with"
                " mlflow.transformers.log_model."
            )
        if not uri.startswith(f"{self._of_run(version.run_id or '')}/"):
            raise UserError(
                f"Its files are at {uri}, which is the place of neither a logged model nor of the"
                " version's run. Register the logged model."
            )

    def _of_logged_model(self, model_id: str) -> str | None:
        try:
            return str(self._tracking().get_logged_model(model_id).artifact_location)
        except MlflowException:
            return None

    def _of_run(self, run_id: str) -> str:
        try:
            return str(self._tracking().get_run(run_id).info.artifact_uri)
        except MlflowException as error:
            raise UserError(f"Its run {run_id} cannot be read: {error.message}.") from error

    def fetch(self, run_id: str, names: tuple[str, ...], into: Path) -> Path:
        return files.fetch(self._of_run(run_id), names, into)
