"""Verifying a version: nothing unsigned is believed, and nothing changes before it is promoted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from comptrust import digests
from comptrust.gate.enforcement import files, settings
from comptrust.gate.enforcement.mlflow_internals import ARTIFACT_DESTINATION, REGISTRY_STORE
from comptrust.gate.enforcement.store import GuardedStore
from comptrust.gate.signing import attestations
from tests.support.enforcement.inprocess import a_pass, log, promote, refused, store
from tests.support.enforcement.world import BAD, GOOD, World


def meanwhile(inside: World, act: Callable[[], object]) -> None:
    """Let something happen after a version was judged and before it is promoted."""
    verifier = store(inside).guard.verifier
    verify = verifier.verify

    def verify_then_act(*args: object, **settings: object) -> object:
        proof = verify(*args, **settings)  # type: ignore[arg-type]
        act()
        return proof

    verifier.verify = verify_then_act  # type: ignore[method-assign,assignment]


def test_files_written_while_it_is_judged(inside: World) -> None:
    candidate = a_pass(inside)
    weights = inside.files(candidate) / "model" / "model.safetensors"
    state = weights.stat()

    def swap() -> None:
        weights.write_bytes(b"x" * state.st_size)
        os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns))

    meanwhile(inside, swap)
    assert "changed while it was judged" in refused(promote, inside, candidate)
    assert inside.promoted(candidate) == []


def test_another_version_of_that_number_while_it_is_judged(inside: World) -> None:
    candidate = a_pass(inside)

    def replace_it() -> None:
        inside.client.delete_registered_model(candidate.name)
        inside.register(BAD, name=candidate.name)

    meanwhile(inside, replace_it)
    assert "changed while it was judged" in refused(promote, inside, candidate)


def test_judging_that_fails_promotes_nothing(inside: World) -> None:
    candidate = a_pass(inside)

    def fail() -> None:
        raise RuntimeError("out of order")

    meanwhile(inside, fail)
    with pytest.raises(MlflowException, match="could not judge this version; nothing was changed"):
        promote(inside, candidate)
    assert log(inside).lines[-1].finding == "RuntimeError: out of order"
    assert inside.promoted(candidate) == []


def test_a_promotion_that_the_database_refuses_is_logged_as_failed(
    inside: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = a_pass(inside)
    monkeypatch.setattr(
        "mlflow.store.model_registry.sqlalchemy_store.SqlAlchemyStore.set_registered_model_alias",
        _broken,
    )
    with pytest.raises(RuntimeError):
        promote(inside, candidate)
    assert [line.decision for line in log(inside).lines] == ["granted", "failed"]


def _broken(*args: object) -> None:
    raise RuntimeError("database is gone")


def test_a_sibling_that_was_edited_after_signing(inside: World) -> None:
    sibling = inside.register(GOOD, name="m", seed=1)
    candidate = inside.register(GOOD, name="m")
    inside.gate(candidate, siblings=[sibling])
    inside.client.log_text(
        sibling.run_id,
        (sibling.evidence / "checkpoint.json").read_text().replace('"seed": 1', '"seed": 2'),
        "checkpoint.json",
    )
    assert "sibling models:/m/1 was evaluated again" in refused(promote, inside, candidate)
    inside.upload(sibling)
    promote(inside, candidate)


def test_signed_before_it_was_registered(inside: World) -> None:
    candidate = inside.register(GOOD)
    inside.gate(candidate, artifact={})
    assert "signed before they were registered" in refused(promote, inside, candidate)


def test_evidence_that_is_larger_than_any_is_not_read(inside: World) -> None:
    candidate = a_pass(inside)
    inside.client.log_text(candidate.run_id, "[" + "[],\n" * (5 << 20) + "[]]", attestations.NAME)
    assert "attestation.json has 20 MB" in refused(promote, inside, candidate)


def test_a_link_among_the_files(inside: World) -> None:
    candidate = a_pass(inside)
    config = inside.files(candidate) / "model" / "config.json"
    config.rename(inside.folder / "config.json")
    config.symlink_to(inside.folder / "config.json")
    assert "is a link" in refused(promote, inside, candidate)


def test_a_hash_is_kept_only_while_the_file_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED_SECONDS", -1.0)
    folder, read = tmp_path / "m", []
    folder.mkdir()
    (folder / "a").write_bytes(b"1234")
    monkeypatch.setattr(
        digests, "of_file", lambda path: read.append(path) or path.read_bytes().hex()
    )
    memory = digests.Memory({})
    first, again = files.snapshot(folder, memory), files.snapshot(folder, memory)
    assert (len(read), first) == (1, again)
    state = (folder / "a").stat()
    (folder / "a").write_bytes(b"5678")
    os.utime(folder / "a", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert not first.unchanged()
    assert files.snapshot(folder, memory).digests == {"a": b"5678".hex()}
    (folder / "b").write_bytes(b"")
    assert not again.unchanged()


def test_a_hash_of_a_file_that_is_just_being_written_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    memory = digests.Memory({})
    files.snapshot(tmp_path, memory)
    assert memory._new == {}


def as_server(inside: World, monkeypatch: pytest.MonkeyPatch, **environment: str) -> GuardedStore:
    """Open the store as a server process does."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(REGISTRY_STORE, f"comptrust+sqlite:///{inside.folder}/mlflow.db")
    return GuardedStore(f"comptrust+sqlite:///{inside.folder}/mlflow.db")


def test_a_server_promotes_only_what_it_keeps(
    inside: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = a_pass(inside)
    ask = (candidate.name, "champion", candidate.version)
    place = {ARTIFACT_DESTINATION: (inside.folder / "other").as_uri()}
    assert "does not protect promoted files" in refused(
        as_server(inside, monkeypatch, **place).set_registered_model_alias, *ask
    )
    place = {ARTIFACT_DESTINATION: f"comptrust+{(inside.folder / 'other').as_uri()}"}
    assert "outside this server's artifact folder" in refused(
        as_server(inside, monkeypatch, **place).set_registered_model_alias, *ask
    )
    vouched = place | {settings.ARTIFACT_ROOTS: (inside.folder / "artifacts").as_uri()}
    as_server(inside, monkeypatch, **vouched).set_registered_model_alias(*ask)
    assert inside.promoted(candidate) == ["champion"]


def test_a_server_promotes_its_own_folder_but_not_that_of_a_run(
    inside: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = a_pass(inside)
    own = as_server(
        inside,
        monkeypatch,
        **{ARTIFACT_DESTINATION: f"comptrust+{(inside.folder / 'artifacts').as_uri()}"},
    )
    own.set_registered_model_alias(candidate.name, "champion", candidate.version)
    within = (
        inside.folder
        / "artifacts"
        / candidate.run_id
        / "artifacts"
        / "models"
        / candidate.model_id
        / "artifacts"
    )
    shutil.copytree(inside.files(candidate), within)
    copy = own.create_model_version(candidate.name, str(within), run_id=candidate.run_id)
    assert "in a run's folder" in refused(
        own.set_registered_model_alias, candidate.name, "champion", copy.version
    )


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
