"""What strangers log keeps nobody else's version from being promoted, and proves nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comptrust.errors import UserError
from comptrust.gate import earlier
from comptrust.gate.enforcement import lapse, settings
from comptrust.gate.enforcement.store import GuardedStore
from comptrust.gate.evidence import Evidence
from comptrust.gate.signing import keys, roles
from comptrust.models import packaged
from comptrust.workflow import signatures
from tests.support.enforcement import exceptions
from tests.support.enforcement import forgeries as forge
from tests.support.enforcement.inprocess import a_pass, log, promote, refused, store
from tests.support.enforcement.packages import FLAVOR
from tests.support.enforcement.world import BAD, GOOD, KEY, TRUSTED, Candidate, World, write_key

OTHER = Ed25519PrivateKey.generate()
OTHER_ID = keys.key_id(OTHER.public_key())


def digest_of(candidate: Candidate) -> str:
    record = json.loads((candidate.evidence / "checkpoint.json").read_text())
    return str(record["digest"])


def write_roles(world: World, grant: str) -> keys.Trusted:
    """Trust another key with a grant of its own, and return all keys as a gate trusts them."""
    write_key(world.folder / "keys", OTHER)
    usual = f"'{keys.key_id(KEY.public_key())}': {{roles: [evaluate, gate, waive]}}\n"
    (world.folder / "keys" / roles.NAME).write_text(f"{usual}'{OTHER_ID}': {grant}\n")
    return TRUSTED | {OTHER_ID: roles.TrustedKey(OTHER.public_key())}


def unreadable(world: World, victim: Candidate, run_id: str) -> None:
    world.client.log_text(run_id, "x" * (3 << 20), "attestation.json")


def elsewhere(world: World, victim: Candidate, run_id: str) -> None:
    place = world.client.create_experiment("elsewhere", artifact_location="s3://nowhere/at-all")
    world.client.create_run(place, tags={"checkpoint_digest": digest_of(victim)})


def wrong_answers(world: World, victim: Candidate, run_id: str) -> None:
    """Let the gate judge answers to the same bytes that no machine gave."""
    made = world.register(BAD, files=world.files(victim), measured_by=None)
    signed = world.gate(made)
    assert signed is not None and signed.verdict.outcome == "block"
    world.client.set_tag(made.run_id, "checkpoint_digest", digest_of(victim))


def wrong_name(world: World, victim: Candidate, run_id: str) -> None:
    """Let the gate judge a scorecard that names the same bytes, beside other ones."""
    made = world.register(GOOD, measured_by=None)
    card = made.evidence / "scorecard.json"
    card.write_text(card.read_text().replace(digest_of(made), digest_of(victim)))
    world.upload(made)
    signed = world.gate(made)
    assert signed is not None and signed.verdict.outcome == "block"
    world.client.set_tag(made.run_id, "checkpoint_digest", digest_of(victim))


def outside_of_its_role(world: World, victim: Candidate, run_id: str) -> None:
    trusted = write_roles(world, "{roles: [gate], models: [others]}")
    made = world.register(BAD, name="theirs", files=world.files(victim))
    world.gate(made, key=OTHER, trusted=trusted)
    world.client.set_tag(made.run_id, "checkpoint_digest", digest_of(victim))


@pytest.mark.parametrize(
    "act", [unreadable, elsewhere, wrong_answers, wrong_name, outside_of_its_role]
)
def test_what_is_no_signed_block_blocks_nobody(
    inside: World, act: Callable[[World, Candidate, str], None]
) -> None:
    victim = a_pass(inside)
    tags = {"checkpoint_digest": digest_of(victim)}
    act(inside, victim, inside.client.create_run(inside.experiment, tags=tags).info.run_id)
    promote(inside, victim)
    assert inside.promoted(victim) == ["champion"]


def test_a_gate_counts_signed_blocks_only(inside: World) -> None:
    victim, run = inside.register(GOOD), inside.client.create_run(inside.experiment).info.run_id
    unsigned = inside.register(BAD, files=inside.files(victim))
    inside.gate(unsigned, key=None)
    for other in (run, unsigned.run_id):
        inside.client.set_tag(other, "checkpoint_digest", digest_of(victim))
    inside.client.log_text(run, "[", "verdict.json")
    evaluated = signatures.evaluations.load(f"runs:/{victim.run_id}")
    assert len(signatures.blocked(evaluated, {})) == 1
    assert signatures.blocked(evaluated, TRUSTED) == ()
    inside.gate(unsigned)
    [block] = signatures.blocked(evaluated, TRUSTED)
    assert block.ref == f"runs:/{unsigned.run_id}"


def test_a_sibling_that_nobody_measured_is_not_signed(inside: World) -> None:
    victim = inside.register(GOOD)
    sibling, strangers = (
        inside.register(GOOD, name="dense", seed=seed, measured_by=key)
        for seed, key in ((7, KEY), (8, None))
    )
    signed = inside.gate(victim, siblings=[sibling, strangers])
    assert signed is not None
    assert list(signed.siblings) == [f"models:/dense/{sibling.version}"]
    inside.client.delete_model_version(strangers.name, strangers.version)
    promote(inside, victim)


def test_a_strangers_version_hides_no_sibling(inside: World) -> None:
    names = {"name": "tiny"}
    candidate, true = (inside.register(GOOD, seed=seed, **names) for seed in (1, 2))
    copy, broken = (
        inside.register(BAD, files=inside.files(true), measured_by=None, **names) for _ in range(2)
    )
    inside.client.log_text(broken.run_id, "{", "scorecard.json")
    evaluated = signatures.evaluations.load(f"models:/tiny/{candidate.version}")

    def counts(one: signatures.Evaluation) -> bool:
        return not one.ref.endswith(f"/{copy.version}")

    [sibling] = signatures.evaluations.siblings(evaluated, counts=counts)
    assert sibling.ref == f"models:/tiny/{true.version}"


def test_a_key_for_staging_measures_nothing_for_production(
    inside: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = write_roles(inside, "{roles: [evaluate], levels: [staging]}")
    monkeypatch.setenv(settings.POLICY["staging"], str(inside.folder / "production.yaml"))
    guarded = GuardedStore(f"comptrust+sqlite:///{inside.folder}/mlflow.db")
    candidate = inside.register(GOOD, measured_by=OTHER)
    inside.gate(candidate, trusted=trusted)
    guarded.set_registered_model_alias(candidate.name, "challenger", candidate.version)
    ask = (guarded.set_registered_model_alias, candidate.name, "champion", candidate.version)
    assert "may not sign for production" in refused(*ask)


@pytest.mark.parametrize(
    ("path", "content", "named"),
    [
        ("MLmodel", FLAVOR.format("evil"), "model_binary"),
        ("MLmodel", "flavors: {transformers: {}}", "model_binary"),
        ("MLmodel", FLAVOR.format("model, code: code"), "code"),
        ("MLmodel", "flavors: {onnx: {data: model.onnx}}", "onnx"),
        ("MLmodel", "- 1", "content"),
        ("components/tokenizer/tokenizer_config.json", '{"a": 2}', "tokenizer_config.json"),
        ("components/tokenizer/added.json", "{}", "added.json"),
        ("model/adapter_config.json", "{}", "adapter_config.json"),
    ],
)
def test_only_the_judged_folder_is_loaded(
    inside: World, path: str, content: str, named: str
) -> None:
    files = {"model/tokenizer_config.json": '{"a": 1, "is_local": true}'}
    same = {"components/tokenizer/tokenizer_config.json": '{"a": 1}'}
    packaged.check(inside.files(inside.register(GOOD, added=files | same)))
    with pytest.raises(UserError, match=named):
        packaged.check(inside.files(inside.register(GOOD, added=files | same | {path: content})))


def test_a_block_that_was_seen_stands_whatever_becomes_of_its_run(inside: World) -> None:
    blocked = inside.register(BAD)
    inside.gate(blocked)
    verifier = store(inside).guard.verifier
    run = inside.folder / "artifacts" / blocked.run_id / "artifacts"
    verifier.see(run / "attestation.json", run)
    forge.forgotten(inside, blocked)
    less = forge.asked_again(inside, inside.register(GOOD, files=inside.files(blocked)), n=4)
    assert "The same bytes were blocked before" in refused(promote, inside, less)

    # The same evaluation under another policy than the server's changes nothing, nor does text.
    inside.gate(blocked, policy_name="lax")
    verifier.see(run / "attestation.json", run)
    verifier.see(run / "scorecard.json", run)
    assert f"runs:/{blocked.run_id}" in refused(promote, inside, less)
    promote(inside, forge.asked_more(inside, less))


def test_another_evaluation_in_the_blocked_run_replaces_no_block(inside: World) -> None:
    blocked = inside.register(BAD)
    signed = inside.gate(blocked)
    assert signed is not None
    verifier = store(inside).guard.verifier
    run = inside.folder / "artifacts" / blocked.run_id / "artifacts"
    for name in ("attestation.json", "verdict.json"):
        text = (blocked.evidence / name).read_text()
        inside.client.log_text(blocked.run_id, text, f"history/1.{name}")
    ref = f"runs:/{blocked.run_id}"
    # The same evaluation may be judged again, under whatever policy: it is judged by its answers.
    for trusted in ({}, TRUSTED):
        assert signatures.blocked(signatures.evaluations.load(ref), trusted) == ()
    verifier.see(run / "attestation.json", run)
    (run / "scorecard.json").write_text("{}")
    verifier.see(run / "attestation.json", run)  # what is logged once more replaces no answers
    for n in (4, 12):
        forge.asked_again(inside, blocked, n=n)
        for trusted in ({}, TRUSTED):
            [block] = signatures.blocked(signatures.evaluations.load(ref), trusted)
            assert (block.ref, block.generations) == (ref, {})
            evidence = Evidence(signatures.evaluations.load(ref), None, blocked=(block,))
            finding = earlier.check(evidence, trusted)
            assert finding and "are gone" in finding.reason and finding.outcome == "inconclusive"
        assert "The same bytes were blocked before" in refused(promote, inside, blocked)
    # This server has kept the answers, so it can see that all were asked, and more.
    promote(inside, forge.asked_more(inside, blocked))
    assert inside.promoted(blocked) == ["champion"]


def test_a_block_is_forgotten_when_the_servers_policy_lets_the_same_answers_pass(
    inside: World,
) -> None:
    blocked = inside.register(BAD)
    inside.gate(blocked)
    run = inside.folder / "artifacts" / blocked.run_id / "artifacts"
    store(inside).guard.verifier.see(run / "attestation.json", run)
    policy = inside.folder / "production.yaml"
    policy.write_text(policy.read_text().replace("points: 5,", "points: 60,"))
    later = GuardedStore(f"comptrust+sqlite:///{inside.folder}/mlflow.db")
    inside.gate(blocked, now=datetime.now(UTC) + timedelta(seconds=30))
    later.guard.verifier.see(run / "attestation.json", run)
    other = inside.register(BAD, files=inside.files(blocked))
    inside.gate(other)
    later.set_registered_model_alias(other.name, "champion", other.version)


def test_no_other_spelling_of_an_alias_outlives_an_emergency(inside: World) -> None:
    exceptions.name_roles(inside.folder / "keys")
    released = inside.register(BAD)
    inside.gate(released)
    proven = a_pass(inside, name=released.name)
    ends = datetime.now(UTC) + timedelta(seconds=2)
    exceptions.sign(inside, released, until=ends)
    promote(inside, released)
    inside.client.delete_registered_model_alias(released.name, "CHAMPION")
    assert log(inside).lines[-1].decision == "granted"
    assert "has the alias champion" in refused(promote, inside, proven, "Champion")
    time.sleep(max(0.0, (ends - datetime.now(UTC)).total_seconds()) + 0.1)
    lapse.end_due(store(inside))
    assert inside.promoted(released) == []
    promote(inside, proven, "Champion")
    assert inside.promoted(proven) == ["Champion"]


@pytest.mark.parametrize("name", ["Fam", "farn", "FAM "])
def test_a_new_name_reads_like_no_other(inside: World, name: str) -> None:
    inside.client.create_registered_model("fam")
    inside.client.create_registered_model("other")
    for act in (
        lambda: inside.client.create_registered_model(name),
        lambda: inside.client.rename_registered_model("other", name),
    ):
        assert "reads like that of the registered model fam" in refused(act)
    inside.client.rename_registered_model("fam", "clear")
