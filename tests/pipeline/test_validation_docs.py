"""The pages of the validation state: what they say, what they may load, and that no name of a stranger gets through."""

from __future__ import annotations

import json
import re
from pathlib import Path

import dagster as dg
import pytest

from secure_ml.cli import main
from secure_ml.digests import digest_of
from secure_ml.errors import PreconditionError, RejectedError, UnavailableError
from secure_ml.evidence import EvidenceLog
from secure_ml.home import Home
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model as heart_disease
from secure_ml.operations.quarantine_decisions import discard_entry, release_entry
from secure_ml.orchestration.guarded_model import definitions_of
from secure_ml.orchestration.keys import asset_key, batches_of, job_name
from secure_ml.orchestration.resource import InstallationResource
from secure_ml.stage_names import VALIDATED_DATASET
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.validated_dataset import validate_batch
from secure_ml.validation_docs import docs_folder, page_of, render_own_doc, write_docs, write_own_docs
from secure_ml.validation_docs.pages import render_page
from secure_ml.validation_docs.state import NamedHome
from tests.installed_home import environment_in
from tests.pages import HOSTILE, Page, hostile_evidence, require_harmless
from tests.sample_model import guarded_model, put_batch


def judge(installation: Installation, batch: str, rows: list[tuple[object, object, object]], **changes: object) -> None:
    model = guarded_model(installation.home.root.parent / "models", **changes)  # type: ignore[arg-type]
    put_batch(installation.home.inbox / model.name, batch, rows)
    ingest_batch(installation, model, batch)
    try:
        validate_batch(installation, model, batch)
    except RejectedError as error:
        assert "above" in str(error)  # noqa: PT017 (a refusal is what the test is about)


@pytest.fixture
def written(installation: Installation) -> Path:
    """Pages of a batch that passed, one that was refused and one that was discarded."""
    judge(installation, "fine", [(index / 10, index, index % 2) for index in range(40)])
    judge(installation, "odd", [(50 + index, index, index % 2) for index in range(40)])
    judge(installation, "gone", [(60 + index, index, index % 2) for index in range(40)])
    state = write_own_docs(installation)
    gone = next(item for item in state.validations if item.batch == "gone")
    model = guarded_model(installation.home.root.parent / "models")
    discard_entry(installation, model, gone.evidence.cause, decided_by="ada", reason="a test export")
    write_own_docs(installation)
    return docs_folder(installation)


def test_the_index_shows_what_blocks_first_and_links_to_pages_that_are_there(written: Path) -> None:
    page = require_harmless((written / "index.html").read_bytes(), written, written / "index.html")
    assert "Blocked now (1)" in page.text
    text = page.text
    assert text.index("guarded: odd") < text.index("All environments") < text.index("guarded · policy production")
    for sentence in ("✕ 2 blocked", "✓ 1 passed", "x: 40 of 40 rows above 10", "discarded", "3 batches, 3 validations"):
        assert sentence in text, sentence


def test_the_page_of_a_refused_batch_has_its_failing_rules_first_then_its_distributions(written: Path) -> None:
    index = json.loads((written / "index.json").read_text())
    (environment,) = index["environments"]
    address = written / environment["batches"]["odd"]
    page = require_harmless(address.read_bytes(), written, address)
    order = ("Failing rules (1)", "x: 40 of 40 rows above 10", "Quarantine", "Trend over batches", "Distributions")
    places = [page.text.index(sentence) for sentence in order]
    assert places == sorted(places)
    assert "secure-ml quarantine show guarded" in page.text
    assert page.tags.count("svg") >= 4
    assert page.text.index("\nx\n") < page.text.index("\ny\n"), "the column that failed stands first"
    assert "\n50\n" in page.text, "the lowest edge of the histogram of x"


def test_the_page_of_a_discarded_batch_says_who_and_why(written: Path) -> None:
    index = json.loads((written / "index.json").read_text())
    (item,) = (item for item in index["validations"] if item["batch"] == "gone")
    assert item["decision"] == {
        "action": "discard",
        "by": "ada",
        "why": "a test export",
        "refused_under": None,
        "released_under": None,
    }
    page = Page((written / item["page"]).read_bytes())
    assert "Quarantine: discarded" in page.text
    assert "a test export" in page.text


def test_the_json_beside_each_page_says_the_same(written: Path) -> None:
    pages = sorted(written.rglob("*.html"))
    assert len(pages) == 4
    for address in pages:
        document = json.loads(address.with_suffix(".json").read_text())
        text = Page(address.read_bytes()).text
        for item in [document] if "batch" in document else document["validations"]:
            assert item["batch"] in text
            assert item["verdict"] in text
            for finding in item["findings"]:
                assert finding["sentence"] in text
    profile = json.loads(next(path for path in pages if path.name != "index.html").with_suffix(".json").read_text())
    assert {column["name"] for column in profile["profile"]["columns"]} == {"x", "y", "target"}


def test_no_name_of_a_stranger_becomes_markup(installation: Installation) -> None:
    for text in HOSTILE:
        hostile_evidence(installation, text)
        hostile_evidence(installation, text, "accepted")
    write_own_docs(installation)
    root = docs_folder(installation)
    pages = sorted(root.rglob("*.html"))
    assert len(pages) == 1 + 2 * len(HOSTILE)
    for address in pages:
        page = require_harmless(address.read_bytes(), root, address)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]", address.read_text())
        shown = page.text
        if address.name == "index.html":
            for text in HOSTILE[:6]:
                assert text in shown, "the name itself is shown, as text"
            assert "\\u202egnp.exe" in shown
            assert "\\u001b[2Jbell" in shown


def test_without_escaping_the_same_names_would_be_markup(tmp_path: Path) -> None:
    """The attack works on a page that is put together from strings: the parser finds the elements."""
    naive = Page(f"<html><body><p>{HOSTILE[0]}</p>{HOSTILE[1]}".encode())
    assert {"script", "img"} <= set(naive.tags)
    assert ("onerror", "document.title=1") in naive.attributes
    (tmp_path / "page.html").write_text(
        '{% extends "base.html" %}{% block title %}{{ names[0] }}{% endblock %}'
        '{% block body %}<p>{{ names[0] }}</p><a title="{{ names[1] }}">{{ names[1] }}</a>{% endblock %}'
    )
    good = Page(render_page("page.html", tmp_path, names=HOSTILE))
    assert not {"script", "img"} & set(good.tags)
    assert ("title", HOSTILE[1]) in good.attributes


def test_a_repetition_writes_nothing_and_what_is_gone_goes(written: Path, installation: Installation) -> None:
    before = {path: path.stat().st_mtime_ns for path in written.rglob("*")}
    write_own_docs(installation)
    assert {path: path.stat().st_mtime_ns for path in written.rglob("*")} == before
    evidence = sorted((installation.home.evidence / "guarded" / "validated_dataset").iterdir())[0]
    evidence.unlink()
    (written / "home" / "guarded" / "notes.txt").write_text("somebody's own")
    write_own_docs(installation)
    assert not list(written.rglob(f"{evidence.stem}.*"))
    assert (written / "home" / "guarded" / "notes.txt").exists()


def test_an_intake_writes_the_index_and_the_pages_of_its_batch_only(written: Path, installation: Installation) -> None:
    pages = {path: path.read_bytes() for path in written.rglob("*.html")}
    for path in pages:
        path.unlink()
    write_own_docs(installation, batch="odd")
    again = {path: path.read_bytes() for path in written.rglob("*.html")}
    assert len(again) == 2
    assert again.items() <= pages.items()


def test_a_document_that_does_not_verify_stands_above_all_and_is_not_believed(
    written: Path, installation: Installation
) -> None:
    evidence = sorted((installation.home.evidence / "guarded" / "validated_dataset").iterdir())[0]
    envelope = json.loads(evidence.read_text())
    envelope["signatures"][0]["sig"] = envelope["signatures"][0]["sig"][:-8] + "AAAAAAA="
    evidence.write_text(json.dumps(envelope, sort_keys=True, separators=(",", ":")))
    state = write_own_docs(installation)
    assert evidence.name in " ".join(item.problem for item in state.unverified)
    text = Page((written / "index.html").read_bytes()).text
    assert text.index("Documents that do not verify") < text.index("All environments")
    assert evidence.name in text
    assert not (written / "home" / "guarded" / f"{evidence.stem}.html").exists()


def test_a_changed_profile_is_named_and_not_drawn(written: Path, installation: Installation) -> None:
    path = next((installation.home.datasets / "guarded").rglob("profile.json"))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    write_own_docs(installation)
    text = Page((written / "home" / "guarded" / f"{path.parent.name}.html").read_bytes()).text
    assert "profile.json: changed" in text
    assert "Distributions" not in text


def test_a_training_set_has_a_page_with_what_the_screens_found(installation: Installation) -> None:
    sentence = (
        "12 of 300 rows have another label than their neighbours (finds 71 % of flipped labels, 3 % false alarms)"
    )
    EvidenceLog.open(installation, "guarded").append(
        installation.signer(),
        stage="training_set",
        cause=digest_of({"training_set": 1}),
        subjects={},
        inputs={"policy": "production", "contract": "0" * 64},
        facts={
            "batches": {"first": 200, "second": 150},
            "rows": {"training.parquet": 300, "holdout.parquet": 50},
            "findings": [{"tier": "warn", "failed": 12, "rows": 300, "sentence": sentence, "code": "poisoning"}],
        },
    )
    judge(installation, "fine", [(index / 10, index, index % 2) for index in range(8)])
    state = write_own_docs(installation)
    (item,) = (item for item in state.validations if item.evidence.stage == "training_set")
    text = Page((docs_folder(installation) / page_of(item.evidence)).read_bytes()).text
    for line in ("Warnings (1)", sentence, "first (200 rows), second (150 rows)", "300 rows accepted"):
        assert line in text
    index = Page((docs_folder(installation) / "index.html").read_bytes()).text
    assert "guarded: training sets · policy production" in index
    assert "1 model, 1 environment, 2 validations" in index
    assert "1 batch, 1 validation" in index


def test_a_page_that_was_changed_in_the_home_is_not_what_the_server_shows(
    written: Path, installation: Installation
) -> None:
    good = (written / "index.html").read_bytes()
    (written / "index.html").write_bytes(b"<script>all is well</script>")
    assert render_own_doc(installation, "index.html") == good
    for path in ("", "nothing.html", "../../../trust/keys/signer.pem", "home/guarded/x.html", "index.txt"):
        assert render_own_doc(installation, path) is None


def test_a_link_in_the_home_is_not_written_through(installation: Installation, tmp_path: Path) -> None:
    hostile_evidence(installation, "a")
    outside = tmp_path / "outside"
    outside.mkdir()
    installation.home.reports.mkdir()
    for link in (installation.home.reports / "validation", docs_folder(installation) / "home"):
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(outside)
        with pytest.raises(UnavailableError, match="is a link"):
            write_own_docs(installation)
        link.unlink()
    assert not list(outside.iterdir())


def test_several_homes_make_one_dashboard(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "experiment"
    other.mkdir()
    environment = {**environment_in(tmp_path), "SECURE_ML_HOME": str(other), "SECURE_ML_POLICY": "experiment"}
    judge(installation, "first", [(99, 1, 0), (2, 2, 1)])
    experiment = Installation.from_environment(environment)
    model = guarded_model(tmp_path / "models")
    put_batch(experiment.home.inbox / model.name, "first", [(99, 1, 0), (2, 2, 1)])
    ingest_batch(experiment, model, "first")
    validate_batch(experiment, model, "first")
    for name, value in environment_in(tmp_path).items():
        monkeypatch.setenv(name, value)
    homes = [f"--home=production={installation.home.root}", f"--home=experiment={other}"]
    assert main(["validation-docs", *homes, "--out", str(tmp_path / "pages")]) == 0
    assert "2 validations, 0 documents do not verify" in capsys.readouterr().err
    root = tmp_path / "pages"
    for address in root.rglob("*.html"):
        require_harmless(address.read_bytes(), root, address)
    text = Page((root / "index.html").read_bytes()).text
    assert "home experiment, policy experiment" in text
    assert "home production, policy production" in text
    assert "blocks in production" in text
    assert main(["validation-docs", *homes]) == 2
    assert main(["validation-docs", "--home", "../x=/tmp", "--out", str(root)]) == 2
    with pytest.raises(PreconditionError, match="each name once"):
        write_docs([NamedHome("a", installation.home), NamedHome("a", Home(other))], installation.trust, root)


def test_a_release_makes_its_pages_and_shows_the_change_of_contract(
    installation: Installation, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import secure_ml.spec

    judge(installation, "first", [(20, 1, 0), (2, 2, 1)])
    (refused,) = write_own_docs(installation).validations
    wide = guarded_model(installation.home.root.parent / "models", highest=30)
    monkeypatch.setattr(secure_ml.spec, "find_model", lambda _: wide)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["quarantine", "release", "guarded", refused.evidence.cause[:12], "--by", "ada", "--why", "new"]) == 0
    root = docs_folder(installation)
    text = Page((root / page_of(refused.evidence)).read_bytes()).text
    assert "Quarantine: released" in text
    assert wide.contract_digest[:12] in text
    assert "Nothing is blocked" in Page((root / "index.html").read_bytes()).text
    release_entry(installation, wide, refused.evidence.cause, decided_by="ada", reason="new")


def test_the_red_check_links_to_the_page_and_the_nightly_run_makes_the_index(
    environment: dict[str, str], installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ingest_batch(installation, heart_disease, "switzerland")
    definitions = definitions_of(heart_disease)
    (asset,) = (
        item
        for item in definitions.assets or []
        if isinstance(item, dg.AssetsDefinition) and item.key == asset_key(heart_disease.name, VALIDATED_DATASET)
    )
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(batches_of(heart_disease.name).name), ["switzerland"])
        result = dg.materialize(
            [asset],
            partition_key="switzerland",
            resources={"installation": InstallationResource()},
            instance=instance,
            raise_on_error=False,
        )
        (check,) = result.get_asset_check_evaluations()
        assert not check.passed
        url = str(check.metadata["validation_docs"].value)
        root = docs_folder(installation)
        shown = root / url.partition("/validation/")[2]
        assert "chol: 123 of 123 rows below 50" in Page(shown.read_bytes()).text
        for path in root.rglob("*.*"):
            path.unlink()
        from assets.definitions import defs

        job = defs.resolve_job_def(job_name(heart_disease.name, "nightly_validation"))
        assert job.execute_in_process(instance=instance).success
    assert "chol: 123 of 123 rows below 50" in Page((root / "index.html").read_bytes()).text
