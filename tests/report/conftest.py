"""Logged runs to report on, and a browser to look at reports."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.logged_runs import LoggedRuns, log, surround

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver


@pytest.fixture(scope="session")
def logged(tmp_path_factory: pytest.TempPathFactory) -> LoggedRuns:
    """Own runs in a store of their own, logged once; use `own`, which gives a copy of the
    environment that leads there.
    """
    folder = tmp_path_factory.mktemp("own")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with pytest.MonkeyPatch.context() as patch:
        surround(patch, folder, uri)
        return LoggedRuns(folder, uri, log(folder / "answers"))


@pytest.fixture
def own(logged: LoggedRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoggedRuns:
    """Point MLflow at a copy of the logged runs; their artifacts are shared."""
    shutil.copy(logged.folder / "mlflow.db", tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    surround(monkeypatch, tmp_path, uri)
    return dataclasses.replace(logged, uri=uri)


@pytest.fixture(scope="session")
def browser() -> Iterator[WebDriver]:
    """A headless Chromium; the test is skipped where there is none."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium and chromedriver are installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--force-device-scale-factor=1",
    ):
        options.add_argument(argument)
    started = webdriver.Chrome(options=options, service=Service(driver))
    yield started
    started.quit()
