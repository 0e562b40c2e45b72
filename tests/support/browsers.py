"""A headless Chromium, from the Debian packages chromium and chromium-driver."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

T = TypeVar("T")
SCREENSHOTS = Path(__file__).parents[1] / "artifacts"
WIDTHS = (1280, 390)
PIXELS_PER_SCREENSHOT = 3000
"""Longer pages are captured in several parts."""
SECONDS = 120
"""How long the browser may take for anything on a busy machine."""
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


@contextmanager
def started(*arguments: str) -> Iterator[WebDriver]:
    """Yield a browser, or skip the test where none is installed."""
    from selenium import webdriver

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium and chromedriver are installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (*ARGUMENTS, *arguments):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()


def resize(browser: WebDriver, width: int) -> None:
    """Give the window a width in pixels, below 500 as on a phone."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def wait_for(browser: WebDriver, condition: Callable[[WebDriver], T], message: str = "") -> T:
    """Wait until a condition is true and return its value."""
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(browser, SECONDS).until(condition, message)


def take_screenshots(browser: WebDriver, name: str, width: int) -> None:
    """Keep screenshots of the whole page."""
    SCREENSHOTS.mkdir(exist_ok=True)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    for part, top in enumerate(range(0, height, PIXELS_PER_SCREENSHOT)):
        part_height = min(PIXELS_PER_SCREENSHOT, height - top)
        clip = {"x": 0, "y": top, "width": width, "height": part_height, "scale": 1}
        image = browser.execute_cdp_cmd(
            "Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True}
        )
        path = SCREENSHOTS / f"{name}-{width}-{part}.png"
        path.write_bytes(base64.b64decode(image["data"]))
