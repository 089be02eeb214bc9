"""Quarantine by its commands and settings: batches and rows, decisions with who and why, and what is never shown."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import polars as pl
import pytest

import secure_ml.spec
from secure_ml.cli import main
from secure_ml.digests import digest_of
from secure_ml.errors import PreconditionError, RejectedError
from secure_ml.evidence import Evidence, EvidenceLog
from secure_ml.installation import Installation
from secure_ml.operations.integrity_check import check_stage
from secure_ml.operations.pending_work import pending_inbox_batches
from secure_ml.operations.quarantine_decisions import discard_entry, release_entry
from secure_ml.quarantine.entries import entries
from secure_ml.spec import GuardedModel
from secure_ml.stage_names import QUARANTINE_DECISION
from secure_ml.stages.dataset import dataset_folder, ingest_batch
from secure_ml.stages.validated_dataset import TABLE_FILE, validate_batch
from tests.sample_model import guarded_model, load, put_batch

ROWS = [(1.5, 2.5, 1), (77.125, 0.5, 0), (3.25, -1, 1), (4, 0, 0), (15, 0, 1)]
WHY = "the sensor was replaced, it measures up to 100"


def refuse(
    installation: Installation, model: GuardedModel, rows: list[tuple[object, object, object]] = ROWS
) -> Evidence:
    take_in(installation, model, rows)
    with pytest.raises(RejectedError):
        validate_batch(installation, model, "first")
    return EvidenceLog.open(installation, model.name).latest("validated_dataset")


def take_in(installation: Installation, model: GuardedModel, rows: list[tuple[object, object, object]] = ROWS) -> None:
    put_batch(installation.home.inbox / model.name, "first", rows)
    ingest_batch(installation, model, "first")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def command(
    environment: dict[str, str],
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> object:
    """Run `secure-ml` on a model that is registered with a contract up to `highest`."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, highest: float = 10) -> tuple[int, str, str]:
        monkeypatch.setattr(secure_ml.spec, "find_model", lambda _: guarded_model(models, highest=highest))
        code = main(["quarantine", *arguments])
        out, err = capsys.readouterr()
        assert "77.125" not in out + err
        return code, out, err

    return run


def test_a_release_under_the_same_contract_is_refused_with_a_clear_sentence(
    installation: Installation, models: Path
) -> None:
    model = guarded_model(models)
    refused = refuse(installation, model)
    with pytest.raises(RejectedError, match="the contract has not changed since it refused the batch"):
        release_entry(installation, model, refused.cause, decided_by="ada", reason=WHY)
    assert EvidenceLog.open(installation, model.name).history(QUARANTINE_DECISION) == []


def test_a_release_under_a_contract_that_refuses_it_too_says_what_it_found(
    installation: Installation, models: Path
) -> None:
    refused = refuse(installation, guarded_model(models))
    wider = guarded_model(models, highest=50)
    with pytest.raises(RejectedError, match="refuses it too: x: 1 of 5 rows above 50"):
        release_entry(installation, wider, refused.cause, decided_by="ada", reason=WHY)
    assert EvidenceLog.open(installation, wider.name).history(QUARANTINE_DECISION) == []


@pytest.mark.parametrize("keeps", ["batch", "rows"])
def test_an_edit_of_the_trainer_alone_releases_nothing(keeps: str, installation: Installation, models: Path) -> None:
    """It changes the digest that stands for the contract, and no rule: the batch is asked about afresh."""
    model = guarded_model(models, keeps=keeps)
    take_in(installation, model)
    if keeps == "rows":
        refused, said = validate_batch(installation, model, "first"), "2 of 2 rows break the present contract"
    else:
        refused, said = refuse(installation, model), "refuses it too: x: 2 of 5 rows above 10"
    path = models / f"retrained_{keeps}.py"
    text = (models / f"guarded_{keeps}_10.py").read_text()
    path.write_text(text.replace("random_state=seed", "random_state=seed, C=0.5"))
    retrained = load(path)
    assert retrained.contract_digest != model.contract_digest, "the digest alone would let it go"
    with pytest.raises(RejectedError, match=said):
        release_entry(installation, retrained, refused.cause, decided_by="ada", reason=WHY)
    assert EvidenceLog.open(installation, model.name).history(QUARANTINE_DECISION) == []
    (entry,) = entries(EvidenceLog.open(installation, model.name))
    assert entry.state == "open"


def test_a_release_covers_each_refusal_of_the_same_bytes(installation: Installation, models: Path) -> None:
    refuse(installation, guarded_model(models))
    second = refuse(installation, guarded_model(models, highest=50))
    widest = guarded_model(models, highest=100)
    release_entry(installation, widest, second.cause, decided_by="ada", reason=WHY)
    states = [entry.state for entry in entries(EvidenceLog.open(installation, widest.name))]
    assert states == ["released", "released"]


def test_a_release_of_what_has_a_newer_version_is_refused(installation: Installation, models: Path) -> None:
    refused = refuse(installation, guarded_model(models))
    wide = guarded_model(models, highest=100)
    take_in(installation, wide, ROWS[:1])
    with pytest.raises(RejectedError, match="has a newer version"):
        release_entry(installation, wide, refused.cause, decided_by="ada", reason=WHY)


def test_what_is_held_is_decided_on_once_and_can_be_released_after(installation: Installation, models: Path) -> None:
    """The sensor asks for evidence of its cause: a batch that is held must have some, or it would run for ever."""
    refused = refuse(installation, guarded_model(models))
    wide = guarded_model(models, highest=100)
    (arrival,) = pending_inbox_batches(installation, wide)
    with pytest.raises(RejectedError, match=f"in quarantine .{refused.cause[:12]}"):
        validate_batch(installation, wide, "first")
    assert pending_inbox_batches(installation, wide) == []
    release_entry(installation, wide, refused.cause, decided_by="ada", reason=WHY)
    assert pending_inbox_batches(installation, wide) == []
    newest = EvidenceLog.open(installation, wide.name).latest("validated_dataset")
    assert newest.decision == "accepted"
    assert newest.cause != arrival.cause


def test_the_same_decision_is_made_once(installation: Installation, models: Path) -> None:
    refused = refuse(installation, guarded_model(models))
    wide = guarded_model(models, highest=100)
    first = release_entry(installation, wide, refused.cause[:8], decided_by="ada", reason=WHY)
    again = release_entry(installation, wide, refused.cause, decided_by="bob", reason="another reason")
    assert again == first
    with pytest.raises(RejectedError, match=r"was released already, by ada on .*: the sensor was replaced"):
        discard_entry(installation, wide, refused.cause, decided_by="bob", reason="no")
    assert len(EvidenceLog.open(installation, wide.name).history(QUARANTINE_DECISION)) == 1


def test_what_is_no_table_is_never_released_and_can_be_discarded(installation: Installation, models: Path) -> None:
    model = guarded_model(models)
    inbox = installation.home.inbox / model.name
    inbox.mkdir(parents=True)
    (inbox / "first.csv").write_bytes(b"\xff\xfe\n")
    with pytest.raises(RejectedError):
        ingest_batch(installation, model, "first")
    (entry,) = entries(EvidenceLog.open(installation, model.name))
    with pytest.raises(RejectedError, match="only what a contract refused can be released"):
        release_entry(
            installation, guarded_model(models, highest=100), entry.refusal.cause, decided_by="ada", reason=WHY
        )
    assert (
        discard_entry(installation, model, entry.refusal.cause, decided_by="ada", reason="broken").decision
        == "rejected"
    )


def test_a_window_that_drifted_is_never_released_and_can_be_discarded(installation: Installation, models: Path) -> None:
    model = guarded_model(models)
    window = EvidenceLog.open(installation, model.name).append(
        installation.signer(),
        stage="drift_response",
        cause=digest_of({"report": 1}),
        subjects={},
        inputs={"response": "quarantine"},
        facts={"alarm": ["drift alarm: x"]},
    )
    with pytest.raises(RejectedError, match="only what a contract refused can be released"):
        release_entry(installation, model, window.cause, decided_by="ada", reason=WHY)
    discard_entry(installation, model, window.cause, decided_by="ada", reason="a test of the pump")
    (entry,) = entries(EvidenceLog.open(installation, model.name))
    assert (entry.state, entry.scope) == ("discarded", "window")


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "\x1b[2J", "x" * 1001])
def test_who_and_why_are_one_line_of_text(text: str, installation: Installation, models: Path) -> None:
    model = guarded_model(models)
    refused = refuse(installation, model)
    for by, why in ((text, "why"), ("ada", text)):
        with pytest.raises(PreconditionError, match="expected one line"):
            discard_entry(installation, model, refused.cause, decided_by=by, reason=why)


@pytest.mark.parametrize("identity", ["", "xyz", "../..", "0" * 65])
def test_an_id_is_hexadecimal_digits(identity: str, installation: Installation, models: Path) -> None:
    with pytest.raises(PreconditionError, match="hexadecimal digits"):
        discard_entry(installation, guarded_model(models), identity, decided_by="ada", reason=WHY)


def test_failing_rows_are_for_their_owner_alone(installation: Installation, models: Path) -> None:
    model = guarded_model(models)
    refused = refuse(installation, model)
    folder = installation.home.quarantine / model.name / refused.cause
    rows = folder / "failing_rows.csv"
    assert "77.125" in rows.read_text()
    for path in (rows, folder / "findings.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for path in (folder, folder.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert "77.125" not in (folder / "findings.json").read_text()


def test_rows_are_kept_aside_and_the_others_go_on(installation: Installation, models: Path) -> None:
    model = guarded_model(models, keeps="rows")
    take_in(installation, model)
    accepted = validate_batch(installation, model, "first")
    assert (accepted.facts["rows"], accepted.facts["refused_rows"]) == (3, 2)
    table = pl.read_parquet(dataset_folder(installation.home, model.name, accepted.cause) / TABLE_FILE)
    assert table["x"].to_list() == [1.5, 3.25, 4.0]
    aside = pl.read_csv(installation.home.quarantine / model.name / accepted.cause / "failing_rows.csv")
    assert aside["row"].to_list() == [2, 5]
    (entry,) = entries(EvidenceLog.open(installation, model.name))
    assert (entry.state, entry.scope) == ("open", "rows")
    assert validate_batch(installation, model, "first") == accepted
    assert check_stage(installation, model, "validated_dataset") == (1, [])


def test_nightly_validation_names_changed_rows_that_were_kept_aside(installation: Installation, models: Path) -> None:
    model = guarded_model(models, keeps="rows")
    take_in(installation, model)
    accepted = validate_batch(installation, model, "first")
    rows = installation.home.quarantine / model.name / accepted.cause / "failing_rows.csv"
    rows.write_text(rows.read_text().replace("77.125", "7.125"))
    _, found = check_stage(installation, model, "validated_dataset")
    assert len(found) == 1
    assert "failing_rows.csv: changed" in found[0]


def test_rows_kept_aside_stay_there_under_a_later_contract_until_they_are_released(
    installation: Installation, models: Path
) -> None:
    first = guarded_model(models, keeps="rows")
    take_in(installation, first)
    aside = validate_batch(installation, first, "first")
    wider = guarded_model(models, highest=50, keeps="rows")
    assert validate_batch(installation, wider, "first").facts["refused_rows"] == 2
    with pytest.raises(RejectedError, match="1 of 2 rows break the present contract"):
        release_entry(installation, wider, aside.cause, decided_by="ada", reason=WHY)
    widest = guarded_model(models, highest=100, keeps="rows")
    assert validate_batch(installation, widest, "first").facts["refused_rows"] == 2


def test_released_rows_go_on_under_the_contract_that_accepts_them(installation: Installation, models: Path) -> None:
    first = guarded_model(models, keeps="rows")
    take_in(installation, first)
    aside = validate_batch(installation, first, "first")
    widest = guarded_model(models, highest=100, keeps="rows")
    release_entry(installation, widest, aside.cause, decided_by="ada", reason=WHY)
    accepted = validate_batch(installation, widest, "first")
    assert (accepted.facts["rows"], accepted.facts["refused_rows"]) == (5, 0)
    assert [entry.state for entry in entries(EvidenceLog.open(installation, widest.name))] == ["released"]


def test_discarded_rows_never_go_on(installation: Installation, models: Path) -> None:
    first = guarded_model(models, keeps="rows")
    take_in(installation, first)
    aside = validate_batch(installation, first, "first")
    discard_entry(installation, first, aside.cause, decided_by="ada", reason="a test export")
    widest = guarded_model(models, highest=100, keeps="rows")
    assert validate_batch(installation, widest, "first").facts["refused_rows"] == 2


def test_rows_that_were_kept_aside_hold_the_batch_where_whole_batches_are_quarantined(
    installation: Installation, models: Path
) -> None:
    first = guarded_model(models, keeps="rows")
    take_in(installation, first)
    validate_batch(installation, first, "first")
    with pytest.raises(RejectedError, match="2 of its rows are in quarantine"):
        validate_batch(installation, guarded_model(models, highest=100), "first")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([(1, 2, 1), (99, "", 0), (3, "", 1)], "y: 2 of 3 rows null, more than 25%"),
        ([(99, 2, 1), (98, 1, 0)], "x: 2 of 2 rows above 10"),
    ],
    ids=["a share of the batch", "no row is left"],
)
def test_a_rule_of_the_batch_refuses_the_whole_batch(
    rows: list[tuple[object, object, object]], said: str, installation: Installation, models: Path
) -> None:
    model = guarded_model(models, keeps="rows")
    refused = refuse(installation, model, rows)
    assert said in refused.reasons
    assert entries(EvidenceLog.open(installation, model.name))[0].scope == "batch"


def test_a_missing_column_refuses_the_whole_batch(installation: Installation, models: Path) -> None:
    model = guarded_model(models, keeps="rows")
    inbox = installation.home.inbox / model.name
    inbox.mkdir(parents=True)
    (inbox / "first.csv").write_text("x,target\n1,1\n99,0\n")
    ingest_batch(installation, model, "first")
    with pytest.raises(RejectedError, match="y: column is missing"):
        validate_batch(installation, model, "first")


def test_the_commands_say_who_and_why_and_never_a_value(command, installation: Installation, models: Path) -> None:
    refused = refuse(installation, guarded_model(models))
    short = refused.cause[:12]
    code, out, err = command("list")
    assert code == 0
    assert f"{short}  open       guarded  first  x: 2 of 5 rows above 10" in out
    assert "1 in quarantine, 1 undecided" in err
    code, out, _ = command("show", "guarded", short)
    assert code == 0
    assert "failing_rows.csv" in out
    assert "reason: x: 2 of 5 rows above 10" in out

    code, _, err = command("release", "guarded", short, "--why", WHY)
    assert code == 1
    assert "the contract has not changed" in err
    code, out, _ = command("release", "guarded", short, "--by", "ada", "--why", WHY, highest=100)
    assert code == 0
    for line in ("action: release", "by: ada", f"why: {WHY}", "refused_under: ", "released_under: "):
        assert line in out
    code, out, _ = command("show", "guarded", short)
    assert "state: released" in out
    code, out, _ = command("list", "--json")
    (item,) = json.loads(out)["quarantine"]
    assert item["decision"]["why"] == WHY
    code, _, err = command("discard", "guarded", short, "--why", "no")
    assert code == 1
    assert "was released already, by ada" in err


def test_a_decision_needs_a_reason(command, installation: Installation, models: Path) -> None:
    refused = refuse(installation, guarded_model(models))
    code, _, err = command("discard", "guarded", refused.cause)
    assert code == 2
    assert "add --why TEXT, which is signed" in err


def test_a_folder_that_nothing_signed_stands_behind_is_listed_as_such(command, installation: Installation) -> None:
    folder = installation.home.quarantine / "guarded" / ("0" * 64)
    folder.mkdir(parents=True)
    (folder / "findings.json").write_text('{"reasons": ["trust me"]}')
    code, out, _ = command("list")
    assert code == 0
    assert "unsigned" in out
    assert "trust me" not in out
