"""The UI that `make ui` starts, in Chromium: what people are meant to see is rendered, and looked for as text.

Screenshots are kept in `screenshots/`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.browser.browser_helpers import keep, require_shown, take_away
from tests.installed_home import environment_in
from tests.wait import until

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
FINDING = "chol: 123 of 123 rows below 50"
CHECKS = "/assets/heart_disease/validated_dataset?view=checks&checkDetail=gate"


def free_ports() -> int:
    """Return the first of three free ports."""
    for first in range(23000, 24000, 3):
        try:
            for port in range(first, first + 3):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("ui")
    port = free_ports()
    environment = {**os.environ, **environment_in(folder), "SECURE_ML_UI_PORT": str(port)}
    environment.pop("DAGSTER_HOME", None)
    run = subprocess.run(
        [sys.executable, "-m", "assets", "run", "heart_disease"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    with (folder / "ui.log").open("w") as log:
        ui = subprocess.Popen([sys.executable, "-m", "assets", "ui"], cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        for number in (port, port + 1, port + 2):
            until(lambda number=number: answers(f"http://127.0.0.1:{number}/"), seconds=120, every=0.5)
        yield port
    finally:
        ui.send_signal(signal.SIGTERM)
        ui.wait(timeout=60)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_the_graph_of_the_model_is_shown(address: int, browser: webdriver.Chrome) -> None:
    browser.get(f"http://127.0.0.1:{address}/locations/assets.definitions/asset-groups/heart_disease")
    require_shown(
        browser,
        *("dataset", "validated_dataset", "training_set", "trained_model"),
        *("signed_model", "release", "inference_log", "drift_report"),
    )
    keep(browser, "graph")


def follow(browser: webdriver.Chrome, part: str, otherwise: str) -> None:
    """Open the first link of the page whose address holds `part`."""
    addresses = [str(link.get_attribute("href")) for link in browser.find_elements(By.TAG_NAME, "a")]
    links = [address for address in addresses if part in address]
    assert links, otherwise
    browser.get(links[0])


def open_red_check(address: int, browser: webdriver.Chrome) -> None:
    browser.get(f"http://127.0.0.1:{address}{CHECKS}")
    require_shown(browser, "Partitions", "Execution history")
    for tab in browser.find_elements(By.XPATH, "//*[text()='Execution history']"):
        tab.click()
    require_shown(browser, "switzerland", "Failed")


def test_the_rejected_batch_is_red_with_its_finding(address: int, browser: webdriver.Chrome) -> None:
    open_red_check(address, browser)
    require_shown(browser, FINDING)
    keep(browser, "red_check")


def test_the_check_for_the_finding_fails_when_its_text_is_taken_away(address: int, browser: webdriver.Chrome) -> None:
    open_red_check(address, browser)
    require_shown(browser, FINDING)
    take_away(browser, FINDING)
    with pytest.raises(AssertionError, match="did not come true"):
        require_shown(browser, FINDING, seconds=2)


def test_the_red_check_links_to_the_validation_docs(address: int, browser: webdriver.Chrome) -> None:
    open_red_check(address, browser)
    browser.find_elements(By.XPATH, "//tr[td[contains(., 'switzerland')]]//button")[-1].click()
    require_shown(browser, "validation_docs")
    keep(browser, "red_check_metadata")
    follow(browser, f":{address + 1}/validation/home/heart_disease/", "no link to the page of the validation")
    require_shown(browser, "Failing rules", FINDING, "Quarantine", "Distributions")
    browser.find_element(By.LINK_TEXT, "← all validations").click()
    require_shown(browser, "Validation of all models", "Blocked now (2)", "heart_disease: va")
    keep(browser, "validation_docs_from_the_ui")


def test_the_drift_report_is_linked_and_shown(address: int, browser: webdriver.Chrome) -> None:
    browser.get(f"http://127.0.0.1:{address}/assets/heart_disease/drift_report?view=overview")
    require_shown(browser, "drift alarm: ")
    keep(browser, "drift_report_asset")
    follow(browser, f":{address + 1}/heart_disease/drift-", "no link to the HTML report")
    require_shown(browser, "drift alarm: ", "thalach", "Kolmogorov-Smirnov", "ALARM")
    keep(browser, "drift_report")


def test_the_run_in_mlflow_is_linked_and_shown(address: int, browser: webdriver.Chrome) -> None:
    browser.get(f"http://127.0.0.1:{address}/assets/heart_disease/signed_model?view=overview")
    require_shown(browser, "mlflow_run")
    follow(browser, f":{address + 2}/#/experiments/", "no link to the MLflow run")
    require_shown(browser, "cv_roc_auc")
    keep(browser, "mlflow_run")


def test_sensors_and_schedule_are_shown_running(address: int, browser: webdriver.Chrome) -> None:
    browser.get(f"http://127.0.0.1:{address}/automation")
    require_shown(
        browser, "heart_disease_arrival", "heart_disease_acceptance", "heart_disease_drift", "heart_disease_nightly"
    )
    keep(browser, "automation")


def test_the_front_page_leads_to_dagster_and_mlflow(address: int, browser: webdriver.Chrome) -> None:
    front = f"http://127.0.0.1:{address + 1}/"
    browser.get(front)
    require_shown(browser, "need a person", "✓ release 1", "✕ 3 waiting", "✕ alarm", "has not run yet")
    keep(browser, "front_page_of_make_ui")
    follow(browser, f":{address}/assets/heart_disease/release", "no link to the asset in Dagster")
    require_shown(browser, "heart_disease", "release")
    browser.get(front)
    follow(browser, f":{address + 2}/#/experiments/", "no link to the MLflow run")
    require_shown(browser, "cv_roc_auc")
