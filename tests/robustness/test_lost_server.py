"""Robustness against a tracking server that hangs, and one that dies, in the middle of a run.

The run ends with exit 4 and says what is kept; run again, it continues where it was.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.support import killed
from tests.support.enforcement.server import wait
from tests.support.sweeps import Place, make_place

pytestmark = pytest.mark.slow
AWAY = 12.0
"""Seconds during which it hangs."""
HASTY = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
"""Settings of a user, so that the test does not wait for a minute."""


class Server:
    """`comptrust serve` in its own process group, to stop, kill and restart."""

    def __init__(self, place: Place) -> None:
        self.place = place
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [
            sys.executable,
            "-m",
            "comptrust",
            "serve",
            "--backend-store-uri",
            self.place.uri,
            "--port",
            str(self.port),
        ]
        command += ["--artifacts-destination", str(self.place.folder / "served"), "--workers", "1"]
        log = self.place.folder / "server.log"
        environment = self.place.environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                command,
                env=environment,
                cwd=self.place.folder,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait(self.url, self.process, log)

    def signal(self, number: int) -> None:
        """Send a signal to all of its processes."""
        os.killpg(self.process.pid, number)


@pytest.fixture
def server(tmp_path: Path, tiny_model: Path, empty_store: Path) -> Iterator[Server]:
    (tmp_path / "work").mkdir()
    made = Server(make_place(tmp_path / "work", tiny_model, empty_store))
    try:
        yield made
    finally:
        made.signal(signal.SIGKILL)
        made.process.wait()


def test_it_goes_away_midway(
    server: Server, monkeypatch: pytest.MonkeyPatch, tell: Callable[[str], None]
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    place = server.place
    line = (
        f"run --model {place.model} --method magnitude --structure 2:4 --dimensions mmlu,ethics"
        " --limit 2 --batch-size 2 --no-fail"
    )
    patient = place.environment(MLFLOW_TRACKING_URI=server.url)

    def when_answered(more: int, act: Callable[[], None]) -> Callable[[BaseProcess], None]:
        wanted = len(killed.given(place.folder)) + more

        def meanwhile(process: BaseProcess) -> None:
            while len(killed.given(place.folder)) < wanted and process.is_alive():
                time.sleep(0.005)
            act()

        return meanwhile

    def hang() -> None:
        server.signal(signal.SIGSTOP)
        time.sleep(AWAY)
        server.signal(signal.SIGCONT)

    def die() -> None:
        server.signal(signal.SIGKILL)
        server.process.wait()

    hung = killed.run(
        line, place.folder, environment=patient | HASTY, meanwhile=when_answered(5, hang)
    )
    first = len(killed.given(place.folder))
    dead = killed.run(
        line, place.folder, environment=patient | HASTY, meanwhile=when_answered(5, die)
    )
    second = len(killed.given(place.folder)) - first
    server.start()
    again = killed.run(line, place.folder, environment=patient)

    for ended in (hung, dead):
        assert ended.code == 4, ended.said
        (told,) = [line for line in ended.said.splitlines() if line.startswith("Error: ")]
        assert "kept; run" in told and "again to continue" in told, ended.said
        assert "Traceback" not in ended.said
    assert again.code == 0, again.said
    counts = Counter(killed.given(place.folder))
    assert first and second and set(counts.values()) == {1}, "an answer was given twice"
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=server.url, registry_uri=server.url)
    (model,) = client.search_registered_models()
    versions = client.search_model_versions(f"name='{model.name}'")
    assert sorted(version.tags["recipe"] for version in versions) == ["dense", "magnitude-2of4-s0"]
    experiments = [one.experiment_id for one in client.search_experiments()]
    assert client.search_runs(experiments, "attributes.status = 'RUNNING'") == []
    tell(
        f"tracking server that hangs for {AWAY:.0f} s, then one that dies: exit codes {hung.code}"
        f" and {dead.code}; run again: completed; {first} and {second} of {len(counts)} answers"
        " were given before, none twice; 2 versions, no run left open"
    )
