"""The front page in Chromium, from a real report server: each fact is rendered, and the page fits one screen."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import dagster as dg
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from assets.__main__ import prepare_dagster
from assets.front_page import UiAddresses
from assets.report_server import make_report_server
from secure_ml.errors import RejectedError
from secure_ml.evidence import EvidenceLog
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model
from secure_ml.orchestration.integrity_checks import INTACT
from secure_ml.orchestration.keys import asset_key
from secure_ml.releases import current_release
from secure_ml.stage_names import GRAPH_STAGES
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.validated_dataset import validate_batch
from tests.browser.browser_helpers import CONTRASTS, as_screen, keep, require_shown, take_away
from tests.installed_home import build_home

DAMAGE = "model.onnx: changed, expected digest 0123"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A released model, two batches in quarantine, and a failed integrity check in Dagster's history."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in build_home(tmp_path_factory.mktemp("front")).items():
            patch.setenv(name, value)
        patch.setenv("DAGSTER_HOME", "")
        installation = Installation.from_environment(os.environ)
        for batch in ("switzerland", "va"):
            ingest_batch(installation, model, batch)
            with pytest.raises(RejectedError):
                validate_batch(installation, model, batch)
        prepare_dagster(installation)
        with dg.DagsterInstance.get() as instance:
            for stage in GRAPH_STAGES:
                instance.report_runless_asset_event(
                    dg.AssetCheckEvaluation(
                        asset_key=asset_key(model.name, stage),
                        check_name=INTACT,
                        passed=stage != "signed_model",
                        description=DAMAGE if stage == "signed_model" else "intact",
                        metadata={},
                    )
                )
        yield installation


@pytest.fixture(scope="module")
def address(installation: Installation) -> Iterator[str]:
    addresses = UiAddresses(dagster="http://127.0.0.1:1", mlflow="http://127.0.0.1:2")
    with make_report_server(installation, {model.name: model}, 0, addresses) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def facts(installation: Installation) -> dict[str, str]:
    """Return the text of each fact that the page has to show."""
    home, trust = installation.home, installation.trust
    release = current_release(home, trust, model.name)
    report = EvidenceLog.open(installation, model.name).latest("drift_report")
    segment = EvidenceLog.open(installation, model.name).latest("inference_log")
    return {
        "needs": "✕ 2 things need a person",
        "release": "✓ release 1",
        "model": f"model {release.model_digest[:12]}",
        "version": "version 1 in MLflow",
        "released at": f"{release.made_at[:10]} {release.made_at[11:16]} UTC",
        "waiting": "✕ 2 waiting",
        "batch": "switzerland",
        "drift": "✓ no alarm",
        "drift sentence": str(report.facts["sentence"]),
        "segment": f"✓ segment {segment.cause[:8]}",
        "records": f"{segment.facts['rows']} records",
        "integrity": "✕ failed",
        "integrity count": "7 of 8 stages passed",
        "integrity finding": DAMAGE,
    }


FACTS = (
    *("needs", "release", "model", "version", "released at", "waiting", "batch", "drift", "drift sentence"),
    *("segment", "records", "integrity", "integrity count", "integrity finding"),
)


@pytest.mark.parametrize("fact", FACTS)
def test_each_fact_is_shown_and_its_absence_is_noticed(
    fact: str, facts: dict[str, str], address: str, look: webdriver.Chrome
) -> None:
    look.get(f"{address}/")
    require_shown(look, facts[fact])
    take_away(look, facts[fact])
    with pytest.raises(AssertionError, match="did not come true"):
        require_shown(look, facts[fact], seconds=0.5)


def test_the_page_of_one_model_fits_one_screen_and_what_needs_a_person_is_on_top(
    facts: dict[str, str], address: str, look: webdriver.Chrome
) -> None:
    look.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 1440, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    look.get(f"{address}/")
    require_shown(look, *facts.values())
    assert look.title == "2 things need a person · secure-ml"
    heading = look.find_element(By.XPATH, "//h2[contains(., 'need a person')]")
    assert heading.rect["y"] < 150
    assert look.execute_script("return document.documentElement.scrollHeight") <= 900
    keep(look, "front_page")


def test_each_local_link_leads_to_a_page(address: str, look: webdriver.Chrome) -> None:
    look.get(f"{address}/")
    links = {str(link.get_attribute("href")) for link in look.find_elements(By.TAG_NAME, "a")}
    local = {link for link in links if link.startswith(address)}
    assert any("/validation/home/heart_disease/" in link for link in local)
    for link in sorted(local):
        look.get(link)
        assert "no such page" not in look.page_source, link
    look.get(f"{address}/")
    look.find_element(By.LINK_TEXT, "switzerland").click()
    require_shown(look, "heart_disease: switzerland", "chol: 123 of 123 rows below 50")
    look.get(f"{address}/reports.html")
    require_shown(look, "Drift reports", "no alarm", "drift-")
    keep(look, "report_list")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_all_text_is_readable_on_each_screen(scheme: str, width: int, address: str, look: webdriver.Chrome) -> None:
    as_screen(look, width, scheme)
    look.get(f"{address}/")
    contrast, element = look.execute_script(CONTRASTS)
    assert contrast >= 4.5, element
    content, screen = look.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert content <= max(screen, width), "the page has to be moved sideways"
    keep(look, f"front_page_{scheme}_{width}")


def test_the_front_page_loads_and_runs_nothing(address: str, look: webdriver.Chrome) -> None:
    look.get(f"{address}/")
    assert look.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert look.execute_script("return document.scripts.length + document.images.length") == 0
