"""Descriptions in a guarded registry: the server's part is its own, and people's part stays."""

from __future__ import annotations

import datetime
import json

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from mlflow.entities import ExperimentTag, LoggedModelTag

from comptrust.cli.app import comptrust
from comptrust.description import BEGIN, NOTE, others
from comptrust.gate.enforcement import tracking
from comptrust.gate.signing import attestations, keys, waivers
from comptrust.serving_cost import NAME, ServingCost, ServingCosts
from tests.support.enforcement.inprocess import a_pass, promote, refused, store
from tests.support.enforcement.world import BAD, GOOD, KEY, Candidate, World

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


@pytest.mark.parametrize(
    "text",
    ["**PA**SS under poli\u200bcy x", "\u202eSSAP", "\u2705 passed the gate, signed by key 12"],
)
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


def test_what_it_costs_to_serve_is_said_to_be_unverified(inside: World) -> None:
    candidate = inside.register(BAD)
    inside.gate(candidate)
    cost = ServingCost(tokens_per_second=13.3, peak_bytes=10**9, how=FORGED, where="verdict: pass")
    texts = (ServingCosts(model=cost).model_dump_json(), '{"model": "fast"}', " " * 2**18 + "{}")
    shown = []
    for text in texts:
        inside.client.log_text(candidate.run_id, text, NAME)
        inside.client.update_model_version(candidate.name, candidate.version, "ours")
        shown.append(described(inside, candidate))
    said = f"Cost to serve, measured in run {candidate.run_id[:8]}, not verified: generation 13.3"
    assert said in shown[0] and "dense not measured" in shown[0] and "verdict: pass" not in shown[0]
    assert all("Cost to serve" not in text and "BLOCK under" in text for text in shown[1:])


def test_a_waiver_is_shown_before_a_verdict_counts_it(inside: World) -> None:
    candidate = inside.register(GOOD, refuses=True)
    made = inside.gate(candidate)
    assert made and made.verdict.outcome == "inconclusive"
    plain = waivers.Waiver(
        rule="refusal_shift",
        checkpoint=made.verdict.checkpoint_digest,
        who="Ada",
        why="Read all",
        until=datetime.date(2999, 1, 1),
    )
    for key, is_shown in ((Ed25519PrivateKey.generate(), False), (KEY, True)):
        text = waivers.dumps([keys.sign(plain, key)])
        inside.client.log_text(candidate.run_id, text, waivers.NAME)
        inside.client.update_model_version(candidate.name, candidate.version, "")
        told = described(inside, candidate)
        assert told.startswith("? INCONCLUSIVE under policy production")
        assert ("refusal_shift, by Ada until 2999-01-01. Read all" in told) is is_shown


def test_notes_of_experiments_and_logged_models_do_not_imitate(
    inside: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "guarded_store", lambda: store(inside))
    database = f"sqlite:///{inside.folder}/mlflow.db"
    runs = tracking.GuardedTracking(database, (inside.folder / "artifacts").as_uri())
    model = inside.register(BAD).model_id
    for note in ("MLflow.note.content", NOTE):
        forged = ExperimentTag(note, "PASS under policy x"), LoggedModelTag(note, "Verdict: pass")
        kinder = ExperimentTag(note, f"{FORGED}\nours"), LoggedModelTag(note, f"{FORGED}\nours")
        for act, *words in (
            (runs.create_experiment, "forged", None, [forged[0]]),
            (runs.set_experiment_tag, inside.experiment, forged[0]),
            (runs.create_logged_model, inside.experiment, "m", None, [forged[1]]),
            (runs.set_logged_model_tags, model, [forged[1]]),
        ):
            assert "could pass for a verdict" in refused(act, *words)
        runs.set_experiment_tag(inside.experiment, kinder[0])
        runs.set_logged_model_tags(model, [kinder[1], LoggedModelTag("x", "Verdict: pass")])
        assert runs.get_experiment(inside.experiment).tags[note] == "ours"
        assert runs.get_logged_model(model).tags.items() >= {(note, "ours"), ("x", "Verdict: pass")}


def test_history_tells_what_the_log_says(inside: World, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate, other = a_pass(inside), inside.register(BAD)
    promote(inside, candidate)
    refused(promote, inside, other)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{inside.folder}/mlflow.db")

    def told(ref: str, *more: str) -> str:
        done = CliRunner().invoke(comptrust, ["history", ref, *more])
        assert done.exit_code == 0, done.output
        return done.stdout

    events = json.loads(told(f"models:/{candidate.name}", "--json"))
    assert [event["what"] for event in events] == ["verdict", "granted"]
    text = " ".join(told(f"models:/{candidate.name}/1").split())
    assert "granted: set alias champion passes policy production" in text
    text = told(f"models:/{other.name}/1")
    assert "refused: set alias champion" in text and "granted" not in text
    log = inside.folder / "mlflow.db.audit.jsonl"
    log.write_text(log.read_text().replace("refused", "granted"))
    done = CliRunner().invoke(comptrust, ["history", f"models:/{other.name}"])
    assert "is broken at" in str(done.exception)
