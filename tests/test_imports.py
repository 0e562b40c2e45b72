"""Imports point one way, and heavy libraries stay where they belong."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for top in ("comptrust", "validation", "pipelines") for path in (ROOT / top).rglob("*.py"))

SHARED = {"comptrust.records", "comptrust.errors", "comptrust.digests", "comptrust.plugins", "comptrust.config", "comptrust"}
MAY_IMPORT = {
    "comptrust.compression": {"comptrust.models"},
    "comptrust.models": set(),
    "comptrust.trust": {"comptrust.models"},
    "comptrust.report": {"comptrust.trust"},
    "comptrust.tracking": {"comptrust.trust", "comptrust.compression", "comptrust.models", "comptrust.report"},
    "validation": {"comptrust.trust", "comptrust.tracking", "comptrust.report"},
    "pipelines": {"comptrust.trust", "comptrust.tracking", "comptrust.compression", "comptrust.models", "comptrust.report", "validation"},
}
ONLY_IN = {
    "torch": ("comptrust/compression", "comptrust/models"),
    "mlflow": ("comptrust/tracking", "validation/enforcement"),
    "click": ("pipelines",),
    "great_expectations": ("validation/expectations",),
    "llmcompressor": ("comptrust/compression",),
}
LAZY = ("torch", "transformers", "llmcompressor", "great_expectations", "mlflow")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield each imported module of a file and whether it is imported when the file is (type checking apart)."""
    tree = ast.parse(path.read_text())
    typing_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    inner = {child for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for child in ast.walk(node)}
    for node in ast.walk(tree):
        now = node not in inner and node not in typing_only
        if isinstance(node, ast.Import):
            yield from ((alias.name, now) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((f"{node.module}.{alias.name}", now) for alias in node.names)


def layer(module: str) -> str:
    """Return the layer of a module: a shared file, a part of comptrust, validation or pipelines."""
    parts = module.split(".")
    if parts[0] != "comptrust":
        return parts[0]
    name = ".".join(parts[:2])
    return name if name in MAY_IMPORT or name in SHARED else "comptrust"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    own = layer(".".join(path.relative_to(ROOT).with_suffix("").parts))
    allowed = SHARED if own in SHARED else {own} | SHARED | MAY_IMPORT[own]
    for module, _ in imports(path):
        if module.split(".")[0] in ("comptrust", "validation", "pipelines"):
            assert layer(module) in allowed, f"{own} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_libraries_stay_where_they_belong(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    for module, now in imports(path):
        top = module.split(".")[0]
        if top in ONLY_IN:
            assert name.startswith(ONLY_IN[top]), f"{name} imports {module}"
        if top in LAZY and name.startswith(("pipelines/", "comptrust/tracking/", "validation/expectations/", "comptrust/trust/")):
            assert not now, f"{name} imports {module} at once; import it inside the function that needs it"


def test_judging_knows_no_mlflow() -> None:
    for path in [*(ROOT / "validation" / "rules").glob("*.py"), *(ROOT / "validation").glob("*.py")]:
        assert not [module for module, _ in imports(path) if module.startswith(("mlflow", "comptrust.tracking"))], path
