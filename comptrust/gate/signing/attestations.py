"""Signed verdicts: what the gate attests of a candidate, and how that is checked.

Three questions are answered apart: is the attestation itself good and no copy (`problems`), are the
runs' files the signed ones (`changes`), and is the registered version the signed one
(`changed_artifact`)?
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import AwareDatetime

from comptrust import config, digests
from comptrust.errors import UserError
from comptrust.gate.signing import keys, waivers
from comptrust.gate.signing.roles import Role
from comptrust.records import Record, Result, Verdict

if TYPE_CHECKING:  # they need numpy, and whoever verifies needs neither
    from comptrust.gate.evidence import Evidence
    from comptrust.trust.evaluation import Evaluation

Kind = Literal["changed", "unverified"] | Result
DAY = datetime.timedelta(days=1)
SKEW = datetime.timedelta(minutes=1)
"""How far the clock of the machine that signed may be ahead."""
NAME = "attestation.json"
MAX_BYTES = 2 << 20
"""Largest attestation to read; one of a thousand files takes a few hundred kB."""
VERDICT = "verdict.json"
REGISTERED = "registered_model_meta"
"""The file that MLflow adds to a version's files when it downloads them."""
SIGNED_BESIDE = ("measurement.json", "seal.json")
"""What the machine that evaluated signed of a run, if it has a key."""
EVALUATION = ("scorecard.json", "suite.json", "checkpoint.json", "generations", *SIGNED_BESIDE)
"""What is signed of a run, besides the candidate's verdict; a folder means all its files."""


class Attestation(keys.SignedRecord):
    """What the gate signed: a verdict, the bytes behind it, its owner and its validity."""

    purpose: ClassVar[str] = "attestation/v2"
    role: ClassVar[Role] = "gate"

    verdict: Verdict
    model: str
    run_id: str
    baseline_run_id: str | None
    """The dense source's run; None if there was no baseline."""
    weights: dict[str, str]
    """Path -> SHA-256 of every file of the checkpoint; its digest is the one in the verdict."""
    files: dict[str, dict[str, str]]
    """`candidate` and `baseline` -> artifact of the run -> SHA-256 of its bytes."""
    scorecards: dict[str, str]
    """`candidate` and `baseline` -> digest of the scorecard's fields."""
    siblings: dict[str, dict[str, str]]
    """Reference -> scorecard.json, suite.json, checkpoint.json -> digest of its fields."""
    artifact: dict[str, str]
    """Path -> SHA-256 of every file of the registered version; empty if signed unregistered."""
    issued: AwareDatetime
    expires: AwareDatetime


class Problem(Record):
    """One thing that is wrong with an attestation or with the files it names."""

    kind: Kind
    """`changed`: not what was signed. `unverified`: no trusted key vouches for it now. Otherwise
    the outcome of the signed verdict.
    """
    text: str
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
    key: keys.PrivateKey,
    days: int,
    registered: Path | None = None,
    now: datetime.datetime | None = None,
) -> Attestation:
    """Sign a verdict together with the bytes behind it, for `days` days.

    It expires earlier if a waiver that it relies on does. `artifacts` are folders with the logged
    files and `run_ids` their runs, for `candidate` and, if there is one, `baseline`. `registered`
    is the folder of the registered version, with the checkpoint in it or in its folder `model`.
    Raises UserError if the files are not the judged ones or the candidate's weights are unknown.
    """
    from comptrust.gate import measured
    from comptrust.trust import evaluation

    # What did not count is anybody's, who could change it later.
    left_out = measured.left_out(verdict.findings)
    issued = (now or datetime.datetime.now(datetime.UTC)).replace(microsecond=0)
    both = {"candidate": evidence.candidate, "baseline": evidence.baseline}
    judged = {role: memory for role, memory in both.items() if memory}
    checkpoint = evidence.candidate.checkpoint
    if checkpoint is None:
        raise UserError(
            "Nothing is signed: the candidate's weights are not known (no checkpoint.json)."
            " Compress and evaluate it."
        )
    # Between judging and here the files could have changed, or another verdict been logged.
    for role, memory in judged.items():
        evaluated = evaluation.load(artifacts[role], ref=memory.ref)
        # Answers need no comparison: loading checks them against the scorecard's digests.
        same_answers = evaluated.generations.keys() == memory.generations.keys()
        if not same_answers or summary(evaluated) != summary(memory):
            raise UserError(
                f"Nothing is signed: the files of {memory.ref} changed while it was judged. Gate it"
                " again."
            )
    logged = config.read_json(artifacts["candidate"] / VERDICT)
    if logged != json.loads(verdict.model_dump_json()):
        raise UserError(
            f"Nothing is signed: someone else judged {evidence.candidate.ref} in the meantime. Gate"
            " it again."
        )
    artifact = held_by(registered) if registered else {}
    weights = weights_of(artifact) if registered else checkpoint.manifest
    for problem in compare(checkpoint.manifest, weights):
        raise UserError(
            f"Nothing is signed: the registered files are not the judged ones. {problem} Register"
            " it again."
        )
    midnight = datetime.time(tzinfo=datetime.UTC)
    ends = [
        datetime.datetime.combine(waiver.until, midnight) + DAY
        for waiver in waivers.accepted(verdict.findings)
    ]
    unsigned = Attestation(
        verdict=verdict,
        model=model,
        run_id=run_ids["candidate"],
        baseline_run_id=run_ids.get("baseline"),
        weights=checkpoint.manifest,
        files={role: _digests(artifacts[role], role) for role in judged},
        scorecards={role: judged[role].scorecard.digest_of_fields() for role in judged},
        siblings={
            sibling.ref: summary(sibling)
            for sibling in evidence.siblings
            if sibling.ref not in left_out
        },
        artifact=artifact,
        issued=issued,
        expires=min([issued + days * DAY, *ends]),
    )
    return keys.sign(unsigned, key)


def problems(
    attestation: Attestation,
    *,
    trusted: keys.Trusted,
    run_id: str,
    model: str,
    level: str | None = None,
    days: int | None = None,
    now: datetime.datetime | None = None,
) -> tuple[Problem, ...]:
    """Return what is wrong with the attestation itself; empty if nothing is.

    `level` is the stage to be opened, `staging` or `production`, if any. Its key, fields, validity,
    waivers and outcome are checked, and that it is the one of this run and model, not a copy. With
    `days` it is valid for so many days, even if it says longer.
    """
    verdict, key_id = attestation.verdict, attestation.key_id
    # Of an attestation that no trusted key signed, nothing can be believed, so no other problem is
    # worth naming.
    if not attestation.signature or key_id not in trusted:
        text = (
            f"It is signed by {f'key {key_id}' if key_id else 'no key'}, which is not trusted here"
            f" (trusted: {', '.join(sorted(trusted)) or 'none'}). If you trust it, add its"
            " .pub.pem."
        )
        return (Problem(kind="unverified", text=text),)
    today = (now or datetime.datetime.now(datetime.UTC)).date()
    if refusal := trusted[key_id].refusal("gate", model=model, level=level, today=today):
        text = f"It is signed by key {key_id}, which {refusal}. Gate it again with another key."
        return (Problem(kind="unverified", text=text),)
    if not keys.proven(attestation, trusted):
        text = f"{NAME} was changed since key {key_id} signed it."
        return (Problem(kind="changed", text=text, file=NAME),)
    now = now or datetime.datetime.now(datetime.UTC)
    expires = attestation.expires
    # The policy of whoever signed says how long; that of whoever checks can only shorten it.
    if days is not None and expires - attestation.issued > days * DAY:
        expires = attestation.issued + days * DAY
    checks: list[tuple[bool, Kind, str]] = [
        (
            digests.of_value(attestation.weights) != verdict.checkpoint_digest,
            "changed",
            "The signed verdict is about a different checkpoint than the signed weights.",
        ),
        (
            now >= expires,
            "unverified",
            f"The signature expired on {expires:%Y-%m-%d %H:%M} UTC. Gate it again.",
        ),
        (
            now + SKEW < attestation.issued,
            "unverified",
            f"The signature is not valid until {attestation.issued:%Y-%m-%d %H:%M:%S} UTC, and here"
            f" it is {now:%Y-%m-%d %H:%M:%S}. Set the clock that is wrong; if it is that of the"
            " machine that signed, gate it again.",
        ),
        *(
            (
                not keys.proven(waiver, trusted)
                or bool(
                    trusted[waiver.key_id].refusal("waive", model=model, level=level, today=today)
                ),
                "unverified",
                f"The waiver of {waiver.who} for {waiver.rule} is not signed by a key that is"
                " trusted here.",
            )
            for waiver in waivers.accepted(verdict.findings)
        ),
        (
            verdict.outcome != "pass",
            verdict.outcome,
            f"The signed verdict is {verdict.outcome}."
            f" {first_failure(verdict) or 'It has no findings.'}",
        ),
        (
            run_id != attestation.run_id,
            "changed",
            f"{NAME} belongs to run {attestation.run_id}, not to run {run_id}.",
        ),
        (
            model != attestation.model,
            "changed",
            f"{NAME} belongs to model {attestation.model}, not to model {model}.",
        ),
    ]
    return tuple(
        Problem(kind=kind, text=text, file=NAME if kind == "changed" else None)
        for wrong, kind, text in checks
        if wrong
    )


def changes(attestation: Attestation, artifacts: Mapping[str, Path]) -> tuple[Problem, ...]:
    """Return every file of the runs that is not as signed.

    `artifacts` are folders for `candidate` and `baseline`, as downloaded from the attestation's own
    runs; a role that is left out counts as missing.
    """
    different: list[Problem] = []
    for role, files in attestation.files.items():
        present = _digests(artifacts[role], role) if role in artifacts else {}
        different += compare(files, present, prefix="" if role == "candidate" else f"{role}/")
    return tuple(different)


def held_by(registered: Path) -> dict[str, str]:
    """Return path -> SHA-256 of every file of a registered version, downloaded to this folder."""
    return digests.of_folder(registered, leave_out=[REGISTERED])


def changed_artifact(attestation: Attestation, present: Mapping[str, str]) -> tuple[Problem, ...]:
    """Return every file of a registered version (path -> SHA-256) that is not as signed."""
    if not attestation.artifact:
        text = (
            "The signed verdict does not name the registered files: it was signed before they were"
            " registered. Gate the registered version (models:/...) again."
        )
        return (Problem(kind="unverified", text=text),)
    return tuple(compare(attestation.artifact, present))


def summary(evaluated: Evaluation) -> dict[str, str]:
    """Return what is signed of a sibling: file -> digest of its fields."""
    records = {
        "scorecard.json": evaluated.scorecard,
        "suite.json": evaluated.suite,
        "checkpoint.json": evaluated.checkpoint,
    }
    return {name: record.digest_of_fields() for name, record in records.items() if record}


def weights_of(artifact: Mapping[str, str]) -> dict[str, str]:
    """Return the checkpoint's files among those of a registered version.

    They are in its folder `model` or, without one, all files but checkpoint.json.
    """
    prefix = "model/" if any(name.startswith("model/") for name in artifact) else ""
    return {
        name.removeprefix(prefix): digest
        for name, digest in artifact.items()
        if name.startswith(prefix) and name != f"{prefix}checkpoint.json"
    }


def read(path: Path) -> Attestation:
    """Read an attestation. Raises UserError if the file is not one."""
    data = config.json_value(config.read_text(path, max_bytes=MAX_BYTES), where=path.name)
    return config.parse(data, Attestation, where=path.name)


def first_failure(verdict: Verdict) -> str | None:
    """Say which finding first has the verdict's outcome, and why; None without findings."""
    failing = [finding for finding in verdict.findings if finding.outcome == verdict.outcome]
    return f"{failing[0].rule}: {failing[0].reason}" if failing else None


def compare(
    signed: Mapping[str, str], present: Mapping[str, str], *, prefix: str = ""
) -> Iterator[Problem]:
    """Yield each file that was changed, added or removed since it was signed (path -> SHA-256)."""
    for name in sorted({name for name, _ in signed.items() ^ present.items()}):
        how = "was changed since it" if name in signed else "was added since it"
        if name not in present:
            how = "is missing but"
        file = f"{prefix}{name}"
        yield Problem(kind="changed", text=f"{file} {how} was signed.", file=file)


def _digests(folder: Path, role: str) -> dict[str, str]:
    signed = (*EVALUATION, VERDICT) if role == "candidate" else EVALUATION
    files = digests.of_folder(folder)
    return {name: digest for name, digest in files.items() if name.partition("/")[0] in signed}
