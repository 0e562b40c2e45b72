"""The report in a real browser at two widths: sort, filter, follow a link; screenshots stay in
tests/artifacts/ (git ignores it).
"""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from comptrust.report import entries, page
from comptrust.report.base import DIMENSIONS, fold
from tests.support.logged_runs import LoggedRuns

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

KEPT = Path(__file__).parents[1] / "artifacts"
WIDTHS = (1280, 390)
HIGH = 3000
"""Pixels of a page that a screenshot keeps at most; a longer page is kept in parts."""


@pytest.fixture
def report(own: LoggedRuns, tmp_path: Path) -> Path:
    """Write the report of the own runs."""
    found = entries.read()
    path = tmp_path / "report.html"
    path.write_text(page.render(found, page.families(found)), encoding="utf-8")
    return path


def look(browser: WebDriver, address: str, width: int) -> None:
    """Open a page in a window of so many pixels."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get("about:blank")  # else an address that differs after # only would not load again
    browser.get(address)


def keep(browser: WebDriver, name: str, width: int) -> None:
    """Keep screenshots of the whole page."""
    KEPT.mkdir(exist_ok=True)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    for part, top in enumerate(range(0, height, HIGH)):
        clip = {"x": 0, "y": top, "width": width, "height": min(HIGH, height - top), "scale": 1}
        shot = browser.execute_cdp_cmd(
            "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True}
        )
        (KEPT / f"{name}-{width}-{part}.png").write_bytes(base64.b64decode(shot["data"]))


def shown(browser: WebDriver) -> list[list[str]]:
    """Return the cells of the leaderboard's visible rows."""
    script = (
        "return [...document.querySelectorAll('#leaderboard tbody tr:not([hidden])')].map(r =>"
        " [...r.cells].map(c => c.innerText))"
    )
    return browser.execute_script(script)


def press(browser: WebDriver, column: str) -> None:
    """Scroll a column's name into view, from under the fixed first column, and press it."""
    button = browser.find_element("css selector", f"#leaderboard button[data-column='{column}']")
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center', inline: 'center'})", button
    )
    button.click()


@pytest.mark.parametrize("width", WIDTHS)
def test_columns_sort_when_pressed(browser: WebDriver, report: Path, width: int) -> None:
    look(browser, report.as_uri(), width)
    place = 5 + DIMENSIONS.index("mmlu")
    expected = sorted(f"{group.mean('mmlu'):.1f}" for group in fold(entries.read()))
    for column, order in (("mmlu", "descending"), ("mmlu", "ascending")):
        press(browser, column)
        values = [float(row[place].split()[0]) for row in shown(browser)]
        assert values == sorted(values, reverse=order == "descending")
        assert sorted(f"{value:.1f}" for value in values) == expected
        assert (
            browser.execute_script(
                "return"
                " document.querySelectorAll('th[aria-sort]:not([aria-sort=none])')[0].ariaSort"
            )
            == order
        )
    press(browser, "verdict")
    assert [row[-2] for row in shown(browser)] == ["block"] * 4 + ["inconclusive", "pass"]
    press(browser, "bits or structure")
    assert shown(browser)[0][2].startswith("16 bits") and shown(browser)[-1][2].startswith("3 bits")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_filter_keeps_rows_with_all_words(browser: WebDriver, report: Path, width: int) -> None:
    look(browser, report.as_uri(), width)
    box = browser.find_element("id", "filter")
    box.send_keys("gptq 4 bits")
    assert [row[1:3] for row in shown(browser)] == [["gptq", "4 bits g64"]]
    assert browser.find_element("id", "shown").text == "1 of 6 rows"
    box.clear()
    box.send_keys("none such")
    assert shown(browser) == []
    look(browser, f"{report.as_uri()}#sort=average&filter=gptq", width)
    assert [row[1] for row in shown(browser)] == ["gptq"] * 3


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_its_window_and_opens_its_cards(
    browser: WebDriver, report: Path, width: int
) -> None:
    look(browser, report.as_uri(), width)
    browser.find_element("link text", "Verdicts").click()
    assert browser.execute_script("return location.hash") == "#part-4"
    cards = browser.find_elements("css selector", "details.card")
    assert len(cards) == 8
    for card in cards:
        card.find_element("tag name", "summary").click()
    assert browser.find_element("css selector", ".flip pre").is_displayed()
    assert browser.title == "comptrust report"  # a planted script would have changed it
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    small = (
        "return [...document.querySelectorAll('svg text')].filter(t =>"
        " t.getBoundingClientRect().height < 6).map(t => t.textContent)"
    )
    assert browser.execute_script(small) == []
    nameless = (
        "return [...document.querySelectorAll('svg')].filter(s => !(s.getAttribute('aria-label') ||"
        " '').length).length"
    )
    assert browser.execute_script(nameless) == 0
    keep(browser, "report", width)


@pytest.fixture
def server(own: LoggedRuns, tmp_path: Path) -> Iterator[str]:
    """Serve the own runs with a real MLflow server on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        own.uri,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
        )
        try:
            yield _answering(f"http://127.0.0.1:{port}", process)
        finally:
            process.terminate()
            process.wait(timeout=30)


def _answering(address: str, process: subprocess.Popen[bytes]) -> str:
    for _ in range(600):
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return address
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the server does not answer")


@pytest.mark.slow
def test_a_row_leads_to_its_run_in_mlflow(
    browser: WebDriver, own: LoggedRuns, server: str, tmp_path: Path
) -> None:
    from selenium.webdriver.support.expected_conditions import element_to_be_clickable as clickable
    from selenium.webdriver.support.wait import WebDriverWait

    found = entries.read(ui=server)
    path = tmp_path / "report.html"
    path.write_text(page.render(found, page.families(found)), encoding="utf-8")
    look(browser, f"{path.as_uri()}#filter=awq", 1280)
    WebDriverWait(browser, 30).until(
        clickable(("css selector", "#leaderboard tbody tr:not([hidden]) a"))
    ).click()
    assert browser.current_url.startswith(
        f"{server}/#/experiments/1/runs/{own.runs['awq-4bit-g64-s0']}"
    )
    WebDriverWait(browser, 120).until(
        lambda page: "awq-4bit-g64-s0" in page.find_element("tag name", "body").text
    )
    keep(browser, "mlflow-run", 1280)
