"""A guarded server, without and with basic-auth."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests
from mlflow import MlflowClient

from tests.support.enforcement.world import World

START_SECONDS = 420
ADMIN, USER, PASSWORD = "admin", "mallory", "correct horse battery"
AUTH_CONFIG = """
[mlflow]
default_permission = MANAGE
database_uri = sqlite:///{folder}/users.db
admin_username = admin
auth_cache_ttl_seconds = 600
"""


def serve(
    folder: Path,
    *,
    with_auth: bool,
    workers: int = 2,
    options: tuple[str, ...] = (),
    variables: Mapping[str, str] = {},
) -> Iterator[World]:
    """Start `comptrust serve` in a folder, yield it once it answers, stop it."""
    (folder / "auth.ini").write_text(AUTH_CONFIG.format(folder=folder))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "COMPTRUST_", "_MLFLOW_"))
    }
    environment = clean | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "for this test only",
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    command = [
        sys.executable,
        "-m",
        "comptrust",
        "serve",
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
    ]
    command += [
        "--artifacts-destination",
        str(folder / "mlartifacts"),
        "--trusted-keys",
        str(folder / "keys"),
    ]
    command += [
        "--policy-staging",
        str(folder / "staging.yaml"),
        "--policy-production",
        str(folder / "production.yaml"),
    ]
    command += [
        "--guard-alias",
        "prod-*=production",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        str(workers),
        *options,
    ]
    if "--gunicorn-opts" not in options:
        # a busy machine is no reason to kill a worker
        patient = "--timeout-worker-healthcheck 300 --log-level warning"
        command += ["--uvicorn-opts", patient]
    command += ["--app-name", "basic-auth"] if with_auth else []
    log = folder / "server.log"
    with open(log, "wb") as output:
        server = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait(url, server, log)
        yield reach(url, folder, with_auth=with_auth)
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)  # its own session: nothing else is in it
            server.wait(timeout=30)


def free_port() -> int:
    """Return a port that nothing uses at the moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers; fail with its output if it ends or takes too long."""
    for _ in range(START_SECONDS * 4):
        try:
            if server.poll() is None and requests.get(f"{url}/health", timeout=5).ok:
                return
        except requests.RequestException:
            pass
        if server.poll() is not None:
            break
        time.sleep(0.25)
    pytest.fail(f"The server did not start:\n{log.read_text()[-3000:]}")


def reach(url: str, folder: Path, *, with_auth: bool) -> World:
    """Return what a user has: a plain MLflow client, and an account where accounts are needed."""
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    for name, value in (("USERNAME", USER), ("PASSWORD", PASSWORD)):
        os.environ.pop(f"MLFLOW_TRACKING_{name}", None)
        if with_auth:
            os.environ[f"MLFLOW_TRACKING_{name}"] = value
    if with_auth:
        body = {"username": USER, "password": PASSWORD}
        requests.post(
            f"{url}/api/2.0/mlflow/users/create", json=body, auth=(ADMIN, PASSWORD), timeout=60
        ).raise_for_status()
    client = MlflowClient(tracking_uri=url, registry_uri=url)
    made = World(folder, client, url, (USER, PASSWORD) if with_auth else None)
    made.experiment = client.create_experiment("candidates")
    return made
