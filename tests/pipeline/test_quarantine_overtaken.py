"""Quarantine of batches that are accepted too: refused before their manifest came, or withdrawn by it; and discards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import secure_ml.spec
from secure_ml.cli import main
from secure_ml.datasets.provenance import sign_manifest
from secure_ml.datasets.sources import LocalFolder
from secure_ml.datasets.sources.names import MANIFEST_FILE
from secure_ml.digests import sha256
from secure_ml.errors import RejectedError
from secure_ml.gates import latest
from secure_ml.installation import Installation
from secure_ml.lineage.quarantine_entries import entries
from secure_ml.monitoring.validation_index import render_index
from secure_ml.monitoring.validation_state import Place, gather
from secure_ml.signing.keys import Signer
from secure_ml.spec import GuardedModel
from secure_ml.stages.dataset import dataset
from secure_ml.stages.validated_dataset import validated_dataset
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
    return model_on(sources={"sales": LocalFolder(folder)})


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


def sign(folder: Path, signer: Signer, *names: str) -> None:
    batches = {f"{name}.csv": sha256((folder / f"{name}.csv").read_bytes()) for name in names}
    (folder / MANIFEST_FILE).write_bytes(sign_manifest("sales", batches, signer))


def take_in(installation: Installation, model: GuardedModel) -> None:
    dataset(installation, model, FIRST)
    validated_dataset(installation, model, FIRST)


def refuse(installation: Installation, model: GuardedModel) -> str:
    """Take the batch in, which must be refused; return the id of its newest entry."""
    with pytest.raises(RejectedError):
        take_in(installation, model)
    return entries(installation.home, installation.trust, model.name)[-1].refusal.cause


def index(installation: Installation) -> str:
    return render_index(gather([Place("this", installation.home)], installation.trust))[0].decode()


def test_a_refusal_that_the_same_bytes_have_overtaken_waits_for_nobody(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer, command: Command
) -> None:
    identity = refuse(installation, guarded)
    code, out, err = command("quarantine", "list")
    assert (code, "  open " in out) == (0, True)
    assert "1 in quarantine, 1 undecided" in err
    assert "Blocked now (1)" in index(installation)
    sign(folder, signer, "first")
    take_in(installation, guarded)
    at = latest(installation.home, installation.trust, guarded.name, "dataset", batch=FIRST).made_at[:16]
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
    sign(folder, signer, "first", "second")
    take_in(installation, guarded)
    dataset(installation, guarded, "sales.second")
    assert "1 in quarantine, 1 undecided" in command("quarantine", "list")[2]


def test_what_the_contract_refused_is_not_overtaken_by_bytes_that_are_taken_in(
    folder: Path, guarded: GuardedModel, installation: Installation, signer: Signer, command: Command
) -> None:
    (folder / "first.csv").write_bytes(BROKEN)
    refuse(installation, guarded)
    sign(folder, signer, "first")
    refuse(installation, guarded)
    states = [entry.state for entry in entries(installation.home, installation.trust, guarded.name)]
    assert states == ["accepted", "open"]
    assert "2 in quarantine, 1 undecided" in command("quarantine", "list")[2]


def test_an_id_that_one_model_has_needs_no_name_of_the_model(
    guarded: GuardedModel, installation: Installation, command: Command
) -> None:
    identity = refuse(installation, guarded)
    code, out, _ = command("quarantine", "show", identity[:12], "--json")
    assert (code, json.loads(out)["model"]) == (0, "tiny")
    code, _, err = command("quarantine", "show", "tiny")
    assert (code, "0 models have an entry whose id begins so" in err) == (2, True)
    code, _, err = command("quarantine", "show")
    assert (code, "expected an ID, as quarantine list prints it" in err) == (2, True)
    code, _, err = command("quarantine", "discard", identity[:12], "--why", "a test export")
    assert (code, "sales.first is discarded for good" in err) == (0, True)
    (entry,) = entries(installation.home, installation.trust, guarded.name)
    assert entry.state == "discarded"
