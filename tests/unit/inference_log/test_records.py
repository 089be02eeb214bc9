"""The ids of records: unique, sortable by creation, and of the time at which they were created."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from secure_ml.inference_log.records import new_id


def test_ids_increase_within_a_process_even_in_a_burst() -> None:
    ids = [new_id() for _ in range(50_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert {uuid.UUID(text).version for text in ids[:100]} == {7}


def test_a_burst_of_ids_does_not_run_ahead_of_the_clock() -> None:
    before_ms = time.time_ns() // 1_000_000
    last = [new_id() for _ in range(50_000)][-1]
    after_ms = time.time_ns() // 1_000_000
    assert before_ms <= int(last.replace("-", "")[:12], 16) <= after_ms + 1


def test_threads_never_create_the_same_id() -> None:
    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(lambda _: [new_id() for _ in range(5_000)], range(4)))
    assert len({text for batch in batches for text in batch}) == 20_000
