"""What somebody without the signing key can do to a candidate, and how promotion is asked for
afterwards.
"""

from __future__ import annotations

import datetime
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import requests

from tests.support.enforcement.world import BAD, GOOD, Candidate, World

Make = Callable[[World], Candidate]
Trick = Callable[[World, Candidate], "Candidate | None"]
Route = Callable[[World, Candidate], object]
TODAY = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


# Where it starts


def blocked(world: World) -> Candidate:
    """A candidate that dropped 50 points, judged and signed as such."""
    made = world.register(BAD)
    world.gate(made)
    return made


def unjudged(world: World) -> Candidate:
    """A good candidate that nobody judged."""
    return world.register(GOOD)


def passed(world: World) -> Candidate:
    """A candidate that has a true pass, before the trick."""
    made = world.register(GOOD)
    world.gate(made)
    return made


def nothing(world: World, candidate: Candidate) -> None:
    """No trick: only ask."""


# How promotion is asked for


def rest(path: str, *, prefix: str = "api", **body: Any) -> Route:
    return lambda world, one: world.post(
        path, {"name": one.name, "version": one.version} | body, prefix=prefix
    )


def stage(stage: str, **more: Any) -> Route:
    def ask(world: World, one: Candidate) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            world.client.transition_model_version_stage(one.name, one.version, stage, **more)

    return ask


def alias(alias: str) -> Route:
    return lambda world, one: world.client.set_registered_model_alias(one.name, alias, one.version)


champion = alias("champion")


# Tricks: forged claims


def tag_version(key: str, value: str) -> Trick:
    return lambda world, one: world.client.set_model_version_tag(one.name, one.version, key, value)


def tag_model(key: str, value: str) -> Trick:
    return lambda world, one: world.client.set_registered_model_tag(one.name, key, value)


def tag_run(world: World, one: Candidate) -> None:
    for key, value in (("verdict", "pass"), ("policy", "production"), ("comptrust.gate", "pass")):
        world.client.set_tag(one.run_id, key, value)


def delete_tag(world: World, one: Candidate) -> None:
    world.client.set_model_version_tag(one.name, one.version, "verdict", "block")
    world.client.delete_model_version_tag(one.name, one.version, "verdict")


def create_with_tags(world: World, one: Candidate) -> Candidate:
    tags = {
        "verdict": "pass",
        "Verdict": "pass",
        "policy": "production",
        "comptrust.gate": "granted",
        "evaluated_by": one.run_id,
    }
    made = world.client.create_model_version(
        one.name,
        f"models:/{one.model_id}",
        run_id=one.run_id,
        model_id=one.model_id,
        tags=tags,
        await_creation_for=None,
    )
    assert not {"verdict", "Verdict", "comptrust.gate"} & made.tags.keys()
    return replace(one, version=str(made.version))


def a_pass(world: World) -> Candidate:
    """Another candidate, which has passed."""
    made = world.register(GOOD)
    world.gate(made)
    return made


def point_to_a_pass(world: World, one: Candidate) -> Candidate:
    other = a_pass(world)
    world.client.set_model_version_tag(one.name, one.version, "evaluated_by", other.run_id)
    return replace(one, run_id=other.run_id, evidence=other.evidence)


def log_metrics(world: World, one: Candidate) -> None:
    for key, value in (("trust/mmlu", 100.0), ("drop/mmlu", 0.0), ("size/ratio", 4.0)):
        world.client.log_metric(one.run_id, key, value)


def log_metrics_from_elsewhere(world: World, one: Candidate) -> None:
    run_id = world.client.create_run(world.experiment).info.run_id
    world.client.log_metric(run_id, "trust/mmlu", 100.0, model_id=one.model_id)
    world.client.log_metric(run_id, "drop/mmlu", 0.0, model_id=one.model_id)


def log_passing_verdict(world: World, one: Candidate) -> None:
    verdict = json.loads((one.evidence / "verdict.json").read_text())
    for finding in verdict["findings"]:
        finding["outcome"] = "pass"
    world.client.log_text(one.run_id, json.dumps(verdict), "verdict.json")


# Tricks: another thing in under a promoted name


def promoted(world: World, name: str | None = None) -> Candidate:
    made = world.register(GOOD, name=name)
    world.gate(made)
    champion(world, made)
    return made


def rename_into_its_place(world: World, one: Candidate) -> None:
    held = promoted(world)
    world.client.rename_registered_model(held.name, f"{held.name}-old")


def rename_with_rest(prefix: str) -> Trick:
    def trick(world: World, one: Candidate) -> None:
        held = promoted(world)
        world.post(
            "registered-models/rename",
            {"name": held.name, "new_name": f"{held.name}-old"},
            prefix=prefix,
        )

    return trick


def delete_model_then_recreate(world: World, one: Candidate) -> None:
    world.client.delete_registered_model(promoted(world).name)


def delete_version(world: World, one: Candidate) -> None:
    held = promoted(world)
    world.client.delete_model_version(held.name, held.version)


def delete_alias(world: World, one: Candidate) -> None:
    world.client.delete_registered_model_alias(promoted(world).name, "champion")


def move_alias(world: World) -> Candidate:
    """A blocked candidate beside the champion of the same model."""
    held = promoted(world)
    made = world.register(BAD, name=held.name)
    world.gate(made)
    return made


# Tricks: prompts, and requests that are no promotion


def dress_as_prompt(world: World, one: Candidate) -> None:
    for tagged in (
        tag_version("mlflow.prompt.is_prompt", "true"),
        tag_model("mlflow.prompt.is_prompt", "true"),
    ):
        tagged(world, one)


def in_a_prompt(world: World) -> Candidate:
    """A version with files in a registered model that was created as a prompt."""
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


def graphql(world: World, one: Candidate) -> None:
    given = f'name: "{one.name}", version: "{one.version}", stage: "Production"'
    query = f"mutation {{ mlflowTransitionModelVersionStage(input: {{{given}}}) {{ name }} }}"
    requests.post(f"{world.base_url}/graphql", json={"query": query}, auth=world.auth, timeout=60)


def create_promoted(world: World, one: Candidate) -> None:
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
            {"name": one.name, "source": f"models:/{one.model_id}", "model_id": one.model_id}
            | more,
        )
    for path in ("model-versions/update", "registered-models/update"):
        world.rest(
            "PATCH",
            f"mlflow/{path}",
            {"name": one.name, "version": one.version, "description": "x"} | more,
        )


def other_methods(world: World, one: Candidate) -> None:
    """Send the promotion with methods and headers that only a careless server obeys."""
    body = {"name": one.name, "version": one.version, "alias": "champion", "stage": "Production"}
    for path in ("registered-models/alias", "model-versions/transition-stage"):
        for method in ("PUT", "PATCH"):
            world.rest(method, f"mlflow/{path}", body)
        world.rest("GET", f"mlflow/{path}", body, headers={"X-HTTP-Method-Override": "POST"})


def both_stages(world: World, one: Candidate) -> None:
    """Ask the other stage first: an archived or staged version is no nearer to production."""
    stage("Archived")(world, one)
    stage("None")(world, one)
