"""Dataset versions: content-addressed, kept once, never changed; listed, compared and checked out by the command."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from secure_ml.cli import main
from secure_ml.datasets.version_manifest import compare_tables, parse_manifest, render_manifest
from secure_ml.digests import sha256
from secure_ml.errors import MalformedError
from secure_ml.evidence import Evidence, EvidenceLog, read_subjects
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model
from secure_ml.operations.dataset_versions import find_version, list_versions
from secure_ml.stages.dataset import dataset_folder, ingest_batch
from secure_ml.stages.training_set import build_training_set
from secure_ml.stages.validated_dataset import validate_batch
from tests.installed_home import flip

GOOD = model.batches.files["cleveland"].read_bytes()


@pytest.fixture
def inbox(installation: Installation) -> Path:
    folder = installation.home.inbox / model.name
    folder.mkdir(parents=True)
    return folder


def take_in(installation: Installation, batch: str) -> Evidence:
    ingest_batch(installation, model, batch)
    return validate_batch(installation, model, batch)


def run(environment: dict[str, str], capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, str]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        code = main(["dataset", *arguments, "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def test_the_same_bytes_under_two_names_are_kept_once(installation: Installation, inbox: Path) -> None:
    (inbox / "first.csv").write_bytes(GOOD)
    (inbox / "second.csv").write_bytes(GOOD)
    one, two = (ingest_batch(installation, model, batch) for batch in ("first", "second"))
    assert one.inputs["version"] == two.inputs["version"] == sha256(GOOD)
    (kept,) = (installation.home.datasets / model.name).rglob("batch.csv")
    assert kept.read_bytes() == GOOD
    assert {version.batch for version in list_versions(installation, model.name)} == {"first", "second"}


def test_the_manifest_names_files_rows_contract_profile_parents_and_source(
    installation: Installation, inbox: Path
) -> None:
    (inbox / "first.csv").write_bytes(GOOD)
    take_in(installation, "first")
    (inbox / "first.csv").write_bytes(b"".join(GOOD.splitlines(keepends=True)[:200]))
    newest = take_in(installation, "first")
    manifests = [version.manifest for version in list_versions(installation, model.name, "first")]
    arrived, table, arrived_again, table_again = manifests
    assert arrived is not None
    assert table is not None
    assert arrived_again is not None
    assert table_again is not None
    assert (arrived.rows, table.rows, arrived_again.rows, table_again.rows) == (303, 303, 200, 200)
    assert arrived.parents == ()
    assert arrived_again.parents == (sha256(GOOD),)
    assert table.parents == (sha256(GOOD),)
    assert table_again.parents == (arrived_again.files["batch.csv"],)
    assert (arrived.contract, arrived.profile) == (None, None)
    assert table_again.contract == model.contract_digest
    assert table_again.profile == newest.subjects["profile.json"]
    assert (arrived.origin, arrived.location, arrived.proof) == ("inbox", "first.csv", None)
    folder = dataset_folder(installation.home, model.name, newest.cause)
    for name, digest in table_again.files.items():
        assert sha256((folder / name).read_bytes()) == digest
    assert sha256((folder / "manifest.json").read_bytes()) == newest.subjects["manifest.json"], "it is signed"


def test_a_manifest_that_is_changed_is_refused(installation: Installation) -> None:
    evidence = take_in(installation, "cleveland")
    for path in (installation.home.datasets / model.name).rglob("manifest*.json"):
        flip(path)
        with pytest.raises(Exception, match=path.name):
            take_in(installation, "cleveland")
        with pytest.raises(Exception, match=path.name):
            list_versions(installation, model.name)
        flip(path)
    assert take_in(installation, "cleveland").document == evidence.document


def test_only_the_canonical_form_of_a_manifest_is_one(installation: Installation) -> None:
    evidence = take_in(installation, "cleveland")
    folder = dataset_folder(installation.home, model.name, evidence.cause)
    content = read_subjects(evidence, folder)["manifest.json"]
    assert render_manifest(parse_manifest(content, "it")) == content
    for changed in (
        b"{}",
        b" " + content,
        content.replace(b'"rows":303', b'"rows":true'),
        content.replace(b'"rows":303', b'"rows":"303"'),
        content.replace(b'"proof"', b'"prof"').replace(b'"model"', b'"more":1,"model"', 1),
        content.replace(evidence.subjects["table.parquet"].encode(), b"0"),
    ):
        with pytest.raises(MalformedError):
            parse_manifest(changed, "it")


def test_a_version_is_never_changed(installation: Installation) -> None:
    taken = ingest_batch(installation, model, "cleveland")
    path = dataset_folder(installation.home, model.name, taken.inputs["version"]) / "batch.csv"
    path.write_bytes(GOOD[:-1])
    for evidence in (installation.home.evidence / model.name / "dataset").iterdir():
        evidence.unlink()
    with pytest.raises(Exception, match=r"batch\.csv: missing or holds other bytes"):
        ingest_batch(installation, model, "cleveland")
    assert path.read_bytes() == GOOD[:-1], "what is there is left as it is"


def test_log_lists_versions_refusals_and_training_sets(
    installation: Installation, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    take_in(installation, "cleveland")
    build_training_set(installation, model)
    with pytest.raises(Exception, match="chol"):
        take_in(installation, "switzerland")
    code, said, _ = run(environment, capsys, "log", model.name)
    assert code == 0
    assert [(item["stage"], item["batch"], item["decision"]) for item in said["versions"]] == [
        ("dataset", "cleveland", "accepted"),
        ("validated_dataset", "cleveland", "accepted"),
        ("training_set", None, "accepted"),
        ("dataset", "switzerland", "accepted"),
        ("validated_dataset", "switzerland", "rejected"),
    ]
    assert said["versions"][0]["manifest"]["rows"] == 303
    assert len(run(environment, capsys, "log", model.name, "cleveland")[1]["versions"]) == 2
    assert run(environment, capsys, "log", "nobody")[1]["versions"] == []


def test_diff_says_which_rows_columns_and_profiles_differ_and_no_cell(
    installation: Installation, inbox: Path, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = GOOD.decode().splitlines()
    shuffled = lines[10:]
    random.Random(0).shuffle(shuffled)
    shuffled += [shuffled[0], lines[0].replace("63.0", "64.0")]
    (inbox / "next.csv").write_text("\n".join(shuffled) + "\n")
    take_in(installation, "cleveland")
    take_in(installation, "next")
    code, said, err = run(environment, capsys, "diff", model.name, "cleveland", "next")
    assert code == 0
    assert said["rows"] == [303, 295]
    assert (said["added"], said["removed"]) == (2, 10)
    assert len(said["added_digests"]) == 2
    assert len(said["removed_digests"]) == 10
    assert "2 rows added, 10 removed" in err
    moved = {item["column"] for item in said["profile"] if item["value"] > item["bound"]}
    assert "chol" in moved
    assert "64.0" not in json.dumps(said) + err

    ingest_batch(installation, model, "switzerland")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        assert main(["dataset", "diff", model.name, "cleveland", "switzerland"]) == 0
    shown = capsys.readouterr().out.splitlines()
    for sign, more in (("+ ", 123 - 20), ("- ", 303 - 20)):
        of_kind = [line for line in shown if line.startswith(sign)]
        assert len(of_kind) == 21
        assert int(of_kind[-1].split()[2]) == more

    same = run(environment, capsys, "diff", model.name, sha256(GOOD)[:10], "cleveland")[1]
    assert (same["added"], same["removed"], same["added_digests"]) == (0, 0, [])
    table = find_version(installation, model.name, validate_batch(installation, model, "next").cause)
    code, refused, _ = run(environment, capsys, "diff", model.name, "cleveland", table.id)
    assert code == 2
    assert "compare two of one stage" in refused["reason"]


def test_checkout_writes_verified_bytes_into_a_new_folder_only(
    installation: Installation, environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evidence = take_in(installation, "cleveland")
    out = tmp_path / "deep" / "out"
    code, said, _ = run(environment, capsys, "checkout", model.name, sha256(GOOD)[:8], str(out))
    assert code == 0
    assert said["version"] == sha256(GOOD)
    assert (out / "batch.csv").read_bytes() == GOOD
    assert {path.name for path in out.iterdir()} == set(said["files"])
    code, said, _ = run(environment, capsys, "checkout", model.name, evidence.cause, str(tmp_path / "table"))
    assert pl.read_parquet(tmp_path / "table" / "table.parquet").height == 303

    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    for taken in (out, tmp_path / "link", tmp_path / "empty", Path(environment["SECURE_ML_HOME"]) / "inbox" / "x"):
        before = sorted(tmp_path.rglob("*"))
        code, refused, _ = run(environment, capsys, "checkout", model.name, "cleveland", str(taken))
        assert code == 2
        assert "nothing is overwritten" in refused["reason"] or "lies in the home" in refused["reason"]
        assert sorted(tmp_path.rglob("*")) == before


def test_checkout_of_a_changed_version_writes_nothing(
    installation: Installation, environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = ingest_batch(installation, model, "cleveland")
    flip(dataset_folder(installation.home, model.name, taken.inputs["version"]) / "batch.csv")
    code, refused, _ = run(environment, capsys, "checkout", model.name, "cleveland", str(tmp_path / "out"))
    assert code == 1
    assert "batch.csv: changed" in refused["reason"]
    assert not (tmp_path / "out").exists()


def test_what_was_refused_or_is_not_there_is_not_checked_out(
    installation: Installation,
    inbox: Path,
    environment: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (inbox / "bad.csv").write_bytes(GOOD[:100])
    with pytest.raises(Exception, match="truncated"):
        ingest_batch(installation, model, "bad")
    out = str(tmp_path / "out")
    for name, code, said in (
        ("bad", 1, "rejected: bad: truncated"),
        (sha256(GOOD[:100])[:12], 1, "rejected: bad: truncated"),
        ("0000", 2, "0 versions begin with 0000"),
        ("nobody", 2, "no batch nobody"),
        ("../../etc", 2, "no batch"),
    ):
        found, refused, _ = run(environment, capsys, "checkout", model.name, name, out)
        assert found == code
        assert said in refused["reason"]
    assert not (tmp_path / "out").exists()


def test_evidence_of_a_foreign_key_is_not_listed(
    installation: Installation, environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.installed_home import environment_in

    foreign = {**environment_in(tmp_path / "foreign"), "SECURE_ML_HOME": environment["SECURE_ML_HOME"]}
    ingest_batch(Installation.from_environment(foreign), model, "cleveland")
    code, refused, _ = run(environment, capsys, "log", model.name)
    assert code == 1
    assert "not in the trust root" in refused["reason"]


def test_the_command_signs_a_manifest_that_the_source_is_held_against(
    installation: Installation, environment: dict[str, str], inbox: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    (inbox / "first.csv").write_bytes(GOOD)
    guarded = replace(model, batches=replace(model.batches, require_inbox_manifest=True))
    with pytest.raises(Exception, match=r"its source inbox\.heart_disease has no signed"):
        ingest_batch(installation, guarded, "first")
    code, said, err = run(environment, capsys, "sign-manifest", str(inbox), "--source", "inbox.heart_disease")
    assert code == 0
    assert said["files"] == {"first.csv": sha256(GOOD)}
    assert said["key"] in err
    trust = Path(environment["SECURE_ML_TRUST"])
    assert said["public_key"] == str(trust / "keys" / "signer.pem")
    assert Path(said["public_key"]).is_file()
    (taken,) = [ingest_batch(installation, guarded, "first")]
    assert taken.inputs["manifest"] == sha256((inbox / "manifest.dsse.json").read_bytes())
    assert len(EvidenceLog.open(installation, model.name).history("dataset")) == 2
    code, refused, _ = run(environment, capsys, "sign-manifest", str(inbox / "gone"), "--source", "inbox")
    assert code == 2
    assert "cannot be listed" in refused["reason"]


@pytest.mark.parametrize("action", ["", "log", "diff", "checkout", "sign-manifest"])
def test_each_action_has_a_help_that_suffices(action: str, environment: dict[str, str]) -> None:
    arguments = ["dataset", action, "--help"] if action else ["dataset", "--help"]
    done = subprocess.run(
        [sys.executable, "-m", "secure_ml.cli", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    assert "--json" in done.stdout
    assert "SECURE_ML_HOME" in done.stdout
    assert not Path(environment["SECURE_ML_HOME"]).exists()


def test_the_difference_of_two_tables_is_that_of_their_rows_as_multisets() -> None:
    draw = random.Random(5)

    def table(count: int) -> list[tuple[str | None, str]]:
        return [(draw.choice(["a", "b", None, ""]), draw.choice(["x", "y"])) for _ in range(count)]

    for _ in range(50):
        old, new = table(draw.randrange(12)), table(draw.randrange(12))
        schema = {"before ": pl.String, "after": pl.String}
        found = compare_tables(
            *(pl.DataFrame(rows, schema=schema, orient="row") for rows in (old, new))  # type: ignore[arg-type]
        )
        assert found.added == (Counter(new) - Counter(old)).total()
        assert found.removed == (Counter(old) - Counter(new)).total()
        assert len(found.added_digests) == len(Counter(new) - Counter(old))


def test_columns_that_come_go_or_change_their_type_are_named() -> None:
    old = pl.DataFrame({"a": [1, 2], "b": [1, 2], "c": [1, 2]})
    new = pl.DataFrame({"a": [1, 2], "b": ["1", "2"], "d": [1, 2]})
    found = compare_tables(old, new)
    assert (found.columns_added, found.columns_removed, found.columns_retyped) == (("d",), ("c",), ("b",))
    assert (found.added, found.removed) == (0, 0)
    nothing = compare_tables(old.select("c"), new.select("d"))
    assert (nothing.added, nothing.removed) == (0, 0)
