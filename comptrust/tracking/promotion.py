"""Promotion: move a version to a stage and an alias if its verdict passes for exactly its bytes."""

import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from comptrust import config, digests
from comptrust.errors import unknown
from comptrust.records import Checkpoint, Record, Result, Scorecard, Verdict
from comptrust.text_tables import counted
from comptrust.tracking import history, registry, runs

T = TypeVar("T", bound=Record)
TARGETS = {
    "staging": ("Staging", "challenger"),
    "challenger": ("Staging", "challenger"),
    "production": ("Production", "champion"),
    "champion": ("Production", "champion"),
    "demo": (None, "demo"),
}
"""Target -> stage and alias. The alias `demo` shows that promotion works and guards nothing."""
JUDGED_FILES = ("verdict.json", "scorecard.json", "checkpoint.json")


@dataclass(frozen=True)
class Promotion:
    """Whether a version may be promoted, and why."""

    ref: str
    outcome: Result
    reason: str
    stage: str | None = None
    """The stage it was moved to; None if it was refused or the target has none."""
    alias: str | None = None
    """The alias it was given; None if it was refused."""

    @property
    def effect(self) -> str:
        """What was done, to follow the version's name."""
        if self.alias is None:
            return "was not promoted"
        stage = f"is now in {self.stage} with" if self.stage else "now has"
        return f"{stage} alias {self.alias}"


Check = Callable[[registry.Version, Path], Promotion | None]
"""A further condition: takes a version and the folder of its files, returns a refusal or None."""


def check_target(to: str) -> tuple[str | None, str]:
    """Return (stage or None, alias) of a target. Raises UserError for an unknown one."""
    if to not in TARGETS:
        raise unknown("target", to, TARGETS)
    return TARGETS[to]


def promote(
    name: str,
    version: str,
    *,
    to: str,
    policy: Collection[str] | None = None,
    check: Check | None = None,
) -> Promotion:
    """Set the stage and the alias of a version if `examine` passes; otherwise change nothing."""
    stage, alias = check_target(to)
    candidate = registry.resolve(f"models:/{name}/{version}")
    examined = examine(candidate, policy=policy, check=check)
    if examined.outcome != "pass":
        return examined
    return move(candidate, stage, alias, reason=examined.reason, policy=policy)


def move(
    candidate: registry.Version,
    stage: str | None,
    alias: str,
    *,
    reason: str,
    policy: Collection[str] | None = None,
) -> Promotion:
    """Set the stage and the alias of a version for a reason, unless the registry refuses."""
    from mlflow.exceptions import MlflowException

    client = runs.client()
    try:
        if policy:
            _make_current(candidate, policy)
        if stage:
            with warnings.catch_warnings():
                # Stages are deprecated, but many registries are still read by stage.
                warnings.simplefilter("ignore", FutureWarning)
                client.transition_model_version_stage(
                    candidate.name, candidate.version, stage, archive_existing_versions=False
                )
        client.set_registered_model_alias(candidate.name, alias, candidate.version)
    except MlflowException as error:
        if error.error_code == "PERMISSION_DENIED":
            return Promotion(candidate.ref, "block", f"The registry refused: {error.message}")
        with runs.service():
            raise
    place = f"{stage or ''} @{alias}".strip()
    event = history.now("promotion", reason, place=place, version=candidate.version)
    history.record(candidate.run_id, event)
    return Promotion(candidate.ref, "pass", reason, stage, alias)


def examine(
    version: registry.Version, *, policy: Collection[str] | None = None, check: Check | None = None
) -> Promotion:
    """Check that a version's verdict passes and is about its scorecard and its registered bytes.

    `policy` are the digests of the one that it must have been judged under. `check` runs
    last.
    """
    with runs.files(version.run_id, *JUDGED_FILES) as folder:
        if policy:
            history.restore(version.run_id, policy, into=folder)
        judged = Promotion(version.ref, *_examine_files(version, folder, policy))
        if judged.outcome != "pass":
            return judged
        registered = registry.download_all(version.ref, into=folder / "files")
        manifest = read(folder, "checkpoint.json", Checkpoint).manifest
        registered_folder = registry.checkpoint_in(registered)
        actual = digests.of_folder(registered_folder, leave_out=["checkpoint.json"])
        if changed := sorted({name for name, _ in actual.items() ^ manifest.items()}):
            return Promotion(
                version.ref,
                "block",
                f"Registered files differ from the judged ones: {', '.join(changed)}. Register it"
                " again.",
            )
        if check is not None and (refusal := check(version, registered)):
            return refusal
    return judged


def _examine_files(
    version: registry.Version, folder: Path, policy: Collection[str] | None
) -> tuple[Result, str]:
    if not (folder / "verdict.json").exists():
        again = f"Run `comptrust gate {version.ref} --record`."
        return "inconclusive", f"It has no verdict. {again}"
    verdict = read(folder, "verdict.json", Verdict)
    if verdict.outcome != "pass":
        decisive = [found for found in verdict.findings if found.outcome == verdict.outcome]
        reasons = [f"{found.rule}: {found.reason}" for found in decisive]
        reason = reasons[0] if reasons else "The verdict has no findings."
        return verdict.outcome, f"Verdict {verdict.outcome}. {reason}"
    if policy is not None and verdict.policy_digest not in policy:
        return "inconclusive", (
            f"It was judged under another policy ({verdict.policy}) or another version of it. Gate"
            " it again under the requested policy, with --record."
        )
    if not all((folder / name).exists() for name in JUDGED_FILES):
        return "inconclusive", (
            "Its run has no scorecard.json or no checkpoint.json, so the verdict cannot be"
            " checked. Evaluate and gate it again."
        )
    scorecard = read(folder, "scorecard.json", Scorecard)
    checkpoint = read(folder, "checkpoint.json", Checkpoint)
    if verdict.scorecard_digest not in scorecard.digests:
        return "block", "The scorecard has changed since the verdict. Gate it again."
    checkpoint_digests = {
        verdict.checkpoint_digest,
        scorecard.checkpoint_digest,
        checkpoint.digest,
        digests.of_value(checkpoint.manifest),
    }
    if len(checkpoint_digests) > 1:
        return "block", (
            "verdict.json, scorecard.json and checkpoint.json name different checkpoints. Evaluate"
            " and gate it again."
        )
    return "pass", f"Policy {verdict.policy}: {counted(len(verdict.findings), 'rule')}, all pass."


def _make_current(candidate: registry.Version, policy: Collection[str]) -> None:
    """Let the recorded verdict under a policy be the run's present one, which servers read."""
    with runs.files(candidate.run_id, "verdict.json") as folder:
        restored = history.restore(candidate.run_id, policy, into=folder)
        for name in sorted(restored):  # attestation.json first: it proves the others
            runs.client().log_artifact(candidate.run_id, str(restored[name]))
        if restored:
            registry.claim(candidate, read(folder, "verdict.json", Verdict))


def read(folder: Path, name: str, record: type[T]) -> T:
    """Read a file of a run as a record. Raises UserError naming file and field."""
    return config.parse(config.read_json(folder / name), record, where=name)
