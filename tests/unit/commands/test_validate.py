"""What `validate` says to who meets it first: mistakes in its use, files that are none, sentences that help."""

from __future__ import annotations

import io
import json
from pathlib import Path

import polars as pl
import pytest

from secure_ml.cli import main
from tests.unit.contracts.test_ci_reports import check_junit

CONTRACT = """
import pandera.polars as pa
import polars as pl

schema = pa.DataFrameSchema({
    "id": pa.Column(pl.Int64, pa.Check.ge(0)),
    "paid": pa.Column(pl.Boolean, metadata={"secure_ml": {"environments": ("training",)}}),
}, name="orders")
"""
GOOD = "id,paid\n1,true\n2,false\n"


@pytest.fixture
def given(tmp_path: Path) -> tuple[str, str, str]:
    (tmp_path / "contract.py").write_text(CONTRACT)
    (tmp_path / "good.csv").write_text(GOOD)
    return "validate", str(tmp_path / "contract.py"), str(tmp_path / "good.csv")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_an_environment_that_the_contract_does_not_know_is_an_error(
    given: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, *given)[0] == 0
    assert run(capsys, *given, "--environment", "training")[0] == 0
    assert run(capsys, *given, "--environment", "serving")[:2] == (
        1,
        "block: paid: column must be absent in serving [new_column]\n",
    )
    code, out, error = run(capsys, *given, "--environment", "trainign")
    assert (code, out) == (2, "")
    assert "environment trainign: the contract knows serving, training" in error
    Path(given[1]).write_text(
        CONTRACT.replace('"environments"', '"drift": 0.5, "environments"').replace("training", "lab")
    )
    assert "the contract knows lab, serving, training" in run(capsys, *given, "--environment", "trainign")[2]


def test_an_environment_of_a_contract_that_names_none_is_an_error(
    given: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path(given[1]).write_text(CONTRACT.replace('{"environments": ("training",)}', "{}"))
    assert run(capsys, *given)[0] == 0
    code, _, error = run(capsys, *given, "--environment", "serving")
    assert code == 2
    assert "environment serving: the contract names no environments" in error


def test_the_document_names_the_contract_by_its_own_name_and_the_file(
    given: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(run(capsys, *given, "--json")[1])
    assert (document["contract"], document["file"]) == ("orders", given[2])
    Path(given[1]).write_text(CONTRACT.replace(', name="orders"', ""))
    assert json.loads(run(capsys, *given, "--json")[1])["contract"] == "contract"


@pytest.mark.parametrize("option", ["--previous", "--training"])
def test_an_error_about_a_reference_says_so(
    option: str, given: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = run(capsys, *given, option, given[1])
    assert code == 2
    assert f"{option}: contract.py: " in error


def test_one_is_singular(given: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    Path(given[2]).write_text("id,paid\n-1,true\n")
    assert run(capsys, *given)[2].endswith("rejected: 1 row, 1 blocking finding, 0 warnings\n")
    assert "slice id=-1: 1 row is too few" in run(capsys, *given, "--slice", "id=-1")[1]
    assert "slice id=5: no row is in it" in run(capsys, *given, "--slice", "id=5")[1]


PARQUET = io.BytesIO()
pl.DataFrame({"id": [1, 2], "paid": [True, False]}).write_parquet(PARQUET)
OBJECT = b'{"id": 1, "paid": true}\n'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (GOOD.encode()[:-1], "truncated, or the last line has no line end: add one if the file is whole"),
        (OBJECT.strip(), "truncated, or the last line has no line end: add one if the file is whole"),
        (b'[{"id": 1}]', "a JSON array; write one object a line"),
        (b'\n[\n  {"id": 1}\n]\n', "a JSON array; write one object a line"),
        (b'{\n  "id": 1\n}\n', "a JSON object over several lines; write one object a line"),
        (
            OBJECT * 2 + b'{"id": 1, "pa\n',
            "line 3: cannot be read to its end, expected one JSON object a line: it is cut",
        ),
        (OBJECT * 2 + b"[]\n", "line 3: cannot be read to its end, expected one JSON object a line: it is none"),
        (b"id;paid\n1,5;true\n", "expected 1 column, found 2; do semicolons stand between the names?"),
        (b'id,paid\n1,"true\nfalse"\n2,"true\n' + b"3,true\n" * 9, "line 4: expected CSV, found a quote that does not"),
        (b'"id","paid"\n"1","true"\n"2,"true"\n"3","true"\n', "line 3: expected CSV, found a quote that does not"),
        (PARQUET.getvalue()[:-9], "expected Parquet, it cannot be read: it has no footer: truncated?"),
        (b"PAR1" * 9, "expected Parquet, it cannot be read: it is damaged"),
        (b"ARROW1" + b"1" * 9, "expected Arrow IPC, it cannot be read: it has no footer: truncated?"),
    ],
)
def test_what_cannot_be_read_is_said_in_words_that_help(
    content: bytes, said: str, given: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path(given[2]).write_bytes(content)
    code, out, error = run(capsys, *given)
    assert (code, out) == (2, "")
    assert said in error
    assert "Exception" not in error
    assert "Error" not in error


def test_the_line_of_json_that_is_cut_is_told_in_a_large_file(
    given: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path(given[2]).write_bytes(OBJECT * 200_000 + b'{"id": 1, "pa\n' + OBJECT * 200_000)
    assert "line 200001: " in run(capsys, *given)[2]


@pytest.mark.parametrize(("separator", "said"), [(";", "semicolons"), ("\t", "tabs")])
def test_a_file_with_other_separators_is_one_finding_and_shows_no_name(
    separator: str, said: str, given: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path(given[2]).write_text(GOOD.replace(",", separator).replace("id", "s3cret"))
    code, out, _ = run(capsys, *given)
    assert code == 1
    (line,) = out.splitlines()
    assert f"expected id, paid; do {said} stand between the names? commas are expected" in line
    assert "s3cret" not in out


@pytest.mark.parametrize("kind", ["csv", "parquet", "ipc"])
def test_a_file_without_rows_is_unreadable_whatever_its_kind(
    kind: str, given: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pl.DataFrame({"id": [1, 2], "paid": [True, False]})
    getattr(frame, f"write_{kind}")(given[2])
    assert run(capsys, *given)[0] == 0
    getattr(frame.clear(), f"write_{kind}")(given[2])
    code, _, error = run(capsys, *given)
    assert code == 2
    assert "good.csv: no rows, expected at least one" in error


TYPES = """
import pandera.polars as pa
import polars as pl

schema = pa.DataFrameSchema({
    "whole": pa.Column(pl.UInt8),
    "number": pa.Column(pl.Float64),
    "price": pa.Column(pl.Decimal(10, 2)),
    "paid": pa.Column(pl.Boolean),
    "day": pa.Column(pl.Date),
    "time": pa.Column(pl.Datetime("us")),
    "zoned": pa.Column(pl.Datetime("us", "UTC")),
})
"""


def test_a_cell_of_another_type_is_told_by_how_the_type_is_written(
    given: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path(given[1]).write_text(TYPES)
    good = (
        "whole,number,price,paid,day,time,zoned\n3,1234.5,1.25,true,2026-01-31,2026-01-31T12:30:15,2026-01-31T12:30Z\n"
    )
    Path(given[2]).write_text(good)
    assert run(capsys, *given)[0] == 0
    Path(given[2]).write_text(good + "300,1e400,1.255,True,31.1.2026,12:30,2026-01-31T12:30\n")
    assert sorted(line.removeprefix("block: ") for line in run(capsys, *given)[1].splitlines()) == [
        f"{column}: 1 of 2 rows not {form} [wrong_type] first at row 2"
        for column, form in (
            ("day", "dates such as 2026-01-31"),
            ("number", "numbers such as 1234.5"),
            ("paid", "true or false"),
            ("price", "numbers such as 1234 with at most 2 digits after a point"),
            ("time", "times such as 2026-01-31T12:30:15"),
            ("whole", "whole numbers such as 1234 (UInt8)"),
            ("zoned", "times such as 2026-01-31T12:30:15+01:00"),
        )
    ]


RULES = """
import pandera.polars as pa
import polars as pl
from secure_ml.contracts.checks import columns_compare, mean_between

schema = pa.DataFrameSchema({
    "id": pa.Column(pl.Int64),
    "amount": pa.Column(pl.Float64, [pa.Check.in_range(0, 629), mean_between(0, 9)]),
}, checks=[columns_compare("id", "<", "amount")], metadata={"secure_ml": {"tier": "TIER"}})
"""


def test_rules_that_a_wrong_type_alone_breaks_are_not_said_to_be_wrong(
    given: tuple[str, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    pl.DataFrame({"id": [1, 2], "amount": ["1.5", "2.5"]}).write_parquet(given[2])
    Path(given[1]).write_text(RULES.replace("TIER", "block"))
    code, out, _ = run(capsys, *given)
    assert code == 1
    assert [line for line in out.splitlines() if not line.startswith("not compiled: ")] == [
        "block: amount: column is of type String, expected Float64 [wrong_type]"
    ]
    Path(given[1]).write_text(RULES.replace("TIER", "warn"))
    code, out, _ = run(capsys, *given)
    assert code == 1, "a type that only warns must not switch off what blocks"
    assert "the rule could not be run" in out


def test_nan_is_named_where_it_is_not_allowed(given: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    pl.DataFrame({"id": [1, 2], "amount": [float("nan"), 7.0]}).write_parquet(given[2])
    Path(given[1]).write_text(RULES.replace("TIER", "block"))
    assert "block: amount: 1 of 2 rows null or NaN [missing_values] first at row 1\n" in run(capsys, *given)[1]


def test_junit_has_a_case_for_each_rule_whether_it_passed_or_not(
    given: tuple[str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = {"id: not_nullable", "id: greater_than_or_equal_to(0)", "paid: not_nullable", "id: type(Int64)"}
    for file, failed in ((GOOD, set()), (GOOD.replace("1", "-1"), {"contract", "id: greater_than_or_equal_to(0)"})):
        Path(given[2]).write_text(file)
        run(capsys, *given, "--junit", str(tmp_path / "report.xml"))
        root = check_junit((tmp_path / "report.xml").read_bytes())
        cases = {case.attrib["name"]: case.find("failure") is not None for case in root.iter("testcase")}
        assert cases.keys() == {"contract", "paid: type(Boolean)", *rules}
        assert {name for name, fails in cases.items() if fails} == failed
