"""The command line on bad input: the exit code, one clear line, and no file left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from comptrust.cli.app import comptrust
from comptrust.errors import ComptrustError

ROOT = Path(__file__).parents[2]
BAD_INPUT = [
    ("run --method gptqq", 2, "Did you mean 'gptq'"),
    ("run --method awq --bits 2", 2, "2"),
    ("run --method gptq --bits four", 2, "four"),
    ("run --method wanda --bits 4", 2, "bits"),
    ("run --method wanda --structure 3:4", 2, "3:4"),
    ("run --method gptq --bits 4 --structure 2:4", 2, "structure"),
    ("run --method none --bits 4", 2, "bits"),
    ("run --method gptq --bits 4 --suite minii", 2, "Did you mean 'mini'"),
    ("run --method gptq --bits 4 --dimensions ethic --suite mini", 2, "Did you mean 'ethics'"),
    ("run --method gptq --bits 4 --limit 0", 2, "limit"),
    ("run --method gptq --bits 4 --policy stagin --limit 2 --dimensions ethics", 2, "stagin"),
    ("run --method gptq --bits 4 --promote-to stagin", 2, "Did you mean 'staging'"),
    ("run --method gptq --bits 4 --model models:/nobody/1", 2, "models:/nobody/1"),
    ("run --recipe gptq-4bits", 2, "Did you mean 'gptq-4bit'"),
    ("run --recipe broken.yaml", 2, "Did you mean 'bits'"),
    ("run --method gptq --bits 4 --model ./nothing --limit 2", 2, "./nothing"),
    ("compress --method gptq --bits 4 --model ./nothing", 2, "./nothing"),
    ("compress --method gptq --bits 4 --model empty", 2, "empty"),
    ("gate models:/nobody/1", 2, "models:/nobody/1"),
    ("gate missing.json", 2, "missing.json"),
    ("gate missing.json --record", 2, "models:/NAME/VERSION"),
    ("gate --plan --record", 2, "--record"),
    ("history models:/nobody", 2, "models:/nobody"),
    ("history runs:/abc", 2, "models:/NAME"),
    ("gate broken.json", 2, "broken.json"),
    ("gate runs:/abc", 2, "runs:/abc"),
    ("gate", 2, "candidate"),
    ("gate missing.json --suite mini", 2, "missing.json"),
    ("gate missing.json --limit 5", 2, "--plan"),
    ("gate --plan --limit 0", 2, "limit"),
    ("gate --plan missing.json", 2, "no candidate"),
    ("gate --plan --suite minii", 2, "Did you mean 'mini'"),
    ("gate --plan --policy literal", 2, "literal"),
    ("promote nobody 1 --to staging", 2, "models:/nobody/1"),
    ("promote nobody 1 --to stagin", 2, "Did you mean 'staging'"),
    ("list method", 2, "methods"),
    ("frobnicate", 2, "frobnicate"),
]


@pytest.fixture
def folder(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.json").write_text('{"scores": [')
    (tmp_path / "broken.yaml").write_text("method: gptq\nbitz: 4\n")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("line", "code", "says"), BAD_INPUT, ids=[line for line, _, _ in BAD_INPUT]
)
def test_bad_input_is_one_clear_line(line: str, code: int, says: str, folder: Path) -> None:
    before = {path for path in folder.rglob("*") if "mlflow.db" not in path.name}
    result = CliRunner().invoke(comptrust, line.split())
    if isinstance(result.exception, ComptrustError):
        message, exit_code = str(result.exception), result.exception.exit_code
    else:
        assert isinstance(result.exception, SystemExit), repr(result.exception)
        message, exit_code = result.output.strip().splitlines()[-1], result.exit_code
    assert exit_code == code, message
    assert says in message
    assert "\n" not in message
    assert {path for path in folder.rglob("*") if "mlflow.db" not in path.name} == before


@pytest.mark.parametrize(
    ("line", "settings", "code", "says"),
    [
        ("gate missing.json", {}, 2, "Error: "),
        (
            "gate runs:/00000000000000000000000000000000",
            {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
            4,
            "No answer from the tracking server",
        ),
    ],
)
def test_the_process_prints_one_line_and_no_traceback(
    line: str, settings: dict[str, str], code: int, says: str, folder: Path
) -> None:
    command = [sys.executable, "-m", "comptrust", *line.split()]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_empty_options_mean_not_given() -> None:
    from comptrust.cli.commands.run import command
    from comptrust.cli.options import read_recipe

    arguments = (
        "--method gptq --bits 4 --sparsity= --structure= --dimensions= --limit= --policy="
        " --promote-to= --calibration-samples="
    )
    context = command.make_context("run", arguments.split())
    given = {
        name: context.params[name]
        for name in ("sparsity", "structure", "dimensions", "limit", "policy", "promote_to")
    }
    assert given == dict.fromkeys(given)
    assert read_recipe("gptq-4bit", {"model", "method", "bits"})["bits"] == 4


@pytest.mark.parametrize(
    ("words", "expected"),
    [("", False), ("--no-fail", True), ("--no-fail true", True), ("--no_fail true", True)],
)
def test_no_fail_is_a_flag_that_mlflow_projects_can_set(words: str, expected: bool) -> None:
    from comptrust.cli.app import comptrust as group
    from comptrust.cli.commands.run import command

    with group.make_context("comptrust", ["run"], resilient_parsing=True) as parent:
        arguments = f"{words} --method gptq --bits 4".split()
        context = command.make_context("run", arguments, parent=parent)
    assert context.params["no_fail"] is expected


def test_a_recipe_file_sets_defaults_that_options_override() -> None:
    from comptrust.cli.commands.run import command

    context = command.make_context("run", ["--recipe", "gptq-4bit", "--bits", "8"])
    assert (context.params["method"], context.params["bits"]) == ("gptq", 8)
