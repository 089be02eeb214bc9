"""All requests of one event-loop tick are checked, scored and logged together; a bad row fails only its own request."""

from __future__ import annotations

import asyncio
import bisect
import itertools
from collections import Counter
from dataclasses import dataclass

import numpy as np

from secure_ml.errors import MalformedError, UnavailableError
from secure_ml.inference_log.records import Ids, Record, now
from secure_ml.inference_log.writer import LogWriter
from secure_ml.serving.metrics import Metrics
from secure_ml.serving.protocol import Answered, Asked
from secure_ml.serving.served_model import ServedModel

__all__ = ["Batcher"]


@dataclass(slots=True)
class _Waiting:
    served: ServedModel
    asked: Asked
    answer: asyncio.Future[Answered]


class Batcher:
    """Answers requests: contract, scores, durable log, in this order."""

    def __init__(self, writer: LogWriter, metrics: Metrics) -> None:
        """Log to `writer`."""
        self._writer = writer
        self._metrics = metrics
        self._ids = Ids()
        self._waiting: list[_Waiting] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, served: ServedModel, asked: Asked) -> Answered:
        """Answer one request with `served`.

        Raises:
            MalformedError: A row breaks the contract; column and rule are named, and nothing was logged.
            UnavailableError: The log could not be written.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._flush)
        future: asyncio.Future[Answered] = loop.create_future()
        self._waiting.append(_Waiting(served, asked, future))
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
            good = self._refuse(group)
            if good:
                records, answers = self._score(good)
                await asyncio.wrap_future(self._writer.append(records))
                self._metrics.rows.inc(len(records))
                for item, answered in zip(good, answers, strict=True):
                    if not item.answer.done():
                        item.answer.set_result(answered)
        except Exception as error:  # noqa: BLE001 (a request that nobody answers would wait for ever)
            failure = error if isinstance(error, UnavailableError) else UnavailableError("the model failed to score")
            for item in group:
                if not item.answer.done():
                    item.answer.set_exception(failure)

    def _refuse(self, group: list[_Waiting]) -> list[_Waiting]:
        """Answer the requests with a bad row; return the others."""
        served = group[0].served
        violations = served.rules.check(np.concatenate([item.asked.x for item in group]))
        if not violations:
            return group
        starts = [0, *itertools.accumulate(len(item.asked.x) for item in group)]
        bad: dict[int, list[str]] = {}
        for column, count in Counter(violation.column for violation in violations).items():
            self._metrics.refused.labels(column).inc(count)
        for violation in violations:
            index = bisect.bisect_right(starts, violation.row) - 1
            said = violation.sentence
            if len(group[index].asked.x) > 1:
                said = f"row {violation.row - starts[index]}: {said}"
            bad.setdefault(index, []).append(said)
        for index, said_all in bad.items():
            more = f"; and {len(said_all) - 5} more" if len(said_all) > 5 else ""
            group[index].answer.set_exception(MalformedError("; ".join(said_all[:5]) + more))
        return [item for index, item in enumerate(group) if index not in bad]

    def _score(self, group: list[_Waiting]) -> tuple[list[Record], list[Answered]]:
        served = group[0].served
        x = np.concatenate([item.asked.x for item in group])
        scores = served.score(x)
        if not np.isfinite(scores).all():
            raise ValueError("a score is not finite")
        time, release = now(), served.release
        records: list[Record] = []
        answers: list[Answered] = []
        start = 0
        for item in group:
            end = start + len(item.asked.x)
            ids = [self._ids.make() for _ in range(start, end)]
            found = [float(score) for score in scores[start:end]]
            labels = [served.classes[int(score > 0.5)] for score in found]
            confidences = [max(score, 1.0 - score) for score in found]
            for offset, values in enumerate(x[start:end].tolist()):
                records.append(
                    Record(
                        seq=0,
                        id=ids[offset],
                        time=time,
                        model=release.model,
                        release=release.number,
                        model_digest=release.model_digest,
                        request_id=item.asked.request_id,
                        input=tuple(None if value != value else value for value in values),
                        label=labels[offset],
                        score=found[offset],
                        confidence=confidences[offset],
                    )
                )
            answers.append(Answered(served, ids, labels, found, confidences, item.asked.request_id))
            start = end
        return records, answers
