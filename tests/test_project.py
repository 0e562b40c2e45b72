"""The project's files agree with each other: pins, entry points, shipped YAML."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from comptrust.cli.app import comptrust

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MLPROJECT = yaml.safe_load((ROOT / "MLproject").read_text())


def pins(lines: list[str]) -> dict[str, str]:
    """Return canonical name -> version of `name[extra]==version` lines; anything else fails."""
    split = [re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[\w-]+\])?==([^+\s]+)", line) for line in lines]
    assert all(split), [line for line, match in zip(lines, split, strict=True) if not match]
    return {re.sub(r"[-_.]+", "-", match[1]).lower(): match[2] for match in split if match}


def locked() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return pins([line for line in lines if line and not line.startswith("#")])


def test_direct_pins_are_the_locked_ones() -> None:
    extras = PROJECT["optional-dependencies"]
    direct = [*PROJECT["dependencies"], *(line for lines in extras.values() for line in lines)]
    ours = [line for line in direct if not line.startswith("comptrust[")]
    assert pins(ours).items() <= locked().items()


def test_the_extra_all_names_every_extra_of_users() -> None:
    [line] = PROJECT["optional-dependencies"]["all"]
    named = set(line.removeprefix("comptrust[").removesuffix("]").split(","))
    assert named == set(PROJECT["optional-dependencies"]) - {"all", "test", "docs"}


def test_conda_environment_is_the_lock_and_changes_with_it() -> None:
    dependencies = yaml.safe_load((ROOT / "conda.yaml").read_text())["dependencies"]
    digest = hashlib.sha256((ROOT / "constraints.txt").read_bytes()).hexdigest()[:12]
    lock = {"pip": [f"-r constraints.txt  # sha256 {digest}"]}
    assert dependencies == ["python=3.11", "pip", lock], "run make lock"


def test_environment_files_name_no_host_or_machine() -> None:
    for name in (
        "Makefile",
        "conda.yaml",
        "constraints.txt",
        "MLproject",
        ".ci/run",
        "pyproject.toml",
    ):
        assert not re.search(
            r"https?://|--index-url|file:|/home/|/work/", (ROOT / name).read_text()
        ), name


@pytest.mark.parametrize("entry", MLPROJECT["entry_points"])
def test_entry_point_is_a_command_that_takes_its_parameters(entry: str) -> None:
    point = MLPROJECT["entry_points"][entry]
    words = point["command"].split()
    assert words[:2] == ["python", "-m"] and words[2].startswith("pipelines.")
    name = words[2].removeprefix("pipelines.")
    command = comptrust.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None, f"no command {name}"
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
    assert set(re.findall(r"{(\w+)}", point["command"])) == set(point["parameters"])


def test_main_parameters_carry_the_option_names() -> None:
    command = MLPROJECT["entry_points"]["main"]["command"]
    for name in MLPROJECT["entry_points"]["main"]["parameters"]:
        assert f"--{name.replace('_', '-')} {{{name}}}" in command


def test_the_python_line_of_the_demo_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (line,) = re.findall(r"python -c '(.*)'$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    exec(line, {})
    assert (tmp_path / "mlflow.db").exists()


def test_options_may_be_written_as_mlflow_parameters() -> None:
    result = CliRunner().invoke(
        comptrust, ["run", "--method", "gptq", "--bits", "4", "--group_size", "none"]
    )
    assert "group_size 'none' is neither auto nor a positive whole number" in str(result.exception)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "pipelines" / "recipes").glob("*.yaml")), ids=lambda path: path.stem
)
def test_shipped_recipe_builds(path: Path) -> None:
    from comptrust.compression.recipe import build

    options = yaml.safe_load(path.read_text())
    assert build(**options).slug


@pytest.mark.parametrize(
    "path", sorted((ROOT / "validation" / "policies").glob("*.yaml")), ids=lambda path: path.stem
)
def test_shipped_policy_loads(path: Path) -> None:
    from comptrust.gate import policy

    assert policy.load(path.stem).rules


@pytest.mark.parametrize("name", comptrust.list_commands(None))  # type: ignore[arg-type]
def test_command_shows_help_with_an_example(name: str) -> None:
    result = CliRunner().invoke(comptrust, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Example" in result.output or "Commands:" in result.output
