"""What a guarded server does besides promoting.

Promoted files stay, the log names the caller, MLflow's own refusals remain, and what is not guarded
is left alone.
"""

from __future__ import annotations

import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from comptrust.cli.app import comptrust
from comptrust.gate.enforcement import audit
from comptrust.gate.signing import attestations
from tests.support.enforcement.server import USER
from tests.support.enforcement.world import BAD, GOOD, Candidate, World, raise_for

pytestmark = pytest.mark.slow


@pytest.fixture
def champion(world: World) -> Candidate:
    return promote(world)


@pytest.fixture(scope="module")
def promoted(world: World) -> Candidate:
    """One champion for all tests that leave it as it is."""
    return promote(world)


def promote(world: World) -> Candidate:
    candidate = world.register(GOOD)
    world.gate(candidate)
    world.client.set_registered_model_alias(candidate.name, "champion", candidate.version)
    return candidate


def content(world: World, one: Candidate) -> dict[str, bytes]:
    return {
        path.relative_to(world.files(one)).as_posix(): path.read_bytes()
        for path in world.files(one).rglob("*")
        if path.is_file()
    }


def artifact_url(
    world: World, one: Candidate, name: str, *, prefix: str = "api", route: str = "artifacts"
) -> str:
    base = f"{world.base_url}/{prefix}/2.0/mlflow-artifacts/{route}/{world.experiment}"
    return f"{base}/models/{one.model_id}/artifacts/{name}"


@pytest.mark.parametrize("prefix", ["api", "ajax-api"])
@pytest.mark.parametrize(
    "name",
    [
        "model/model.safetensors",
        "MLmodel",
        "model/added.safetensors",
        "model/../MLmodel",
        "model%2Fconfig.json",
    ],
)
def test_promoted_files_cannot_be_written(
    world: World, promoted: Candidate, prefix: str, name: str
) -> None:
    before = content(world, promoted)
    answer = requests.put(
        artifact_url(world, promoted, name, prefix=prefix),
        data=b"evil",
        auth=world.auth,
        timeout=60,
    )
    assert answer.status_code in ((403,) if ".." not in name else (400, 403))
    assert content(world, promoted) == before


@pytest.mark.parametrize("below", ["", "/model", "/model/config.json", "/MLmodel"])
def test_promoted_files_cannot_be_deleted(world: World, promoted: Candidate, below: str) -> None:
    before = content(world, promoted)
    path = (
        f"mlflow-artifacts/artifacts/{world.experiment}/models/{promoted.model_id}/artifacts{below}"
    )
    assert world.rest("DELETE", path).status_code == 403
    assert world.rest("DELETE", f"mlflow-artifacts/artifacts/{world.experiment}").status_code == 403
    assert content(world, promoted) == before


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("mlflow-artifacts:/{below}/model", "among the files of models:/{name}/1, which is"),
        ("mlflow-artifacts:/{below}", "among the files of models:/{name}/1, which is"),
        ("{root}/{below}", "among the files of models:/{name}/1, which is promoted"),
        ("file://{root}/{below}/model", "among the files of models:/{name}/1, which is"),
        ("file://{root}/another", "a second address of this server's artifact folder"),
        ("file://{root}", "a second address of this server's artifact folder"),
        ("file:///", "not a scheme and a path"),
        ("file:///etc", "a folder of the server's machine that no --artifact-root names"),
        ("relative", "not a scheme and a path"),
        ("comptrust+file://{root}/another", "not a scheme and a path"),
        ("mlflow-artifacts:/{experiment}/models/%256d-1/artifacts", "contains '%'"),
        ("mlflow-artifacts:/a//b", "not a scheme and a path"),
        ("mlflow-artifacts:/a/../{below}", "not a scheme and a path"),
    ],
)
def test_no_experiment_keeps_its_artifacts_in_a_second_place(
    world: World, promoted: Candidate, location: str, why: str
) -> None:
    below = f"{world.experiment}/models/{promoted.model_id}/artifacts"
    words = {
        "root": world.folder / "mlartifacts",
        "below": below,
        "experiment": world.experiment,
        "name": promoted.name,
    }
    name = f"inside-{promoted.model_id}"
    with pytest.raises(MlflowException, match="comptrust refused: create experiment") as error:
        world.client.create_experiment(name, artifact_location=location.format(**words))
    assert why.format(**words) in error.value.message
    assert world.client.get_experiment_by_name(name) is None
    line = audit.read(log(world)).lines[-1]
    assert (line.decision, line.action, line.target) == ("refused", "create experiment", name)


def test_an_older_experiment_writes_nothing_among_promoted_files(
    world: World, promoted: Candidate
) -> None:
    before = content(world, promoted)
    database = MlflowClient(tracking_uri=f"sqlite:///{world.folder}/mlflow.db")
    inside = f"mlflow-artifacts:/{world.experiment}/models/{promoted.model_id}/artifacts/model"
    locations = {"proxied": inside, "local": world.files(promoted).as_uri()}
    for kind, location in locations.items():
        experiment = database.create_experiment(
            f"{kind}-{promoted.model_id}", artifact_location=location
        )
        run_id = world.client.create_run(experiment).info.run_id
        path = f"mlflow/upload-artifact?run_uuid={run_id}&path=evil.txt"
        if kind == "proxied":
            with pytest.raises(requests.HTTPError, match="comptrust refused to write"):
                world.client.log_text(run_id, "evil", "config.json")
        else:
            assert world.rest("POST", path, "evil", prefix="ajax-api").status_code == 403
    assert content(world, promoted) == before


def test_an_upload_that_began_before_the_promotion_comes_too_late(world: World) -> None:
    candidate = world.register(GOOD)
    world.gate(candidate)
    before, promoted, answers = content(world, candidate), threading.Event(), []

    def slowly() -> Iterator[bytes]:
        yield b"evil" * 100
        assert promoted.wait(timeout=120)
        yield b"evil" * 100

    def upload() -> None:
        url = artifact_url(world, candidate, "model/model.safetensors")
        answers.append(requests.put(url, data=slowly(), auth=world.auth, timeout=180))

    uploading = threading.Thread(target=upload)
    uploading.start()
    time.sleep(1)
    try:
        world.client.set_registered_model_alias(candidate.name, "champion", candidate.version)
    finally:
        promoted.set()
        uploading.join(timeout=180)
    assert [answer.status_code for answer in answers] == [403]
    assert content(world, candidate) == before


def test_an_archived_version_gives_its_files_back(world: World, champion: Candidate) -> None:
    raise_for(
        world.rest(
            "POST",
            "mlflow/model-versions/transition-stage",
            {"name": champion.name, "version": champion.version, "stage": "Archived"},
        )
    )
    raise_for(
        world.rest(
            "DELETE", "mlflow/registered-models/alias", {"name": champion.name, "alias": "champion"}
        )
    )
    world.put(champion, "MLmodel", b"flavors: {}")
    with pytest.raises(MlflowException, match="MLmodel was changed since it was signed"):
        world.client.set_registered_model_alias(champion.name, "champion", champion.version)


@pytest.mark.parametrize(
    "alias",
    [
        "champion ",
        " champion",
        "cham\u200bpion",
        "champion\x00",
        "champion\n",
        "../champion",
        "v1",
        "latest",
        "",
    ],
)
def test_aliases_that_are_no_names(world: World, alias: str) -> None:
    candidate = world.register(BAD)
    world.rest(
        "POST",
        "mlflow/registered-models/alias",
        {"name": candidate.name, "alias": alias, "version": candidate.version},
    )
    assert world.client.get_model_version(candidate.name, candidate.version).aliases == []


@pytest.mark.parametrize(
    "stage",
    [
        "Production ",
        "Ｐroduction",
        "Рroduction",
        "Prod\u200buction",
        "Deleted_Internal",
        "production\x00",
        "",
    ],
)
def test_stages_that_are_none(world: World, stage: str) -> None:
    candidate = world.register(BAD)
    body = {
        "name": candidate.name,
        "version": candidate.version,
        "stage": stage,
        "archive_existing_versions": False,
    }
    assert world.rest("POST", "mlflow/model-versions/transition-stage", body).status_code >= 400
    assert world.client.get_model_version(candidate.name, candidate.version).current_stage == "None"


def test_what_is_not_guarded_is_as_before(world: World) -> None:
    candidate = world.register(BAD)
    lines = len(audit.read(log(world)).lines)
    world.client.set_registered_model_alias(candidate.name, "try-this", candidate.version)
    world.client.set_model_version_tag(candidate.name, candidate.version, "note", "x")
    world.client.update_model_version(candidate.name, candidate.version, "described")
    assert (
        world.client.get_model_version_by_alias(candidate.name, "try-this").description
        == "described"
    )
    world.put(candidate, "MLmodel", b"changed")
    world.client.delete_registered_model(candidate.name)
    assert len(audit.read(log(world)).lines) == lines


def test_the_log_says_who(world: World, champion: Candidate) -> None:
    line = audit.read(log(world)).lines[-1]
    assert (line.decision, line.model, line.address) == ("granted", champion.name, "127.0.0.1")
    assert line.user == (USER if world.auth else None)


def test_a_header_is_not_an_address(world: World) -> None:
    candidate = world.register(BAD)
    body = {"name": candidate.name, "alias": "champion", "version": candidate.version}
    headers = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    answer = world.rest("POST", "mlflow/registered-models/alias", body, headers=headers)
    assert answer.status_code == 403
    assert audit.read(log(world)).lines[-1].address == "127.0.0.1"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "ajax-api/3.0/mlflow/assistant/config"),
        ("POST", "ajax-api/3.0/mlflow/assistant/message"),
        ("GET", "ajax-api/3.0/mlflow/assistant/sessions/x/stream"),
        ("GET", "AJAX-API/3.0/mlflow/assistant/config"),
        ("POST", "ajax-api/3.0/jobs/"),
        ("GET", "ajax-api/3.0/jobs/x"),
        ("GET", "ajax-api/3.0/mlflow/jobs/x"),
        ("POST", "ajax-api/3.0/mlflow/scorer/invoke"),
        ("POST", "api/3.0/mlflow/scorers/register"),
        ("PUT", "api/3.0/mlflow/scorers/online-config"),
        ("POST", "api/3.0/mlflow/gateway/secrets/create"),
        ("POST", "gateway/mlflow/v1/chat/completions"),
        ("POST", "api/2.0/mlflow/webhooks"),
        ("POST", "ajax-api/2.0/mlflow/runs/create-promptlab-run"),
        ("POST", "api/2.0/mlflow/artifacts/presigned-upload-url"),
        ("GET", "api/3.0/mlflow/mcp-servers"),
        ("GET", "metrics-of-a-later-version"),
    ],
)
def test_routes_that_are_off(world: World, method: str, path: str) -> None:
    answer = requests.request(
        method, f"{world.base_url}/{path}", json={}, auth=world.auth, timeout=60
    )
    assert answer.status_code == 404


@pytest.mark.parametrize("name", ["prod\u3164", "рrod", "größe", "prod\n"])
def test_a_new_model_has_a_name_that_cannot_be_misread(world: World, name: str) -> None:
    candidate = world.register(BAD)
    for path, body in (
        ("registered-models/create", {"name": name}),
        ("registered-models/rename", {"name": candidate.name, "new_name": name}),
    ):
        with pytest.raises(MlflowException, match="may be invisible or look like others"):
            world.post(path, body)


def test_nobody_gets_a_name_by_claiming_it(world: World) -> None:
    candidate = world.register(BAD)
    body = {"name": candidate.name, "alias": "champion", "version": candidate.version}
    url = f"{world.base_url}/api/2.0/mlflow/registered-models/alias"
    answer = requests.post(url, json=body, auth=("admin", "guessed"), timeout=60)
    if world.auth:
        assert answer.status_code == 401
    else:
        assert answer.status_code == 403
        assert audit.read(log(world)).lines[-1].user is None


def test_reading_a_promoted_model_goes_through(
    world: World, champion: Candidate, tmp_path: Path
) -> None:
    query = urllib.parse.urlencode({"name": champion.name, "alias": "champion"})
    answer = world.rest("GET", f"mlflow/registered-models/alias?{query}")
    assert answer.json()["model_version"]["version"] == champion.version
    fetched = world.client.download_artifacts  # the client's own way of reading what it logged
    assert (
        Path(fetched(champion.run_id, "scorecard.json", str(tmp_path))).read_bytes()
        == (champion.evidence / "scorecard.json").read_bytes()
    )


def test_one_long_refusal_stops_nothing(world: World, champion: Candidate) -> None:
    """A tag and a key id of thousands of emoji, each twelve bytes in the log."""
    stranger = world.register(BAD)
    made = world.gate(stranger)
    assert made is not None
    forged = made.model_copy(update={"key_id": "\N{PILE OF POO}" * 5_000}).model_dump_json()
    world.client.log_text(stranger.run_id, forged, attestations.NAME)
    with pytest.raises(MlflowException, match="comptrust refused"):
        world.client.set_model_version_tag(
            stranger.name, stranger.version, "verdict", "\N{PILE OF POO}" * 4_000
        )
    body = {"name": champion.name, "version": champion.version}
    for stage in ("Production", "Archived"):
        answer = world.rest(
            "POST", "mlflow/model-versions/transition-stage", body | {"stage": stage}
        )
        raise_for(answer)
    world.client.set_registered_model_alias(champion.name, "champion", champion.version)
    last = audit.read(log(world)).lines[-1]
    assert (last.decision, last.model) == ("granted", champion.name)


def test_after_all_of_this_the_chain_holds_and_explains_the_registry(
    world: World, champion: Candidate
) -> None:
    command = ["audit", "--log", str(log(world)), "--registry", world.base_url, "--last", "1"]
    command += ["--keys", str(world.folder / "keys")]
    result = CliRunner().invoke(comptrust, command)
    assert result.exit_code == 0, result.output
    assert "the chain holds" in result.output


def log(world: World) -> Path:
    return world.folder / "mlflow.db.audit.jsonl"
