"""Completion in the shell, as bash asks for it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from comptrust.cli.main import main

SCRIPT = """
eval "$(_COMPTRUST_COMPLETE=bash_source comptrust)"
COMP_WORDS=(comptrust gate models : /ti); COMP_CWORD=4; COMPREPLY=()
_comptrust_completion comptrust
echo "${COMPREPLY[@]}"
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("CREATE TABLE model_versions (name, version INTEGER, current_stage)")
        rows = [("tiny", 10, "None"), ("tiny", 2, "Staging"), ("gone", 1, "Deleted_Internal")]
        store.executemany("INSERT INTO model_versions VALUES (?, ?, ?)", rows)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    return path


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "--method", "wa"], ["wanda"]),
        (["run", "--recipe", "dense"], ["dense"]),
        (["run", "--format", "gp"], ["gptq"]),
        (["run", "--policy", "st"], ["staging"]),
        (["evaluate", "x", "--suite", "m"], ["mini"]),
        (["evaluate", "x", "--engine", "v"], ["vllm"]),
        (["evaluate", "x", "--dimensions", "mmlu,et"], ["mmlu,ethics"]),
        (["run", "--model", "builtin", ":", "smol"], ["smollm2-135m-instruct"]),
        (["gate", "models", ":", "/"], ["/tiny/2", "/tiny/10"]),
        (["promote", ""], ["tiny"]),
        (["promote", "tiny", ""], ["2", "10"]),
        (["list", "sett"], ["settings"]),
        (["sweep", "sm"], ["smoke"]),
        (["run", "--recipe", "nothing-like-it", "--suite", "m"], ["mini"]),
    ],
)
def test_values_complete(
    words: list[str],
    expected: list[str],
    registry: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("_COMPTRUST_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "\n".join(["comptrust", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    with pytest.raises(SystemExit):
        main([])
    out, err = capsys.readouterr()
    assert (out.split(), err) == ([f"plain,{value}" for value in expected], "")


def test_without_a_store_nothing_is_offered_and_nothing_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("_COMPTRUST_COMPLETE", "zsh_complete")
    monkeypatch.setenv("COMP_WORDS", "comptrust promote ")
    monkeypatch.setenv("COMP_CWORD", "2")
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr() == ("\n", "") and not [*tmp_path.iterdir()]


def test_in_bash_itself(registry: Path) -> None:
    program = registry.with_name("comptrust")
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m comptrust "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", SCRIPT], capture_output=True, text=True, cwd=program.parent, env=environment
    )
    assert done.stdout.split() == ["/tiny/2", "/tiny/10"], done.stderr
