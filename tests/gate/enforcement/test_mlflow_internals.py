"""MLflow's private names are in one file, so that an upgrade has one place to look."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from comptrust.gate.enforcement import frozen, mlflow_internals, store

ROOT = Path(__file__).parents[3]
ONLY = ROOT / "comptrust" / "gate" / "enforcement" / "mlflow_internals.py"
FILES = sorted((ROOT / "comptrust").rglob("*.py"))
INHERITED = {
    name
    for guarded in (store.GuardedStore, frozen.FrozenRepository)
    for base in guarded.__mro__
    if base.__module__.startswith("mlflow.")
    for name in vars(base)
}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def names_of_mlflow(path: Path) -> Iterator[str]:
    """Yield each underscore name in a file that can only be MLflow's.

    These are imported private names, private parts of module paths, private attributes that no
    class or function of the file defines, overrides of inherited private methods, and the names of
    private environment variables.
    """
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree))
    uses_mlflow = any(
        module.split(".")[0] == "mlflow"
        for node in nodes
        for module in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    )
    defined = {
        node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    defined |= {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mlflow":
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from filter(private, parts)
        elif isinstance(node, ast.Attribute) and private(node.attr):
            if uses_mlflow and node.attr not in defined:
                yield node.attr
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and private(node.name):
            if uses_mlflow and node.name in INHERITED:
                yield node.name
        elif isinstance(node, ast.Constant) and str(node.value).startswith("_MLFLOW"):
            yield str(node.value)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_one_file_knows_private_names_of_mlflow(path: Path) -> None:
    names = sorted(set(names_of_mlflow(path)))
    assert bool(names) == (path == ONLY), names


def test_the_file_is_read_as_meant() -> None:
    assert set(names_of_mlflow(ONLY)) >= {
        "_MLFLOW_SERVER_REGISTRY_STORE",
        "_PROMPT_SOURCE_PLACEHOLDERS",
        "_get_model_registry_store",
        "_is_prompt",
        "_publish_staged_artifact",
    }


@pytest.mark.parametrize("spelling", ["1", "01", 1])
def test_a_version_number_is_read_as_mlflow_reads_it(spelling: str) -> None:
    assert mlflow_internals.version_number(spelling) == 1
