"""A missing extra is one line with the pip command; any other missing module is not."""

import pytest

from comptrust import crashes
from comptrust.errors import Exit


@pytest.mark.parametrize(
    ("module", "package", "extra"),
    [
        ("torch", "torch", "compress"),
        ("torch.nn", "torch", "compress"),
        ("great_expectations", "great-expectations", "compress"),
        ("llmcompressor", "llmcompressor", "compress"),
        ("ray", "ray", "ray"),
        ("uvloop", "uvloop", "serve"),
        ("matplotlib.figure", "matplotlib", "report"),
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
