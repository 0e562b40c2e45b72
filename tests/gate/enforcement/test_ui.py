"""Promotion by clicking in MLflow's own pages: refused with the reason, allowed after a pass.

Screenshots stay in tests/artifacts/enforcement/.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.support import browsers
from tests.support.enforcement import forgeries
from tests.support.enforcement.server import serve
from tests.support.enforcement.world import BAD, Candidate, World, write_key, write_policies

pytestmark = pytest.mark.slow
SHOTS = Path(__file__).parents[2] / "artifacts" / "enforcement"
SECONDS = 240
REASON = (
    "comptrust refused: {action}, models:/{name}/1. The signed verdict is block. max_drop: Dropped"
    " more than 5 points: mmlu 50.0."
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("pages")
    write_policies(folder)
    write_key(folder / "keys")
    yield from serve(folder, with_auth=False, workers=1)


@pytest.fixture
def browser() -> Iterator[WebDriver]:
    with browsers.started("--window-size=1400,900") as driver:
        driver.set_page_load_timeout(SECONDS)
        yield driver


@pytest.fixture
def blocked(pages: World) -> Candidate:
    candidate = pages.register(BAD)
    pages.gate(candidate)
    return candidate


def find(browser: WebDriver, selector: str, text: str = "") -> WebElement:
    """Wait for an element on screen that has the text."""

    def seen(driver: WebDriver) -> WebElement | None:
        for element in driver.find_elements(By.CSS_SELECTOR, selector):
            if element.is_displayed() and text in " ".join(element.text.split()):
                return element
        return None

    found = WebDriverWait(
        browser, SECONDS, poll_frequency=0.05, ignored_exceptions=[Exception]
    ).until(seen)
    assert found
    return found


def shoot(browser: WebDriver, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    assert browser.save_screenshot(str(SHOTS / f"{name}.png"))


def open_version(browser: WebDriver, world: World, one: Candidate) -> None:
    browser.get("about:blank")
    browser.get(f"{world.base_url}/#/models/{one.name}/versions/{one.version}")


def save_champion(browser: WebDriver, world: World, one: Candidate) -> None:
    """Add the alias champion in the dialog of the version's page."""
    open_version(browser, world, one)
    find(browser, '[data-component-id*="modelversionviewaliaseditor"]').click()
    find(browser, "[role=dialog] input").send_keys("champion", Keys.ENTER)
    find(browser, '[data-component-id="mlflow.edit-aliases-modal"]', "champion")
    find(browser, '[data-component-id="mlflow.edit-aliases-modal.save-button"]').click()


def move_to_production(browser: WebDriver, world: World, one: Candidate) -> None:
    """Choose the stage in the drop-down of the older page, which the switch brings back."""
    open_version(browser, world, one)
    if not browser.find_elements(By.CSS_SELECTOR, ".mlflow-stage-transition-dropdown"):
        switch = find(browser, "[role=switch]")
        if switch.get_attribute("aria-checked") == "true":
            switch.click()
            find(browser, "[role=dialog] button", "Disable").click()
    find(browser, ".mlflow-stage-transition-dropdown").click()
    find(browser, "[role=menuitem]", "Production").click()
    find(
        browser, '[data-component-id="mlflow.model_registry.stage_transition_modal_v2.footer.ok"]'
    ).click()


def test_alias_is_refused_on_screen_then_set(
    browser: WebDriver, pages: World, blocked: Candidate
) -> None:
    save_champion(browser, pages, blocked)
    find(browser, "[role=dialog]", REASON.format(action="set alias champion", name=blocked.name))
    shoot(browser, "alias-refused")
    assert pages.promoted(blocked) == []

    forgeries.asked_more(pages, blocked)
    save_champion(browser, pages, blocked)
    WebDriverWait(browser, SECONDS).until(
        lambda driver: not driver.find_elements(By.CSS_SELECTOR, "[role=dialog]")
    )
    find(browser, "body", "champion")
    shoot(browser, "alias-set")
    assert pages.promoted(blocked) == ["champion"]


def test_stage_is_refused_on_screen_then_reached(
    browser: WebDriver, pages: World, blocked: Candidate
) -> None:
    move_to_production(browser, pages, blocked)
    find(browser, "body", REASON.format(action="transition Production", name=blocked.name))
    shoot(browser, "stage-refused")
    assert pages.promoted(blocked) == []

    forgeries.asked_more(pages, blocked)
    move_to_production(browser, pages, blocked)
    find(browser, ".mlflow-stage-transition-dropdown", "Production")
    shoot(browser, "stage-reached")
    assert pages.promoted(blocked) == ["Production"]
