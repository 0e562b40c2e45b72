"""The tests mirror the code, and no test module needs another one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CODE = TESTS.parent / "comptrust"
FILES = sorted(TESTS.rglob("*.py"))
FOLDERS = sorted({path.parent for path in FILES} - {TESTS})
NOT_MIRRORED = ("support", "data", "robustness", "artifacts")
"""Folders of tests that belong to no single package."""


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of each module, and of each name in a module, that a file imports."""
    package = path.parent.relative_to(TESTS.parent).parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            yield from (".".join([*above, node.module or "", alias.name]) for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_nothing_is_imported_from_a_test_module_or_a_conftest(path: Path) -> None:
    """Helpers and fixtures that several modules use belong to tests/support."""
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "tests":
            assert not [
                part for part in parts[1:] if part == "conftest" or part.startswith("test_")
            ], f"{path.relative_to(TESTS)} imports {module}; move what it needs to tests/support"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(TESTS)))
def test_folders_are_packages_that_mirror_the_code(folder: Path) -> None:
    """Without `__init__.py` two test modules of one name collide."""
    assert (folder / "__init__.py").is_file(), f"{folder} has no __init__.py"
    name = folder.relative_to(TESTS)
    if name.parts[0] not in NOT_MIRRORED:
        assert (CODE / name / "__init__.py").is_file(), f"comptrust has no package {name}"
