"""Anomalies beside other data: drift, skew, the number of rows, environments; and the rules about variety."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest
from pandera.errors import SchemaErrors

from secure_ml.contracts.checks import distinct_at_least, distinct_at_most, items_between
from secure_ml.contracts.engine.drift import load_reference
from secure_ml.contracts.validate import validate
from secure_ml.errors import MalformedError, PreconditionError
from secure_ml.profiles.document import render
from secure_ml.tables.data_files import open_table
from tests.unit.contracts.engine.drift_examples import column, contract, find, paid, profile, said


def test_the_largest_change_of_a_share_beyond_the_threshold_is_drift() -> None:
    schema = contract(kind=column(pl.String, drift=0.1))
    before = profile(paid(50, 50), schema)
    assert said(find(paid(59, 41), schema, previous=before)) == []
    report = find(paid(61, 39), schema, previous=before)
    assert said(report) == [("drift", "kind", "block")]
    assert not report.accepted
    (finding,) = report.findings
    assert finding.sentence == "kind: L-infinity distance 0.11 from the previous batch, more than 0.1"
    assert finding.rule == "drift(l_infinity, 0.1)"
    assert finding.by == "compiled"


def test_skew_is_the_same_against_the_training_data_and_has_a_threshold_of_its_own() -> None:
    schema = contract(kind=column(pl.String, drift=0.5, skew=0.1))
    other = profile(paid(50, 50), schema)
    report = find(paid(70, 30), schema, previous=other, training=other)
    assert said(report) == [("skew", "kind", "block")]
    assert report.findings[0].sentence == "kind: L-infinity distance 0.2 from the training data, more than 0.1"


def test_numbers_are_compared_by_jensen_shannon_divergence() -> None:
    schema = contract(x=column(pl.Float64, drift=0.05))
    before = profile(pl.DataFrame({"x": [i / 10 for i in range(1000)]}), schema)
    assert said(find(pl.DataFrame({"x": [i / 10 + 1 for i in range(1000)]}), schema, previous=before)) == []
    report = find(pl.DataFrame({"x": [i / 10 + 40 for i in range(1000)]}), schema, previous=before)
    assert said(report) == [("drift", "x", "block")]
    assert "Jensen-Shannon divergence" in report.findings[0].sentence


def test_a_number_with_a_domain_is_a_category() -> None:
    schema = contract(x=column(pl.Int64, pa.Check.isin([0, 1]), drift=0.1))
    before = profile(pl.DataFrame({"x": [0, 1] * 50}), schema)
    report = find(pl.DataFrame({"x": [0] * 70 + [1] * 30}), schema, previous=before)
    assert report.findings[0].rule == "drift(l_infinity, 0.1)"


def test_the_tier_of_the_column_is_the_tier_of_its_drift() -> None:
    schema = contract(kind=column(pl.String, drift=0.1, tier="warn"))
    report = find(paid(100, 0), schema, previous=profile(paid(50, 50), schema))
    assert said(report) == [("drift", "kind", "warn")]


@pytest.mark.parametrize(
    "before",
    [
        pl.DataFrame({"other": [1]}),
        pl.DataFrame({"x": pl.Series([None, None], dtype=pl.Float64)}),
        pl.DataFrame({"x": ["a", "b"]}),
    ],
)
def test_what_cannot_be_compared_is_a_finding_and_no_silent_pass(before: pl.DataFrame) -> None:
    schema = contract(x=column(pl.Float64, drift=0.1))
    loose = pa.DataFrameSchema({name: pa.Column(None, nullable=True, required=False) for name in before.columns})
    report = find(pl.DataFrame({"x": [1.0]}), schema, previous=profile(before, loose))
    assert said(report) == [("drift", "x", "block")]
    assert "cannot be compared" in report.findings[0].sentence


def test_a_threshold_of_a_pattern_holds_for_each_column_that_matches() -> None:
    settings = {"secure_ml": {"drift": 0.1}}
    schema = pa.DataFrameSchema({"^kind_.*$": pa.Column(pl.String, regex=True, metadata=settings)}, strict=True)
    frame = paid(50, 50).select(kind_a="kind", kind_b="kind")
    report = find(frame.with_columns(kind_b=pl.lit("Cash")), schema, previous=profile(frame, schema))
    assert said(report) == [("drift", "kind_b", "block")]


def test_a_column_that_pandera_has_to_cast_is_compared_or_said_not_to_be() -> None:
    settings = {"secure_ml": {"drift": 0.1}}
    schema = pa.DataFrameSchema({"x": pa.Column(pl.Int64, coerce=True, metadata=settings)})
    before = profile(pl.DataFrame({"x": [1, 2, 3]}), schema)
    report = find(pl.DataFrame({"x": ["1", "2", "3"]}), schema, previous=before)
    assert said(report) == [("drift", "x", "block")]


def test_a_column_without_a_threshold_takes_no_part() -> None:
    schema = contract(kind=column(pl.String))
    assert said(find(paid(100, 0), schema, previous=profile(paid(0, 100), schema))) == []


def test_a_personal_column_cannot_be_compared_and_its_profile_holds_no_value() -> None:
    schema = contract(kind=column(pl.String, drift=0.1, personal=True))
    before = profile(paid(50, 50), schema)
    assert b"Cash" not in render(before)
    assert said(find(paid(50, 50), schema, previous=before)) == [("drift", "kind", "block")]


def test_the_number_of_rows_is_held_against_the_previous_batch() -> None:
    settings = {"secure_ml": {"rows_ratio": (0.5, 2)}}
    schema = pa.DataFrameSchema({"kind": pa.Column(pl.String)}, metadata=settings)
    before = profile(paid(50, 50), schema)
    for rows in (50, 200):
        assert said(find(paid(rows, 0), schema, previous=before)) == []
    for rows in (1, 49, 201):
        assert said(find(paid(rows, 0), schema, previous=before)) == [("row_count", None, "block")]
    (finding,) = find(paid(25, 0), schema, previous=before).findings
    assert finding.sentence == "table: 25 rows, 0.25 times the 100 of the previous batch, expected 0.5 to 2 times"
    assert finding.rule == "rows_ratio(0.5, 2)"
    assert said(find(paid(25, 0), schema)) == []


def test_of_a_previous_batch_without_rows_there_is_no_multiple_and_no_silent_pass() -> None:
    settings = {"secure_ml": {"rows_ratio": (0, 9), "tier": "warn"}}
    schema = pa.DataFrameSchema({"kind": pa.Column(pl.String)}, metadata=settings)
    report = find(paid(1, 0), schema, previous=profile(paid(0, 0), schema))
    assert said(report) == [("row_count", None, "warn")]


@pytest.mark.parametrize("given", [(2, 1), (-1, 2), (1,), 2, ("a", "b")])
def test_a_ratio_of_rows_that_is_none_is_the_contracts_mistake(given: Any) -> None:
    schema = pa.DataFrameSchema({"kind": pa.Column(pl.String)}, metadata={"secure_ml": {"rows_ratio": given}})
    with pytest.raises(PreconditionError, match="rows_ratio"):
        find(paid(1, 1), schema)


def test_a_label_is_required_in_training_and_must_be_absent_in_serving() -> None:
    schema = contract(x=column(pl.Int64), label=column(pl.Int64, environments=("training",), skew=0.1))
    training, serving = pl.DataFrame({"x": [1, 2], "label": [0, 1]}), pl.DataFrame({"x": [1, 2]})
    assert said(find(training, schema, environment="training")) == []
    assert said(find(serving, schema, environment="serving", training=profile(training, schema))) == []
    assert said(find(serving, schema, environment="training")) == [("missing_column", "label", "block")]
    assert said(find(training, schema, environment="serving")) == [("new_column", "label", "block")]


def test_a_number_that_no_integer_holds_is_of_the_wrong_type(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("n\n1\n3.0\n1e30\n1e400\n9223372036854775808\n")
    report = validate(open_table(tmp_path / "n.csv"), contract(n=column(pl.Int64)))
    assert [(finding.code, finding.failed) for finding in report.findings] == [("wrong_type", 3)]


@pytest.mark.parametrize(
    ("values", "codes"),
    [(["a", "b", "c"], []), (["a", "a", None], ["low_uniqueness"]), (["a", "b", "c", "d"], ["high_uniqueness"])],
)
def test_too_few_or_too_many_different_values_are_found(values: list[Any], codes: list[str]) -> None:
    schema = contract(x=column(pl.String, distinct_at_least(2), distinct_at_most(3)))
    report = find(pl.DataFrame({"x": values}), schema)
    assert [finding.code for finding in report.findings] == codes
    assert report.fallbacks == ()
    assert pandera_accepts(schema, values) is (codes == [])


@pytest.mark.parametrize(("values", "failed"), [([[1], [1, 2], None], 0), ([[], [1, 2, 3], [1]], 2)])
def test_lists_with_too_few_or_too_many_items_are_found(values: list[Any], failed: int) -> None:
    schema = contract(x=column(pl.List(pl.Int64), items_between(1, 2)))
    report = find(pl.DataFrame({"x": values}), schema)
    assert [(finding.code, finding.failed) for finding in report.findings] == [("valency", failed)] * bool(failed)
    assert report.fallbacks == ()
    assert pandera_accepts(schema, values) is (failed == 0)


def pandera_accepts(schema: pa.DataFrameSchema, values: list[Any]) -> bool:
    try:
        schema.validate(pl.DataFrame({"x": values}), lazy=True)
    except SchemaErrors:
        return False
    return True


def test_a_reference_is_a_profile_or_a_file(tmp_path: Path) -> None:
    schema = contract(kind=column(pl.String), x=column(pl.Float64))
    frame = pl.DataFrame({"kind": ["a", "b"] * 10, "x": [1.5, 2.5] * 10})
    frame.write_csv(tmp_path / "batch.csv")
    frame.write_parquet(tmp_path / "batch.parquet")
    made = load_reference(tmp_path / "batch.parquet", schema)
    assert load_reference(tmp_path / "batch.csv", schema) == made
    (tmp_path / "profile.json").write_bytes(render(made))
    assert load_reference(tmp_path / "profile.json", schema) == made
    (tmp_path / "profile.json").write_bytes(render(made)[:-5])
    with pytest.raises(MalformedError):
        load_reference(tmp_path / "profile.json", schema)


TFDV = """
UNKNOWN_TYPE MULTIPLE_REASONS BOOL_TYPE_BIG_INT BOOL_TYPE_BYTES_NOT_INT BOOL_TYPE_BYTES_NOT_STRING
BOOL_TYPE_FLOAT_NOT_INT BOOL_TYPE_FLOAT_NOT_STRING BOOL_TYPE_INT_NOT_STRING BOOL_TYPE_SMALL_INT
BOOL_TYPE_STRING_NOT_INT BOOL_TYPE_UNEXPECTED_STRING BOOL_TYPE_UNEXPECTED_FLOAT BOOL_TYPE_INVALID_CONFIG
ENUM_TYPE_BYTES_NOT_STRING ENUM_TYPE_FLOAT_NOT_STRING ENUM_TYPE_INT_NOT_STRING ENUM_TYPE_INVALID_UTF8
ENUM_TYPE_UNEXPECTED_STRING_VALUES FEATURE_TYPE_HIGH_NUMBER_VALUES FEATURE_TYPE_LOW_FRACTION_PRESENT
FEATURE_TYPE_LOW_NUMBER_PRESENT FEATURE_TYPE_LOW_NUMBER_VALUES FEATURE_TYPE_NOT_PRESENT FEATURE_TYPE_NO_VALUES
FEATURE_TYPE_UNEXPECTED_REPEATED FEATURE_TYPE_HIGH_UNIQUE FEATURE_TYPE_LOW_UNIQUE FEATURE_TYPE_NO_UNIQUE
FLOAT_TYPE_BIG_FLOAT FLOAT_TYPE_NOT_FLOAT FLOAT_TYPE_SMALL_FLOAT FLOAT_TYPE_STRING_NOT_FLOAT FLOAT_TYPE_NON_STRING
FLOAT_TYPE_UNKNOWN_TYPE_NUMBER FLOAT_TYPE_HAS_NAN FLOAT_TYPE_HAS_INF INT_TYPE_BIG_INT INT_TYPE_INT_EXPECTED
INT_TYPE_NOT_INT_STRING INT_TYPE_NOT_STRING INT_TYPE_SMALL_INT INT_TYPE_STRING_EXPECTED INT_TYPE_UNKNOWN_TYPE_NUMBER
LOW_SUPPORTED_IMAGE_FRACTION SCHEMA_MISSING_COLUMN SCHEMA_NEW_COLUMN SCHEMA_TRAINING_SERVING_SKEW STRING_TYPE_NOW_FLOAT
STRING_TYPE_NOW_INT COMPARATOR_CONTROL_DATA_MISSING COMPARATOR_TREATMENT_DATA_MISSING COMPARATOR_L_INFTY_HIGH
COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH COMPARATOR_NORMALIZED_ABSOLUTE_DIFFERENCE_HIGH NO_DATA_IN_SPAN
SPARSE_FEATURE_MISSING_VALUE SPARSE_FEATURE_MISSING_INDEX SPARSE_FEATURE_LENGTH_MISMATCH SPARSE_FEATURE_NAME_COLLISION
SEMANTIC_DOMAIN_UPDATE COMPARATOR_LOW_NUM_EXAMPLES COMPARATOR_HIGH_NUM_EXAMPLES DATASET_LOW_NUM_EXAMPLES
DATASET_HIGH_NUM_EXAMPLES WEIGHTED_FEATURE_NAME_COLLISION WEIGHTED_FEATURE_MISSING_VALUE
WEIGHTED_FEATURE_MISSING_WEIGHT WEIGHTED_FEATURE_LENGTH_MISMATCH VALUE_NESTEDNESS_MISMATCH DOMAIN_INVALID_FOR_TYPE
FEATURE_MISSING_NAME FEATURE_MISSING_TYPE INVALID_SCHEMA_SPECIFICATION INVALID_DOMAIN_SPECIFICATION
UNEXPECTED_DATA_TYPE SEQUENCE_VALUE_TOO_FEW_OCCURRENCES SEQUENCE_VALUE_TOO_MANY_OCCURRENCES
SEQUENCE_VALUE_TOO_SMALL_FRACTION SEQUENCE_VALUE_TOO_LARGE_FRACTION FEATURE_COVERAGE_TOO_LOW
FEATURE_COVERAGE_TOO_SHORT_AVG_TOKEN_LENGTH NLP_WRONG_LOCATION EMBEDDING_SHAPE_INVALID MAX_IMAGE_BYTE_SIZE_EXCEEDED
INVALID_FEATURE_SHAPE STATS_NOT_AVAILABLE DERIVED_FEATURE_BAD_LIFECYCLE DERIVED_FEATURE_INVALID_SOURCE CUSTOM_VALIDATION
"""
"""Names of AnomalyInfo.Type in the anomalies.proto of tensorflow-metadata 1.16.1."""


def test_the_docs_say_of_each_reason_of_tfdv_what_stands_for_it() -> None:
    page = (Path(__file__).parents[4] / "docs/reason_codes.md").read_text()
    table = page.split("<!-- tfdv -->")[1].split("<!-- end -->")[0]
    assert sorted(re.findall(r"\b[A-Z]+(?:_[A-Z0-9]+)+\b", table)) == sorted(TFDV.split())
