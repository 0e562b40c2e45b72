"""A folder with its own tracking store and cache, in which sweeps of a tiny model run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Place:
    """A working folder with everything a sweep needs."""

    folder: Path
    model: Path

    def sweep(self, name: str, **fields: object) -> Path:
        """Write a sweep of the tiny model with four questions a cell."""
        asked = {
            "models": [str(self.model)],
            "dimensions": ["mmlu"],
            "limit": 1,
            "resources": {"cpus": 1, "memory_gb": 0.5},
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(asked | fields, sort_keys=False))
        return path

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of a command in this place."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("MLFLOW_", "COMPTRUST_", "RAY_"))
        }
        own = {
            "MLFLOW_TRACKING_URI": self.uri,
            "COMPTRUST_CACHE": str(self.folder / "cache"),
            "PYTHONPATH": str(ROOT),
        }
        return kept | own | {"MLFLOW_DISABLE_TELEMETRY": "true"} | more

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    def start(self, *words: object, **more: str) -> subprocess.Popen[str]:
        """Start `comptrust sweep WORDS`, which an interruption reaches even where these tests run
        in the background.
        """
        return subprocess.Popen(
            [sys.executable, "-m", "comptrust", "sweep", *map(str, words)],
            cwd=self.folder,
            env=self.environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *words: object, **more: str) -> subprocess.CompletedProcess[str]:
        """Run `comptrust sweep WORDS` to its end."""
        process = self.start(*words, **more)
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def make_place(folder: Path, model: Path, empty: Path) -> Place:
    shutil.copy(empty, folder / "mlflow.db")
    return Place(folder, model)


def enter(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process use the place's tracking store and cache."""
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "COMPTRUST_"))]:
        monkeypatch.delenv(name)
    for name, value in place.environment().items():
        if name.startswith(("MLFLOW_", "COMPTRUST_")):
            monkeypatch.setenv(name, value)
    monkeypatch.chdir(place.folder)
