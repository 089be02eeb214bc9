"""Language rules of the project, applied to every file that is not listed as pending."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from tests.language import Scan, allowed_semicolons, project_files, scan_file
from tests.language_pending import PENDING


@cache
def scans() -> dict[str, Scan]:
    return {scan.path: scan for scan in map(scan_file, project_files())}


def test_files_follow_the_language_rules() -> None:
    offences = [str(offence) for path, scan in scans().items() if path not in PENDING for offence in scan.offences]
    assert not offences, "\n".join(["language: rewrite these lines in plain English", *offences])


def test_pending_files_still_need_a_rewrite() -> None:
    done = [path for path in PENDING if path not in scans() or not scans()[path].offences]
    assert not done, f"pending files: {done} are clean or gone; run `python -m tests.language --write-pending`"
    assert len(PENDING) == len(set(PENDING))


def test_semicolons_are_rare_in_the_project() -> None:
    clean = [scan for path, scan in scans().items() if path not in PENDING]
    semicolons, sentences = sum(len(scan.semicolons) for scan in clean), sum(scan.sentences for scan in clean)
    figure = f"docs and docstrings: {semicolons} semicolons in {sentences} sentences"
    if PENDING:
        # A file may contain one semicolon, so the figure of a few small files says little.
        pytest.skip(f"{len(PENDING)} files are pending; {figure}")
    assert semicolons <= allowed_semicolons(sentences), f"{figure}, expected at most 3 in 100; split the sentences"


def problems(folder: Path, name: str, text: str) -> list[str]:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return [f"{offence.line}: {offence.problem}" for offence in scan_file(path, folder).offences]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.py", '"""None where there is no row."""\n', ["1: dialect: 'where there is'"]),
        ("a.py", "x = 1\n# The batch is held\n# against the contract.\n", ["2: dialect: 'held against'"]),
        ("a.py", "x = f'{1} rows are none'\n", ["1: dialect: 'are none'"]),
        ("a.py", "x = 1\nsaid = 2\n", ["2: the name 'said' is not a noun"]),
        ("a.py", "def f(*, by=1): ...\n", ["1: the name 'by' is not a noun"]),
        ("a.py", "class C:\n    kept: int\n", ["2: the name 'kept' is not a noun"]),
        (
            "a.py",
            'def f():\n    """Do it.\n\n    Raises:\n        E: If x.\n        F: It is bad.\n    """\n',
            ["6: a Raises entry does not begin with 'If': 'F: It is bad.'"],
        ),
        ("a.py", '"""Doc.\n\nWhat a batch is.\n"""\n', ["3: a sentence without a subject: 'What a batch is ...'"]),
        ("a.py", "x = 1\n" * 401, ["1: the file has 401 lines, expected at most 400"]),
        ("a.py", "def f():\n" + "    x = 1\n" * 60, ["1: f has 61 lines, expected at most 60"]),
        ("a.py", '"""One; two. Three; four."""\n', ["1: 2 semicolons in 2 sentences, expected at most 1 (lines 1, 1)"]),
        ("a.md", "# What it is\n\nIt is made\nanew.\n", ["4: dialect: 'anew'"]),
        (
            "a.md",
            "- Who writes it. It\n- works; well; so.\n",
            ["1: a sentence without", "2: 2 semicolons in 2 sentences"],
        ),
        ("a.html", "<p>\nSo they are none</p>", ["2: dialect: 'are none'"]),
    ],
)
def test_scanner_reports_an_offence_at_its_line(name: str, text: str, expected: list[str], tmp_path: Path) -> None:
    reported = problems(tmp_path, name, text)
    assert len(reported) == len(expected), reported
    for problem, start in zip(sorted(reported), sorted(expected), strict=True):
        assert problem.startswith(start)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "a.py",
            '"""Check rows. What is a row? One line."""\n\nrows = 1 if 2 is None else 3  # None is possible; fine\n',
        ),
        (
            "a.py",
            'def f():\n    """Do it.\n\n    Raises:\n        E: If x\n            is bad.\n    """\n' + "x = 1\n" * 393,
        ),
        ("a.md", "## What it does\n\n```\nx = 1; y = 2\n```\n\n| a; b | c; d |\n| --- | --- |\n"),
    ],
)
def test_scanner_accepts_plain_english(name: str, text: str, tmp_path: Path) -> None:
    assert problems(tmp_path, name, text) == []
