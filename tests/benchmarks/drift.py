"""How often the drift alarm is false, and how often it is right, on real rows: `python -m tests.benchmarks.drift`.

False alarms: the rows of one hospital are split at random, the model is trained on one part, and the other part is
the current window. Power: the same reference, and a window in which a share of the rows is from another hospital and
satisfies the contract. No row is drawn twice within a window, multiplied or changed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from secure_ml.contracts.request_rules import RequestRules, request_rules
from secure_ml.models.heart_disease import model
from secure_ml.monitoring.drift import Window, compare
from secure_ml.tables.batch_files import parse_batch

SPLITS = 400
SIZES = (30, 60, 100)
SHARES = (0.1, 0.25, 0.5, 1.0)
REFERENCE_ROWS = 180


@dataclass(frozen=True, slots=True)
class Figure:
    """A share of windows with an alarm."""

    hospital: str
    foreign: float
    rows: int
    windows: int
    alarms: int

    @property
    def share(self) -> float:
        return self.alarms / self.windows


def served_rows(hospital: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the rows that the service would answer, shape (n, d), and their labels."""
    table = parse_batch(model.batches.files[hospital].read_bytes(), model.batches, hospital)
    numbers = table.select(pl.all().cast(pl.Float64, strict=False))
    x = np.ascontiguousarray(numbers.select(model.features).fill_null(float("nan")).to_numpy(), dtype=np.float64)
    y = model.positive(numbers[model.label]).to_numpy()
    bad = {violation.row for violation in RequestRules.parse(request_rules(model)).check(x)}
    good = np.array([row not in bad for row in range(len(x))])
    return x[good], y[good]


def measure(splits: int = SPLITS) -> list[Figure]:
    """Return the figures: first those of the reference's own hospital, then those of the others."""
    draw = np.random.default_rng(0)
    own_x, own_y = served_rows(model.split.batch)
    others = {name: served_rows(name)[0] for name in model.batches.files if name != model.split.batch}
    alarms: dict[tuple[str, float, int], list[bool]] = {}
    for _ in range(splits):
        order = draw.permutation(len(own_x))
        chosen, rest = order[:REFERENCE_ROWS], order[REFERENCE_ROWS:]
        estimator = model.trainer(model.seed).fit(own_x[chosen], own_y[chosen])
        reference = _window(estimator, own_x[chosen])
        for size in SIZES:
            windows = [(model.split.batch, 0.0, own_x[rest][:size])]
            for hospital, rows in others.items():
                for share in SHARES:
                    foreign = rows[draw.permutation(len(rows))[: round(size * share)]]
                    own = own_x[rest][: size - len(foreign)]
                    if len(foreign) == round(size * share):
                        windows.append((hospital, share, np.concatenate([foreign, own])))
            for hospital, share, window in windows:
                found = compare(reference, _window(estimator, window), model.drift).alarm
                alarms.setdefault((hospital, share, size), []).append(found)
    return [Figure(*what, len(found), sum(found)) for what, found in sorted(alarms.items())]


def _window(estimator: Any, x: NDArray[np.float64]) -> Window:
    return Window(model.features, x, np.asarray(estimator.predict_proba(x)[:, 1], dtype=np.float64))


def main() -> None:
    splits = int(sys.argv[1]) if len(sys.argv) > 1 else SPLITS
    figures = measure(splits)
    print("| rows in the window | " + " | ".join(f"{size}" for size in SIZES) + " |")
    print("| --- |" + " --- |" * len(SIZES))
    for hospital, foreign in sorted({(item.hospital, item.foreign) for item in figures}, key=lambda item: item[::-1]):
        shares = {
            item.rows: f"{item.share:.1%}" for item in figures if (item.hospital, item.foreign) == (hospital, foreign)
        }
        name = f"{foreign:.0%} of {hospital}" if foreign else "no drift"
        print(f"| {name} | " + " | ".join(shares.get(size, "") for size in SIZES) + " |")


if __name__ == "__main__":
    main()
