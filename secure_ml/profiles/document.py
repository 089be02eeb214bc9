"""What is known of a table without its rows: a small document, named by its digest.

A column is kept as counts, moments and one of two states. *Exact*: it has at most `EXACT_VALUES` different values, none
longer than `LONGEST_VALUE` characters, and all are kept with their counts; every figure is exact. *Sketched*: it has
more, and holds its most frequent values, a quantile sketch and HyperLogLog registers, each with its error
(`secure_ml.profiles.sketches`). All figures are derived from that state, so that a document cannot contradict itself.

Figures of numbers are over finite values; NaN and infinities are counted beside them. Times are whole microseconds
since 1970-01-01 in UTC, dates at midnight, times of day since midnight, booleans 0 and 1, decimals the nearest double.
A *personal* column holds counts only: no value, no sketch from which a value could be guessed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, TypeAlias

import msgspec
import numpy as np

from secure_ml.digests import Digest, canonical_json, parse_json, sha256
from secure_ml.errors import MalformedError
from secure_ml.profiles.sketches import HIGHEST_RANK, REGISTERS, estimate

__all__ = [
    "EXACT_VALUES",
    "LONGEST_VALUE",
    "ColumnProfile",
    "Kind",
    "Moments",
    "Profile",
    "QuantileSketch",
    "Tally",
    "Value",
    "parse",
    "render",
]

Kind: TypeAlias = Literal["integer", "number", "boolean", "time", "text", "other"]
Value: TypeAlias = "int | float | str"

EXACT_VALUES = 1024
LONGEST_VALUE = 128
_FORMAT = "secure-ml profile 1"
_QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
_BINS = 20
_LARGEST_COUNT = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean, spread and range of numbers.

    Attributes:
        count: How many, at least 1.
        mean: None where the sum leaves the range of a double.
        squares: The sum of squared deviations from the mean; None where it leaves the range of a double.
        minimum: The smallest, exact.
        maximum: The largest, exact.
    """

    count: int
    mean: float | None
    squares: float | None
    minimum: int | float
    maximum: int | float

    @property
    def std(self) -> float | None:
        """The standard deviation of a sample; None for one value, or where it is no double."""
        return None if self.squares is None or self.count < 2 else math.sqrt(self.squares / (self.count - 1))


@dataclass(frozen=True, slots=True)
class Tally:
    """Values with how often they occur, most frequent first.

    Attributes:
        values: All values of an exact column, the most frequent ones of a sketched one.
        counts: How often each occurs.
        error: By how much a count may be too low, and how often a value that is not listed may occur; 0 if exact.
    """

    values: tuple[Value, ...]
    counts: tuple[int, ...]
    error: int


@dataclass(frozen=True, slots=True)
class QuantileSketch:
    """Points that stand for many numbers.

    Attributes:
        points: Ascending.
        weights: How many numbers each stands for.
        error: By how many numbers the weight at or below any x differs at most from the true count; measured.
    """

    points: tuple[int | float, ...]
    weights: tuple[int, ...]
    error: int


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """One column.

    Attributes:
        name: The column's name.
        kind: What its values are.
        dtype: Their type in the table, as Arrow writes it.
        personal: Only counts are kept.
        count: Values that are not null; NaN and infinities are values.
        missing: Nulls.
        zeros: Numbers equal to zero, or empty texts.
        nan: Values that are NaN.
        negative_infinite: Values that are minus infinity.
        positive_infinite: Values that are plus infinity.
        moments: Of the finite numbers; None without any, for text, and for a personal column.
        lengths: Characters of each text, items of each list, bytes of each binary value.
        tokens: Tokens of each text: runs without ASCII white space.
        first: The smallest text in order of code points, cut at `LONGEST_VALUE` characters.
        last: The largest text, likewise.
        tally: Values and counts.
        sketch: Quantiles of a sketched column of numbers.
        registers: HyperLogLog registers of a sketched column; None where the tally is complete.
        counted: The number of different values of a personal column; None elsewhere, and after a merge.
    """

    name: str
    kind: Kind
    dtype: str
    personal: bool
    count: int
    missing: int
    zeros: int
    nan: int
    negative_infinite: int
    positive_infinite: int
    moments: Moments | None
    lengths: Moments | None
    tokens: Moments | None
    first: str | None
    last: str | None
    tally: Tally
    sketch: QuantileSketch | None
    registers: bytes | None
    counted: int | None

    @property
    def missing_fraction(self) -> float:
        """The share of nulls; 0 in an empty table."""
        return self.missing / rows if (rows := self.count + self.missing) else 0.0

    @property
    def zero_fraction(self) -> float:
        """The share of zeros, or empty texts, among the values."""
        return self.zeros / self.count if self.count else 0.0

    @property
    def finite(self) -> int:
        """How many values are neither NaN nor infinite."""
        return self.count - self.nan - self.negative_infinite - self.positive_infinite

    @property
    def exact(self) -> bool:
        """Whether all values are kept, so that every figure is exact."""
        return self.registers is None and not self.personal and self.kind != "other"

    @property
    def distinct(self) -> int | None:
        """How many different values there are; None where it is not known (a merged personal column, lists)."""
        if self.personal or self.kind == "other":
            return self.counted
        special = sum(number > 0 for number in (self.nan, self.negative_infinite, self.positive_infinite))
        found = len(self.tally.values) if self.registers is None else min(estimate(self.registers), self.finite)
        return found + special

    @property
    def distinct_exact(self) -> bool:
        """Whether `distinct` is exact; else it is an estimate with a standard error of 1.6 %."""
        return self.exact or (self.personal and self.counted is not None and self.counted <= EXACT_VALUES)

    @property
    def minimum(self) -> Value | None:
        """The smallest finite number or text."""
        return self.first if self.kind == "text" else self.moments.minimum if self.moments else None

    @property
    def maximum(self) -> Value | None:
        """The largest finite number or text."""
        return self.last if self.kind == "text" else self.moments.maximum if self.moments else None

    @property
    def mean(self) -> float | None:
        """The mean of the finite numbers."""
        return self.moments.mean if self.moments else None

    @property
    def std(self) -> float | None:
        """The standard deviation of the finite numbers, as of a sample."""
        return self.moments.std if self.moments else None

    @property
    def distribution(self) -> QuantileSketch | None:
        """The finite numbers as points and weights; the error is 0 where all are kept. None for text and others."""
        if self.sketch is not None or self.moments is None:
            return self.sketch
        pairs = sorted(zip(self.tally.values, self.tally.counts, strict=True))
        points = tuple(value for value, _ in pairs if not isinstance(value, str))
        return QuantileSketch(points, tuple(count for _, count in pairs), 0)

    @property
    def quantiles(self) -> tuple[tuple[float, int | float], ...]:
        """Pairs of q and a number x, such that the share of numbers up to x is q within `quantile_error`."""
        held = self.distribution
        if held is None:
            return ()
        above = np.cumsum(held.weights)
        places = np.searchsorted(above, [q * above[-1] for q in _QUANTILES], side="left")
        return tuple((q, held.points[place]) for q, place in zip(_QUANTILES, places, strict=True))

    @property
    def quantile_error(self) -> float:
        """By which share a rank in `quantiles` or `histogram` is off at most; 0 where all values are kept."""
        return 0.0 if self.sketch is None else self.sketch.error / sum(self.sketch.weights)

    @property
    def histogram(self) -> tuple[tuple[float, float, int], ...]:
        """Lower edge, upper edge and count of bins of equal width over the range; the last holds its upper edge."""
        held = self.distribution
        if held is None or self.moments is None:
            return ()
        low, high = float(self.moments.minimum), float(self.moments.maximum)
        if low == high or not math.isfinite(high - low):
            return ((low, high, sum(held.weights)),)
        edges = np.linspace(low, high, _BINS + 1)
        counts, _ = np.histogram(np.array(held.points, dtype=np.float64), edges, weights=held.weights)
        return tuple((float(edges[i]), float(edges[i + 1]), int(count)) for i, count in enumerate(counts))

    @property
    def top(self) -> tuple[tuple[Value, int], ...]:
        """The most frequent values and how often they occur, within `tally.error`."""
        return tuple(zip(self.tally.values[:20], self.tally.counts[:20], strict=True))

    @property
    def approximate(self) -> tuple[str, ...]:
        """Which figures are approximate; all others are exact, mean and std to rounding."""
        found = [] if self.distinct_exact or self.distinct is None else ["distinct"]
        if self.registers is not None:
            found.append("top")
        if self.sketch is not None:
            found += ["quantiles", "histogram"]
        return tuple(found)


@dataclass(frozen=True)
class Profile:
    """A table's columns in their order, and how many rows it has."""

    rows: int
    columns: tuple[ColumnProfile, ...]

    @cached_property
    def digest(self) -> Digest:
        """The digest of the document."""
        return sha256(render(self))

    def column(self, name: str) -> ColumnProfile | None:
        """Return the column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)


def render(profile: Profile) -> bytes:
    """Return the document, in canonical JSON."""
    columns = []
    for column in profile.columns:
        document = msgspec.to_builtins(column)
        document["approximate"] = column.approximate
        columns.append(document)
    return canonical_json({"format": _FORMAT, "rows": profile.rows, "columns": columns})


def parse(content: bytes) -> Profile:
    """Parse a profile, and accept only what `render` writes.

    Raises:
        MalformedError: Not a profile, not in canonical form, or its parts contradict each other.
    """
    document = parse_json(content, "profile")
    if document.pop("format", None) != _FORMAT:
        raise MalformedError(f"profile: expected a document of format {_FORMAT!r}")
    try:
        profile = msgspec.convert(document, Profile)
        for column in profile.columns:
            _require_consistent(column, profile.rows)
        same = render(profile) == content
    except (msgspec.ValidationError, ValueError, OverflowError):
        raise MalformedError("profile: a part is not of the form that a profile has") from None
    if not same or len({column.name for column in profile.columns}) != len(profile.columns):
        raise MalformedError("profile: not in canonical form, or a column occurs twice")
    return profile


def _require_consistent(column: ColumnProfile, rows: int) -> None:
    """Raise ValueError where parts of a column contradict each other, so that no figure can be derived wrongly."""
    tally, sketch, registers, moments = column.tally, column.sketch, column.registers, column.moments
    counts = [column.count, column.missing, column.zeros, column.nan]
    counts += [column.negative_infinite, column.positive_infinite, column.finite, column.counted or 0, tally.error]
    number = {"number": float, "text": str}.get(column.kind, int)
    bare = column.personal or column.kind == "other"
    numeric = column.kind not in ("text", "other") and not bare and column.finite > 0
    pairs = list(zip(tally.counts, tally.values, strict=True))
    held = list(tally.values)
    if moments is not None:
        held += [moments.minimum, moments.maximum]
    if sketch is not None:
        held += sketch.points
    if any(type(value) is not number for value in held):
        raise ValueError("a value is of another type than its column")
    weights = sketch.weights if sketch is not None else ()
    shares = [*tally.counts, *weights]
    ends = (min(tally.values, default=None), max(tally.values, default=None))
    holds = (
        rows == column.count + column.missing <= _LARGEST_COUNT,
        all(0 <= count <= rows for count in counts),
        number is not int or all(-(1 << 63) <= value < 1 << 64 for value in held),  # type: ignore[operator]
        number is not str or all(len(str(value)) <= LONGEST_VALUE for value in held),
        all(share > 0 for share in shares),
        pairs == sorted(pairs, key=lambda pair: (-pair[0], pair[1])) and len(set(tally.values)) == len(pairs),
        len(pairs) <= EXACT_VALUES,
        not bare or not (pairs or tally.error or registers or moments or sketch or column.first or column.last),
        bare or column.counted is None,
        bare or registers is not None or (tally.error == 0 and sum(tally.counts) == column.finite),
        registers is None or (len(registers) == REGISTERS and max(registers) <= HIGHEST_RANK),
        registers is not None or moments is None or ends == (moments.minimum, moments.maximum),
        sum(tally.counts) <= column.finite,
        (moments is not None) == numeric,
        moments is None or (moments.count == column.finite and moments.minimum <= moments.maximum),
        (sketch is not None) == (numeric and registers is not None),
        sketch is None or (sum(weights) == column.finite and len(weights) == len(sketch.points)),
        sketch is None or (0 <= sketch.error <= column.finite and all(a < b for a, b in pairwise(sketch.points))),
        (column.first is None) == (column.last is None) == (bare or column.kind != "text" or not column.count),
        all(len(text or "") <= LONGEST_VALUE for text in (column.first, column.last)),
        all(
            type(limit) is int and 0 <= limit <= _LARGEST_COUNT
            for part in (column.lengths, column.tokens)
            if part is not None
            for limit in (part.minimum, part.maximum)
        ),
        all(
            1 <= part.count <= column.count
            and part.minimum <= part.maximum
            and (part.squares is None or part.squares >= 0)
            for part in (moments, column.lengths, column.tokens)
            if part is not None
        ),
    )
    if not all(holds):
        raise ValueError("parts of a column contradict each other")
