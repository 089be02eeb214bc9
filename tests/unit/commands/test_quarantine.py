"""What `secure-ml quarantine show` tells about the files of an entry."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from secure_ml.cli import main
from secure_ml.installation import Installation
from tests.sample_model import guarded_model
from tests.unit.operations.test_quarantine_decisions import ROWS, refuse

FORMULA = '=HYPERLINK("http://evil.example")'


def show(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["quarantine", "show", *arguments]) == 0
    return capsys.readouterr().out


def test_show_warns_that_failing_rows_are_unsigned_and_altered(
    installation: Installation,
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    refused = refuse(installation, guarded_model(tmp_path / "models"), [*ROWS, (FORMULA, -1, 1)])
    text = show(capsys, "guarded", refused.cause[:12])
    assert "warning: the files in this folder are not signed" in text
    assert "note: in failing_rows.csv, a cell or column name that begins with = + - @" in text
    assert FORMULA not in text
    warnings = json.loads(show(capsys, "guarded", refused.cause, "--json"))["warnings"]
    assert len(warnings) == 2
    rows = installation.home.quarantine / "guarded" / refused.cause / "failing_rows.csv"
    cells = [cell for row in csv.reader(rows.open(newline="")) for cell in row]
    assert f"'{FORMULA}" in cells
    assert FORMULA not in cells
    assert "-1" in cells
    rows.unlink()
    assert "not signed" not in show(capsys, "guarded", refused.cause)
