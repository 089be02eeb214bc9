"""Inferred contracts as source: the table satisfies its own, and nothing of it becomes code."""

from __future__ import annotations

import ast
import datetime
import random
import string
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_ml.contracts import checks
from secure_ml.contracts.authoring.infer import infer_contract
from secure_ml.contracts.authoring.python_source import Call, Column, render_source
from secure_ml.contracts.validate import validate
from secure_ml.tables.data_files import table_of
from tests.unit.contracts.authoring.infer_examples import infer, profile_of, schema_of

RUFF = str(Path(sys.executable).parent / "ruff")
HOSTILE = [
    '"""',
    "'''",
    '"); import os; os.system("touch owned") #',
    "a\nimport os",
    "a\r\n\tb",
    "\\",
    "\\\"'",
    "{0}{name}%s",
    "# noqa",
    "\x1b[2J\u2028\u202e",
    "'\"'",
    "é\U0001f600",
    "",
    "x" * 300,
    "\U000e0001" * 100,
]


def assert_holds_only_literals(source: str) -> None:
    """Every call is one that the renderer may write, every name one that it made; all else is a literal."""
    calls = {"pa.DataFrameSchema", "pa.Column", "pl.Datetime", "pl.Duration", "pl.List", "pl.Decimal", *checks.__all__}
    calls |= {f"pa.Check.{name}" for name in ("in_range", "ge", "le", "isin", "str_length")}
    tree = ast.parse(source)
    for node in tree.body:
        assert isinstance(node, ast.Import | ast.ImportFrom | ast.Assign) or node is tree.body[0]
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Lambda | ast.JoinedStr | ast.FunctionDef | ast.ListComp | ast.Subscript)
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) in calls
        if isinstance(node, ast.Name):
            assert node.id in {"pa", "pl", "schema", *checks.__all__} or node.id.startswith("VALUES_")


def assert_clean(source: str, folder: Path) -> None:
    file = folder / "contract.py"
    file.write_text(source, encoding="utf-8")
    rules = "E,F,W,I,B,UP,C4,SIM,N,S,RET,D100,PLE"
    lint = [RUFF, "check", "--isolated", "--no-cache", "--select", rules, "--line-length", "120", str(file)]
    done = subprocess.run(lint, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout
    for width in ("88", "120"):
        done = subprocess.run(
            [RUFF, "format", "--isolated", "--no-cache", "--diff", "--line-length", width, str(file)],
            capture_output=True,
            text=True,
            cwd=folder,
        )
        assert done.returncode == 0, done.stdout


TEXTS = st.one_of(st.sampled_from([*HOSTILE, "\x00"]), st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
NAMES = TEXTS.filter(lambda name: "\x00" not in name)  # no file format has such a name
CELLS: dict[Any, st.SearchStrategy[Any]] = {
    pl.Int64: st.one_of(st.integers(-5, 5), st.integers(-(2**63), 2**63 - 1)),
    pl.UInt8: st.integers(0, 255),
    pl.Float64: st.one_of(st.sampled_from([0.0, -0.0, 1.0, float("nan"), float("inf"), -float("inf")]), st.floats()),
    pl.String: TEXTS,
    pl.Boolean: st.booleans(),
    pl.Date: st.dates(datetime.date(1900, 1, 1)),
    pl.Datetime("us"): st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1)),
    pl.List(pl.Int64): st.lists(st.integers(0, 3), max_size=3),
}


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    """Few different cells, repeated, so that each kind of rule is inferred somewhere."""
    rows = draw(st.sampled_from([1, 3, 40, 400, 1500]))
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    columns = {}
    for name in names:
        dtype = draw(st.sampled_from(list(CELLS)))
        cells = st.one_of(st.none(), CELLS[dtype]) if draw(st.booleans()) else CELLS[dtype]
        pool = draw(st.lists(cells, min_size=1, max_size=8))
        choose = random.Random(draw(st.integers(0, 99)))
        columns[name] = pl.Series(name, [choose.choice(pool) for _ in range(rows)], dtype=dtype)
    return pl.DataFrame(columns)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(frames())
def test_the_table_that_a_contract_was_inferred_from_satisfies_it(frame: pl.DataFrame) -> None:
    source = infer(frame)
    assert_holds_only_literals(source)
    schema = schema_of(source)
    assert list(schema.columns) == frame.columns
    schema.validate(frame, lazy=True)
    if "" not in frame.columns:  # no table that is opened has a column without a name
        assert validate(table_of(frame), schema).findings == ()


@pytest.mark.parametrize("rows", [5, 80, 1200, 20_000])
@pytest.mark.parametrize("seed", [1, 2])
def test_skewed_tables_of_any_size_satisfy_their_own_contract(rows: int, seed: int) -> None:
    chance = random.Random(seed)
    frame = pl.DataFrame(
        {
            "normal": [chance.gauss(0, 1) for _ in range(rows)],
            "skewed": [chance.paretovariate(0.7) for _ in range(rows)],
            "negative": [-chance.expovariate(1) for _ in range(rows)],
            "count": [int(chance.expovariate(0.3)) for _ in range(rows)],
            "wide": [chance.randrange(-(2**62), 2**62) for _ in range(rows)],
            "word": [chance.choice(string.ascii_letters[: 1 + rows // 50]) for _ in range(rows)],
            "gaps": [chance.choice([None, 1.5, 2.5]) for _ in range(rows)],
        }
    )
    schema_of(infer(frame)).validate(frame, lazy=True)


def test_a_name_pasted_into_a_template_would_run_as_code(tmp_path: Path) -> None:
    attack = f'x": 1}}\nopen({str(tmp_path / "owned")!r}, "w").close()\n{{"y'
    exec(f'schema = {{"{attack}": 2}}')
    assert (tmp_path / "owned").exists()
    (tmp_path / "owned").unlink()
    values = [attack, "b"] * 100
    frame = pl.DataFrame({attack: values})
    source = infer_contract(profile_of(frame), name=attack, dtypes=dict(frame.schema))
    schema = schema_of(source)
    assert not (tmp_path / "owned").exists()
    assert list(schema.columns) == [schema.name] == [attack]


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_or_value_stays_a_literal_and_the_source_stays_clean(hostile: str, tmp_path: Path) -> None:
    frame = pl.DataFrame({hostile: [hostile, "b"] * 100, f"{hostile}2": [1.5, None] * 100})
    source = infer_contract(profile_of(frame), name=hostile, dtypes=dict(frame.schema))
    assert_holds_only_literals(source)
    assert_clean(source, tmp_path)
    schema = schema_of(source)
    assert schema.name == hostile
    assert list(schema.columns) == [hostile, f"{hostile}2"]
    schema.validate(frame, lazy=True)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(TEXTS)
def test_any_text_is_rendered_as_a_literal_of_itself(text: str) -> None:
    column = Column(text, None, (), (Call("pa.Check.isin", ([text, {"k": text}],)),))
    tree = ast.parse(render_source([column], name=text, about=["x"]))
    found = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert found.count(text) == 4 + (text == "k")
    assert set(found) <= {text, "k", "x\n"}


def test_comments_hold_nothing_of_the_data() -> None:
    frame = pl.DataFrame({"secret-name": ["secret-cell", "b"] * 100, "t": [f"secret {i} of many" for i in range(200)]})
    said = [line for line in infer(frame).splitlines() if line.strip().startswith("#")]
    assert said
    assert not any("secret" in line for line in said)


def test_a_time_zone_that_is_no_zone_is_not_written_into_the_type() -> None:
    source = infer(pl.DataFrame({"x": [datetime.datetime(2020, 1, 1)]}))
    assert 'pl.Datetime("us"),' in source
    hostile = {"x": pl.Datetime("us", '"); import os #')}
    source = infer_contract(profile_of(pl.DataFrame({"x": [1]})), name="x", dtypes=hostile)
    assert "import os" not in source
    assert_holds_only_literals(source)


def test_what_is_no_literal_cannot_be_rendered() -> None:
    column = Column("x", "pl.Int64", (), (Call("pa.Check.isin", ([object()],)),))
    with pytest.raises(TypeError):
        render_source([column], name="x", about=["x"])


def test_an_inferred_contract_is_clean_for_every_kind_of_column(tmp_path: Path) -> None:
    chance = random.Random(3)
    names = ["common"] * 200 + ["usual"] * 90 + [f"rare {i}" for i in range(3)]
    frame = pl.DataFrame(
        {
            "id": list(range(293)),
            "day": [1 + i % 7 for i in range(293)],
            "code": [(0, 90, 270)[i % 3] for i in range(293)],
            "amount": [chance.gauss(100, 20) for _ in range(293)],
            "name": names,
            "text": ["".join(chance.choices(string.ascii_letters + " ", k=40)) for _ in range(293)],
            "flag": [i % 2 == 0 for i in range(293)],
            "when": [datetime.datetime(2020, 1, 1) + datetime.timedelta(hours=i) for i in range(293)],
            "zoned": pl.Series([datetime.datetime(2020, 1, 1)] * 293, dtype=pl.Datetime("ms", "Europe/Berlin")),
            "price": pl.Series(["1.20"] * 293).cast(pl.Decimal(10, 2)),
            "gaps": [None if i % 9 == 0 else 1.5 * i for i in range(293)],
            "empty": pl.Series([None] * 293, dtype=pl.String),
            "list": [[1, 2]] * 293,
        }
    )
    source = infer(frame)
    assert_clean(source, tmp_path)
    schema = schema_of(source)
    schema.validate(frame, lazy=True)
    assert {name for name, column in schema.columns.items() if column.unique} == {"id"}
    assert {name for name, column in schema.columns.items() if column.nullable} == {"gaps", "empty"}
