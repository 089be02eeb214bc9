"""`validate`, `infer-contract` and `contract diff` as commands, and on data that nobody here wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl
import pytest

from secure_ml.cli import main
from tests.unit.contracts.engine.drift_examples import paid
from tests.unit.contracts.test_ci_reports import check_junit, check_sarif

CONTRACT = """
import pandera.polars as pa
import polars as pl

schema = pa.DataFrameSchema(
    {
        "kind": pa.Column(
            pl.String, pa.Check.isin(["Cash", "Card"]), metadata={"secure_ml": {"drift": 0.1, "skew": 0.3}}
        )
    }
)
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "contract.py").write_text(CONTRACT)
    paid(50, 50).write_csv(tmp_path / "before.csv")
    paid(70, 30).write_parquet(tmp_path / "now.parquet")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    code = main([str(argument) for argument in arguments])
    return code, capsys.readouterr().out


def test_validate_says_drift_and_skew_and_takes_slices(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("validate", files / "contract.py", files / "now.parquet")
    assert run(capsys, *given) == (0, "")
    code, out = run(capsys, *given, "--previous", files / "before.csv", "--training", files / "before.csv", "--json")
    assert code == 1
    assert [finding["code"] for finding in json.loads(out)["findings"]] == ["drift"]
    assert run(capsys, *given, "--slice", "kind") == (0, "")
    assert run(capsys, *given, "--slice", "kind=Card", "--slice", "kind=Cheque") == (
        0,
        "not judged: slice kind=Cheque: no row is in it\n",
    )
    _, out = run(capsys, *given, "--slice", "kind=Cheque", "--json")
    assert json.loads(out)["unjudged"] == [{"slice": "kind=Cheque", "part": "kind=Cheque", "rows": 0}]
    assert run(capsys, *given, "--slice", "nothing")[0] == 2


NOTES = """
import pandera.polars as pa
import polars as pl

schema = pa.DataFrameSchema({
    "note": pa.Column(pl.String),
    "mail": pa.Column(pl.String, metadata={"secure_ml": {"personal": True}}),
    "n": pa.Column(pl.Int64, pa.Check.ge(0)),
})
"""


def test_validate_warns_of_personal_data_in_a_file_or_refuses_it_and_shows_no_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.py").write_text(NOTES)
    frame = pl.DataFrame({"note": ["ana@example.com", "fine"], "mail": ["bob@example.com"] * 2, "n": [1, 2]})
    frame.write_csv(tmp_path / "notes.csv")
    frame.write_parquet(tmp_path / "notes.parquet")
    sentence = "note: 1 of 2 rows hold an e-mail address [personal]\n"
    for file in ("notes.csv", "notes.parquet"):
        given = ("validate", tmp_path / "notes.py", tmp_path / file)
        assert run(capsys, *given, "--personal-data", "off") == (0, "")
        assert run(capsys, *given) == (0, f"warn: {sentence}")
        assert run(capsys, *given, "--personal-data", "block") == (1, f"block: {sentence}")
        _, document = run(capsys, *given, "--json")
        assert "example.com" not in document


def test_validate_asks_the_policy_as_the_main_job_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.py").write_text(NOTES)
    frame = pl.DataFrame({"note": ["a", "b"], "mail": ["c", "d"], "n": [-1, 2]})
    frame.write_parquet(tmp_path / "notes.parquet")
    given = ("validate", tmp_path / "notes.py", tmp_path / "notes.parquet")
    blocked = (1, "block: n: 1 of 2 rows below 0 [out_of_range] first at row 1\n")
    warned = (0, "warn: n: 1 of 2 rows below 0 (blocks in production) [out_of_range] first at row 1\n")
    assert run(capsys, *given) == blocked
    assert run(capsys, *given, "--policy", "experiment") == warned
    monkeypatch.setenv("SECURE_ML_POLICY", "experiment")
    assert run(capsys, *given) == warned
    assert run(capsys, *given, "--policy", "production") == blocked
    frame.select("note", "mail", n=pl.lit("text")).write_parquet(tmp_path / "notes.parquet")
    assert run(capsys, *given)[0] == 1, "no policy lets pass what cannot be typed"
    monkeypatch.setenv("SECURE_ML_POLICY", "prod")
    assert run(capsys, *given)[0] == 2


def test_validate_of_a_model_takes_the_policy_too(capsys: pytest.CaptureFixture[str]) -> None:
    data = Path(__file__).parents[3] / "secure_ml/models/heart_disease_data/processed.switzerland.data"
    assert run(capsys, "validate", "heart_disease", data)[0] == 1
    code, out = run(capsys, "validate", "heart_disease", data, "--policy", "experiment")
    assert code == 0
    assert "warn: chol: 123 of 123 rows below 50 (blocks in production)" in out


def test_validate_says_many_small_slices_in_one_line(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pl.DataFrame({"kind": ["Cash"] * 7, "n": range(7)}).write_parquet(files / "small.parquet")
    (files / "loose.py").write_text(CONTRACT)
    code, out = run(capsys, "validate", files / "loose.py", files / "small.parquet", "--slice", "n")
    assert (code, out) == (0, "not judged: 7 slices of n, with 7 rows in all, each has too few\n")


def test_validate_takes_references_for_a_registered_model(capsys: pytest.CaptureFixture[str]) -> None:
    data = Path(__file__).parents[3] / "secure_ml/models/heart_disease_data"
    given = ("validate", "heart_disease", data / "processed.hungarian.data")
    plain = run(capsys, *given)
    assert run(capsys, *given, "--previous", data / "processed.cleveland.data", "--slice", "sex") == plain


def test_an_inferred_contract_is_satisfied_by_its_file_and_named_after_it(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pl.DataFrame({"id": list(range(5000)), "zip": ["01234", "99999"] * 2500, "x": [1.5, None] * 2500})
    for file in ("table.csv", "table.parquet"):
        getattr(frame, f"write_{file.partition('.')[2]}")(files / file)
        code, source = run(capsys, "infer-contract", files / file)
        assert code == 0
        assert 'name="table"' in source
        assert "unique=True" in source
        assert '"01234"' in source
        (files / "inferred.py").write_text(source)
        assert run(capsys, "validate", files / "inferred.py", files / file) == (0, "")
    assert run(capsys, "infer-contract", files / "nothing.csv")[0] == 2


def test_a_file_without_a_line_of_names_needs_its_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bare.csv").write_text("63,1.5\n?,2.5\n" * 200)
    assert run(capsys, "infer-contract", tmp_path / "bare.csv")[0] == 2
    assert run(capsys, "infer-contract", tmp_path / "bare.csv", "--columns", "age,,x")[0] == 2
    reading = ("--columns", "age, x", "--null", "?")
    code, source = run(capsys, "infer-contract", tmp_path / "bare.csv", *reading)
    assert code == 0
    assert '"age": pa.Column(\n            pl.Int64' in source
    (tmp_path / "inferred.py").write_text(source)
    assert run(capsys, "validate", tmp_path / "inferred.py", tmp_path / "bare.csv", *reading) == (0, "")
    assert run(capsys, "validate", "heart_disease", tmp_path / "bare.csv", "--null", "?")[0] == 2


def test_infer_contract_keeps_values_of_a_personal_column_out(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, open_source = run(capsys, "infer-contract", files / "before.csv")
    assert "Cash" in open_source
    code, source = run(capsys, "infer-contract", files / "before.csv", "--personal", "kind", "--json")
    assert code == 0
    assert "Cash" not in json.loads(source)["contract"]


def test_validate_writes_reports_for_a_build(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paid(50, 50).with_columns(kind=pl.lit("Cheque")).write_parquet(files / "bad.parquet")
    written = ("--junit", files / "report.xml", "--sarif", files / "report.sarif")
    assert run(capsys, "validate", files / "contract.py", files / "bad.parquet", *written)[0] == 1
    root = check_junit((files / "report.xml").read_bytes())
    assert [failure.attrib["type"] for failure in root.iter("failure")] == ["rejected", "unexpected_value"]
    (result,) = check_sarif((files / "report.sarif").read_bytes())["runs"][0]["results"]
    assert result["ruleId"] == "unexpected_value"
    assert b"Cheque" not in (files / "report.xml").read_bytes() + (files / "report.sarif").read_bytes()


def test_contract_diff_says_what_changed_and_fails_where_it_is_stricter(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "loose.py").write_text(CONTRACT.replace('"Card"', '"Card", "Dispute"'))
    given = (files / "contract.py", files / "loose.py")
    assert run(capsys, "contract", "diff", *given) == (0, "looser: kind: allowed values gained 'Dispute'\n")
    assert run(capsys, "contract", "diff", *given[::-1])[0] == 1
    assert run(capsys, "contract", "diff", given[0], given[0]) == (0, "")
    code, out = run(capsys, "contract", "diff", *given[::-1], "--json")
    document = json.loads(out)
    assert (code, document["ok"], document["stricter"]) == (1, False, 1)
    assert document["changes"][0] == {
        "column": "kind",
        "rule": "allowed values",
        "kind": "stricter",
        "sentence": "kind: allowed values lost 'Dispute'",
    }
    assert run(capsys, "contract", "diff", given[0], files / "nothing.py")[0] == 2


SHARED = Path(__file__).parents[4] / "shared/data/chicago_taxi"
TAXI = Path(os.environ.get("SECURE_ML_CHICAGO_TAXI", SHARED)) / "data.csv"


@pytest.mark.skipif(
    not TAXI.is_file(), reason="SECURE_ML_CHICAGO_TAXI names no folder with TFX's taxi sample, data.csv"
)
def test_the_first_half_of_the_taxi_data_tells_what_is_strange_in_the_second(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = TAXI.read_text().splitlines(keepends=True)
    (tmp_path / "first.csv").write_text("".join(lines[:5002]))
    (tmp_path / "second.csv").write_text("".join([lines[0], *lines[5002:]]))
    _, source = run(capsys, "infer-contract", tmp_path / "first.csv", "--name", "chicago_taxi")
    (tmp_path / "taxi.py").write_text(source)
    assert run(capsys, "validate", tmp_path / "taxi.py", tmp_path / "first.csv") == (0, "")
    code, out = run(
        capsys, "validate", tmp_path / "taxi.py", tmp_path / "second.csv", "--previous", tmp_path / "first.csv"
    )
    assert code == 1
    documented = (Path(__file__).parents[3] / "docs/chicago_taxi.md").read_text()
    assert out in documented
    assert len(out.splitlines()) < 10
