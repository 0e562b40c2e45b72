"""A folder counts only if it is, byte for byte, what a trusted gate passed."""

from __future__ import annotations

import base64
import datetime
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comptrust import claims, digests
from comptrust.claims import envelope, statements
from comptrust.errors import UserError
from comptrust.gate.signing import algorithms, keys
from tests.support.handed_over import DAY, NOW, POLICY_DIGEST, trust, write

KEY, P256, OTHER = (algorithms.generate(kind) for kind in ("ed25519", "p256", "ed25519"))
MINUTE = datetime.timedelta(minutes=1)


@pytest.fixture(params=[KEY, P256], ids=["ed25519", "p256"])
def key(request: pytest.FixtureRequest) -> keys.PrivateKey:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def folder(tmp_path: Path, key: keys.PrivateKey) -> Path:
    write(tmp_path, key)
    return tmp_path


def found(folder: Path, **where: Any) -> list[str]:
    """Return what is wrong, as `kind: text`."""
    place = {"trusted": trust(KEY, P256), "now": NOW}
    return [f"{problem.kind}: {problem}" for problem in claims.check(folder, **(place | where))]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / claims.CLAIMS).read_text().splitlines()]


def put(folder: Path, *envelopes: dict[str, Any]) -> None:
    content = b"".join(digests.rfc8785(one) + b"\n" for one in envelopes)
    (folder / claims.CLAIMS).write_bytes(content)


def payload(line: dict[str, Any]) -> dict[str, Any]:
    return json.loads(base64.b64decode(line["payload"]))  # type: ignore[no-any-return]


def resigned(folder: Path, key: keys.PrivateKey, **changes: Any) -> None:
    """Sign the claims again with changed fields of their predicates (None removes one)."""
    made = []
    for line in lines(folder):
        statement = payload(line)
        fields = statement["predicate"]
        fields |= {name: value for name, value in changes.items() if name in fields or "x_" in name}
        made.append(envelope.sign(statement, key))
    put(folder, *made)


def test_what_the_gate_passed_is_good(folder: Path) -> None:
    assert found(folder) == found(folder, policy_digest=POLICY_DIGEST) == []
    for name in ("attestation.json", "verdict.json", "scorecard.json", claims.MODEL_SIGNATURE):
        (folder / name).unlink(missing_ok=True)
    assert found(folder) == []


def test_only_a_p256_key_signs_the_model_for_model_signing(
    folder: Path, key: keys.PrivateKey
) -> None:
    assert (folder / claims.MODEL_SIGNATURE).exists() == (key is P256)


def test_every_changed_byte_is_found(folder: Path) -> None:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        places = {0, 1, len(whole) - 1, *range(0, len(whole), max(1, len(whole) // 40))}
        for place in places & set(range(len(whole))):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert found(folder), f"{path.name}, byte {place}"
        for content in (whole + b"\n", whole + b" ", whole[:-1]):
            if path.name != claims.CLAIMS or content != whole[:-1]:
                path.write_bytes(content)
                assert found(folder), f"{path.name} with {content[-20:]!r}"
        path.write_bytes(whole)
    assert found(folder) == []


def piped(path: Path) -> None:
    """Put a pipe in the place of a file: who opens it waits forever."""
    path.unlink()
    os.mkfifo(path)


def moved(path: Path) -> None:
    """Replace a file with a link to it."""
    path.symlink_to(path.rename(path.with_name("elsewhere")))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda model: (model / "new.bin").write_bytes(b""), "changed: model/new.bin was added"),
        (lambda model: (model / "model.safetensors").unlink(), "model/model.safetensors is miss"),
    ],
)
def test_added_and_missing_files_are_named(
    change: Callable[[Path], object], says: str, folder: Path
) -> None:
    change(folder / "model")
    assert says in found(folder)[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda model: (model / "link").symlink_to("/tmp"), "link is a link"),
        (lambda model: (model / "gone").symlink_to("nowhere"), "gone is a link"),
        (lambda model: os.mkfifo(model / "pipe"), "pipe is a link or a device"),
        (lambda model: piped(model.parent / "verdict.json"), "verdict.json is a link or"),
        (lambda model: piped(model.parent / claims.CLAIMS), "claims.jsonl is a link or"),
        (lambda model: moved(model.parent / "verdict.json"), "verdict.json is a link or"),
        (lambda model: (model / "a\x1b[2J").write_text(""), r"named 'a\x1b[2J'"),
        (lambda model: (model / os.fsdecode(b"\xff")).write_text(""), r"named '\udcff'"),
    ],
)
def test_links_pipes_and_odd_names_are_refused(
    change: Callable[[Path], object], says: str, folder: Path
) -> None:
    change(folder / "model")
    with pytest.raises(UserError) as error:
        found(folder)
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("outcomes", "says"),
    [
        (("pass", "block"), "block: The verdict is block: rule_0 #2."),
        (("pass", "pass", "inconclusive"), "inconclusive: The verdict is inconclusive: rule_1."),
    ],
)
def test_a_verdict_that_is_no_pass_never_passes(
    outcomes: tuple[str, ...], says: str, tmp_path: Path, key: keys.PrivateKey
) -> None:
    write(tmp_path, key, *outcomes)
    assert says in found(tmp_path)
    (tmp_path / "attestation.json").unlink()
    assert found(tmp_path) == [says]
    put(tmp_path, lines(tmp_path)[1])
    assert found(tmp_path)[-1].startswith("block: The verification summary says FAILED")


@pytest.mark.parametrize(
    ("when", "says"),
    [
        (NOW + 89 * DAY, ""),
        (NOW + 90 * DAY, "unverified: The claims expired on 2030-04-01 12:00"),
        (NOW - MINUTE, ""),
        (NOW - MINUTE - datetime.timedelta(seconds=1), "not valid until 2030-01-01 12:00:00"),
        (NOW - DAY, "unverified: The claims are not valid until"),
    ],
)
def test_validity(when: datetime.datetime, says: str, folder: Path) -> None:
    problems = found(folder, now=when)
    assert says in problems[0] if says else problems == []


@pytest.mark.parametrize(
    ("trusted", "says"),
    [
        ({}, "which is not trusted here"),
        (trust(OTHER), "which is not trusted here"),
        (trust(KEY, P256, roles=["waive"]), "which is not trusted here"),
        (trust(KEY, P256, models=["prod-*"]), "may not sign for model tiny"),
        (trust(KEY, P256, until="2029-12-31"), "is trusted only until 2029-12-31"),
        (trust(KEY, P256, levels=["staging"]), "may not sign for production"),
    ],
)
def test_only_keys_that_may_judge_this_model_count(
    trusted: keys.Trusted, says: str, folder: Path
) -> None:
    assert any(
        text.startswith("unverified: ") and says in text for text in found(folder, trusted=trusted)
    )


def test_another_policy_is_refused(folder: Path) -> None:
    problems = found(folder, policy_digest="00" * 32)
    assert all(text.startswith("unverified: The policy is 'production'") for text in problems)
    assert len(problems) == 2


def test_both_claims_are_needed_once(folder: Path, key: keys.PrivateKey) -> None:
    first, second = lines(folder)
    for kept in ([first], [second], [first, first, second], [first, second, second]):
        put(folder, *kept)
        assert "must have one test result and one verification" in found(folder)[0]
    put(folder)
    assert found(folder) == ["unverified: claims.jsonl has no claim of a key trusted here."]
    (folder / claims.CLAIMS).unlink()
    assert "There is no claims.jsonl" in found(folder)[0]


def test_a_kind_of_claim_that_is_not_known_is_refused(folder: Path, key: keys.PrivateKey) -> None:
    statement = payload(lines(folder)[0]) | {"predicateType": "https://slsa.dev/provenance/v1"}
    put(folder, *lines(folder), envelope.sign(statement, key))
    [problem] = found(folder)
    assert "line 3: its kind, 'https://slsa.dev/provenance/v1', is not one" in problem


def test_claims_of_other_files_under_the_same_key_are_refused(
    folder: Path, tmp_path: Path, key: keys.PrivateKey
) -> None:
    statement = payload(lines(folder)[0])
    statement["subject"] = statement["subject"][:1]
    put(folder, envelope.sign(statement, key), lines(folder)[1])
    assert any("model/model.safetensors was added" in text for text in found(folder))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"result": "FAILED"}, "block: The verdict is block"),
        ({"result": "passed"}, "field 'result' is wrong"),
        ({"passedTests": []}, "changed: The test result says PASSED, and"),
        ({"warnedTests": ["x"]}, "changed: The test result says PASSED, and"),
        ({"verificationResult": "FAILED"}, "say different things"),
        ({"verificationResult": "MAYBE"}, "field 'verificationResult' is wrong"),
        ({"comptrust_expires": None}, "field 'comptrust_expires' is wrong"),
        ({"comptrust_expires": "2031-01-01T00:00:00Z"}, "attestation.json and claims.jsonl say"),
        ({"timeVerified": "2030-01-01T12:00:00"}, "field 'timeVerified' is wrong"),
        ({"verifier": {"id": "https://example.com"}}, "The verifier is 'https://example.com'"),
        ({"policy": {"uri": "p", "digest": {"sha256": "00" * 32}}}, "say different things"),
        ({"policy": {"uri": "p", "digest": {"md5": "00"}}}, "is wrong: Field required"),
        ({"inputAttestations": []}, "changed: attestation.json was changed"),
        ({"resourceUri": "models:/other"}, "attestation.json and claims.jsonl say different"),
        ({"x_new": True}, ""),
    ],
)
def test_what_the_statements_say_counts(
    changes: dict[str, Any], says: str, folder: Path, key: keys.PrivateKey
) -> None:
    resigned(folder, key, **changes)
    problems = found(folder)
    assert any(says in text for text in problems) if says else problems == []


def test_the_outcome_is_written_as_the_standards_say(folder: Path) -> None:
    result, summary = (payload(line) for line in lines(folder))
    assert result["predicateType"] == statements.TEST_RESULT
    assert result["predicate"]["passedTests"] == ["rule_0 #1", "rule_0 #2", "rule_1"]
    assert summary["predicate"]["verificationResult"] == "PASSED"
    names = [item["name"] for item in result["subject"]]
    assert names == [f"model/{name}" for name in digests.of_folder(folder / "model")]


def test_a_folder_without_a_model_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There are no files in"):
        claims.check(tmp_path, trusted={})


def test_a_key_for_staging_counts_for_staging(folder: Path) -> None:
    assert found(folder, trusted=trust(KEY, P256, levels=["staging"]), level="staging") == []


def test_a_model_signature_of_an_earlier_verdict_is_refused(tmp_path: Path) -> None:
    """The version was gated again with a key that signs no model.sig."""
    write(tmp_path, P256)
    old = (tmp_path / claims.MODEL_SIGNATURE).read_bytes()
    shutil.rmtree(tmp_path / "model")
    write(tmp_path, KEY)
    assert (tmp_path / claims.MODEL_SIGNATURE).read_bytes() == old
    assert found(tmp_path) == [
        "unverified: model.sig: it is of another verdict than claims.jsonl; remove it."
    ]


def test_claims_of_another_release_of_the_attestation_are_read(folder: Path) -> None:
    """An attestation as 0.1.0 signed it, purpose v1, is still proven."""
    attestation = keys.sign(write(folder / "old", KEY), KEY)
    raw = base64.b64encode(algorithms.sign(KEY, attestation.earlier_payload())).decode()
    earlier = attestation.model_copy(update={"signature": raw})
    assert keys.proven(earlier, trust(KEY)) and keys.proven(attestation, trust(KEY))
    assert attestation.payload() != attestation.earlier_payload()
    assert not keys.proven(earlier.model_copy(update={"model": "other"}), trust(KEY))
    assert isinstance(KEY, Ed25519PrivateKey)
