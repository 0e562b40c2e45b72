"""The guard in process: what it lets through, what it refuses, and that nothing changes between judging and promoting."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersionTag
from mlflow.exceptions import MlflowException

from pipelines.cli import comptrust
from tests.tracking.conftest import empty  # noqa: F401
from tests.validation.enforcement.world import BAD, GOOD, STRANGER, Candidate, World, write_key, write_policies
from validation.enforcement import audit, files, settings
from validation.enforcement.store import GuardedStore


@pytest.fixture
def world(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:  # noqa: F811
    """A guarded registry in a sqlite file, without a server; its files lie beside it."""
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "_MLFLOW_", "COMPTRUST_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    shutil.copy(empty, tmp_path / "mlflow.db")
    write_policies(tmp_path)
    write_key(tmp_path / "keys")
    monkeypatch.setenv(settings.KEYS, str(tmp_path / "keys"))
    for level in settings.LEVELS:
        monkeypatch.setenv(settings.POLICY[level], str(tmp_path / f"{level}.yaml"))
    monkeypatch.chdir(tmp_path)
    return open_world(tmp_path)


def open_world(folder: Path) -> World:
    plain = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(plain)
    client = MlflowClient(tracking_uri=plain, registry_uri=f"comptrust+{plain}")
    found = client.get_experiment_by_name("candidates")
    experiment = found.experiment_id if found else client.create_experiment("candidates", artifact_location=(folder / "artifacts").as_uri())
    return World(folder, client, experiment=experiment)


def store(world: World) -> GuardedStore:
    found = world.client._get_registry_client().store
    assert isinstance(found, GuardedStore)
    return found


def log(world: World) -> audit.Chain:
    return audit.read(world.folder / "mlflow.db.audit.jsonl")


def promote(world: World, candidate: Candidate, alias: str = "champion") -> None:
    world.client.set_registered_model_alias(candidate.name, alias, candidate.version)


def move(world: World, candidate: Candidate, stage: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        world.client.transition_model_version_stage(candidate.name, candidate.version, stage)


def refused(act: Callable[..., object], *args: object) -> str:
    with pytest.raises(MlflowException) as error:
        act(*args)
    assert error.value.error_code == "PERMISSION_DENIED"
    assert error.value.get_http_status_code() == 403
    return error.value.message


def a_pass(world: World, **settings: object) -> Candidate:
    made = world.register(GOOD, **settings)  # type: ignore[arg-type]
    world.gate(made)
    return made


def test_refused_then_allowed_and_both_are_logged(world: World) -> None:
    made = world.register(BAD)
    world.gate(made)
    message = refused(promote, world, made)
    assert message == (
        f"comptrust refused: set alias champion, models:/{made.name}/1. The signed verdict is block. "
        "max_drop: Dropped more than 5 points: mmlu 50.0. Promote another version, or see docs/gate.md."
    )
    world.pass_truly(made)
    promote(world, made)
    move(world, made, "Production")
    assert world.promoted(made) == ["champion", "Production"]
    chain = log(world)
    assert [(line.decision, line.action, line.target) for line in chain.lines] == [
        ("refused", "set alias", "champion"),
        ("granted", "set alias", "champion"),
        ("granted", "transition", "Production"),
    ]
    assert chain.problem is None
    assert {line.user for line in chain.lines} != {None}


def test_what_is_not_guarded_is_as_before(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made = world.register(BAD)
    promote(world, made, "try-this")
    move(world, made, "Archived")
    world.client.set_model_version_tag(made.name, made.version, "note", "x")
    world.client.delete_model_version_tag(made.name, made.version, "note")
    world.client.set_registered_model_tag(made.name, "team", "x")
    world.client.delete_registered_model_alias(made.name, "try-this")
    world.client.rename_registered_model(made.name, "renamed")
    world.client.delete_model_version("renamed", made.version)
    world.client.delete_registered_model("renamed")
    assert not (world.folder / "mlflow.db.audit.jsonl").exists()

    monkeypatch.setenv(settings.GUARD, "llm-*")
    other = GuardedStore(f"comptrust+sqlite:///{world.folder}/mlflow.db")
    loose, held = world.register(BAD, name="churn"), world.register(BAD, name="LLM-7b")
    other.set_registered_model_alias(loose.name, "champion", loose.version)
    refused(other.set_registered_model_alias, held.name, "champion", held.version)
    refused(other.rename_registered_model, "churn", "llm-churn")


def test_without_a_trusted_key_nothing_passes(world: World) -> None:
    made = a_pass(world)
    for key in (world.folder / "keys").iterdir():
        key.unlink()
    assert "This server trusts no key" in refused(promote, world, made)
    write_key(world.folder / "keys", STRANGER)
    assert "which is not trusted here" in refused(promote, world, made)
    write_key(world.folder / "keys")
    promote(world, made)


def test_what_cannot_be_logged_is_not_done(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made = a_pass(world)
    (world.folder / "file").write_text("")
    monkeypatch.setenv(settings.AUDIT_LOG, str(world.folder / "file" / "audit.jsonl"))
    blind = GuardedStore(f"comptrust+sqlite:///{world.folder}/mlflow.db")
    with pytest.raises(MlflowException, match="Cannot write the audit log") as error:
        blind.set_registered_model_alias(made.name, "champion", made.version)
    assert error.value.error_code == "TEMPORARILY_UNAVAILABLE"
    assert world.promoted(made) == []


def test_a_plain_store_on_the_same_database_goes_past_and_the_log_shows_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made, proven = world.register(BAD), a_pass(world)
    promote(world, proven)
    registry = f"sqlite:///{world.folder}/mlflow.db"
    command = ["audit", "--log", str(world.folder / "mlflow.db.audit.jsonl"), "--registry", registry]
    assert CliRunner().invoke(comptrust, command).exit_code == 0
    MlflowClient(tracking_uri=registry, registry_uri=registry).set_registered_model_alias(made.name, "champion", made.version)
    assert world.promoted(made) == ["champion"]
    result = CliRunner().invoke(comptrust, command)
    assert result.exit_code == 1
    assert f"models:/{made.name}/1 is @champion, which the log never granted" in result.output


def test_taking_back_is_two_logged_steps(world: World) -> None:
    made = a_pass(world)
    promote(world, made)
    move(world, made, "Production")
    assert "in Production" in refused(world.client.delete_model_version, made.name, made.version)
    assert "in Production" in refused(world.client.delete_registered_model, made.name)
    assert "in Production" in refused(world.client.rename_registered_model, made.name, "other")
    assert "Archived first" in refused(world.client.delete_registered_model_alias, made.name, "champion")
    move(world, made, "Archived")
    assert "@champion" in refused(world.client.delete_model_version, made.name, made.version)
    world.client.delete_registered_model_alias(made.name, "champion")
    world.client.delete_model_version(made.name, made.version)
    world.client.delete_registered_model(made.name)
    assert [line.action for line in log(world).lines if line.decision == "withdrawn"] == ["transition", "delete alias"]


def test_prompts_are_no_models_and_stay_prompts(world: World) -> None:
    name = "greeting"
    world.client.create_prompt(name)
    world.client.create_prompt_version(name, "Hello {{you}}")
    world.client.set_prompt_alias(name, "champion", 1)
    world.client.set_prompt_alias(name, "production", 1)
    world.client.delete_prompt_alias(name, "champion")
    assert "settled when it is created" in refused(store(world).delete_registered_model_tag, name, "mlflow.prompt.is_prompt")
    made = world.register(BAD)
    assert "settled when it is created" in refused(world.client.set_registered_model_tag, made.name, "mlflow.prompt.is_prompt", "true")
    empty_version = store(world).create_model_version(made.name, "dummy-source", tags=[ModelVersionTag("mlflow.prompt.is_prompt", "true")])
    refused(world.client.set_registered_model_alias, made.name, "champion", empty_version.version)
    assert "speaks for the gate" in refused(world.client.set_registered_model_tag, made.name, "comptrust.x", "y")


def test_claims_of_a_pass_need_one(world: World) -> None:
    made = world.register(BAD)
    world.gate(made)
    world.client.set_model_version_tag(made.name, made.version, "verdict", "block")
    refused(world.client.set_model_version_tag, made.name, made.version, "verdict", "pass")
    refused(world.client.delete_model_version_tag, made.name, made.version, "verdict")
    world.pass_truly(made)
    world.client.set_model_version_tag(made.name, made.version, "verdict", "pass")
    assert world.client.get_model_version(made.name, made.version).tags["verdict"] == "pass"


def meanwhile(world: World, act: Callable[[], object]) -> None:
    """Let something happen after a version was judged and before it is promoted."""
    judge = store(world).guard._judge
    earned = judge.earned

    def judged(*args: object, **settings: object) -> object:
        found = earned(*args, **settings)  # type: ignore[arg-type]
        act()
        return found

    judge.earned = judged  # type: ignore[method-assign,assignment]


def test_files_written_while_it_is_judged(world: World) -> None:
    made = a_pass(world)
    weights = world.files(made) / "model" / "model.safetensors"
    state = weights.stat()

    def swap() -> None:
        weights.write_bytes(b"x" * state.st_size)
        os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns))

    meanwhile(world, swap)
    assert "changed while it was judged" in refused(promote, world, made)
    assert world.promoted(made) == []


def test_another_version_of_that_number_while_it_is_judged(world: World) -> None:
    made = a_pass(world)

    def replace_it() -> None:
        world.client.delete_registered_model(made.name)
        world.register(BAD, name=made.name)

    meanwhile(world, replace_it)
    assert "changed while it was judged" in refused(promote, world, made)


def test_judging_that_fails_promotes_nothing(world: World) -> None:
    made = a_pass(world)

    def fail() -> None:
        raise RuntimeError("out of order")

    meanwhile(world, fail)
    with pytest.raises(MlflowException, match="could not judge this version; nothing was changed"):
        promote(world, made)
    assert log(world).lines[-1].finding == "RuntimeError: out of order"
    assert world.promoted(made) == []


def test_a_promotion_that_the_database_refuses_is_logged_as_failed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made = a_pass(world)
    monkeypatch.setattr("mlflow.store.model_registry.sqlalchemy_store.SqlAlchemyStore.set_registered_model_alias", _broken)
    with pytest.raises(RuntimeError):
        promote(world, made)
    assert [line.decision for line in log(world).lines] == ["granted", "failed"]


def _broken(*args: object) -> None:
    raise RuntimeError("database is gone")


def test_a_sibling_that_was_edited_after_signing(world: World) -> None:
    sibling = world.register(GOOD, name="m", seed=1)
    made = world.register(GOOD, name="m")
    world.gate(made, siblings=[sibling])
    world.client.log_text(
        sibling.run_id, (sibling.evidence / "checkpoint.json").read_text().replace('"seed": 1', '"seed": 2'), "checkpoint.json"
    )
    assert "sibling models:/m/1 was evaluated anew" in refused(promote, world, made)
    world.upload(sibling)
    promote(world, made)


def test_signed_before_it_was_registered(world: World) -> None:
    made = world.register(GOOD)
    world.gate(made, artifact={})
    assert "signed before they were registered" in refused(promote, world, made)


def test_a_link_among_the_files(world: World) -> None:
    made = a_pass(world)
    config = world.files(made) / "model" / "config.json"
    config.rename(world.folder / "config.json")
    config.symlink_to(world.folder / "config.json")
    assert "is a link" in refused(promote, world, made)


def test_a_hash_is_kept_only_while_the_file_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SETTLED_SECONDS", -1.0)
    folder, read = tmp_path / "m", []
    folder.mkdir()
    (folder / "a").write_bytes(b"1234")
    monkeypatch.setattr(files.digests, "of_file", lambda path: read.append(path) or path.read_bytes().hex())
    hasher = files.Hasher()
    first, again = hasher.snapshot(folder), hasher.snapshot(folder)
    assert (len(read), first) == (1, again)
    state = (folder / "a").stat()
    (folder / "a").write_bytes(b"5678")
    os.utime(folder / "a", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert not first.unchanged()
    assert hasher.snapshot(folder).digests == {"a": b"5678".hex()}
    (folder / "b").write_bytes(b"")
    assert not again.unchanged()


def test_a_hash_of_a_file_that_is_just_being_written_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    hasher = files.Hasher()
    hasher.snapshot(tmp_path)
    assert hasher._known == {}


def as_server(world: World, monkeypatch: pytest.MonkeyPatch, **environment: str) -> GuardedStore:
    """Open the store as a server process does."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(files.REGISTRY, f"comptrust+sqlite:///{world.folder}/mlflow.db")
    return GuardedStore(f"comptrust+sqlite:///{world.folder}/mlflow.db")


def test_a_server_promotes_only_what_it_keeps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made = a_pass(world)
    ask = (made.name, "champion", made.version)
    place = {files.DESTINATION: (world.folder / "other").as_uri()}
    assert "does not keep promoted files" in refused(as_server(world, monkeypatch, **place).set_registered_model_alias, *ask)
    place = {files.DESTINATION: f"comptrust+{(world.folder / 'other').as_uri()}"}
    assert "outside this server's artifact folder" in refused(as_server(world, monkeypatch, **place).set_registered_model_alias, *ask)
    vouched = place | {settings.ARTIFACT_ROOTS: (world.folder / "artifacts").as_uri()}
    as_server(world, monkeypatch, **vouched).set_registered_model_alias(*ask)
    assert world.promoted(made) == ["champion"]


def test_a_server_promotes_its_own_folder_but_not_that_of_a_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made = a_pass(world)
    own = as_server(world, monkeypatch, **{files.DESTINATION: f"comptrust+{(world.folder / 'artifacts').as_uri()}"})
    own.set_registered_model_alias(made.name, "champion", made.version)
    inside = world.folder / "artifacts" / made.run_id / "artifacts" / "models" / made.model_id / "artifacts"
    shutil.copytree(world.files(made), inside)
    copy = own.create_model_version(made.name, str(inside), run_id=made.run_id)
    assert "in a run's folder" in refused(own.set_registered_model_alias, made.name, "champion", copy.version)


@pytest.mark.parametrize(
    ("uri", "root", "below"),
    [
        ("s3://bucket/models/m-1", "s3://bucket/models", True),
        ("s3://bucket/models/m-1", "s3://bucket/models/", True),
        ("s3://bucket/models-of-others/m-1", "s3://bucket/models", False),
        ("s3://bucket/models/../evil", "s3://bucket/models", False),
        ("s3://bucket/models/%2e%2e/evil", "s3://bucket/models", False),
        ("file:///vouched/m-1", "/vouched", True),
        ("file:///vouched/../evil", "/vouched", False),
        ("/vouched", "/vouched", False),
        ("s3://vouched/m-1", "/vouched", False),
    ],
)
def test_vouched_places(uri: str, root: str, below: bool) -> None:
    assert files.below(uri, root) is below
