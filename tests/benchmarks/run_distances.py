"""Drift from two profiles: `python -m tests.benchmarks.run_distances make|compare|exact FOLDER [ROWS]`.

`make` writes two tables of 20 columns and their profiles, `compare` reads the two documents and compares them inside
the clock, `exact` computes the same figures with SciPy from all rows and holds the two against each other.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from tests.benchmarks.measuring import measured

WORK, FOLDER, *MORE = sys.argv[1:]
SAMPLES = ("reference", "current")


def _columns(shift: float) -> str:
    """10 floats of several shapes with nulls, 5 integers, 5 categories; `shift` moves each a little further."""
    uniform = [f"((hash(i, {number}, {shift}) % 1000003 + 0.5) / 1000003.0)" for number in range(40)]
    normal = [f"(sqrt(-2 * ln({uniform[k]})) * cos(2 * pi() * {uniform[k + 20]}))" for k in range(5)]
    columns = [f"{expression} + {shift * k / 10} AS normal_{k}" for k, expression in enumerate(normal)]
    columns += [f"exp({expression} * {1 + shift * k / 20}) AS skewed_{k}" for k, expression in enumerate(normal)]
    columns += [f"floor({uniform[10 + k]} * {10 ** (k + 1)} * {1 + shift / 10})::BIGINT AS whole_{k}" for k in range(5)]
    columns += [
        f"'c' || floor(pow({uniform[15 + k]}, {1 + shift / 5}) * {3**k + 1})::INT AS kind_{k}" for k in range(5)
    ]
    return ", ".join(columns)


def make() -> None:
    from secure_ml.profiles.document import render
    from secure_ml.profiles.profiling import profile_table
    from secure_ml.tables.data_files import open_table

    for shift, name in enumerate(SAMPLES):
        path = Path(FOLDER) / f"{name}.parquet"
        duckdb.sql(f"COPY (SELECT {_columns(float(shift))} FROM range({MORE[0]}) AS n(i)) TO '{path}' (FORMAT parquet)")
        (Path(FOLDER) / f"{name}.json").write_bytes(render(profile_table(open_table(path))))


def _compare() -> list[tuple[str, str, float, float]]:
    from secure_ml.profiles.distances import compare_profiles
    from secure_ml.profiles.document import parse

    one, two = (parse((Path(FOLDER) / f"{name}.json").read_bytes()) for name in SAMPLES)
    return [(item.column, item.measure, item.value, item.bound) for item in compare_profiles(one, two)]


def _exact() -> dict[str, Any]:
    import polars as pl
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import ks_2samp

    from secure_ml.profiles.distances import bin_edges
    from secure_ml.profiles.document import parse

    one, two = (pl.read_parquet(Path(FOLDER) / f"{name}.parquet") for name in SAMPLES)
    profile = parse((Path(FOLDER) / "reference.json").read_bytes())
    edges = {column.name: bin_edges(column) for column in profile.columns}
    worst: dict[str, float] = {}
    outside: list[str] = []
    for column, measure, value, bound in _compare():
        a, b = one[column].to_numpy(), two[column].to_numpy()
        numeric = one[column].dtype.is_numeric()
        places = edges[column] if numeric and measure != "l_infinity" else np.unique(np.concatenate([a, b]))
        bins = len(places) + 1
        p, q = (np.bincount(np.searchsorted(places, x, side="left"), minlength=bins) / len(x) for x in (a, b))
        match measure:
            case "kolmogorov_smirnov":
                exact = float(ks_2samp(a, b, method="asymp").statistic)
            case "jensen_shannon":
                exact = float(jensenshannon(p, q, base=2)) ** 2
            case "l_infinity":
                exact = float(np.abs(p - q).max())
            case _:
                p, q = np.maximum(p, 1e-4), np.maximum(q, 1e-4)
                exact = float(((q - p) * np.log(q / p)).sum())
        worst[measure] = max(worst.get(measure, 0.0), abs(value - exact))
        if abs(value - exact) > bound + 1e-9:
            outside.append(f"{column} {measure}: {value:.6f} for {exact:.6f}, stated bound {bound:.6f}")
    bounds = {measure: max(item[3] for item in _compare() if item[1] == measure) for measure in worst}
    return {"worst": worst, "largest_bound": bounds, "outside": outside}


def main() -> None:
    match WORK:
        case "make":
            measured(make)
        case "compare":
            import secure_ml.profiles.distances
            import secure_ml.profiles.document  # noqa: F401 - imports are outside the clock

            measured(_compare)
        case "exact":
            measured(_exact)


main()
