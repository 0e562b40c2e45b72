"""Provenance: the commit of this code is recorded, and that of another repository is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def commit_seen_from(folder: Path) -> str:
    """Return the commit that a copy of the package in the folder records."""
    ignore = shutil.ignore_patterns("__pycache__", "shipped")
    shutil.copytree(ROOT / "comptrust", folder / "comptrust", ignore=ignore)
    program = "from comptrust.trust import provenance as p; print(p.commit(), p.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    commit, file = done.stdout.split()
    assert Path(file).is_relative_to(folder)
    return commit


def commit_all(repository: Path) -> str:
    """Make the folder a repository with one commit of what it holds, and return the commit."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    git = ["git", "-C", str(repository), *identity]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "--allow-empty", "-m", "One"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run(
        [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
    )
    return head.stdout.strip()


def test_the_commit_of_a_checkout_is_recorded(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    commit = commit_all(tmp_path)
    assert commit_seen_from(tmp_path) == commit


@pytest.mark.parametrize("place", ["venv/lib/site-packages", "."])
def test_the_commit_of_another_repository_is_not_recorded(tmp_path: Path, place: str) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "other"\n')
    commit_all(tmp_path)
    assert commit_seen_from(tmp_path / place) == "unknown"
