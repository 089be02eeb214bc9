"""The way of the data against who writes the home and sends batches: links, names, and what commands write."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from secure_ml.cli import main
from secure_ml.datasets.source_manifest import sign_manifest
from secure_ml.digests import digest_of, sha256
from secure_ml.errors import MalformedError, RejectedError
from secure_ml.evidence import Evidence, EvidenceLog, EvidenceRejectedError
from secure_ml.installation import Installation
from secure_ml.operations.quarantine_decisions import discard_entry
from secure_ml.orchestration.presentation import metadata_of
from secure_ml.quarantine.entries import entries
from secure_ml.spec import GuardedModel
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.incoming import inbox_batches
from secure_ml.stages.training_set import build_training_set
from secure_ml.stages.validated_dataset import validate_batch
from secure_ml.validation_docs import docs_folder, page_of, write_own_docs
from secure_ml.validation_docs.state import newest_of_each_batch
from tests.pages import Page
from tests.sample_model import guarded_model, put_batch

ROWS = [(1.5, 2.5, 1), (2, 0.5, 0), (3.25, -1, 1), (4, 0, 0)]


@pytest.fixture
def model(tmp_path: Path) -> GuardedModel:
    return guarded_model(tmp_path / "models")


@pytest.fixture
def command(environment: dict[str, str], installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """The environment of `installation`, for commands."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return installation


def test_a_link_in_the_inbox_does_not_lead_a_signed_manifest_over_the_key(
    command: Installation, model: GuardedModel, tmp_path: Path
) -> None:
    """Whoever writes the inbox puts links where a writer would go; a plain write goes through each of them."""
    inbox, key = command.home.inbox / model.name, tmp_path / "keys" / "signer.pem"
    put_batch(inbox, "first", ROWS)
    through = tmp_path / "through"
    through.write_text("somebody's own")
    (tmp_path / "link").symlink_to(through)
    (tmp_path / "link").write_text("gone")
    assert through.read_text() == "gone", "the attack works on a plain write"
    good = key.read_bytes()
    for name in (".manifest.dsse.json.fresh", "manifest.dsse.json"):
        (inbox / name).symlink_to(key)
    assert main(["dataset", "sign-manifest", str(inbox), "--source", f"inbox.{model.name}"]) == 0
    assert key.read_bytes() == good
    assert not (inbox / "manifest.dsse.json").is_symlink()


def test_a_batch_called_as_another_version_begins_is_not_taken_for_it(
    command: Installation, model: GuardedModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox = command.home.inbox / model.name
    put_batch(inbox, "first", ROWS)
    wanted = ingest_batch(command, model, "first").inputs["version"]
    put_batch(inbox, wanted[:12], [(9, 9, 0), (8, 8, 1)])
    put_batch(inbox, wanted, [(7, 9, 0), (7, 8, 1)])
    for name in (wanted[:12], wanted):
        ingest_batch(command, model, name)
    assert main(["dataset", "checkout", model.name, wanted[:12], str(tmp_path / "out")]) == 2
    assert "is a batch, and a version begins so; give all digits" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["dataset", "checkout", model.name, wanted, str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "batch.csv").read_bytes() == (inbox / "first.csv").read_bytes()


def test_what_is_checked_out_is_for_its_owner_alone_and_a_failure_leaves_nothing(
    command: Installation, model: GuardedModel, tmp_path: Path
) -> None:
    put_batch(command.home.inbox / model.name, "first", ROWS)
    ingest_batch(command, model, "first")
    assert main(["dataset", "checkout", model.name, "first", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700
    assert main(["dataset", "checkout", model.name, "first", str(tmp_path / "new" / "..")]) == 2
    assert not list((tmp_path / "new").iterdir())


@pytest.mark.parametrize("link", ["home", "home/model"])
def test_no_page_is_removed_behind_a_link(link: str, installation: Installation, tmp_path: Path) -> None:
    """Evidence is called as pages are, so a link to another home's evidence would have it removed."""
    root = docs_folder(installation)
    old = root / "home" / "gone" / f"{'a' * 64}.json"
    old.parent.mkdir(parents=True)
    old.write_text("a page of what is no longer on record")
    write_own_docs(installation)
    assert not old.exists(), "without a link it is removed"
    victim = tmp_path / "other" / "model" / f"{'a' * 64}.json"
    victim.parent.mkdir(parents=True)
    victim.write_text("evidence")
    (root / "home" / "gone").rmdir()
    if link == "home":
        (root / "home").rmdir()
    (root / link).symlink_to(victim.parents[1] if link == "home" else victim.parent)
    write_own_docs(installation)
    assert victim.read_text() == "evidence"


def test_the_command_writes_no_page_through_a_link(
    command: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    command.home.reports.symlink_to(outside)
    assert main(["validation-docs"]) == 2
    assert "is a link, expected a folder" in capsys.readouterr().err
    assert not list(outside.iterdir())


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("X,y,target,x", "two columns are named 'x'"),
        ("x,y,target,TARGET", "two columns are named 'TARGET'"),
        ("x,y,target,", "a column has no name"),
        ('x,y,target,"a\nb",' + ",".join(f"c{index}" for index in range(5000)), "columns, at most 4096"),
    ],
    ids=["upper case first", "upper case last", "no name", "too many behind a quoted line end"],
)
def test_names_that_the_engine_cannot_tell_apart_or_are_too_many_are_quarantined(
    header: str, said: str, installation: Installation, model: GuardedModel
) -> None:
    """The engine knows no upper case in names: it gives the second of two such columns a name of its own."""
    width = header.count(",") + 1
    inbox = installation.home.inbox / model.name
    inbox.mkdir(parents=True)
    (inbox / "first.csv").write_text(header + "\n" + ",".join(["1"] * width) + "\n")
    with pytest.raises(RejectedError, match=said):
        ingest_batch(installation, model, "first")
    (entry,) = entries(EvidenceLog.open(installation, model.name))
    assert entry.refusal.stage == "dataset"


def test_evidence_that_nobody_could_read_again_is_not_written(installation: Installation, model: GuardedModel) -> None:
    """Each gate reads all documents of a stage, so one that is too large would stop the model for ever."""

    def note(size: int) -> Evidence:
        return EvidenceLog.open(installation, model.name).append(
            installation.signer(),
            stage="dataset",
            cause=digest_of({"size": size}),
            subjects={},
            inputs={},
            facts={"findings": "x" * size},
        )

    note(11 << 20)
    with pytest.raises(MalformedError, match="expected at most 16777216 bytes"):
        note(13 << 20)
    assert len(EvidenceLog.open(installation, model.name).history("dataset")) == 1


def test_the_manifest_of_one_models_inbox_proves_nothing_in_that_of_another(
    installation: Installation, model: GuardedModel
) -> None:
    closed = replace(model, batches=replace(model.batches, require_inbox_manifest=True))
    other = replace(closed, name="other")
    for taker in (closed, other):
        put_batch(installation.home.inbox / taker.name, "first", ROWS)
    inbox = installation.home.inbox / closed.name
    digest = sha256((inbox / "first.csv").read_bytes())
    signed = sign_manifest(f"inbox.{closed.name}", {"first.csv": digest}, installation.signer())
    for taker in (closed, other):
        (installation.home.inbox / taker.name / "manifest.dsse.json").write_bytes(signed)
    assert ingest_batch(installation, closed, "first").inputs["manifest"] == sha256(signed)
    with pytest.raises(RejectedError, match="it is the manifest of another source"):
        ingest_batch(installation, other, "first")


def test_a_reason_is_no_markdown_in_the_ui(installation: Installation, model: GuardedModel) -> None:
    """A column may be called as a picture of Markdown, which whoever looks at the refusal would fetch."""
    picture = "![x](http://elsewhere.example/x.png)"
    inbox = installation.home.inbox / model.name
    inbox.mkdir(parents=True)
    (inbox / "first.csv").write_text(f"x,y,target,{picture}\n1,2,0,1\n")
    ingest_batch(installation, model, "first")
    with pytest.raises(EvidenceRejectedError) as refused:
        validate_batch(installation, model, "first")
    shown = metadata_of(refused.value.evidence)
    assert any(picture in str(value) for value in shown.values()), "the name is shown"
    assert not any(isinstance(value, dg.MarkdownMetadataValue) for value in shown.values())


def test_a_later_batch_of_the_same_name_hides_no_refusal_in_the_index(
    installation: Installation, model: GuardedModel
) -> None:
    """Without looking at older validations the index says that nothing is blocked."""
    inbox = installation.home.inbox / model.name
    put_batch(inbox, "first", [(99, 1, 0), (2, 2, 1)])
    ingest_batch(installation, model, "first")
    with pytest.raises(RejectedError, match="x: 1 of 2 rows above 10"):
        validate_batch(installation, model, "first")
    put_batch(inbox, "first", ROWS)
    ingest_batch(installation, model, "first")
    validate_batch(installation, model, "first")
    (line,) = write_own_docs(installation).histories.values()
    assert [item.verdict for item in newest_of_each_batch(line)] == ["passed"]
    index = docs_folder(installation) / "index.html"
    text = Page(index.read_bytes()).text
    assert "Earlier rejections without a decision (1)" in text
    assert "x: 1 of 2 rows above 10" in text
    assert "Nothing is blocked" not in text
    (entry,) = entries(EvidenceLog.open(installation, model.name))
    discard_entry(installation, model, entry.refusal.cause, decided_by="ada", reason="a test export")
    write_own_docs(installation)
    text = Page(index.read_bytes()).text
    assert "Nothing is blocked" in text
    assert "without a decision (" not in text


def test_the_inbox_lists_no_batch_that_is_called_as_the_one_which_gives_the_holdout(
    installation: Installation, model: GuardedModel
) -> None:
    for name in ("first", model.split.batch):
        put_batch(installation.home.inbox / model.name, name, ROWS)
    assert inbox_batches(model, installation.home) == ["first"]


def test_a_validation_rests_on_the_evidence_of_the_dataset_that_is_there(
    installation: Installation, model: GuardedModel
) -> None:
    """Evidence that was taken away and made again is another document, and the way back to the data would end."""
    put_batch(installation.home.inbox / model.name, "first", ROWS)
    taken = ingest_batch(installation, model, "first")
    accepted = validate_batch(installation, model, "first")
    taken.path.unlink()
    again = ingest_batch(installation, model, "first")
    assert again.subjects == taken.subjects
    with pytest.raises(RejectedError, match="rests on missing evidence of dataset"):
        EvidenceLog.open(installation, accepted.model).chain(accepted)
    with pytest.raises(RejectedError, match="rests on other evidence of the intake"):
        validate_batch(installation, model, "first")


@pytest.mark.parametrize(
    ("holdout", "said"),
    [
        ([(index / 10, index, 0) for index in range(8)], "training rows of both classes are needed"),
        (None, "batch other, which provides the holdout, is not accepted"),
    ],
    ids=["one class", "no holdout"],
)
def test_a_training_set_needs_its_holdout_and_rows_of_both_classes(
    holdout: list[tuple[object, object, object]] | None, said: str, installation: Installation, model: GuardedModel
) -> None:
    folder = installation.home.root.parent / "files"
    put_batch(folder, "other", holdout or ROWS)
    model = replace(model, batches=replace(model.batches, files={"other": folder / "other.csv"}))
    put_batch(installation.home.inbox / model.name, "first", [(x, y, 0) for x, y, _ in ROWS])
    for batch in ("first", "other") if holdout else ("first",):
        ingest_batch(installation, model, batch)
        validate_batch(installation, model, batch)
    with pytest.raises(RejectedError, match=said):
        build_training_set(installation, model)


def test_the_pages_name_a_stray_file_and_a_refusal_of_no_policy_under_each(
    installation: Installation, model: GuardedModel
) -> None:
    inbox = installation.home.inbox / model.name
    put_batch(inbox, "first", ROWS)
    ingest_batch(installation, model, "first")
    for policy in ("production", "experiment"):
        validate_batch(replace(installation, policy=policy), model, "first")
    (inbox / "second.csv").write_bytes(b"\xff\xfe\n")
    with pytest.raises(RejectedError, match="UTF-8"):
        ingest_batch(installation, model, "second")
    stray = installation.home.evidence / model.name / "validated_dataset" / "notes.txt"
    stray.write_text("accepted")
    state = write_own_docs(installation)
    assert [item.problem for item in state.unverified] == [
        f"evidence/{model.name}/validated_dataset/notes.txt: not evidence, expected a file named DIGEST.json; remove it"
    ]
    shown = {key[2]: [item.verdict for item in line] for key, line in state.histories.items()}
    assert shown == {"production": ["passed", "blocked"], "experiment": ["passed", "blocked"]}


def test_what_is_held_though_the_contract_has_nothing_against_it_is_shown_as_blocked(
    installation: Installation, model: GuardedModel, tmp_path: Path
) -> None:
    wide = guarded_model(tmp_path / "models", highest=100)
    put_batch(installation.home.inbox / model.name, "first", [(99, 1, 0), (2, 2, 1)])
    ingest_batch(installation, model, "first")
    for present in (model, wide):
        with pytest.raises(RejectedError):
            validate_batch(installation, present, "first")
    state = write_own_docs(installation)
    assert [(item.verdict, len(item.findings)) for item in state.validations] == [("blocked", 1), ("blocked", 0)]
    held = docs_folder(installation) / page_of(state.validations[1].evidence)
    assert "Why this was rejected" in Page(held.read_bytes()).text
    index = Page((docs_folder(installation) / "index.html").read_bytes()).text
    assert "Blocked now (1)" in index
    assert "since contract" in index


def test_evidence_of_one_model_is_none_of_another(installation: Installation, model: GuardedModel) -> None:
    put_batch(installation.home.inbox / model.name, "first", ROWS)
    path = ingest_batch(installation, model, "first").path
    other = installation.home.evidence / "other" / "dataset"
    other.mkdir(parents=True)
    (other / path.name).write_bytes(path.read_bytes())
    assert len(EvidenceLog.open(installation, model.name).history("dataset")) == 1
    with pytest.raises(RejectedError, match="evidence of another model, stage or cause"):
        EvidenceLog.open(installation, "other").history("dataset")
