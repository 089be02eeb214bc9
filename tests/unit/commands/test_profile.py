"""`secure-ml profile`: its document is what `validate` takes, and it shows no more than it may."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from secure_ml.cli import main
from secure_ml.profiles.document import parse

CONTRACT = """
import pandera.polars as pa

contract = pa.DataFrameSchema({
    "name": pa.Column(str),
    "size": pa.Column(float, metadata={"secure_ml": {"drift": 0.1}}),
})
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "small.csv").write_text("name,size\n" + "".join(f"ada{i % 3},{i}\n" for i in range(100)))
    (tmp_path / "large.csv").write_text("name,size\n" + "".join(f"ada{i % 3},{i + 80}\n" for i in range(100)))
    (tmp_path / "contract.py").write_text(CONTRACT)
    return tmp_path


def test_each_column_has_a_line(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(files / "small.csv")]) == 0
    shown = capsys.readouterr()
    assert "'name': string; 0.00% missing; 3 different; 4 to 4 long; most frequent 'ada0' (34)" in shown.out
    assert "'size': int64; 0.00% missing; 100 different; 0 to 99; mean 49.5, std 29.0115; median 49" in shown.out
    assert shown.err.startswith("small.csv: 100 rows, profile ")


def test_the_document_is_what_drift_is_measured_from(files: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    contract = ["--contract", str(files / "contract.py")]
    assert main(["profile", str(files / "small.csv"), *contract, "--json"]) == 0
    content = capfdbinary.readouterr().out
    assert parse(content).rows == 100
    (files / "profile.json").write_bytes(content)
    against = ["--previous", str(files / "profile.json"), "--json"]
    assert main(["validate", str(files / "contract.py"), str(files / "small.csv"), *against]) == 0
    capfdbinary.readouterr()
    main(["validate", str(files / "contract.py"), str(files / "large.csv"), *against])
    findings = json.loads(capfdbinary.readouterr().out)["findings"]
    assert [(finding["column"], finding["code"]) for finding in findings] == [("size", "drift")]


@pytest.mark.parametrize("typed", [[], ["--contract", "contract.py"]])
def test_a_personal_column_shows_counts_only(
    typed: list[str], files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    for form in ([], ["--json"]):
        assert main(["profile", "small.csv", *typed, *form]) == 0
        assert "ada0" in capsys.readouterr().out
        assert main(["profile", "small.csv", *typed, *form, "--personal", "name"]) == 0
        assert "ada" not in capsys.readouterr().out
        assert main(["profile", "small.csv", *typed, *form, "--personal", "nickname"]) == 2
        assert "1 columns named as personal are not in the table" in capsys.readouterr().err
