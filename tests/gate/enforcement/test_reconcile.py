"""What `audit --registry` names: each way in which log, registry and files can disagree."""

from __future__ import annotations

import datetime
import os
import shutil
import sqlite3
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from comptrust.cli.app import comptrust
from comptrust.gate.enforcement import audit, audit_files, recheck, settings
from comptrust.gate.enforcement.store import GuardedStore
from comptrust.gate.signing import attestations
from tests.support.enforcement.inprocess import a_pass, log, move, promote, refused, store
from tests.support.enforcement.world import BAD, KEY, STRANGER, Candidate, World, write_key

EMOJI = "\N{PILE OF POO}"


def audited(world: World, *options: str) -> list[str]:
    """Return the problems that the command names; check that its exit code says the same."""
    place = world.folder / "mlflow.db"
    command = ["audit", "--log", f"{place}.audit.jsonl", "--registry", f"sqlite:///{place}"]
    result = CliRunner().invoke(comptrust, [*command, *options])
    problems = [line for line in result.output.splitlines() if line.startswith("PROBLEM: ")]
    assert result.exit_code == (1 if problems else 0), result.output
    assert all(line.isascii() for line in result.output.splitlines())
    return [problem.removeprefix("PROBLEM: ") for problem in problems]


def only(problems: list[str]) -> str:
    assert len(problems) == 1, problems
    return problems[0]


def sql(world: World, statement: str, *values: object) -> None:
    with sqlite3.connect(world.folder / "mlflow.db") as database:
        database.execute(statement, values)
    database.close()


def past(world: World) -> MlflowClient:
    """A client that goes past the gate, as anyone with the database can."""
    uri = f"sqlite:///{world.folder}/mlflow.db"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def champion(world: World) -> Candidate:
    candidate = a_pass(world)
    promote(world, candidate)
    assert audited(world) == []
    return candidate


def test_a_record_holds_what_was_granted(inside: World) -> None:
    candidate = champion(inside)
    line = log(inside).lines[-1]
    assert line.grant is not None and line.level == "production"
    version = inside.client.get_model_version(candidate.name, candidate.version)
    attestation = attestations.read(candidate.evidence / attestations.NAME)
    assert line.grant.source == version.source
    assert line.grant.storage.endswith(f"models/{candidate.model_id}/artifacts")
    assert (line.grant.run_id, line.grant.key_id) == (candidate.run_id, attestation.key_id)
    assert line.grant.attestation == attestation.digest_of_fields()
    assert line.grant.policy == store(inside).settings.policies["production"].digest
    assert line.grant.expires == attestation.expires
    inside.gate(candidate, days=3650)
    promote(inside, candidate)
    line = log(inside).lines[-1]
    assert line.grant is not None
    assert line.grant.expires < attestation.expires + datetime.timedelta(days=1)


@pytest.mark.parametrize("column", ["source", "storage_location"])
def test_a_place_changed_by_sql(inside: World, column: str) -> None:
    candidate, other = champion(inside), inside.register(BAD)
    uri = inside.client.get_logged_model(other.model_id).artifact_location
    sql(inside, f"update model_versions set {column}=? where name=?", uri, candidate.name)
    name = {"source": "source", "storage_location": "storage place"}[column]
    problem = only(audited(inside))
    assert f"models:/{candidate.name}/1 (@champion, granted in record 1): its {name} is" in problem
    assert "archive this version" in problem


def test_files_changed_on_disk(inside: World) -> None:
    candidate = champion(inside)
    (inside.files(candidate) / "model" / "model.safetensors").write_bytes(b"evil")
    assert "changed since they were granted" in only(audited(inside))
    shutil.rmtree(inside.files(candidate))
    assert "cannot be read from here: The folder is gone." in only(audited(inside))


def changed_key(world: World, candidate: Candidate) -> None:
    for key in (world.folder / "keys").iterdir():
        key.unlink()
    write_key(world.folder / "keys", STRANGER)


def changed_by(**changes: object) -> Callable[[World, Candidate], None]:
    def again(world: World, candidate: Candidate) -> None:
        world.gate(candidate, **changes)  # type: ignore[arg-type]

    return again


def lost_evidence(world: World, candidate: Candidate) -> None:
    (world.folder / "artifacts" / candidate.run_id / "artifacts" / attestations.NAME).unlink()


def deleted_run(world: World, candidate: Candidate) -> None:
    world.client.delete_run(candidate.run_id)


def judged_worse(world: World, candidate: Candidate) -> None:
    world.evaluate(candidate, BAD)
    world.gate(candidate)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (changed_key, "which is not trusted here"),
        (changed_by(key=STRANGER), "which is not trusted here"),
        (lost_evidence, "its signed verdict cannot be read from run"),
        (deleted_run, "The run was deleted."),
        (judged_worse, "The signed verdict is block."),
        (changed_by(model="other"), "belongs to model other"),
    ],
)
def test_evidence_that_no_longer_holds(
    inside: World, change: Callable[[World, Candidate], None], named: str
) -> None:
    candidate = champion(inside)
    change(inside, candidate)
    problem = only(audited(inside))
    assert named in problem and f"comptrust gate models:/{candidate.name}/1" in problem


def test_evidence_brought_up_to_date_is_no_difference(inside: World) -> None:
    candidate = champion(inside)
    inside.gate(candidate, days=30)
    assert audited(inside) == []


def test_a_signature_that_has_expired_since(inside: World, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = champion(inside)

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Later:
            return super().now(tz) + datetime.timedelta(days=91)

    clock = types.SimpleNamespace(datetime=Later, UTC=datetime.UTC)
    monkeypatch.setattr(recheck, "datetime", clock)
    problem = only(audited(inside))
    assert "its signature expired on" in problem and "valid when it was granted" in problem
    assert problem.endswith(f"comptrust gate models:/{candidate.name}/1 --record")


def test_an_older_database(inside: World) -> None:
    first = champion(inside)
    shutil.copy(inside.folder / "mlflow.db", inside.folder / "yesterday.db")
    second = a_pass(inside, name=first.name)
    promote(inside, second)
    other = champion(inside)
    shutil.copy(inside.folder / "yesterday.db", inside.folder / "mlflow.db")
    moved, lost = audited(inside)
    assert (
        f"{first.name}/1 is @champion, which record 1 granted before record 2 granted version 2"
        in moved
    )
    assert f"models:/{other.name}/1 is not @champion, which record 3 granted" in lost
    assert all("older database was restored" in problem for problem in (moved, lost))


def test_a_withdrawn_version_put_back(inside: World) -> None:
    candidate = a_pass(inside)
    move(inside, candidate, "Production")
    move(inside, candidate, "Archived")
    sql(inside, "update model_versions set current_stage='Production' where name=?", candidate.name)
    assert "which record 1 granted and record 2 took back" in only(audited(inside))


def replace(world: World, candidate: Candidate) -> None:
    store(world).transition_model_version_stage(
        candidate.name, candidate.version, "production", archive_existing_versions=True
    )


def test_what_mlflow_archives_on_its_own_is_recorded(
    inside: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = a_pass(inside)
    second = a_pass(inside, name=first.name)
    move(inside, first, "Production")

    def fail(*_: object) -> None:
        raise MlflowException("the database is gone")

    with monkeypatch.context() as broken:
        broken.setattr(SqlAlchemyStore, "transition_model_version_stage", fail)
        with pytest.raises(MlflowException, match="the database is gone"):
            replace(inside, second)
    assert inside.promoted(first) == ["Production"] and audited(inside) == []

    replace(inside, second)
    assert (inside.promoted(first), inside.promoted(second)) == ([], ["Production"])
    lines = log(inside).lines
    assert [(line.decision, line.version, line.target) for line in lines] == [
        ("granted", "1", "Production"),
        ("granted", "2", "Production"),
        ("withdrawn", "1", "Archived"),
        ("failed", "2", "Production"),
        ("failed", "1", "Archived"),
        ("granted", "2", "Production"),
        ("withdrawn", "1", "Archived"),
    ]
    assert lines[-1].finding == "archived by the transition of version 2"
    assert audited(inside) == []
    sql(
        inside,
        "update model_versions set current_stage='Production' where name=? and version=1",
        first.name,
    )
    assert "which record 1 granted and record 7 took back" in only(audited(inside))


def test_another_spelling_of_a_version_is_the_same_one(inside: World) -> None:
    candidate = a_pass(inside)
    for stage in ("Production", "Archived"):
        store(inside).transition_model_version_stage(candidate.name, "01", stage, False)
    assert [line.version for line in log(inside).lines] == ["1", "1"]
    assert audited(inside) == []


def test_pushed_out_past_the_server(inside: World) -> None:
    candidate = a_pass(inside)
    move(inside, candidate, "Production")
    sql(inside, "update model_versions set current_stage='Archived' where name=?", candidate.name)
    assert "pushed out without a record" in only(audited(inside))
    move(inside, candidate, "Archived")
    assert audited(inside) == []


@pytest.mark.parametrize("kind", ["alias", "stage"])
@pytest.mark.parametrize("then", ["again", "back"])
def test_killed_between_the_grant_and_the_database(inside: World, kind: str, then: str) -> None:
    candidate = a_pass(inside)

    def request() -> None:
        guarded = GuardedStore(f"comptrust+sqlite:///{inside.folder}/mlflow.db")
        if kind == "alias":
            guarded.set_registered_model_alias(candidate.name, "champion", "1")
        else:
            guarded.transition_model_version_stage(candidate.name, "1", "Production", False)

    child = os.fork()
    if child == 0:

        def die(*_: object) -> None:
            os._exit(9)

        SqlAlchemyStore.set_registered_model_alias = die  # type: ignore[method-assign]
        SqlAlchemyStore.transition_model_version_stage = die  # type: ignore[method-assign]
        try:
            request()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert inside.promoted(candidate) == []
    assert "The grant never reached the database" in only(audited(inside))
    if then == "again":
        request()
        assert len(inside.promoted(candidate)) == 1
    elif kind == "alias":
        inside.client.delete_registered_model_alias(candidate.name, "champion")
    else:
        move(inside, candidate, "Archived")
    assert audited(inside) == []


def test_the_log_says_what_its_server_guards(
    inside: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as server:
        server.setenv(settings.GUARD_ALIASES, "prod-*=production")
        server.setenv(settings.GUARD, "model-*")
        guarded = GuardedStore(f"comptrust+sqlite:///{inside.folder}/mlflow.db")
        candidate, other = a_pass(inside), inside.register(BAD)
        guarded.set_registered_model_alias(candidate.name, "prod-eu", candidate.version)
    loose = inside.register(BAD, name="loose")
    assert log(inside).lines[-1].level == "production"
    past(inside).set_registered_model_alias(loose.name, "champion", loose.version)
    assert audited(inside) == []
    past(inside).set_registered_model_alias(other.name, "Prod-US", other.version)
    assert f"models:/{other.name}/1 is @Prod-US, which the log never" in only(audited(inside))


def test_one_long_refusal_stops_nothing(inside: World) -> None:
    candidate, stranger = champion(inside), inside.register(BAD)
    made = inside.gate(stranger)
    assert made is not None
    forged = made.model_copy(update={"key_id": EMOJI * 5_000}).model_dump_json()
    inside.client.log_text(stranger.run_id, forged, attestations.NAME)
    tag = (stranger.name, stranger.version, "verdict", EMOJI * 4_000)
    refused(inside.client.set_model_version_tag, *tag)
    refused(promote, inside, stranger)
    for guarded in (store(inside), GuardedStore(f"comptrust+sqlite:///{inside.folder}/mlflow.db")):
        guarded.set_registered_model_alias(candidate.name, "champion", candidate.version)
        guarded.transition_model_version_stage(candidate.name, "1", "Production", False)
        guarded.transition_model_version_stage(candidate.name, "1", "Archived", False)
    assert audited(inside) == []
    assert max(map(len, (inside.folder / "mlflow.db.audit.jsonl").open())) < 16_000


def test_promotions_across_a_new_file(inside: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_FILE_BYTES", 1)
    candidate = champion(inside)
    move(inside, candidate, "Production")
    move(inside, candidate, "Archived")
    inside.client.delete_registered_model_alias(candidate.name, "champion")
    move(inside, candidate, "Staging")
    path = inside.folder / "mlflow.db.audit.jsonl"
    assert len(audit_files.parts(path)) == 5
    assert audited(inside) == []

    path.rename(path.with_name(f"{path.name}.1"))  # as other programs rotate
    problems = audited(inside)
    assert problems[0].startswith("the chain is broken at record 5: it is missing")
    promote(inside, candidate)
    assert audited(inside)[0].startswith("the chain is broken at record 5 (line 5) does not follow")


def test_names_from_outside_stay_on_their_line(inside: World) -> None:
    candidate = inside.register(BAD)
    refused(promote, inside, candidate)
    name = "m\n   99 2026-01-01 granted admin set alias\x1b[31m\u202e"
    past(inside).create_registered_model(name)
    version = past(inside).create_model_version(name, f"models:/{candidate.model_id}")
    past(inside).set_registered_model_alias(name, "champion", version.version)
    assert r"models:/m\n   99 2026-01-01 granted" in only(audited(inside))


def test_a_log_of_0_1_0_is_compared_as_far_as_it_says(inside: World) -> None:
    """Its records hold names and numbers only; the signed verdict says which files they had."""
    candidate = champion(inside)
    record = log(inside).lines[0].model_copy(update=dict.fromkeys(("level", "grant", "guards")))
    record = record.model_copy(update={"hash": record.true_hash()})
    path = inside.folder / "mlflow.db.audit.jsonl"
    path.write_text(record.model_dump_json() + "\n")
    audit_files.head_path(path).unlink()
    assert "before the log said what it granted" in only(audited(inside))
    uri = inside.client.get_logged_model(inside.register(BAD).model_id).artifact_location
    sql(inside, "update model_versions set storage_location=? where name=?", uri, candidate.name)
    assert "changed since they were granted" in audited(inside)[0]


def test_an_alias_of_a_version_that_does_not_exist(inside: World) -> None:
    candidate = champion(inside)
    sql(inside, "update registered_model_aliases set version=9 where name=?", candidate.name)
    assert f"models:/{candidate.name}/9 is @champion, but does not exist" in only(audited(inside))
    inside.client.delete_registered_model_alias(candidate.name, "champion")
    assert audited(inside) == []


@pytest.mark.parametrize("stage", [False, True])
def test_dressed_as_a_prompt_past_the_server(inside: World, stage: bool) -> None:
    """MLflow does not list prompts among models; a tag is enough to be one."""
    granted = champion(inside)
    inside.client.create_prompt("greeting")
    inside.client.create_prompt_version("greeting", "Hello {{you}}")
    inside.client.set_prompt_alias("greeting", "champion", 1)
    bad = inside.register(BAD)
    if stage:
        statement = "update model_versions set current_stage='Production' where name=?"
        sql(inside, statement, bad.name)
    else:
        past(inside).set_registered_model_alias(bad.name, "champion", "1")
    registry = past(inside)._get_registry_client()
    for name in (bad.name, granted.name):
        registry.set_model_version_tag(name, "1", "mlflow.prompt.is_prompt", "true")
        registry.set_registered_model_tag(name, "mlflow.prompt.is_prompt", "true")
    assert f"models:/{bad.name}/1 is " in only(audited(inside))


def test_another_key_for_the_auditor(inside: World, tmp_path: Path) -> None:
    champion(inside)
    write_key(tmp_path / "others", STRANGER)
    assert "not trusted here" in only(audited(inside, "--keys", str(tmp_path / "others")))
    write_key(tmp_path / "mine", KEY)
    assert audited(inside, "--keys", str(tmp_path / "mine")) == []
