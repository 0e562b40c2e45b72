"""What gate, run, promote and verify share: a verdict is signed where it is logged, and checked
where it is fetched.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from comptrust.errors import UserError
from comptrust.gate.evidence import Evidence
from comptrust.gate.signing import attestations, keys
from comptrust.gate.signing import waivers as waiving
from comptrust.gate.signing.attestations import Attestation, Problem
from comptrust.gate.signing.waivers import Waiver
from comptrust.records import Result, Verdict
from comptrust.tracking import promotion, registry, runs

ARTIFACTS = (*attestations.EVALUATION, attestations.VERDICT, attestations.NAME)
REMOTE = ("models:/", "runs:/")


@dataclass(frozen=True)
class Signed:
    """What became of the signature."""

    line: str
    """By whom and until when, or why not."""
    attestation: Attestation | None = None

    def brief(self) -> dict[str, str] | None:
        """Return who signed and until when, for machines; None if it is not signed."""
        return (
            self.attestation.model_dump(mode="json", include={"key_id", "issued", "expires"})
            if self.attestation
            else None
        )


@dataclass(frozen=True)
class Signer:
    """The signing key, if there is one, and the keys that are trusted here; read before any long
    work starts.
    """

    key: Ed25519PrivateKey | None
    trusted: Mapping[str, Ed25519PublicKey]

    @classmethod
    def load(cls) -> Signer:
        """Read the keys. Raises UserError for a key that is open to others or is none."""
        return cls(keys.signing_key(), keys.load_public_keys())

    def sign(
        self,
        verdict: Verdict,
        evidence: Evidence,
        *,
        days: int,
        version: registry.Version | None = None,
    ) -> Signed:
        """Sign a verdict that is logged already, with the files of its runs and of its version, and
        log attestation.json beside it.
        """
        judged = {"candidate": evidence.candidate} | (
            {"baseline": evidence.baseline} if evidence.baseline else {}
        )
        if self.key is None:
            return Signed("no, there is no signing key (comptrust keys init makes one)")
        for role, one in judged.items():
            if not one.ref.startswith(REMOTE):
                return Signed(
                    f"no, the {role} is a file of this machine, which nobody else could check"
                )
        if evidence.candidate.checkpoint is None:
            return Signed("no, the candidate has no checkpoint.json, so its weights are not known")
        recipe, ref = evidence.candidate.checkpoint.recipe, evidence.candidate.ref
        version = version or (registry.resolve(ref) if ref.startswith("models:/") else None)
        model = version.name if version else registry.model_name(recipe.base_model, recipe.revision)
        run_ids = {role: registry.run_of(one.ref) for role, one in judged.items()}
        with tempfile.TemporaryDirectory() as folder:
            artifacts = {
                role: _fetch(run_id, Path(folder) / role) for role, run_id in run_ids.items()
            }
            registered = (
                registry.download_all(version.ref, into=Path(folder) / "registered")
                if version
                else None
            )
            made = attestations.attest(
                verdict,
                evidence,
                artifacts=artifacts,
                run_ids=run_ids,
                model=model,
                key=self.key,
                days=days,
                registered=registered,
            )
        with runs.service():
            runs.client().log_text(made.run_id, made.model_dump_json(indent=2), attestations.NAME)
        if version:
            registry.claim(version, verdict)
        return Signed(f"by key {made.key_id}, valid until {made.expires:%Y-%m-%d %H:%M} UTC", made)


def check(
    version: registry.Version, *, registered: Path, trusted: Mapping[str, Ed25519PublicKey]
) -> tuple[Attestation | None, tuple[Problem, ...]]:
    """Return a version's attestation and what is wrong with it, with its runs' files, or with the
    version's own in this folder.
    """
    with tempfile.TemporaryDirectory() as folder:
        candidate = (
            _fetch(version.run_id, Path(folder) / "candidate") if version.run_id else Path(folder)
        )
        if not (candidate / attestations.NAME).exists():
            text = (
                "Its verdict is not signed. With a signing key, gate it again: comptrust gate"
                f" {version.ref}"
            )
            return None, (Problem(kind="unverified", text=text),)
        try:
            attestation = attestations.read(candidate / attestations.NAME)
        except UserError as error:
            return None, (
                Problem(
                    kind="changed",
                    file=attestations.NAME,
                    text=f"It is not what the gate wrote. {error}",
                ),
            )
        found = attestations.problems(attestation, trusted=trusted)
        if not attestations.proven(attestation, trusted):
            return attestation, found
        artifacts = {"candidate": candidate}
        if attestation.baseline_run_id:
            artifacts["baseline"] = _fetch(attestation.baseline_run_id, Path(folder) / "baseline")
        found += attestations.changes(
            attestation, artifacts=artifacts, run_id=version.run_id, model=version.name
        )
        found += attestations.changed_artifact(attestation, attestations.held_by(registered))
    return attestation, found


def waivers(candidate: str, *, file: Path | None) -> tuple[Waiver, ...]:
    """Return the waivers of a file and those that were logged on the candidate's run."""
    found = waiving.read(file) if file else ()
    if not candidate.startswith(REMOTE):
        return found
    with tempfile.TemporaryDirectory() as folder:
        logged = (
            runs.download(registry.run_of(candidate), into=Path(folder), only=[waiving.NAME])
            / waiving.NAME
        )
        return found + (waiving.read(logged) if logged.exists() else ())


def log_waivers(ref: str, kept: Sequence[Waiver]) -> str:
    """Log the waivers of a candidate on its run and return where they are."""
    run_id = registry.run_of(ref)
    with runs.service():
        runs.client().log_text(run_id, waiving.dumps(kept), waiving.NAME)
    return f"runs:/{run_id}/{waiving.NAME}"


def promotion_check(policy_digest: str) -> promotion.Check | None:
    """Return the check that a version has to pass before it is promoted, or None where no key is
    trusted.
    """
    trusted = keys.load_public_keys()

    def refuse(version: registry.Version, registered: Path) -> promotion.Promotion | None:
        attestation, found = check(version, registered=registered, trusted=trusted)
        if attestation and not found and attestation.policy_digest != policy_digest:
            return promotion.Promotion(
                version.ref,
                "inconclusive",
                "The signed verdict was given under another policy. Gate it again.",
            )
        if not found:
            return None
        outcome: Result = (
            "block" if any(one.kind in ("changed", "block") for one in found) else "inconclusive"
        )
        return promotion.Promotion(version.ref, outcome, " ".join(map(str, found)))

    return refuse if trusted else None


def _fetch(run_id: str, into: Path) -> Path:
    into.mkdir()
    return runs.download(run_id, into=into, only=ARTIFACTS)
