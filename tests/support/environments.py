"""The wheel in environments of its own, and commands that run there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 120
"""After which a command counts as one that hangs."""


def wheel(folder: Path) -> Path:
    """Build the wheel from a copy, so that the checkout stays as it is."""
    left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("comptrust", "pipelines", "validation"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=left_out)
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, folder / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*command, str(folder / "dist"), str(folder)], check=True)
    [built] = (folder / "dist").glob("*.whl")
    return built


def install(folder: Path, *packages: str) -> Path:
    """Make an environment with these packages in the pinned versions, and return its folder."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    lock = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, *lock, *packages], check=True)
    return folder


class Team:
    """Runs commands of an environment in a team's folder."""

    def __init__(self, environment: Path, folder: Path) -> None:
        self.bin, self.folder = environment / "bin", folder
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MLFLOW_", "COMPTRUST_", "PYTHON"))
        }
        self.environment = kept | {
            "COMPTRUST_KEYS": str(folder / "keys"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def run(self, *words: object, code: int = 0) -> str:
        """Run `comptrust WORDS`, check the exit code, return stdout (stderr of a failure)."""
        done = subprocess.run(
            [str(self.bin / "comptrust"), *map(str, words)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == code, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stderr if code in (2, 4) else done.stdout

    def python(self, code: str) -> str:
        """Run Python code in the team's folder and return what it printed."""
        done = subprocess.run(
            [str(self.bin / "python"), "-c", code],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
