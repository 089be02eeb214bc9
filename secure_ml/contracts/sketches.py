"""Small summaries of many values, in NumPy: each is deterministic, merges with its like, and knows its own error.

Three are needed, and each states what it does not know:

* `compress`: points with weights that stand for sorted values. Its error is *measured* while it compresses, in rows,
  and holds for every value; it is no probability.
* `heaviest`: the most frequent values. Its error is the count of the most frequent value that was left out.
* `Registers` (HyperLogLog, 4096 registers): how many different values there are, within 1.6 % in one standard error.

Equal input gives equal bytes, on every machine: a profile is named by its digest. The randomised sketches of
`datasketches` cannot promise that (see docs/profiles.md, which also has the measured times).
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "HIGHEST_RANK",
    "REGISTERS",
    "Numbers",
    "compress",
    "estimate",
    "hash_numbers",
    "hash_text",
    "heaviest",
    "registers_of",
]

Numbers: TypeAlias = NDArray[Any]
"""Of int64, uint64 or float64."""

_INDEX_BITS = 12
REGISTERS = 1 << _INDEX_BITS
_RANK_BITS = 64 - _INDEX_BITS
HIGHEST_RANK = _RANK_BITS + 1
_HASHED_WORDS = 32
_ONE, _TWO = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def compress(values: Numbers, weights: NDArray[np.int64], points: int) -> tuple[Numbers, NDArray[np.int64], int]:
    """Let at most about `points` weighted values stand for all.

    Neighbours that together weigh about `sum(weights) / points` become one, at their weighted median, so a value that
    is heavy by itself keeps its own weight.

    Args:
        values: Shape (n,), strictly ascending, finite.
        weights: Shape (n,), how often each occurs, positive.
        points: How many groups to make.

    Returns:
        The values that remain, their weights, and by how many rows the weight at or below any number differs at most
        from what it was before.
    """
    if len(values) <= points:
        return values, weights, 0
    above = np.cumsum(weights)
    below = above - weights
    total = int(above[-1])
    group = ((below + weights / 2) * (points / total)).astype(np.int64)
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    ends = np.append(starts[1:], len(values))
    first, last = below[starts], above[ends - 1]
    chosen = np.clip(np.searchsorted(above, (first + last) // 2, side="left"), starts, ends - 1)
    error = np.maximum(below[chosen] - first, last - above[chosen]).max()
    return values[chosen], last - first, int(error)


def heaviest(counts: NDArray[np.int64], kept: int) -> tuple[NDArray[np.intp], int]:
    """Return where the `kept` largest counts stand, and the largest count that is left out.

    Ties are broken by place, so values must come in an order of their own.
    """
    if len(counts) <= kept:
        return np.arange(len(counts)), 0
    bar = int(np.partition(counts, len(counts) - kept - 1)[len(counts) - kept - 1])
    return np.flatnonzero(counts > bar), bar


def hash_numbers(values: Numbers) -> NDArray[np.uint64]:
    """Hash numbers to 64 bits, the same on every machine; signed zeros must be equal already."""
    words: NDArray[np.uint64] = values.view(np.uint64)
    return _mixed(words)


def hash_text(offsets: NDArray[np.int64], content: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hash byte strings to 64 bits, the same on every machine.

    Args:
        offsets: Shape (n + 1,), where each string begins and ends in `content`.
        content: All bytes, one string after the other.
    """
    starts, lengths = offsets[:-1], np.diff(offsets)
    padded = np.concatenate([content, np.zeros(8, dtype=np.uint8)])
    words = np.ndarray(shape=(len(content) + 1,), dtype="<u8", buffer=padded, strides=(1,))
    hashes = _mixed(lengths.astype(np.uint64))
    active = np.flatnonzero((lengths > 0) & (lengths <= 8 * _HASHED_WORDS))
    done = 0
    while len(active):
        left = (lengths[active] - done).clip(max=8).astype(np.uint64)
        word = words[starts[active] + done] & (np.uint64(0xFFFFFFFFFFFFFFFF) >> (np.uint64(64) - np.uint64(8) * left))
        hashes[active] = _mixed(hashes[active] ^ word)
        done += 8
        active = active[lengths[active] > done]
    for index in np.flatnonzero(lengths > 8 * _HASHED_WORDS):
        whole = content[offsets[index] : offsets[index + 1]].tobytes()
        hashes[index] = int.from_bytes(hashlib.blake2b(whole, digest_size=8).digest(), "little")
    return hashes


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix each word so that every bit depends on every bit. Source: Steele et al. 2014, the finaliser of SplitMix64."""
    mixed = words + np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(30)
    mixed *= _ONE
    mixed ^= mixed >> np.uint64(27)
    mixed *= _TWO
    mixed ^= mixed >> np.uint64(31)
    return mixed


def registers_of(hashes: NDArray[np.uint64]) -> bytes:
    """Return the HyperLogLog registers of hashed values, one byte each; two merge by the larger of each byte.

    Source: Flajolet et al. 2007, figure 3.
    """
    index = (hashes >> np.uint64(_RANK_BITS)).astype(np.int64)
    tail = (hashes & np.uint64((1 << _RANK_BITS) - 1)).astype(np.float64)
    rank = HIGHEST_RANK - np.frexp(tail)[1].astype(np.int64)
    seen = np.zeros((REGISTERS, 64), dtype=np.bool_)
    seen[index, rank] = True
    highest = 63 - seen[:, ::-1].argmax(axis=1)
    return np.where(seen.any(axis=1), highest, 0).astype(np.uint8).tobytes()


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
