"""Revoking a key names every promotion that rests on it, then ends the trust in it."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comptrust.cli.app import comptrust
from comptrust.errors import ComptrustError
from comptrust.gate.enforcement.store import GuardedStore
from comptrust.gate.signing import keys, revocation
from comptrust.gate.signing.roles import TrustedKey
from tests.support.enforcement.inprocess import log, promote, refused, store
from tests.support.enforcement.world import (
    DENSE,
    GOOD,
    KEY,
    STRANGER,
    TRUSTED,
    Candidate,
    World,
    write_key,
)

SECOND = Ed25519PrivateKey.generate()
ID = {key: keys.key_id(key.public_key()) for key in (KEY, SECOND, STRANGER)}
BOTH = TRUSTED | {ID[SECOND]: TrustedKey(SECOND.public_key())}


def revoke(world: World, key: Ed25519PrivateKey, *more: str) -> Result:
    words = ["keys", "revoke", ID[key], "--registry", f"sqlite:///{world.folder}/mlflow.db"]
    done = CliRunner().invoke(comptrust, [*words, "--dir", str(world.folder / "keys"), *more])
    if isinstance(done.exception, ComptrustError):
        done.exit_code, done.stderr_bytes = done.exception.exit_code, str(done.exception).encode()
    return done


@pytest.fixture
def promoted(inside: World) -> list[Candidate]:
    """Two champions; the second key measured the baseline of one of them."""
    write_key(inside.folder / "keys", SECOND)
    first = inside.register(GOOD, name="first")
    inside.gate(first)
    promote(inside, first)
    inside.dense = inside.register(GOOD, name="dense-2", measured_by=SECOND, **DENSE)
    second = inside.register(GOOD, name="second")
    inside.gate(second, trusted=BOTH)
    promote(inside, second)
    return [first, second]


def test_what_rests_on_a_key_is_named_and_the_key_is_gone(
    inside: World, promoted: list[Candidate]
) -> None:
    assert inside.dense is not None
    dry = revoke(inside, SECOND, "--dry-run", "--json")
    assert dry.exit_code == 0, dry.output
    told = json.loads(dry.stdout)
    why = [f"evaluation of runs:/{inside.dense.run_id}"]
    named = {"ref": "models:/second/1", "where": "@champion", "why": why}
    assert told == {"key": ID[SECOND], "promotions": [named], "revoked": None, "time": None}
    assert len(keys.load_public_keys(inside.folder / "keys")) == 2
    done = revoke(inside, SECOND)
    assert done.exit_code == 0
    assert f"models:/second/1 (@champion): {why[0]}" in done.stdout
    assert "rest on key" in done.stdout and "was moved to" in done.stdout
    assert set(keys.load_public_keys(inside.folder / "keys")) == {ID[KEY]}
    message = refused(promote, inside, promoted[1], "challenger")
    assert f"key {ID[SECOND]}, which is not trusted here" in message
    promote(inside, promoted[0], "challenger")


def test_the_server_records_a_revoked_key_once(inside: World, promoted: list[Candidate]) -> None:
    assert inside.dense is not None
    place, before = f"comptrust+sqlite:///{inside.folder}/mlflow.db", len(log(inside).lines)
    store(inside).revocations.record()
    assert len(log(inside).lines) == before
    assert revoke(inside, SECOND).exit_code == 0
    for _ in range(2):  # also after a restart
        store(inside).revocations.record()
        GuardedStore(place).revocations.record()
    [line] = log(inside).lines[before:]
    assert (line.decision, line.action, line.target) == ("revoked", "revoke key", ID[SECOND])
    assert line.finding.startswith("It was trusted until 20")
    why = f"evaluation of runs:/{inside.dense.run_id}"
    named = f"models:/second/1 (@champion, record {before}: {why})"
    assert line.finding.endswith(f" UTC. Promotions that rest on it: 1. {named}")
    # Trusted again, and revoked again.
    moved = inside.folder / "keys" / revocation.REVOKED / f"{ID[SECOND]}.pub.pem"
    os.utime(moved, (time.time() + 60, time.time() + 60))
    shutil.rmtree(inside.folder / "mlflow.db.audit.jsonl.evidence")
    GuardedStore(place).revocations.record()
    [line] = log(inside).lines[before + 1 :]
    assert line.finding.count("unknown: its signed verdict cannot be read") == 2


def test_a_key_for_everything(inside: World, promoted: list[Candidate]) -> None:
    told = json.loads(revoke(inside, KEY, "--json").stdout)["promotions"]
    found = {one["ref"]: one["why"] for one in told}
    assert set(found) == {"models:/first/1", "models:/second/1"}
    assert found["models:/second/1"] == ["verdict", f"evaluation of runs:/{promoted[1].run_id}"]
    assert len(found["models:/first/1"]) == 3
    assert "not trusted here" in refused(promote, inside, promoted[0], "challenger")


def test_a_verdict_that_is_gone_is_named_from_the_log(
    inside: World, promoted: list[Candidate]
) -> None:
    inside.client.delete_run(promoted[0].run_id)
    told = json.loads(revoke(inside, KEY, "--dry-run", "--json").stdout)["promotions"]
    [why] = [one["why"] for one in told if one["ref"] == "models:/first/1"]
    assert why == ["verdict", "unknown: its signed verdict cannot be read"]
    told = json.loads(revoke(inside, SECOND, "--dry-run", "--json").stdout)["promotions"]
    assert [one["ref"] for one in told] == ["models:/first/1", "models:/second/1"]


def test_a_key_that_is_not_trusted(inside: World) -> None:
    done = revoke(inside, STRANGER)
    assert done.exit_code == 2 and f"trusts no key {ID[STRANGER]}" in done.stderr
    assert "\n" not in done.stderr.strip()


def test_a_promotion_that_only_the_log_knows(inside: World, promoted: list[Candidate]) -> None:
    plain = f"sqlite:///{inside.folder}/mlflow.db"
    from mlflow import MlflowClient

    MlflowClient(plain, plain).delete_registered_model_alias("first", "champion")
    told = json.loads(revoke(inside, KEY, "--dry-run", "--json").stdout)["promotions"]
    [lost] = [one for one in told if one["ref"] == "models:/first/1"]
    assert "not in the registry" in lost["where"] and lost["why"] == ["verdict"]
