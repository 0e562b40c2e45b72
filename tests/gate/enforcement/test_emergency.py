"""Emergencies: what opens a place without a pass, for how long, and who is told."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from comptrust.cli.app import comptrust
from comptrust.gate.enforcement import lapse
from comptrust.gate.signing import emergency
from tests.support.enforcement import exceptions as make
from tests.support.enforcement.exceptions import DAY, RELEASE
from tests.support.enforcement.inprocess import a_pass, log, move, promote, refused, store
from tests.support.enforcement.world import BAD, KEY, STRANGER, Candidate, World

WHY = "The present champion answers nothing."


@pytest.fixture
def world(inside: World) -> World:
    """A guarded registry whose keys have roles."""
    make.name_roles(inside.folder / "keys")
    return inside


def later(monkeypatch: pytest.MonkeyPatch, by: datetime.timedelta) -> None:
    """Let time pass for everything that decides about emergencies."""

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Later:
            return super().now(tz) + by  # type: ignore[return-value]

    for module in (lapse, emergency):
        fake = type("datetime", (), vars(datetime) | {"datetime": Later})
        monkeypatch.setattr(module, "datetime", fake)


def audit(world: World, *options: str) -> list[str]:
    command = ["audit", "--log", f"{world.folder}/mlflow.db.audit.jsonl", *options]
    result = CliRunner().invoke(comptrust, command, catch_exceptions=False)
    assert result.exit_code in (0, 1)
    return result.output.splitlines()


def description(world: World, candidate: Candidate) -> str:
    version = world.client.get_model_version(candidate.name, candidate.version)
    return str(version.description)


def test_a_blocked_version_is_promoted_and_everybody_is_told(world: World) -> None:
    candidate = world.register(BAD)
    world.gate(candidate)
    world.client.update_model_version(candidate.name, candidate.version, "ours")
    record = make.sign(world, candidate)
    move(world, candidate, "Production")
    promote(world, candidate)
    assert world.promoted(candidate) == ["champion", "Production"]

    line = emergency.notice(record.until, WHY)
    text = description(world, candidate)
    assert text.startswith(f"{line} <!--") and text.endswith("\nours")
    first = audit(world)[0]
    assert first.startswith(line) and f"models:/{candidate.name}/1" in first
    database = f"sqlite:///{world.folder}/mlflow.db"
    assert not any(text.startswith("PROBLEM") for text in audit(world, "--registry", database))
    grant = log(world).lines[-1].grant
    assert grant and (grant.emergency, grant.expires) == (WHY, record.until)
    assert log(world).problem is None

    # Another place, or another version, is not what was signed for.
    assert "is for production" in refused(promote, world, candidate, "challenger")
    assert "is for production" in refused(promote, world, candidate, "production")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"key": KEY}, "may not release here"),
        ({"key": STRANGER}, "not trusted here"),
        ({"target": "staging"}, "is for staging"),
        ({"target": "demo"}, "is for demo"),
        ({"model": "other"}, "is for models:/other/1"),
        ({"version": "2"}, "/2"),
        ({"artifact": {"model/model.safetensors": "0" * 64}}, "is for other files"),
        ({"until": datetime.datetime.now(datetime.UTC) - DAY}, "ended at"),
        ({"until": datetime.datetime.now(datetime.UTC) + 8 * DAY}, "more than 7 days"),
        (
            {"issued": datetime.datetime.now(datetime.UTC) + DAY / 2},
            "not valid until",
        ),
    ],
)
def test_what_was_signed_for_something_else_opens_nothing(
    world: World, changes: dict[str, object], says: str
) -> None:
    candidate = world.register(BAD)
    make.sign(world, candidate, **changes)  # type: ignore[arg-type]
    assert says in refused(promote, world, candidate)
    assert world.promoted(candidate) == []


def test_without_roles_no_key_may_release(inside: World) -> None:
    candidate = inside.register(BAD)
    make.sign(inside, candidate, key=KEY)
    assert "may not release here" in refused(promote, inside, candidate)


def test_a_changed_or_unreadable_record_opens_nothing(world: World) -> None:
    candidate = world.register(BAD)
    record = make.sign(world, candidate)
    make.log(world, candidate, record.model_copy(update={"why": "None of your business."}))
    assert "was changed since" in refused(promote, world, candidate)
    world.client.log_text(candidate.run_id, "[" * 100_000, emergency.NAME)
    refused(promote, world, candidate)
    assert world.promoted(candidate) == []


def test_files_are_hashed_and_nothing_is_archived(world: World) -> None:
    candidate = world.register(BAD)
    make.sign(world, candidate)
    weights = world.files(candidate) / "model" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + b"?")
    assert "is for other files" in refused(promote, world, candidate)
    weights.write_bytes(content)
    other = a_pass(world, name=candidate.name)
    move(world, other, "Production")
    with pytest.warns(FutureWarning):
        refused(
            world.client.transition_model_version_stage,
            *(candidate.name, candidate.version, "Production", True),
        )
    assert world.promoted(other) == ["Production"]


def replaced(world: World, candidate: Candidate) -> None:
    promote(world, a_pass(world, name=candidate.name))


def archived(world: World, candidate: Candidate) -> None:
    move(world, candidate, "Archived")
    world.client.delete_registered_model_alias(candidate.name, "champion")


@pytest.mark.parametrize("end", [replaced, archived])
def test_it_opens_a_place_once(world: World, end: Callable[[World, Candidate], None]) -> None:
    candidate = world.register(BAD)
    make.sign(world, candidate)
    promote(world, candidate)
    promote(world, candidate)  # it is there already
    end(world, candidate)
    assert "replaced or taken back" in refused(promote, world, candidate)
    make.sign(world, candidate, why="Once more.")
    promote(world, candidate)


def test_its_end_brings_the_former_champion_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = a_pass(world)
    promote(world, former)
    candidate = world.register(BAD, name=former.name)
    make.sign(world, candidate)
    move(world, candidate, "Production")
    promote(world, candidate)
    lapse.end_due(store(world))
    assert world.promoted(candidate) == ["champion", "Production"]

    later(monkeypatch, 2 * DAY)
    lapse.end_due(store(world))
    assert (world.promoted(candidate), world.promoted(former)) == ([], ["champion"])
    assert description(world, candidate).startswith("EMERGENCY ended at ")
    assert {(line.decision, line.action, line.version) for line in log(world).lines[-2:]} == {
        ("withdrawn", "transition", candidate.version),
        ("granted", "set alias", former.version),
    }
    assert all("The emergency of record" in line.finding for line in log(world).lines[-2:])
    before = len(log(world).lines)
    with monkeypatch.context() as patch:
        patch.setattr(store(world).guard, "locked", None)  # a request takes no lock anymore
        for _ in range(3):
            lapse.end_due(store(world))
    assert len(log(world).lines) == before
    assert "ended at" in refused(promote, world, candidate)


def no_former(world: World, former: Candidate) -> None:
    """The emergency is the first champion."""


def archived_meanwhile(world: World, former: Candidate) -> None:
    promote(world, former)


def changed_meanwhile(world: World, former: Candidate) -> None:
    promote(world, former)


@pytest.mark.parametrize("before", [no_former, archived_meanwhile, changed_meanwhile])
def test_its_end_removes_the_alias_if_no_former_champion_may_return(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    before: Callable[[World, Candidate], None],
) -> None:
    former = a_pass(world)
    before(world, former)
    candidate = world.register(BAD, name=former.name)
    make.sign(world, candidate)
    promote(world, candidate)
    if before is archived_meanwhile:
        move(world, former, "Archived")
    if before is changed_meanwhile:
        (world.files(former) / "model" / "config.json").write_text("{}")
    later(monkeypatch, 2 * DAY)
    # A server that starts after the end finds it in the log.
    fresh = type(store(world))(f"comptrust+sqlite:///{world.folder}/mlflow.db")
    lapse.end_due(fresh)
    assert world.client.get_registered_model(former.name).aliases == {}
    assert log(world).lines[-1].decision == "withdrawn"
    assert log(world).problem is None


def test_an_expired_signature_is_logged_once_and_moves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = a_pass(world)
    promote(world, candidate)
    later(monkeypatch, 89 * DAY)
    lapse.end_due(store(world))
    assert [line.decision for line in log(world).lines] == ["granted"]
    later(monkeypatch, 91 * DAY)
    for _ in range(2):
        lapse.end_due(store(world))
        fresh = type(store(world))(f"comptrust+sqlite:///{world.folder}/mlflow.db")
        lapse.end_due(fresh)
    assert [line.decision for line in log(world).lines] == ["granted", "expired"]
    assert "the signature of record 1 expired at " in log(world).lines[-1].finding
    assert world.promoted(candidate) == ["champion"]


def test_audit_names_what_is_over_but_still_promoted(world: World) -> None:
    candidate = world.register(BAD)
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=3)
    make.sign(world, candidate, until=soon)
    promote(world, candidate)
    while datetime.datetime.now(datetime.UTC) < soon:
        pass
    shown = audit(world, "--registry", f"sqlite:///{world.folder}/mlflow.db")
    assert shown[0].startswith("EMERGENCY until ")
    assert any(
        "PROBLEM" in line and "the emergency that it was promoted for ended" in line
        for line in shown
    )
    assert RELEASE  # the key that signed it is still trusted
