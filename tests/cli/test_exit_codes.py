"""A crash is never a verdict: whatever fails, exit code 1 is left to a block."""

from __future__ import annotations

import importlib
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click
import pytest

from comptrust import crashes
from comptrust.cli.app import COMMANDS
from comptrust.cli.main import guarded, main
from comptrust.errors import Exit, UserError

ROOT = Path(__file__).parents[2]
SECRET = "hunter2-hunter2"
WORK = {
    "run": ("run --method gptq --bits 4", "comptrust.compression.recipe.build"),
    "compress": ("compress --method gptq --bits 4", "comptrust.compression.recipe.build"),
    "evaluate": ("evaluate model", "comptrust.trust.suite.load"),
    "score": ("score answers.jsonl", "comptrust.trust.generations.score_file"),
    "control": ("control models:/a/1", "comptrust.tracking.evaluations.load"),
    "gate": ("gate models:/a/1", "comptrust.tracking.evaluations.load"),
    "compare": ("compare a.json b.json", "comptrust.tracking.evaluations.load"),
    "import": ("import lm-eval a b", "comptrust.workflow.importing.run"),
    "history": ("history models:/a/1", "comptrust.tracking.registry.resolve"),
    "promote": ("promote a 1 --to staging", "comptrust.tracking.promotion.check_target"),
    "register": (
        "register model --method gptq --bits 4 --base b",
        "comptrust.compression.recipe.build",
    ),
    "export": ("export models:/a/1 out", "comptrust.tracking.registry.resolve"),
    "sweep": ("sweep smoke", "comptrust.sweep.grid.load"),
    "search": ("search --policy demo", "comptrust.compression.recipe.build"),
    "report": ("report", "comptrust.report.entries.read"),
    "leaderboard": ("leaderboard import table.csv", "comptrust.published.read"),
    "backtest": ("backtest table.csv", "comptrust.published.read"),
    "keys": ("keys show", "comptrust.gate.signing.keys.load_public_keys"),
    "verify": ("verify models:/a/1", "comptrust.gate.signing.keys.load_public_keys"),
    "regate": ("regate models:/a/1", "comptrust.workflow.regate.regate"),
    "waive": (
        "waive r --checkpoint c --who w --why y --until 2999-01-01",
        "comptrust.gate.policy.waivable",
    ),
    "seal": ("seal --policy staging --suite mini", "comptrust.gate.signing.keys.signing_key"),
    "suites": ("suites pin mini --policy p.yaml", "comptrust.trust.suite.load"),
    "serve": ("serve", "comptrust.gate.enforcement.serving.server_command"),
    "audit": ("audit", "comptrust.gate.enforcement.settings.audit_log"),
    "setup": ("setup vllm", "comptrust.models.vllm_program.make"),
    "list": ("list policies", "comptrust.cli.commands.list_.lines"),
}
"""Command -> a call of it, and a function that its work reaches."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPTRUST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("SERVICE_PASSWORD", SECRET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ended(*words: str) -> int | str | None:
    with pytest.raises(SystemExit) as end:
        main(words)
    return end.value.code


def crash_file(folder: Path) -> Path:
    [path] = (folder / "cache" / "crashes").iterdir()
    return path


def test_every_command_is_tried() -> None:
    assert set(WORK) == set(COMMANDS)


@pytest.mark.parametrize("name", WORK)
def test_a_crash_exits_with_4_in_one_line_and_a_file(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object, **options: object) -> NoReturn:
        raise RuntimeError(f"boom\x1b[31m at postgresql://me:{SECRET}@db\nsecond line")

    line, target = WORK[name]
    module, _, function = target.rpartition(".")
    monkeypatch.setattr(importlib.import_module(module), function, fail)
    assert ended(*line.split()) == Exit.FAILURE
    out, err = capsys.readouterr()
    path = crash_file(folder)
    assert out == "" and err.count("\n") == 1 and err.removesuffix("\n").isprintable(), err
    assert "RuntimeError: boom" in err and "second line" in err and str(path) in err
    text = path.read_text()
    assert "Traceback" in text and "raise RuntimeError" in text
    assert SECRET not in err + text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def raise_(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError


class Panic(BaseException):
    """As a library in Rust raises it."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("wrong"), Exit.USER),
        (FileNotFoundError(2, "No such file", "x"), Exit.USER),
        (OSError(28, "No space left on device"), Exit.FAILURE),
        (BrokenPipeError(32, "Broken pipe"), Exit.FAILURE),
        (MemoryError(), Exit.FAILURE),
        (KeyboardInterrupt(), Exit.INTERRUPTED),
        (SystemExit(143), Exit.TERMINATED),
        (SystemExit(0), Exit.PASS),
        (SystemExit(None), Exit.PASS),
        (SystemExit(1), Exit.FAILURE),
        (SystemExit(2), Exit.FAILURE),
        (SystemExit("a library gives up"), Exit.FAILURE),
        (Panic(), Exit.FAILURE),
        (Unprintable(), Exit.FAILURE),
        (RecursionError(), Exit.FAILURE),
        (ImportError("no module"), Exit.FAILURE),
    ],
    ids=lambda value: repr(value) if isinstance(value, BaseException) else "",
)
def test_the_code_of_each_error(
    error: BaseException, code: Exit, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(raise_(error)) == code
    assert capsys.readouterr().err.count("\n") == (0 if code in (0, 143) else 1)


@pytest.mark.parametrize(
    "error",
    [click.ClickException("x"), click.FileError("x"), click.UsageError("x"), click.Abort()],
    ids=lambda error: type(error).__name__,
)
def test_no_error_of_click_is_a_block(
    error: Exception, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("comptrust.cli.commands.list_.lines", lambda kind: raise_(error)())
    code = Exit.INTERRUPTED if isinstance(error, click.Abort) else Exit.USER
    assert ended("list", "policies") == code


def test_without_a_writable_cache_the_traceback_goes_to_the_temporary_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPTRUST_CACHE", "/dev/null/cache")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    text, code = crashes.explain(RuntimeError("boom"), redact=str)
    [path] = folder.glob("comptrust-*.txt")
    assert str(path) in text and code == Exit.FAILURE


def test_without_any_writable_folder_the_line_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPTRUST_CACHE", "/dev/null/cache")
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null/temporary")
    text, _ = crashes.explain(RuntimeError("boom"), redact=str)
    assert "boom" in text and "could not be saved" in text


def shell(line: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash; PYTHON stands for this interpreter."""
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}", **more}
    return subprocess.run(
        ["bash", "-c", line.replace("PYTHON", sys.executable)],
        capture_output=True,
        text=True,
        env=environment,
    )


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        ("mlflow", "PYTHON -m comptrust gate runs:/0123456789abcdef0123456789abcdef"),
        ("mlflow", "PYTHON -m pipelines.gate runs:/0123456789abcdef0123456789abcdef"),
        ("mlflow", "PYTHON -m comptrust.cli.mlflow_server --port 0"),
        ("click", "PYTHON -m comptrust list methods"),
        ("yaml", "PYTHON -m comptrust run --method gptq --bits 4"),
        ("pydantic", "PYTHON -m pipelines.run --method gptq --bits 4"),
    ],
)
def test_a_broken_library_is_a_failure_of_the_process(broken: str, line: str, folder: Path) -> None:
    (folder / f"{broken}.py").write_text("raise RuntimeError('broken\\nlibrary')\n")
    done = shell(f"cd {ROOT} && {line}", folder)
    assert done.returncode == Exit.FAILURE, done.stderr
    assert done.stderr.count("\n") == 1 and "RuntimeError: broken library" in done.stderr


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("PYTHON -m comptrust list methods | head -0; exit ${PIPESTATUS[0]}", Exit.READER_GONE),
        ("PYTHON -m comptrust --help | head -0; exit ${PIPESTATUS[0]}", Exit.READER_GONE),
        ("PYTHON -m comptrust list methods > /dev/full", Exit.FAILURE),
        ("PYTHON -m comptrust list nothing 2> /dev/full", Exit.USER),
        ("PYTHON -m comptrust list nothing 2>&1 | head -0; exit ${PIPESTATUS[0]}", Exit.USER),
        ("PYTHON -m comptrust list methods >&-", Exit.PASS),
        ("PYTHON -m comptrust", Exit.USER),
        ("PYTHON -m comptrust keys", Exit.USER),
    ],
)
def test_output_that_cannot_be_written_is_not_a_block(line: str, code: Exit, folder: Path) -> None:
    done = shell(line.replace("head -0", "{ exec <&-; sleep 0; }"), folder)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
