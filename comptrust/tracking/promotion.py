"""Moving a version to a stage and an alias, which only a passing verdict on exactly these bytes
allows.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from comptrust import config, digests
from comptrust.errors import unknown
from comptrust.records import Checkpoint, Result, Scorecard, Verdict
from comptrust.tracking import registry, runs

T = TypeVar("T", Verdict, Scorecard, Checkpoint)
TARGETS = {
    "staging": ("Staging", "challenger"),
    "challenger": ("Staging", "challenger"),
    "production": ("Production", "champion"),
    "champion": ("Production", "champion"),
}
FILES = ("verdict.json", "scorecard.json", "checkpoint.json")


@dataclass(frozen=True)
class Decision:
    """Whether a version may move, and why."""

    ref: str
    outcome: Result
    reason: str
    stage: str | None = None
    """The stage it was moved to; None when it was refused."""
    alias: str | None = None


Check = Callable[[registry.Version, Path], Decision | None]
"""What else a version has to pass, given the folder of all its files: returns why it may not move,
or None.
"""


def check_target(to: str) -> tuple[str, str]:
    """Return (stage, alias) of a target. Raises UserError with the nearest name."""
    if to not in TARGETS:
        raise unknown("target", to, TARGETS)
    return TARGETS[to]


def promote(
    name: str,
    version: str,
    *,
    to: str,
    policy_digest: str | None = None,
    check: Check | None = None,
) -> Decision:
    """Set the alias and the stage of a version if its verdict passes and still belongs to its
    files; else change nothing.

    With `policy_digest` the verdict must have been given under exactly this policy; `check` is
    asked last.
    """
    from mlflow.exceptions import MlflowException

    stage, alias = check_target(to)
    found = registry.resolve(f"models:/{name}/{version}")
    decision = examine(found, policy_digest=policy_digest, check=check)
    if decision.outcome != "pass":
        return decision
    opened = runs.client()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # stages are deprecated, and still what many registries are read by
            opened.transition_model_version_stage(
                found.name, found.version, stage, archive_existing_versions=False
            )
        opened.set_registered_model_alias(found.name, alias, found.version)
    except MlflowException as error:
        if error.error_code == "PERMISSION_DENIED":
            return Decision(found.ref, "block", f"The registry refused: {error.message}")
        with runs.service():
            raise
    return Decision(found.ref, "pass", decision.reason, stage, alias)


def examine(
    version: registry.Version, *, policy_digest: str | None = None, check: Check | None = None
) -> Decision:
    """Judge whether a version's verdict passes and is about its scorecard and the bytes that the
    registry holds.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = runs.download(version.run_id, into=Path(temporary), only=FILES)
        if not (folder / "verdict.json").exists():
            return Decision(
                version.ref,
                "inconclusive",
                f"There is no verdict on it. Run `comptrust gate {version.ref}`.",
            )
        verdict = _parse(folder / "verdict.json", Verdict)
        failing = next(
            (finding for finding in verdict.findings if finding.outcome == verdict.outcome), None
        )
        if verdict.outcome != "pass":
            reason = (
                f"{failing.rule}: {failing.reason}" if failing else "the verdict has no findings"
            )
            return Decision(version.ref, verdict.outcome, f"Verdict {verdict.outcome}. {reason}")
        if policy_digest not in (None, verdict.policy_digest):
            reason = (
                f"It was judged under another policy ({verdict.policy}) or another edition of it."
                " Gate it under the policy asked for."
            )
            return Decision(version.ref, "inconclusive", reason)
        if not all((folder / name).exists() for name in FILES):
            return Decision(
                version.ref,
                "inconclusive",
                "Its run lacks scorecard.json or checkpoint.json; the verdict cannot be checked.",
            )
        scorecard = _parse(folder / "scorecard.json", Scorecard)
        checkpoint = _parse(folder / "checkpoint.json", Checkpoint)
        if scorecard.digest_of_fields() != verdict.scorecard_digest:
            return Decision(
                version.ref,
                "block",
                "The scorecard is not the one that the verdict was given on. Gate it again.",
            )
        if (
            len(
                {
                    verdict.checkpoint_digest,
                    scorecard.checkpoint_digest,
                    checkpoint.digest,
                    digests.of_value(checkpoint.manifest),
                }
            )
            > 1
        ):
            return Decision(
                version.ref,
                "block",
                "Verdict, scorecard and checkpoint.json name different checkpoints. Evaluate and"
                " gate it again.",
            )
        registered = registry.download_all(version.ref, into=folder / "files")
        held = digests.of_folder(registry.checkpoint_in(registered), leave_out=["checkpoint.json"])
        changed = sorted(
            name
            for name in held.keys() | checkpoint.manifest.keys()
            if held.get(name) != checkpoint.manifest.get(name)
        )
        if changed:
            return Decision(
                version.ref,
                "block",
                f"The registered files are not the judged ones: {', '.join(changed)}. Register it"
                " again.",
            )
        if check is not None and (refused := check(version, registered)) is not None:
            return refused
    return Decision(
        version.ref, "pass", f"All {len(verdict.findings)} rules of policy {verdict.policy} pass."
    )


def record_verdict(ref: str, verdict: Verdict) -> None:
    """Keep a verdict where its candidate is: artifact and tags of the run, tags of the version."""
    opened = runs.client()
    run_id = registry.run_of(ref)
    with runs.service():
        opened.log_text(run_id, verdict.model_dump_json(indent=2), "verdict.json")
        for key, value in registry.verdict_tags(verdict).items():
            opened.set_tag(run_id, key, value)
    if ref.startswith("models:/"):
        registry.claim(registry.resolve(ref), verdict)


def _parse(path: Path, record: type[T]) -> T:
    return config.parse(config.read_json(path), record, where=path.name)
