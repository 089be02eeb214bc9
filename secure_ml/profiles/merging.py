"""Merging: from two profiles to one, column by column, and down to what a document keeps."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secure_ml.errors import PreconditionError
from secure_ml.profiles.document import (
    EXACT_VALUES,
    ColumnProfile,
    Moments,
    Profile,
    QuantileSketch,
    Tally,
    Value,
)
from secure_ml.profiles.sketches import (
    Numbers,
    Points,
    Registers,
    compress,
    hash_text,
    heaviest,
    merge_points,
)

__all__ = [
    "KEPT",
    "SCANNED",
    "Size",
    "bare",
    "lighten",
    "merge",
    "merge_all",
    "merge_columns",
    "merge_counts",
    "merge_moments",
    "moments_of",
    "shrink",
    "sketch_of",
    "tally_of",
    "without_values",
]


@dataclass(frozen=True, slots=True)
class Size:
    """How much of a sketched column is kept.

    Attributes:
        points: Points of the quantile sketch.
        values: Most frequent values.
    """

    points: int
    values: int


SCANNED = Size(4096, EXACT_VALUES)
KEPT = Size(512, 256)


def moments_of(values: Numbers, weights: NDArray[np.int64] | None = None) -> Moments:
    """Return the moments of numbers, each counted as often as its weight says."""
    with np.errstate(over="ignore", invalid="ignore"):
        count = len(values) if weights is None else int(weights.sum())
        total = values.sum(dtype=np.float64) if weights is None else (values.astype(np.float64) * weights).sum()
        mean = float(total / count)
        deviations = values - mean
        deviations *= deviations
        squares = float((deviations if weights is None else deviations * weights).sum())
    return Moments(count, _finite(mean), _finite(squares), values.min().item(), values.max().item())


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def tally_of(counts: Mapping[Any, int], error: int) -> Tally:
    """Return values and how often they occur in the order of a tally."""
    pairs = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return Tally(tuple(value for value, _ in pairs), tuple(count for _, count in pairs), error)


def lighten(tally: Tally, kept: int, finite: int) -> Tally:
    """Keep the most frequent values, at most `kept`."""
    counts = np.array(tally.counts, dtype=np.int64)
    places, left_out = heaviest(counts, kept)
    error = min(tally.error + left_out, finite)
    return Tally(tuple(tally.values[place] for place in places), tuple(counts[places].tolist()), error)


def sketch_of(points: Points) -> QuantileSketch:
    """Return points as a document holds them."""
    return QuantileSketch(tuple(points.values.tolist()), tuple(points.weights.tolist()), points.error)


def merge_columns(a: ColumnProfile, b: ColumnProfile, size: Size) -> ColumnProfile:
    """Return the profile of the values of both, which are of one name, kind and type."""
    merged = merge_counts(a, b)
    if a.personal or a.kind == "other":
        return merged
    counts: dict[Value, int] = dict(zip(a.tally.values, a.tally.counts, strict=True))
    for value, count in zip(b.tally.values, b.tally.counts, strict=True):
        counts[value] = counts.get(value, 0) + count
    tally = tally_of(counts, a.tally.error + b.tally.error)
    if a.registers is None and b.registers is None and len(counts) <= EXACT_VALUES:
        return replace(merged, tally=tally)
    registers = np.maximum(*(np.frombuffer(_registers(part), dtype=np.uint8) for part in (a, b)))
    sketch = None
    if a.kind != "text":
        parts = [_points(part.distribution, a.dtype) for part in (a, b) if part.distribution is not None]
        sketch = sketch_of(merge_points(parts, size.points))
    tally = lighten(tally, size.values, merged.finite)
    return replace(merged, tally=tally, sketch=sketch, registers=registers.tobytes())


def shrink(column: ColumnProfile, size: Size) -> ColumnProfile:
    """Keep no more than `size` of a sketched column; an exact one stays as it is."""
    if column.registers is None:
        return column
    sketch = column.sketch and sketch_of(compress(_points(column.sketch, column.dtype), size.points))
    return replace(column, tally=lighten(column.tally, size.values, column.finite), sketch=sketch)


def merge_counts(a: ColumnProfile, b: ColumnProfile) -> ColumnProfile:
    """Return the counts, moments and ends of both, with the tally and the sketches of neither."""
    return replace(
        a,
        count=a.count + b.count,
        missing=a.missing + b.missing,
        zeros=a.zeros + b.zeros,
        nan=a.nan + b.nan,
        negative_infinite=a.negative_infinite + b.negative_infinite,
        positive_infinite=a.positive_infinite + b.positive_infinite,
        moments=merge_moments(a.moments, b.moments),
        lengths=merge_moments(a.lengths, b.lengths),
        tokens=merge_moments(a.tokens, b.tokens),
        first=min((text for text in (a.first, b.first) if text is not None), default=None),
        last=max((text for text in (a.last, b.last) if text is not None), default=None),
        tally=Tally((), (), 0),
        sketch=None,
        registers=None,
        counted=None,
    )


def bare(column: ColumnProfile) -> ColumnProfile:
    """Keep of a personal column counts only; lengths and tokens of text are counts too."""
    return replace(
        column,
        personal=True,
        moments=None,
        first=None,
        last=None,
        tally=Tally((), (), 0),
        sketch=None,
        registers=None,
        counted=column.distinct,
    )


def _registers(column: ColumnProfile) -> bytes:
    """Return the registers of a sketched column, or those that an exact one would have."""
    if column.registers is not None:
        return column.registers
    import pyarrow as pa

    values, registers = column.tally.values, Registers()
    if column.kind == "text":
        registers.add(hash_text(pa.array(values, pa.large_string())))
    else:
        registers.add_numbers(_array(values, column.dtype))
    return registers.render()


def _array(values: Sequence[Any], dtype: str) -> Numbers:
    integers = np.uint64 if dtype == "uint64" else np.int64
    return np.array(values, dtype=np.float64 if values and isinstance(values[0], float) else integers)


def _points(sketch: QuantileSketch, dtype: str) -> Points:
    return Points(_array(sketch.points, dtype), np.array(sketch.weights, dtype=np.int64), sketch.error)


def merge_moments(a: Moments | None, b: Moments | None) -> Moments | None:
    """Source: Chan, Golub and LeVeque 1979, equation 2.1."""
    if a is None or b is None:
        return a or b
    count, mean, squares = a.count + b.count, None, None
    if a.mean is not None and b.mean is not None:
        mean = _finite((a.mean * a.count + b.mean * b.count) / count)
        if a.squares is not None and b.squares is not None:
            shift = b.mean - a.mean
            squares = _finite(a.squares + b.squares + shift * shift * a.count * b.count / count)
    return Moments(count, mean, squares, min(a.minimum, b.minimum), max(a.maximum, b.maximum))


def without_values(profile: Profile, personal: Collection[str]) -> Profile:
    """Return the profile with counts only of these columns.

    Raises:
        PreconditionError: One is not in the profile.
    """
    unknown = set(personal) - {column.name for column in profile.columns}
    if unknown:
        raise PreconditionError(f"profile: {len(unknown)} columns named as personal are not in the table")
    columns = (bare(item) if item.name in personal and not item.personal else item for item in profile.columns)
    return Profile(profile.rows, tuple(columns))


def merge(a: Profile, b: Profile) -> Profile:
    """Return the profile of the rows of both.

    Exact columns stay exact while they fit. Of sketched ones the errors add, and the document says how large they
    are. It is commutative; it is associative for exact figures, and within the stated errors for others.

    Raises:
        PreconditionError: They have not the same columns, in name, order, type and privacy.
    """
    return _merged(a, b, KEPT)


def merge_all(profiles: Sequence[Profile]) -> Profile:
    """Merge profiles of neighbouring rows two by two, so that errors grow with the logarithm of their number.

    Args:
        profiles: At least one, with as much in them as `SCANNED` says.

    Raises:
        PreconditionError: They have not the same columns, in name, order, type and privacy.
    """
    while len(profiles) > 1:
        pairs = zip_longest(profiles[::2], profiles[1::2])
        profiles = [a if b is None else _merged(a, b, SCANNED) for a, b in pairs]
    return Profile(profiles[0].rows, tuple(shrink(column, KEPT) for column in profiles[0].columns))


def _merged(a: Profile, b: Profile, size: Size) -> Profile:
    shapes = [[(column.name, column.kind, column.dtype, column.personal) for column in part.columns] for part in (a, b)]
    if shapes[0] != shapes[1]:
        differing = sum(x != y for x, y in zip_longest(*shapes))
        raise PreconditionError(
            f"profile: {differing} columns differ in name, order, type or privacy: they are not merged"
        )
    columns = (merge_columns(x, y, size) for x, y in zip(a.columns, b.columns, strict=True))
    return Profile(a.rows + b.rows, tuple(columns))
