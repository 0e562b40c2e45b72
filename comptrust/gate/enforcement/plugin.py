"""The functions that MLflow loads by entry point, in every process that imports it.

They import the rest only when called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI
    from flask import Flask
    from mlflow.store.artifact.artifact_repo import ArtifactRepository
    from mlflow.store.model_registry.abstract_store import AbstractStore


def registry_store(store_uri: str, tracking_uri: str | None = None) -> AbstractStore:
    """Open the guarded registry of a `comptrust+sqlite://`, `+postgresql://` or `+mysql://` URI."""
    from comptrust.gate.enforcement.store import GuardedStore

    return GuardedStore(store_uri, tracking_uri)


def artifact_repository(
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> ArtifactRepository:
    """Open a `comptrust+file://` folder that protects the files of promoted versions."""
    from comptrust.gate.enforcement.frozen import FrozenRepository

    return FrozenRepository(artifact_uri, tracking_uri, registry_uri)


def application() -> FastAPI | Flask:
    """Create the application of `mlflow server --app-name comptrust`."""
    from comptrust.gate.enforcement.application import create_app

    return create_app(accounts=False)


def basic_auth_application() -> FastAPI | Flask:
    """Create the application of `mlflow server --app-name comptrust-basic-auth`."""
    from comptrust.gate.enforcement.application import create_app

    return create_app(accounts=True)
