"""A missing extra is one line with the pip command; any other missing module is not."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest

from comptrust import crashes
from comptrust.errors import Exit

ROOT = Path(__file__).parents[1]
LIGHT = ("click", "cryptography", "pydantic", "yaml", "rfc8785", "securesystemslib")
"""Modules of the packages that every installation has."""
OPTIONAL = ("detoxify",)
"""Modules without an extra: what needs them says so itself."""


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("torch", "torch", "compress"),
        ("torch.nn", "torch", "compress"),
        ("great_expectations", "great-expectations", "compress"),
        ("llmcompressor", "llmcompressor", "compress"),
        ("ray", "ray", "ray"),
        ("submitit", "submitit", "slurm"),
        ("uvloop", "uvloop", "serve"),
        ("matplotlib.figure", "matplotlib", "report"),
        ("mlflow.entities", "mlflow", "platform"),
        ("numpy", "numpy", "platform"),
        ("sqlalchemy", "mlflow", "platform"),
    ],
)
def test_a_missing_module_of_an_extra_names_the_pip_command(
    module: str, package: str, extra: str
) -> None:
    error = ModuleNotFoundError(f"No module named '{module}'", name=module)
    text, code = crashes.explain(error, redact=str)
    assert code == Exit.USER
    assert f"'{package}'" in text
    assert text.endswith(f"pip install 'comptrust[{extra}]'")


@pytest.mark.parametrize("module", ["comptrust.nowhere", "pytest", "no_such_module", None])
def test_other_missing_modules_are_crashes(module: str | None) -> None:
    assert crashes.missing_extra(ModuleNotFoundError("No module", name=module)) is None


def test_every_library_that_the_code_imports_has_an_extra() -> None:
    files = (ROOT / "comptrust").rglob("*.py")
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    names = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    modules = {name.partition(".")[0] for name in names} - {"comptrust", "None"}
    for module in sorted(modules - sys.stdlib_module_names - {*LIGHT, *OPTIONAL}):
        assert crashes.missing_extra(ModuleNotFoundError("No module", name=module)), module


def test_the_light_installation_is_what_every_installation_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {line.partition("==")[0].replace("pyyaml", "yaml") for line in project["dependencies"]}
    assert names == set(LIGHT) and project["optional-dependencies"]["verify"] == []
