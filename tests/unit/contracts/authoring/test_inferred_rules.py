"""Which rules are inferred: margins, domains, identifiers, presence; nothing is overfitted."""

from __future__ import annotations

import random
import string
import uuid

import polars as pl
import pytest

from secure_ml.contracts.authoring.infer import infer_contract
from secure_ml.contracts.engine.declared_profiles import profile_as_declared
from secure_ml.contracts.validate import validate
from secure_ml.tables.data_files import table_of
from tests.unit.contracts.authoring.infer_examples import check_names, column_of, infer, profile_of, range_of, schema_of


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
        report = validate(table_of(frame[half:]), schema, previous=before)
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
    report = validate(table_of(frame.clear()), schema_of(infer(frame)))
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
