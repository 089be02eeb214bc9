"""The inference log in a home that somebody else writes: nothing runs, nothing hangs, nothing is sealed twice."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from secure_ml.errors import MalformedError, RejectedError, SecureMLError, UnavailableError
from secure_ml.evidence import EvidenceLog, read_subjects
from secure_ml.inference_log.records import Record, new_id, now
from secure_ml.inference_log.segments import (
    logged_requests,
    newest_records,
    parse_segment,
    read_unsealed,
    render_segment,
)
from secure_ml.inference_log.writer import LogWriter
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model
from secure_ml.releases import current_release
from secure_ml.serving.batcher import Batcher
from secure_ml.serving.metrics import Metrics
from secure_ml.serving.protocol import InferenceRequest
from secure_ml.serving.served_model import load_released
from secure_ml.stages.inference_log import seal_log, sealed_segments, segment_folder
from tests.installed_home import PATIENT


@pytest.fixture
def place(ready: dict[str, str]) -> Installation:
    return Installation.from_environment(ready)


def records(place: Installation, count: int) -> list[Record]:
    released = current_release(place.home, place.trust, model.name)
    values = tuple(float(PATIENT[name]) for name in model.features)
    return [
        Record(0, new_id(), now(), model.name, 1, released.model_digest, None, values, "present", 0.6, 0.6)
        for _ in range(count)
    ]


def logged(place: Installation, count: int = 3) -> Path:
    """A service's file with `count` records that are not sealed yet."""
    path = place.home.log / model.name / f"{new_id()}.sqlite"
    writer = LogWriter(path)
    writer.append(records(place, count)).result(timeout=30)
    writer.close()
    return path


HOSTILE_SQL = {
    "trigger": "create trigger t after delete on records begin insert into records select * from records; end",
    "endless trigger": "create trigger t after delete on records begin select count(*) from "
    "(with recursive c(x) as (select 1 union all select x + 1 from c) select x from c); end",
    "view": "create view v as select * from records",
    "table": "create table more (x)",
    "index": "create index i on records (json(input))",
    "other records": "drop table records; create table records (seq, id, time, model, release, model_digest, "
    "request_id, input, label, score, confidence)",
    "view named records": "drop table records; create view records as select 1 as seq",
}


@pytest.mark.parametrize("case", HOSTILE_SQL)
def test_a_log_file_that_holds_more_than_records_is_refused(case: str, place: Installation) -> None:
    path = logged(place)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript(HOSTILE_SQL[case])
    with pytest.raises(MalformedError, match=path.name):
        seal_log(place, model)


@pytest.mark.parametrize("kind", ["link", "FIFO", "folder", "garbage"])
def test_a_log_file_that_is_none_is_refused_and_hangs_nobody(kind: str, place: Installation) -> None:
    path = place.home.log / model.name / "x.sqlite"
    match kind:
        case "link":
            path.symlink_to(logged(place).rename(place.home.root / "elsewhere.db"))
        case "FIFO":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "garbage":
            path.write_bytes(b"x" * 10_000)
    with pytest.raises(MalformedError, match=r"x\.sqlite"):
        seal_log(place, model)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("input", "[]"),
        ("input", "[1]"),
        ("input", "[" * 100_000),
        ("input", "[NaN,1,1,1,1,1,1,1,1,1]"),
        ("input", "7"),
        ("input", '["s3cret",1,1,1,1,1,1,1,1,1]'),
        ("score", "s3cret"),
        ("score", "nan"),
        ("confidence", "inf"),
    ],
)
def test_a_damaged_record_is_named_by_its_file_and_not_by_its_value(
    column: str, value: str, place: Installation
) -> None:
    path = logged(place)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(f"update records set {column} = ? where seq = 2", (value,))
    with pytest.raises(MalformedError, match=path.name) as caught:
        seal_log(place, model)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(("column", "value"), [("release", 7), ("release", 2**62), ("model", "other")])
def test_a_record_of_a_release_that_never_was_is_not_sealed(column: str, value: object, place: Installation) -> None:
    path = logged(place)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(f"update records set {column} = ? where seq = 2", (value,))
    with pytest.raises(RejectedError, match="1 of 3 records name a model that was never released"):
        seal_log(place, model)


@pytest.mark.parametrize("kind", ["link", "FIFO", "forged records", "garbage"])
def test_a_segment_that_no_evidence_names_is_not_looked_at(kind: str, place: Installation) -> None:
    before = newest_records(place.home, model.name, 1000, sealed_segments(place, model.name))
    assert before
    path = segment_folder(place, model) / "x.parquet"
    match kind:
        case "link":
            path.symlink_to(next(path.parent.glob("*.parquet")))
        case "FIFO":
            os.mkfifo(path)
        case "forged records":
            path.write_bytes(render_segment(records(place, 3), model.features))
        case "garbage":
            path.write_bytes(b"PAR1" * 100)
    assert newest_records(place.home, model.name, 1000, sealed_segments(place, model.name)) == before
    assert logged_requests(place.home, model.name, sealed_segments(place, model.name)) == set()


@pytest.mark.parametrize("content", [b"PAR1" * 100, b""])
def test_a_segment_that_was_replaced_is_named_by_who_looks_at_the_log(
    content: bytes, ready: dict[str, str], place: Installation
) -> None:
    (path,) = segment_folder(place, model).iterdir()
    path.unlink()
    path.write_bytes(content)
    shown = subprocess.run(
        [sys.executable, "-m", "secure_ml.cli", "log", model.name],
        env={**os.environ, **ready},
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 1
    assert path.name in shown.stderr


def test_a_segment_without_the_columns_of_a_record_is_malformed() -> None:
    buffer = io.BytesIO()
    pl.DataFrame({"id": ["x"]}).write_parquet(buffer)
    for content in (buffer.getvalue(), b"PAR1" * 100, b""):
        with pytest.raises(MalformedError, match="segment"):
            parse_segment(content)


def test_two_who_seal_at_once_seal_no_record_twice(place: Installation) -> None:
    before = len(EvidenceLog.open(place, model.name).history("inference_log"))
    path = place.home.log / model.name / f"{new_id()}.sqlite"
    writer = LogWriter(path)
    stop = threading.Event()
    failed: list[BaseException] = []

    def seal() -> None:
        while not stop.is_set():
            try:
                seal_log(place, model)
            except SecureMLError as error:
                failed.append(error)
                return

    sealers = [threading.Thread(target=seal) for _ in range(3)]
    for sealer in sealers:
        sealer.start()
    written = [record.id for _ in range(60) for record in append(writer, records(place, 5))]
    stop.set()
    for sealer in sealers:
        sealer.join()
    writer.close()
    seal_log(place, model)
    assert failed == []
    found = EvidenceLog.open(place, model.name).history("inference_log")
    assert len(found) > before
    sealed = [
        id_
        for evidence in found
        for content in read_subjects(evidence, segment_folder(place, model)).values()
        for id_ in parse_segment(content)["id"].to_list()
    ]
    assert len(sealed) == len(set(sealed)), "a record is in two segments"
    assert set(written) <= set(sealed)
    assert read_unsealed(path, 0, 10) == []


def append(writer: LogWriter, made: list[Record]) -> list[Record]:
    writer.append(made).result(timeout=30)
    return made


@pytest.mark.parametrize("kind", ["link", "FIFO"])
def test_what_lies_in_the_place_of_a_lock_hangs_nobody(kind: str, place: Installation) -> None:
    lock = place.home.log / model.name / "lock"
    lock.unlink()
    if kind == "link":
        lock.symlink_to("/dev/zero")
        with pytest.raises(UnavailableError, match="lock"):
            seal_log(place, model)
    else:
        os.mkfifo(lock)
        seal_log(place, model)


def test_a_record_that_cannot_be_written_leaves_the_log_working(place: Installation) -> None:
    writer = LogWriter(place.home.log / model.name / f"{new_id()}.sqlite")
    (good,) = records(place, 1)
    with pytest.raises(UnavailableError, match="not written"):
        writer.append([dataclasses.replace(good, release=2**70)]).result(timeout=10)
    writer.append([good]).result(timeout=10)
    writer.close()


def test_a_model_that_fails_is_answered_and_logs_nothing(place: Installation) -> None:
    """ONNX Runtime's errors are plain exceptions; a request may not wait for an answer that never comes."""
    served = load_released(place.home, place.trust, model.name)
    path = place.home.log / model.name / f"{new_id()}.sqlite"
    writer = LogWriter(path)
    narrow = dataclasses.replace(
        served, rules=dataclasses.replace(served.rules, names=(), nullable=np.ones(3, dtype=np.bool_), rules=())
    )

    async def ask() -> None:
        await asyncio.wait_for(
            Batcher(writer, Metrics()).answer(narrow, InferenceRequest(np.ones((1, 3)), None)), timeout=10
        )

    with pytest.raises(UnavailableError, match="scoring failed"):
        asyncio.run(ask())
    writer.close()
    assert read_unsealed(path, 0, 1) == []


def test_personal_columns_are_shown_only_to_who_asks_for_them(ready: dict[str, str], place: Installation) -> None:
    writer = LogWriter(place.home.log / model.name / f"{new_id()}.sqlite")
    (record,) = records(place, 1)
    personal = dataclasses.replace(record, request_id="s3cret-id", input=(77.125, *record.input[1:]))
    writer.append([personal]).result(timeout=30)
    writer.close()

    def shown(*more: str) -> str:
        command = [sys.executable, "-m", "secure_ml.cli", "log", model.name, "--last", "1", *more]
        done = subprocess.run(command, env={**os.environ, **ready}, capture_output=True, text=True, check=True)
        assert record.id in done.stdout
        return done.stdout

    for form in ((), ("--json",)):
        assert "s3cret-id" not in shown(*form)
        assert "77.125" not in shown(*form)
        assert "s3cret-id" in shown("--with-personal-columns", *form)
        assert "77.125" in shown("--with-personal-columns", *form)
