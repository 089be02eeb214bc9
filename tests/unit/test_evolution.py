"""What became stricter, looser or incompatible between two contracts."""

from __future__ import annotations

import functools
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandera.errors import SchemaErrors
from pandera.pandas import Column as PandasColumn
from pandera.pandas import DataFrameSchema as pandas_schema  # noqa: N813 - called like one here

from secure_ml.contracts.checks import (
    distinct_at_least,
    distinct_at_most,
    null_fraction_at_most,
    out_of_vocabulary_at_most,
    quantile_between,
)
from secure_ml.contracts.evolution import Change, diff_contracts
from secure_ml.contracts.personal import no_personal_data

C = pa.Check


def one(*checks: Any, **more: Any) -> pa.DataFrameSchema:
    return pa.DataFrameSchema({"x": pa.Column(more.pop("dtype", pl.Int64), list(checks), **more)})


def setting(**values: Any) -> pa.DataFrameSchema:
    return one(metadata={"secure_ml": values})


def table(**settings: Any) -> pa.DataFrameSchema:
    return pa.DataFrameSchema({name: pa.Column(pl.Int64) for name in "xy"}, **settings)


def found(old: pa.DataFrameSchema, new: pa.DataFrameSchema) -> list[tuple[str, str]]:
    return [(change.rule, change.kind) for change in diff_contracts(old, new)]


STRICTER = [
    (one(), one(C.ge(0)), "range"),
    (one(C.ge(0)), one(C.gt(0)), "range"),
    (one(C.le(9)), one(C.lt(9)), "range"),
    (one(C.in_range(0, 9)), one(C.in_range(0, 8)), "range"),
    (one(C.isin([1, 2, 3])), one(C.isin([1, 2])), "allowed values"),
    (one(C.isin([1, 2])), one(C.eq(1)), "allowed values"),
    (one(C.ne(1)), one(C.notin([1, 2])), "forbidden values"),
    (one(C.str_length(1, 9)), one(C.str_length(1, 8)), "length"),
    (one(C.str_length(1, 9)), one(C.str_length(exact_value=3)), "length"),
    (one(), one(C.str_matches("a+")), "str_matches(a+)"),
    (one(C.isin([1])), one(C.isin([1], ignore_na=False)), "isin of missing cells"),
    (one(C(abs, name="mine")), one(C(abs, name="mine"), C(all, name="mine")), "mine"),
    (one(default=1), one(), "default"),
    (pa.DataFrameSchema(), pa.DataFrameSchema(dtype=pl.Int64), "column"),
    (table(metadata={"secure_ml": {"tier": "warn"}}), table(), "tier only warns"),
    (table(unique=[["x"]]), table(unique=[["x"], ["y"]]), "unique"),
    (table(unique=["x", "y"]), table(unique=["x"]), "unique"),
    (setting(personal=True), setting(), "personal"),
    (one(nullable=True), one(), "nullable"),
    (one(), one(unique=True), "unique"),
    (one(required=False), one(), "required"),
    (one(coerce=True), one(), "coerce"),
    (one(dtype=None), one(), "type"),
    (one(C.ge(0, raise_warning=True)), one(C.ge(0)), "range"),
    (one(), one(C.ge(0, raise_warning=True)), "range"),
    (one(null_fraction_at_most(0.2)), one(null_fraction_at_most(0.1)), "null_fraction_at_most"),
    (one(distinct_at_least(2)), one(distinct_at_least(3)), "different values"),
    (
        one(distinct_at_most(9), distinct_at_least(2)),
        one(distinct_at_most(8), distinct_at_least(2)),
        "different values",
    ),
    (one(quantile_between(0.5, 0, 9)), one(quantile_between(0.5, 1, 9)), "quantile_between(0.5)"),
    (one(out_of_vocabulary_at_most([1, 2], 0.1)), one(out_of_vocabulary_at_most([1], 0.1)), "vocabulary"),
    (setting(), setting(drift=0.1), "drift"),
    (setting(skew=0.2), setting(skew=0.1), "skew"),
    (setting(tier="warn"), setting(), "tier"),
]


@pytest.mark.parametrize(("old", "new", "rule"), STRICTER)
def test_a_change_that_is_stricter_one_way_is_looser_the_other_way(old: Any, new: Any, rule: str) -> None:
    assert found(old, new) == [(rule, "stricter")]
    assert found(new, old) == [(rule, "looser")]
    assert found(old, old) == found(new, new) == []


INCOMPATIBLE = [
    (one(), one(dtype=pl.String), "type"),
    (one(C.lt(0)), one(C.ge(0)), "range"),
    (one(C.in_range(0, 5)), one(C.in_range(6, 9)), "range"),
    (one(C.isin([1, 2])), one(C.isin([3])), "allowed values"),
    (one(C.str_length(1, 2)), one(C.str_length(3, 4)), "length"),
    (setting(environments=("training",)), setting(environments=("serving",)), "environments"),
    (setting(environments=("training",)), setting(), "environments"),
    (one(default=1), one(default=2), "default"),
    (pa.DataFrameSchema(dtype=pl.Int64), pa.DataFrameSchema(dtype=pl.String), "type"),
    (one(), one(regex=True), "regex"),
]


@pytest.mark.parametrize(("old", "new", "rule"), INCOMPATIBLE)
def test_what_no_batch_satisfies_both_ways_is_incompatible(old: Any, new: Any, rule: str) -> None:
    assert found(old, new) == [(rule, "incompatible")]
    assert found(new, old) == [(rule, "incompatible")]


def test_the_same_rule_said_in_another_way_is_no_change() -> None:
    assert found(one(C.ge(0), C.le(9)), one(C.in_range(0, 9))) == []
    assert found(one(C.isin([1, 2, 3]), C.isin([2, 3, 4])), one(C.isin([3, 2]))) == []
    assert found(one(C.ne(1), C.ne(2)), one(C.notin([2, 1]))) == []


def test_a_range_that_moves_is_stricter_and_looser() -> None:
    changes = diff_contracts(one(C.in_range(0, 9)), one(C.in_range(5, 20)))
    assert [change.kind for change in changes] == ["stricter", "looser"]
    assert changes[0] == Change("x", "range", "stricter", "x: range is [5, 20], was [0, 9]")


def test_a_domain_says_which_values_it_gained_and_lost() -> None:
    changes = diff_contracts(one(C.isin(["a", "b"]), dtype=pl.String), one(C.isin(["b", "c"]), dtype=pl.String))
    assert {change.sentence for change in changes} == {"x: allowed values gained 'c' and lost 'a'"}


def test_a_rule_that_now_only_warns_is_looser_and_nothing_else() -> None:
    assert found(one(C.ge(0)), one(C.ge(0, raise_warning=True))) == [("range", "looser")]


def test_a_python_check_with_another_body_is_another_check() -> None:
    def even(data: Any) -> Any:
        return data.lazyframe.select(pl.col(data.key) % 2 == 0)

    def third(data: Any) -> Any:
        return data.lazyframe.select(pl.col(data.key) % 3 == 0)

    assert found(one(C(even, name="mine")), one(C(even, name="mine"))) == []
    assert found(one(C(even, name="mine")), one(C(third, name="mine"))) == [("mine", "stricter")]
    assert found(one(C(even, name="mine")), one()) == [("mine", "looser")]


@pytest.mark.parametrize(
    ("strict", "required", "added", "removed"),
    [
        (True, True, "incompatible", "incompatible"),
        (True, False, "looser", "stricter"),
        (False, True, "stricter", "looser"),
        (False, False, "stricter", "looser"),
    ],
)
def test_a_new_or_removed_column_depends_on_what_else_may_be_there(
    strict: bool, required: bool, added: str, removed: str
) -> None:
    small = pa.DataFrameSchema({"x": pa.Column(pl.Int64)}, strict=strict)
    large = small.add_columns({"y": pa.Column(pl.Int64, required=required)})
    assert found(small, large) == [("column", added)]
    assert found(large, small) == [("column", removed)]


def test_rules_of_the_whole_table_are_compared() -> None:
    column = {"x": pa.Column(pl.Int64), "y": pa.Column(pl.Int64)}
    loose, tight = pa.DataFrameSchema(column), pa.DataFrameSchema(column, strict=True, ordered=True, unique=["x", "y"])
    assert found(loose, tight) == [("strict", "stricter"), ("ordered", "stricter"), ("unique", "stricter")]
    assert found(tight, pa.DataFrameSchema(column, strict=True, ordered=True, unique=["x"])) == [("unique", "stricter")]


def test_incompatible_changes_stand_first() -> None:
    old = pa.DataFrameSchema({"x": pa.Column(pl.Int64, nullable=True), "y": pa.Column(pl.Int64, C.ge(1))})
    new = pa.DataFrameSchema({"x": pa.Column(pl.Int64), "y": pa.Column(pl.String)})
    assert [change.kind for change in diff_contracts(old, new)] == ["incompatible", "stricter", "looser"]


def test_a_model_class_and_a_schema_for_pandas_are_compared_like_any_other() -> None:
    class Model(pa.DataFrameModel):
        x: int = pa.Field(ge=0, le=9)

    pandas = pandas_schema({"x": PandasColumn("int64", [C.in_range(0, 9)])})
    assert diff_contracts(Model, one(C.in_range(0, 9))) == diff_contracts(pandas, one(C.in_range(0, 9))) == ()
    assert [change.kind for change in diff_contracts(Model, pandas_schema({"x": PandasColumn("int64", [])}))] == [
        "looser"
    ]


def test_a_hostile_column_name_is_shown_escaped() -> None:
    old = pa.DataFrameSchema({"a\n\x1b[2Jb": pa.Column(pl.Int64)})
    (change,) = diff_contracts(old, pa.DataFrameSchema({"a\n\x1b[2Jb": pa.Column(pl.Int64, C.ge(0))}))
    assert change.sentence == r"'a\n\x1b[2Jb': range is [0, ...), was anything"


BOUNDS = st.integers(-3, 3)
CHECKS = st.one_of(
    st.builds(C.ge, BOUNDS),
    st.builds(C.gt, BOUNDS),
    st.builds(C.le, BOUNDS),
    st.builds(C.lt, BOUNDS),
    st.builds(lambda low, high: C.in_range(low, low + high), BOUNDS, st.integers(0, 3)),
    st.builds(C.isin, st.lists(BOUNDS, min_size=1, max_size=4)),
    st.builds(C.notin, st.lists(BOUNDS, min_size=1, max_size=4)),
)
SCHEMAS = st.builds(
    lambda checks, nullable: one(*checks, nullable=nullable), st.lists(CHECKS, max_size=3), st.booleans()
)


def accepts(schema: pa.DataFrameSchema, value: int | None) -> bool:
    try:
        schema.validate(pl.DataFrame({"x": pl.Series([value], dtype=pl.Int64)}), lazy=True)
    except SchemaErrors:
        return False
    return True


@settings(max_examples=30, deadline=None, derandomize=True)
@given(SCHEMAS, SCHEMAS)
def test_no_value_changes_sides_without_a_change_that_says_so(old: pa.DataFrameSchema, new: pa.DataFrameSchema) -> None:
    kinds = {change.kind for change in diff_contracts(old, new)}
    sides = {(accepts(old, value), accepts(new, value)) for value in (None, *range(-4, 8))}
    if (True, False) in sides:
        assert kinds & {"stricter", "incompatible"}
    if (False, True) in sides:
        assert kinds & {"looser", "incompatible"}


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
    assert found(one(old), one(same)) == []
    assert [kind for _, kind in found(one(old), one(new))] == ["stricter"]


LONG = "x" * 130


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (C.str_matches(f"^{LONG}a$"), C.str_matches(f"^{LONG}[a-z]$")),
        (C.str_startswith(f"{LONG}a"), C.str_startswith(LONG)),
        (C.unique_values_eq([f"{LONG}a"]), C.unique_values_eq([f"{LONG}b"])),
        (C(abs, name="mine"), C(abs, name="mine", element_wise=True)),
    ],
)
def test_two_rules_whose_shortened_names_are_the_same_are_told_apart(old: pa.Check, new: pa.Check) -> None:
    assert found(one(old), one(old)) == []
    assert [kind for _, kind in found(one(old), one(new))] == ["stricter"]


def test_bounds_of_the_number_of_rows_and_slices_are_compared() -> None:
    def schema(**settings: object) -> pa.DataFrameSchema:
        return pa.DataFrameSchema({"x": pa.Column(pl.Int64)}, metadata={"secure_ml": settings})

    old, new = schema(rows_ratio=(0.5, 2)), schema(rows_ratio=(0.1, 1.5), slices=["x=1"])
    found = [(change.rule, change.kind) for change in diff_contracts(old, new)]
    assert found == [("rows_ratio", "stricter"), ("slices", "stricter"), ("rows_ratio", "looser")]
    assert [(change.rule, change.kind) for change in diff_contracts(new, schema())] == [
        ("rows_ratio", "looser"),
        ("slices", "looser"),
    ]
