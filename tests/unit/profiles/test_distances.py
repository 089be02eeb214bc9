"""Distances of two profiles, held against scipy's exact figures on real data."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import jensenshannon

from secure_ml.models import heart_disease
from secure_ml.profiles.distances import Distance, bin_edges, compare_profiles
from secure_ml.profiles.document import Profile
from secure_ml.profiles.profiling import profile_batches

TAXI = Path(__file__).parents[4] / "shared" / "data" / "chicago_taxi" / "data.csv"
HEARTS = Path(heart_disease.__file__).parent / "heart_disease_data"


def profile_of(columns: dict[str, Any], **settings: Any) -> Profile:
    table = pa.table(columns)
    return profile_batches(table.schema, table.to_batches(), **settings)


def by_measure(found: tuple[Distance, ...], column: str) -> dict[str, Distance]:
    return {distance.measure: distance for distance in found if distance.column == column}


def exact_figures(edges: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> dict[str, float]:
    shares = [np.bincount(np.searchsorted(edges, part), minlength=len(edges) + 1) / len(part) for part in (a, b)]
    p, q = (share.clip(min=1e-4) for share in shares)
    return {
        "kolmogorov_smirnov": float(stats.ks_2samp(a, b, method="asymp").statistic),
        "jensen_shannon": float(jensenshannon(*shares, base=2)) ** 2,
        "population_stability_index": float(((p - q) * np.log(p / q)).sum()),
    }


def taxi_halves() -> list[dict[str, list[Any]]]:
    if not TAXI.exists():
        pytest.skip(f"{TAXI} is not there")
    with TAXI.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    halves = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    texts = {"payment_type", "company"}
    return [
        {
            name: [(row[name] or None) if name in texts else float(row[name]) if row[name] else None for row in half]
            for name in rows[0]
        }
        for half in halves
    ]


def numbers(values: list[Any]) -> NDArray[np.float64]:
    return np.array([value for value in values if value is not None], dtype=np.float64)


def test_on_taxi_rides_each_figure_is_within_its_bound_of_the_exact_one() -> None:
    before, after = taxi_halves()
    profiles = [profile_of({name: pa.array(half[name]) for name in half}) for half in (before, after)]
    found = compare_profiles(*profiles)
    compared = 0
    for column in profiles[0].columns:
        figures = by_measure(found, column.name)
        if column.kind == "text":
            a, b = ([value for value in half[column.name] if value is not None] for half in (before, after))
            values = sorted({*a, *b})
            shares = [np.array([part.count(value) for value in values]) / len(part) for part in (a, b)]
            exact = {
                "l_infinity": float(np.abs(shares[0] - shares[1]).max()),
                "jensen_shannon": float(jensenshannon(*shares, base=2)) ** 2,
            }
        else:
            a, b = numbers(before[column.name]), numbers(after[column.name])
            if not len(a) or not len(b):
                assert figures == {}
                continue
            exact = exact_figures(bin_edges(column), a, b)
        for measure, expected in exact.items():
            assert abs(figures[measure].value - expected) <= figures[measure].bound + 1e-9, (column.name, measure)
            assert figures[measure].bound < 0.03, (column.name, measure)
            compared += 1
    assert compared > 30


def test_on_hearts_which_are_few_all_figures_are_exact() -> None:
    tables = []
    for name in ("cleveland", "va"):
        rows = [line.split(",") for line in (HEARTS / f"processed.{name}.data").read_text().split()]
        tables.append({f"c{i}": [None if row[i] == "?" else float(row[i]) for row in rows] for i in range(14)})
    profiles = [profile_of(table) for table in tables]
    found = compare_profiles(*profiles)
    assert found
    assert {distance.bound for distance in found} == {0.0}
    for column in profiles[0].columns:
        figures = by_measure(found, column.name)
        if figures:
            exact = exact_figures(bin_edges(column), *(numbers(table[column.name]) for table in tables))
            for measure, expected in exact.items():
                assert figures[measure].value == pytest.approx(expected, abs=1e-9), (column.name, measure)


def test_sketched_columns_stay_within_bounds_that_are_small() -> None:
    generator = np.random.default_rng(7)
    before = {
        "normal": generator.normal(size=200_000),
        "skewed": generator.lognormal(sigma=3, size=200_000),
        "ids": np.arange(200_000) + 10**15,
        "lumped": np.where(generator.random(200_000) < 0.4, 0.0, generator.random(200_000)),
    }
    after = {
        "normal": generator.normal(0.1, 1.1, size=150_000),
        "skewed": generator.lognormal(sigma=2.9, size=150_000),
        "ids": np.arange(150_000) + 10**15 + 20_000,
        "lumped": np.where(generator.random(150_000) < 0.5, 0.0, generator.random(150_000)),
    }
    profiles = profile_of(before), profile_of(after)
    found = compare_profiles(*profiles)
    limits = {"kolmogorov_smirnov": 0.005, "jensen_shannon": 0.02, "population_stability_index": 0.05}
    for column in profiles[0].columns:
        assert not column.exact
        exact = exact_figures(bin_edges(column), before[column.name], after[column.name])
        for measure, distance in by_measure(found, column.name).items():
            assert abs(distance.value - exact[measure]) <= distance.bound, (column.name, measure)
            assert column.name == "ids" or distance.bound < limits[measure], (column.name, measure, distance)


def test_categories_beyond_those_kept_are_covered_by_the_bound() -> None:
    generator = np.random.default_rng(3)
    names = np.array([f"shop {i}" for i in range(20_000)])
    a, b = ((generator.pareto(shape, size=100_000) * 20).astype(int).clip(max=19_999) for shape in (0.8, 1.0))
    found = by_measure(compare_profiles(profile_of({"x": names[a]}), profile_of({"x": names[b]})), "x")
    shares = [np.bincount(part, minlength=20_000) / len(part) for part in (a, b)]
    exact = {
        "l_infinity": float(np.abs(shares[0] - shares[1]).max()),
        "jensen_shannon": float(jensenshannon(*shares, base=2)) ** 2,
    }
    for measure, expected in exact.items():
        assert found[measure].bound > 0
        assert abs(found[measure].value - expected) <= found[measure].bound
    assert found["l_infinity"].bound < 0.005


def test_what_cannot_be_compared_is_left_out() -> None:
    reference = profile_of({"a": [1, 2], "b": ["x", "y"], "c": [1, 2], "d": [None, None], "e": ["p", "q"], "f": [1, 2]})
    current = profile_of(
        {"a": ["1", "2"], "b": ["x", "y"], "d": [1, 2], "e": ["p", "q"], "f": [1.0, None]}, personal=["e"]
    )
    assert {distance.column for distance in compare_profiles(reference, current)} == {"b", "f"}


def test_equal_profiles_are_at_no_distance_and_disjoint_ones_at_the_largest() -> None:
    one, other = profile_of({"n": [1, 2, 3], "t": ["a", "b", "b"]}), profile_of({"n": [7, 8], "t": ["c", "c"]})
    assert {distance.value for distance in compare_profiles(one, one)} == {0.0}
    apart = compare_profiles(one, other)
    assert by_measure(apart, "n")["kolmogorov_smirnov"].value == 1.0
    assert by_measure(apart, "t")["jensen_shannon"].value == pytest.approx(1.0)
    assert by_measure(apart, "t")["l_infinity"].value == 1.0
