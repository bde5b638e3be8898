"""A real browser, headless, with the few things that the tests of the page do."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

__all__ = ["Browser", "Keys", "needs_browser", "wait_until"]

DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

needs_browser = pytest.mark.skipif(
    not (DRIVER and BROWSER), reason="no browser or no driver on the PATH: apt-get install chromium-driver"
)


class Browser:
    """One session of Chromium, with the few things that the tests do."""

    def __init__(self, url: str) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = str(BROWSER)
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        self.url = url
        self.size(1280, 900)

    def size(self, width: int, height: int) -> None:
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def scheme(self, name: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.command("Emulation.setEmulatedMedia", features=features)

    def command(self, name: str, **arguments: Any) -> Any:
        return self.driver.execute_cdp_cmd(name, arguments)

    def open(self, **shown: str) -> None:
        """Load the page anew, with this in its address."""
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}/#{urlencode(shown)}")

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> Any:
        """The one element that there is, as soon as there is one."""
        wait_until(lambda: len(self.all(selector)) == 1, f"one {selector}, not {len(self.all(selector))}")
        return self.all(selector)[0]

    def text(self, selector: str) -> str:
        """Of the one element that there is, as soon as there is one."""
        self.one(selector)
        return self.texts(selector)[0]

    def texts(self, selector: str) -> list[str]:
        """In one act of the browser: the page may draw itself anew between two."""
        return self.run("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())", selector)

    def items(self, within: str = ".columns > section:first-child") -> list[str]:
        """The ids of a list, once there is one."""
        item = f"{within} .list .item"
        wait_until(lambda: bool(self.all(item)), "a list")
        return self.run("return [...document.querySelectorAll(arguments[0])].map(e => e.dataset.item)", item)

    def press(self, *keys: str) -> None:
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self) -> Any:
        return self.driver.switch_to.active_element

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def address(self) -> str:
        return self.driver.current_url.removeprefix(self.url)

    def complaints(self) -> list[str]:
        """What the console has said since it was asked last, but for answers with a status that a test asked for."""
        said = [entry["message"] for entry in self.driver.get_log("browser")]
        return [message for message in said if "Failed to load resource: the server responded" not in message]


def wait_until(true: Callable[[], bool], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.01)
