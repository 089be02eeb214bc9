"""Small summaries of many values, in NumPy: each is deterministic, merges with its like, and knows its own error.

Three are needed, and each states what it does not know:

* `Points`: numbers with weights that stand for many sorted ones. Their error is *measured* while they are thinned out,
  in rows, and holds for every number; it is no probability.
* `heaviest`: the most frequent values. Its error is the count of the most frequent value that was left out.
* `Registers` (HyperLogLog, 4096 registers): how many different values there are, within 1.6 % in one standard error.

Equal input gives equal bytes, on every machine: a profile is named by its digest. The randomised sketches of
`datasketches` cannot promise that (see docs/profiles.md, which also has the measured times).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "HIGHEST_RANK",
    "REGISTERS",
    "Numbers",
    "Points",
    "Registers",
    "compress",
    "estimate",
    "hash_numbers",
    "hash_text",
    "heaviest",
    "merge_points",
    "repeated_of",
    "runs_of",
    "thin",
]

Numbers: TypeAlias = NDArray[Any]
"""Of int64, uint64 or float64."""

_INDEX_BITS = 12
REGISTERS = 1 << _INDEX_BITS
_RANK_BITS = 64 - _INDEX_BITS
HIGHEST_RANK = _RANK_BITS + 1
_MOST_PADDED_BYTES = 256
_MIXING = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
_LAST_SHIFT = np.uint64(31)
_AT_ONCE = 1 << 14
"""How many values are hashed at once: so few that they stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Points:
    """Numbers that stand for many.

    Attributes:
        values: Shape (n,), strictly ascending, finite.
        weights: Shape (n,), how many numbers each stands for, positive.
        error: By how many numbers the weight at or below any x differs at most from the true count.
    """

    values: Numbers
    weights: NDArray[np.int64]
    error: int


def runs_of(ordered: Numbers) -> tuple[Numbers, NDArray[np.int64]]:
    """Return the different numbers of a sorted array, and how often each occurs."""
    begins = np.ones(len(ordered) + 1, dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=begins[1:-1])
    places = np.flatnonzero(begins)
    return ordered[places[:-1]], np.diff(places)


def repeated_of(ordered: Numbers) -> tuple[Numbers, NDArray[np.int64]]:
    """Return the numbers of a sorted array that occur more than once, and how often each does."""
    places = np.flatnonzero(ordered[1:] == ordered[:-1])
    starts = np.flatnonzero(np.diff(places, prepend=-2) != 1)
    return ordered[places[starts]], np.diff(starts, append=len(places)) + 1


def thin(ordered: Numbers, points: int) -> Points:
    """Let at most `points` numbers stand for a sorted array: the middle one of each of so many equal parts."""
    edges = np.arange(points + 1) * len(ordered) // points
    first, last = edges[:-1], edges[1:] - 1
    middle = (first + last) // 2
    values, parts = runs_of(ordered[middle])
    weights = np.add.reduceat(last - first + 1, np.cumsum(parts) - parts)
    return Points(values, weights, int(np.maximum(middle - first, last - middle).max()))


def merge_points(parts: Sequence[Points], points: int) -> Points:
    """Let at most about `points` numbers stand for all of several parts; the errors add."""
    values = np.concatenate([part.values for part in parts])
    order = np.argsort(values, kind="stable")
    values, times = runs_of(values[order])
    weights = np.add.reduceat(np.concatenate([part.weights for part in parts])[order], np.cumsum(times) - times)
    return compress(Points(values, weights, sum(part.error for part in parts)), points)


def compress(held: Points, points: int) -> Points:
    """Let at most about `points` numbers stand for all.

    Neighbours that together weigh about `sum(weights) / points` become one, at their weighted median, so a value that
    is heavy by itself keeps its own weight.
    """
    values, weights = held.values, held.weights
    if len(values) <= points:
        return held
    above = np.cumsum(weights)
    below = above - weights
    total = int(above[-1])
    group = ((below + weights / 2) * (points / total)).astype(np.int64)
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    ends = np.append(starts[1:], len(values))
    first, last = below[starts], above[ends - 1]
    chosen = np.clip(np.searchsorted(above, (first + last) // 2, side="left"), starts, ends - 1)
    error = held.error + int(np.maximum(below[chosen] - first, last - above[chosen]).max())
    return Points(values[chosen], last - first, min(error, total))


def heaviest(counts: NDArray[np.int64], kept: int) -> tuple[NDArray[np.intp], int]:
    """Return where the `kept` largest counts stand, and the largest count that is left out.

    Ties are broken by place, so values must come in an order of their own.
    """
    if len(counts) <= kept:
        return np.arange(len(counts)), 0
    repeated = counts[counts > 1]  # most values of many occur once
    bar = int(np.sort(repeated)[-kept - 1]) if len(repeated) > kept else min(1, int(counts.max()))
    return np.flatnonzero(counts > bar), bar


def hash_numbers(values: Numbers) -> NDArray[np.uint64]:
    """Hash numbers to 64 bits, the same on every machine; signed zeros must be equal already."""
    words: NDArray[np.uint64] = values.view(np.uint64)
    return _mixed(words)


def hash_text(texts: pa.Array) -> NDArray[np.uint64]:
    """Hash texts to 64 bits by their bytes, the same on every machine.

    Args:
        texts: Shape (n,), large strings without nulls.
    """
    parts = [_hash_some(texts[start : start + _AT_ONCE]) for start in range(0, len(texts), _AT_ONCE)]
    return np.concatenate([np.zeros(0, dtype=np.uint64), *parts])


def _hash_some(texts: pa.Array) -> NDArray[np.uint64]:
    """Pad texts of about one length to equal width, so that their bytes are words; else hash short and long apart."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.binary_length(texts).to_numpy()
    shortest, longest = int(lengths.min()), int(lengths.max())
    if shortest > _MOST_PADDED_BYTES:
        digests = [hashlib.blake2b(text.as_buffer(), digest_size=8).digest() for text in texts]
        return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)
    width = _whole_words(min(2 * shortest, _MOST_PADDED_BYTES))
    if longest > width:
        hashes, fits = np.empty(len(texts), dtype=np.uint64), lengths <= width
        for part in (fits, ~fits):
            hashes[part] = _hash_some(texts.filter(pa.array(part)))
        return hashes
    width = _whole_words(longest)
    _, _, content = pc.ascii_rpad(texts, width, padding="\0").buffers()
    words = np.frombuffer(content or b"", dtype="<u8", count=len(texts) * width // 8).reshape(len(texts), width // 8)
    hashes = _mixed(lengths.astype(np.uint64))
    for number, word in enumerate(np.ascontiguousarray(words.T)):
        mixed = _mixed(hashes ^ word)
        hashes = mixed if shortest > 8 * number else np.where(lengths > 8 * number, mixed, hashes)
    return hashes


def _whole_words(size_bytes: int) -> int:
    return -(-size_bytes // 8) * 8


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix each word so that every bit depends on every bit. Source: Steele et al. 2014, the finaliser of SplitMix64."""
    mixed = words + np.uint64(0x9E3779B97F4A7C15)
    shifted = np.empty_like(mixed)
    for bits, factor in _MIXING:
        mixed ^= np.right_shift(mixed, bits, out=shifted)
        mixed *= factor
    mixed ^= np.right_shift(mixed, _LAST_SHIFT, out=shifted)
    return mixed


class Registers:
    """HyperLogLog: of the hashes that begin alike, the one that ends in the smallest number.

    Source: Flajolet et al. 2007, figure 3; the rank of a register follows from the smallest end.
    """

    def __init__(self) -> None:
        """Begin without any hash."""
        self._smallest = np.full(REGISTERS, 1 << _RANK_BITS, dtype=np.uint64)

    def add(self, hashes: NDArray[np.uint64]) -> None:
        """Take in hashed values, in any order; one that is known already changes nothing."""
        ends = hashes & np.uint64((1 << _RANK_BITS) - 1)
        near = np.flatnonzero(ends < self._smallest.max())  # soon these are few
        index = (hashes[near] >> np.uint64(_RANK_BITS)).view(np.int64)
        np.minimum.at(self._smallest, index, ends[near])

    def add_numbers(self, values: Numbers) -> None:
        """Hash numbers and take them in."""
        for start in range(0, len(values), _AT_ONCE):
            self.add(hash_numbers(values[start : start + _AT_ONCE]))

    def render(self) -> bytes:
        """Return the registers, one byte each; two merge by the larger of each byte."""
        rank = HIGHEST_RANK - np.frexp(self._smallest.astype(np.float64))[1]
        return rank.astype(np.uint8).tobytes()


def estimate(registers: bytes) -> int:
    """Estimate how many different values were hashed into the registers.

    Source: Ertl 2017, arXiv:1702.01284, algorithm 6; it needs neither bias tables nor a switch of methods.
    """
    held = np.bincount(np.frombuffer(registers, dtype=np.uint8), minlength=HIGHEST_RANK + 1).tolist()
    z = REGISTERS * _tau(1 - held[HIGHEST_RANK] / REGISTERS)
    for rank in range(_RANK_BITS, 0, -1):
        z = 0.5 * (z + held[rank])
    z += REGISTERS * _sigma(held[0] / REGISTERS)
    return round(REGISTERS * REGISTERS / (2 * math.log(2) * z))


def _sigma(x: float) -> float:
    if x == 1.0:
        return math.inf
    y, z, before = 1.0, x, -1.0
    while z != before:
        x, before = x * x, z
        z += x * y
        y += y
    return z


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z, before = 1.0, 1 - x, -1.0
    while z != before:
        x, before = math.sqrt(x), z
        y *= 0.5
        z -= (1 - x) ** 2 * y
    return z / 3
