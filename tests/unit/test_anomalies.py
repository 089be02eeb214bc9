"""Anomalies beside other data and in slices: drift, skew, environments; in the library and as commands."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest
from pandera.errors import SchemaErrors

from secure_ml.cli import main
from secure_ml.contracts.anomalies import Slice, find_anomalies, load_reference, profile_as_declared
from secure_ml.contracts.checks import (
    distinct_at_least,
    distinct_at_most,
    items_between,
    null_fraction_at_most,
    row_count_between,
)
from secure_ml.contracts.findings import Report
from secure_ml.contracts.profile import Profile, render
from secure_ml.contracts.tables import open_table, table_of
from secure_ml.errors import MalformedError, PreconditionError
from tests.unit.test_build_reports import check_junit, check_sarif

KINDS = ["Cash", "Card", "Dispute"]


def column(dtype: Any, *checks: Any, nullable: bool = True, **settings: Any) -> pa.Column:
    return pa.Column(dtype, list(checks), nullable=nullable, metadata={"secure_ml": settings})


def contract(**columns: pa.Column) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(columns, strict=True)


def find(frame: pl.DataFrame, schema: pa.DataFrameSchema, **more: Any) -> Report:
    return find_anomalies(table_of(frame), schema, **more)


def profile(frame: pl.DataFrame, schema: pa.DataFrameSchema) -> Profile:
    return profile_as_declared(table_of(frame), schema)


def said(report: Report) -> list[tuple[str, str | None, str]]:
    return [(finding.code, finding.column, finding.tier) for finding in report.findings]


def paid(cash: int, card: int) -> pl.DataFrame:
    return pl.DataFrame({"kind": ["Cash"] * cash + ["Card"] * card})


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


def test_a_label_is_required_in_training_and_must_be_absent_in_serving() -> None:
    schema = contract(x=column(pl.Int64), label=column(pl.Int64, environments=("training",), skew=0.1))
    training, serving = pl.DataFrame({"x": [1, 2], "label": [0, 1]}), pl.DataFrame({"x": [1, 2]})
    assert said(find(training, schema, environment="training")) == []
    assert said(find(serving, schema, environment="serving", training=profile(training, schema))) == []
    assert said(find(serving, schema, environment="training")) == [("missing_column", "label", "block")]
    assert said(find(training, schema, environment="serving")) == [("new_column", "label", "block")]


def test_a_number_that_no_integer_holds_is_of_the_wrong_type(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_text("n\n1\n3.0\n1e30\n1e400\n9223372036854775808\n")
    report = find_anomalies(open_table(tmp_path / "n.csv"), contract(n=column(pl.Int64)))
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


def shops(small: int) -> pl.DataFrame:
    """In shop b half of the prices are missing; in the whole table few are."""
    return pl.DataFrame(
        {
            "shop": ["a"] * 960 + ["b"] * small,
            "price": [1.0] * 960 + [None if i % 2 else 1.0 for i in range(small)],
        }
    )


SHOPS = contract(
    shop=column(pl.String, pa.Check.isin(["a", "b"]), nullable=False),
    price=column(pl.Float64, null_fraction_at_most(0.1)),
)


def test_a_slice_can_fail_where_the_whole_table_does_not() -> None:
    assert find(shops(40), SHOPS).findings == ()
    report = find(shops(40), SHOPS, slices=["shop"])
    assert said(report) == [("missing_values", "price", "block")]
    (finding,) = report.findings
    assert (finding.failed, finding.rows) == (20, 40)
    assert finding.rule == "null_fraction_at_most(0.1) in slice shop='b'"
    assert finding.sentence == "slice shop='b' (40 rows): price: 20 of 40 rows null, more than 10%"


def test_a_slice_may_be_an_expression_of_columns_as_they_are_typed(tmp_path: Path) -> None:
    file = tmp_path / "shops.csv"
    shops(40).write_csv(file)
    cheap = Slice("cheap or unknown", lambda columns: columns["price"].fill_null(0) < 0.5)
    of_b = Slice("b", lambda columns: columns["shop"] == "b")
    report = find_anomalies(open_table(file), SHOPS, slices=[of_b, cheap])
    assert [finding.rule for finding in report.findings] == ["null_fraction_at_most(0.1) in slice b=true"]


def test_fewer_than_thirty_rows_are_no_slice() -> None:
    assert find(shops(28), SHOPS, slices=["shop"]).findings == ()


def test_what_the_whole_table_fails_is_said_once() -> None:
    schema = contract(x=column(pl.Int64, pa.Check.ge(0)), by=column(pl.Boolean))
    frame = pl.DataFrame({"x": [-1] + [1] * 99, "by": [True, False] * 50})
    assert len(find(frame, schema, slices=["by"]).findings) == 1


def test_rules_about_the_batch_as_a_whole_are_not_held_against_a_slice() -> None:
    schema = pa.DataFrameSchema({"by": pa.Column(pl.Boolean)}, checks=[row_count_between(100, 100)])
    assert find(pl.DataFrame({"by": [True, False] * 50}), schema, slices=["by"]).findings == ()


def test_a_value_that_the_contract_does_not_name_is_not_said() -> None:
    schema = contract(who=column(pl.String), price=column(pl.Float64, null_fraction_at_most(0.1)))
    frame = shops(40).rename({"shop": "who"}).with_columns(who=pl.lit("secret-") + pl.col("who"))
    (finding,) = find(frame, schema, slices=["who"]).findings
    assert finding.sentence.startswith("slice who, part 2 (40 rows)")
    assert "secret" not in repr(finding)


def test_missing_values_are_a_slice() -> None:
    schema = contract(shop=column(pl.String), price=column(pl.Float64, null_fraction_at_most(0.1)))
    frame = shops(40).with_columns(shop=pl.when(pl.col("shop") == "a").then("shop"))
    (finding,) = find(frame, schema, slices=["shop"]).findings
    assert finding.sentence.startswith("slice shop=missing (40 rows)")


@pytest.mark.parametrize("name", ["nothing", "secret", "many"])
def test_a_slice_that_cannot_be_made_is_the_callers_mistake(name: str) -> None:
    schema = contract(secret=column(pl.String, personal=True), many=column(pl.Int64))
    frame = pl.DataFrame({"secret": ["a"] * 300, "many": list(range(300))})
    with pytest.raises(PreconditionError, match="slice"):
        find(frame, schema, slices=[name])


def test_a_hostile_column_can_be_compared_and_sliced_by() -> None:
    name = '"; drop table batch; --'
    schema = contract(**{name: column(pl.String, drift=0.1), "x": column(pl.Float64, null_fraction_at_most(0.1))})
    frame = shops(40).rename({"shop": name, "price": "x"})
    report = find(frame, schema, slices=[name], previous=profile(frame.head(100), schema))
    assert said(report) == [("missing_values", "x", "block")]


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


CONTRACT = """
import pandera.polars as pa
import polars as pl

schema = pa.DataFrameSchema(
    {
        "kind": pa.Column(
            pl.String, pa.Check.isin(["Cash", "Card"]), metadata={"secure_ml": {"drift": 0.1, "skew": 0.3}}
        )
    }
)
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "contract.py").write_text(CONTRACT)
    paid(50, 50).write_csv(tmp_path / "before.csv")
    paid(70, 30).write_parquet(tmp_path / "now.parquet")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    code = main([str(argument) for argument in arguments])
    return code, capsys.readouterr().out


def test_validate_says_drift_and_skew_and_takes_slices(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("validate", files / "contract.py", files / "now.parquet")
    assert run(capsys, *given) == (0, "")
    code, out = run(capsys, *given, "--previous", files / "before.csv", "--training", files / "before.csv", "--json")
    assert code == 1
    assert [finding["code"] for finding in json.loads(out)["findings"]] == ["drift"]
    assert run(capsys, *given, "--slice", "kind") == (0, "")
    assert run(capsys, *given, "--slice", "nothing")[0] == 2


def test_validate_takes_references_for_a_registered_model(capsys: pytest.CaptureFixture[str]) -> None:
    data = Path(__file__).parents[2] / "secure_ml/models/heart_disease_data"
    given = ("validate", "heart_disease", data / "processed.hungarian.data")
    plain = run(capsys, *given)
    assert run(capsys, *given, "--previous", data / "processed.cleveland.data", "--slice", "sex") == plain


def test_an_inferred_contract_is_satisfied_by_its_file_and_named_after_it(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pl.DataFrame({"id": list(range(5000)), "zip": ["01234", "99999"] * 2500, "x": [1.5, None] * 2500})
    for file in ("table.csv", "table.parquet"):
        getattr(frame, f"write_{file.partition('.')[2]}")(files / file)
        code, source = run(capsys, "infer-contract", files / file)
        assert code == 0
        assert 'name="table"' in source
        assert "unique=True" in source
        assert '"01234"' in source
        (files / "inferred.py").write_text(source)
        assert run(capsys, "validate", files / "inferred.py", files / file) == (0, "")
    assert run(capsys, "infer-contract", files / "nothing.csv")[0] == 2


def test_a_file_without_a_line_of_names_needs_its_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bare.csv").write_text("63,1.5\n?,2.5\n" * 200)
    assert run(capsys, "infer-contract", tmp_path / "bare.csv")[0] == 2
    reading = ("--columns", "age,x", "--null", "?")
    code, source = run(capsys, "infer-contract", tmp_path / "bare.csv", *reading)
    assert code == 0
    assert '"age": pa.Column(\n            pl.Int64' in source
    (tmp_path / "inferred.py").write_text(source)
    assert run(capsys, "validate", tmp_path / "inferred.py", tmp_path / "bare.csv", *reading) == (0, "")
    assert run(capsys, "validate", "heart_disease", tmp_path / "bare.csv", "--null", "?")[0] == 2


def test_infer_contract_keeps_values_of_a_personal_column_out(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, open_source = run(capsys, "infer-contract", files / "before.csv")
    assert "Cash" in open_source
    code, source = run(capsys, "infer-contract", files / "before.csv", "--personal", "kind", "--json")
    assert code == 0
    assert "Cash" not in json.loads(source)["contract"]


def test_validate_writes_reports_for_a_build(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paid(50, 50).with_columns(kind=pl.lit("Cheque")).write_parquet(files / "bad.parquet")
    written = ("--junit", files / "report.xml", "--sarif", files / "report.sarif")
    assert run(capsys, "validate", files / "contract.py", files / "bad.parquet", *written)[0] == 1
    root = check_junit((files / "report.xml").read_bytes())
    assert [failure.attrib["type"] for failure in root.iter("failure")] == ["rejected", "unexpected_value"]
    (result,) = check_sarif((files / "report.sarif").read_bytes())["runs"][0]["results"]
    assert result["ruleId"] == "unexpected_value"
    assert b"Cheque" not in (files / "report.xml").read_bytes() + (files / "report.sarif").read_bytes()


def test_contract_diff_says_what_changed_and_fails_where_it_is_stricter(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "loose.py").write_text(CONTRACT.replace('"Card"', '"Card", "Dispute"'))
    given = (files / "contract.py", files / "loose.py")
    assert run(capsys, "contract", "diff", *given) == (0, "looser: kind: allowed values gained 'Dispute'\n")
    assert run(capsys, "contract", "diff", *given[::-1])[0] == 1
    assert run(capsys, "contract", "diff", given[0], given[0]) == (0, "")
    code, out = run(capsys, "contract", "diff", *given[::-1], "--json")
    document = json.loads(out)
    assert (code, document["ok"], document["stricter"]) == (1, False, 1)
    assert document["changes"][0] == {
        "column": "kind",
        "rule": "allowed values",
        "kind": "stricter",
        "sentence": "kind: allowed values lost 'Dispute'",
    }
    assert run(capsys, "contract", "diff", given[0], files / "nothing.py")[0] == 2


SHARED = Path(__file__).parents[3] / "shared/data/chicago_taxi"
TAXI = Path(os.environ.get("SECURE_ML_CHICAGO_TAXI", SHARED)) / "data.csv"


@pytest.mark.skipif(
    not TAXI.is_file(), reason="SECURE_ML_CHICAGO_TAXI names no folder with TFX's taxi sample, data.csv"
)
def test_the_first_half_of_the_taxi_data_tells_what_is_strange_in_the_second(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = TAXI.read_text().splitlines(keepends=True)
    (tmp_path / "first.csv").write_text("".join(lines[:5002]))
    (tmp_path / "second.csv").write_text("".join([lines[0], *lines[5002:]]))
    _, source = run(capsys, "infer-contract", tmp_path / "first.csv", "--name", "chicago_taxi")
    (tmp_path / "taxi.py").write_text(source)
    assert run(capsys, "validate", tmp_path / "taxi.py", tmp_path / "first.csv") == (0, "")
    code, out = run(
        capsys, "validate", tmp_path / "taxi.py", tmp_path / "second.csv", "--previous", tmp_path / "first.csv"
    )
    assert code == 1
    documented = (Path(__file__).parents[2] / "docs/chicago_taxi.md").read_text()
    assert out in documented
    assert len(out.splitlines()) < 10
