"""Running servers: `transformers serve` of a model, and pages that imitate others."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

TRANSFORMERS = Path(sys.executable).with_name("transformers")
STAND_IN = f"""#!/bin/sh
# Stands in for vllm: a real server of the same interface; its model name is the folder's.
echo "$$ $*" >> "$STAND_IN_LOG"
folder=$2 port=$(echo "$*" | sed "s/.*--port \\([0-9]*\\).*/\\1/")
cd "$(dirname "$folder")"
exec {TRANSFORMERS} serve "$(basename "$folder")" --host 127.0.0.1 --port "$port" --dtype float32
"""


def stand_in_for_vllm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an executable named vllm on the PATH; return its log of process ids and arguments."""
    program, log = folder / "bin" / "vllm", folder / "started"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_LOG", str(log))
    return log


class Served:
    """`transformers serve` of one model; port 0 takes a free one, which its log names."""

    def __init__(self, model: Path, *, log: Path, port: int = 0) -> None:
        self._log = log
        line = [
            str(TRANSFORMERS),
            "serve",
            str(model),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--dtype",
            "float32",
        ]
        with open(log, "wb") as output:
            self.process = subprocess.Popen(line, stdout=output, stderr=subprocess.STDOUT)
        while not (
            running := re.search(r"Uvicorn running on http://127.0.0.1:(\d+)", log.read_text())
        ):
            assert self.process.poll() is None, log.read_text()
            time.sleep(0.1)
        self.port = int(running[1])

    def answered(self) -> int:
        """Return how many completions the server has answered, by its own log."""
        return len(re.findall(r'"POST /v1/completions HTTP/1.1" 200', self._log.read_text()))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def serving(**pages: Any) -> Iterator[str]:
    """Serve JSON pages by name; `models` is below /v1."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path.rpartition("/")[2])
            body = json.dumps(page).encode()
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
