"""How far two profiles lie apart, column by column, and how far each figure may be from the exact one.

Everything comes from the two documents; the rows are not needed. A `bound` is a guarantee, not a likelihood: the
errors that the sketches measured are carried through each measure by interval arithmetic, so the figure that the rows
themselves would give lies within `value ± bound`. It is 0 where both columns are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from secure_ml.profiles.document import ColumnProfile, Profile, QuantileSketch

__all__ = ["Distance", "Measure", "bin_edges", "compare_profiles"]

Measure: TypeAlias = Literal["l_infinity", "jensen_shannon", "kolmogorov_smirnov", "population_stability_index"]
Shares: TypeAlias = NDArray[np.float64]

_BINS = 10
_MAX_CATEGORIES = 64
_LEAST_SHARE = 1e-4
_NUMERIC = ("integer", "number", "boolean")


@dataclass(frozen=True, slots=True)
class Distance:
    """One measure of one column.

    Attributes:
        column: The column's name.
        measure: `l_infinity`: the largest difference of a value's share. `jensen_shannon`: the divergence in bits, from
            0 to 1; of numbers, over the bins of `bin_edges`. `kolmogorov_smirnov`: the largest difference of the two
            distribution functions, D. `population_stability_index`: over the same bins, a share counted as at least
            0.0001.
        value: The figure.
        bound: The exact figure, that of all rows, differs from `value` by no more.
    """

    column: str
    measure: Measure
    value: float
    bound: float


def compare_profiles(reference: Profile, current: Profile) -> tuple[Distance, ...]:
    """Compare the columns that both have, as kinds that can be compared, with values in both.

    Missing values, NaN and infinities take no part; their counts stand in the profiles. A personal column has no
    values to compare, and a column that is absent, or of another kind, is a finding of its own (see `anomalies`).

    Args:
        reference: What the bins are taken from.
        current: What is compared with it.
    """
    others = {column.name: column for column in current.columns}
    return tuple(
        distance
        for column in reference.columns
        if column.name in others and _comparable(column, others[column.name])
        for distance in _compare(column, others[column.name])
    )


def bin_edges(reference: ColumnProfile) -> Shares:
    """Return the upper edges of all bins but the last: the deciles of the reference, equal ones once.

    A number x lies in the first bin whose edge is at least x; the last bin has no upper edge.
    """
    held = reference.distribution
    if held is None:
        return np.zeros(0)
    above = np.cumsum(held.weights)
    places = np.searchsorted(above, [above[-1] * decile / _BINS for decile in range(1, _BINS)], side="left")
    return np.unique(np.array([held.points[place] for place in places], dtype=np.float64))


def _comparable(a: ColumnProfile, b: ColumnProfile) -> bool:
    same = a.kind == b.kind or (a.kind in _NUMERIC and b.kind in _NUMERIC)
    return same and a.kind != "other" and not (a.personal or b.personal) and a.finite > 0 and b.finite > 0


def _compare(a: ColumnProfile, b: ColumnProfile) -> Iterator[Distance]:
    of_a, of_b = a.distribution, b.distribution
    few = a.exact and b.exact and len(a.tally.values) <= _MAX_CATEGORIES
    if of_a is None or of_b is None or few:
        p, q, p_rest, q_rest = _shares(a, b)
        p_error, q_error = a.tally.error / a.finite, b.tally.error / b.finite
        value = float(np.abs(p - q).max(initial=0.0))
        yield Distance(a.name, "l_infinity", value, max(p_error, q_error))
        if of_a is None or of_b is None:
            yield _over_categories(a.name, p, q, p_rest, q_rest, p_error, q_error)
    if of_a is None or of_b is None:
        return
    edges = bin_edges(a)
    yield _over_bins(a.name, "jensen_shannon", _jensen_shannon, edges, (a, b))
    bound = of_a.error / a.finite + of_b.error / b.finite
    yield Distance(a.name, "kolmogorov_smirnov", _largest_gap(of_a, of_b), bound)
    yield _over_bins(a.name, "population_stability_index", _stability, edges, (a, b))


def _shares(a: ColumnProfile, b: ColumnProfile) -> tuple[Shares, Shares, float, float]:
    """Return the shares of each value that either lists, and the share of all other values."""
    counts_a = dict(zip(a.tally.values, a.tally.counts, strict=True))
    counts_b = dict(zip(b.tally.values, b.tally.counts, strict=True))
    values = list(dict.fromkeys([*counts_a, *counts_b]))
    p = np.array([counts_a.get(value, 0) for value in values], dtype=np.float64) / a.finite
    q = np.array([counts_b.get(value, 0) for value in values], dtype=np.float64) / b.finite
    rests = [(part.finite - sum(part.tally.counts)) / part.finite for part in (a, b)]
    return p, q, rests[0], rests[1]


def _over_categories(
    name: str, p: Shares, q: Shares, p_rest: float, q_rest: float, p_error: float, q_error: float
) -> Distance:
    """Count the values that neither lists as one; the bound says what telling them apart could add."""
    listed = _interval(_jensen_shannon, (p, p + p_error), (q, q + q_error))
    rest_p = np.array([max(0.0, p_rest - len(p) * p_error), p_rest])
    rest_q = np.array([max(0.0, q_rest - len(q) * q_error), q_rest])
    rest = _interval(_jensen_shannon, (rest_p[:1], rest_p[1:]), (rest_q[:1], rest_q[1:]))
    value = float(_jensen_shannon(np.append(p, p_rest), np.append(q, q_rest)).sum())
    return _distance(name, "jensen_shannon", value, listed[0] + rest[0], listed[1] + (p_rest + q_rest) / 2, 1.0)


def _over_bins(
    name: str,
    measure: Measure,
    term: Callable[[Shares, Shares], Shares],
    edges: Shares,
    parts: tuple[ColumnProfile, ColumnProfile],
) -> Distance:
    (p, *p_box), (q, *q_box) = (_binned(part, edges) for part in parts)
    low, high = _interval(term, (p_box[0], p_box[1]), (q_box[0], q_box[1]))
    limit = 1.0 if measure == "jensen_shannon" else np.inf
    return _distance(name, measure, float(term(p, q).sum()), low, high, limit)


def _distance(name: str, measure: Measure, value: float, low: float, high: float, limit: float) -> Distance:
    value = min(max(value, 0.0), limit)
    return Distance(name, measure, value, max(min(high, limit) - value, value - max(low, 0.0), 0.0))


def _interval(
    term: Callable[[Shares, Shares], Shares], p: tuple[Shares, Shares], q: tuple[Shares, Shares]
) -> tuple[float, float]:
    """Return the least and the largest sum of `term` where each share lies anywhere between its two ends.

    Each term is convex, 0 where the shares are equal, and grows with their distance.
    """
    high = np.maximum(term(p[0], q[1]), term(p[1], q[0]))
    apart = np.maximum(np.where(p[0] > q[1], term(p[0], q[1]), 0.0), np.where(q[0] > p[1], term(p[1], q[0]), 0.0))
    return float(apart.sum()), float(high.sum())


def _jensen_shannon(p: Shares, q: Shares) -> Shares:
    """Source: Lin 1991, equation 4.1 with equal weights, in bits."""
    middle = (p + q) / 2
    found = np.zeros(len(p))
    for share in (p, q):
        some = (share > 0) & (middle > 0)  # half of the least positive number is zero
        found[some] += share[some] * np.log2(share[some] / middle[some]) / 2
    return found


def _stability(p: Shares, q: Shares) -> Shares:
    """Source: Siddiqi 2006, Credit Risk Scorecards, chapter 10; empty bins count as the least share."""
    p, q = np.maximum(p, _LEAST_SHARE), np.maximum(q, _LEAST_SHARE)
    return np.asarray((p - q) * np.log(p / q), dtype=np.float64)


def _binned(column: ColumnProfile, edges: Shares) -> tuple[Shares, Shares, Shares]:
    """Return the share of each bin, the least that it can be, and the most."""
    held = column.distribution
    assert held is not None
    assert column.moments is not None
    ranks = np.concatenate([[0], np.cumsum(np.array(held.weights, dtype=np.int64))])
    share = ranks[np.searchsorted(np.array(held.points, dtype=np.float64), edges, side="right")] / ranks[-1]
    error = held.error / column.finite
    none, every = edges < float(column.moments.minimum), edges >= float(column.moments.maximum)
    low = np.where(every, 1.0, np.where(none, 0.0, (share - error).clip(min=0)))
    high = np.where(none, 0.0, np.where(every, 1.0, (share + error).clip(max=1)))
    share = share.clip(low, high)
    ends = [np.concatenate([[0.0], part, [1.0]]) for part in (share, low, high)]
    return np.diff(ends[0]), (ends[1][1:] - ends[2][:-1]).clip(min=0), ends[2][1:] - ends[1][:-1]


def _largest_gap(a: QuantileSketch, b: QuantileSketch) -> float:
    """Return the largest difference of the two distribution functions, at any point."""
    integers = all(isinstance(point, int) and point < 1 << 63 for part in (a, b) for point in part.points)
    dtype = np.int64 if integers else np.float64
    points = [np.array(part.points, dtype=dtype) for part in (a, b)]
    at = np.concatenate(points)
    below = []
    for own, part in zip(points, (a, b), strict=True):
        ranks = np.concatenate([[0], np.cumsum(np.array(part.weights, dtype=np.int64))])
        below.append(ranks[np.searchsorted(own, at, side="right")] / ranks[-1])
    return float(np.abs(below[0] - below[1]).max())
