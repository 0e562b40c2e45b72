"""In-toto statements about a checkpoint: the result of every rule, and the verification summary.

The summary is SLSA's VSA and not in-toto's SVR, because an SVR lists only what passed: it can say
neither that a checkpoint failed nor which evidence the decision rests on.
"""

import posixpath
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

import comptrust
from comptrust.gate.signing.attestations import NAME, VERDICT, Attestation
from comptrust.records import Finding

STATEMENT = "https://in-toto.io/Statement/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
SUMMARY = "https://slsa.dev/verification_summary/v1"
VERIFIER = "pkg:pypi/comptrust"
EVIDENCE = (NAME, VERDICT, "scorecard.json")
"""Files beside the model that the summary names by digest."""
RESULTS: dict[str, Literal["PASSED", "FAILED", "WARNED"]] = {
    "pass": "PASSED",
    "block": "FAILED",
    "inconclusive": "WARNED",
}
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Fields(BaseModel):
    """Part of a statement; unknown fields are ignored, as in-toto's rules for readers demand."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Digests(Fields):
    """Digests of one thing."""

    sha256: Sha256


class Resource(Fields):
    """A file or document and its digest."""

    name: str = ""
    uri: str = ""
    digest: Digests


class Statement(Fields):
    """What every statement has."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: list[Resource] = Field(min_length=1)
    predicateType: str
    predicate: dict[str, Any]


class TestResult(Fields):
    """A test for each rule, https://in-toto.io/attestation/test-result/v0.1."""

    result: Literal["PASSED", "WARNED", "FAILED"]
    configuration: list[Resource] = Field(min_length=1)
    """The policy."""
    passedTests: list[str] = []
    warnedTests: list[str] = []
    failedTests: list[str] = []


class Verifier(Fields):
    """Who verified."""

    id: str


class Summary(Fields):
    """The decision under a policy, https://slsa.dev/verification_summary/v1."""

    verifier: Verifier
    timeVerified: AwareDatetime
    resourceUri: str
    policy: Resource
    inputAttestations: list[Resource] = []
    verificationResult: Literal["PASSED", "FAILED"]
    comptrust_expires: AwareDatetime
    """An extension: the standard has no end."""


def subjects(files: dict[str, str]) -> list[dict[str, Any]]:
    """Return the files of the model's folder (path -> SHA-256) as `model/PATH`."""
    named = in_model(files)
    return [{"name": name, "digest": {"sha256": named[name]}} for name in sorted(named)]


def in_model(files: dict[str, str]) -> dict[str, str]:
    """Return the files of the model's folder with their paths in what is handed over."""
    return {posixpath.join("model", name): digest for name, digest in files.items()}


def test_result(attestation: Attestation, files: dict[str, str]) -> dict[str, Any]:
    """Return the result of every rule of a signed verdict."""
    verdict = attestation.verdict
    predicate = {
        "result": RESULTS[verdict.outcome],
        "configuration": [_resource("name", verdict.policy, verdict.policy_digest)],
        "passedTests": _tests(verdict.findings, "pass"),
        "warnedTests": _tests(verdict.findings, "inconclusive"),
        "failedTests": _tests(verdict.findings, "block"),
    }
    return _statement(TEST_RESULT, files, predicate)


def summary(
    attestation: Attestation, files: dict[str, str], *, evidence: dict[str, str]
) -> dict[str, Any]:
    """Return the decision; `evidence` is name -> SHA-256 of the files that it rests on."""
    verdict = attestation.verdict
    passed = verdict.outcome == "pass"
    predicate = {
        "verifier": {"id": VERIFIER, "version": {"comptrust": comptrust.__version__}},
        "timeVerified": f"{attestation.issued:%Y-%m-%dT%H:%M:%SZ}",
        "comptrust_expires": f"{attestation.expires:%Y-%m-%dT%H:%M:%SZ}",
        "resourceUri": resource_uri(attestation.model),
        "policy": _resource("uri", verdict.policy, verdict.policy_digest),
        "inputAttestations": [_resource("uri", *item) for item in sorted(evidence.items())],
        "verificationResult": "PASSED" if passed else "FAILED",
        # The levels are SLSA's, of builds: this verifier does not look at them.
        "verifiedLevels": ["SLSA_BUILD_LEVEL_UNEVALUATED" if passed else "FAILED"],
    }
    return _statement(SUMMARY, files, predicate)


def resource_uri(model: str) -> str:
    """Return how a summary names a registered model."""
    return f"models:/{model}"


def _statement(kind: str, files: dict[str, str], predicate: dict[str, Any]) -> dict[str, Any]:
    return {
        "_type": STATEMENT,
        "subject": subjects(files),
        "predicateType": kind,
        "predicate": predicate,
    }


def _resource(field: str, name: str, digest: str) -> dict[str, Any]:
    return {field: name, "digest": {"sha256": digest}}


def _tests(findings: tuple[Finding, ...], outcome: str) -> list[str]:
    """Name the rules with an outcome; a policy may use a rule twice, which is numbered."""
    rules = [finding.rule for finding in findings]
    names = [
        f"{rule} #{rules[:index].count(rule) + 1}" if rules.count(rule) > 1 else rule
        for index, rule in enumerate(rules)
    ]
    return [
        name for name, finding in zip(names, findings, strict=True) if finding.outcome == outcome
    ]
