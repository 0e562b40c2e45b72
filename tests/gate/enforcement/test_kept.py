"""Evidence that outlives its run: what is kept, what stays, and what is said of what is gone."""

from __future__ import annotations

import datetime
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from mlflow.exceptions import MlflowException

from comptrust import digests
from comptrust.cli.app import comptrust
from comptrust.gate.enforcement import audit, evidence_store
from comptrust.gate.enforcement.evidence_store import EvidenceStore, Kept
from comptrust.gate.signing import attestations
from comptrust.workflow import signatures
from tests.support.enforcement.inprocess import a_pass, log, promote
from tests.support.enforcement.server import serve
from tests.support.enforcement.world import (
    BAD,
    GOOD,
    KEY,
    Candidate,
    World,
    raise_for,
    write_key,
    write_policies,
)

LOG, STORE = "mlflow.db.audit.jsonl", "mlflow.db.audit.jsonl.evidence"


def kept(world: World) -> tuple[EvidenceStore, Kept]:
    """Return what the newest grant kept."""
    store = EvidenceStore(world.folder / STORE)
    grants = [line.grant for line in audit.read(world.folder / LOG).lines if line.grant]
    assert grants[-1].evidence is not None
    return store, store.index(grants[-1].evidence)


def audited(world: World, registry: str = "") -> list[str]:
    command = ["audit", "--log", str(world.folder / LOG), "--keys", str(world.folder / "keys")]
    command += ["--registry", registry or f"sqlite:///{world.folder}/mlflow.db"]
    output = CliRunner().invoke(comptrust, command).output
    return [line for line in output.splitlines() if line.startswith("PROBLEM: ")]


def of_run(world: World, run_id: str) -> Path:
    """Return where the files of a run really are."""
    for folder in world.folder.rglob(run_id):
        if (folder / "artifacts").is_dir():
            return folder / "artifacts"
    raise AssertionError(run_id)


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# What is kept


def test_a_promotion_keeps_what_it_rests_on(inside: World) -> None:
    candidate = a_pass(inside)
    promote(inside, candidate)
    store, index = kept(inside)
    assert inside.dense is not None
    assert index.runs == {"candidate": candidate.run_id, "baseline": inside.dense.run_id}
    assert set(index.models) == {candidate.model_id, inside.dense.model_id}
    signed = attestations.read(candidate.evidence / attestations.NAME)
    for role, files in signed.files.items():
        assert {f"{role}/{name}": digest for name, digest in files.items()}.items() <= (
            index.files.items()
        )
    assert "candidate/attestation.json" in index.files
    grant = log(inside).lines[-1].grant
    assert grant is not None and index.files["policy.json"] == grant.policy
    assert not any("safetensors" in name for name in index.files)
    for path in store.folder.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0
        assert path.is_dir() or digests.of_file(path) == path.name
    before = len(list(store.folder.rglob("*")))
    promote(inside, candidate, "challenger")  # another policy, the same files
    assert len(list(store.folder.rglob("*"))) <= before + 4
    assert audited(inside) == []


def test_large_answers_are_named_but_not_kept(
    inside: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_store, "MAX_ANSWER_BYTES", 10)
    promote(inside, a_pass(inside))
    _, index = kept(inside)
    answers = {f"{role}/generations/mmlu.jsonl" for role in ("candidate", "baseline")}
    assert index.left_out.keys() == answers and not answers & index.files.keys()
    assert audited(inside) == []


def test_evidence_that_was_lost_is_kept_again(inside: World) -> None:
    candidate = a_pass(inside)
    promote(inside, candidate)
    shutil.rmtree(inside.folder / STORE)
    assert "the index of its kept evidence is damaged" in audited(inside)[0]
    promote(inside, candidate)  # the same pass, remembered
    assert audited(inside) == []


def test_a_run_that_was_deleted_carries_no_promotion(inside: World) -> None:
    candidate = a_pass(inside)
    assert inside.dense is not None
    inside.client.delete_run(inside.dense.run_id)
    with pytest.raises(MlflowException, match="was deleted. Restore it"):
        promote(inside, candidate)
    inside.client.restore_run(inside.dense.run_id)
    promote(inside, candidate)


def changed(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


@pytest.mark.parametrize("how", [Path.unlink, changed])
@pytest.mark.parametrize("role", ["candidate", "baseline"])
@pytest.mark.parametrize("name", ["scorecard.json", "generations/mmlu.jsonl"])
def test_audit_names_lost_evidence_and_where_it_is_kept(
    inside: World, role: str, name: str, how: Callable[[Path], None]
) -> None:
    promote(inside, a_pass(inside))
    store, index = kept(inside)
    how(of_run(inside, index.runs[role]) / name)
    [problem] = audited(inside)
    state = "is missing" if how is Path.unlink else "was changed"
    assert f"{name} of its {role} (run {index.runs[role]}) {state}" in problem
    assert f"has it: {store.place(index.files[f'{role}/{name}'])}" in problem


def test_audit_reads_the_run_and_not_a_model_laid_over_it(inside: World) -> None:
    promote(inside, a_pass(inside))
    run_id = kept(inside)[1].runs["candidate"]
    answers = of_run(inside, run_id) / "generations" / "mmlu.jsonl"
    client = inside.client
    experiment = client.get_run(run_id).info.experiment_id
    model = client.create_logged_model(experiment, name="generations", source_run_id=run_id)
    client.log_model_artifact(model.model_id, str(answers))
    assert audited(inside) == []
    changed(answers)
    [problem] = audited(inside)
    assert f"generations/mmlu.jsonl of its candidate (run {run_id}) was changed" in problem


def test_a_run_that_two_promotions_rest_on(inside: World) -> None:
    """The same run as candidate of one and sibling of the other, of which less is kept."""
    small = a_pass(inside)
    other = inside.register(GOOD, name=small.name)
    inside.gate(other, siblings=[small])
    promote(inside, other)
    promote(inside, small, "challenger")
    _, index = kept(inside)
    assert index.runs["candidate"] == small.run_id
    assert audited(inside) == []


def test_audit_names_a_damaged_store(inside: World) -> None:
    promote(inside, a_pass(inside))
    store, index = kept(inside)
    place = store.place(index.files["candidate/attestation.json"])
    changed(place)
    [problem] = audited(inside)
    assert f"candidate/attestation.json ({place}) was changed" in problem
    place.unlink()
    [problem] = audited(inside)
    assert f"candidate/attestation.json ({place}) cannot be read" in problem


# What stays


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("kept")
    write_policies(folder)
    write_key(folder / "keys")
    yield from serve(folder, with_auth=False, workers=2)


@pytest.fixture
def champion(world: World) -> Candidate:
    candidate = world.register(GOOD)
    world.gate(candidate)
    world.client.set_registered_model_alias(candidate.name, "champion", candidate.version)
    return candidate


def needed(world: World, candidate: Candidate, role: str) -> Candidate:
    assert world.dense is not None
    return candidate if role == "candidate" else world.dense


def put(world: World, run_id: str, name: str, content: bytes) -> None:
    url = f"{world.base_url}/api/2.0/mlflow-artifacts/artifacts/{world.experiment}"
    raise_for(requests.put(f"{url}/{run_id}/artifacts/{name}", data=content, timeout=60))


@pytest.mark.slow
@pytest.mark.parametrize("role", ["candidate", "baseline"])
def test_runs_and_models_stay(world: World, champion: Candidate, role: str) -> None:
    target, client = needed(world, champion, role), world.client
    for act in (
        lambda: client.delete_run(target.run_id),
        lambda: client.delete_experiment(world.experiment),
        lambda: client.delete_logged_model(target.model_id),
        lambda: client.finalize_logged_model(target.model_id, "FAILED"),
        lambda: client.set_tag(target.run_id, "method", "none"),
        lambda: client.delete_tag(target.run_id, "checkpoint_digest"),
        lambda: client.log_batch(target.run_id, tags=[tag("Suite_Digest", "0")]),
        lambda: world.post("runs/set-tag", {"run_id": target.run_id, "key": "seed", "value": "1"}),
    ):
        with pytest.raises(MlflowException, match="comptrust refused") as error:
            act()
        assert "It is promoted and rests on" in error.value.message
        assert "Archive it and delete its aliases first" in error.value.message
    assert client.get_run(target.run_id).info.lifecycle_stage == "active"
    assert client.get_experiment(world.experiment).lifecycle_stage == "active"
    client.set_tag(target.run_id, "note", "x")
    client.log_metric(target.run_id, "later", 1)
    client.restore_run(target.run_id)
    other = client.create_run(world.experiment).info.run_id
    client.delete_run(other)
    client.restore_run(other)


@pytest.mark.slow
@pytest.mark.parametrize("role", ["candidate", "baseline"])
def test_evidence_stays(world: World, champion: Candidate, role: str) -> None:
    target = needed(world, champion, role)
    folder = of_run(world, target.run_id)
    before = content(folder)
    names = ["scorecard.json", "suite.json", "checkpoint.json", "generations/mmlu.jsonl"]
    names += ["generations/ethics.jsonl"]
    names += ["attestation.json", "verdict.json", "claims.jsonl"] if role == "candidate" else []
    for name in names:
        with pytest.raises(MlflowException, match="comptrust refused to write"):
            put(world, target.run_id, name, b"{}")
        with pytest.raises(requests.HTTPError, match="comptrust refused to write"):
            world.client.log_text(target.run_id, "{}", name)
        upload = f"mlflow/upload-artifact?run_uuid={target.run_id}&path={name}"
        assert world.rest("POST", upload, {"a": 1}, prefix="ajax-api").status_code == 403
    base = f"mlflow-artifacts/artifacts/{world.experiment}"
    for below in ("", "/artifacts", "/artifacts/scorecard.json", "/artifacts/generations"):
        assert world.rest("DELETE", f"{base}/{target.run_id}{below}").status_code == 403
    model = f"{base}/models/{target.model_id}"
    for place in (base, f"{base}/models", model, f"{model}/artifacts/MLmodel"):
        assert world.rest("DELETE", place).status_code == 403
    with pytest.raises(MlflowException, match="comptrust refused to write"):
        world.put(target, "MLmodel", b"evil")
    assert content(folder) == before
    put(world, target.run_id, "report/card.html", b"a page")
    put(world, target.run_id, "report/card.html", b"a newer page")


@pytest.mark.slow
def test_the_gate_may_judge_a_promoted_version_again(world: World, champion: Candidate) -> None:
    first = (champion.evidence / attestations.NAME).read_bytes()
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
    world.gate(champion, policy_name="staging", now=later)
    assert content(of_run(world, champion.run_id))["verdict.json"] == (
        (champion.evidence / "verdict.json").read_bytes()
    )
    put(world, champion.run_id, "claims.jsonl", b"{}")  # of the new verdict, not promoted yet
    with pytest.raises(MlflowException, match="comptrust refused to write"):
        put(world, champion.run_id, attestations.NAME, first)  # an older one
    world.client.set_registered_model_alias(champion.name, "champion", champion.version)
    with pytest.raises(MlflowException, match="comptrust refused to write"):
        put(world, champion.run_id, "claims.jsonl", b"[]")


@pytest.mark.slow
def test_the_gate_command_judges_a_promoted_version_again(
    world: World, champion: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_key(tmp_path)
    private = KEY.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "signing.pem").write_bytes(private)
    (tmp_path / "signing.pem").chmod(0o600)
    monkeypatch.setenv("COMPTRUST_KEYS", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", world.base_url)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", world.base_url)
    assert world.dense is not None
    for name in ("model", "method"):  # the verdict card shows them
        world.client.log_param(champion.run_id, name, "gptq")
    ref, policy = f"models:/{champion.name}/1", str(world.folder / "staging.yaml")
    judgment = signatures.judge_again(
        ref,
        baseline=f"runs:/{world.dense.run_id}",
        policy=policy,
        waivers_file=None,
        record=True,
    )
    assert judgment.verdict.outcome == "pass" and judgment.signature.attestation is not None
    world.client.set_registered_model_alias(champion.name, "champion", champion.version)
    assert audited(world, world.base_url) == []


@pytest.mark.slow
def test_what_was_lost_may_come_back(world: World, champion: Candidate) -> None:
    folder = of_run(world, champion.run_id)
    lost = {name: (folder / name).read_bytes() for name in (attestations.NAME, "scorecard.json")}
    for name in lost:
        (folder / name).unlink()
    assert len(audited(world, world.base_url)) >= len(lost)
    for name, text in lost.items():
        with pytest.raises(MlflowException, match="comptrust refused to write"):
            put(world, champion.run_id, name, b"x" + text)
        put(world, champion.run_id, name, text)
    assert audited(world, world.base_url) == []


@pytest.mark.slow
def test_what_is_no_longer_promoted_may_go(world: World, champion: Candidate) -> None:
    body = {"name": champion.name, "version": champion.version, "stage": "Archived"}
    world.post("model-versions/transition-stage", body)
    alias = {"name": champion.name, "alias": "champion"}
    raise_for(world.rest("DELETE", "mlflow/registered-models/alias", alias))
    put(world, champion.run_id, "scorecard.json", b"{}")
    world.client.delete_run(champion.run_id)


@pytest.mark.slow
def test_another_experiment_is_deleted_as_before(world: World) -> None:
    number = world.client.create_experiment(f"other-{os.getpid()}")
    run_id = world.client.create_run(number).info.run_id
    world.client.log_text(run_id, "x", "a/b.txt")
    raise_for(world.rest("DELETE", f"mlflow-artifacts/artifacts/{number}/{run_id}"))
    world.client.delete_experiment(number)


@pytest.mark.slow
def test_a_huge_attestation_is_not_read(world: World) -> None:
    candidate = world.register(BAD)
    for text in ("[" + "[]," * (1 << 20) + "[]]", "[" * 5000 + "]" * 5000):
        put(world, candidate.run_id, attestations.NAME, text.encode())
        body = {"name": candidate.name, "alias": "champion", "version": candidate.version}
        answer = world.rest("POST", "mlflow/registered-models/alias", body)
        assert answer.status_code == 403
        assert "are not read" in answer.text or "nested too deeply" in answer.text, answer.text
    assert json.loads(answer.text)["error_code"] == "PERMISSION_DENIED"


def tag(key: str, value: str) -> object:
    from mlflow.entities import RunTag

    return RunTag(key, value)
