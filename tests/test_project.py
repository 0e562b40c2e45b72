"""The project's files agree with each other: pins, entry points, shipped YAML."""

from __future__ import annotations

import hashlib
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from packaging.requirements import Requirement

from comptrust.cli.app import comptrust
from comptrust.tracking import runs
from pipelines import demo

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MLPROJECT = yaml.safe_load((ROOT / "MLproject").read_text())


def pins(lines: list[str]) -> dict[str, str]:
    """Return canonical name -> version of `name[extra]==version` lines; anything else fails."""
    split = [re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[\w-]+\])?==([^+\s]+)", line) for line in lines]
    assert all(split), [line for line, match in zip(lines, split, strict=True) if not match]
    return {re.sub(r"[-_.]+", "-", match[1]).lower(): match[2] for match in split if match}


def pinned(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    return pins([line for line in lines if line and not line.startswith(("#", "-c "))])


RUNNING, CUDA, TESTING = map(
    pinned, ("constraints.txt", "constraints-cuda.txt", "constraints-test.txt")
)


def needed(*names: str) -> set[str]:
    """Return the installed packages that these need, with themselves."""
    seen: set[str] = set()
    queue = [Requirement(name) for name in names]
    while queue:
        needs = queue.pop()
        name = re.sub(r"[-_.]+", "-", needs.name).lower()
        if f"{name}{sorted(needs.extras)}" in seen:
            continue
        seen |= {name, f"{name}{sorted(needs.extras)}"}
        for line in metadata.requires(needs.name) or ():
            further = Requirement(line)
            extras = needs.extras or {""}
            if not further.marker or any(further.marker.evaluate({"extra": one}) for one in extras):
                queue.append(further)
    return {name for name in seen if "[" not in name}


def test_each_package_is_pinned_once_and_where_it_is_needed() -> None:
    lines = {
        extra: [line for line in lines if not line.startswith("comptrust[")]
        for extra, lines in PROJECT["optional-dependencies"].items()
    }
    testing = lines.pop("test")
    running = [*PROJECT["dependencies"], *(line for extra in lines.values() for line in extra)]
    assert pins(running).items() <= RUNNING.items()
    assert pins(testing).items() <= TESTING.items()
    assert not (RUNNING.keys() & CUDA.keys()) | ((RUNNING | CUDA).keys() & TESTING.keys())
    used = needed(*running)
    assert used - CUDA.keys() == RUNNING.keys()
    assert needed(*testing) - used == TESTING.keys()


def test_the_extra_all_names_every_extra_of_users() -> None:
    [line] = PROJECT["optional-dependencies"]["all"]
    named = set(line.removeprefix("comptrust[").removesuffix("]").split(","))
    assert named == set(PROJECT["optional-dependencies"]) - {"all", "test", "docs"}


def test_conda_environment_is_the_lock_and_changes_with_it() -> None:
    dependencies = yaml.safe_load((ROOT / "conda.yaml").read_text())["dependencies"]
    lock = [
        f"{word} {name}  # sha256 {hashlib.sha256((ROOT / name).read_bytes()).hexdigest()[:12]}"
        for word, name in (("-r", "constraints.txt"), ("-c", "constraints-cuda.txt"))
    ]
    assert dependencies == ["python=3.11", "pip", {"pip": lock}], "run make lock"


def test_environment_files_name_no_machine_and_no_host_but_that_of_torch() -> None:
    for name in (
        "Makefile",
        "conda.yaml",
        *(path.name for path in ROOT.glob("constraints*.txt")),
        "MLproject",
        ".ci/run",
        "pyproject.toml",
    ):
        text = (ROOT / name).read_text().replace("https://download.pytorch.org/whl/cpu", "")
        assert not re.search(r"https?://|file:|/home/|/work/", text), name


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


def test_the_demo_ends_with_both_verdicts_and_where_to_see_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    client = runs.client()
    experiment = client.create_experiment("demo", (tmp_path / "artifacts").as_uri())
    client.create_registered_model(demo.MODEL)
    for recipe, outcome in zip(demo.RECIPES, ("pass", "block"), strict=True):
        run = client.create_run(experiment)
        findings = [{"rule": "complete"}, {"rule": "max_drop", "reason": f"It is a {outcome}."}]
        client.log_dict(run.info.run_id, {"findings": findings}, "verdict.json")
        tags = {"recipe": recipe, "verdict": outcome}
        client.create_model_version(demo.MODEL, "source", run.info.run_id, tags=tags)
    demo.main()
    text = capsys.readouterr().out
    assert "magnitude-2of4-s0: BLOCK\n  It is a block.\n  http://127.0.0.1:5000/#/models/" in text
    assert f"/#/models/{demo.MODEL}/versions/1?workflowType=machine_learning" in text


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
