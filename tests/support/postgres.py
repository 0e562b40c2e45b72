"""A PostgreSQL of its own for a test: from the Debian package, in a temporary folder, on a free
port.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

USER = "nobody"
"""Who PostgreSQL runs as where the tests run as root, which it refuses."""
SECONDS = 120


def programs() -> Path:
    """Return the folder of PostgreSQL's programs, or skip the test."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        key=lambda path: int(path.parents[1].name),
    )
    if not found:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    return found[-1].parent


@contextmanager
def started() -> Iterator[str]:
    """Yield the URI of an empty database that ends with the test."""
    bin_folder, folder = programs(), Path(tempfile.mkdtemp(prefix="postgres-"))
    as_user: dict[str, Any] = (
        {"user": USER, "group": "nogroup", "extra_groups": ()} if os.getuid() == 0 else {}
    )
    try:
        if as_user:
            shutil.chown(folder, USER)
        data, log = folder / "data", folder / "log"
        command = [
            bin_folder / "initdb",
            "-D",
            data,
            "-U",
            "mlflow",
            "-A",
            "trust",
            "--no-sync",
            "--locale=C.UTF-8",
        ]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, **as_user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [
            bin_folder / "postgres",
            "-D",
            data,
            "-p",
            str(port),
            "-k",
            folder,
            "-c",
            "listen_addresses=127.0.0.1",
        ]
        with open(log, "wb") as output:
            server = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, **as_user)
        try:
            _wait(server, port, log)
            yield f"postgresql://mlflow@127.0.0.1:{port}/postgres"
        finally:
            # clients that are still there are waited for; a test that ends has none
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.send_signal(3)  # SIGQUIT: at once
                server.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import psycopg

    end = time.monotonic() + SECONDS
    while server.poll() is None and time.monotonic() < end:
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="mlflow", dbname="postgres").close()
            return
        except psycopg.OperationalError:
            time.sleep(0.2)
    pytest.fail(f"PostgreSQL did not start:\n{log.read_text()[-2000:]}")
