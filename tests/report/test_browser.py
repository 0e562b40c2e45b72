"""The report in a real browser at two widths: sort, filter, follow a link.

Screenshots are kept in tests/artifacts/, which git ignores.
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
from click.testing import CliRunner

from comptrust.cli.app import comptrust
from comptrust.report import entries, page
from comptrust.report.base import DIMENSIONS, ReportEntry, fold
from comptrust.tracking import runs, views
from tests.support.browsers import SCREENSHOTS, WIDTHS, resize, take_screenshots, wait_for
from tests.support.logged_runs import LoggedRuns, surround

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver


def published(method: str) -> ReportEntry:
    """Return a row of a published table."""
    scores = {"mmlu": 50.0}
    return ReportEntry(
        name=method, model="llama", source="published", suite="paper", method=method, scores=scores
    )


@pytest.fixture(scope="module")
def report(logged: LoggedRuns) -> Path:
    """Write the report of the logged runs."""
    path = logged.folder / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        surround(patch, logged.folder, logged.uri)
        found = (*entries.read(), *map(published, ("none", "gptq")))
        path.write_text(page.render(found, page.families(found)), encoding="utf-8")
    return path


def open_report(browser: WebDriver, address: str, width: int) -> None:
    """Open a report in a window of this many pixels and wait until it takes clicks and keys.

    That is after its script has counted the rows, and after the first paint: until then a browser
    may drop input.
    """
    resize(browser, width)
    browser.get("about:blank")  # an address that differs only after # would not load again
    browser.get(address)
    is_ready = (
        "return document.readyState === 'complete'"
        " && / rows$/.test(document.getElementById('shown')?.textContent)"
        " && performance.getEntriesByName('first-contentful-paint').length > 0"
    )
    wait_for(browser, lambda driver: driver.execute_script(is_ready))


def visible_rows(browser: WebDriver) -> list[list[str]]:
    """Return the cells of the leaderboard's visible rows."""
    script = (
        "return [...document.querySelectorAll('#leaderboard tbody tr:not([hidden])')].map(r =>"
        " [...r.cells].map(c => c.innerText))"
    )
    return browser.execute_script(script)


def sort_by(browser: WebDriver, column: str, *, order: str) -> None:
    """Click a column's name once and wait until the table says that it is sorted in this order.

    The name is scrolled into the middle, because the fixed first column could cover it.
    """
    button = browser.find_element("css selector", f"#leaderboard button[data-column='{column}']")
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center', inline: 'center'})", button
    )
    button.click()
    sorted_by = (
        "return [...document.querySelectorAll('th[aria-sort]:not([aria-sort=none])')].map(head =>"
        " [head.firstChild.dataset.column, head.ariaSort])"
    )
    expected = [[column, order]]
    wait_for(
        browser,
        lambda driver: driver.execute_script(sorted_by) == expected,
        f"not sorted by {column}, {order}",
    )


@pytest.mark.usefixtures("own_runs")
@pytest.mark.parametrize("width", WIDTHS)
def test_columns_sort_when_clicked(browser: WebDriver, report: Path, width: int) -> None:
    open_report(browser, report.as_uri(), width)
    place = 6 + DIMENSIONS.index("mmlu")
    expected = sorted(f"{group.mean('mmlu'):.1f}" for group in fold(entries.read()))
    for order in ("descending", "ascending"):
        sort_by(browser, "mmlu", order=order)
        values = [float(row[place].split()[0]) for row in visible_rows(browser)]
        assert values == sorted(values, reverse=order == "descending")
        assert sorted(f"{value:.1f}" for value in values) == expected
    sort_by(browser, "verdict", order="ascending")
    verdicts = [row[1] for row in visible_rows(browser)]
    assert verdicts == ["block"] * 4 + ["inconclusive"] * 2
    sort_by(browser, "bits or structure", order="descending")
    forms = [row[3] for row in visible_rows(browser)]
    assert forms[0].startswith("16 bits") and forms[-1].startswith("3 bits")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_filter_keeps_rows_with_all_words(browser: WebDriver, report: Path, width: int) -> None:
    open_report(browser, report.as_uri(), width)
    box = browser.find_element("id", "filter")
    box.send_keys("gptq 4 bits")
    assert [row[2:4] for row in visible_rows(browser)] == [["gptq", "4 bits g64"]]
    assert browser.find_element("id", "shown").text == "1 of 8 rows"
    box.clear()
    box.send_keys("none such")
    assert visible_rows(browser) == []
    open_report(browser, f"{report.as_uri()}#sort=average&filter=gptq", width)
    assert [row[2] for row in visible_rows(browser)] == ["gptq"] * 3
    # Rows of a published table are folded away until somebody asks for them.
    browser.find_element("id", "published").click()
    assert [row[4] for row in visible_rows(browser)][3:] == ["published"]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_its_window_and_opens_its_cards(
    browser: WebDriver, report: Path, width: int
) -> None:
    open_report(browser, report.as_uri(), width)
    browser.find_element("link text", "Decisions").click()
    assert browser.execute_script("return location.hash") == "#decisions"
    # The first screen names every open decision, and each verdict column is in sight.
    in_sight = (
        "return [...document.querySelectorAll(arguments[0])].every(e => {const box ="
        " e.getBoundingClientRect(); return box.width > 0 && box.right <= innerWidth &&"
        " box.bottom + scrollY <= arguments[1]})"
    )
    told = [line.text for line in browser.find_elements("css selector", ".open li")]
    browser.find_element("css selector", ".open a").click()
    is_open = "return document.querySelector('details.card').open"
    wait_for(browser, lambda driver: driver.execute_script(is_open))
    browser.execute_script("document.querySelector('details.card').open = false")
    browser.execute_script("scrollTo(0, 0)")
    assert len(told) == 2, told
    assert all(": undecided max drop (" in text for text in told), told
    assert browser.execute_script(in_sight, ".counts .badge, .open li", 900)
    column = "#leaderboard tr:not([hidden]) td:nth-child(2), .card summary .badge"
    assert browser.execute_script(in_sight, column, 1e6)
    cards = browser.find_elements("css selector", "details.card")
    assert len(cards) == 8
    for card in cards:
        card.find_element("tag name", "summary").click()
    assert browser.find_element("css selector", ".flip div > pre").is_displayed()
    assert browser.title == "comptrust report"  # a planted script would have changed it
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    cut = (
        "return [...document.querySelectorAll('.card .wide, #tradeoff .wide')].filter(t =>"
        " t.scrollWidth > t.clientWidth + 1).map(t => t.innerText)"
    )
    assert browser.execute_script(cut) == []
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
    take_screenshots(browser, "report", width)
    if width == WIDTHS[0]:
        printed(browser)


def printed(browser: WebDriver) -> None:
    """Keep the report as it is printed; nothing may be cut off, not even the widest table."""
    pdf = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    (SCREENSHOTS / "report.pdf").write_bytes(base64.b64decode(pdf["data"]))
    resize(browser, 1030)  # pixels of A4 lying across, without margins
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    script = (
        "return [document.querySelector('#leaderboard').offsetWidth, getComputedStyle("
        "document.querySelector('.wide')).overflowX, document.querySelector('nav').offsetHeight]"
    )
    width, overflow, height = browser.execute_script(script)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert 0 < width <= 1030 and overflow == "visible" and height == 0


@pytest.fixture
def server(own_runs: LoggedRuns, tmp_path: Path) -> Iterator[str]:
    """Serve our own runs with a real MLflow server on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        own_runs.uri,
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
        assert process.poll() is None, "the server exited"
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return address
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the server does not answer")


def pictured(browser: WebDriver) -> bool:
    """Whether the forest plot is on screen, without scrolling at the usual width."""
    script = (
        "const image = document.querySelector('img[src*=forest]'); return image?.naturalWidth > 0"
        " && (innerWidth < 500 || image.getBoundingClientRect().top < innerHeight)"
    )
    return bool(browser.execute_script(script))


def gated(run_id: str, pages: str) -> str:
    """Register a run as a version with a description, judge it, and return its page."""
    client = runs.client()
    client.create_registered_model("forgetful")
    ours = "ours<script>window.planted = 1</script>"
    client.create_model_version("forgetful", f"runs:/{run_id}/model", run_id, description=ours)
    words = ["gate", "models:/forgetful/1", "--policy", "staging", "--record"]
    done = CliRunner().invoke(comptrust, words)
    assert done.exit_code in (1, 3), done.output
    return f"{pages}/1?workflowType=machine_learning"


@pytest.mark.slow
def test_a_row_leads_to_its_run_in_mlflow(
    browser: WebDriver, own_runs: LoggedRuns, server: str, tmp_path: Path
) -> None:
    from selenium.webdriver.support import expected_conditions

    rows = entries.read(ui=server)
    path = tmp_path / "report.html"
    path.write_text(page.render(rows, page.families(rows)), encoding="utf-8")
    open_report(browser, f"{path.as_uri()}#filter=awq", 1280)
    link = ("css selector", "#leaderboard tbody tr:not([hidden]) a")
    wait_for(browser, expected_conditions.element_to_be_clickable(link)).click()
    run_id = own_runs.runs["awq-4bit-g64-s0"]
    assert browser.current_url.startswith(f"{server}/#/experiments/1/runs/{run_id}")
    wait_for(
        browser, lambda driver: "awq-4bit-g64-s0" in driver.find_element("tag name", "body").text
    )
    take_screenshots(browser, "mlflow-run", 1280)

    # The version's page shows verdict, reasons and picture without a click.
    version = gated(run_id, f"{server}/#/models/forgetful/versions")
    for width in WIDTHS:
        resize(browser, width)
        browser.get("about:blank")
        browser.get(version)
        wait_for(browser, pictured)
        text = browser.find_element("css selector", "[data-testid=note-view-outer-container]").text
        assert text.startswith("? INCONCLUSIVE under policy staging") or "BLOCK under" in text
        assert text.endswith("\nours") and "ethics" in text
        assert browser.execute_script("return window.planted") is None
        take_screenshots(browser, "mlflow-version", width)
    resize(browser, 1280)

    # The card, one click away, leads to all answers with another.
    wait_for(browser, expected_conditions.element_to_be_clickable(("link text", "Verdict card")))
    place = browser.find_element("link text", "Verdict card").get_attribute("href")
    browser.get("about:blank")
    browser.get(str(place))
    frame = ("css selector", "iframe.mlflow-html-iframe")
    wait_for(browser, expected_conditions.frame_to_be_available_and_switch_to_it(frame))
    link = wait_for(browser, expected_conditions.element_to_be_clickable(("css selector", "h4 a")))
    wanted = link.text
    link.click()
    heading = ("css selector", ".viewer article h2")
    wait_for(browser, expected_conditions.text_to_be_present_in_element(heading, wanted))
    browser.switch_to.default_content()

    # The saved view of the list of runs has the columns that MLflow leaves out.
    browser.get("about:blank")
    place = f"{server}/#/experiments/1/runs?workflowType=machine_learning"
    browser.get(f"{place}&viewStateShareKey={views.KEY}")
    texts = "return document.body.innerText.split('\\n').map(line => line.trim())"
    wanted = {"drop/worst", "size/ratio", "verdict", "block"}
    wait_for(browser, lambda driver: wanted <= set(driver.execute_script(texts)))
    take_screenshots(browser, "mlflow-runs", 1280)
