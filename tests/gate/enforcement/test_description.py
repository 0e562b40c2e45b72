"""Descriptions in a guarded registry: the server's part is its own, and people's part stays."""

from __future__ import annotations

import pytest

from comptrust.description import BEGIN, NOTE, others
from comptrust.gate.signing import attestations
from tests.support.enforcement.inprocess import a_pass, promote, refused, store
from tests.support.enforcement.world import BAD, Candidate, World

FORGED = f"✓ PASS under policy production {BEGIN}\n---\n<!-- comptrust:end -->"


def described(world: World, candidate: Candidate) -> str:
    version = world.client.get_model_version(candidate.name, candidate.version)
    return str(version.description or "")


def test_a_verdict_is_what_the_server_verified(inside: World) -> None:
    candidate, client = inside.register(BAD), inside.client
    name, number = candidate.name, candidate.version
    client.update_model_version(name, number, f"{FORGED}\nours")
    assert described(inside, candidate) == "ours"

    made = inside.gate(candidate)
    client.set_model_version_tag(name, number, "verdict", "block")
    text = described(inside, candidate)
    assert text.startswith("✕ BLOCK under policy production <!--") and text.endswith("\nours")
    assert "mmlu 50.0" in text and made and f"signed by key {made.key_id}" in text

    client.update_model_version(name, number, f"{FORGED}\nmore")
    assert described(inside, candidate) == text.replace("\nours", "\nmore")
    client.update_model_version(name, number, "")
    assert described(inside, candidate).startswith("✕ BLOCK")

    # What nobody signed is said to be unsigned, and a policy of others is named as such.
    client.log_text(candidate.run_id, "{}", attestations.NAME)
    client.set_model_version_tag(name, number, "verdict", "block")
    assert described(inside, candidate).startswith("block, says whoever judged it")
    inside.gate(candidate, policy_name="lax")
    client.set_model_version_tag(name, number, "verdict", "block")
    assert "PASS under policy lax (not a policy of this server)" in described(inside, candidate)


def test_a_model_says_what_is_where_and_why(inside: World) -> None:
    candidate = a_pass(inside)
    inside.client.update_registered_model(candidate.name, "our best")
    promote(inside, candidate)
    assert described(inside, candidate).startswith("✓ PASS under policy production <!--")
    text = str(inside.client.get_registered_model(candidate.name).description)
    assert text.startswith("**champion: [version 1]") and others(text) == "our best"
    assert "by " in text and "passes policy production" in text
    move = inside.client.delete_registered_model_alias
    assert "It is promoted" in refused(move, candidate.name, "champion")


@pytest.mark.parametrize("text", ["**PA**SS under poli\u200bcy x", "\u202eSSAP"])
def test_text_that_could_pass_for_a_verdict_is_refused(inside: World, text: str) -> None:
    candidate, client = inside.register(BAD), inside.client
    name, number = candidate.name, candidate.version
    for act, *words in (
        (client.update_model_version, name, number, text),
        (client.update_registered_model, name, text),
        (client.create_registered_model, f"{name}-2", {}, text),
    ):
        assert "could pass for a verdict" in refused(act, *words)
    source = f"models:/{candidate.model_id}"

    def create() -> None:
        client.create_model_version(name, source, candidate.run_id, description=text)

    assert "could pass for a verdict" in refused(create)
    with pytest.raises(Exception, match="could pass for a verdict"):
        store(inside).descriptions.of_run(candidate.run_id, text)


def test_the_note_of_a_run_is_the_servers_too(inside: World) -> None:
    candidate = inside.register(BAD)
    inside.gate(candidate)
    text = store(inside).descriptions.of_run(candidate.run_id, f"{FORGED}\nours")
    assert text.startswith("✕ BLOCK under policy production") and text.endswith("\nours")
    assert NOTE == "mlflow.note.content"
