"""Helpers of the browser tests: look for rendered text, set the screen, and keep screenshots in `screenshots/`."""

from __future__ import annotations

from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By

from tests.wait import until

CONTRASTS = """
const channel = value => { value /= 255; return value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4; };
const light = color => { const [r, g, b] = color.match(/[\\d.]+/g).map(Number);
  return .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b); };
const ground = node => {
  for (; node; node = node.parentElement) {
    const color = getComputedStyle(node).backgroundColor;
    if (!/, 0\\)$/.test(color)) return color;
  }
  return 'rgb(255, 255, 255)'; };
const worded = node => [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim());
return [...document.querySelectorAll('main *:not(title)')].filter(worded).map(node => {
    const style = getComputedStyle(node);
    const [a, b] = [light(node.namespaceURI.endsWith('svg') ? style.fill : style.color), light(ground(node))];
    return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), node.tagName + ' ' + node.textContent.slice(0, 40)];
  }).sort((a, b) => a[0] - b[0])[0];
"""
"""A script that returns the lowest contrast of the text on a page, and its element."""
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


def as_screen(browser: webdriver.Chrome, width: int, scheme: str) -> None:
    """Set the width of the screen and the colour scheme."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 1400, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
