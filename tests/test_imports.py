"""Imports point one way, and heavy libraries stay where they belong."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.arrows import ARROWS, LAYERS

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "comptrust").rglob("*.py"))

ONLY_IN = {
    "torch": ("comptrust/compression", "comptrust/models"),
    "mlflow": ("comptrust/tracking", "comptrust/gate/enforcement", "comptrust/report"),
    "click": ("comptrust/cli",),
    "great_expectations": ("comptrust/gate/expectations",),
    "llmcompressor": ("comptrust/compression",),
}
LAZY = ("torch", "transformers", "llmcompressor", "great_expectations", "mlflow")
LAZILY = ("cli", "workflow", "tracking", "report", "sweep", "gate/expectations", "trust")
"""Where those are imported only inside the function that needs them."""


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield each imported module of a file and whether it is imported when the file is (type
    checking apart).
    """
    tree = ast.parse(path.read_text())
    typing_only = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    inner = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        now = node not in inner and node not in typing_only
        if isinstance(node, ast.Import):
            yield from ((alias.name, now) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((f"{node.module}.{alias.name}", now) for alias in node.names)


def layer(module: str) -> str | None:
    """Return the package of comptrust that a module is in; None for the ground and for other
    libraries.
    """
    parts = module.split(".")
    return parts[1] if parts[0] == "comptrust" and len(parts) > 1 and parts[1] in LAYERS else None


def test_the_arrows_between_packages_are_exactly_those_in_the_table() -> None:
    found: dict[str, set[str]] = {name: set() for name in LAYERS}
    for path in FILES:
        own = layer(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for target in {layer(module) for module, _ in imports(path)} - {None, own}:
            assert own is not None or path.name in (
                "__init__.py",
                "__main__.py",
            ), f"{path} is ground and imports {target}"
            if own is not None:
                found[own].add(str(target))
    assert found == ARROWS


def test_arrows_point_down() -> None:
    for own, targets in ARROWS.items():
        assert all(LAYERS.index(target) < LAYERS.index(own) for target in targets)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_heavy_libraries_stay_where_they_belong(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    for module, now in imports(path):
        top = module.split(".")[0]
        if top in ONLY_IN:
            assert name.startswith(ONLY_IN[top]), f"{name} imports {module}"
        if top in LAZY and name.startswith(tuple(f"comptrust/{place}/" for place in LAZILY)):
            assert not now, (
                f"{name} imports {module} at once; import it inside the function that needs it"
            )


def test_judging_knows_no_mlflow() -> None:
    gate = ROOT / "comptrust" / "gate"
    for path in [
        *(gate / "rules").glob("*.py"),
        *(gate / "signing").glob("*.py"),
        *gate.glob("*.py"),
    ]:
        assert not [
            module
            for module, _ in imports(path)
            if module.startswith(("mlflow", "comptrust.tracking"))
        ], path


def test_checking_claims_loads_nothing_heavy() -> None:
    code = "import sys; from comptrust import claims; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {*LAZY, "numpy", "scipy", "sklearn", "pandas", "httpx", "click"}
