"""Signed verdicts: what the gate attests of a candidate, and how that is checked.

Three questions are answered apart: is the attestation itself good and no copy (`problems`), are the
runs' files the signed ones (`changes`), and is the registered version the signed one
(`changed_artifact`)? `attesting` signs, `provenance` checks the evaluations behind the verdict.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import AwareDatetime

from comptrust import config, digests
from comptrust.gate.signing import keys, waivers
from comptrust.gate.signing.roles import Role
from comptrust.records import Record, Result, Verdict

if TYPE_CHECKING:  # it needs numpy, and whoever verifies does not
    from comptrust.trust.evaluation import Evaluation

Kind = Literal["changed", "unverified"] | Result
DAY = datetime.timedelta(days=1)
NAME = "attestation.json"
MAX_BYTES = 2 << 20
"""Largest attestation to read; one of a thousand files takes a few hundred kB."""
VERDICT = "verdict.json"
REGISTERED = "registered_model_meta"
"""The file that MLflow adds to a version's files when it downloads them."""
SIGNED_BESIDE = ("measurement.json", "seal.json")
"""What the machine that evaluated signed of a run, if it has a key."""
EVALUATION = ("scorecard.json", "suite.json", "checkpoint.json", "generations", *SIGNED_BESIDE)
"""What is signed of every run; a folder means all its files."""
CONTROL = "control.json"
"""The noise floors of a dense model; signed of a run that had it when it was judged."""
NOT_MEASURED = frozenset({VERDICT, CONTROL, SIGNED_BESIDE[0]})
"""What is signed of a run and was not yet there when its answers were."""


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


def unverified(text: str) -> Problem:
    """Return the problem that nothing trusted vouches for something."""
    return Problem(kind="unverified", text=text)


def changed(text: str, file: str) -> Problem:
    """Return the problem that a file is not what was signed."""
    return Problem(kind="changed", text=text, file=file)


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
    verdict = attestation.verdict
    now = now or datetime.datetime.now(datetime.UTC)
    scope = {"model": model, "level": level, "today": now.date()}
    # Of an attestation that no trusted key signed, nothing can be believed, so no other problem is
    # worth naming.
    signer = attestation.key_id if attestation.signature else ""
    if refusal := keys.signer_refusal(signer, "gate", trusted, **scope):
        return (unverified(f"It {refusal}. Trust that key, or gate it again with another."),)
    if refusal := keys.refusal(attestation, trusted, **scope):
        return (changed(f"{NAME} {refusal}.", NAME),)
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
            now + keys.SKEW < attestation.issued,
            "unverified",
            f"The signature is not valid until {attestation.issued:%Y-%m-%d %H:%M:%S} UTC, and here"
            f" it is {now:%Y-%m-%d %H:%M:%S}. Set the clock that is wrong; if it is that of the"
            " machine that signed, gate it again.",
        ),
        *(
            (
                bool(refusal),
                "unverified",
                f"The waiver of {waiver.who} for {waiver.rule} {refusal}.",
            )
            for waiver in waivers.accepted(verdict.findings)
            for refusal in [keys.refusal(waiver, trusted, **scope)]
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


def outcome(problems: Sequence[Problem]) -> Result:
    """Return what problems come to: `block` if something was changed or blocks, `pass` if none."""
    failed = any(problem.kind in ("changed", "block") for problem in problems)
    return "block" if failed else "inconclusive" if problems else "pass"


def changes(attestation: Attestation, artifacts: Mapping[str, Path]) -> tuple[Problem, ...]:
    """Return every file of the runs that is not as signed.

    `artifacts` are folders for `candidate` and `baseline`, as downloaded from the attestation's own
    runs; a role that is left out counts as missing. Noise floors that came later are no change.
    """
    different: list[Problem] = []
    for role, files in attestation.files.items():
        present = signed_files(artifacts[role], role) if role in artifacts else {}
        if CONTROL not in files:
            present.pop(CONTROL, None)
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
        return (unverified(text),)
    return tuple(compare(attestation.artifact, present))


def summary(evaluated: Evaluation) -> dict[str, str]:
    """Return what is signed of a sibling: file -> digest of its fields."""
    return {name: record.digest_of_fields() for name, record in _records(evaluated).items()}


def is_sibling(evaluated: Evaluation, signed: Mapping[str, str]) -> bool:
    """Return whether an evaluation is the sibling of which a summary was signed."""
    records = _records(evaluated)
    return records.keys() == signed.keys() and all(
        signed[name] in record.digests for name, record in records.items()
    )


def _records(evaluated: Evaluation) -> dict[str, Record]:
    records = {
        "scorecard.json": evaluated.scorecard,
        "suite.json": evaluated.suite,
        "checkpoint.json": evaluated.checkpoint,
    }
    return {name: record for name, record in records.items() if record}


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
        yield changed(f"{file} {how} was signed.", file)


def signed_files(folder: Path, role: str) -> dict[str, str]:
    """Return path -> SHA-256 of what is signed of a run's files."""
    signed = (*EVALUATION, CONTROL, *([VERDICT] if role == "candidate" else []))
    files = digests.of_folder(folder)
    return {name: digest for name, digest in files.items() if name.partition("/")[0] in signed}
