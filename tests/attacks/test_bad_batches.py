"""Every way in which a batch is bad: refused with one clear sentence, and what was accepted before stays."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from secure_ml.cli import main
from secure_ml.errors import MalformedError, RejectedError
from secure_ml.evidence import EvidenceLog
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model
from secure_ml.stages.dataset import ingest_batch
from secure_ml.stages.training_set import build_training_set
from secure_ml.stages.validated_dataset import validate_batch

GOOD = model.batches.files["cleveland"].read_text()
NAMES = ",".join(model.batches.columns)
LINES = GOOD.splitlines()


def edited(row: int, column: str, cell: str) -> str:
    cells = LINES[row].split(",")
    cells[model.batches.columns.index(column)] = cell
    return "\n".join([*LINES[:row], ",".join(cells), *LINES[row + 1 :]]) + "\n"


def without(column: str) -> str:
    index = model.batches.columns.index(column)
    rows = [NAMES, *LINES]
    return "\n".join(",".join(cell for i, cell in enumerate(row.split(",")) if i != index) for row in rows) + "\n"


def parquet() -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame({"age": [63]}).write_parquet(buffer)
    return buffer.getvalue()


TEXT: dict[str, tuple[bytes, str]] = {
    "out of range": (edited(3, "chol", "49999").encode(), "chol: 1 of 303 rows above 1000"),
    "below range": (edited(3, "trestbps", "-7777").encode(), "trestbps: 1 of 303 rows below 50"),
    "wrong category": (edited(3, "cp", "7777").encode(), "cp: 1 of 303 rows outside the 4 allowed values"),
    "label missing": (edited(3, "num", "?").encode(), "num: 1 of 303 rows null"),
    "missing column": (without("chol").encode(), "chol: column is missing"),
    "missing column, no names": (
        "\n".join(line.rsplit(",", 1)[0] for line in LINES).encode() + b"\n",
        "line 1: expected 14 columns, found 13",
    ),
    "wrong type": (edited(3, "age", "s3cret").encode(), "age: 1 of 303 rows not numbers such as 1234.5"),
    "not finite": (edited(3, "age", "1e400").encode(), "age: 1 of 303 rows not numbers such as 1234.5"),
    "not a number": (edited(3, "age", "NaN").encode(), "age: 1 of 303 rows not numbers such as 1234.5"),
    "thousands": (edited(3, "age", '"1,234"').encode(), "age: 1 of 303 rows not numbers such as 1234.5"),
    "extra column": (
        "\n".join([NAMES + ",ssn", *(line + ",s3cret" for line in LINES)]).encode() + b"\n",
        "'ssn': column is not in the contract",
    ),
    "duplicate column names": (
        "\n".join([NAMES.replace("chol", "age"), *LINES]).encode() + b"\n",
        "two columns are named 'age'",
    ),
    "empty": (b"", "empty file, expected Parquet, Arrow IPC, JSON lines or CSV"),
    "only empty lines": (b"\n\n\n", "found only empty lines"),
    "header only": (NAMES.encode() + b"\n", "no rows"),
    "truncated in a row": (GOOD.encode()[:9_000], "truncated, or the last line has no line end"),
    "truncated at a field": (GOOD.encode().rsplit(b",", 1)[0], "truncated, or the last line has no line end"),
    "one line of 10 MB": (b"1," * 5_000_000 + b"\n", "a line of more than 1048576 bytes, at most that many are read"),
    "10 MB without an end": (b"s3cret" * 1_700_000, "a line of more than 1048576 bytes"),
    "invalid UTF-8": (GOOD.encode() + b"\xff\xfe\n", f"found an invalid byte at position {len(GOOD)}"),
    "NUL byte": (GOOD.encode()[:500] + b"\x00" + GOOD.encode()[500:], "found a NUL byte at position 500"),
    "Parquet without a column": (parquet(), "sex: column is missing"),
    "Parquet, cut": (parquet()[:-20], "expected Parquet, it cannot be read"),
    "JSON, not an object a line": (b'{"age": 63}\n[1]\n', "cannot be read to its end"),
    "gzip": (b"\x1f\x8b" + GOOD.encode(), "expected Parquet, Arrow IPC, JSON lines or CSV, found gzip"),
    "open quote": (GOOD.encode() + b'"63,1\n', "found a quote that does not close"),
    "ragged": (
        (GOOD + "1,2,3\n").encode(),
        "line 304: expected 14 columns, found 3",
    ),
}

KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "link": (lambda path: path.symlink_to(model.batches.files["cleveland"]), "expected a regular file, found a link"),
    "FIFO": (lambda path: os.mkfifo(path), "expected a regular file, found a FIFO"),
    "folder": (lambda path: path.mkdir(), "expected a regular file, found a folder"),
}


def put(path: Path, case: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    if case in KINDS:
        make, expected = KINDS[case]
        make(path)
        return expected
    content, expected = TEXT[case]
    path.write_bytes(content)
    return expected


def take_in(installation: Installation, batch: str) -> None:
    ingest_batch(installation, model, batch)
    validate_batch(installation, model, batch)


@pytest.mark.parametrize("case", [*TEXT, *KINDS])
def test_a_bad_batch_is_refused_with_one_clear_sentence(case: str, installation: Installation) -> None:
    ingest_batch(installation, model, "cleveland")
    before = validate_batch(installation, model, "cleveland")
    expected = put(installation.home.inbox / model.name / "bad.csv", case)

    started = time.process_time()
    with pytest.raises(RejectedError) as caught:
        take_in(installation, "bad")
    assert time.process_time() - started < 10
    said = str(caught.value)
    assert expected in said
    for cell in ("49999", "7777", "s3cret", "1e400", "1,234"):
        assert cell not in said
    assert len(said) < 500

    accepted = EvidenceLog.open(installation, model.name).history("validated_dataset")
    assert [item.document for item in accepted if item.decision == "accepted"] == [before.document]
    build_training_set(installation, model)
    (entry,) = (installation.home.quarantine / model.name).iterdir()
    assert expected in (entry / "findings.json").read_text().replace("\\", "")


@pytest.mark.parametrize("case", [*TEXT, *KINDS])
def test_the_command_says_so_too(
    case: str,
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "inbox" / "bad.csv"
    expected = put(path, case)
    code = main(["validate", model.name, str(path)])
    out, err = capsys.readouterr()
    assert code in (1, 2)
    assert expected in out + err
    assert len(err.strip().splitlines()) == 1
    assert "s3cret" not in out + err


def test_a_file_over_the_limit_is_not_read(installation: Installation) -> None:
    inbox = installation.home.inbox / model.name
    inbox.mkdir(parents=True)
    with (inbox / "bad.csv").open("wb") as stream:
        stream.truncate(model.batches.max_bytes + 1)
    with pytest.raises(RejectedError, match="split the file"):
        ingest_batch(installation, model, "bad")


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "x" * 200, "a\nb"])
def test_a_name_that_is_no_batch_name_is_refused(name: str, installation: Installation) -> None:
    from secure_ml.errors import PreconditionError

    with pytest.raises(PreconditionError, match="batch name"):
        ingest_batch(installation, model, name)


def test_a_name_with_a_byte_order_mark_windows_line_ends_and_names_is_read(installation: Installation) -> None:
    inbox = installation.home.inbox / model.name
    inbox.mkdir(parents=True)
    text = "\ufeff" + "\r\n".join([NAMES, *LINES]) + "\r\n"
    (inbox / "fine.csv").write_bytes(text.encode())
    ingest_batch(installation, model, "fine")
    assert validate_batch(installation, model, "fine").facts["rows"] == 303


def test_what_is_accepted_is_refused_once_it_breaks_the_contract(installation: Installation) -> None:
    inbox = installation.home.inbox / model.name
    inbox.mkdir(parents=True)
    take_in(installation, "cleveland")
    (inbox / "hungarian.csv").write_text(GOOD)
    ingest_batch(installation, model, "hungarian")
    good = validate_batch(installation, model, "hungarian")
    (inbox / "hungarian.csv").write_text(edited(3, "chol", "0"))
    ingest_batch(installation, model, "hungarian")
    with pytest.raises(RejectedError, match="chol: 1 of 303 rows below 50"):
        validate_batch(installation, model, "hungarian")
    training = build_training_set(installation, model)
    assert training.inputs["evidence:validated_dataset:hungarian"] == good.document


def test_pandera_switched_off_in_the_environment_switches_nothing_off(tmp_path: Path) -> None:
    """The attack first: the same switches make plain pandera accept the same frame."""
    import subprocess
    import sys

    (tmp_path / "bad.csv").write_text(edited(3, "chol", "0"))
    plain = (
        "import sys, polars as pl\n"
        "from secure_ml.models.heart_disease import model\n"
        "from secure_ml.tables.batch_files import parse_batch\n"
        "from pathlib import Path\n"
        "table = parse_batch(Path(sys.argv[1]).read_bytes(), model.batches, 'x')\n"
        "model.schema.validate(table.cast(pl.Float64))\n"
        "print('accepted')\n"
    )
    for switch in ({"PANDERA_VALIDATION_ENABLED": "False"}, {"PANDERA_VALIDATION_DEPTH": "SCHEMA_ONLY"}):
        environment = {**os.environ, **switch}
        attack = subprocess.run(
            [sys.executable, "-c", plain, str(tmp_path / "bad.csv")], env=environment, capture_output=True, text=True
        )
        assert attack.stdout.strip() == "accepted", attack.stderr[-500:]
        guarded = subprocess.run(
            [sys.executable, "-m", "secure_ml.cli", "validate", "heart_disease", str(tmp_path / "bad.csv")],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert guarded.returncode == 1, guarded.stderr
        assert "chol: 1 of 303 rows below 50" in guarded.stdout


def test_the_table_of_the_readme_holds_for_the_four_hospitals() -> None:
    from secure_ml.contracts.contract_file import Contract
    from secure_ml.contracts.validate import validate
    from secure_ml.tables.batch_files import open_batch

    found = {
        name: validate(open_batch(path.read_bytes(), model.batches, name), Contract.of_model(model))
        for name, path in model.batches.files.items()
    }
    assert found["cleveland"].accepted
    assert not found["cleveland"].findings
    assert found["hungarian"].accepted
    assert [finding.sentence for finding in found["hungarian"].findings] == [
        "chol: 23 of 294 rows null, more than 5%",
        "1 of 294 rows duplicated",
    ]
    assert not found["switzerland"].accepted
    assert found["switzerland"].findings[0].sentence == "chol: 123 of 123 rows below 50"
    assert found["switzerland"].failing_rows.height == 123
    assert not found["va"].accepted
    assert "chol: 49 of 200 rows below 50" in [finding.sentence for finding in found["va"].findings]


def test_a_report_on_no_table_is_an_error_of_its_own() -> None:
    from secure_ml.tables.batch_files import parse_batch

    with pytest.raises(MalformedError, match="where it is"):
        parse_batch(b"", model.batches, "where it is")
