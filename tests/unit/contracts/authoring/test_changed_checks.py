"""Python checks in two contracts: another check wherever anything that it reads is another."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest

from secure_ml.contracts.authoring.diff import diff_contracts
from secure_ml.contracts.contract_file import load_contract
from secure_ml.screening.personal_data import no_personal_data

HEAD = """
import dataclasses, functools, re, threading
import numpy as np, pandas as pd, pandera.polars as pa, polars as pl
"""
FOOT = """
schema = pa.DataFrameSchema({"x": pa.Column(pl.Int64, pa.Check(check, name="mine"))})
"""
BIG = "known = np.arange(5000)\nknown[2500] = {}\n"
METHOD = """
class Contract(pa.DataFrameModel):
    x: int
    _limit = {}

    @pa.check("x")
    def small(cls, given):
        return given.lazyframe.select(pl.col(given.key) < cls._limit)
"""


def load(folder: Path, source: str) -> Any:
    path = folder / "contract.py"
    path.write_text(source)
    return load_contract(path).schema


@pytest.mark.parametrize(
    ("source", "old", "new"),
    [
        ("LIMIT = {}\ndef check(given): return given.lazyframe.select(pl.col(given.key) < LIMIT)", "5", "500"),
        ("def limit(): return {}\ndef check(given): return given.key < limit()", "5", "500"),
        ("def limit(): return {}\ndef check(given): return [limit() for _ in given]", "5", "500"),
        ("def f(n): return n and g(n - 1)\ndef g(n): return n and f(n - {})\ndef check(given): return f(9)", "1", "2"),
        (BIG + "def check(given, known=known): return known", "1", "2"),
        (BIG + "def make(known):\n return lambda given: known\ncheck = make(known)", "1", "2"),
        ("known = np.array(['a', {}], dtype=object)\ndef check(given): return known", "1", "2"),
        ("known = np.float64({})\ndef check(given): return known", "1", "2"),
        ("known = pl.Series([0] * 500 + [{}] + [0] * 500)\ndef check(given): return known", "1", "2"),
        ("known = pd.Series([0] * 500 + [{}] + [0] * 500)\ndef check(given): return known", "1", "2"),
        ("known = pl.DataFrame({{'a': [0] * 500 + [{}] + [0] * 500}})\ndef check(given): return known", "1", "2"),
        ("known = pd.DataFrame({{'a': [0] * 500 + [{}] + [0] * 500}})\ndef check(given): return known", "1", "2"),
        ("rule = pl.col('x').is_in([0] * 500 + [{}])\ndef check(given): return rule", "1", "2"),
        ("form = re.compile('x' * 250 + '{}')\ndef check(given): return form", "a", "b"),
        ("form = re.compile('x', {})\ndef check(given): return form", "0", "re.I"),
        ("class Box:\n def __init__(self): self.n = {}\nbox = Box()\ndef check(given): return box.n", "1", "2"),
        ("class Below:\n __name__ = 'below'\n def __call__(self, given): return {}\ncheck = Below()", "1", "2"),
        ("class Box:\n @property\n def n(self): return {}\nbox = Box()\ndef check(given): return box.n", "1", "2"),
        ("class Box(list): pass\nbox = Box([{}])\ndef check(given): return box", "1", "2"),
        ("def check(given): return given\ncheck.limit = {}", "1", "2"),
        ("check = functools.partial(lambda given, *, {}: low, low=1, high=5)", "low, high", "high, low"),
        ("check = functools.partial({}, 1)", "max", "min"),
    ],
)
def test_a_python_check_is_another_one_where_what_it_reads_is(tmp_path: Path, source: str, old: str, new: str) -> None:
    first, again, changed = (load(tmp_path, HEAD + source.format(value) + FOOT) for value in (old, old, new))
    assert diff_contracts(first, again) == ()
    assert [(change.rule, change.kind) for change in diff_contracts(first, changed)] == [("mine", "stricter")]


@pytest.mark.parametrize(
    "source",
    [
        "def check(given, lock=threading.Lock()): return lock",
        "rows = (row for row in [1])\ndef check(given): return rows",
        "rule = pl.col('x').map_batches(lambda column: column)\ndef check(given): return rule",
        "deep = []\nfor _ in range(3000): deep = [deep]\ndef check(given): return deep",
        "class Sly:\n def __reduce__(self): return (Sly, ())\nsly = Sly()\ndef check(given): return sly",
    ],
)
def test_a_check_that_cannot_be_compared_counts_as_stricter(tmp_path: Path, source: str) -> None:
    first, again = (load(tmp_path, HEAD + source + FOOT) for _ in range(2))
    (change,) = diff_contracts(first, again)
    assert change.kind == "stricter"
    assert change.sentence == "x: mine is another check now, and the two cannot be compared"


def test_a_method_of_a_model_is_compared_by_its_body_and_what_it_takes_from_the_model(tmp_path: Path) -> None:
    def model(limit: int, more: str = "") -> Any:
        return load(tmp_path, HEAD + METHOD.format(limit) + more)

    another = "\n    y: int\n\n    @pa.check('y')\n    def large(cls, given):\n        return given.lazyframe\n"
    assert diff_contracts(model(1), model(1)) == ()
    assert [change.kind for change in diff_contracts(model(1), model(2))] == ["stricter"]
    assert {change.column for change in diff_contracts(model(1), model(1, another))} == {"y"}


def test_a_global_with_the_name_of_an_attribute_is_no_part_of_the_check(tmp_path: Path) -> None:
    source = "select = {}\ndef check(given): return given.lazyframe.select(given.key)"
    old, new = (load(tmp_path, HEAD + source.format(value) + FOOT) for value in (1, 2))
    assert diff_contracts(old, new) == ()


def kinds(*checks: pa.Check) -> list[str]:
    old, new = (pa.DataFrameSchema({"x": pa.Column(pl.Int64, check)}) for check in checks)
    return [change.kind for change in diff_contracts(old, new)]


def _allows(values: list[int], more: int = 0) -> pa.Check:
    return pa.Check(lambda given: given.lazyframe.select(pl.col(given.key).is_in([*values, more])), name="allows")


def _factory(function: Any, /, *arguments: Any, **settings: Any) -> pa.Check:
    return pa.Check(functools.partial(function, *arguments, **settings), name="partial")


def _recursive(limit: int) -> pa.Check:
    def check(given: Any, depth: int = limit) -> Any:
        return check(given, depth - 1) if depth else given.lazyframe

    return pa.Check(check, name="recursive")


@pytest.mark.parametrize(
    ("old", "same", "new"),
    [
        (_allows([1, 2]), _allows([1, 2]), _allows([1, 3])),
        (_allows([1], 2), _allows([1], 2), _allows([1], 3)),
        (_factory(max, 1), _factory(max, 1), _factory(max, 2)),
        (_factory(print, sep=","), _factory(print, sep=","), _factory(print, sep=";")),
        (_recursive(1), _recursive(1), _recursive(2)),
        (
            *no_personal_data("phone", regions=["DE"]),
            *no_personal_data("phone", regions=["DE"]),
            *no_personal_data("phone", regions=["US"]),
        ),
    ],
)
def test_a_python_check_is_another_one_where_what_it_was_given_is(old: pa.Check, same: pa.Check, new: pa.Check) -> None:
    assert kinds(old, same) == []
    assert kinds(old, new) == ["stricter"]


LONG = "x" * 130


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (pa.Check.str_matches(f"^{LONG}a$"), pa.Check.str_matches(f"^{LONG}[a-z]$")),
        (pa.Check.str_startswith(f"{LONG}a"), pa.Check.str_startswith(LONG)),
        (pa.Check.unique_values_eq([f"{LONG}a"]), pa.Check.unique_values_eq([f"{LONG}b"])),
        (pa.Check(abs, name="mine"), pa.Check(abs, name="mine", element_wise=True)),
    ],
)
def test_two_rules_whose_shortened_names_are_the_same_are_told_apart(old: pa.Check, new: pa.Check) -> None:
    assert kinds(old, old) == []
    assert kinds(old, new) == ["stricter"]
