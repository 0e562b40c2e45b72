"""Verify that a version has earned a level.

Its signed evidence is read from the tracking store and judged again, and its files are hashed.
"""

import contextlib
import datetime
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from comptrust import digests
from comptrust.errors import UserError
from comptrust.gate.enforcement import blocks, keeping, locks, remembered
from comptrust.gate.enforcement.audit_record import Grant
from comptrust.gate.enforcement.blocks import Blocks
from comptrust.gate.enforcement.evidence_store import EvidenceStore
from comptrust.gate.enforcement.files import Snapshot
from comptrust.gate.enforcement.places import Places, run_of
from comptrust.gate.enforcement.settings import Level, Settings
from comptrust.gate.evidence import Evidence
from comptrust.gate.policy import Policy
from comptrust.gate.signing import attestations, keys, revocation, waivers
from comptrust.gate.signing.attestations import Attestation
from comptrust.gate.verdict import judge
from comptrust.models import measure, packaged
from comptrust.records import Checkpoint
from comptrust.trust import evaluation, rescoring

MAX_REMEMBERED = 256
"""Passes kept in memory, so that the same attestation is not judged twice a day."""

Verified = tuple[str, Snapshot, Grant]
"""Why a version may be promoted, its files as hashed, and what is granted."""
Earlier = dict[str, tuple[Attestation, Path | None]]
"""Evaluation that is blocked -> the block, and where its answers are if the server kept them."""
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
        self.settings, self.places = settings, Places(settings.artifact_roots, tracking, version_of)
        self._blocks = Blocks()
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
            folder, trusted = Path(temporary), self.trusted_at(policy, then)
            attestation = self._attestation(
                version, folder, trusted=trusted, level=level, days=policy.valid_days, now=then
            )
            earlier = self._blocked(attestation, version, trusted)
            # The day is part of the key because waivers expire at its end. The attestation itself
            # is checked every time, as are earlier blocks and every file of the version.
            today = (then or datetime.datetime.now(datetime.UTC)).date()
            grants = ((name, str(key.grant)) for name, key in sorted(trusted.items()))
            key = (attestation.signature, level, policy.digest, today, *grants, *sorted(earlier))
            # Of equal requests at once, one judges and reads the files; the others wait for it.
            with self._turns.take(key):
                evidence, record = self._passed.get(key), None
                judged = evidence is not None and keeping.is_whole(self._kept, evidence)
                if not judged:
                    siblings = {ref: self.places.of_sibling(ref) for ref in attestation.siblings}
                    proof = self._evidence(attestation, folder, siblings, earlier)
                    scope = {"trusted": trusted, "level": level, "today": today}
                    _require_pass(attestation, proof, policy, **scope)
                    record = proof.candidate.checkpoint
                # Files that were measured once are the same if their hashes are.
                snapshot = self._weights(attestation, version, uri, folder, unmeasured=record)
                if not judged:
                    evidence = keeping.keep(
                        self._kept, attestation, folder, siblings, policy, self.places
                    )
                while len(self._passed) >= MAX_REMEMBERED:
                    self._passed.pop(next(iter(self._passed)), None)
                self._passed[key] = evidence
        reason = f"passes policy {policy.name} ({policy.digest[:12]})"
        longest = attestation.issued + policy.valid_days * attestations.DAY
        digest, older = attestation.digests
        grant = Grant(
            source=version.source,
            storage=uri,
            run_id=attestation.run_id,
            files=digests.of_value(attestation.artifact),
            attestation=digest,
            older=older,
            policy=policy.digest,
            key_id=attestation.key_id,
            expires=min(attestation.expires, longest),
            evidence=evidence,
            dense=attestation.verdict.baseline_digest or "",
            baseline=attestation.scorecards.get("baseline", ""),
        )
        return f"{reason}, signed by {attestation.key_id}, files unchanged", snapshot, grant

    def _blocked(
        self, attestation: Attestation, version: ModelVersion, trusted: keys.Trusted
    ) -> Earlier:
        """Return the blocks of the same bytes as they are or were seen, but for this evaluation's.

        Its own verdict is judged again, so an earlier one on the same answers says nothing more.
        """
        digest, own = attestation.verdict.checkpoint_digest, blocks.evaluated_as(attestation)
        also = [version.run_id, attestation.run_id]
        found = self._blocks.find(self.places, digest, but=own, also=also, trusted=trusted)
        seen = remembered.find(self._kept.folder, digest, trusted) if self._kept else ()
        earlier: Earlier = {blocks.evaluated_as(signed): (signed, None) for signed in found}
        earlier |= {blocks.evaluated_as(signed): (signed, kept) for signed, kept in seen}
        earlier.pop(own, None)
        return earlier

    def see(self, staged: Path, run: Path) -> None:
        """Remember a signed block that is about to appear in a run's folder."""
        with contextlib.suppress(UserError):  # without a trusted key nothing is proven
            if self._kept:
                known = {name for one in self.settings.policies.values() for name in one.digests}
                remembered.remember(
                    self._kept.folder, staged, run, trusted=self.trusted(), policies=known
                )

    def signed_pass(self, version: ModelVersion, *, uri: str) -> None:
        """Raise UserError unless a trusted key attests a pass of this version's files."""
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            days = max(policy.valid_days for policy in self.settings.policies.values())
            signed = self._attestation(version, folder, trusted=self.trusted(), days=days)
            self._weights(signed, version, uri, folder, unmeasured=None)

    def trusted_at(self, policy: Policy, then: datetime.datetime | None) -> keys.Trusted:
        """Return the trusted keys and, if the policy says so, those that were revoked since."""
        place = self.settings.trusted_keys
        if then is None or place is None or policy.rollback != "revoked":
            return self.trusted()
        return revocation.trusted_at(place, then)

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

    def _attestation(self, version: ModelVersion, temporary: Path, **limits: Any) -> Attestation:
        """Return the attestation of a version: signed within limits, a pass, of this model and run.

        The limits are those of `attestations.problems`.
        """
        ref = f"models:/{version.name}/{version.version}"
        again = f"With a signing key that this server trusts, run `comptrust gate {ref} --record`."
        run_id = run_of(version)
        if not run_id:
            raise UserError(f"It has no run, so no evaluation and no signed verdict. {again}")
        folder = self.places.fetch(run_id, (attestations.NAME,), temporary / "signed")
        if not (folder / attestations.NAME).is_file():
            raise UserError(
                f"Its run {run_id} has no signed verdict ({attestations.NAME}). {again}"
            )
        attestation = attestations.read(folder / attestations.NAME)
        # Whether the run's files changed only matters if they are judged again.
        for problem in attestations.problems(
            attestation, run_id=run_id, model=version.name, **limits
        ):
            judged = problem.kind in ("block", "inconclusive")
            raise UserError(f"{problem} {OTHERS if judged else again}")
        return attestation

    def _evidence(
        self,
        attestation: Attestation,
        temporary: Path,
        siblings: Mapping[str, str],
        earlier: Earlier,
    ) -> Evidence:
        """Read the signed evidence. Signed scores prove nothing: the answers are scored again.

        `siblings` are reference -> run.
        """
        runs = {"candidate": attestation.run_id, "baseline": attestation.baseline_run_id}
        # What was added since counts for nothing, so it is not read.
        folders = {
            role: self.places.fetch(run, tuple(attestation.files.get(role, ())), temporary / role)
            for role, run in runs.items()
            if run
        }
        for problem in attestations.changes(attestation, folders):
            raise UserError(f"{problem} Evaluate and gate it again.")
        evaluations = {
            role: evaluation.load(folder, ref=f"runs:/{runs[role]}")
            for role, folder in folders.items()
        }
        for evaluated in evaluations.values():
            rescoring.check(evaluated, complete=True)
        others = []
        for ref, signed in attestation.siblings.items():
            names = (*signed, *attestations.SIGNED_BESIDE)
            folder = self.places.fetch(siblings[ref], names, temporary / digests.of_text(ref))
            others.append(evaluation.load(folder, ref=ref))
            if not attestations.is_sibling(others[-1], signed):
                raise UserError(
                    f"Its sibling {ref} was evaluated again after the verdict. Gate it again."
                )
        return Evidence(
            evaluations["candidate"],
            evaluations.get("baseline"),
            tuple(others),
            tuple(
                blocks.evaluated(signed, kept)
                if kept
                else blocks.evaluation_of(signed, self.places, temporary)
                for signed, kept in earlier.values()
            ),
            model=attestation.model,
        )

    def _weights(
        self,
        attestation: Attestation,
        version: ModelVersion,
        uri: str,
        temporary: Path,
        *,
        unmeasured: Checkpoint | None,
    ) -> Snapshot:
        """Compare every file of the version with what was signed, and measure those of a record."""
        snapshot = self.places.hashed(version, uri, temporary)
        for problem in attestations.changed_artifact(attestation, snapshot.digests):
            raise UserError(f"{problem} Register and gate it again.")
        if unmeasured:
            within = snapshot.folder / "model"
            measure.check(unmeasured, within if within.is_dir() else snapshot.folder)
            packaged.check(snapshot.folder)
        return snapshot


def _require_pass(
    attestation: Attestation, evidence: Evidence, policy: Policy, **scope: Any
) -> None:
    """Raise UserError unless signed evidence passes this server's policy.

    The signed verdict may be of a more lenient one, so its outcome alone proves nothing. `scope`
    are the keys, the level and the day.
    """
    accepted = waivers.accepted(attestation.verdict.findings)
    verdict = judge(evidence, policy, waivers=accepted, **scope)
    if verdict.outcome != "pass":
        why = attestations.first_failure(verdict) or "The policy has no rules."
        raise UserError(f"Verdict {verdict.outcome} under policy {policy.name}. {why} {OTHERS}")
    if verdict.baseline_digest != attestation.verdict.baseline_digest:
        raise UserError("Its signed verdict is about another baseline. Gate it again.")
