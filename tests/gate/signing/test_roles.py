"""Roles: a key counts for what roles.yaml says, and for nothing else."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comptrust.errors import UserError
from comptrust.gate.signing import keys, roles
from comptrust.gate.signing.roles import Grant, TrustedKey
from comptrust.gate.signing.waivers import Waiver

KEY = Ed25519PrivateKey.generate()
TODAY = datetime.date(2030, 1, 1)
ID = keys.key_id(KEY.public_key())
WAIVER = keys.sign(
    Waiver(rule="refusal_shift", checkpoint="c", who="Ada", why="read", until=TODAY), KEY
)


def key(**grant: object) -> TrustedKey:
    return TrustedKey(KEY.public_key(), Grant.model_validate(grant))


@pytest.mark.parametrize(
    ("grant", "asked", "says"),
    [
        ({"roles": ["gate"]}, {"role": "waive"}, "may not waive here"),
        ({"roles": ["waive"]}, {"role": "gate"}, "may not gate here"),
        ({}, {"role": "gate"}, "roles in roles.yaml: none"),
        ({"roles": ["gate", "waive"]}, {"role": "release"}, "may not release here"),
        ({"roles": ["release"]}, {"role": "gate"}, "may not gate here"),
        ({"roles": ["release"]}, {"role": "release"}, ""),
        ({"roles": ["gate"], "models": ["prod-*"]}, {"role": "gate", "model": "m"}, "model m"),
        (
            {"roles": ["gate"], "levels": ["staging"]},
            {"role": "gate", "level": "production"},
            "for",
        ),
        ({"roles": ["gate"], "until": "2029-12-31"}, {"role": "gate"}, "only until 2029-12-31"),
        ({"roles": ["gate"], "until": "2030-01-01"}, {"role": "gate"}, ""),
        ({"roles": ["gate"], "models": ["prod-*"]}, {"role": "gate", "model": "prod-x"}, ""),
        ({"roles": ["gate", "waive"]}, {"role": "waive"}, ""),
    ],
)
def test_a_key_is_refused_what_it_was_not_granted(
    grant: dict[str, object], asked: dict[str, str], says: str
) -> None:
    refusal = key(**grant).refusal(**asked, today=TODAY)  # type: ignore[arg-type]
    assert says in refusal and bool(says) == bool(refusal)


def test_a_key_for_verdicts_signs_no_waiver() -> None:
    assert keys.proven(WAIVER, {ID: TrustedKey(KEY.public_key())})
    assert not keys.proven(WAIVER, {ID: key(roles=["gate"])})


def test_a_key_that_the_file_does_not_name_has_no_role(tmp_path: Path) -> None:
    name, _, public = keys.create(tmp_path)
    assert keys.load_public_keys(tmp_path)[name].grant.roles == roles.USUAL
    (tmp_path / roles.NAME).write_text("'0000000000000000': {roles: [gate]}\n")
    assert keys.load_public_keys(tmp_path)[name].grant.roles == ()
    (tmp_path / roles.NAME).write_text(f"'{name}': {{roles: [waive], until: 2031-01-01}}\n")
    assert keys.load_public_keys(tmp_path)[name].grant.until == datetime.date(2031, 1, 1)
    assert keys.load_public_keys(public)[name].grant.roles == roles.USUAL


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a", "must hold"),
        ("k: {roles: [sign]}", "roles"),
        ("k: {role: [gate]}", "role"),
        ("k: 1", "key k"),
        ("", "must hold"),
        ("k: {roles: [gates]}", "roles.0"),
        ("k: {roles: gate}", "valid tuple"),
        ("k: {roles: [gate], levels: [prod]}", "levels.0"),
        ("k: {roles: [gate], until: tomorrow}", "until"),
        ("k: {roles: [gate], until: 2026-13-01}", "not valid YAML"),
        ("k: {roles: [gate], revoked: 2026-01-01}", "timezone"),
        ("k: {roles: [gate], revoked: .nan}", "revoked"),
        ("k: {roles: [waive]}\nk: {roles: [gate]}", "'k' is there twice"),
        ("? [a]\n: b", "not valid YAML"),
        ("a: &x [1]\nb: *x", "alias"),
        ("a" * 2_000_000, "larger than 1 MB"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, text: str, says: str) -> None:
    keys.create(tmp_path)
    (tmp_path / roles.NAME).write_text(text)
    with pytest.raises(UserError, match=says):
        keys.load_public_keys(tmp_path)


def test_a_file_that_cannot_be_read_is_not_a_missing_one(tmp_path: Path) -> None:
    """Without roles.yaml every key may do nearly all."""
    keys.create(tmp_path)
    (tmp_path / roles.NAME).symlink_to("nowhere")
    with pytest.raises(UserError, match="Cannot read .*roles.yaml"):
        keys.load_public_keys(tmp_path)
    (tmp_path / roles.NAME).unlink()
    for name in ("roles.yml", "Roles.yaml", "role.yaml"):
        (tmp_path / name).write_text("")
        with pytest.raises(UserError, match="Rename it to roles.yaml"):
            keys.load_public_keys(tmp_path)
        (tmp_path / name).unlink()


def test_a_file_that_anybody_can_write_is_refused(tmp_path: Path) -> None:
    name, _, _ = keys.create(tmp_path)
    (tmp_path / roles.NAME).write_text(f"'{name}': {{roles: [gate]}}\n")
    (tmp_path / roles.NAME).chmod(0o666)
    with pytest.raises(UserError, match="Anyone can write"):
        keys.load_public_keys(tmp_path)
