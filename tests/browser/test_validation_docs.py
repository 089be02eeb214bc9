"""The validation docs in Chromium, from files and with no network: what people are meant to see is rendered."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from secure_ml.digests import digest_of
from secure_ml.errors import RejectedError
from secure_ml.evidence import EvidenceLog
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.validated_dataset import validate_batch
from secure_ml.validation_docs import docs_folder, write_own_docs
from tests.browser.browser_helpers import CONTRASTS, as_screen, keep, require_shown, shown, take_away
from tests.installed_home import environment_in
from tests.pages import HOSTILE, hostile_evidence

pytestmark = pytest.mark.browser
FINDING = "chol: 123 of 123 rows below 50"


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    installation = Installation.from_environment(environment_in(tmp_path_factory.mktemp("docs")))
    for batch in model.batches.files:
        ingest_batch(installation, model, batch)
        try:
            validate_batch(installation, model, batch)
        except RejectedError:
            assert batch in ("switzerland", "va")
    write_own_docs(installation)
    return installation


@pytest.fixture
def pages(installation: Installation) -> Path:
    return docs_folder(installation)


def open_batch(browser: webdriver.Chrome, pages: Path, batch: str) -> None:
    browser.get((pages / "index.html").as_uri())
    require_shown(browser, "Validation of all models")
    browser.find_element(By.LINK_TEXT, batch).click()
    require_shown(browser, f"heart_disease: {batch}")


def test_the_index_shows_what_blocks_above_all_else(pages: Path, look: webdriver.Chrome) -> None:
    as_screen(look, 1200, "light")
    look.get((pages / "index.html").as_uri())
    require_shown(look, FINDING, "Blocked now (2)", "✕ 2 blocked", "✓ passed", "All rules passed.")
    text = shown(look)
    assert text.index(FINDING) < text.index("All environments") < text.index("All rules passed.")
    keep(look, "validation_index")


def test_the_page_shows_its_failing_rule_on_the_first_screen(pages: Path, look: webdriver.Chrome) -> None:
    as_screen(look, 1200, "light")
    open_batch(look, pages, "switzerland")
    require_shown(look, FINDING, "Failing rules", "Quarantine", "Distributions (123 rows as received)")
    rule = look.find_element(By.XPATH, f"//*[text()='{FINDING}']")
    assert rule.rect["y"] < 400
    drawn = look.execute_script(
        "return [...document.querySelectorAll('svg rect')].map(r => r.getBoundingClientRect().height)"
    )
    assert len(drawn) > 50
    assert min(drawn) > 0
    keep(look, "validation_page")


def test_the_check_for_the_finding_fails_when_its_text_is_taken_away(pages: Path, look: webdriver.Chrome) -> None:
    open_batch(look, pages, "switzerland")
    require_shown(look, FINDING)
    take_away(look, FINDING)
    with pytest.raises(AssertionError, match="did not come true"):
        require_shown(look, FINDING, seconds=2)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_all_text_is_readable_on_each_screen(scheme: str, width: int, pages: Path, look: webdriver.Chrome) -> None:
    as_screen(look, width, scheme)
    for name in ("index", "va", "cleveland"):
        if name == "index":
            look.get((pages / "index.html").as_uri())
        else:
            open_batch(look, pages, name)
        ground = look.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(18, 22, 28)") == (scheme == "dark"), "the page follows the colour scheme"
        contrast, where = look.execute_script(CONTRASTS)
        assert contrast >= 4.5, where
        wide, screen = look.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert wide <= max(screen, width), "the page has to be moved sideways"
        keep(look, f"validation_{name}_{scheme}_{width}")


def test_nothing_is_loaded_or_run(pages: Path, look: webdriver.Chrome) -> None:
    for path in sorted(pages.rglob("*.html")):
        look.get(path.as_uri())
        assert look.execute_script("return performance.getEntriesByType('resource').length") == 0
        assert look.execute_script("return document.scripts.length + document.images.length") == 0
        assert look.get_log("browser") == []


def test_no_hostile_name_runs_in_the_browser(tmp_path: Path, look: webdriver.Chrome) -> None:
    installation = Installation.from_environment(environment_in(tmp_path))
    for text in HOSTILE:
        hostile_evidence(installation, text)
    write_own_docs(installation)
    # The attack works in this browser, on a page without our escaping.
    naive = tmp_path / "naive.html"
    naive.write_text(f"<!doctype html><title>naive</title><p>{HOSTILE[0]}</p>")
    look.get(naive.as_uri())
    assert look.title == "owned"
    for path in sorted(docs_folder(installation).rglob("*.html")):
        look.get(path.as_uri())
        assert look.title == "Validation of all models" or look.title.startswith("guarded: ")
        counts = look.execute_script(
            "return ['script', 'img', 'iframe', 'svg[onload]', 'b'].map(s => document.querySelectorAll(s).length)"
        )
        assert counts == [0, 0, 0, 0, 0]
    look.get((docs_folder(installation) / "index.html").as_uri())
    require_shown(look, HOSTILE[0], HOSTILE[1])
    keep(look, "validation_hostile_names")


def test_a_long_history_stays_readable(tmp_path: Path, look: webdriver.Chrome) -> None:
    installation = Installation.from_environment(environment_in(tmp_path))
    for day in range(200):
        bad = day % 9 == 4
        failed = 10 + day // 2 if bad else 3 if day % 4 == 1 else 0
        finding = {
            **{"column": "price", "rule": "in_range(0, 100)", "failed": failed, "rows": 200, "by": "compiled"},
            **{"tier": "block" if bad else "warn", "code": "out_of_range"},
            "sentence": f"price: {failed} of 200 rows above 100",
        }
        EvidenceLog.open(installation, "prices").append(
            installation.signer(),
            stage="validated_dataset",
            cause=digest_of({"day": day}),
            reasons=[str(finding["sentence"])] if bad else [],
            subjects={},
            inputs={
                "batch": f"day_{day:03}",
                "version": digest_of(day),
                "contract": digest_of("c"),
                "policy": "production",
            },
            facts={"rows": 200, "findings": [finding] if failed else []},
        )
    write_own_docs(installation)
    as_screen(look, 1200, "dark")
    look.get((docs_folder(installation) / "index.html").as_uri())
    require_shown(look, "200 batches, 200 validations", "the newest 60 validations", "price: 106 of 200 rows above 100")
    require_shown(look, "Blocked now (22)", "12 more blocked batches", "day_199")
    assert look.execute_script("return document.documentElement.scrollHeight") < 6000, (
        "folded, it is a few screens long"
    )
    assert "day_004" not in shown(look).split("All environments")[0], "the oldest of what is blocked is folded away"
    look.find_element(By.XPATH, "//summary[contains(., '12 more blocked batches')]").click()
    require_shown(look, "prices: day_004")
    keep(look, "validation_long_history")
