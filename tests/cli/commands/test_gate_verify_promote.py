"""Signed verdicts on registered versions, through the commands.

A version that was changed, or that no trusted key vouches for, neither verifies nor moves.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from comptrust import claims
from comptrust.cli.app import comptrust
from comptrust.compression import checkpoint as files
from comptrust.errors import ComptrustError
from comptrust.gate import policy
from comptrust.gate.signing import attestations, keys, roles
from comptrust.records import Scorecard
from comptrust.tracking import evaluations, history, registry, runs
from comptrust.trust.run import evaluate
from comptrust.workflow.measuring import Witness
from tests.support import measuring, pins
from tests.support.echo import Echo, Refusing
from tests.support.questions import suite
from tests.support.records import checkpoint_of
from tests.support.served import serving
from tests.support.weights import measured

PRUNED = {"method": "magnitude", "bits": None, "group_size": None}
NAMED = pins.text(*(pins.of_suite(suite(n=n)) for n in (2, 4, 8)))
POLICY = (
    "name: mine\nrules: [{rule: complete}, {rule: max_drop, points: 5, evidence: observed}, {rule:"
    " refusal_shift}]\n"
) + NAMED


def call(line: str, *more: str) -> Result:
    """Run a command; turn our errors into exit code and message, as `main` does."""
    done = CliRunner().invoke(comptrust, [*line.split(), *more])
    if isinstance(done.exception, ComptrustError):
        done.exit_code, done.stderr_bytes = done.exception.exit_code, str(done.exception).encode()
    elif done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@dataclass(frozen=True)
class World:
    """A registry with a dense model, a signed candidate, a signed sibling and trusted keys."""

    folder: Path
    weights: Path
    candidate: registry.Version
    sibling: registry.Version
    dense_run: str

    def artifact(self, run_id: str, name: str) -> Path:
        return self.folder / "artifacts" / "1" / run_id / "artifacts" / name


def registered(
    weights: Path,
    folder: Path,
    *,
    backend: Echo | None = None,
    n: int = 4,
    seal: Path | None = None,
    **recipe: object,
) -> registry.Version:
    """Log a checkpoint with its evaluation as a finished run and register it."""
    checkpoint = measured(checkpoint_of(weights, **(PRUNED | recipe)), weights, dense_bytes=6000)
    witness = Witness(seal=seal)
    ledger = witness.ledger(suite(n=n))
    witness.place(folder)
    card = evaluate(
        backend or Echo("A"),
        suite(n=n),
        out=folder,
        checkpoint_digest=checkpoint.digest,
        ledger=ledger,
    ).scorecard
    (folder / "checkpoint.json").write_text(checkpoint.model_dump_json(indent=2))
    witness.sign(folder, ledger)
    with runs.start(checkpoint.recipe.slug, tags=registry.recipe_tags(checkpoint.recipe)) as run:
        run.recipe(checkpoint.recipe, suite="questions")
        run.checkpoint(checkpoint)
        run.evaluation(folder, card)
        return registry.register(run, checkpoint, card, folder=weights)


def variant(tiny: Path, folder: Path, name: str) -> Path:
    """Return a copy of the model whose bytes are its own."""
    shutil.copytree(tiny, folder / name)
    (folder / name / "note.json").write_text(json.dumps(name))
    return folder / name


@pytest.fixture(scope="module")
def world(
    empty_store: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    shutil.copy(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        for name in (
            "MLFLOW_RUN_ID",
            "MLFLOW_EXPERIMENT_ID",
            "MLFLOW_EXPERIMENT_NAME",
            "MLFLOW_REGISTRY_URI",
            "COMPTRUST_SIGNING_KEY",
        ):
            patch.delenv(name, raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        patch.setenv("COMPTRUST_KEYS", str(folder / "keys"))
        patch.chdir(folder)
        (folder / "mine.yaml").write_text(POLICY)
        runs.client().create_experiment(
            runs.EXPERIMENT, artifact_location=(folder / "artifacts" / "1").as_uri()
        )
        keys.create(folder / "keys")
        dense = registered(variant(tiny, folder, "dense"), folder / "a", method="none")
        weights = variant(tiny, folder, "four")
        candidate = registered(weights, folder / "b")
        sibling = registered(variant(tiny, folder, "eight"), folder / "c", seed=1)
        for version in (sibling, candidate):
            done = call(f"gate {version.ref} --policy mine.yaml --record")
            assert done.exit_code == 0, done.output
        yield World(folder, weights, candidate, sibling, dense.run_id)


def test_gate_signs_and_verify_proves(world: World) -> None:
    done = call(f"gate {world.candidate.ref} --policy mine.yaml --record --json")
    [named] = keys.load_public_keys()
    assert json.loads(done.stdout)["signed"]["key_id"] == named
    done = call(f"verify {world.candidate.ref}")
    assert done.exit_code == 0 and "are as key" in done.stdout
    shown = json.loads(call(f"verify {world.candidate.ref} --json").stdout)
    assert (shown["outcome"], shown["problems"], shown["attestation"]["key_id"]) == (
        "pass",
        [],
        named,
    )
    assert (shown["attestation"]["run_id"], shown["attestation"]["baseline_run_id"]) == (
        world.candidate.run_id,
        world.dense_run,
    )


def test_the_private_key_is_nowhere_but_in_its_file(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    key = keys.signing_key()
    assert key is not None
    raw = key.private_bytes_raw()
    pem = (world.folder / "keys" / keys.PRIVATE).read_bytes().splitlines()[1]
    shown = (
        call(f"gate {world.candidate.ref} --policy mine.yaml --record --json").output
        + call("keys show").output
        + caplog.text
    )
    files = [
        path for path in world.folder.rglob("*") if path.is_file() and path.parent.name != "keys"
    ]
    assert world.artifact(world.candidate.run_id, attestations.NAME) in files
    for secret in (raw, raw.hex().encode(), pem):
        assert secret not in shown.encode()
        assert not [path for path in files if secret in path.read_bytes()]


def resigned(world: World, key: Ed25519PrivateKey | None = None, **changes: object) -> None:
    """Change the candidate's attestation, and sign it again if a key is given."""
    path = world.artifact(world.candidate.run_id, attestations.NAME)
    signed = attestations.read(path).model_copy(update=changes)
    path.write_text((keys.sign(signed, key) if key else signed).model_dump_json(indent=2))


def of_run(name: str, *, dense: bool = False) -> Callable[[World], None]:
    """Return a function that changes one byte of an artifact."""

    def change(world: World) -> None:
        path = world.artifact(world.dense_run if dense else world.candidate.run_id, name)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    return change


def weights(world: World) -> None:
    from mlflow.artifacts import download_artifacts

    path = next(
        Path(download_artifacts(artifact_uri=world.candidate.ref)).rglob("model.safetensors")
    )
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def loader(world: World) -> None:
    from mlflow.artifacts import download_artifacts

    path = Path(download_artifacts(artifact_uri=world.candidate.ref)) / "MLmodel"
    path.write_text(path.read_text() + "code: ../elsewhere\n")


def removed(world: World) -> None:
    world.artifact(world.candidate.run_id, attestations.NAME).unlink()


def garbage(world: World) -> None:
    world.artifact(world.candidate.run_id, attestations.NAME).write_text("{")


def replayed(world: World) -> None:
    shutil.copy(
        world.artifact(world.sibling.run_id, attestations.NAME),
        world.artifact(world.candidate.run_id, attestations.NAME),
    )


def expired(world: World) -> None:
    signed = attestations.read(world.artifact(world.candidate.run_id, attestations.NAME))
    resigned(
        world,
        keys.signing_key(),
        issued=signed.issued - timedelta(days=9),
        expires=signed.issued - timedelta(days=1),
    )


def renamed(world: World) -> None:
    resigned(world, keys.signing_key(), model="another")


def prolonged(world: World) -> None:
    signed = attestations.read(world.artifact(world.candidate.run_id, attestations.NAME))
    resigned(world, expires=signed.expires + timedelta(days=900))


def by_a_stranger(world: World) -> None:
    resigned(world, Ed25519PrivateKey.generate())


def untrusted(world: World) -> None:
    for path in (world.folder / "keys").glob(keys.PUBLIC):
        path.unlink()
    Path("other").mkdir()
    shutil.copy(keys.create(world.folder / "other")[2], world.folder / "keys")


def judged_again_without_a_key(world: World) -> None:
    (world.folder / "keys" / keys.PRIVATE).rename(world.folder / "keys" / "away.pem")
    (world.folder / "strict.yaml").write_text(
        "name: strict\nrules: [{rule: trusted_source, floors: {mmlu: 99}}]\n"
    )
    done = call(f"gate {world.candidate.ref} --policy strict.yaml --record")
    assert done.exit_code == 1 and "signed:  no, there is no signing key" in done.stdout


def only_gates(world: World) -> None:
    """Let the trusted keys sign verdicts, and no evaluations."""
    names = keys.load_public_keys(world.folder / "keys")
    text = "".join(f"'{name}': {{roles: [gate]}}\n" for name in names)
    (world.folder / "keys" / "roles.yaml").write_text(text)


@pytest.fixture
def restored(world: World) -> Iterator[World]:
    """Put back every file that a test changed."""
    kept = world.folder.with_name("kept")
    parts = ("artifacts", "keys")
    for part in parts:
        shutil.copytree(world.folder / part, kept / part)
    yield world
    for part in parts:
        shutil.rmtree(world.folder / part)
        shutil.move(kept / part, world.folder / part)
    shutil.rmtree(kept)


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (weights, 1, "changed: model/model.safetensors was changed since it was signed."),
        (loader, 1, "changed: MLmodel was changed since it was signed."),
        (of_run("scorecard.json"), 1, "changed: scorecard.json was changed"),
        (of_run("suite.json"), 1, "changed: suite.json was changed"),
        (of_run("checkpoint.json"), 1, "changed: checkpoint.json was changed"),
        (of_run("generations/mmlu.jsonl"), 1, "changed: generations/mmlu.jsonl was changed"),
        (of_run("verdict.json"), 1, "changed: verdict.json was changed"),
        (of_run("measurement.json"), 1, "changed: measurement.json was changed"),
        (only_gates, 3, "unverified: The evaluation of the candidate is signed by key"),
        (of_run("scorecard.json", dense=True), 1, "changed: baseline/scorecard.json was changed"),
        (
            of_run("generations/mmlu.jsonl", dense=True),
            1,
            "changed: baseline/generations/mmlu.jsonl was changed",
        ),
        (of_run("attestation.json"), 1, "changed: "),
        (garbage, 1, "changed: It is not what the gate wrote."),
        (prolonged, 1, "changed: attestation.json was changed since key"),
        (replayed, 1, "changed: attestation.json belongs to run"),
        (renamed, 1, "changed: attestation.json belongs to model another"),
        (removed, 3, "unverified: Its verdict is not signed."),
        (expired, 3, "unverified: The signature expired on"),
        (by_a_stranger, 3, "which is not trusted here"),
        (untrusted, 3, "which is not trusted here"),
    ],
)
def test_what_is_not_as_signed_neither_verifies_nor_moves(
    change, code: int, says: str, restored: World
) -> None:
    change(restored)
    version = restored.candidate
    done = call(f"verify {version.ref}")
    assert (done.exit_code, says in done.stdout) == (code, True), done.output
    assert not done.stdout.startswith("verdict")
    moved = call(f"promote {version.name} {version.version} --to production --policy mine.yaml")
    assert moved.exit_code in (1, 2, 3), moved.output
    found = runs.client().get_model_version(version.name, version.version)
    assert (found.current_stage, list(found.aliases)) == ("None", [])


def test_what_was_recorded_under_a_policy_counts_whatever_was_judged_since(
    restored: World,
) -> None:
    judged_again_without_a_key(restored)
    version = restored.candidate
    done = call(f"verify {version.ref}")
    assert done.exit_code == 1 and "changed: verdict.json was changed" in done.stdout
    moved = call(f"promote {version.name} {version.version} --to demo --policy mine.yaml")
    assert moved.exit_code == 0, moved.output
    assert call(f"verify {version.ref}").exit_code == 0
    runs.client().delete_registered_model_alias(version.name, "demo")


def test_a_verdict_that_was_forged_after_signing_does_not_move(restored: World) -> None:
    """The unsigned files agree with each other; only the signature shows the change."""
    version = restored.candidate
    (restored.folder / "strict.yaml").write_text(
        f"name: mine\nrules: [{{rule: trusted_source, floors: {{mmlu: 99}}}}]\n{NAMED}"
    )
    assert call(f"gate {version.ref} --policy strict.yaml --record").exit_code == 1
    path = restored.artifact(version.run_id, attestations.VERDICT)
    path.write_text(path.read_text().replace('"block"', '"pass"'))
    moved = call(f"promote {version.name} {version.version} --to production --policy strict.yaml")
    assert moved.exit_code == 1 and "verdict.json was changed since it was signed" in moved.stdout


def test_a_verdict_signed_under_another_policy_does_not_move(restored: World) -> None:
    version = restored.candidate
    (restored.folder / "strict.yaml").write_text(POLICY.replace("points: 5", "points: 4"))
    moved = call(f"promote {version.name} {version.version} --to staging --policy strict.yaml")
    assert moved.exit_code == 3 and "another policy" in moved.stdout


def test_a_copied_version_is_another_model(restored: World) -> None:
    version = restored.candidate
    copied = runs.client().copy_model_version(version.ref, "famous-model")
    done = call(f"verify models:/famous-model/{copied.version}")
    assert done.exit_code == 1 and f"belongs to model {version.name}" in done.stdout


def test_verify_with_the_signers_public_key_alone(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = shutil.copy(next((world.folder / "keys").glob(keys.PUBLIC)), tmp_path / "signer.pem")
    monkeypatch.setenv("COMPTRUST_KEYS", str(tmp_path / "none"))
    assert call(f"verify {world.candidate.ref}").exit_code == 3
    assert call(f"verify {world.candidate.ref} --keys {public}").exit_code == 0


def test_a_signed_version_moves(world: World) -> None:
    done = call(
        f"promote {world.sibling.name} {world.sibling.version} --to production --policy mine.yaml"
    )
    assert done.exit_code == 0 and "is now in Production with alias champion" in done.stdout, (
        done.output
    )


def test_a_policy_that_guards_no_stage_moves_the_alias_demo_alone(world: World) -> None:
    name, number = world.sibling.name, world.sibling.version
    (world.folder / "shown.yaml").write_text(POLICY + "stages: false\n")
    refused = call(f"promote {name} {number} --to champion --policy shown.yaml")
    assert refused.exit_code == 2 and "guards no stage" in refused.stderr
    done = call(f"gate {world.sibling.ref} --policy shown.yaml --record")
    assert done.exit_code == 0, done.output
    before = runs.client().get_model_version(name, number)
    done = call(f"promote {name} {number} --to demo --policy shown.yaml")
    assert done.exit_code == 0 and "now has alias demo" in done.stdout, done.output
    moved = runs.client().get_model_version(name, number)
    assert sorted(moved.aliases) == sorted([*before.aliases, "demo"])
    assert moved.current_stage == before.current_stage
    # Without a policy, the one named like the target is required.
    other = call(f"promote {name} {number} --to demo")
    assert other.exit_code == 3 and "another policy" in other.stdout
    # What passed as a demo has not passed for a stage, but the verdict under mine was kept.
    later = call(f"promote {name} {number} --to staging --policy mine.yaml")
    assert later.exit_code == 0 and "Policy mine: 6 rules, all pass." in later.stdout, later.output
    assert registry.resolve(world.sibling.ref).tags["policy"] == "mine"


def test_verdicts_are_kept_and_told(restored: World) -> None:
    ref, run_id = restored.candidate.ref, restored.candidate.run_id
    told = json.loads(call(f"history {ref} --json").stdout)
    present = restored.artifact(run_id, attestations.VERDICT)
    before = (present.read_bytes(), registry.resolve(ref))
    # A question leaves nothing behind.
    asked = call(f"gate {ref} --policy literal")
    assert asked.exit_code == 0 and "only what --record keeps is signed" in asked.stdout
    assert (present.read_bytes(), registry.resolve(ref)) == before
    assert json.loads(call(f"history {ref} --json").stdout) == told
    # Another policy's verdict stands beside the first, which still moves the version.
    (restored.folder / "hard.yaml").write_text(
        f"name: hard\nrules: [{{rule: trusted_source, floors: {{mmlu: 99}}}}]\n{NAMED}"
    )
    assert call(f"gate {ref} --policy hard.yaml --record").exit_code == 1
    assert registry.resolve(ref).tags["verdict"] == "block"
    moved = call(f"promote {ref.split('/')[1]} 2 --to production --policy mine.yaml")
    assert moved.exit_code == 0, moved.output
    assert registry.resolve(ref).tags["verdict"] == "pass"
    assert call(f"verify {ref}").exit_code == 0
    events = json.loads(call(f"history {ref} --json").stdout)[len(told) :]
    assert [(event["what"], event["outcome"]) for event in events] == [
        ("verdict", "block"),
        ("promotion", None),
    ]
    assert events[0]["key_id"] and events[1]["place"] == "Production @champion"
    text = call(f"history models:/{ref.split('/')[1]}").stdout
    assert "block under hard" in text and "pass under mine" in text
    # What blocked these bytes blocks them in any other run, whatever was judged since.
    assert any(verdict.outcome == "block" for verdict in history.verdicts(run_id))
    shown = runs.client().get_model_version(*ref.removeprefix("models:/").split("/")).description
    assert shown and shown.startswith("✓ PASS under policy mine")
    model = runs.client().get_registered_model(ref.split("/")[1]).description
    assert model and "champion: [version 2]" in model


def test_a_policy_binds_a_name_to_its_dense_source(world: World) -> None:
    name, dense = world.sibling.name, evaluations.load(f"runs:/{world.dense_run}")
    own = dense.scorecard.checkpoint_digest
    copy = runs.client().copy_model_version(world.sibling.ref, "bound-model")
    for pattern, digest, code in ((name[:3] + "*", "0" * 64, 3), (name, own, 0)):
        sources = {pattern: {"checkpoint": digest}, "bound-*": {"checkpoint": "0" * 64}}
        (world.folder / "bound.yaml").write_text(f"{POLICY}sources: {json.dumps(sources)}\n")
        done = call(f"gate {world.sibling.ref} --policy bound.yaml --record")
        assert done.exit_code == code, done.output
        assert "source " in done.stdout
    # A copy has the same evidence, but another name.
    moved = call(f"promote bound-model {copy.version} --to staging --policy bound.yaml")
    assert moved.exit_code == 3 and "source: The policy binds bound-* to" in moved.stdout
    assert call(f"gate {world.sibling.ref} --policy mine.yaml --record").exit_code == 0


def test_a_signed_champion_is_handed_over(world: World, tmp_path: Path) -> None:
    """The exported folder has the key's attestation and loads with the code of its card."""
    assert (
        call(
            f"promote {world.sibling.name} {world.sibling.version} --to champion --policy mine.yaml"
        ).exit_code
        == 0
    )
    done = call(f"export models:/{world.sibling.name}/champion {tmp_path / 'out'}")
    assert done.exit_code == 0, done.output
    trusted = keys.load_public_keys()
    assert claims.check(tmp_path / "out", trusted=trusted) == ()
    signed = attestations.read(tmp_path / "out" / attestations.NAME)
    [key] = trusted
    assert (signed.key_id, signed.weights) == (key, files.manifest(tmp_path / "out" / "model"))
    policy = ("--policy-digest", signed.verdict.policy_digest)
    proven = call(f"verify {tmp_path / 'out'}", *policy)
    assert proven.exit_code == 0 and signed.verdict.policy_digest in proven.stdout, proven.output
    # A running server is compared with a folder as with a version.
    listed = {"data": [{"id": "tiny", "root": str(tmp_path / "out" / "model")}]}
    with serving(models=listed) as url:
        done = call(f"verify {tmp_path / 'out'} --serving {url} --json")
        facts = {fact["name"]: fact["state"] for fact in json.loads(done.stdout)["serving"]}
        assert (done.exit_code, facts["model"]) == (3, "matches")
        listed["data"][0]["root"] = str(world.folder / "dense")
        done = call(f"verify {tmp_path / 'out'} --serving {url}")
        assert done.exit_code == 1 and "differs: model: judged files" in done.stdout
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"signed by key `{key}`, valid until {signed.expires:%Y-%m-%d}" in card
    lines = [
        line.strip()
        for line in card[card.index("    from transformers") :].splitlines()
        if line.startswith("    ")
    ]
    code = "\n".join(
        [*lines, "print(model(**tokenizer('hello yes', return_tensors='pt')).logits.shape)"]
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "out", capture_output=True, text=True
    )
    assert loaded.stdout == "torch.Size([1, 2, 8])\n", loaded.stderr


def test_a_key_that_is_open_to_others_stops_the_gate_before_it_judges(restored: World) -> None:
    (restored.folder / "keys" / keys.PRIVATE).chmod(0o644)
    before = restored.artifact(restored.candidate.run_id, attestations.VERDICT).read_bytes()
    done = call(f"gate {restored.candidate.ref} --policy literal --record")
    assert done.exit_code == 2 and "chmod 600" in done.stderr
    assert restored.artifact(restored.candidate.run_id, attestations.VERDICT).read_bytes() == before


def test_the_gate_on_files_signs_nothing(world: World) -> None:
    card = world.folder / "b" / "scorecard.json"
    done = call(f"gate {card} --baseline {world.folder / 'a' / 'scorecard.json'} --policy literal")
    assert "signed:  no: only what --record keeps is signed" in done.stdout
    done = call(f"gate {card} --policy literal --record")
    assert done.exit_code == 2 and "gate --record needs models:/NAME/VERSION" in done.stderr
    done = call(
        f"gate {world.candidate.ref} --baseline {world.folder / 'a' / 'scorecard.json'} --policy"
        " literal --record"
    )
    assert "signed:  no, the baseline is a file" in done.stdout
    assert (
        call(f"verify {world.candidate.ref}").exit_code == 1
    )  # the verdict there now is not the signed one
    assert call(f"gate {world.candidate.ref} --policy mine.yaml --record").exit_code == 0


@pytest.fixture
def refusing(world: World, tiny: Path, tmp_path: Path) -> registry.Version:
    """A candidate that refuses three of four questions; the dense source refuses none."""
    return registered(variant(tiny, tmp_path, "refusing"), tmp_path / "d", backend=Refusing("A"))


WAIVE = ("--who", "Ada Lovelace", "--why", "Read all of them", "--until")


def test_a_waiver_is_signed_logged_and_counts_until_its_day(
    refusing: registry.Version, world: World
) -> None:
    gate = f"gate {refusing.ref} --policy mine.yaml --record --json"
    assert call(gate).exit_code == 3
    done = call(f"waive refusal_shift --checkpoint {refusing.ref}", *WAIVE, "2999-01-31")
    assert done.exit_code == 0 and f"runs:/{refusing.run_id}/waivers.json" in done.stdout
    # The page says so at once, although the verdict is the one from before.
    text = runs.client().get_model_version(refusing.name, refusing.version).description or ""
    assert text.startswith("? INCONCLUSIVE") and "refusal_shift, by Ada Lovelace until 2999" in text
    done = call(gate)
    text = runs.client().get_model_version(refusing.name, refusing.version).description or ""
    assert text.startswith("✓ PASS") and "Waived since" not in text
    [finding] = [
        one for one in json.loads(done.stdout)["findings"] if one["rule"] == "refusal_shift"
    ]
    assert done.exit_code == 0 and "Accepted by Ada Lovelace until 2999-01-31" in finding["reason"]
    assert call(f"verify {refusing.ref}").exit_code == 0
    path = world.artifact(refusing.run_id, "waivers.json")
    path.write_text(path.read_text().replace("2999", "3999"))
    done = call(gate)
    assert done.exit_code == 3 and "ignored: it was changed since key" in done.stdout


def test_what_strangers_log_beside_a_verdict_stops_nobody(
    refusing: registry.Version, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.artifact(refusing.run_id, "waivers.json").write_text('[{"rule": "refusal_shift"}]')
    gate = f"gate {refusing.ref} --policy mine.yaml --record"
    done = call(gate)
    assert done.exit_code == 3 and "refusal_shift" in done.stdout
    assert "do not count. waivers.json, waiver 1: field 'checkpoint'" in caplog.text
    log = world.artifact(refusing.run_id, "history")
    (log / "9.event.json").write_text("[")
    (log / "9.verdict.json").write_text("{}")
    assert call(gate).exit_code == 3
    done = call(f"history {refusing.ref}")
    assert done.exit_code == 0 and done.stdout.count("refusal_shift: ") >= 2
    assert "does not count. history/9.event.json: not valid JSON" in caplog.text
    moved = call(f"promote {refusing.name} {refusing.version} --to staging --policy mine.yaml")
    assert moved.exit_code == 3
    done = call(f"waive refusal_shift --checkpoint {refusing.ref}", *WAIVE, "2999-01-31")
    assert done.exit_code == 0
    assert call(gate).exit_code == 0


def test_waivers_in_a_file(refusing: registry.Version, world: World, tmp_path: Path) -> None:
    digest = registry.checkpoint_digest(refusing)
    file = tmp_path / "w.json"
    for number, checkpoint in enumerate(["0" * 64, digest], start=1):
        assert (
            call(
                f"waive refusal_shift --checkpoint {checkpoint} --out {file}", *WAIVE, "2999-01-31"
            ).exit_code
            == 0
        )
        assert len(json.loads(file.read_text())) == number
        done = call(f"gate {refusing.ref} --policy mine.yaml --record --waivers {file}")
        assert done.exit_code == (3 if checkpoint != digest else 0), done.output
    assert call(f"gate {refusing.ref} --policy mine.yaml --record").exit_code == 3


@pytest.mark.parametrize(
    ("line", "until", "says"),
    [
        ("waive complete --checkpoint " + "0" * 64, "2999-01-31", "Waivable rules: refusal_shift"),
        ("waive refusal_shift --checkpoint 0123", "2999-01-31", "64 hex digits"),
        ("waive refusal_shift --checkpoint models:/nobody/1", "2999-01-31", "models:/nobody/1"),
        ("waive refusal_shift --checkpoint " + "0" * 64, "2020-01-31", "is past"),
        ("waive refusal_shift --checkpoint " + "0" * 64, "tomorrow", "tomorrow"),
        (
            "waive refusal_shift --checkpoint " + "0" * 64 + " --out mine.yaml",
            "2999-01-31",
            "mine.yaml",
        ),
    ],
)
def test_a_waiver_that_makes_no_sense_is_refused(
    line: str, until: str, says: str, world: World
) -> None:
    done = call(line, *WAIVE, until)
    assert done.exit_code == 2 and says in done.stderr
    assert not (world.folder / "waivers.json").exists()
    assert (world.folder / "mine.yaml").read_text() == POLICY


def test_keys_commands(tmp_path: Path, world: World) -> None:
    made = json.loads(call(f"keys init --dir {tmp_path / 'k'} --json").stdout)
    shown = json.loads(call(f"keys show --dir {tmp_path / 'k'} --json").stdout)
    assert (shown["trusted"], shown["signing"]) == ([made["key_id"]], made["key_id"])
    assert shown["grants"][made["key_id"]]["roles"] == list(roles.USUAL)
    again = call(f"keys init --dir {tmp_path / 'k'}")
    assert again.exit_code == 2 and "is not overwritten" in again.stderr
    made_p256 = json.loads(call(f"keys init --dir {tmp_path / 'p'} --type p256 --json").stdout)
    shown = json.loads(call(f"keys show --dir {tmp_path / 'p'} --json").stdout)
    assert shown["trusted"] == [made_p256["key_id"]] == [shown["signing"]]
    assert f"signing: {made['key_id']}" in call(f"keys show --dir {tmp_path / 'k'}").stdout


def test_a_scorecard_file_of_the_candidate_is_the_judged_one(world: World) -> None:
    signed = attestations.read(world.artifact(world.candidate.run_id, attestations.NAME))
    card = Scorecard.model_validate_json(
        world.artifact(world.candidate.run_id, "scorecard.json").read_text()
    )
    assert (
        signed.scorecards["candidate"] == signed.verdict.scorecard_digest == card.digest_of_fields()
    )
    assert signed.siblings[world.sibling.ref].keys() == {
        "scorecard.json",
        "suite.json",
        "checkpoint.json",
    }


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        (
            "scorecard.json",
            '"value": 25.0',
            '"value": 75.0',
            "score of mmlu is 75.0 in scorecard.json but 25.0 from its answers",
        ),
        ("scorecard.json", '"value": 25.0', '"value": 1000.0', "not within 0-100"),
        ("scorecard.json", '"n_scored": 4', '"n_scored": 3', "n_scored of mmlu is 3"),
        ("checkpoint.json", '"bytes": ', '"bytes": 1', "in the weight files"),
        ("checkpoint.json", '"dense_bytes": 6000', '"dense_bytes": 99999', "dense_bytes is 99999"),
    ],
)
@pytest.mark.parametrize("dense", [False, True])
def test_the_gate_signs_no_number_that_somebody_edited(
    name: str, old: str, new: str, says: str, dense: bool, restored: World
) -> None:
    if dense and name == "checkpoint.json":
        return  # the files of the baseline are not at hand
    run_id = restored.dense_run if dense else restored.candidate.run_id
    path = restored.artifact(run_id, name)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    if "dense" in new:
        other = restored.artifact(restored.dense_run, name)
        other.write_text(other.read_text().replace('"dense_bytes": 6000', new))
    signed = restored.artifact(restored.candidate.run_id, attestations.NAME)
    before = signed.read_bytes()
    done = call(f"gate {restored.candidate.ref} --policy mine.yaml --record")
    assert (done.exit_code, says in done.stderr) == (2, True), done.output
    assert "\n" not in done.stderr.strip() and signed.read_bytes() == before


def test_a_scorecard_without_answers_is_judged_but_not_signed(restored: World) -> None:
    path = restored.artifact(restored.candidate.run_id, "generations/mmlu.jsonl")
    path.unlink()
    done = call(f"gate {restored.candidate.ref} --policy mine.yaml --record")
    assert "signed:  no, the candidate has no answers of mmlu to score again" in done.stdout
    moved = call(f"promote {restored.candidate.name} {restored.candidate.version} --to staging")
    assert moved.exit_code in (2, 3)


def test_a_dense_model_is_no_candidate(restored: World) -> None:
    done = call(f"gate runs:/{restored.dense_run} --policy mine.yaml --record")
    assert done.exit_code == 3 and "declared dense (method none)" in done.stdout
    Path("allowed.yaml").write_text(f"{POLICY}dense: allowed\n")
    assert call(f"gate runs:/{restored.dense_run} --policy allowed.yaml --record").exit_code == 0


def test_a_block_stands_until_more_is_asked(world: World, tiny: Path, tmp_path: Path) -> None:
    weights, dense = variant(tiny, tmp_path, "asked"), world.folder / "dense"
    (world.folder / "strict.yaml").write_text(
        "name: strict\nrules: [{rule: trusted_source, floors: {mmlu: 99}}]\n"
    )
    for n in (2, 8):
        registered(dense, tmp_path / f"dense-{n}", method="none", n=n)
    narrow = registered(weights, tmp_path / "narrow", n=2)
    assert call(f"gate {narrow.ref} --policy mine.yaml --record").exit_code == 0
    wide = registered(weights, tmp_path / "wide", n=4)
    assert (wide.ref, wide.run_id == narrow.run_id) == (narrow.ref, False)
    assert call(f"gate {wide.ref} --policy strict.yaml --record").exit_code == 1
    # Anybody may let the tag point to the earlier, narrower pass.
    runs.client().set_model_version_tag(
        narrow.name, narrow.version, registry.EVALUATED_BY, narrow.run_id
    )
    promote = f"promote {narrow.name} {narrow.version} --to staging --policy mine.yaml"
    moved = call(promote)
    says = f"earlier_block: The same bytes were blocked before (runs:/{wide.run_id})"
    assert moved.exit_code == 3 and says in moved.stdout, moved.output
    done = call(f"gate {narrow.ref} --policy mine.yaml --record")
    assert done.exit_code == 3 and "earlier_block" in done.stdout
    # A waiver that is only in a file counts for the promotion as it did for the verdict.
    waive = f"waive earlier_block --checkpoint {narrow.ref} --until 2099-01-31 --out w.json"
    assert call(waive, "--who", "Ada", "--why", "the questions were wrong").exit_code == 0
    assert call(f"gate {narrow.ref} --policy mine.yaml --record --waivers w.json").exit_code == 0
    assert call(promote).exit_code == 0
    more = registered(weights, tmp_path / "more", n=8)
    done = call(f"gate {more.ref} --policy mine.yaml --record")
    assert done.exit_code == 3 and "which only a sealed evaluation ends" in done.stdout
    key = keys.signing_key()
    assert key is not None
    rules = policy.load(str(world.folder / "mine.yaml"))
    seal = measuring.sealed(tmp_path / "seal.json", key, suite(n=8), rules)
    more = registered(weights, tmp_path / "sealed", n=8, seal=seal)
    assert call(f"gate {more.ref} --policy mine.yaml --record").exit_code == 0
    assert call(promote).exit_code == 0


def test_regate_judges_what_is_promoted_and_says_what_to_measure(
    restored: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = restored.candidate
    client = runs.client()
    for alias in client.get_registered_model(candidate.name).aliases:
        client.delete_registered_model_alias(candidate.name, alias)
    for version in client.search_model_versions(f"name='{candidate.name}'"):
        client.transition_model_version_stage(candidate.name, version.version, "None")
    done = call(f"regate models:/{candidate.name}")
    assert done.exit_code == 2 and "is promoted. Name one" in done.stderr
    client.set_registered_model_alias(candidate.name, "champion", candidate.version)

    monkeypatch.setenv("COMPTRUST_POLICY_PRODUCTION", str(restored.folder / "mine.yaml"))
    done = call(f"regate models:/{candidate.name} --json")
    result = json.loads(done.stdout)
    assert (done.exit_code, result["outcome"]) == (0, "pass")
    [version] = result["versions"]
    assert version["ref"] == candidate.ref and version["signed"].startswith("by key ")
    assert version["missing"] == [] and version["measure"] is None

    (restored.folder / "strict.yaml").write_text(POLICY.replace(", evidence: observed", ""))
    done = call(f"regate {candidate.ref} --policy strict.yaml")
    assert done.exit_code == 3
    assert "missing: max_drop: Undecided: " in done.stdout
    assert f"mlflow artifacts download --artifact-uri {candidate.ref} --dst-path " in done.stdout
    assert "comptrust register out/" in done.stdout and "--method magnitude" in done.stdout
    assert "--evaluate --suite questions --limit 100% --policy strict.yaml" in done.stdout
    client.delete_registered_model_alias(candidate.name, "champion")


def test_verify_compares_a_running_server(restored: World) -> None:
    engine = evaluations.load(restored.candidate.ref).scorecard.engine
    listed = {"data": [{"id": "tiny", "owned_by": "vllm", "root": str(restored.weights)}]}
    told = {"dtype": engine.get("dtype", "float32"), "version": "0"}
    with serving(models=listed, get_server_info=told) as url:
        done = call(f"verify {restored.candidate.ref} --serving {url} --json")
    shown = json.loads(done.stdout)
    assert done.exit_code == 3 and shown["problems"] == []
    assert {fact["name"]: fact["state"] for fact in shown["serving"]}["model"] == "matches"
    listed["data"][0]["root"] = str(restored.folder / "dense")
    with serving(models=listed) as url:
        done = call(f"verify {restored.candidate.ref} --serving {url}")
    assert done.exit_code == 1 and "differs: model: judged files" in done.stdout
