"""Check a folder that was handed over against its claims, with no server and no registry."""

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from comptrust import digests
from comptrust.claims import envelope, model_signature, statements
from comptrust.claims.envelope import Refused
from comptrust.claims.statements import Resource, Statement, Summary, TestResult
from comptrust.claims.writing import CLAIMS, MODEL_SIGNATURE
from comptrust.errors import UserError
from comptrust.gate.signing import attestations, keys
from comptrust.gate.signing.attestations import NAME, SKEW, Kind, Problem

MOST_BYTES = 1 << 26
"""Largest file of claims: 64 MiB are the names of some 200,000 files."""
OUTCOMES: dict[str, Kind] = {"FAILED": "block", "WARNED": "inconclusive"}


@dataclass(frozen=True)
class Claim:
    """One line of `claims.jsonl` that a trusted key signed."""

    subject: list[Resource]
    predicate: TestResult | Summary
    signers: frozenset[str]


def check(
    folder: Path,
    *,
    trusted: keys.Trusted,
    policy_digest: str | None = None,
    now: datetime.datetime | None = None,
    hashes: Mapping[str, str] | None = None,
) -> tuple[Problem, ...]:
    """Return what keeps a folder from being what a trusted gate passed; empty if nothing does.

    The folder has the model's files in `model` and `claims.jsonl` beside it; attestation.json,
    verdict.json, scorecard.json and model.sig are checked if they are there. With `policy_digest`
    the verdict must have been reached under that policy. Every file is read once, or not at all if
    `hashes` has path -> SHA-256 of each. Raises UserError for a folder or file that cannot be read.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    try:
        return tuple(_problems(folder, trusted, policy_digest, now, hashes))
    except OSError as error:
        raise UserError(f"Cannot read {error.filename or folder}: {error.strerror}.") from error


def _problems(
    folder: Path,
    trusted: keys.Trusted,
    policy_digest: str | None,
    now: datetime.datetime,
    hashes: Mapping[str, str] | None,
) -> Iterator[Problem]:
    model = folder / "model"
    if not model.is_dir():
        raise UserError(f"There is no folder {model}. Name a folder that comptrust export wrote.")
    if not (folder / CLAIMS).is_file():
        text = f"There is no {CLAIMS}. Gate the version again with a signing key and export it."
        yield Problem(kind="unverified", text=text)
        return
    claims: list[Claim] = []
    for number, line in enumerate(_lines(folder / CLAIMS), start=1):
        try:
            claims.append(_claim(line, trusted))
        except Refused as refusal:
            text = f"{CLAIMS}, line {number}: {refusal}."
            yield Problem(kind=refusal.kind, text=text, file=CLAIMS)
    if not claims:
        yield Problem(kind="unverified", text=f"{CLAIMS} has no claim of a key trusted here.")
        return
    results = [claim.predicate for claim in claims if isinstance(claim.predicate, TestResult)]
    summaries = [claim.predicate for claim in claims if isinstance(claim.predicate, Summary)]
    if len(results) != 1 or len(summaries) != 1:
        text = f"{CLAIMS} must have one test result and one verification summary that count."
        yield Problem(kind="unverified", text=text, file=CLAIMS)
    hashes = digests.of_folder(folder) if hashes is None else hashes
    held = {name: digest for name, digest in hashes.items() if name.startswith("model/")}
    files = {name.removeprefix("model/"): digest for name, digest in held.items()}
    yield from _not_plain(folder)
    signed = {tuple((item.name, item.digest.sha256) for item in claim.subject) for claim in claims}
    for subject in signed:
        yield from _differences(dict(subject), held)
    for result in results:
        yield from _of_result(result, policy_digest)
    for claim in claims:
        if isinstance(claim.predicate, Summary):
            yield from _of_summary(claim.predicate, results, policy_digest, now)
            yield from _of_signers(claim.signers, claim.predicate, trusted, now)
            yield from _of_evidence(folder, claim.predicate, hashes, trusted, now)
    if (folder / MODEL_SIGNATURE).is_file():
        try:
            content = _content(folder / MODEL_SIGNATURE)
            model_signature.check(content, files, trusted=_gates(trusted))
        except Refused as refusal:
            text = f"{MODEL_SIGNATURE}: {refusal}."
            yield Problem(kind=refusal.kind, text=text, file=MODEL_SIGNATURE)


def _claim(line: bytes, trusted: keys.Trusted) -> Claim:
    """Return what a trusted key claims on a line. Raises Refused."""
    value, signers = envelope.read(envelope.strict(line), trusted=_gates(trusted))
    statement = envelope.parse(value, Statement)
    if statement.predicateType == statements.TEST_RESULT:
        kind: type[TestResult] | type[Summary] = TestResult
    elif statement.predicateType == statements.SUMMARY:
        kind = Summary
    else:
        name = f"{statement.predicateType[:120]!a}"
        raise Refused("unverified", f"its kind, {name}, is not one that can be checked here")
    return Claim(statement.subject, envelope.parse(statement.predicate, kind), signers)


def _gates(trusted: keys.Trusted) -> keys.Trusted:
    return {name: key for name, key in trusted.items() if "gate" in key.grant.roles}


def _of_result(result: TestResult, policy_digest: str | None) -> Iterator[Problem]:
    failed = result.failedTests or result.warnedTests
    if result.result != "PASSED":
        kind = OUTCOMES[result.result]
        yield Problem(kind=kind, text=f"The verdict is {kind}: {', '.join(failed) or 'no rule'}.")
    elif failed or not result.passedTests:
        text = "The test result says PASSED, and that rules did not pass or that there was none."
        yield Problem(kind="changed", text=text, file=CLAIMS)
    yield from _policy(result.configuration[0], policy_digest)


def _of_summary(
    summary: Summary,
    results: list[TestResult],
    policy_digest: str | None,
    now: datetime.datetime,
) -> Iterator[Problem]:
    said = {(result.result == "PASSED", result.configuration[0].digest) for result in results}
    if said - {(summary.verificationResult == "PASSED", summary.policy.digest)}:
        text = "The test result and the verification summary say different things."
        yield Problem(kind="changed", text=text, file=CLAIMS)
    if summary.verificationResult != "PASSED" and not results:
        yield Problem(kind="block", text="The verification summary says FAILED.")
    if summary.verifier.id != statements.VERIFIER:
        text = f"The verifier is {summary.verifier.id[:80]!a}, not {statements.VERIFIER}."
        yield Problem(kind="unverified", text=text)
    yield from _policy(summary.policy, policy_digest)
    if now >= summary.comptrust_expires:
        text = f"The claims expired on {summary.comptrust_expires:%Y-%m-%d %H:%M} UTC. Gate again."
        yield Problem(kind="unverified", text=text)
    if now + SKEW < summary.timeVerified:
        text = (
            f"The claims are not valid until {summary.timeVerified:%Y-%m-%d %H:%M:%S} UTC, and here"
            f" it is {now:%Y-%m-%d %H:%M:%S}. Set the clock that is wrong."
        )
        yield Problem(kind="unverified", text=text)


def _policy(policy: Resource, expected: str | None) -> Iterator[Problem]:
    if expected not in (None, policy.digest.sha256):
        text = (
            f"The policy is {policy.name or policy.uri!a} ({policy.digest.sha256}), not the one"
            f" that is asked for ({expected}). Gate it under that policy."
        )
        yield Problem(kind="unverified", text=text)


def _of_signers(
    signers: frozenset[str], summary: Summary, trusted: keys.Trusted, now: datetime.datetime
) -> Iterator[Problem]:
    """Name the keys that signed and may not sign for this model, or no longer."""
    model = summary.resourceUri.removeprefix(statements.resource_uri(""))
    for name in sorted(signers):
        if refusal := trusted[name].refusal("gate", model=model, today=now.date()):
            yield Problem(kind="unverified", text=f"It is signed by key {name}, which {refusal}.")


def _of_evidence(
    folder: Path,
    summary: Summary,
    hashes: Mapping[str, str],
    trusted: keys.Trusted,
    now: datetime.datetime,
) -> Iterator[Problem]:
    """Compare the evidence in the folder with what the summary names."""
    named = {item.uri: item.digest.sha256 for item in summary.inputAttestations}
    present = {name: hashes[name] for name in statements.EVIDENCE if name in hashes}
    different = [name for name, digest in present.items() if named.get(name) != digest]
    for name in different:
        yield Problem(kind="changed", text=f"{name} was changed since it was signed.", file=name)
    if NAME not in present or NAME in different:
        return
    attestation = attestations.read(folder / NAME)
    yield from attestations.problems(
        attestation, trusted=trusted, run_id=attestation.run_id, model=attestation.model, now=now
    )
    verdict = attestation.verdict
    agreed = (
        statements.in_model(attestation.weights).items() <= hashes.items()
        and statements.resource_uri(attestation.model) == summary.resourceUri
        and verdict.policy_digest == summary.policy.digest.sha256
        and (verdict.outcome == "pass") == (summary.verificationResult == "PASSED")
        and attestation.expires == summary.comptrust_expires
    )
    if not agreed:
        text = f"{NAME} and {CLAIMS} say different things. Gate the version again."
        yield Problem(kind="changed", text=text, file=CLAIMS)


def _differences(signed: Mapping[str, str], present: Mapping[str, str]) -> Iterator[Problem]:
    for name in sorted({name for name, _ in signed.items() ^ present.items()}):
        how = "was changed since it" if name in signed else "was added since it"
        if name not in present:
            how = "is missing but"
        yield Problem(kind="changed", text=f"{_shown(name)} {how} was signed.", file=name)


def _not_plain(folder: Path) -> Iterator[Problem]:
    """Name what is neither a file nor a folder: nothing vouches for what a link leads to."""
    read = [folder / name for name in (*statements.EVIDENCE, CLAIMS, MODEL_SIGNATURE)]
    inside = sorted((folder / "model").rglob("*"))
    odd = [path for path in read if path.exists() and not path.is_file()]
    odd += [path for path in inside if not (path.is_file() or path.is_dir())]
    for path in dict.fromkeys([*odd, *(path for path in read + inside if path.is_symlink())]):
        name = path.relative_to(folder).as_posix()
        text = f"{_shown(name)} is not a plain file or folder."
        yield Problem(kind="changed", text=text, file=name)


def _shown(name: str) -> str:
    return name if name.isprintable() else ascii(name)


def _lines(path: Path) -> list[bytes]:
    """Return the lines of the claims; only a line feed ends one, and the last has one too."""
    *lines, rest = _content(path).split(b"\n")
    return [*lines, rest] if rest else lines


def _content(path: Path) -> bytes:
    with open(path, "rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise UserError(f"{path} is larger than {MOST_BYTES >> 20} MB. Is it the right file?")
    return content
