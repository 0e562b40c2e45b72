"""Fixtures of the robustness tests: a command line in its own folder, and figures to print."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.shell import Shell
from tests.support.stores import RUN_VARIABLES


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> str:
    """A tracking store without runs, the same for all of these tests."""
    return f"sqlite:///{shutil.copy(empty_store, tmp_path_factory.mktemp('robustness'))}"


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Shell]:
    """A command line whose files, caches and temporary files are all in one folder."""
    folder = tmp_path_factory.mktemp("shell")
    (folder / "tmp").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in RUN_VARIABLES:
            patch.delenv(name, raising=False)
        patch.setenv("MLFLOW_TRACKING_URI", database)
        patch.setenv("COMPTRUST_CACHE", str(folder / "cache"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setattr(tempfile, "tempdir", str(folder / "tmp"))
        yield Shell(folder)


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a figure, also where pytest captures output."""

    def show(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}")

    return show
