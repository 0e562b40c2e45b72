"""Follow the Dockerfile and the compose file without Docker: in a folder of this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.support.environments import ROOT

FOLDER = ROOT / "integrations"
PLACE = re.compile(r"(?<![\w/])/(?=(?:opt/comptrust|src|wheels|data|etc|run)\b)")
"""Where a path of the image starts."""


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, each on one line."""
    text = re.sub(r"^#.*\n", "", (FOLDER / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines if line]


def compose() -> dict[str, Any]:
    """Return the content of the compose file."""
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    return loaded


def here(text: str, folder: Path) -> str:
    """Return a text whose paths of the image lead below a folder."""
    return PLACE.sub(lambda _: f"{folder}/", text)


def build(folder: Path) -> None:
    """Copy and run what the Dockerfile says; what it copies between stages is there already."""
    python = Path(sys.executable).parent
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    variables = kept | {"PATH": f"{python}:{os.environ['PATH']}"}
    work = folder
    for name, rest in instructions():
        if name == "WORKDIR":
            work = Path(here(rest, folder))
            work.mkdir(parents=True, exist_ok=True)
        elif name == "COPY" and not rest.startswith("--from"):
            *sources, target = rest.split()
            for source in sources:
                copy(ROOT / source, work / target)
        elif name == "RUN":
            subprocess.run(["sh", "-ec", here(rest, folder)], cwd=work, env=variables, check=True)


def copy(source: Path, target: Path) -> None:
    """Copy as COPY does: the content of a folder, or a file; links stay links."""
    if source.is_dir():
        left_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, symlinks=True, ignore=left_out)
    else:
        shutil.copy(source, target)
