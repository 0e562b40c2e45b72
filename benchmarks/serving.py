"""What a client waits for: the same requests to `mlflow server` and to `comptrust serve`, two
workers each, on kept connections.

Run: python benchmarks/serving.py --requests 100
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import requests
from _measure import ROOT, Figure, report
from mlflow import MlflowClient

MODEL = "churn"
SERVERS = {"mlflow": ("mlflow", "server"), "comptrust": ("comptrust", "serve")}
START_SECONDS = 180
ASKED = {
    "get version": ("GET", "model-versions/get", {"name": MODEL, "version": "1"}),
    "search models": ("GET", "registered-models/search", {}),
    "set version tag": (
        "POST",
        "model-versions/set-tag",
        {"name": MODEL, "version": "1", "key": "note", "value": "x"},
    ),
}


@contextmanager
def served(words: tuple[str, ...], folder: Path) -> Iterator[str]:
    """Start a server in an empty folder, register a model version in it, and yield its address."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    MlflowClient(uri).create_registered_model(MODEL)
    MlflowClient(uri).create_model_version(MODEL, "s3://b/m")
    command = [
        sys.executable,
        "-m",
        *words,
        "--backend-store-uri",
        uri,
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    settings = {
        "PYTHONPATH": str(ROOT),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen(
            [*command, "--port", str(port), "--workers", "2"],
            cwd=folder,
            env=os.environ | settings,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait(f"http://127.0.0.1:{port}", folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def wait(url: str, log: Path) -> None:
    """Return once a server answers. Raises SystemExit with the end of its log if it does not."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            if requests.get(f"{url}/health", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.5)
    raise SystemExit(f"the server did not start: {log.read_text()[-500:]}")


def ask(session: requests.Session, url: str, request: str) -> float:
    """Send one request and return the milliseconds until its answer was there."""
    verb, path, fields = ASKED[request]
    began = time.perf_counter()
    sent = {"params": fields} if verb == "GET" else {"json": fields}
    # type: ignore[arg-type]
    session.request(verb, f"{url}/api/2.0/mlflow/{path}", timeout=60, **sent).raise_for_status()
    return 1000 * (time.perf_counter() - began)


def main() -> None:
    """Ask both in turn; print medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--requests", type=int, default=100, help="requests of each kind and server"
    )
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    figures = []
    with tempfile.TemporaryDirectory(prefix="comptrust-serving-") as name, ExitStack() as stack:
        urls = {
            server: stack.enter_context(served(words, Path(name) / server))
            for server, words in SERVERS.items()
        }
        sessions = {server: stack.enter_context(requests.Session()) for server in SERVERS}
        for request in ASKED:
            taken: dict[str, list[float]] = {server: [] for server in SERVERS}
            for _ in range(given.requests):
                for server in SERVERS:
                    taken[server].append(ask(sessions[server], urls[server], request))
            figures += [
                Figure(f"serving/{request}/{server}", statistics.median(taken[server]), "ms")
                for server in SERVERS
            ]
    report(figures, json_to=given.json)


if __name__ == "__main__":
    main()
