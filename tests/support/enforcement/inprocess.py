"""A guarded registry in this process, and helpers to use and inspect it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from comptrust.gate.enforcement import audit
from comptrust.gate.enforcement.store import GuardedStore
from tests.support.enforcement.world import GOOD, Candidate, World


def open_world(folder: Path) -> World:
    plain = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(plain)
    client = MlflowClient(tracking_uri=plain, registry_uri=f"comptrust+{plain}")
    experiment = client.get_experiment_by_name("candidates")
    if experiment is not None:
        return World(folder, client, experiment=experiment.experiment_id)
    place = (folder / "artifacts").as_uri()
    experiment_id = client.create_experiment("candidates", artifact_location=place)
    return World(folder, client, experiment=experiment_id)


def store(world: World) -> GuardedStore:
    guarded = world.client._get_registry_client().store
    assert isinstance(guarded, GuardedStore)
    return guarded


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
    candidate = world.register(GOOD, **settings)  # type: ignore[arg-type]
    world.gate(candidate)
    return candidate
