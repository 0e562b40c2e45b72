"""What someone without the signing key can do to a candidate, and how they request promotion."""

from __future__ import annotations

import datetime
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import requests
from mlflow.exceptions import MlflowException

from tests.support.enforcement.world import BAD, GOOD, Candidate, World, raise_for

Make = Callable[[World], Candidate]
Trick = Callable[[World, Candidate], "Candidate | None"]
Route = Callable[[World, Candidate], object]
TODAY = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


# Starting points


def blocked(world: World) -> Candidate:
    """Return a candidate that dropped 50 points, judged and signed as blocked."""
    made = world.register(BAD)
    world.gate(made)
    return made


def unjudged(world: World) -> Candidate:
    """Return a good candidate that was never judged."""
    return world.register(GOOD)


def passed(world: World) -> Candidate:
    """Return a candidate with a true pass, before the trick."""
    made = world.register(GOOD)
    world.gate(made)
    return made


def nothing(world: World, candidate: Candidate) -> None:
    """Do nothing: just request the promotion."""


# How promotion is requested


def rest(path: str, *, prefix: str = "api", **body: Any) -> Route:
    return lambda world, candidate: world.post(
        path, {"name": candidate.name, "version": candidate.version} | body, prefix=prefix
    )


def text(path: str, text: str, **headers: str) -> Route:
    """Post a text of one's own, in which NAME and VERSION stand for the candidate's."""

    def ask(world: World, candidate: Candidate) -> None:
        given = text.replace("NAME", candidate.name).replace("VERSION", candidate.version)
        url = f"{world.base_url}{path}"
        headers_ = {"Content-Type": "application/json"} | headers
        raise_for(requests.post(url, given.encode(), auth=world.auth, headers=headers_, timeout=60))

    return ask


def stage(stage: str, **more: Any) -> Route:
    def ask(world: World, candidate: Candidate) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            world.client.transition_model_version_stage(
                candidate.name, candidate.version, stage, **more
            )

    return ask


def alias(alias: str) -> Route:
    return lambda world, candidate: world.client.set_registered_model_alias(
        candidate.name, alias, candidate.version
    )


champion = alias("champion")


# Tricks: forged claims


def tag_version(key: str, value: str) -> Trick:
    return lambda world, candidate: world.client.set_model_version_tag(
        candidate.name, candidate.version, key, value
    )


def tag_model(key: str, value: str) -> Trick:
    return lambda world, candidate: world.client.set_registered_model_tag(
        candidate.name, key, value
    )


def tag_run(world: World, candidate: Candidate) -> None:
    for key, value in (("verdict", "pass"), ("policy", "production"), ("comptrust.gate", "pass")):
        world.client.set_tag(candidate.run_id, key, value)


def delete_tag(world: World, candidate: Candidate) -> None:
    world.client.set_model_version_tag(candidate.name, candidate.version, "verdict", "block")
    world.client.delete_model_version_tag(candidate.name, candidate.version, "verdict")


def create_with_tags(world: World, candidate: Candidate) -> Candidate:
    tags = {
        "verdict": "pass",
        "Verdict": "pass",
        "policy": "production",
        "comptrust.gate": "granted",
        "evaluated_by": candidate.run_id,
    }
    made = world.client.create_model_version(
        candidate.name,
        f"models:/{candidate.model_id}",
        run_id=candidate.run_id,
        model_id=candidate.model_id,
        tags=tags,
        await_creation_for=None,
    )
    assert not {"verdict", "Verdict", "comptrust.gate"} & made.tags.keys()
    return replace(candidate, version=str(made.version))


def a_pass(world: World, *, name: str | None = None) -> Candidate:
    """Return another candidate, which has passed."""
    made = world.register(GOOD, name=name)
    world.gate(made)
    return made


def point_to_a_pass(world: World, candidate: Candidate) -> Candidate:
    other = a_pass(world)
    world.client.set_model_version_tag(
        candidate.name, candidate.version, "evaluated_by", other.run_id
    )
    return replace(candidate, run_id=other.run_id, evidence=other.evidence)


def log_metrics(world: World, candidate: Candidate) -> None:
    for key, value in (("trust/mmlu", 100.0), ("drop/mmlu", 0.0), ("size/ratio", 4.0)):
        world.client.log_metric(candidate.run_id, key, value)


def log_metrics_from_elsewhere(world: World, candidate: Candidate) -> None:
    run_id = world.client.create_run(world.experiment).info.run_id
    world.client.log_metric(run_id, "trust/mmlu", 100.0, model_id=candidate.model_id)
    world.client.log_metric(run_id, "drop/mmlu", 0.0, model_id=candidate.model_id)


def log_passing_verdict(world: World, candidate: Candidate) -> None:
    verdict = json.loads((candidate.evidence / "verdict.json").read_text())
    for finding in verdict["findings"]:
        finding["outcome"] = "pass"
    world.client.log_text(candidate.run_id, json.dumps(verdict), "verdict.json")


# Tricks: something else under a promoted name


def promoted(world: World, name: str | None = None) -> Candidate:
    made = world.register(GOOD, name=name)
    world.gate(made)
    champion(world, made)
    return made


def rename_into_its_place(world: World, candidate: Candidate) -> None:
    current = promoted(world)
    world.client.rename_registered_model(current.name, f"{current.name}-old")


def rename_with_rest(prefix: str) -> Trick:
    def trick(world: World, candidate: Candidate) -> None:
        current = promoted(world)
        world.post(
            "registered-models/rename",
            {"name": current.name, "new_name": f"{current.name}-old"},
            prefix=prefix,
        )

    return trick


def delete_model_then_recreate(world: World, candidate: Candidate) -> None:
    world.client.delete_registered_model(promoted(world).name)


def delete_version(world: World, candidate: Candidate) -> None:
    current = promoted(world)
    world.client.delete_model_version(current.name, current.version)


def rename_to_read_alike(change: Callable[[str], str]) -> Trick:
    def trick(world: World, candidate: Candidate) -> None:
        world.client.rename_registered_model(candidate.name, change(promoted(world).name))

    return trick


def delete_run(world: World, candidate: Candidate) -> None:
    """Delete and restore the run that says that the version is blocked."""
    world.client.delete_run(candidate.run_id)
    try:
        champion(world, candidate)
    finally:
        world.client.restore_run(candidate.run_id)


def long_tags(world: World, candidate: Candidate) -> None:
    """Fill what a refusal may quote with 4,000 characters of twelve bytes each."""
    emoji = "\N{PILE OF POO}" * 4000
    world.client.set_registered_model_tag(candidate.name, "note", emoji)
    world.client.set_tag(candidate.run_id, "policy", emoji)
    world.client.log_text(candidate.run_id, json.dumps({"key_id": emoji}), "attestation.json")
    set_tag = world.client.set_model_version_tag
    set_tag(candidate.name, candidate.version, "verdict", emoji)


def delete_alias(world: World, candidate: Candidate) -> None:
    world.client.delete_registered_model_alias(promoted(world).name, "champion")


def move_alias(world: World) -> Candidate:
    """Return a blocked candidate beside the champion of the same model."""
    current = promoted(world)
    made = world.register(BAD, name=current.name)
    world.gate(made)
    return made


# Tricks: what a promoted version rests on


def beside_a_champion(act: Callable[[World, Candidate], object]) -> Trick:
    """Do something to the evidence of another version that is promoted, which is refused."""

    def trick(world: World, candidate: Candidate) -> None:
        try:
            act(world, promoted(world))
        except MlflowException as error:
            assert "comptrust refused" in error.message
        else:
            raise AssertionError("The evidence of a promoted version was changed.")

    return trick


def worsen_its_baseline(world: World, champion: Candidate) -> None:
    """Overwrite the scores of the dense model, so that nothing drops below them."""
    assert world.dense is not None
    scores = (world.dense.evidence / "scorecard.json").read_bytes().replace(b"75.0", b"25.0")
    base = f"{world.base_url}/api/2.0/mlflow-artifacts/artifacts/{world.experiment}"
    url = f"{base}/{world.dense.run_id}/artifacts/scorecard.json"
    raise_for(requests.put(url, data=scores, auth=world.auth, timeout=60))


def delete_its_baseline(world: World, champion: Candidate) -> None:
    assert world.dense is not None
    world.client.delete_run(world.dense.run_id)


# Tricks: prompts, and requests that are not promotions


def dress_as_prompt(world: World, candidate: Candidate) -> None:
    for tagged in (
        tag_version("mlflow.prompt.is_prompt", "true"),
        tag_model("mlflow.prompt.is_prompt", "true"),
    ):
        tagged(world, candidate)


def in_a_prompt(world: World) -> Candidate:
    """Return a version with files in a registered model that was created as a prompt."""
    source = blocked(world)
    name = f"prompt-{source.run_id[:8]}"
    world.post(
        "registered-models/create",
        {"name": name, "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]},
    )
    made = world.client.create_model_version(
        name,
        f"models:/{source.model_id}",
        run_id=source.run_id,
        model_id=source.model_id,
        await_creation_for=None,
    )
    return replace(source, name=name, version=str(made.version))


def assistant(world: World, candidate: Candidate) -> None:
    """Let MLflow's assistant run a command, which could write to the database."""
    provider = {"model": "m", "selected": True, "base_url": world.base_url}
    permissions = {"permissions": {"full_access": True}}
    for method, path, body in (
        ("PUT", "config", {"providers": {"ollama": provider | permissions}}),
        ("POST", "message", {"message": "hi"}),
        ("GET", f"sessions/{candidate.run_id}/stream", None),
    ):
        url = f"{world.base_url}/ajax-api/3.0/mlflow/assistant/{path}"
        answer = requests.request(method, url, json=body, auth=world.auth, timeout=60)
        assert answer.status_code == 404, answer.text


def graphql(world: World, candidate: Candidate) -> None:
    given = f'name: "{candidate.name}", version: "{candidate.version}", stage: "Production"'
    query = f"mutation {{ mlflowTransitionModelVersionStage(input: {{{given}}}) {{ name }} }}"
    requests.post(f"{world.base_url}/graphql", json={"query": query}, auth=world.auth, timeout=60)


def create_promoted(world: World, candidate: Candidate) -> None:
    """Send the stage and alias where a version or model is created or updated."""
    more = {
        "current_stage": "Production",
        "stage": "Production",
        "aliases": ["champion"],
        "alias": "champion",
    }
    for path in ("model-versions/create", "registered-models/create"):
        world.rest(
            "POST",
            f"mlflow/{path}",
            {
                "name": candidate.name,
                "source": f"models:/{candidate.model_id}",
                "model_id": candidate.model_id,
            }
            | more,
        )
    for path in ("model-versions/update", "registered-models/update"):
        world.rest(
            "PATCH",
            f"mlflow/{path}",
            {"name": candidate.name, "version": candidate.version, "description": "x"} | more,
        )


def other_methods(world: World, candidate: Candidate) -> None:
    """Send the promotion with methods and headers that only a careless server obeys."""
    body = {
        "name": candidate.name,
        "version": candidate.version,
        "alias": "champion",
        "stage": "Production",
    }
    for path in ("registered-models/alias", "model-versions/transition-stage"):
        for method in ("PUT", "PATCH"):
            world.rest(method, f"mlflow/{path}", body)
        world.rest("GET", f"mlflow/{path}", body, headers={"X-HTTP-Method-Override": "POST"})


def both_stages(world: World, candidate: Candidate) -> None:
    """Pass through harmless stages first, which brings a version no closer to production."""
    stage("Archived")(world, candidate)
    stage("None")(world, candidate)
