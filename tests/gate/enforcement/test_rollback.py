"""Rolling back to a former champion whose signature has expired: time alone is forgiven."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable

import pytest

from comptrust.gate import policy
from comptrust.gate.signing import keys, revocation, roles
from tests.support.enforcement import exceptions as make
from tests.support.enforcement.inprocess import a_pass, log, move, promote, refused, store
from tests.support.enforcement.world import BAD, KEY, Candidate, World, write_key


def former_champion(world: World) -> tuple[Candidate, Candidate]:
    """Return a version that was champion until its successor came, and the successor.

    It was granted a month ago, and its signature has expired since.
    """
    former = make.old_pass(world, days=89)
    promote(world, former)
    make.backdate(world, days=30)
    world_policy(world, "valid_days: 80\n")
    successor = a_pass(world, name=former.name)
    promote(world, successor)
    return former, successor


def world_policy(world: World, more: str) -> None:
    """Let the registry work under its production policy with more lines."""
    path = world.folder / "production.yaml"
    path.write_text(path.read_text() + more)
    policies = store(world).settings.policies
    assert isinstance(policies, dict)
    policies["production"] = policy.load(str(path))


def test_a_former_champion_returns_after_its_signature_expired(inside: World) -> None:
    former, _ = former_champion(inside)
    promote(inside, former)
    assert inside.promoted(former) == ["champion"]
    chain = log(inside)
    assert chain.problem is None
    record = chain.lines[-1]
    assert record.grant and record.grant.rollback == 1
    assert record.finding.startswith("rollback to what record 1 granted: ")
    assert record.grant.expires < record.time


def test_a_key_that_was_revoked_since_counts_if_the_policy_says_so(inside: World) -> None:
    former, successor = former_champion(inside)
    revocation.revoke(inside.folder / "keys", keys.key_id(KEY.public_key()))
    write_key(inside.folder / "keys", make.RELEASE)
    assert "is not trusted" in refused(promote, inside, former)
    world_policy(inside, "rollback: revoked\n")
    assert "not trusted here" in refused(promote, inside, successor, "challenger")
    promote(inside, former)
    assert inside.promoted(former) == ["champion"]
    assert log(inside).lines[-1].grant


def never_there(world: World, former: Candidate, successor: Candidate) -> Candidate:
    return make.old_pass(world, name=former.name)


def other_bytes(world: World, former: Candidate, successor: Candidate) -> None:
    (world.files(former) / "model" / "config.json").write_text("{}")


def evaluated_again(world: World, former: Candidate, successor: Candidate) -> None:
    world.gate(former, now=datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=85))


def answers_changed(world: World, former: Candidate, successor: Candidate) -> None:
    answers = former.evidence / "generations" / "mmlu.jsonl"
    answers.write_text(answers.read_text().replace('"B"', '"A"'))
    world.upload(former)


def tag_moved(world: World, former: Candidate, successor: Candidate) -> Candidate:
    """Claim, by a tag, the evidence of the former champion for another version."""
    other = world.register(BAD, name=former.name)
    world.client.set_model_version_tag(other.name, other.version, "evaluated_by", former.run_id)
    return other


def archived(world: World, former: Candidate, successor: Candidate) -> None:
    move(world, former, "Archived")
    move(world, former, "None")


def key_removed(world: World, former: Candidate, successor: Candidate) -> None:
    (world.folder / "keys" / f"{keys.key_id(KEY.public_key())}.pub.pem").unlink()
    write_key(world.folder / "keys", make.RELEASE)


def key_ended(world: World, former: Candidate, successor: Candidate) -> None:
    grant = f'"{keys.key_id(KEY.public_key())}": {{roles: [gate], until: 2020-01-01}}\n'
    (world.folder / "keys" / roles.NAME).write_text(grant)


def blocked_since(world: World, former: Candidate, successor: Candidate) -> None:
    again = world.register(BAD, files=world.files(former))
    world.gate(again)
    digest = json.loads((again.evidence / "checkpoint.json").read_text())["digest"]
    world.client.set_tag(again.run_id, "checkpoint_digest", digest)


def forbidden(world: World, former: Candidate, successor: Candidate) -> None:
    world_policy(world, "rollback: forbidden\n")


def stricter(world: World, former: Candidate, successor: Candidate) -> None:
    path = world.folder / "production.yaml"
    path.write_text(path.read_text().replace("ratio: 1.5", "ratio: 1000"))
    world_policy(world, "")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (never_there, "The signature expired"),
        (other_bytes, "config.json was changed"),
        (evaluated_again, "no longer what was granted (attestation)"),
        (answers_changed, "was changed since it was signed"),
        (tag_moved, "signature expired"),
        (archived, "The signature expired"),
        (key_removed, "is not trusted"),
        (key_ended, "trusted only until 2020-01-01"),
        (blocked_since, "earlier_block"),
        (forbidden, "The signature expired"),
        (stricter, "min_compression"),
    ],
)
def test_nothing_but_time_is_forgiven(
    inside: World,
    change: Callable[[World, Candidate, Candidate], Candidate | None],
    says: str,
) -> None:
    former, successor = former_champion(inside)
    wanted = change(inside, former, successor) or former
    assert says in refused(promote, inside, wanted)
    assert inside.promoted(wanted) == []
    assert "champion" in inside.promoted(successor)


def test_the_log_must_have_granted_it_in_this_place(inside: World) -> None:
    former, _ = former_champion(inside)
    assert "expired" in refused(promote, inside, former, "production")
    assert "expired" in refused(move, inside, former, "Production")
    assert inside.promoted(former) == []


def test_a_gate_makes_it_a_plain_promotion_again(inside: World) -> None:
    former, _ = former_champion(inside)
    inside.gate(former)
    promote(inside, former)
    grant = log(inside).lines[-1].grant
    assert grant and grant.rollback is None
