"""Signed verdicts: what the gate attests of a candidate, and what is wrong with an attestation or
with the files it names.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import AwareDatetime

from comptrust import config, digests
from comptrust.errors import UserError
from comptrust.gate.evidence import Evidence
from comptrust.gate.signing import keys, waivers
from comptrust.records import Record, Verdict
from comptrust.trust import evaluation
from comptrust.trust.evaluation import Evaluation

NAME = "attestation.json"
VERDICT = "verdict.json"
REGISTERED = "registered_model_meta"
"""What MLflow adds to a version's files when it fetches them."""
EVALUATION = ("scorecard.json", "suite.json", "checkpoint.json", "generations")
"""What is signed of a run beside the candidate's verdict; a folder stands for all its files."""


class Attestation(keys.Signed):
    """What the gate signed: a verdict, the bytes that it rests on, whose it is and how long it
    holds.
    """

    purpose: ClassVar[str] = "attestation/v1"

    verdict: Verdict
    model: str
    """Name of the registered model."""
    run_id: str
    """The candidate's run."""
    baseline_run_id: str | None
    """The dense source's run; None when there was no baseline."""
    weights: dict[str, str]
    """Path -> SHA-256 of every file of the checkpoint: the manifest whose digest the verdict
    names."""
    files: dict[str, dict[str, str]]
    """`candidate` and `baseline` -> artifact of the run -> SHA-256 of its bytes."""
    scorecards: dict[str, str]
    """`candidate` and `baseline` -> digest of the scorecard's fields."""
    siblings: dict[str, dict[str, str]]
    """Each sibling's reference -> scorecard.json, suite.json, checkpoint.json -> digest of its
    fields.
    """
    artifact: dict[str, str]
    """Path -> SHA-256 of every file of the registered version, MLmodel and all; empty if it was
    signed unregistered.
    """
    issued: AwareDatetime
    expires: AwareDatetime

    @property
    def manifest_digest(self) -> str:
        """Digest of the manifest of the weights, equal to the checkpoint's."""
        return digests.of_value(self.weights)

    @property
    def policy_digest(self) -> str:
        """Digest of the policy that it was judged under."""
        return self.verdict.policy_digest

    @property
    def waivers(self) -> tuple[waivers.Waiver, ...]:
        """The signed waivers that the verdict rests on."""
        return waivers.accepted(self.verdict.findings)


class Problem(Record):
    """One thing that keeps an attestation from being good."""

    kind: Literal["changed", "unverified", "block", "inconclusive"]
    """`changed`: not what was signed. `unverified`: nobody trusted vouches for it now. Else: the
    signed verdict's own outcome.
    """
    text: str
    """One sentence: what is wrong."""
    file: str | None = None
    """The file that is not as signed, `baseline/...` for the dense source's."""

    def __str__(self) -> str:
        return self.text


def attest(
    verdict: Verdict,
    evidence: Evidence,
    *,
    artifacts: Mapping[str, Path],
    run_ids: Mapping[str, str],
    model: str,
    key: Ed25519PrivateKey,
    days: int,
    registered: Path | None = None,
    now: datetime.datetime | None = None,
) -> Attestation:
    """Sign a verdict together with the bytes that it was given on, for so many days, or until a
    waiver that it rests on ends.

    `artifacts` are folders with the logged files and `run_ids` their runs, for `candidate` and, if
    there is one, `baseline`. `registered` is the folder of the registered version, with the
    checkpoint in it or in its folder `model`. Raises UserError if the files are not those that were
    judged, or if the candidate's weights are not known.
    """
    issued = (now or datetime.datetime.now(datetime.UTC)).replace(microsecond=0)
    judged = {"candidate": evidence.candidate} | (
        {"baseline": evidence.baseline} if evidence.baseline else {}
    )
    if evidence.candidate.checkpoint is None:
        raise UserError(
            "Nothing is signed: the candidate has no checkpoint.json, so its weights are not known."
            " Compress and evaluate it."
        )
    for role, one in judged.items():
        logged = evaluation.load(artifacts[role], ref=one.ref)
        same = (logged.scorecard, logged.suite, logged.checkpoint) == (
            one.scorecard,
            one.suite,
            one.checkpoint,
        )
        if not same or logged.generations.keys() != one.generations.keys():
            raise UserError(
                f"Nothing is signed: the files of {one.ref} changed while it was judged. Gate it"
                " again."
            )
    if json.loads(config.read_text(artifacts["candidate"] / VERDICT)) != json.loads(
        verdict.model_dump_json()
    ):
        raise UserError(
            f"Nothing is signed: {evidence.candidate.ref} was judged by somebody else meanwhile."
            " Gate it again."
        )
    held = held_by(registered) if registered else {}
    if registered and (
        changed := [*_compare(evidence.candidate.checkpoint.manifest, weights_of(held), prefix="")]
    ):
        raise UserError(
            f"Nothing is signed: the registered files are not the judged ones. {changed[0].text}"
            " Register it again."
        )
    ends = [issued + datetime.timedelta(days=days)]
    ends += [_end_of(waiver.until) for waiver in waivers.accepted(verdict.findings)]
    return keys.sign(
        Attestation(
            verdict=verdict,
            model=model,
            run_id=run_ids["candidate"],
            baseline_run_id=run_ids.get("baseline"),
            weights=evidence.candidate.checkpoint.manifest,
            files={role: _digests(artifacts[role], verdict=role == "candidate") for role in judged},
            scorecards={role: one.scorecard.digest_of_fields() for role, one in judged.items()},
            siblings={one.ref: summary(one) for one in evidence.siblings},
            artifact=held,
            issued=issued,
            expires=min(ends),
        ),
        key,
    )


def problems(
    attestation: Attestation,
    *,
    trusted: Mapping[str, Ed25519PublicKey],
    now: datetime.datetime | None = None,
) -> tuple[Problem, ...]:
    """Return what is wrong with the attestation itself: its key, a changed field, its time, its
    waivers, its outcome; none is good.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    if (forged := _unproven(attestation, trusted)) is not None:
        return (forged,)
    found = []
    if attestation.manifest_digest != attestation.verdict.checkpoint_digest:
        found.append(
            Problem(
                kind="changed",
                file=NAME,
                text="The signed verdict is about another checkpoint than the signed weights.",
            )
        )
    if now >= attestation.expires:
        found.append(
            Problem(
                kind="unverified",
                text=(
                    f"The signature expired on {attestation.expires:%Y-%m-%d %H:%M} UTC. Gate it"
                    " again."
                ),
            )
        )
    if now < attestation.issued:
        text = (
            f"It is signed for a later time, from {attestation.issued:%Y-%m-%d %H:%M} UTC. Correct"
            " the clock, or gate it again."
        )
        found.append(Problem(kind="unverified", text=text))
    for waiver in attestation.waivers:
        if waiver.key_id not in trusted or not keys.proves(waiver, trusted[waiver.key_id]):
            text = (
                f"The waiver of {waiver.who} for {waiver.rule} is not signed by a key that is"
                " trusted here."
            )
            found.append(Problem(kind="unverified", text=text))
    if attestation.verdict.outcome != "pass":
        first = next(
            (
                one
                for one in attestation.verdict.findings
                if one.outcome == attestation.verdict.outcome
            ),
            None,
        )
        why = f"{first.rule}: {first.reason}" if first else "It has no findings."
        text = f"The signed verdict is {attestation.verdict.outcome}. {why}"
        found.append(Problem(kind=attestation.verdict.outcome, text=text))
    return tuple(found)


def changes(
    attestation: Attestation,
    *,
    artifacts: Mapping[str, Path],
    run_id: str,
    model: str,
) -> tuple[Problem, ...]:
    """Return every file of the runs that is not as signed, and what shows that the attestation came
    here from another model or run.

    `artifacts` are folders for `candidate` and `baseline`, as fetched from the attestation's own
    runs; a role that is left out counts as missing.
    """
    found = []
    for what, here, signed in (
        ("run", run_id, attestation.run_id),
        ("model", model, attestation.model),
    ):
        if here != signed:
            found.append(
                Problem(
                    kind="changed",
                    file=NAME,
                    text=f"{NAME} belongs to {what} {signed}, not to {what} {here}.",
                )
            )
    for role, files in attestation.files.items():
        held = _digests(artifacts[role], verdict=role == "candidate") if role in artifacts else {}
        prefix = "" if role == "candidate" else f"{role}/"
        found += _compare(files, held, prefix=prefix)
    return tuple(found)


def held_by(registered: Path) -> dict[str, str]:
    """Return path -> SHA-256 of every file of a registered version, as fetched into this folder."""
    return digests.of_folder(registered, leave_out=[REGISTERED])


def changed_artifact(attestation: Attestation, held: Mapping[str, str]) -> tuple[Problem, ...]:
    """Return every file of a registered version (path -> SHA-256), weights and all, that is not as
    signed.
    """
    if not attestation.artifact:
        text = (
            "The signed verdict does not name the registered files: it was signed before they were"
            " registered. Gate models:/... again."
        )
        return (Problem(kind="unverified", text=text),)
    return tuple(_compare(attestation.artifact, held, prefix=""))


def summary(one: Evaluation) -> dict[str, str]:
    """Return what is signed of a sibling: file -> digest of its fields."""
    records = {
        "scorecard.json": one.scorecard,
        "suite.json": one.suite,
        "checkpoint.json": one.checkpoint,
    }
    return {
        name: record.digest_of_fields() for name, record in records.items() if record is not None
    }


def weights_of(held: Mapping[str, str]) -> dict[str, str]:
    """Return the checkpoint's files among those of a registered version: its folder `model`, else
    all but checkpoint.json.
    """
    inner = {
        name.removeprefix("model/"): digest
        for name, digest in held.items()
        if name.startswith("model/")
    }
    return {name: digest for name, digest in (inner or held).items() if name != "checkpoint.json"}


def proven(attestation: Attestation, trusted: Mapping[str, Ed25519PublicKey]) -> bool:
    """Whether a trusted key signed exactly this; if not, nothing that it says can be believed."""
    return _unproven(attestation, trusted) is None


def read(path: Path) -> Attestation:
    """Read an attestation. Raises UserError if it is none."""
    try:
        data = json.loads(config.read_text(path))
    except (
        ValueError,
        RecursionError,
    ) as error:  # no JSON, or JSON that is made to hurt: too deep, too long a number
        raise UserError(f"{path.name} is not valid JSON: {error}.") from error
    return config.parse(data, Attestation, where=path.name)


def _unproven(attestation: Attestation, trusted: Mapping[str, Ed25519PublicKey]) -> Problem | None:
    """Say why nothing in the attestation can be believed, if so."""
    if not attestation.signature or attestation.key_id not in trusted:
        known = ", ".join(sorted(trusted)) or "none"
        named = f"key {attestation.key_id}" if attestation.key_id else "no key"
        return Problem(
            kind="unverified",
            text=(
                f"It is signed by {named}, which is not trusted here (trusted: {known}). If you"
                " trust it, add its .pub.pem."
            ),
        )
    if not keys.proves(attestation, trusted[attestation.key_id]):
        return Problem(
            kind="changed",
            file=NAME,
            text=f"{NAME} was changed since key {attestation.key_id} signed it.",
        )
    return None


def _compare(
    signed: Mapping[str, str], held: Mapping[str, str], *, prefix: str
) -> Iterable[Problem]:
    for name in sorted(signed.keys() | held.keys()):
        if signed.get(name) != held.get(name):
            state = (
                "is missing"
                if name not in held
                else "was added"
                if name not in signed
                else "was changed"
            )
            yield Problem(
                kind="changed",
                file=f"{prefix}{name}",
                text=f"{prefix}{name} {state} since it was signed.",
            )


def _digests(folder: Path, *, verdict: bool) -> dict[str, str]:
    """Return artifact -> SHA-256 of what is signed of a run."""
    single = [folder / name for name in (*EVALUATION, *([VERDICT] if verdict else []))]
    below = sorted(path for path in (folder / "generations").rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): digests.of_file(path)
        for path in [*single, *below]
        if path.is_file()
    }


def _end_of(day: datetime.date) -> datetime.datetime:
    return datetime.datetime.combine(
        day + datetime.timedelta(days=1), datetime.time(), tzinfo=datetime.UTC
    )
