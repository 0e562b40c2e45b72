"""The tracking store: its address, a tested client, its experiment and the search for runs."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from comptrust.errors import ServiceError, UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.store.entities import PagedList

EXPERIMENT = "comptrust"
"""Default name of the experiment."""
PUBLISHED = "-published"
"""What ends the name of the experiment that holds the rows of published tables."""
PROBE_SECONDS = 5
RUNS_PER_PAGE = 1000
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # MLflow would print the run's address, including the credentials in the URI.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Environment variables of MLflow that get these values unless they are set."""
SECRET_VARIABLES = re.compile(r"PASSWORD$|SECRET|TOKEN$|API_KEY$")
"""Environment variables whose values must never be printed or logged."""


def project_root() -> Path:
    """Return the nearest folder upward with an MLproject file, else the current one."""
    current = Path.cwd().resolve()
    folders = (current, *current.parents)
    return next((folder for folder in folders if (folder / "MLproject").is_file()), current)


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, or the sqlite file in the project's root, if it can be named."""
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        if re.match(r"sqlite:[^?]*\?(?!\w+=[^/]*$)", uri):
            raise UserError(
                f"MLFLOW_TRACKING_URI {uri}: the question mark ends the path, so MLflow would use"
                " the file before it. Name a file whose path has none."
            )
        return uri
    # a question mark ends the path, and this form of the percent sign is an escape
    if mark := re.search(r"\?|%[0-9A-Fa-f]{2}", str(project_root())):
        raise UserError(
            f"The URI of the tracking store cannot name the folder {project_root()}, because of"
            f" '{mark[0]}'. Set MLFLOW_TRACKING_URI, or run the command in another folder."
        )
    return _project_uri()


def _project_uri() -> str:
    return f"sqlite:///{project_root() / 'mlflow.db'}"


def redacted(text: str) -> str:
    """Replace passwords in URIs and the values of secret environment variables by `***`.

    >>> redacted("postgresql://me:hidden@db/mlflow failed")
    'postgresql://me:***@db/mlflow failed'
    """
    for name, value in os.environ.items():
        if SECRET_VARIABLES.search(name) and len(value) >= 6:
            text = text.replace(value, "***")
    return re.sub(r"(\w://[^\s/:@]*):[^\s/@]+@", r"\1:***@", text)


def shown_uri() -> str:
    """Return the tracking URI without its credentials."""
    return redacted(tracking_uri())


def client() -> MlflowClient:
    """Return a client of the tracking store after checking that the store answers.

    Raises ServiceError within seconds if it does not, UserError if its file cannot be created.
    """
    return _client(tracking_uri())


def prepare() -> None:
    """Set what MLflow reads from the environment, unless the user has."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


@cache
def _client(uri: str) -> MlflowClient:
    prepare()
    if uri.startswith(("http://", "https://")):
        _probe(uri)
    check_folder(uri)
    import mlflow

    for name in ("alembic", "mlflow.tracking", "mlflow.transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # mlflow.store logs a traceback for every error that it also raises.
    logging.getLogger("mlflow.store").setLevel(logging.CRITICAL)
    mlflow.set_tracking_uri(uri)
    with service():
        try:
            if uri.startswith(("postgresql", "mysql")):
                from sqlalchemy import NullPool, create_engine

                # Connect once, because MLflow's ten attempts take 100 seconds.
                options = {"connect_timeout": PROBE_SECONDS}
                create_engine(uri, connect_args=options, poolclass=NullPool).connect().close()
            client = mlflow.MlflowClient()
            client.search_experiments(max_results=1)
        except ImportError as error:
            raise ServiceError(
                f"The tracking store {redacted(uri)} needs the package {error.name}, which is not"
                " installed."
            ) from error
    return client


def _probe(uri: str) -> None:
    """Contact the server once, because MLflow's retries would hide a dead server for minutes."""
    import requests

    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=PROBE_SECONDS)
    except requests.RequestException as error:
        raise ServiceError(
            f"No answer from the tracking server {redacted(uri)} ({type(error).__name__}). Start"
            " it, or correct MLFLOW_TRACKING_URI."
        ) from error


def missing_file(uri: str) -> Path | None:
    """Return the file of a sqlite store if it does not exist yet; None for any other store."""
    if not uri.startswith("sqlite:///"):
        return None
    from sqlalchemy import make_url

    path = Path(make_url(uri).database or ":memory:")
    return None if path.exists() or str(path).startswith(("file:", ":memory:")) else path


def check_folder(uri: str) -> None:
    """Raise UserError for a sqlite file that cannot be created: MLflow would retry for minutes."""
    path = missing_file(uri)
    if path is None:
        return
    if {"'", '"'} <= set(str(Path.cwd())):
        raise UserError(
            f"MLflow cannot create a tracking store from the folder {Path.cwd()}, whose path has"
            " both kinds of quotes. Run the command in another folder."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)  # as MLflow does
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UserError(
            f"Cannot create the tracking store {path}: {error.strerror}. Set MLFLOW_TRACKING_URI,"
            " or run the command in another folder."
        ) from error


@contextmanager
def service() -> Iterator[None]:
    """Turn a failure of the tracking store into one line: UserError for what does not exist."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        reason = " ".join(str(error).partition("[SQL:")[0].split())[:300].rstrip(".")
        if getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST":
            raise UserError(f"Not found in tracking store {shown_uri()}: {reason}.") from error
        raise ServiceError(
            f"The tracking store {shown_uri()} failed: {reason}. Everything logged so far has been"
            " kept; run the command again to continue."
        ) from error


@service()
def experiment_id() -> str:
    """Return the id of the experiment that the environment names, by default `comptrust`.

    A missing one is created, with its artifacts under COMPTRUST_ARTIFACT_URI or the project's root.
    Raises UserError if it exists and keeps its artifacts elsewhere.
    """
    if number := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return number
    return _made(os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT)


@service()
def published_id(experiment: str | None = None, *, create: bool = False) -> str | None:
    """Return the id of an experiment's sibling with the published rows; None if there is none."""
    name = client().get_experiment(experiment or experiment_id()).name + PUBLISHED
    if create:
        return _made(name)
    found = client().get_experiment_by_name(name)
    return found.experiment_id if found and found.lifecycle_stage == "active" else None


def _made(name: str) -> str:
    artifact_root = os.environ.get("COMPTRUST_ARTIFACT_URI")
    is_local = tracking_uri() == _project_uri()
    if (is_local or artifact_root is not None) and ".." in Path(name).parts:
        raise UserError(
            f"MLFLOW_EXPERIMENT_NAME '{name}' points outside the artifact folder. Use a name"
            " without '..'."
        )
    location = (project_root() / "mlartifacts" / name).as_uri() if is_local else None
    if artifact_root:
        location = f"{artifact_root.rstrip('/')}/{name}"
    experiment = client().get_experiment_by_name(name)
    if experiment is None:
        return client().create_experiment(name, artifact_location=location)
    if artifact_root and experiment.artifact_location != location:
        raise UserError(
            f"Experiment '{name}' keeps its artifacts in {experiment.artifact_location}, not in"
            f" {location}, and cannot move them. Set MLFLOW_EXPERIMENT_NAME to a new name, or"
            " unset COMPTRUST_ARTIFACT_URI."
        )
    return experiment.experiment_id


@service()
def search_runs(
    query: str,
    *,
    experiments: Sequence[str] | None = None,
    oldest_first: bool = False,
    limit: int | None = None,
) -> list[Run]:
    """Return the runs that match an MLflow filter, in all experiments by default, newest first."""
    from mlflow.utils import get_results_from_paginated_fn

    if experiments is None:
        experiments = [item.experiment_id for item in client().search_experiments()]
    order = f"attributes.start_time {'ASC' if oldest_first else 'DESC'}"

    def page(size: int, token: str | None) -> PagedList[Run]:
        return client().search_runs(
            list(experiments), query, max_results=size, order_by=[order], page_token=token
        )

    return list(get_results_from_paginated_fn(page, RUNS_PER_PAGE, limit))


def has_tags(tags: Mapping[str, str]) -> str:
    """Return the MLflow filter for runs or versions that carry all of these tags.

    A filter has no escapes. A value with both kinds of quotes, such as a path, is searched for with
    any character in place of its apostrophes.
    """
    return " and ".join(f"tags.{key} {_matches(value)}" for key, value in tags.items())


def _matches(value: str) -> str:
    if "'" not in value:
        return f"= '{value}'"
    return f'= "{value}"' if '"' not in value else f"LIKE '{value.replace(chr(39), '_')}'"
