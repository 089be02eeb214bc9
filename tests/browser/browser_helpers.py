"""What the browser tests share: looking for rendered text, and keeping screenshots in `screenshots/`."""

from __future__ import annotations

from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By

from tests.wait import until

SCREENSHOTS = Path(__file__).parents[2] / "screenshots"


def shown(browser: webdriver.Chrome) -> str:
    try:
        return browser.find_element(By.TAG_NAME, "body").text
    except StaleElementReferenceException:
        return ""


def require_shown(browser: webdriver.Chrome, *texts: str, seconds: float = 60) -> None:
    """Wait until all texts are rendered, and visible."""
    until(lambda: all(text in shown(browser) for text in texts), seconds=seconds, every=0.3)


def keep(browser: webdriver.Chrome, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    assert browser.save_screenshot(str(SCREENSHOTS / f"{name}.png"))


def take_away(browser: webdriver.Chrome, text: str) -> None:
    """Take a text away wherever it is rendered."""
    browser.execute_script(
        "const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);"
        "while (walk.nextNode()) walk.currentNode.data = walk.currentNode.data.replaceAll(arguments[0], '');",
        text,
    )
