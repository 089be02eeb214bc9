"""What became stricter, looser or incompatible between two contracts."""

from __future__ import annotations

from typing import Any

import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandera.pandas import Column as PandasColumn
from pandera.pandas import DataFrameSchema as pandas_schema  # noqa: N813 - called like one here

from secure_ml.contracts.authoring.diff import Change, diff_contracts
from secure_ml.contracts.checks import (
    distinct_at_least,
    distinct_at_most,
    mean_between,
    null_fraction_at_most,
    out_of_vocabulary_at_most,
    quantile_between,
    value_fraction_between,
)
from secure_ml.contracts.rules import compile_rules
from secure_ml.contracts.validate import validate
from secure_ml.tables.data_files import table_of

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


def batch(*x: int | str | None, **more: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"x": list(x), **more}, schema_overrides={} if isinstance(x[0], str) else {"x": pl.Int64})


def satisfies(frame: pl.DataFrame, schema: Any, where: str | None = None) -> bool:
    if not any(column.environments for column in compile_rules(schema).columns):
        where = None  # a contract that names no environment holds in each, and is asked of none
    return not validate(table_of(frame), schema, environment=where).findings


INCOMPATIBLE = [
    (one(), one(dtype=pl.String), "type"),
    (one(C.lt(0)), one(C.ge(0)), "range"),
    (one(C.in_range(0, 5)), one(C.in_range(6, 9)), "range"),
    (one(C.isin([1, 2])), one(C.isin([7])), "allowed values"),
    (one(C.str_length(1, 2), dtype=pl.String), one(C.str_length(3, 4), dtype=pl.String), "length"),
    (setting(environments=("training",)), setting(environments=("serving",)), "environments"),
    (pa.DataFrameSchema(dtype=pl.Int64), pa.DataFrameSchema(dtype=pl.String), "type"),
    (one(out_of_vocabulary_at_most([1], 0.4)), one(out_of_vocabulary_at_most([7], 0.5)), "vocabulary"),
    (one(mean_between(-1, 1)), one(mean_between(5, 9)), "mean_between"),
]


@pytest.mark.parametrize(("old", "new", "rule"), INCOMPATIBLE)
def test_what_no_batch_satisfies_both_ways_is_incompatible(old: Any, new: Any, rule: str) -> None:
    assert found(old, new) == [(rule, "incompatible")]
    assert found(new, old) == [(rule, "incompatible")]
    places = ("training", "serving") if rule == "environments" else (None,)
    batches = [batch(value) for value in (-1, 1, 7, "a", "abc")] + [batch(1, 7)]
    sides = {tuple(satisfies(frame, schema, where) for schema in (old, new)) for frame in batches for where in places}
    assert sides >= {(True, False), (False, True)}
    assert (True, True) not in sides


BOTH, NEITHER, OLD, NEW = (True, True), (False, False), (True, False), (False, True)
TURNED = {"stricter": "looser", "looser": "stricter"}
NO_X = pl.DataFrame({"y": [1]})


def in_order(*names: str) -> pa.DataFrameSchema:
    return pa.DataFrameSchema({name: pa.Column(pl.Int64, required=False) for name in names}, ordered=True)


def optional(*environments: str) -> pa.DataFrameSchema:
    return one(required=False, metadata={"secure_ml": {"environments": environments}})


# Two contracts, what changed and how; then batches, where they come from and which contracts they satisfy.
COMPATIBLE = [
    (one(default=1), one(default=2), "default", "both", [(batch(1), None, BOTH), (batch(1, None), None, BOTH)]),
    (
        *(one(C.ge(0), nullable=True, default=default) for default in (None, -5)),
        *("default", "both", [(batch(1), None, BOTH), (batch(1, None), None, OLD)]),
    ),
    (one(default=None), one(default=1), "default", "looser", [(batch(1, None), None, NEW), (batch(1), None, BOTH)]),
    (
        *(one(out_of_vocabulary_at_most(known, 0.5)) for known in ([1, 2], [3, 4])),
        *("vocabulary", "both", [(batch(1, 3), None, BOTH), (batch(1), None, OLD), (batch(3), None, NEW)]),
    ),
    (  # each of the two shares is at most a half, and that of what is outside both is 1
        one(out_of_vocabulary_at_most([1], 0.5), out_of_vocabulary_at_most([3], 0.5)),
        one(out_of_vocabulary_at_most([7], 0.5)),
        *("vocabulary", "both", [(batch(1, 3), None, OLD), (batch(7), None, NEW)]),
    ),
    (
        setting(),
        setting(environments=("training",)),
        *("environments", "both", [(batch(1), "training", BOTH), (batch(1), "serving", OLD), (NO_X, "serving", NEW)]),
    ),
    (
        optional(),
        optional("training"),
        *("environments", "stricter", [(batch(1), "training", BOTH), (NO_X, "training", OLD)]),
    ),
    (one(), one(regex=True), "regex", "both", [(batch(1), None, BOTH)]),
    (
        in_order("x", "y"),
        in_order("y", "x"),
        *("order", "both", [(batch(1), None, BOTH), (batch(1, y=[1]), None, OLD)]),
    ),
    (
        one(coerce=True),
        one(coerce=True, dtype=pl.Float64),
        *("type", "both", [(batch(1), None, BOTH), (batch("1.5"), None, NEW)]),
    ),
    (
        pa.DataFrameSchema({"^x$": pa.Column(pl.Int64, regex=True, required=False)}, strict=True),
        pa.DataFrameSchema(
            {"^x$": pa.Column(pl.Int64, regex=True, required=False), "x": pa.Column(pl.Int64)}, strict=True
        ),
        *("column", "both", [(batch(1), None, BOTH)]),
    ),
]


@pytest.mark.parametrize(("old", "new", "rule", "kind", "batches"), COMPATIBLE)
def test_what_a_batch_satisfies_both_ways_is_not_incompatible(
    old: Any, new: Any, rule: str, kind: str, batches: Any
) -> None:
    kinds = [("stricter", "looser"), ("looser", "stricter")] if kind == "both" else [(kind, TURNED[kind])]
    assert sorted(found(old, new)) == sorted((rule, one_way) for one_way, _ in kinds)
    assert sorted(found(new, old)) == sorted((rule, other_way) for _, other_way in kinds)
    for frame, where, sides in batches:
        assert tuple(satisfies(frame, schema, where) for schema in (old, new)) == sides


def test_columns_that_each_batch_has_in_another_order_are_incompatible() -> None:
    old, new = (
        pa.DataFrameSchema({name: pa.Column(pl.Int64) for name in names}, ordered=True) for names in ("xy", "yx")
    )
    (change,) = diff_contracts(old, new)
    assert (change.kind, change.sentence) == ("incompatible", "table: order is 'y', 'x', was 'x', 'y'")
    frame = batch(1, y=[1])
    assert [satisfies(given, schema) for given in (frame, frame.select("y", "x")) for schema in (old, new)] == [
        *OLD,
        *NEW,
    ]


def test_a_tier_that_the_table_has_too_is_no_change_of_the_column() -> None:
    def schema(of_table: str, **of_column: str) -> pa.DataFrameSchema:
        column = pa.Column(pl.Int64, metadata={"secure_ml": of_column})
        return pa.DataFrameSchema({"x": column}, metadata={"secure_ml": {"tier": of_table}})

    assert found(schema("warn"), schema("warn", tier="warn")) == []
    assert found(schema("warn"), schema("warn", tier="block")) == [("tier", "stricter")]
    assert found(schema("warn"), schema("block", tier="warn")) == [("tier only warns", "stricter")]
    assert found(schema("block", tier="warn"), schema("block")) == [("tier", "stricter")]
    assert found(schema("warn"), schema("block")) == [("tier only warns", "stricter")]


def test_values_in_another_order_are_the_same_and_a_figure_has_no_empty_brackets() -> None:
    assert found(one(value_fraction_between([1, 2], 0, 1)), one(value_fraction_between([2, 1, 1], 0, 1))) == []
    assert found(one(value_fraction_between([1, 2], 0, 1)), one(value_fraction_between([2, 1], 0, 0.5))) == [
        ("value_fraction_between(1, 2)", "stricter")
    ]
    (change,) = diff_contracts(one(mean_between(0, 9)), one(mean_between(1, 9)))
    assert change.sentence == "x: mean_between is [1.0, 9.0], was [0.0, 9.0]"


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
SOME = st.lists(BOUNDS, min_size=1, max_size=4)
CHECKS = st.one_of(
    st.builds(C.ge, BOUNDS),
    st.builds(C.gt, BOUNDS),
    st.builds(C.le, BOUNDS),
    st.builds(C.lt, BOUNDS),
    st.builds(lambda low, high: C.in_range(low, low + high), BOUNDS, st.integers(0, 3)),
    st.builds(C.isin, SOME),
    st.builds(C.notin, SOME),
    st.builds(out_of_vocabulary_at_most, SOME, st.sampled_from([0, 0.4, 0.5, 1])),
    st.builds(lambda values, most: value_fraction_between(values, 0, most), SOME, st.sampled_from([0, 0.5])),
)


@st.composite
def schemas(draw: st.DrawFn) -> pa.DataFrameSchema:
    x = pa.Column(
        pl.Int64,
        draw(st.lists(CHECKS, max_size=3)),
        nullable=draw(st.booleans()),
        default=draw(st.none() | BOUNDS),
        required=draw(st.booleans()),
    )
    columns = {"x": x, "y": pa.Column(pl.Int64, required=draw(st.booleans()))}
    names = draw(st.sampled_from([["x"], ["x", "y"], ["y", "x"]]))
    return pa.DataFrameSchema(
        {name: columns[name] for name in names}, ordered=draw(st.booleans()), strict=draw(st.booleans())
    )


CELLS = st.none() | st.integers(-4, 7)
FRAMES = st.builds(
    lambda cells, names: batch(*cells, y=[1, 1]).select(names),
    st.tuples(CELLS, CELLS),
    st.sampled_from([["x"], ["x", "y"], ["y", "x"], ["y"]]),
)


def require_a_change_that_says_so(old: pa.DataFrameSchema, new: pa.DataFrameSchema, frames: list[pl.DataFrame]) -> None:
    changes = diff_contracts(old, new)
    kinds = {change.kind for change in changes}
    for frame in frames:
        sides = satisfies(frame, old), satisfies(frame, new)
        assert sides != OLD or kinds & {"stricter", "incompatible"}
        assert sides != NEW or kinds & {"looser", "incompatible"}
        if sides == BOTH:
            valued = {name for name in frame.columns if frame[name].drop_nulls().len()}
            refused = {change.column for change in changes if change.kind == "incompatible"}
            assert not refused & valued
            assert not (None in refused and len(frame.columns) == 2)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(schemas(), schemas(), st.lists(FRAMES, min_size=2, max_size=2))
def test_no_batch_changes_sides_without_a_change_that_says_so(
    old: pa.DataFrameSchema, new: pa.DataFrameSchema, frames: list[pl.DataFrame]
) -> None:
    require_a_change_that_says_so(old, new, frames)


@pytest.mark.soak
@settings(max_examples=500, deadline=None)
@given(schemas(), schemas(), st.lists(FRAMES, min_size=2, max_size=2))
def test_no_batch_of_many_changes_sides_without_a_change_that_says_so(
    old: pa.DataFrameSchema, new: pa.DataFrameSchema, frames: list[pl.DataFrame]
) -> None:
    require_a_change_that_says_so(old, new, frames)


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
