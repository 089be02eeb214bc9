"""One scan over Arrow batches: each column takes its part of a batch, and batches are bounded in rows and bytes.

Each column takes in its part of a batch by itself, so memory is bounded by two batches: one that is worked on while
the next is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from secure_ml.profiles.column_scan import ColumnScan
from secure_ml.profiles.document import Profile
from secure_ml.profiles.merging import Size

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["scan_batches", "unit_rows"]

_ROWS = 1 << 17
_BYTES = 1 << 26
_UNIT = 1 << 11
_UNIT_CELLS = 1 << 23
_MAX_THREADS = 8


def scan_batches(schema: pa.Schema, batches: Iterable[pa.RecordBatch], size: Size) -> Profile:
    """Profile Arrow batches, with as much of sketched columns as `size` says."""
    scans = [ColumnScan(field.name, field.type) for field in schema]
    rows = 0
    working: list[Future[None]] = []
    with ThreadPoolExecutor(min(_MAX_THREADS, len(os.sched_getaffinity(0)))) as pool:
        for pieces in _gathered(batches, unit_rows(len(schema))):
            _finish(working)
            columns = zip(*(piece.columns for piece in pieces), strict=True)
            working = [pool.submit(scan.add, arrays) for scan, arrays in zip(scans, columns, strict=True)]
            rows += sum(piece.num_rows for piece in pieces)
        _finish(working)
    return Profile(rows, tuple(scan.profile(size) for scan in scans))


def _finish(working: list[Future[None]]) -> None:
    for future in working:
        future.result()


def unit_rows(columns: int) -> int:
    """Return how many rows are read at once: few where there are many columns."""
    return max(1, min(_UNIT, _UNIT_CELLS // max(1, columns)))


def _gathered(batches: Iterable[pa.RecordBatch], unit: int) -> Iterator[list[pa.RecordBatch]]:
    """Gather units of rows until there are `_ROWS` of them or `_BYTES`, wherever the given batches end."""
    waiting: list[pa.RecordBatch] = []
    rows = held = 0
    for piece in _units(batches, unit):
        waiting.append(piece)
        rows += piece.num_rows
        held += piece.nbytes
        if rows >= _ROWS or held >= _BYTES:
            yield waiting
            waiting, rows, held = [], 0, 0
    if waiting:
        yield waiting


def _units(batches: Iterable[pa.RecordBatch], unit: int) -> Iterator[pa.RecordBatch]:
    """Cut batches anew, `unit` rows each but the last; where such rows have more than `_BYTES`, fewer."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        if rows < unit:
            continue
        whole = pa.concat_batches(waiting) if len(waiting) > 1 else batch
        for start in range(0, rows - unit + 1, unit):
            piece = whole.slice(start, unit)
            step = max(1, unit * _BYTES // max(piece.nbytes, _BYTES))
            for place in range(0, unit, step):
                yield piece.slice(place, step)
        done = rows - rows % unit
        waiting, rows = ([whole.slice(done)], rows - done) if done < rows else ([], 0)
    if rows:
        yield pa.concat_batches(waiting)
