"""The tracking store: where it is, and a client of it that is known to answer."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from comptrust.errors import ServiceError, UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROBE_SECONDS = 5
SECRETS = re.compile(r"PASSWORD$|SECRET|TOKEN$|API_KEY$")
"""Names of environment variables whose values are shown to nobody."""


def project_root() -> Path:
    """Return the project's root: the nearest folder upwards with an MLproject, else the current
    one.
    """
    here = Path.cwd().resolve()
    return next(
        (folder for folder in (here, *here.parents) if (folder / "MLproject").is_file()), here
    )


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, or the sqlite file in the project's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project_root() / 'mlflow.db'}"


def redacted(text: str) -> str:
    """Return a text without credentials: those of URIs, and the values of secret environment
    variables.

    >>> redacted("postgresql://me:hidden@db/mlflow failed")
    'postgresql://me:***@db/mlflow failed'
    """
    for name, value in os.environ.items():
        if SECRETS.search(name) and len(value) >= 6:
            text = text.replace(value, "***")
    return re.sub(r"(\w://[^\s/:@]*):[^\s/@]+@", r"\1:***@", text)


def shown_uri() -> str:
    """Return the tracking URI without its credentials."""
    return redacted(tracking_uri())


def client() -> MlflowClient:
    """Return a client of the tracking store, known to answer.

    Raises ServiceError within seconds if it does not.
    """
    return _client(tracking_uri())


@cache
def _client(uri: str) -> MlflowClient:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault(
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"
    )  # it would print the credentials of the URI
    if uri.startswith(("http://", "https://")):
        _probe(uri)
    import mlflow

    for name in ("alembic", "mlflow.tracking", "mlflow.transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("mlflow.store").setLevel(
        logging.CRITICAL
    )  # it logs the traceback of every failure that it raises
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(os.environ.get("MLFLOW_REGISTRY_URI", uri))
    with service():
        try:
            if uri.startswith(("postgresql", "mysql")):
                _connect(uri)
            found = mlflow.MlflowClient()
            found.search_experiments(max_results=1)
        except ImportError as error:
            raise ServiceError(
                f"The tracking store {redacted(uri)} needs a package that is not installed:"
                f" {error.name}."
            ) from error
    return found


def _probe(uri: str) -> None:
    """Ask the server once, without the retries that would hide for minutes that nobody is there."""
    import requests

    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=PROBE_SECONDS)
    except requests.RequestException as error:
        reason = type(error).__name__
        raise ServiceError(
            f"No answer from the tracking server {redacted(uri)} ({reason}). Start it, or correct"
            " MLFLOW_TRACKING_URI."
        ) from error


def _connect(uri: str) -> None:
    """Connect to the database once, without MLflow's ten tries, which take 100 seconds."""
    from sqlalchemy import create_engine

    engine = create_engine(uri, connect_args={"connect_timeout": PROBE_SECONDS})
    try:
        engine.connect().close()
    finally:
        engine.dispose()


@contextmanager
def service() -> Iterator[None]:
    """Turn a failure of the tracking store into a ServiceError of one line, a name it does not have
    into a UserError.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = " ".join(str(error).partition("[SQL:")[0].split())[:300].rstrip(".")
        if getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST":
            raise UserError(
                f"The tracking store {shown_uri()} has no such thing: {reason}."
            ) from error
        raise ServiceError(
            f"The tracking store {shown_uri()} failed: {reason}. What was logged is kept; run again"
            " to go on."
        ) from error
