"""One column of a scan: Arrow arrays go in, one after the other, and its profile comes out.

Each array of numbers is sorted once: range, zeros, NaN, infinities, different values, their counts and the points of
the quantile sketch all follow from that. Of a text column that begins with few different values the values are counted,
and every other figure is taken from them. Else texts are hashed, and only those whose hash is frequent are counted: a
hash occurs at least as often as each of its texts, so the error holds even for texts that were made to collide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from secure_ml.profiles.document import (
    EXACT_VALUES,
    LONGEST_VALUE,
    ColumnProfile,
    Kind,
    Moments,
    QuantileSketch,
    Tally,
    Value,
)
from secure_ml.profiles.merging import (
    SCANNED,
    Size,
    lighten,
    merge_counts,
    moments_of,
    shrink,
    sketch_of,
    tally_of,
)
from secure_ml.profiles.sketches import (
    Numbers,
    Points,
    Registers,
    hash_text,
    heaviest,
    merge_points,
    repeated_of,
    runs_of,
    thin,
)

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ColumnScan"]

_LOOKED_AT = 2 * EXACT_VALUES
_MERGED = 4
"""How many sketches are merged at once."""
_BEGIN = np.uint64(48)
_FOREVER = (1 << 63) - 1
_SPACES = np.isin(np.arange(256), list(b" \t\n\v\f\r"))


class ColumnScan:
    """What is known of a column so far. Not for several threads at once."""

    def __init__(self, name: str, dtype: pa.DataType) -> None:
        """Begin without values.

        Args:
            name: The column's name.
            dtype: The type of all arrays that will be added.
        """
        plain = _plain_type(dtype)
        self._column = ColumnProfile(
            name=name,
            kind=_kind(plain),
            dtype=str(plain).removeprefix("large_").removesuffix("_view"),
            personal=False,
            count=0,
            missing=0,
            zeros=0,
            nan=0,
            negative_infinite=0,
            positive_infinite=0,
            moments=None,
            lengths=None,
            tokens=None,
            first=None,
            last=None,
            tally=Tally((), (), 0),
            sketch=None,
            registers=None,
            counted=None,
        )
        self._empty = self._column
        self._counts: dict[Value, int] = {}
        self._error = 0
        self._exact = True
        self._registers = Registers()
        self._points: list[tuple[int, Points]] = []

    def add(self, arrays: Sequence[pa.Array]) -> None:
        """Take in the next values of the column, in as many pieces as they come."""
        import pyarrow as pa

        array = pa.concat_arrays(arrays)
        while isinstance(array, pa.ExtensionArray):
            array = array.storage
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        found = replace(self._empty, count=len(array) - array.null_count, missing=array.null_count)
        if found.count and found.kind == "text":
            found = self._add_text(found, array.drop_null())
        elif found.count and found.kind != "other":
            found = self._add_numbers(found, _ordered(array))
        elif found.count:
            found = replace(found, lengths=_lengths(array.drop_null()))
        self._column = merge_counts(self._column, found)

    def profile(self, size: Size) -> ColumnProfile:
        """Return the profile of all that was added."""
        column = replace(self._column, tally=tally_of(self._counts, self._error))
        if self._exact:
            return column
        sketch: QuantileSketch | None = None
        if column.kind != "text":
            sketch = sketch_of(merge_points([part for _, part in self._points], SCANNED.points))
        return shrink(replace(column, sketch=sketch, registers=self._registers.render()), size)

    def _add_numbers(self, found: ColumnProfile, ordered: Numbers) -> ColumnProfile:
        start, end, nan = 0, len(ordered), 0
        if ordered.dtype == np.float64:
            start, end, numbers = _ends(ordered, -np.inf, np.inf)
            nan = len(ordered) - numbers
        elif found.kind == "time":
            start, end, _ = _ends(ordered, -_FOREVER, _FOREVER)
        found = replace(found, nan=nan, negative_infinite=start, positive_infinite=len(ordered) - nan - end)
        ordered = ordered[start:end]
        if not len(ordered):
            return found
        if np.count_nonzero(ordered[1:] != ordered[:-1]) < SCANNED.points:
            values, counts = runs_of(ordered)
            points, error = Points(values, counts, 0), 0
            self._registers.add_numbers(values)
        else:
            values, counts = repeated_of(ordered)
            points, error = thin(ordered, SCANNED.points), 1
            self._registers.add_numbers(ordered)
        self._push(points)
        places, left_out = heaviest(counts, SCANNED.values)
        self._count(values[places].tolist(), counts[places].tolist(), max(error, left_out))
        up_to_zero, below_zero, _ = _ends(ordered, 0, 0)
        return replace(found, zeros=up_to_zero - below_zero, moments=moments_of(ordered))

    def _add_text(self, found: ColumnProfile, texts: pa.Array) -> ColumnProfile:
        import pyarrow as pa
        import pyarrow.compute as pc

        if not pa.types.is_large_string(texts.type):
            texts = texts.cast(pa.large_string())
        counts: NDArray[np.int64] | None = None
        few = pc.count_distinct(texts[:_LOOKED_AT]).as_py() <= EXACT_VALUES
        if few:
            texts, counts = _value_counts(texts)
        hashes = hash_text(texts)
        self._registers.add(hashes)
        values, times, error = (texts, counts, 0) if counts is not None else _of_frequent_hashes(texts, hashes)
        short = pc.utf8_length(values).to_numpy() <= LONGEST_VALUE
        places, left_out = heaviest(np.where(short, times, 0), SCANNED.values)
        places = places[short[places]]
        error = max(error, left_out, int(times[~short].max(initial=0)))
        self._count(values.take(pa.array(places)).to_pylist(), times[places].tolist(), error)
        offsets, content = _buffers(texts)
        ascii_only = not len(content) or content.max() < 128
        lengths = np.diff(offsets) if ascii_only else pc.utf8_length(texts).to_numpy().astype(np.int64)
        ends = pc.min_max(texts)
        return replace(
            found,
            zeros=int((lengths == 0).sum() if counts is None else counts[lengths == 0].sum()),
            lengths=_moments_of_counts(lengths, counts),
            tokens=_moments_of_counts(_tokens(offsets, content), counts),
            first=_cut(ends["min"]),
            last=_cut(ends["max"]),
        )

    def _count(self, values: list[Any], counts: list[int], error: int) -> None:
        """Count values; the others of an array occur in it at most `error` times each."""
        held = self._counts
        for value, count in zip(values, counts, strict=True):
            held[value] = held.get(value, 0) + count
        self._error += error
        self._exact = self._exact and not error and len(held) <= EXACT_VALUES
        if len(held) > 2 * SCANNED.values:
            tally = lighten(tally_of(held, self._error), SCANNED.values, _FOREVER)
            self._counts, self._error = dict(zip(tally.values, tally.counts, strict=True)), tally.error

    def _push(self, points: Points) -> None:
        """Merge a few sketches at once, and such merged ones again, so that errors grow with a logarithm."""
        level, held = 0, self._points
        held.append((level, points))
        while len(held) >= _MERGED and held[-_MERGED][0] == level:
            merged = merge_points([part for _, part in held[-_MERGED:]], SCANNED.points)
            level += 1
            held[-_MERGED:] = [(level, merged)]


def _ends(ordered: Numbers, least: float, most: float) -> tuple[int, int, int]:
    """Return how many numbers are no larger than `least`, smaller than `most`, and no larger than `most`."""
    return (
        int(np.searchsorted(ordered, ordered.dtype.type(least), "right")),
        int(np.searchsorted(ordered, ordered.dtype.type(most), "left")),
        int(np.searchsorted(ordered, ordered.dtype.type(most), "right")),
    )


def _of_frequent_hashes(texts: pa.Array, hashes: NDArray[np.uint64]) -> tuple[pa.Array, NDArray[np.int64], int]:
    """Count the texts of the most frequent hashes, exactly; no other text occurs more often than the third says."""
    import pyarrow as pa

    repeated, times = repeated_of(np.sort(hashes))
    places, left_out = heaviest(times, SCANNED.values)
    frequent = repeated[places]
    if len(frequent):
        begins = np.zeros(1 << 16, dtype=np.bool_)
        begins[frequent >> _BEGIN] = True
        rows = np.flatnonzero(begins.take((hashes >> _BEGIN).view(np.int64)))
        texts = texts.take(pa.array(rows[np.isin(hashes[rows], frequent)]))
    return *_value_counts(texts if len(frequent) else texts[:0]), max(1, left_out)


def _value_counts(texts: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    import pyarrow.compute as pc

    found = pc.value_counts(texts)
    return found.field("values"), found.field("counts").to_numpy().astype(np.int64)


def _moments_of_counts(numbers: NDArray[np.int64], weights: NDArray[np.int64] | None) -> Moments:
    """Return the moments of lengths; where they are short, each is taken once, with how often it occurs."""
    if weights is None and numbers.max() < len(numbers):
        times = np.bincount(numbers)
        numbers = np.flatnonzero(times)
        weights = times[numbers]
    return moments_of(numbers, weights)


def _lengths(values: pa.Array) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        return moments_of(pc.list_value_length(values).to_numpy().astype(np.int64))
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        return moments_of(pc.binary_length(values).to_numpy().astype(np.int64))
    return None


def _plain_type(dtype: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    while isinstance(dtype, pa.BaseExtensionType):
        dtype = dtype.storage_type
    if pa.types.is_list(dtype) or pa.types.is_large_list(dtype):
        return pa.list_(dtype.value_type)  # each engine names the items in its own way
    return dtype.value_type if pa.types.is_dictionary(dtype) else dtype


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


def _ordered(values: pa.Array) -> Numbers:
    """Return numbers as doubles or 64-bit integers, times in microseconds, ascending and without nulls.

    Zero has no sign; a time that does not fit is the largest or smallest number.
    """
    import pyarrow as pa
    from pyarrow import types

    dtype = values.type
    if types.is_boolean(dtype):
        values = values.cast(pa.int8())
    elif types.is_decimal(dtype):
        values = values.cast(pa.float64(), safe=False)
    elif types.is_float16(dtype):
        values = values.cast(pa.float32())
    elif not types.is_integer(dtype) and not types.is_floating(dtype):
        values = values.view(pa.int32() if dtype.bit_width == 32 else pa.int64())
    nulls, plain = values.null_count, values.type.to_pandas_dtype()
    if nulls:  # they are sorted to the end
        largest = math.nan if types.is_floating(values.type) else int(np.iinfo(plain).max)
        values = values.fill_null(pa.scalar(largest, values.type))
    numbers = values.to_numpy() + plain(0)
    numbers.sort()
    numbers = numbers[: len(numbers) - nulls]
    if types.is_floating(values.type):
        return numbers.astype(np.float64, copy=False)  # type: ignore[no-any-return]
    if plain != np.uint64:
        numbers = numbers.astype(np.int64, copy=False)
    return _microseconds(numbers, dtype) if _kind(dtype) == "time" else numbers


def _microseconds(times: NDArray[np.int64], dtype: pa.DataType) -> NDArray[np.int64]:
    from pyarrow import types

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
