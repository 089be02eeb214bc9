"""The record of one logged prediction, with the schema version and the class of each column."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import uuid_utils

__all__ = ["COLUMN_CLASSES", "RECORD_SCHEMA_VERSION", "TABLE", "Record", "new_id", "now"]

RECORD_SCHEMA_VERSION = 1

TABLE = (
    "CREATE TABLE records (seq integer primary key autoincrement, id text not null, time text not null, "
    "model text not null, release integer not null, model_digest text not null, request_id text, "
    "input text not null, label text not null, score real not null, confidence real not null)"
)
"""Statement that creates the only table in the log file of a service."""

COLUMN_CLASSES: dict[str, Literal["plain", "personal"]] = {
    "id": "plain",
    "time": "plain",
    "model": "plain",
    "release": "plain",
    "model_digest": "plain",
    "request_id": "personal",
    "input": "personal",
    "label": "plain",
    "score": "plain",
    "confidence": "plain",
}


@dataclass(frozen=True, slots=True)
class Record:
    """One prediction.

    Attributes:
        seq: Position in the log file of the service, counted from 1.
        id: UUIDv7 of the record.
        time: Time of the prediction, RFC 3339 in UTC with microseconds.
        model: Name of the model.
        release: Number of the release that made the prediction.
        model_digest: Digest of the model that made the prediction.
        request_id: Request id that the client chose, or None.
        input: Feature values in the model's order. A missing value is None.
        label: Name of the predicted class.
        score: P(positive).
        confidence: P(predicted class).
    """

    seq: int
    id: str
    time: str
    model: str
    release: int
    model_digest: str
    request_id: str | None
    input: tuple[float | None, ...]
    label: str
    score: float
    confidence: float

    def as_json(self, *, personal: bool) -> dict[str, Any]:
        """Return the record as values by column, with personal columns only if `personal` is true."""
        return {
            name: getattr(self, name)
            for name, column_class in COLUMN_CLASSES.items()
            if personal or column_class == "plain"
        }


def now() -> str:
    """Return the current time in the format of a record."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def new_id() -> str:
    """Return a UUIDv7 that is greater than every id that this process created before (RFC 9562, section 6.2)."""
    return str(uuid_utils.uuid7())
