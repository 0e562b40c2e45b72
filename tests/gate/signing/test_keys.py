"""Keys: made once, private to their owner, read strictly, never shown."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comptrust.errors import ServiceError, UserError
from comptrust.gate.signing import algorithms, keys, revocation, roles
from comptrust.gate.signing.algorithms import KeyType
from comptrust.gate.signing.roles import Grant, Role, TrustedKey
from comptrust.gate.signing.waivers import Waiver
from comptrust.records import Finding

SECOND = timedelta(seconds=1)
PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A keys folder that does not exist yet, and nothing else."""
    monkeypatch.setenv("COMPTRUST_KEYS", str(tmp_path / "keys"))
    monkeypatch.delenv("COMPTRUST_SIGNING_KEY", raising=False)
    return tmp_path / "keys"


def test_a_new_key_is_its_owners_alone_and_trusted(folder: Path) -> None:
    assert keys.signing_key() is None and keys.load_public_keys() == {}
    named, private, public = keys.create(folder)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    key = keys.signing_key()
    assert key is not None and keys.key_id(key.public_key()) == named
    assert list(keys.load_public_keys()) == list(keys.load_public_keys(public)) == [named]


@pytest.mark.parametrize("kind", ["ed25519", "p256"])
def test_every_kind_of_key_signs_and_is_read_back(kind: KeyType, folder: Path) -> None:
    named, private, public = keys.create(folder, kind=kind)
    key = keys.signing_key()
    assert key is not None and keys.key_id(key.public_key()) == named == public.name[:16]
    waiver = Waiver(rule="r", checkpoint="c", who="Ada", why="read", until=date(2030, 1, 1))
    signed = keys.sign(waiver, key)
    trusted = keys.load_public_keys(folder)
    assert keys.proven(signed, trusted)
    assert not keys.proven(signed.model_copy(update={"who": "Bob"}), trusted)
    assert not keys.proven(signed, {named: TrustedKey(algorithms.generate(kind).public_key())})
    # A key of the other kind in the same name proves nothing and breaks nothing.
    other = algorithms.generate("p256" if kind == "ed25519" else "ed25519")
    assert not keys.proven(signed, {named: TrustedKey(other.public_key())})


def test_the_name_of_a_p256_key_is_what_openssl_gives(folder: Path) -> None:
    named, _, public = keys.create(folder, kind="p256")
    key = serialization.load_pem_public_key(public.read_bytes())
    content = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    assert named == hashlib.sha256(content).hexdigest()[:16]


def test_a_number_that_others_would_round_is_not_signed() -> None:
    finding = Finding(rule="r", outcome="pass", reason="", evidence={"n": 2**53})

    class Signed(keys.SignedRecord):
        purpose: ClassVar[str] = "test/v2"
        role: ClassVar[Role] = "gate"
        finding: Finding

    with pytest.raises(UserError, match="Nothing is signed: 9007199254740992 exceeds"):
        keys.sign(Signed(finding=finding), algorithms.generate("ed25519"))


def test_a_key_is_private_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0)
    try:
        _, private, _ = keys.create(folder)
    finally:
        os.umask(before)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


def test_a_key_is_never_overwritten(folder: Path) -> None:
    _, private, _ = keys.create(folder)
    before = private.read_bytes()
    with pytest.raises(UserError, match="already exists and is not overwritten"):
        keys.create(folder)
    assert private.read_bytes() == before
    assert len(list(folder.iterdir())) == 2


def test_a_folder_that_is_a_file_is_a_failure_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="Cannot write a key"):
        keys.create(tmp_path / "file" / "keys")


def secret(kind: str) -> bytes:
    """Return a file that is no usable signing key."""
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            PEM, PKCS8, serialization.NoEncryption()
        )
    if kind == "p384":
        return ec.generate_private_key(ec.SECP384R1()).private_bytes(
            PEM, PKCS8, serialization.NoEncryption()
        )
    if kind == "encrypted":
        return Ed25519PrivateKey.generate().private_bytes(
            PEM, PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    return {"empty": b"", "text": b"SECRET-WORDS", "binary": bytes(range(256))}[kind]


@pytest.mark.parametrize("kind", ["rsa", "p384", "encrypted", "empty", "text", "binary"])
def test_what_is_no_signing_key_is_refused_without_being_shown(kind: str, folder: Path) -> None:
    folder.mkdir()
    (folder / keys.PRIVATE).write_bytes(secret(kind))
    (folder / keys.PRIVATE).chmod(0o600)
    with pytest.raises(UserError, match="is not an Ed25519 or P-256 private key") as caught:
        keys.signing_key()
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__context__ is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o666, 0o777])
def test_a_key_that_is_open_to_others_is_refused(mode: int, folder: Path) -> None:
    _, private, _ = keys.create(folder)
    private.chmod(mode)
    with pytest.raises(UserError, match=f"open to others .mode {mode:04o}.. Run: chmod 600"):
        keys.signing_key()


def test_the_environment_names_the_key_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.create(folder)
    named, private, _ = keys.create(tmp_path / "other")
    monkeypatch.setenv("COMPTRUST_SIGNING_KEY", str(private))
    key = keys.signing_key()
    assert key is not None and keys.key_id(key.public_key()) == named
    monkeypatch.setenv("COMPTRUST_SIGNING_KEY", str(tmp_path / "missing.pem"))
    with pytest.raises(UserError, match="missing.pem"):
        keys.signing_key()


def missing(folder: Path) -> Path:
    return folder / "nowhere"


def private(folder: Path) -> Path:
    return keys.create(folder)[1]


def garbage(folder: Path) -> Path:
    keys.create(folder)[2].write_text("-----BEGIN PUBLIC KEY-----\n")
    return folder


def writable_file(folder: Path) -> Path:
    public = keys.create(folder)[2]
    public.chmod(0o666)
    return folder


def writable_folder(folder: Path) -> Path:
    keys.create(folder)
    folder.chmod(0o777)
    return folder


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (missing, "no public keys at"),
        (private, "is not an Ed25519 or P-256 public key"),
        (garbage, "is not an Ed25519 or P-256 public key"),
        (writable_file, "Anyone can write to"),
        (writable_folder, "Anyone can write to"),
    ],
)
def test_public_keys_that_prove_nothing_are_refused(
    make: Callable[[Path], Path], message: str, folder: Path
) -> None:
    with pytest.raises(UserError, match=message):
        keys.load_public_keys(make(folder))


def test_a_folder_that_nobody_can_write_may_have_any_mode(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes mounts a config map read-only, with mode 0777."""
    place, held = writable_folder(folder), os.statvfs(folder)
    read_only = os.statvfs_result((*held[:8], held.f_flag | os.ST_RDONLY, held.f_namemax))
    monkeypatch.setattr(os, "statvfs", lambda path: read_only)
    assert len(keys.load_public_keys(place)) == 1


def test_a_revoked_key_counts_for_what_is_older(folder: Path) -> None:
    """Whether that is so must be proven by a log: the key itself could sign any date."""
    name, _, _ = keys.create(folder)
    (folder / roles.NAME).write_text(f"'{name}': {{roles: [gate], models: [t*]}}\n")
    moved, time = revocation.revoke(folder, name)
    assert not keys.load_public_keys(folder)
    assert moved == folder / revocation.REVOKED / f"{name}.pub.pem" and moved.is_file()
    before, after = (revocation.trusted_at(folder, time + SECOND * step) for step in (-1, 0))
    assert not after
    assert before[name].grant == Grant(roles=("gate",), models=("t*",), revoked=time)
    (folder / revocation.REVOKED / roles.NAME).unlink()  # as an earlier release revoked
    assert not revocation.trusted_at(folder, time - SECOND)
    with pytest.raises(UserError, match=f"trusts no key {name}"):
        revocation.revoke(folder, name)


def test_two_keys_are_revoked_one_after_the_other(folder: Path) -> None:
    first, private, _ = keys.create(folder)
    private.unlink()
    second, _, _ = keys.create(folder)
    for name in (first, second):
        revocation.revoke(folder, name)
    assert set(revocation.trusted_at(folder, datetime(2020, 1, 1, tzinfo=UTC))) == {first, second}
