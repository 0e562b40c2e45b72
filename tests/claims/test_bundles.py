"""`comptrust verify DIR`: an exported bundle proves itself offline, or says what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from comptrust import digests
from comptrust.claims import bundles
from comptrust.cli.commands.verify import command
from comptrust.errors import UserError
from comptrust.gate.signing import keys
from comptrust.records import Finding
from tests.support import bundles as made
from tests.support.bundles import HOUR, NOW, POLICY, flip


@dataclass(frozen=True)
class Case:
    folder: Path
    trusted: Path

    def verify(self, *words: str) -> tuple[int, dict]:
        """Run the command; return its exit code and result."""
        call = [str(self.folder), "--keys", str(self.trusted), "--json", *words]
        done = CliRunner().invoke(command, call, catch_exceptions=False)
        return done.exit_code, json.loads(done.stdout)

    def problems(self, *words: str) -> tuple[int, str]:
        code, result = self.verify(*words)
        return code, " ".join(f"{one['kind']}: {one['text']}" for one in result["problems"])


@pytest.fixture(params=["p256", "ed25519", "no claims"])
def case(tmp_path: Path, request: pytest.FixtureRequest) -> Case:
    """A bundle with claims and, with a P-256 key, a model signature; or one of an older gate."""
    claimed = request.param != "no claims"
    kind = request.param if claimed else "ed25519"
    trusted = made.write(tmp_path / "bundle", tmp_path / "keys", kind=kind, claimed=claimed)
    assert (tmp_path / "bundle" / "claims.jsonl").exists() == claimed
    return Case(tmp_path / "bundle", trusted)


def test_a_bundle_proves_itself(case: Case) -> None:
    code, result = case.verify("--policy-digest", POLICY)
    assert (code, result["outcome"], result["problems"]) == (0, "pass", [])
    assert result["policy_digest"] == POLICY and case.verify()[0] == 0
    text = CliRunner().invoke(command, [str(case.folder), "--keys", str(case.trusted)]).stdout
    assert f"pass under policy strict ({POLICY})" in text


@pytest.mark.parametrize("share", [0, 0.2, 0.5, 0.8, 1])
def test_one_flipped_bit_in_any_file_is_noticed(case: Case, share: float) -> None:
    for path in sorted(path for path in case.folder.rglob("*") if path.is_file()):
        flip(path, share)
        code, text = case.problems()
        # A flipped bit in the name of a key makes it an unknown one.
        signs = path.name in ("attestation.json", "bundle.json", "claims.jsonl", "model.sig")
        assert code in ((1, 3) if signs else (1,)), (path.name, code, text)
        assert signs or path.name in text
        flip(path, share)
    assert case.verify()[0] == 0


@pytest.mark.parametrize("name", ["model/new.py", "model/sub/new", "new.json", "sub/new.md"])
def test_an_added_file_is_noticed(case: Case, name: str) -> None:
    (case.folder / name).parent.mkdir(exist_ok=True)
    (case.folder / name).write_text("x")
    code, text = case.problems()
    assert code == 1 and f"{name} was added" in text


def test_each_missing_file_is_noticed(case: Case) -> None:
    for path in sorted(path for path in case.folder.rglob("*") if path.is_file()):
        kept = path.read_bytes()
        path.unlink()
        code, text = case.problems()
        assert code == (3 if path.name in ("attestation.json", "bundle.json") else 1), path.name
        assert text
        path.write_bytes(kept)


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"expires": NOW - HOUR, "issued": NOW - 2 * HOUR}, 3, "expired"),
        ({"issued": NOW + 24 * HOUR, "expires": NOW + 25 * HOUR}, 3, "not valid until"),
        ({"weights": {"config.json": "0" * 64}}, 1, "different checkpoint"),
    ],
)
def test_what_is_signed_must_hold(changes: dict, code: int, words: str, tmp_path: Path) -> None:
    trusted = made.write(tmp_path / "bundle", tmp_path / "keys", **changes)
    got, text = Case(tmp_path / "bundle", trusted).problems()
    assert got == code and words in text


@pytest.mark.parametrize(
    ("measured", "says"),
    [
        ({"checkpoint": "0" * 64}, "measurement.json is of another checkpoint"),
        ({"files": {}}, "checkpoint.json was added"),
        ({"files": {"generations/x.jsonl": "0" * 64}}, "checkpoint.json was added"),
    ],
)
def test_the_evaluation_must_be_the_measured_one(measured: dict, says: str, tmp_path: Path) -> None:
    trusted = made.write(tmp_path / "bundle", tmp_path / "keys", measured=measured)
    code, text = Case(tmp_path / "bundle", trusted).problems()
    assert code == 3 and "The evaluation of the candidate is not what key" in text and says in text


def test_who_evaluated_must_be_trusted(tmp_path: Path) -> None:
    finding = Finding(rule="complete", outcome="pass", reason="All there.")
    evidence = {"signed_by": {"runs:/2": "0" * 16}}
    by_stranger = Finding(rule="measured", outcome="pass", reason="", evidence=evidence)
    for name, findings, says in (
        ("a", (finding,), "does not say who signed the evaluations"),
        ("b", (finding, by_stranger), "The evaluation runs:/2 behind it is signed by key 0000"),
    ):
        trusted = made.write(tmp_path / name, tmp_path / f"{name}-keys", findings=findings)
        code, text = Case(tmp_path / name, trusted).problems()
        assert code == 3 and says in text, text


def test_a_bundle_without_a_measurement_is_not_verified(case: Case) -> None:
    (case.folder / "measurement.json").unlink()
    assert "is not signed by the machine that evaluated it" in case.problems()[1]


def test_a_measurement_that_came_after_the_verdict_proves_nothing(tmp_path: Path) -> None:
    trusted = made.write(tmp_path / "bundle", tmp_path / "keys", unsigned=("measurement.json",))
    code, text = Case(tmp_path / "bundle", trusted).problems()
    assert code == 3 and "the gate signed no measurement.json" in text


def test_another_policy_is_not_verified(case: Case) -> None:
    code, text = case.problems("--policy-digest", "0" * 64)
    assert code == 3 and POLICY in text and "0" * 64 in text


def test_keys_that_are_not_trusted_prove_nothing(case: Case, tmp_path: Path) -> None:
    keys.create(tmp_path / "other")
    code, text = Case(case.folder, tmp_path / "other").problems()
    assert code == 3 and "not trusted here" in text
    (tmp_path / "none").mkdir()
    assert Case(case.folder, tmp_path / "none").problems()[0] == 3


def test_a_key_signs_only_what_its_roles_allow(case: Case) -> None:
    [public] = case.trusted.glob("*.pub.pem")
    name = public.name.removesuffix(".pub.pem")
    for grant, code in (
        ("roles: [waive]", 3),
        ("roles: [gate]", 3),  # the evaluation is signed with it too
        ("roles: [gate, evaluate], models: [big-*]", 3),
        ("roles: [gate, evaluate], levels: [staging]", 3),
        ("roles: [gate, evaluate], until: 2020-01-01", 3),
        ("roles: [gate, evaluate], revoked: 2020-01-01T00:00:00Z", 3),
        ("roles: [gate, evaluate], models: [t*], levels: [production]", 0),
    ):
        (case.trusted / "roles.yaml").write_text(f"'{name}': {{{grant}}}\n")
        got, text = case.problems()
        assert got == code and (f"key {name}" in text) == (code > 0), (grant, text)
    (case.trusted / "roles.yaml").write_text(
        f"'{name}': {{roles: [gate, evaluate], levels: [staging]}}"
    )
    assert case.verify("--level", "staging")[0] == 0


def test_what_only_describes_must_be_signed_or_removed(tmp_path: Path) -> None:
    trusted = made.write(tmp_path / "bundle", tmp_path / "keys", listed=False)
    case = Case(tmp_path / "bundle", trusted)
    assert case.verify()[0] == 0, "the model and its evidence are signed"
    (case.folder / "README.md").write_text("# tiny\n")
    code, text = case.problems()
    assert code == 3 and "README.md" in text and "remove" in text
    (case.folder / "model" / "README.md").write_text("# tiny\n")
    assert case.problems()[0] == 1, "the folder of the model is signed whole"


def test_a_list_signed_by_somebody_else_does_not_count(case: Case, tmp_path: Path) -> None:
    keys.create(tmp_path / "other")
    key = keys.signing_key(tmp_path / "other")
    assert key
    (case.folder / "README.md").write_text("# changed\n")
    bundles.sign(case.folder, digests.of_folder(case.folder), key)
    code, text = case.problems()
    assert code == 3 and "README.md" in text


def test_each_file_is_hashed_once(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    of_file = digests.of_file

    def counted(path: Path) -> str:
        read.append(path)
        return of_file(path)

    monkeypatch.setattr(digests, "of_file", counted)
    assert case.verify()[0] == 0
    assert sorted(read) == sorted(path for path in case.folder.rglob("*") if path.is_file())


def linked_out(folder: Path) -> None:
    (folder / "model" / "config.json").rename(folder.parent / "outside.json")
    (folder / "model" / "config.json").symlink_to(folder.parent / "outside.json")


def linked_folder(folder: Path) -> None:
    shutil.move(folder / "model" / "sub", folder.parent / "sub")
    (folder / "model" / "sub").symlink_to(folder.parent / "sub")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "model" / "pipe")


def listening(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s"))


def unprintable(folder: Path) -> None:
    (folder / "model" / "a\x1b[2Jb").write_text("")


def not_text(folder: Path) -> None:
    (folder / os.fsdecode(b"\xff")).write_text("")


@pytest.mark.parametrize(
    "damage", [linked_out, linked_folder, pipe, listening, unprintable, not_text]
)
def test_what_no_bundle_holds_is_refused(case: Case, damage: Callable[[Path], None]) -> None:
    damage(case.folder)
    with pytest.raises(UserError) as error:
        case.verify()
    assert "bundle" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("digest", ["", "a" * 63, "A" * 64, "a" * 63 + "\n", "sha256:" + "a" * 64])
def test_a_policy_digest_that_is_not_one(case: Case, digest: str) -> None:
    with pytest.raises(UserError, match="not the digest of a policy"):
        case.verify("--policy-digest", digest)


def test_a_folder_that_is_no_bundle(case: Case, tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path / "keys", case.folder / "README.md"):
        with pytest.raises(UserError, match="Name a folder that comptrust export wrote"):
            Case(folder, case.trusted).verify()
    with pytest.raises(UserError, match="no public keys"):
        Case(case.folder, tmp_path / "no keys").verify()


def test_a_bundle_without_a_signature_is_not_verified(case: Case) -> None:
    (case.folder / "attestation.json").unlink()
    code, text = case.problems()
    assert code == 3 and "not signed" in text


@pytest.mark.parametrize("name", ["attestation.json", "bundle.json"])
@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"files": 1}', '{"a": NaN}', "\ufeff{}", '{"a": 1, "a": 1}', "[" * 200_000],
)
def test_a_broken_record_is_a_changed_one(case: Case, name: str, text: str) -> None:
    (case.folder / name).write_text(text)
    code, said = case.problems()
    assert code == 1 and name in said
