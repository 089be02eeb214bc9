"""The log writer: a thread commits waiting records in one transaction, before any of them is acknowledged.

Each service process has one SQLite file in WAL mode with `synchronous=FULL`, so a committed record survives a crash.
"""

from __future__ import annotations

import json
import os
import queue
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

from secure_ml.errors import UnavailableError
from secure_ml.inference_log.records import RECORD_SCHEMA_VERSION, TABLE, Record

__all__ = ["LogWriter"]

_MAX_WAITING = 10_000
_MAX_GROUP = 256
_Item = tuple[Sequence[Record], "Future[None]"]


class LogWriter:
    """Writes records durably. The future that `append` returns is resolved after COMMIT."""

    def __init__(self, path: Path) -> None:
        """Create the log file `path`.

        Raises:
            UnavailableError: If the file cannot be created.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._waiting: queue.Queue[_Item | None] = queue.Queue(_MAX_WAITING)
        try:
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
            self._database.execute("pragma journal_mode=wal")
            self._database.execute("pragma synchronous=full")
            self._database.execute(f"pragma user_version={RECORD_SCHEMA_VERSION}")
            self._database.execute(TABLE)
            self._inode = path.stat().st_ino
        except (sqlite3.Error, OSError) as error:
            raise UnavailableError(f"inference log {path.name}: cannot be created ({error})") from None
        self._thread = threading.Thread(target=self._run, name="inference-log", daemon=True)
        self._thread.start()

    def append(self, records: Sequence[Record]) -> Future[None]:
        """Queue records and return a future that is resolved once they are durable.

        If the records could not be written, the future fails with `UnavailableError`, and nothing may be acknowledged.
        """
        done: Future[None] = Future()
        try:
            self._waiting.put_nowait((records, done))
        except queue.Full:
            done.set_exception(UnavailableError("inference log: too many records wait to be written; retry later"))
        return done

    def close(self) -> None:
        """Write the queued records and close the file."""
        self._waiting.put(None)
        self._thread.join()
        self._database.close()

    def _run(self) -> None:
        while True:
            item = self._waiting.get()
            if item is None:
                return
            group = [item]
            last = False
            while len(group) < _MAX_GROUP and not self._waiting.empty():
                more = self._waiting.get()
                if more is None:
                    last = True
                    break
                group.append(more)
            try:
                self._commit(group)
            except Exception as error:  # noqa: BLE001 (if this thread ended, every request would wait for ever)
                failure = UnavailableError(f"inference log: not written ({type(error).__name__}); retry later")
                for _, done in group:
                    done.set_exception(failure)
            else:
                for _, done in group:
                    done.set_result(None)
            if last:
                return

    def _commit(self, group: list[_Item]) -> None:
        if os.stat(self._path).st_ino != self._inode:  # noqa: PTH116 (one call, the hot path)
            raise OSError("log file: replaced by another file")
        rows = [
            (
                *(record.id, record.time, record.model, record.release, record.model_digest, record.request_id),
                *(json.dumps(record.input), record.label, record.score, record.confidence),
            )
            for records, _ in group
            for record in records
        ]
        self._database.execute("begin immediate")
        try:
            self._database.executemany(
                "insert into records (id, time, model, release, model_digest, request_id, input, label, score, "
                "confidence) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            self._database.execute("commit")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("rollback")
            raise
