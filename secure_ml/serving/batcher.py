"""Batching: the requests of one event-loop tick are checked, scored and logged together.

A row that violates the contract fails only its own request.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
from collections import Counter
from dataclasses import dataclass

import numpy as np

from secure_ml.errors import MalformedError, UnavailableError
from secure_ml.inference_log.records import Record, new_id, now
from secure_ml.inference_log.writer import LogWriter
from secure_ml.serving.metrics import Metrics
from secure_ml.serving.protocol import InferenceRequest, InferenceResponse
from secure_ml.serving.served_model import ServedModel

__all__ = ["Batcher"]


@dataclass(slots=True)
class _Waiting:
    served: ServedModel
    request: InferenceRequest
    answer: asyncio.Future[InferenceResponse]


class Batcher:
    """Answers requests in three steps: check the contract, score, write the durable log."""

    def __init__(self, writer: LogWriter, metrics: Metrics) -> None:
        """Create a batcher that logs to `writer`."""
        self._writer = writer
        self._metrics = metrics
        self._waiting: list[_Waiting] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, served: ServedModel, request: InferenceRequest) -> InferenceResponse:
        """Answer one request with the model `served`.

        Raises:
            MalformedError: If a row violates the contract. The message names column and rule, and nothing was logged.
            UnavailableError: If the log could not be written.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._flush)
        future: asyncio.Future[InferenceResponse] = loop.create_future()
        self._waiting.append(_Waiting(served, request, future))
        return await future

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        groups: dict[int, list[_Waiting]] = {}
        for item in waiting:
            groups.setdefault(id(item.served), []).append(item)
        for group in groups.values():
            task = asyncio.get_running_loop().create_task(self._answer_group(group))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer_group(self, group: list[_Waiting]) -> None:
        try:
            good = self._reject_violations(group)
            if good:
                records, answers = self._score(good)
                await asyncio.wrap_future(self._writer.append(records))
                self._metrics.rows.inc(len(records))
                for item, response in zip(good, answers, strict=True):
                    if not item.answer.done():
                        item.answer.set_result(response)
        except Exception as error:  # noqa: BLE001 (without an answer the request would wait for ever)
            failure = (
                error
                if isinstance(error, UnavailableError)
                else UnavailableError("model: scoring failed; retry later, or roll back the release")
            )
            for item in group:
                if not item.answer.done():
                    item.answer.set_exception(failure)

    def _reject_violations(self, group: list[_Waiting]) -> list[_Waiting]:
        """Answer the requests that hold an invalid row with an error, and return the other requests."""
        served = group[0].served
        violations = served.rules.check(np.concatenate([item.request.x for item in group]))
        if not violations:
            return group
        starts = [0, *itertools.accumulate(len(item.request.x) for item in group)]
        bad: dict[int, list[str]] = {}
        for column, count in Counter(violation.column for violation in violations).items():
            self._metrics.refused.labels(column).inc(count)
        for violation in violations:
            index = bisect.bisect_right(starts, violation.row) - 1
            message = violation.sentence
            if len(group[index].request.x) > 1:
                message = f"row {violation.row - starts[index]}: {message}"
            bad.setdefault(index, []).append(message)
        for index, messages in bad.items():
            more = f"; and {len(messages) - 5} more" if len(messages) > 5 else ""
            group[index].answer.set_exception(MalformedError("; ".join(messages[:5]) + more))
        return [item for index, item in enumerate(group) if index not in bad]

    def _score(self, group: list[_Waiting]) -> tuple[list[Record], list[InferenceResponse]]:
        served = group[0].served
        x = np.concatenate([item.request.x for item in group])
        scores = served.score(x)
        if not np.isfinite(scores).all():
            raise ValueError("score: not finite")
        time, release = now(), served.release
        records: list[Record] = []
        answers: list[InferenceResponse] = []
        start = 0
        for item in group:
            end = start + len(item.request.x)
            ids = [new_id() for _ in range(start, end)]
            row_scores = [float(score) for score in scores[start:end]]
            labels = [served.classes[int(score > 0.5)] for score in row_scores]
            confidences = [max(score, 1.0 - score) for score in row_scores]
            for offset, values in enumerate(x[start:end].tolist()):
                records.append(
                    Record(
                        seq=0,
                        id=ids[offset],
                        time=time,
                        model=release.model,
                        release=release.number,
                        model_digest=release.model_digest,
                        request_id=item.request.request_id,
                        input=tuple(None if value != value else value for value in values),
                        label=labels[offset],
                        score=row_scores[offset],
                        confidence=confidences[offset],
                    )
                )
            answers.append(InferenceResponse(served, ids, labels, row_scores, confidences, item.request.request_id))
            start = end
        return records, answers
