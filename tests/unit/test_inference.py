"""Inferred contracts: the table satisfies its own, nothing of it becomes code, and nothing is overfitted."""

from __future__ import annotations

import ast
import datetime
import random
import string
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secure_ml.contracts import checks
from secure_ml.contracts.anomalies import find_anomalies, profile_as_declared
from secure_ml.contracts.compiled import check_table
from secure_ml.contracts.contract_source import Call, Column, render_source
from secure_ml.contracts.inference import infer_contract
from secure_ml.contracts.profile import Profile
from secure_ml.contracts.profiling import profile_batches
from secure_ml.contracts.tables import table_of

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


def profile_of(frame: pl.DataFrame, **more: Any) -> Profile:
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    return profile_batches(table.schema, table.to_batches(), **more)


def infer(frame: pl.DataFrame, **more: Any) -> str:
    return infer_contract(profile_of(frame), name="drawn", dtypes=dict(frame.schema), **more)


def schema_of(source: str) -> Any:
    space: dict[str, Any] = {}
    exec(compile(source, "contract.py", "exec"), space)
    return space["schema"]


def column_of(values: Any, **more: Any) -> Any:
    return schema_of(infer(pl.DataFrame({"x": values}), **more)).columns["x"]


def check_names(values: Any, **more: Any) -> list[str]:
    return [check.name.split("(")[0] for check in column_of(values, **more).checks]


def range_of(values: Any) -> tuple[Any, Any]:
    (check,) = [check for check in column_of(values).checks if check.name == "in_range"]
    return check.statistics["min_value"], check.statistics["max_value"]


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
        assert check_table(table_of(frame), schema).findings == ()


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


def test_a_range_has_a_margin() -> None:
    low, high = range_of([10.0 + (i % 101) / 10 for i in range(2000)])
    assert (low, high) == pytest.approx((8.9, 21.1), abs=0.2)


def test_a_range_is_wider_where_rows_are_few() -> None:
    low, high = range_of([10.0, 20.0, 12.0, 17.0])
    assert low < 0.1 or low == 0
    assert high > 40


def test_a_sign_that_was_never_seen_stays_refused() -> None:
    assert range_of([i / 10 for i in range(1000)])[0] == 0
    assert range_of([-i / 10 for i in range(1000)])[1] == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_next_sample_of_the_same_distribution_stays_in_range(seed: int) -> None:
    chance = random.Random(seed)
    for draw in (
        lambda: chance.gauss(50, 5),
        lambda: chance.expovariate(0.1),
        lambda: chance.uniform(0, 1),
        lambda: chance.lognormvariate(0, 0.5),
        lambda: float(int(chance.expovariate(0.2))),
    ):
        low, high = range_of([draw() for _ in range(2000)])
        assert all(low <= draw() <= high for _ in range(20_000))


def test_the_other_half_of_real_tables_raises_few_alarms() -> None:
    """Random halves of four of scikit-learn's tables, 61 columns of 75 to 285 rows: an alarm in ten columns at most."""
    from sklearn import datasets

    alarms = columns = 0
    for name in ("iris", "wine", "diabetes", "breast_cancer"):
        whole = pl.from_pandas(getattr(datasets, f"load_{name}")(as_frame=True).frame)
        frame = whole.sample(fraction=1, shuffle=True, seed=7)
        half = frame.height // 2
        schema = schema_of(infer(frame[:half]))
        before = profile_as_declared(table_of(frame[:half]), schema)
        report = find_anomalies(table_of(frame[half:]), schema, previous=before)
        alarms += len(report.findings)
        columns += frame.width
    assert alarms <= columns / 10


def test_integers_that_fill_their_range_get_no_margin() -> None:
    assert range_of([1 + i % 12 for i in range(600)]) == (1, 12)


def test_counts_that_tail_off_get_a_margin() -> None:
    tails = [i for i in range(8) for _ in range(4 ** (8 - i))]
    assert range_of(tails)[1] > 7


def test_one_absurd_value_does_not_hide_the_tail() -> None:
    checks = check_names([i % 100 / 10 for i in range(3000)] + [1e6])
    assert checks == ["in_range", "quantile_between"]


def test_a_sparse_code_gets_a_domain() -> None:
    (check,) = column_of([0, 90, 270] * 100).checks
    assert check.statistics["allowed_values"] == [0, 90, 270]
    assert not check.raise_warning


def test_a_constant_only_warns_of_another_number() -> None:
    (check,) = column_of([0.0] * 400).checks
    assert check.statistics["allowed_values"] == [0.0]
    assert check.raise_warning


def test_whole_numbers_have_whole_bounds() -> None:
    low, high = range_of([float(i * i % 37) for i in range(300)])
    assert float(low).is_integer()
    assert float(high).is_integer()


def test_a_closed_domain_refuses_and_an_open_one_warns_first() -> None:
    closed = column_of(["a", "b", "c"] * 500)
    assert [(check.name, check.raise_warning) for check in closed.checks] == [("isin", False)]
    many = ["a"] * 900 + ["b"] * 90 + [f"new {i}" for i in range(10)]
    isin, vocabulary = column_of(many).checks
    assert (isin.name, isin.raise_warning, vocabulary.raise_warning) == ("isin", True, False)
    assert vocabulary.statistics["fraction"] == 0.04


def test_text_of_many_values_gets_no_domain() -> None:
    chance = random.Random(1)
    names = ["".join(chance.choices(string.ascii_lowercase, k=6)) for _ in range(400)]
    assert check_names([chance.choice(names) for _ in range(2000)]) == ["str_length"]
    assert check_names([f"a note about thing {i}" for i in range(2000)]) == ["str_length"]


def test_few_rows_are_no_evidence_for_a_domain() -> None:
    assert check_names(["a", "b"] * 10) == []


def test_identifiers_are_unique_and_without_a_range() -> None:
    numbers = column_of(list(range(1000, 1400)))
    assert numbers.unique
    assert [check.name for check in numbers.checks] == ["greater_than_or_equal_to"]
    texts = column_of([str(uuid.UUID(int=i)) for i in range(400)])
    assert texts.unique
    assert texts.checks[0].statistics["min_value"] == texts.checks[0].statistics["max_value"] == 36


def test_values_that_differ_by_accident_are_not_unique() -> None:
    chance = random.Random(5)
    assert not column_of([chance.randrange(10**9) for _ in range(400)]).unique
    assert not column_of([chance.random() for _ in range(400)]).unique
    assert not column_of([f"free text number {i}" for i in range(400)]).unique
    assert not column_of(list(range(20))).unique


def test_where_the_profile_estimates_an_identifier_must_have_been_counted() -> None:
    ids = list(range(5000))
    assert not column_of(ids).unique
    assert column_of(ids, unique=("x",)).unique
    assert not column_of([1.5 * i for i in ids], unique=("x",)).unique


def test_lists_get_a_type_and_a_number_of_items() -> None:
    found = column_of([[1, 2]] * 200)
    assert str(found.dtype) == "List(Int64)"
    (check,) = found.checks
    assert check.name == "items_between(2, 2)"


def test_a_share_of_missing_cells_may_grow_a_little() -> None:
    (check,) = column_of([None if i % 4 == 0 else f"text {i}" for i in range(4000)]).checks[1:]
    assert check.name == "null_fraction_at_most(0.33)"


def test_an_empty_batch_is_refused() -> None:
    frame = pl.DataFrame({"x": [1, 2, 3]})
    report = check_table(table_of(frame.clear()), schema_of(infer(frame)))
    assert [finding.code for finding in report.findings] == ["row_count"]
    assert schema_of(infer(frame.clear())).checks == []


def test_a_personal_column_gives_no_bound_on_its_values() -> None:
    frame = pl.DataFrame({"mail": ["a@example.org", "b@example.org"] * 200, "x": [1.0, 2.0] * 200})
    source = infer_contract(profile_of(frame, personal=("mail",)), name="people", dtypes=dict(frame.schema))
    assert "example.org" not in source
    column = schema_of(source).columns["mail"]
    assert column.checks == []
    assert column.metadata == {"secure_ml": {"personal": True}}


def test_a_range_too_narrow_to_be_rounded_is_a_range() -> None:
    low, high = range_of([5e-324, -5e-324])
    assert low <= -5e-324
    assert high >= 5e-324
