"""Laws of profiles: they merge, and their sketches keep within the errors that they state."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from secure_ml.profiles import distances
from secure_ml.profiles.column_scan import ColumnScan
from secure_ml.profiles.distances import bin_edges, compare_profiles
from secure_ml.profiles.document import ColumnProfile, Profile, parse, render
from secure_ml.profiles.merging import Size, merge, merge_columns
from secure_ml.profiles.profiling import profile_batches
from secure_ml.profiles.sketches import Points, Registers, compress, estimate, hash_text, heaviest, thin

MASK = (1 << 64) - 1
calm = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])

COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "integer": (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)),
    "unsigned": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "number": (pa.float64(), st.floats() | st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 1e308])),
    "boolean": (pa.bool_(), st.booleans()),
    "text": (pa.string(), st.text(st.characters(codec="utf-8"), max_size=5) | st.sampled_from(["", "é", "é", "a b"])),
    "time": (pa.timestamp("us", "Europe/Paris"), st.datetimes()),
    "decimal": (pa.decimal128(12, 3), st.decimals(-1000, 1000, places=3)),
}


def profile_of(rows: list[tuple[Any, ...]], **chosen: Any) -> Profile:
    columns = zip(*rows, strict=True) if rows else [[] for _ in COLUMNS]
    table = pa.table(
        {
            name: pa.array(list(values), dtype)
            for (name, (dtype, _)), values in zip(COLUMNS.items(), columns, strict=True)
        }
    )
    return profile_batches(table.schema, table.to_batches(), **chosen)


rows = st.lists(st.tuples(*(st.none() | values for _, values in COLUMNS.values())), max_size=12)


def assert_same(a: Profile, b: Profile) -> None:
    """Equal in all but the rounding of mean and squares."""
    assert a.rows == b.rows
    for x, y in zip(a.columns, b.columns, strict=True):
        plain = [
            {
                name: getattr(part, name)
                for name in ColumnProfile.__slots__
                if name not in ("moments", "lengths", "tokens")
            }
            for part in (x, y)
        ]
        assert plain[0] == plain[1]
        for name in ("moments", "lengths", "tokens"):
            left, right = getattr(x, name), getattr(y, name)
            assert (left is None) == (right is None)
            if left is not None:
                assert (left.count, left.minimum, left.maximum) == (right.count, right.minimum, right.maximum)
                scale = max(abs(float(left.minimum)), abs(float(left.maximum)))
                if left.mean is not None and right.mean is not None:
                    assert left.mean == pytest.approx(right.mean, abs=scale * 1e-12)
                if left.squares is not None and right.squares is not None:
                    assert left.squares == pytest.approx(right.squares, rel=1e-9, abs=scale * scale * 1e-12)


@calm
@given(rows, rows)
def test_the_profile_of_two_tables_is_the_merge_of_their_profiles(a: list[Any], b: list[Any]) -> None:
    assert_same(merge(profile_of(a), profile_of(b)), profile_of(a + b))


@calm
@given(rows, rows, rows)
def test_merging_is_commutative_and_associative(a: list[Any], b: list[Any], c: list[Any]) -> None:
    x, y, z = profile_of(a), profile_of(b), profile_of(c)
    assert_same(merge(x, y), merge(y, x))
    assert_same(merge(merge(x, y), z), merge(x, merge(y, z)))


@calm
@given(rows)
def test_the_empty_table_changes_nothing(a: list[Any]) -> None:
    assert merge(profile_of(a), profile_of([])) == profile_of(a)


@calm
@given(rows, rows)
def test_a_document_is_parsed_to_what_was_rendered(a: list[Any], b: list[Any]) -> None:
    for profile in (profile_of(a), profile_of(a, personal=list(COLUMNS)), merge(profile_of(a), profile_of(b))):
        assert parse(render(profile)) == profile


@calm
@given(rows)
def test_a_personal_column_shows_nothing_but_counts(a: list[Any]) -> None:
    for column, open_column in zip(profile_of(a, personal=list(COLUMNS)).columns, profile_of(a).columns, strict=True):
        assert (column.count, column.missing, column.zeros) == (
            open_column.count,
            open_column.missing,
            open_column.zeros,
        )
        assert (column.minimum, column.maximum, column.top, column.quantiles, column.histogram) == (
            None,
            None,
            (),
            (),
            (),
        )
        assert (column.mean, column.sketch, column.registers, column.tally.values) == (None, None, None, ())


many = st.builds(
    lambda seed, size, shape: _numbers(seed, size, shape),
    st.integers(0, 2**32 - 1),
    st.integers(1100, 20_000),
    st.sampled_from(["normal", "ties", "heavy", "integers", "sorted"]),
)


def _numbers(seed: int, size: int, shape: str) -> np.ndarray[Any, Any]:
    generator = np.random.default_rng(seed)
    match shape:
        case "ties":
            return np.round(generator.normal(size=size), 3)
        case "heavy":
            return np.where(generator.random(size) < 0.7, 1.0, generator.lognormal(sigma=5, size=size))
        case "integers":
            return generator.integers(-(2**40), 2**40, size).astype(np.float64)
        case "sorted":
            return np.arange(size) * 0.1
    return generator.normal(size=size)


def column_of(values: Any, size: Size, pieces: int = 1) -> ColumnProfile:
    array = pa.array(values)
    scan = ColumnScan("x", array.type)
    step = max(1, -(-len(array) // pieces))
    for start in range(0, len(array), step):
        scan.add([array[start : start + step]])
    return scan.profile(size)


def assert_within_errors(column: ColumnProfile, values: np.ndarray[Any, Any]) -> None:
    held = column.distribution
    assert held is not None
    points, weights = np.array(held.points), np.array(held.weights)
    at = np.concatenate([values, points])
    ordered, ranks = np.sort(values), np.concatenate([[0], np.cumsum(weights)])
    true = np.searchsorted(ordered, at, side="right")
    kept = ranks[np.searchsorted(points, at, side="right")]
    assert np.abs(true - kept).max() <= held.error
    different, counts = np.unique(values, return_counts=True)
    listed = dict(column.top) | dict(zip(column.tally.values, column.tally.counts, strict=True))
    for value, count in zip(different.tolist(), counts.tolist(), strict=True):
        assert listed.get(value, 0) <= count <= listed.get(value, 0) + column.tally.error
    assert column.distinct is not None
    assert abs(column.distinct - len(different)) <= 5 * 0.0163 * len(different) + 1


@calm
@given(many)
def test_each_sketch_keeps_within_the_error_that_it_states(values: np.ndarray[Any, Any]) -> None:
    column = column_of(values, Size(64, 32))
    assert_within_errors(column, values)
    if not column.exact:
        assert column.quantile_error <= 2 / 64


@calm
@given(many, st.integers(2, 9))
def test_a_column_read_in_pieces_keeps_within_the_errors_that_it_states(values: Any, pieces: int) -> None:
    whole, column = column_of(values, Size(64, 32)), column_of(values, Size(64, 32), pieces)
    assert (column.registers, column.exact) == (whole.registers, whole.exact)
    assert_within_errors(column, values)


@calm
@given(many, many, many)
def test_merged_sketches_keep_within_the_errors_that_they_state(a: Any, b: Any, c: Any) -> None:
    small = Size(64, 32)
    x, y, z = (column_of(part, small) for part in (a, b, c))
    for merged in (
        merge_columns(merge_columns(x, y, small), z, small),
        merge_columns(x, merge_columns(y, z, small), small),
    ):
        assert_within_errors(merged, np.concatenate([a, b, c]))


@calm
@given(many, many)
def test_sketched_columns_merge_commutatively(a: Any, b: Any) -> None:
    x, y = column_of(a, Size(64, 32)), column_of(b, Size(64, 32))
    assert_same(Profile(0, (merge_columns(x, y, Size(64, 32)),)), Profile(0, (merge_columns(y, x, Size(64, 32)),)))


@calm
@given(*[st.lists(st.sampled_from([*"abc", "x" * 200, "y" * 300, "z" * 100]), min_size=1) for _ in range(2)])
def test_texts_too_long_to_keep_are_within_the_error_of_the_tally(a: list[str], b: list[str]) -> None:
    merged = merge_columns(*(column_of(part, Size(64, 32)) for part in (a, b)), Size(64, 32))
    both = column_of(a + b, Size(64, 32))
    assert (merged.registers, merged.first, merged.last) == (both.registers, both.first, both.last)
    for column in (merged, both):
        listed = dict(zip(column.tally.values, column.tally.counts, strict=True))
        assert all(len(str(value)) <= 128 for value in listed)
        for value in set(a + b):
            assert listed.get(value, 0) <= (a + b).count(value) <= listed.get(value, 0) + column.tally.error


def test_texts_that_were_made_to_collide_are_counted_one_by_one() -> None:
    first, second = _colliding_pair()
    hashes = hash_text(pa.array([first, second], pa.large_string()))
    assert first != second
    assert hashes[0] == hashes[1]
    column = column_of([*(f"text {i:07}" for i in range(3000)), *[first] * 5, *[second] * 7], Size(64, 32))
    assert not column.exact
    assert dict(column.top) == {second: 7, first: 5}
    assert column.tally.error == 1


def _colliding_pair() -> tuple[str, str]:
    """Two texts of 16 bytes of ASCII with the same hash: the second word undoes what the first has changed."""

    def mixed(*words: int) -> int:
        hashed = 16
        for word in (0, *words):
            hashed = (hashed ^ word) + 0x9E3779B97F4A7C15 & MASK
            for bits, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
                hashed = (hashed ^ hashed >> bits) * factor & MASK
            hashed ^= hashed >> 31
        return hashed

    words = [int.from_bytes(f"{i:08}".encode(), "little") for i in range(100_000)]
    start = int.from_bytes(b"second..", "little")
    for word in words:
        second = start ^ mixed(words[0]) ^ mixed(word)
        content = word.to_bytes(8, "little") + second.to_bytes(8, "little")
        if word != words[0] and content.isascii():
            return "00000000second..", content.decode()
    raise AssertionError("no pair found")


@calm
@given(many, many)
def test_the_registers_of_two_columns_are_those_of_both_together(a: Any, b: Any) -> None:
    both = column_of(np.concatenate([a, b]), Size(64, 32))
    merged = merge_columns(column_of(a, Size(64, 32)), column_of(b, Size(64, 32)), Size(64, 32))
    assert both.registers == merged.registers


@calm
@given(many, many)
def test_distances_of_sketches_are_within_their_bounds_of_the_exact_ones(a: Any, b: Any) -> None:
    from scipy import stats

    x, y = column_of(a, Size(64, 32)), column_of(b, Size(64, 32))
    found = {item.measure: item for item in compare_profiles(Profile(len(a), (x,)), Profile(len(b), (y,)))}
    edges = bin_edges(x)
    p, q = (np.bincount(np.searchsorted(edges, part), minlength=len(edges) + 1) / len(part) for part in (a, b))
    middle = (p + q) / 2
    floor_p, floor_q = p.clip(min=1e-4), q.clip(min=1e-4)
    exact = {
        "kolmogorov_smirnov": float(stats.ks_2samp(a, b, method="asymp").statistic),
        "jensen_shannon": float(stats.entropy(p, middle, base=2) + stats.entropy(q, middle, base=2)) / 2,
        "population_stability_index": float(((floor_p - floor_q) * np.log(floor_p / floor_q)).sum()),
    }
    for measure, expected in exact.items():
        assert abs(found[measure].value - expected) <= found[measure].bound + 1e-9, measure


unit = st.floats(0, 1)
box = st.tuples(unit, unit).map(sorted)


@settings(calm, max_examples=300)
@example([([0.0, 0.0], [0.0, 5e-324], 0.0, 0.0)])  # half of the least positive number is zero
@given(st.lists(st.tuples(box, box, unit, unit), min_size=1, max_size=4))
def test_no_shares_within_their_errors_give_a_distance_outside_its_interval(bins: list[Any]) -> None:
    p, q = (np.array([item[place] for item in bins]).T for place in (0, 1))
    inside = [
        ends[0] + (ends[1] - ends[0]) * np.array([item[place] for item in bins]) for ends, place in ((p, 2), (q, 3))
    ]
    for term in (distances._stability, distances._jensen_shannon):
        low, high = distances._interval(term, (p[0], p[1]), (q[0], q[1]))
        assert low - 1e-9 <= float(term(*inside).sum()) <= high + 1e-9


@calm
@given(st.lists(st.integers(1, 50), min_size=1, max_size=300), st.integers(1, 40))
def test_compression_measures_its_error(weights: list[int], points: int) -> None:
    values = np.arange(len(weights))
    shares = np.array(weights, dtype=np.int64)
    found = compress(Points(values, shares, 0), points)
    assert found.weights.sum() == shares.sum()
    assert len(found.values) <= points
    ranks = np.concatenate([[0], np.cumsum(found.weights)])[np.searchsorted(found.values, values, side="right")]
    assert np.abs(ranks - np.cumsum(shares)).max() == found.error


@calm
@given(st.lists(st.integers(0, 60), min_size=1, max_size=300), st.integers(1, 40))
def test_thinning_is_within_the_error_that_it_states(numbers: list[int], points: int) -> None:
    ordered = np.sort(np.array(numbers * points))
    found = thin(ordered, points)
    at = np.unique(ordered)
    true = np.searchsorted(ordered, at, side="right")
    ranks = np.concatenate([[0], np.cumsum(found.weights)])[np.searchsorted(found.values, at, side="right")]
    assert found.weights.sum() == len(ordered)
    assert np.abs(ranks - true).max() <= found.error <= len(ordered) // points // 2 + 1


@calm
@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(1, 40))
def test_what_is_left_out_is_no_heavier_than_said(counts: list[int], kept: int) -> None:
    places, left_out = heaviest(np.array(counts), kept)
    rest = [count for place, count in enumerate(counts) if place not in places]
    assert len(places) <= max(kept, 0) or len(counts) <= kept
    assert max(rest, default=0) == left_out


@calm
@given(
    st.lists(st.text(max_size=40) | st.text("aé\0", min_size=120, max_size=260), min_size=1, max_size=20, unique=True)
)
def test_different_texts_have_different_hashes_wherever_they_lie(texts: list[str]) -> None:
    def hashed(parts: list[str]) -> list[int]:
        return hash_text(pa.array(["before", *parts], pa.large_string())[1:]).tolist()

    together = hashed(texts)
    assert len(set(together)) == len(texts)
    assert together == [hashed([text])[0] for text in texts]


def test_the_estimate_of_distinct_values_has_the_stated_standard_error() -> None:
    generator = np.random.default_rng(0)
    for size in (10, 1_500, 5_000, 50_000, 1_000_000):
        errors = []
        for _ in range(20):
            hashes = generator.integers(0, 2**64, size, dtype=np.uint64)
            registers = Registers()
            registers.add(hashes)
            errors.append(estimate(registers.render()) / size - 1)
        assert np.sqrt(np.mean(np.square(errors))) < 1.5 * 1.04 / math.sqrt(4096), size


def test_the_hash_is_the_same_on_every_machine() -> None:
    found = hash_text(pa.array(["", "abc", "defghijkl"], pa.large_string()))
    assert [f"{item:016x}" for item in found.tolist()] == ["e220a8397b1dcdaf", "347774c605d70c76", "6479c4522c9cd243"]
