"""The guard in process: what it lets through, what it refuses, and that all of it is logged."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersionTag
from mlflow.exceptions import MlflowException

from comptrust.cli.app import comptrust
from comptrust.gate.enforcement import settings
from comptrust.gate.enforcement.store import GuardedStore
from tests.support.enforcement.inprocess import a_pass, log, move, promote, refused, store
from tests.support.enforcement.world import BAD, STRANGER, World, write_key


def test_refused_then_allowed_and_both_are_logged(inside: World) -> None:
    candidate = inside.register(BAD)
    inside.gate(candidate)
    message = refused(promote, inside, candidate)
    assert message == (
        f"comptrust refused: set alias champion, models:/{candidate.name}/1. The signed verdict"
        " is block. max_drop: Dropped more than 5 points: mmlu 50.0. Promote another version, or"
        " see docs/gate.md."
    )
    inside.pass_truly(candidate)
    promote(inside, candidate)
    move(inside, candidate, "Production")
    assert inside.promoted(candidate) == ["champion", "Production"]
    chain = log(inside)
    assert [(line.decision, line.action, line.target) for line in chain.lines] == [
        ("refused", "set alias", "champion"),
        ("granted", "set alias", "champion"),
        ("granted", "transition", "Production"),
    ]
    assert chain.problem is None
    assert {line.user for line in chain.lines} != {None}


def test_what_is_not_guarded_is_as_before(inside: World, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = inside.register(BAD)
    promote(inside, candidate, "try-this")
    move(inside, candidate, "Archived")
    inside.client.set_model_version_tag(candidate.name, candidate.version, "note", "x")
    inside.client.delete_model_version_tag(candidate.name, candidate.version, "note")
    inside.client.set_registered_model_tag(candidate.name, "team", "x")
    inside.client.delete_registered_model_alias(candidate.name, "try-this")
    inside.client.rename_registered_model(candidate.name, "renamed")
    inside.client.delete_model_version("renamed", candidate.version)
    inside.client.delete_registered_model("renamed")
    assert not (inside.folder / "mlflow.db.audit.jsonl").exists()

    monkeypatch.setenv(settings.GUARD, "llm-*")
    other = GuardedStore(f"comptrust+sqlite:///{inside.folder}/mlflow.db")
    loose, held = inside.register(BAD, name="churn"), inside.register(BAD, name="LLM-7b")
    other.set_registered_model_alias(loose.name, "champion", loose.version)
    refused(other.set_registered_model_alias, held.name, "champion", held.version)
    refused(other.rename_registered_model, "churn", "llm-churn")


def test_without_a_trusted_key_nothing_passes(inside: World) -> None:
    candidate = a_pass(inside)
    for key in (inside.folder / "keys").iterdir():
        key.unlink()
    assert "This server trusts no key" in refused(promote, inside, candidate)
    write_key(inside.folder / "keys", STRANGER)
    assert "which is not trusted here" in refused(promote, inside, candidate)
    write_key(inside.folder / "keys")
    promote(inside, candidate)


def test_what_cannot_be_logged_is_not_done(inside: World, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = a_pass(inside)
    (inside.folder / "file").write_text("")
    places = {
        settings.EVIDENCE: (inside.folder / "file" / "evidence", "Cannot keep the evidence"),
        settings.AUDIT_LOG: (inside.folder / "file" / "audit.jsonl", "Cannot write the audit log"),
    }
    for variable, (place, message) in places.items():
        monkeypatch.setenv(settings.EVIDENCE, str(inside.folder / "evidence"))
        monkeypatch.setenv(variable, str(place))
        blind = GuardedStore(f"comptrust+sqlite:///{inside.folder}/mlflow.db")
        with pytest.raises(MlflowException, match=message) as error:
            blind.set_registered_model_alias(candidate.name, "champion", candidate.version)
        assert error.value.error_code == "TEMPORARILY_UNAVAILABLE"
        assert inside.promoted(candidate) == []


def test_a_plain_store_on_the_same_database_goes_past_and_the_log_shows_it(
    inside: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate, proven = inside.register(BAD), a_pass(inside)
    promote(inside, proven)
    registry = f"sqlite:///{inside.folder}/mlflow.db"
    command = [
        "audit",
        "--log",
        str(inside.folder / "mlflow.db.audit.jsonl"),
        "--registry",
        registry,
    ]
    assert CliRunner().invoke(comptrust, command).exit_code == 0
    MlflowClient(tracking_uri=registry, registry_uri=registry).set_registered_model_alias(
        candidate.name, "champion", candidate.version
    )
    assert inside.promoted(candidate) == ["champion"]
    result = CliRunner().invoke(comptrust, command)
    assert result.exit_code == 1
    assert f"models:/{candidate.name}/1 is @champion, which the log never granted" in result.output


def test_taking_back_is_two_logged_steps(inside: World) -> None:
    candidate = a_pass(inside)
    promote(inside, candidate)
    move(inside, candidate, "Production")
    assert "in Production" in refused(
        inside.client.delete_model_version, candidate.name, candidate.version
    )
    assert "in Production" in refused(inside.client.delete_registered_model, candidate.name)
    assert "in Production" in refused(
        inside.client.rename_registered_model, candidate.name, "other"
    )
    assert "archive this one first" in refused(
        inside.client.delete_registered_model_alias, candidate.name, "champion"
    )
    move(inside, candidate, "Archived")
    assert "@champion" in refused(
        inside.client.delete_model_version, candidate.name, candidate.version
    )
    inside.client.delete_registered_model_alias(candidate.name, "champion")
    inside.client.delete_model_version(candidate.name, candidate.version)
    inside.client.delete_registered_model(candidate.name)
    assert [line.action for line in log(inside).lines if line.decision == "withdrawn"] == [
        "transition",
        "delete alias",
    ]


def test_prompts_are_no_models_and_stay_prompts(inside: World) -> None:
    name = "greeting"
    inside.client.create_prompt(name)
    inside.client.create_prompt_version(name, "Hello {{you}}")
    inside.client.set_prompt_alias(name, "champion", 1)
    inside.client.set_prompt_alias(name, "production", 1)
    inside.client.delete_prompt_alias(name, "champion")
    assert "made a prompt when it is created" in refused(
        store(inside).delete_registered_model_tag, name, "mlflow.prompt.is_prompt"
    )
    candidate = inside.register(BAD)
    assert "made a prompt when it is created" in refused(
        inside.client.set_registered_model_tag, candidate.name, "mlflow.prompt.is_prompt", "true"
    )
    empty_version = store(inside).create_model_version(
        candidate.name, "dummy-source", tags=[ModelVersionTag("mlflow.prompt.is_prompt", "true")]
    )
    refused(
        inside.client.set_registered_model_alias, candidate.name, "champion", empty_version.version
    )
    assert "speaks for the gate" in refused(
        inside.client.set_registered_model_tag, candidate.name, "comptrust.x", "y"
    )


def test_claims_of_a_pass_need_one(inside: World) -> None:
    candidate = inside.register(BAD)
    inside.gate(candidate)
    inside.client.set_model_version_tag(candidate.name, candidate.version, "verdict", "block")
    refused(
        inside.client.set_model_version_tag, candidate.name, candidate.version, "verdict", "pass"
    )
    refused(inside.client.delete_model_version_tag, candidate.name, candidate.version, "verdict")
    inside.pass_truly(candidate)
    inside.client.set_model_version_tag(candidate.name, candidate.version, "verdict", "pass")
    assert (
        inside.client.get_model_version(candidate.name, candidate.version).tags["verdict"] == "pass"
    )
