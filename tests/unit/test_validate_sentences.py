"""What `validate` says to who meets it first: mistakes in its use, files that are none, sentences that help."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from secure_ml.cli import main

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
