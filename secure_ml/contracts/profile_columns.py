"""One column: from an Arrow array to its profile, from two profiles to one, and down to what a document keeps."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from secure_ml.contracts.profile import (
    EXACT_VALUES,
    LONGEST_VALUE,
    ColumnProfile,
    Kind,
    Moments,
    QuantileSketch,
    Tally,
    Value,
)
from secure_ml.contracts.sketches import Numbers, compress, hash_numbers, hash_text, heaviest, registers_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["KEPT", "SCANNED", "Size", "bare", "merge_columns", "merge_moments", "moments_of", "profile_array", "shrink"]

_NOTHING = Tally((), (), 0)
_FOREVER = (1 << 63) - 1
_SPACES = np.isin(np.arange(256), list(b" \t\n\v\f\r"))


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


def profile_array(name: str, array: pa.Array) -> ColumnProfile:
    """Profile one column of one batch, with as much kept as `SCANNED` says."""
    import pyarrow as pa
    import pyarrow.compute as pc

    while isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = _kind(array.type)
    values = array.drop_null() if array.null_count else array
    column = ColumnProfile(
        name=name,
        kind=kind,
        dtype=str(array.type).removeprefix("large_").removesuffix("_view"),
        personal=False,
        count=len(values),
        missing=array.null_count,
        zeros=0,
        nan=0,
        negative_infinite=0,
        positive_infinite=0,
        moments=None,
        lengths=None,
        tokens=None,
        first=None,
        last=None,
        tally=_NOTHING,
        sketch=None,
        registers=None,
        counted=None,
    )
    if not len(values):
        return column
    if kind == "text":
        return _profile_text(column, values)
    if kind != "other":
        return _profile_numbers(column, _numbers(values))
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        return replace(column, lengths=moments_of(pc.list_value_length(values).to_numpy().astype(np.int64)))
    if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        return replace(column, lengths=moments_of(pc.binary_length(values).to_numpy().astype(np.int64)))
    return column


def _kind(dtype: pa.DataType) -> Kind:
    from pyarrow import types

    if types.is_boolean(dtype):
        return "boolean"
    if types.is_integer(dtype):
        return "integer"
    if types.is_floating(dtype) or types.is_decimal(dtype):
        return "number"
    if types.is_string(dtype) or types.is_large_string(dtype) or types.is_string_view(dtype):
        return "text"
    if types.is_timestamp(dtype) or types.is_date(dtype) or types.is_time(dtype) or types.is_duration(dtype):
        return "time"
    return "other"


def _numbers(values: pa.Array) -> Any:
    """Return numbers as doubles or 64-bit integers, times in microseconds; what does not fit is the largest."""
    import pyarrow as pa
    from pyarrow import types

    dtype = values.type
    if types.is_boolean(dtype):
        return values.cast(pa.int8()).to_numpy().astype(np.int64)
    if types.is_integer(dtype):
        return values.to_numpy().astype(np.uint64 if dtype == pa.uint64() else np.int64)
    if types.is_decimal(dtype):
        return values.cast(pa.float64(), safe=False).to_numpy().astype(np.float64)
    if types.is_floating(dtype):
        return values.to_numpy(zero_copy_only=False).astype(np.float64)
    storage = pa.int32() if dtype.bit_width == 32 else pa.int64()
    times = values.view(storage).to_numpy().astype(np.int64)
    if types.is_date32(dtype):
        per, microseconds = 1, 86_400_000_000
    else:
        unit = "ms" if types.is_date64(dtype) else dtype.unit
        per, microseconds = {"s": (1, 1_000_000), "ms": (1, 1000), "us": (1, 1), "ns": (1000, 1)}[unit]
    if microseconds == 1:
        return times // per if per > 1 else times
    limit = _FOREVER // microseconds
    fits = (times > -limit) & (times < limit)
    return np.where(fits, times * np.where(fits, microseconds, 1), np.where(times < 0, -_FOREVER, _FOREVER))


def _profile_numbers(column: ColumnProfile, numbers: Numbers) -> ColumnProfile:
    nan = negative = positive = 0
    if numbers.dtype == np.float64:
        finite = np.isfinite(numbers)
        if not finite.all():
            nan = int(np.isnan(numbers).sum())
            positive, negative = int((numbers == np.inf).sum()), int((numbers == -np.inf).sum())
            numbers = numbers[finite]
        numbers = numbers + 0.0  # minus zero is zero
    elif column.kind == "time":
        positive, negative = int((numbers == _FOREVER).sum()), int((numbers <= -_FOREVER).sum())
        if positive or negative:
            numbers = numbers[(numbers < _FOREVER) & (numbers > -_FOREVER)]
    column = replace(column, nan=nan, negative_infinite=negative, positive_infinite=positive)
    if not len(numbers):
        return column
    ordered = np.sort(numbers)
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    values, counts = ordered[starts], np.diff(starts, append=len(ordered))
    zero = int(np.searchsorted(values, 0))
    column = replace(
        column,
        zeros=int(counts[zero]) if zero < len(values) and values[zero] == 0 else 0,
        moments=moments_of(ordered),
    )
    if len(values) <= EXACT_VALUES:
        return replace(column, tally=_tally(values.tolist(), counts.tolist(), 0))
    places, error = heaviest(counts, SCANNED.values)
    return replace(
        column,
        tally=_tally(values[places].tolist(), counts[places].tolist(), error),
        sketch=_sketch(values, counts, 0, SCANNED.points),
        registers=registers_of(hash_numbers(values)),
    )


def _profile_text(column: ColumnProfile, texts: pa.Array) -> ColumnProfile:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_large_string(texts.type):
        texts = texts.cast(pa.large_string())
    found = pc.value_counts(texts)
    values, counts = found.field("values"), found.field("counts").to_numpy().astype(np.int64)
    offsets, content = _buffers(values)
    lengths = pc.utf8_length(values).to_numpy().astype(np.int64)
    ends = pc.min_max(values)
    column = replace(
        column,
        zeros=int(counts[lengths == 0].sum()),
        lengths=moments_of(lengths, counts),
        tokens=moments_of(_tokens(offsets, content), counts),
        first=_cut(ends["min"]),
        last=_cut(ends["max"]),
    )
    short = lengths <= LONGEST_VALUE
    if len(values) <= EXACT_VALUES and short.all():
        return replace(column, tally=_tally(values.to_pylist(), counts.tolist(), 0))
    places, error = heaviest(np.where(short, counts, 0), SCANNED.values)
    places = places[short[places]]
    return replace(
        column,
        tally=_tally(
            values.take(pa.array(places)).to_pylist(),
            counts[places].tolist(),
            max(error, int(counts[~short].max(initial=0))),
        ),
        registers=registers_of(hash_text(offsets, content)),
    )


def _buffers(texts: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return the offsets and the bytes of an array of large strings without nulls."""
    _, offsets, content = texts.buffers()
    places = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    held = np.frombuffer(content, dtype=np.uint8) if content is not None else np.zeros(0, dtype=np.uint8)
    return places - places[0], held[places[0] : places[-1]]


def _tokens(offsets: NDArray[np.int64], content: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count the tokens of each text: bytes that are no white space, after one that is, or at the start."""
    if not len(content) or content.min() > ord(" "):
        return (np.diff(offsets) > 0).astype(np.int64)
    space = _SPACES[content]
    begins = ~space
    begins[1:] &= space[:-1]
    nonempty = offsets[:-1][np.diff(offsets) > 0]
    begins[nonempty] = ~space[nonempty]
    before = np.concatenate([[0], np.cumsum(begins)])
    return np.diff(before[offsets])


def _cut(text: pa.Scalar) -> str:
    return str(text.as_py())[:LONGEST_VALUE]


def moments_of(values: Numbers, weights: NDArray[np.int64] | None = None) -> Moments:
    """Return the moments of numbers, each counted as often as its weight says."""
    with np.errstate(over="ignore", invalid="ignore"):
        doubles = values.astype(np.float64)
        count = len(values) if weights is None else int(weights.sum())
        mean = float((doubles if weights is None else doubles * weights).sum() / count)
        deviations = np.square(doubles - mean)
        squares = float((deviations if weights is None else deviations * weights).sum())
    return Moments(count, _finite(mean), _finite(squares), values.min().item(), values.max().item())


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _tally(values: Iterable[Any], counts: Iterable[int], error: int) -> Tally:
    pairs = sorted(zip(values, counts, strict=True), key=lambda pair: (-pair[1], pair[0]))
    return Tally(tuple(value for value, _ in pairs), tuple(count for _, count in pairs), error)


def _sketch(values: Numbers, weights: NDArray[np.int64], error: int, points: int) -> QuantileSketch:
    kept, shares, added = compress(values, weights, points)
    return QuantileSketch(tuple(kept.tolist()), tuple(shares.tolist()), min(error + added, int(shares.sum())))


def merge_columns(a: ColumnProfile, b: ColumnProfile, size: Size) -> ColumnProfile:
    """Return the profile of the values of both, which are of one name, kind and type."""
    merged = replace(
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
        counted=None,
    )
    if a.personal or a.kind == "other":
        return merged
    counts: dict[Value, int] = dict(zip(a.tally.values, a.tally.counts, strict=True))
    for value, count in zip(b.tally.values, b.tally.counts, strict=True):
        counts[value] = counts.get(value, 0) + count
    tally = _tally(counts.keys(), counts.values(), a.tally.error + b.tally.error)
    if a.registers is None and b.registers is None and len(counts) <= EXACT_VALUES:
        return replace(merged, tally=tally)
    registers = np.maximum(*(np.frombuffer(_registers(part), dtype=np.uint8) for part in (a, b)))
    sketch = None
    if a.kind != "text":
        parts = [part for part in (a.distribution, b.distribution) if part is not None]
        sketch = _merge_sketches(parts, a.dtype, size.points)
    tally = _heaviest(tally, size.values, merged.finite)
    return replace(merged, tally=tally, sketch=sketch, registers=registers.tobytes())


def shrink(column: ColumnProfile, size: Size) -> ColumnProfile:
    """Keep of a sketched column what a document keeps; an exact one stays as it is."""
    if column.registers is None:
        return column
    sketch = column.sketch and _merge_sketches([column.sketch], column.dtype, size.points)
    return replace(column, tally=_heaviest(column.tally, size.values, column.finite), sketch=sketch)


def bare(column: ColumnProfile) -> ColumnProfile:
    """Keep of a personal column counts only; lengths and tokens of text are counts too."""
    return replace(
        column,
        personal=True,
        moments=None,
        first=None,
        last=None,
        tally=_NOTHING,
        sketch=None,
        registers=None,
        counted=column.distinct,
    )


def _heaviest(tally: Tally, kept: int, finite: int) -> Tally:
    counts = np.array(tally.counts, dtype=np.int64)
    places, left_out = heaviest(counts, kept)
    error = min(tally.error + left_out, finite)
    return Tally(tuple(tally.values[place] for place in places), tuple(counts[places].tolist()), error)


def _registers(column: ColumnProfile) -> bytes:
    """Return the registers of a sketched column, or those that an exact one would have."""
    if column.registers is not None:
        return column.registers
    values = column.tally.values
    if column.kind != "text":
        return registers_of(hash_numbers(_array(values, column.dtype)))
    encoded = [str(value).encode() for value in values]
    offsets = np.cumsum([0, *(len(text) for text in encoded)], dtype=np.int64)
    return registers_of(hash_text(offsets, np.frombuffer(b"".join(encoded), dtype=np.uint8)))


def _array(values: Iterable[Any], dtype: str) -> Numbers:
    integers = np.uint64 if dtype == "uint64" else np.int64
    found = list(values)
    return np.array(found, dtype=np.float64 if found and isinstance(found[0], float) else integers)


def _merge_sketches(parts: list[QuantileSketch], dtype: str, points: int) -> QuantileSketch:
    values = _array((point for part in parts for point in part.points), dtype)
    weights = np.array([weight for part in parts for weight in part.weights], dtype=np.int64)
    values, places = np.unique(values, return_inverse=True)
    weights = np.bincount(places, weights).astype(np.int64)
    return _sketch(values, weights, sum(part.error for part in parts), points)


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
