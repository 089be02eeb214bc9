"""The intermediate form: what a pandera schema says, what compiles, and what falls back with which reason."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandera.pandas as of_pandas
import pandera.polars as pa
import polars as pl
import pytest
from pandera.api.polars.types import PolarsData

from secure_ml.contracts.checks import columns_compare, mean_between, no_duplicate_rows, null_fraction_at_most
from secure_ml.contracts.contract_file import load_contract
from secure_ml.contracts.rules import compile_rules
from secure_ml.contracts.validate import validate
from secure_ml.errors import MalformedError, PreconditionError
from secure_ml.tables.data_files import table_of


def with_metadata(of_column: object = None, of_table: object = None) -> pa.DataFrameSchema:
    column = pa.Column(int, metadata={"secure_ml": of_column, "another tool": 1})
    return pa.DataFrameSchema({"x": column}, metadata={"secure_ml": of_table})


class Model(pa.DataFrameModel):
    """A schema as a class."""

    age: int = pa.Field(ge=0, le=120, metadata={"secure_ml": {"tier": "warn"}})
    label: float = pa.Field(isin=[0.0, 1.0], metadata={"secure_ml": {"environments": ("training",)}})


def test_a_data_frame_model_compiles_with_its_metadata() -> None:
    rules = compile_rules(Model)
    assert not rules.fallbacks
    age = {rule.kind: rule for rule in rules.of("age")}
    assert age["greater_than_or_equal_to"].parameters == {"min_value": 0}
    assert age["less_than_or_equal_to"].code == "out_of_range"
    assert {rule.tier for rule in age.values()} == {"warn"}
    assert [column.environments for column in rules.columns if column.name == "label"] == [("training",)]


def test_metadata_of_nothing_and_of_other_tools_are_no_matter() -> None:
    assert compile_rules(with_metadata()).columns[0].settings == {}


def test_a_users_own_check_is_not_taken_for_the_built_in_one_of_its_name() -> None:
    own = pa.Check(lambda given: given.lazyframe.select(pl.lit(False)), name="in_range", statistics={"min_value": 0})
    rules = compile_rules(pa.DataFrameSchema({"x": pa.Column(int, [own, pa.Check.in_range(0, 1)])}))
    assert [(item.column, item.why) for item in rules.fallbacks] == [("x", "it is a Python function")]


def test_a_built_in_check_that_somebody_made_anew_is_a_python_function(monkeypatch: pytest.MonkeyPatch) -> None:
    check = pa.Check.in_range(0, 1)
    assert check(pl.LazyFrame({"x": [0, 1]}), "x").check_passed.collect().item()  # pandera has registered its own
    own = lambda data, **_: data.lazyframe.select(pl.col(data.key) > 5)  # noqa: E731
    monkeypatch.setitem(check._check_fn._function_registry, PolarsData, own)
    report = validate(table_of(pl.DataFrame({"x": [0, 1]})), pa.DataFrameSchema({"x": pa.Column(int, check)}))
    assert [item.why for item in report.fallbacks] == ["it is a Python function"]
    assert [finding.by for finding in report.findings] == ["pandera"]


@pytest.mark.parametrize(
    ("check", "why"),
    [
        (pa.Check.str_matches(r"\w+"), "outside the portable subset"),
        (pa.Check.str_matches(re.compile("a", re.IGNORECASE)), "ignores the flags"),
        (pa.Check(lambda value: value > 0, element_wise=True), "Python function"),
        (pa.Check.gt(0, element_wise=True), "each element"),
        (columns_compare("x", "<", "x"), "check of the table stands on a column"),
    ],
)
def test_what_cannot_be_compiled_says_why(check: pa.Check, why: str) -> None:
    (fallback,) = compile_rules(pa.DataFrameSchema({"x": pa.Column(None, check)})).fallbacks
    assert why in fallback.why


def test_ready_checks_compile_and_run_in_pandera_as_they_stand() -> None:
    schema = pa.DataFrameSchema(
        {"a": pa.Column(float, [null_fraction_at_most(0.1), mean_between(0, 1)], nullable=True)},
        checks=[columns_compare("a", "<", "a"), no_duplicate_rows(warn=False)],
    )
    assert not compile_rules(schema).fallbacks
    with pytest.raises(pa.errors.SchemaErrors) as caught:
        schema.validate(pl.DataFrame({"a": [5.0, 5.0, None]}), lazy=True)
    kinds = {str(getattr(error.check, "name", error.check)).split("(")[0] for error in caught.value.schema_errors}
    assert kinds == {"null_fraction_at_most", "mean_between", "columns_compare", "no_duplicate_rows"}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (pa.DataFrameSchema({"x": pa.Column(int)}, drop_invalid_rows=True), "drop_invalid_rows"),
        (pa.DataFrameSchema({"x": pa.Column(int, default=1)}, add_missing_columns=True), "add_missing_columns"),
        (of_pandas.DataFrameSchema({"x": of_pandas.Column(int)}, index=of_pandas.Index(int)), "index"),
        (of_pandas.DataFrameSchema({"x": of_pandas.Column(complex)}), "complex128"),
        (pa.DataFrameSchema({"x": pa.Column(int, metadata={"secure_ml": {"tier": "loud"}})}), "tier"),
        (pa.DataFrameSchema({"x": pa.Column(int, metadata={"secure_ml": {"environments": "all"}})}), "environments"),
        (of_pandas.DataFrameSchema({"x": of_pandas.Column(int)}, parsers=of_pandas.Parser(abs)), "parsers"),
        (of_pandas.DataFrameSchema({"x": of_pandas.Column(int, parsers=of_pandas.Parser(abs))}), "parsers"),
        (
            with_metadata({"enviroments": ("training",)}),
            "'enviroments' is not known here; expected some of",
        ),
        (with_metadata({"personnal": True}), "'personnal' is not known here"),
        (with_metadata({"rows_ratio": (0.5, 2)}), "'rows_ratio' is not known here"),
        (with_metadata({"personal": "no"}), "personal is not True or False"),
        (with_metadata({"drift": "0.1"}), "drift is not a number of at least 0"),
        (with_metadata({"skew": float("nan")}), "skew is not a number of at least 0"),
        (with_metadata(["personal"]), "is not a dictionary"),
        (with_metadata(of_table={"teir": "warn"}), "'teir' is not known here; expected some of tier, slices"),
        (with_metadata(of_table={"drift": 0.1}), "'drift' is not known here"),
        (with_metadata(of_table={"rows_ratio": (2, 1)}), "rows_ratio has a least above its most"),
        (object(), "expected a pandera"),
    ],
)
def test_a_contract_that_repairs_or_means_nothing_here_is_refused(schema: Any, said: str) -> None:
    with pytest.raises(PreconditionError, match=said):
        compile_rules(schema)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("x = ", MalformedError, "line 1: is not Python"),
        ("1 / 0", PreconditionError, "does not run"),
        ("raise SystemExit(0)", PreconditionError, "does not run"),
        ("x = 1", PreconditionError, "expected one pandera schema, found none"),
        (
            "import pandera.polars as pa\na = pa.DataFrameSchema({})\nb = pa.DataFrameSchema({})",
            PreconditionError,
            "found a, b",
        ),
    ],
)
def test_a_file_that_holds_no_single_schema_is_refused(
    text: str, error: type[Exception], said: str, tmp_path: Path
) -> None:
    (tmp_path / "contract.py").write_text(text)
    with pytest.raises(error, match=said):
        load_contract(tmp_path / "contract.py")


def test_a_contract_is_loaded_from_a_schema_a_model_and_one_for_pandas(tmp_path: Path) -> None:
    path = tmp_path / "contract.py"
    for name, text in (
        ("contract", "import pandera.polars as pa\nschema = pa.DataFrameSchema({'x': pa.Column(int)})"),
        ("orders", "import pandera.polars as pa\nclass orders(pa.DataFrameModel):\n    x: int"),
        ("sales", "import pandera.pandas as pa\ns = pa.DataFrameSchema({'x': pa.Column('int64')}, name='sales')"),
    ):
        path.write_text(text)
        contract = load_contract(path)
        assert contract.name == name
        assert [str(column.dtype) for column in compile_rules(contract.schema).columns] == ["Int64"]


def test_a_rule_over_a_set_has_one_name_in_every_process() -> None:
    program = (
        "import pandera.polars as pa\n"
        "from secure_ml.contracts.checks import value_fraction_between\n"
        "from secure_ml.contracts.rules import compile_rules\n"
        "values = {'b', 'a', 'c', 'd', 'e'}\n"
        "checks = [value_fraction_between(values, 0, 1), pa.Check.unique_values_eq(values)]\n"
        "rules = compile_rules(pa.DataFrameSchema({'s': pa.Column(str, checks)})).rules\n"
        "print(rules[-2].name, rules[-1].name, frozenset(values))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] != said[1], "a set has no order of its own"
    assert {line.partition(" frozenset")[0] for line in said} == {
        "value_fraction_between(('a', 'b', 'c', 'd', 'e'), 0.0, 1.0) unique_values_eq({'a', 'b', 'c', 'd', 'e'})"
    }
