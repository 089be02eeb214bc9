"""Quarantine of batches that are accepted too: refused before their manifest came, or withdrawn by it; and discards."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import secure_ml.spec
from secure_ml.cli import main
from secure_ml.datasets.source_manifest import sign_manifest
from secure_ml.datasets.sources import LocalFolder
from secure_ml.datasets.sources.names import MANIFEST_FILE
from secure_ml.digests import sha256
from secure_ml.errors import RejectedError
from secure_ml.evidence import EvidenceLog
from secure_ml.installation import Installation
from secure_ml.quarantine.entries import entries
from secure_ml.signing.keys import Signer
from secure_ml.spec import GuardedModel, Split
from secure_ml.stage_names import QUARANTINE_DECISION
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.release import decide_release
from secure_ml.stages.signed_model import sign
from secure_ml.stages.trained_model import train
from secure_ml.stages.training_set import build_training_set
from secure_ml.stages.validated_dataset import validate_batch
from secure_ml.validation_docs.index_page import render_index
from secure_ml.validation_docs.state import NamedHome, load_state
from tests.readme_model import rows
from tests.sources_support import BROKEN, GOOD, model_on

FIRST = "sales.first"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "supplier"
    path.mkdir()
    (path / "first.csv").write_bytes(GOOD)
    return path


@pytest.fixture
def guarded(folder: Path) -> GuardedModel:
    model = model_on(sources={"sales": LocalFolder(folder)})
    types = ("numpy.dtype", "numpy.ndarray", "sklearn.linear_model._logistic.LogisticRegression")
    return replace(model, split=Split(FIRST), artifact_types=types)


@pytest.fixture
def command(
    guarded: GuardedModel,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(secure_ml.spec, "find_model", lambda _: guarded)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def sign_manifest_of(folder: Path, signer: Signer, *names: str) -> None:
    batches = {f"{name}.csv": sha256((folder / f"{name}.csv").read_bytes()) for name in names}
    (folder / MANIFEST_FILE).write_bytes(sign_manifest("sales", batches, signer))


def take_in(installation: Installation, model: GuardedModel) -> None:
    ingest_batch(installation, model, FIRST)
    validate_batch(installation, model, FIRST)


def refuse(installation: Installation, model: GuardedModel) -> str:
    """Take the batch in, which must be refused; return the id of its newest entry."""
    with pytest.raises(RejectedError):
        take_in(installation, model)
    return entries(EvidenceLog.open(installation, model.name))[-1].refusal.cause


def index(installation: Installation) -> str:
    return render_index(load_state([NamedHome("this", installation.home)], installation.trust))[0].decode()


def test_a_refusal_that_the_same_bytes_have_overtaken_waits_for_nobody(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer, command: Command
) -> None:
    identity = refuse(installation, guarded)
    code, out, err = command("quarantine", "list")
    assert (code, "  open " in out) == (0, True)
    assert "1 in quarantine, 1 undecided" in err
    assert "Blocked now (1)" in index(installation)
    sign_manifest_of(folder, signer, "first")
    take_in(installation, guarded)
    at = EvidenceLog.open(installation, guarded.name).latest("dataset", batch=FIRST).made_at[:16]
    code, out, err = command("quarantine", "list")
    assert f"{identity[:12]}  accepted since {at}  tiny  sales.first" in out
    assert "1 in quarantine, 0 undecided" in err
    assert f"state: accepted\nsaid: accepted since {at}" in command("quarantine", "show", identity[:12])[1]
    shown = index(installation)
    assert f"accepted since {at}" in shown
    assert "Blocked now" not in shown
    assert "nobody decided" not in shown
    assert "dataset sales.first              accepted" in command("status", "tiny")[1]


def test_other_bytes_or_another_name_overtake_nothing(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer, command: Command
) -> None:
    refuse(installation, guarded)
    (folder / "second.csv").write_bytes(GOOD)
    (folder / "first.csv").write_bytes(GOOD + b"1,1,1\n")
    sign_manifest_of(folder, signer, "first", "second")
    take_in(installation, guarded)
    ingest_batch(installation, guarded, "sales.second")
    assert "1 in quarantine, 1 undecided" in command("quarantine", "list")[2]


def test_what_the_contract_refused_is_not_overtaken_by_bytes_that_are_taken_in(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer, command: Command
) -> None:
    (folder / "first.csv").write_bytes(BROKEN)
    refuse(installation, guarded)
    sign_manifest_of(folder, signer, "first")
    refuse(installation, guarded)
    states = [entry.state for entry in entries(EvidenceLog.open(installation, guarded.name))]
    assert states == ["accepted", "open"]
    assert "2 in quarantine, 1 undecided" in command("quarantine", "list")[2]


def test_an_id_that_one_model_has_needs_no_name_of_the_model(
    guarded: GuardedModel, installation: Installation, command: Command
) -> None:
    identity = refuse(installation, guarded)
    code, out, _ = command("quarantine", "show", identity[:12], "--json")
    assert (code, json.loads(out)["model"]) == (0, "tiny")
    code, _, err = command("quarantine", "show", "tiny")
    assert (code, "expected one model with an entry of this id, found 0" in err) == (2, True)
    code, _, err = command("quarantine", "show")
    assert (code, "no ID, expected one as quarantine list prints it" in err) == (2, True)
    code, _, err = command("quarantine", "discard", identity[:12], "--why", "a test export")
    assert (code, "sales.first is discarded for good" in err) == (0, True)
    (entry,) = entries(EvidenceLog.open(installation, guarded.name))
    assert entry.state == "discarded"


def test_what_a_release_was_trained_on_is_discarded_by_who_says_so_alone(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer, command: Command
) -> None:
    identity = refuse(installation, guarded)[:12]
    (folder / "second.csv").write_bytes(rows(60, seed=5).encode())
    sign_manifest_of(folder, signer, "first", "second")
    for batch in (FIRST, "sales.second"):
        ingest_batch(installation, guarded, batch)
    validate_batch(installation, guarded, "sales.second")
    discarding = ("quarantine", "discard", "tiny", identity, "--why", "tidied up")
    code, _, err = command(*discarding)
    assert (code, "batch sales.first is taken in, and not validated yet" in err) == (1, True)
    validate_batch(installation, guarded, FIRST)
    made = build_training_set(installation, guarded)
    for stage in (train, sign, decide_release):
        stage(installation, guarded)
    code, _, err = command(*discarding)
    assert code == 1
    for said in (
        "the same bytes are in use: batch sales.first is accepted (policy production)",
        f"training set {made.cause[:12]} holds them",
        "release 1 was trained on them, and it is the newest",
        "sales.first gives the holdout: without other bytes under its name no training set is made",
        "add --in-use",
    ):
        assert said in err
    assert EvidenceLog.open(installation, guarded.name).history(QUARANTINE_DECISION) == []
    assert build_training_set(installation, guarded) == made

    code, _, err = command(*discarding, "--in-use")
    assert (code, "sales.first is discarded for good" in err) == (0, True)
    said = f"not accepted (discarded since (quarantine {identity})); ingest other bytes under its name"
    with pytest.raises(RejectedError, match=re.escape(said)):
        build_training_set(installation, guarded)
    (folder / "first.csv").write_bytes(GOOD + b"1,1,1\n")
    sign_manifest_of(folder, signer, "first", "second")
    take_in(installation, guarded)
    assert build_training_set(installation, guarded).cause != made.cause


def test_a_batch_that_its_manifest_withdrew_waits_and_a_discard_keeps_it_out(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer, command: Command
) -> None:
    (folder / "second.csv").write_bytes(rows(60, seed=5).encode())
    sign_manifest_of(folder, signer, "first", "second")
    for batch in (FIRST, "sales.second"):
        ingest_batch(installation, guarded, batch)
        validate_batch(installation, guarded, batch)
    sign_manifest_of(folder, signer, "first")
    for _ in range(2):
        with pytest.raises(RejectedError, match="its digest is not in the source's signed manifest"):
            ingest_batch(installation, guarded, "sales.second")
    (entry,) = entries(EvidenceLog.open(installation, guarded.name))
    identity = entry.refusal.cause[:12]
    assert f"{identity}  open       tiny  sales.second" in command("quarantine", "list")[1]
    assert "Blocked now (1)" in index(installation)
    assert "source_withdrawal sales.second   rejected" in command("status", "tiny")[1]
    both = build_training_set(installation, guarded)
    assert set(both.facts["batches"]) == {FIRST, "sales.second"}, "what was accepted stands until a person decides"
    assert command("quarantine", "discard", identity, "--why", "withdrawn")[0] == 1
    assert command("quarantine", "discard", identity, "--why", "withdrawn", "--in-use")[0] == 0
    made = build_training_set(installation, guarded)
    assert set(made.facts["batches"]) == {FIRST}
    assert made.facts["left_out"] == {"sales.second": [f"discarded since (quarantine {identity})"]}
    sign_manifest_of(folder, signer, "first", "second")
    ingest_batch(installation, guarded, "sales.second")
    with pytest.raises(RejectedError, match="were discarded"):
        validate_batch(installation, guarded, "sales.second")
    assert "1 in quarantine, 0 undecided" in command("quarantine", "list")[2]


def test_a_withdrawal_is_newer_than_the_acceptance_and_overtaken_when_the_manifest_is_back(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer, command: Command
) -> None:
    refuse(installation, guarded)
    sign_manifest_of(folder, signer, "first")
    take_in(installation, guarded)
    manifest = (folder / MANIFEST_FILE).read_bytes()
    for known in ([], ["accepted"]):
        (folder / MANIFEST_FILE).unlink()
        refuse(installation, guarded)
        states = [entry.state for entry in entries(EvidenceLog.open(installation, guarded.name))]
        assert states == ["accepted", *known, "open"]
        assert "Blocked now (1)" in index(installation)
        (folder / MANIFEST_FILE).write_bytes(manifest)
        take_in(installation, guarded)
        assert "0 undecided" in command("quarantine", "list")[2]
        assert "Blocked now" not in index(installation)


def test_bytes_that_are_refused_and_nowhere_used_are_discarded_as_they_are(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer, command: Command
) -> None:
    (folder / "first.csv").write_bytes(BROKEN)
    refuse(installation, guarded)
    sign_manifest_of(folder, signer, "first")
    refuse(installation, guarded)
    for entry in entries(EvidenceLog.open(installation, guarded.name)):
        assert command("quarantine", "discard", "tiny", entry.refusal.cause, "--why", "no")[0] == 0
    code, _, err = command("quarantine", "release", "tiny", entry.refusal.cause, "--why", "no", "--in-use")
    assert (code, "--in-use is an option of discard only" in err) == (2, True)
