"""Check a folder that was handed over against its claims, with no server and no registry."""

import datetime
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from comptrust.claims import envelope, model_signature, plain_files, statements
from comptrust.claims.envelope import Refused
from comptrust.claims.statements import Resource, Statement, Summary, TestResult
from comptrust.claims.writing import CLAIMS, MODEL_SIGNATURE
from comptrust.errors import UserError
from comptrust.gate.signing import attestations, keys
from comptrust.gate.signing.attestations import NAME, Kind, Problem, changed, unverified

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
    level: str | None = "production",
    now: datetime.datetime | None = None,
    hashes: Mapping[str, str] | None = None,
) -> tuple[Problem, ...]:
    """Return what keeps a folder from being what a trusted gate passed; empty if nothing does.

    The folder has the model's files in `model` and `claims.jsonl` beside it; attestation.json,
    verdict.json, scorecard.json and model.sig are checked if they are there. With `policy_digest`
    the verdict must have been reached under that policy. Keys must be allowed to sign for `level`,
    a stage. Every file is read once, or not at all if `hashes` has path -> SHA-256 of each. Raises
    UserError for a folder or file that cannot be read, and for a link or a device.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    hashes = plain_files.hashed(folder) if hashes is None else hashes
    try:
        return tuple(_problems(folder, trusted, policy_digest, level, now, hashes))
    except OSError as error:
        raise UserError(f"Cannot read {error.filename or folder}: {error.strerror}.") from error


def _problems(
    folder: Path,
    trusted: keys.Trusted,
    policy_digest: str | None,
    level: str | None,
    now: datetime.datetime,
    hashes: Mapping[str, str],
) -> Iterator[Problem]:
    held = {name: digest for name, digest in hashes.items() if name.startswith("model/")}
    if not held:
        raise UserError(
            f"There are no files in {folder / 'model'}. Name a folder that comptrust export wrote."
        )
    if CLAIMS not in hashes:
        yield unverified(f"There is no {CLAIMS}. Gate the version again with a key and export it.")
        return
    claims: list[Claim] = []
    for number, line in enumerate(_lines(folder / CLAIMS), start=1):
        try:
            claims.append(_claim(line, trusted))
        except Refused as refusal:
            text = f"{CLAIMS}, line {number}: {refusal}."
            yield Problem(kind=refusal.kind, text=text, file=CLAIMS)
    if not claims:
        yield unverified(f"{CLAIMS} has no claim of a key trusted here.")
        return
    results = [claim.predicate for claim in claims if isinstance(claim.predicate, TestResult)]
    summaries = [claim.predicate for claim in claims if isinstance(claim.predicate, Summary)]
    if len(results) != 1 or len(summaries) != 1:
        text = f"{CLAIMS} must have one test result and one verification summary that count."
        yield Problem(kind="unverified", text=text, file=CLAIMS)
    signed = {tuple((item.name, item.digest.sha256) for item in claim.subject) for claim in claims}
    for subject in signed:
        yield from attestations.compare(dict(subject), held)
    for result in results:
        yield from _of_result(result, policy_digest)
    for summary in summaries:
        yield from _of_summary(summary, results, policy_digest, now)
        yield from _of_evidence(folder, summary, hashes, trusted, level, now)
    signers = {signer for claim in claims for signer in claim.signers}
    if MODEL_SIGNATURE in hashes:
        try:
            content = _content(folder / MODEL_SIGNATURE)
            files = {name.removeprefix("model/"): digest for name, digest in held.items()}
            of_model = model_signature.check(content, files, trusted=_gates(trusted))
            if not of_model & signers:
                raise Refused("unverified", f"it is of another verdict than {CLAIMS}; remove it")
            signers |= of_model
        except Refused as refusal:
            text = f"{MODEL_SIGNATURE}: {refusal}."
            yield Problem(kind=refusal.kind, text=text, file=MODEL_SIGNATURE)
    models = {one.resourceUri.removeprefix(statements.resource_uri("")) for one in summaries}
    for signer, model in itertools.product(sorted(signers), sorted(models)):
        scope = {"model": model, "level": level, "today": now.date()}
        if refused := keys.signer_refusal(signer, "gate", trusted, **scope):
            yield unverified(f"It {refused}.")


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
        yield changed(text, CLAIMS)
    yield from _policy(result.configuration[0], policy_digest)


def _of_summary(
    summary: Summary,
    results: list[TestResult],
    policy_digest: str | None,
    now: datetime.datetime,
) -> Iterator[Problem]:
    said = {(result.result == "PASSED", result.configuration[0].digest) for result in results}
    if said - {(summary.verificationResult == "PASSED", summary.policy.digest)}:
        yield changed("The test result and the verification summary say different things.", CLAIMS)
    if summary.verificationResult != "PASSED" and not results:
        yield Problem(kind="block", text="The verification summary says FAILED.")
    if summary.verifier.id != statements.VERIFIER:
        text = f"The verifier is {summary.verifier.id[:80]!a}, not {statements.VERIFIER}."
        yield unverified(text)
    yield from _policy(summary.policy, policy_digest)
    if now >= summary.comptrust_expires:
        text = f"The claims expired on {summary.comptrust_expires:%Y-%m-%d %H:%M} UTC. Gate again."
        yield unverified(text)
    if now + keys.SKEW < summary.timeVerified:
        text = (
            f"The claims are not valid until {summary.timeVerified:%Y-%m-%d %H:%M:%S} UTC, and here"
            f" it is {now:%Y-%m-%d %H:%M:%S}. Set the clock that is wrong."
        )
        yield unverified(text)


def _policy(policy: Resource, expected: str | None) -> Iterator[Problem]:
    if expected not in (None, policy.digest.sha256):
        text = (
            f"The policy is {policy.name or policy.uri!a} ({policy.digest.sha256}), not the one"
            f" that is asked for ({expected}). Gate it under that policy."
        )
        yield unverified(text)


def _of_evidence(
    folder: Path,
    summary: Summary,
    hashes: Mapping[str, str],
    trusted: keys.Trusted,
    level: str | None,
    now: datetime.datetime,
) -> Iterator[Problem]:
    """Compare the evidence in the folder with what the summary names."""
    named = {item.uri: item.digest.sha256 for item in summary.inputAttestations}
    present = {name: hashes[name] for name in statements.EVIDENCE if name in hashes}
    different = [name for name, digest in present.items() if named.get(name) != digest]
    for name in different:
        yield changed(f"{name} was changed since it was signed.", name)
    if NAME not in present or NAME in different:
        return
    attestation = attestations.read(folder / NAME)
    yield from attestations.problems(
        attestation,
        trusted=trusted,
        run_id=attestation.run_id,
        model=attestation.model,
        level=level,
        now=now,
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
        yield changed(f"{NAME} and {CLAIMS} say different things. Gate the version again.", CLAIMS)


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
