"""The service as a real process: its protocol, hostile requests, a new release under load, and SIGKILL."""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from secure_ml.digests import Digest
from secure_ml.home import Home
from secure_ml.inference_log.segments import newest_records, read_unsealed, unsealed_files
from secure_ml.installation import Installation
from secure_ml.models.heart_disease import model
from secure_ml.releases import current_release, publish_release
from secure_ml.stages.inference_log import seal_log, sealed_segments
from secure_ml.stages.release import decide_release
from tests.installed_home import PATIENT, Service, SharedHome, copy_home, run_to_release, serving, start_service
from tests.wait import until

ROW = [float(PATIENT[name]) for name in model.features]


def tensor(rows: list[list[float | None]]) -> dict[str, object]:
    data = [value for row in rows for value in row]
    return {"inputs": [{"name": "features", "shape": [len(rows), len(ROW)], "datatype": "FP64", "data": data}]}


def test_the_protocol_answers_what_it_promises(ready: dict[str, str]) -> None:
    with serving(ready) as service:
        assert service.get("/v2/health/live") == (200, {"live": True})
        assert service.get("/v2/health/ready") == (200, {"live": True, "ready": True})
        assert service.get("/v2/models/heart_disease/ready")[0] == 200
        status, metadata = service.get("/v2/models/heart_disease")
        assert status == 200
        assert metadata["inputs"][0]["shape"] == [-1, 10]
        assert service.get("/v2/models/other")[0] == 404
        assert service.post("/v2/models/other/infer", tensor([ROW]))[0] == 404

        status, answer = service.post("/v2/models/heart_disease/infer", {**tensor([ROW, ROW]), "id": "mine"})
        assert status == 200
        assert answer["id"] == "mine"
        score, label = answer["outputs"]
        assert score["shape"] == label["shape"] == [2]
        named = {
            "inputs": [
                {"name": name, "shape": [2, 1], "datatype": "FP32", "data": [[value], [value]]}
                for name, value in zip(model.features, ROW, strict=True)
            ]
        }
        assert service.post("/v2/models/heart_disease/infer", named)[1]["outputs"] == answer["outputs"]
        predicted = service.post("/predict", [PATIENT, PATIENT])[1]["predictions"]
        assert [item["score"] for item in predicted] == score["data"]
        assert "secure_ml_predictions_total 6.0" in service.text("/metrics")


def test_a_null_is_scored_where_the_contract_allows_it(ready: dict[str, str]) -> None:
    with serving(ready) as service:
        assert service.post("/predict", {**PATIENT, "chol": None})[0] == 200


def test_a_bad_row_is_refused_by_column_and_rule_and_nothing_of_its_request_is_logged(ready: dict[str, str]) -> None:
    with serving(ready) as service:
        before = len(newest_records(Home(Path(ready["SECURE_ML_HOME"])), model.name, 1000, []))
        status, answer = service.post("/predict", [PATIENT, {**PATIENT, "chol": 0, "cp": 77}])
        assert status == 400
        assert answer["error"] == "row 1: cp: outside the 4 allowed values; row 1: chol: below 50" or answer[
            "error"
        ] == ("row 1: chol: below 50; row 1: cp: outside the 4 allowed values")
        assert len(newest_records(Home(Path(ready["SECURE_ML_HOME"])), model.name, 1000, [])) == before
        assert service.post("/predict", PATIENT)[0] == 200


def test_a_bad_row_fails_none_of_the_requests_beside_it(ready: dict[str, str]) -> None:
    with serving(ready) as service:
        answers: list[tuple[bool, int]] = []

        def ask(good: bool) -> None:
            for _ in range(20):
                answers.append((good, service.post("/predict", PATIENT if good else {**PATIENT, "chol": 0})[0]))

        threads = [threading.Thread(target=ask, args=(index % 2 == 0,)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 160
        assert set(answers) == {(True, 200), (False, 400)}


HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"s3cret{",
    "NUL": b"\x00" * 100,
    "invalid UTF-8": b'{"inputs": "\xff\xfe"}',
    "a number": b"7",
    "null": b"null",
    "empty list": b"[]",
    "NaN": b'{"age": NaN}',
    "deep": b"[" * 100_000,
    "string cell": b'{"age": "s3cret"}',
    "huge number": b'{"age": 1e999}',
    "huge integer": b'{"age": ' + b"9" * 400 + b"}",
    "boolean": b'{"age": true}',
    "no inputs": b'{"inputs": []}',
    "negative shape": b'{"inputs": [{"name": "features", "shape": [-1, 10], "datatype": "FP32", "data": []}]}',
    "zero shape": b'{"inputs": [{"name": "features", "shape": [0, 10], "datatype": "FP32", "data": []}]}',
    "huge shape": b'{"inputs": [{"name": "features", "shape": [99999999999, 10], "datatype": "FP32", "data": [1]}]}',
    "wrong count": b'{"inputs": [{"name": "features", "shape": [2, 10], "datatype": "FP32", "data": [1]}]}',
    "wrong type": b'{"inputs": [{"name": "features", "shape": [1, 10], "datatype": "BYTES", "data": ["s3cret"]}]}',
    "twice": b'{"inputs": [{"name": "age", "shape": [1], "datatype": "FP32", "data": [1]}, '
    b'{"name": "age", "shape": [1], "datatype": "FP32", "data": [1]}]}',
    "unknown name": b'{"inputs": [{"name": "s3cret", "shape": [1], "datatype": "FP32", "data": [1]}]}',
}


@pytest.fixture(scope="module")
def service(shared_home: SharedHome, tmp_path_factory: pytest.TempPathFactory) -> object:
    with serving(copy_home(shared_home.environment, tmp_path_factory.mktemp("hostile"))) as running:
        yield running


@pytest.mark.parametrize("path", ["/predict", "/v2/models/heart_disease/infer"])
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_request_gets_400_and_one_sentence(case: str, path: str, service: Service) -> None:
    status, answer = service.post(path, HOSTILE[case])
    assert status == 400
    assert set(answer) == {"error"}
    assert "s3cret" not in answer["error"]
    assert len(answer["error"]) < 400
    assert service.post("/predict", PATIENT)[0] == 200


def test_a_body_over_the_limit_is_not_read(service: Service) -> None:
    assert service.post("/predict", b"x" * (9 << 20))[0] == 413
    assert service.post("/predict", PATIENT)[0] == 200


def test_mutated_requests_never_get_a_server_error(service: Service) -> None:
    import json

    draw = random.Random(0)
    good = json.dumps(tensor([ROW])).encode()
    for _ in range(300):
        content = bytearray(good)
        for _ in range(draw.randint(1, 4)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        status, _ = service.post("/v2/models/heart_disease/infer", bytes(content))
        assert status in (200, 400)


def test_half_a_request_blocks_nobody(service: Service) -> None:
    parts = urlsplit(service.address)
    with socket.create_connection((parts.hostname, parts.port)) as half:
        half.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert service.post("/predict", PATIENT)[0] == 200


def test_a_new_release_is_swapped_in_without_a_failed_request(ready: dict[str, str]) -> None:
    place = Installation.from_environment(ready)
    now = current_release(place.home, place.trust, model.name)
    with serving(ready) as service:
        stop = threading.Event()
        answers: list[tuple[int, object]] = []

        def ask() -> None:
            while not stop.is_set():
                status, answer = service.post("/predict", PATIENT)
                answers.append((status, answer.get("release")))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        until(lambda: len(answers) > 20)
        publish_release(
            place.home,
            place.signer(),
            place.trust,
            model=model.name,
            number=2,
            model_digest=now.model_digest,
            files=now.files,
            inputs=now.inputs,
        )
        until(lambda: answers[-1][1] == 2)
        stop.set()
        for thread in threads:
            thread.join()
    assert {status for status, _ in answers} == {200}
    assert {number for _, number in answers} == {1, 2}


def test_the_service_needs_no_private_key_and_refuses_the_network(ready: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "keys" / "signer.pem").unlink()
    with serving(ready) as service:
        assert service.post("/predict", PATIENT)[0] == 200
    exposed = subprocess.run(
        [sys.executable, "-m", "secure_ml.cli", "serve", "heart_disease", "--host", "0.0.0.0", "--port", "0"],
        env={**os.environ, **ready},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert exposed.returncode == 2
    assert "not a loopback address" in exposed.stderr


def test_a_replaced_log_file_acknowledges_nothing(ready: dict[str, str]) -> None:
    with serving(ready) as service:
        assert service.post("/predict", PATIENT)[0] == 200
        path = unsealed_files(Home(Path(ready["SECURE_ML_HOME"])), model.name)[-1]
        path.rename(path.with_suffix(".gone"))
        assert service.post("/predict", PATIENT)[0] == 503


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.soak)])
def test_no_acknowledged_record_is_missing_after_sigkill_under_load(rounds: int, ready: dict[str, str]) -> None:
    """The service is killed under load again and again, and each next start works."""
    place = Installation.from_environment(ready)
    acknowledged: set[str] = set()
    for round_ in range(rounds):
        service = start_service(ready)
        parts = urlsplit(service.address)
        seen: set[str] = set()

        def ask(parts: object = parts, seen: set[str] = seen) -> None:
            import json

            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)  # type: ignore[attr-defined]
            body = json.dumps(PATIENT)
            try:
                while True:
                    connection.request("POST", "/predict", body)
                    answer = json.loads(connection.getresponse().read())
                    seen.add(answer["predictions"][0]["id"])
            except (OSError, http.client.HTTPException, ValueError):
                return

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        until(lambda seen=seen, round_=round_: len(seen) > 5 + round_)
        service.process.send_signal(signal.SIGKILL)
        service.process.wait()
        for thread in threads:
            thread.join()
        assert service.process.stderr is not None
        service.process.stderr.close()
        acknowledged |= seen
    logged = {
        record.id for path in unsealed_files(place.home, model.name) for record in read_unsealed(path, 0, 1_000_000)
    }
    assert acknowledged <= logged
    assert len(acknowledged) > rounds * 5
    seal_log(place, model)
    sealed = {
        record.id for record in newest_records(place.home, model.name, 100_000, sealed_segments(place, model.name))
    }
    assert acknowledged <= sealed
    assert all(not read_unsealed(path, 0, 1) for path in unsealed_files(place.home, model.name))


def test_a_forged_record_is_not_sealed(ready: dict[str, str]) -> None:
    import sqlite3

    with serving(ready) as service:
        assert service.post("/predict", PATIENT)[0] == 200
    place = Installation.from_environment(ready)
    path = unsealed_files(place.home, model.name)[-1]
    with sqlite3.connect(path) as database:
        database.execute("update records set model_digest = ?", (Digest("0" * 64),))
    from secure_ml.errors import RejectedError

    with pytest.raises(RejectedError, match="1 of 1 records name a model that was never released"):
        seal_log(place, model)


def test_a_second_batch_goes_through_the_promotion_rule(ready: dict[str, str]) -> None:
    place = Installation.from_environment(ready)
    run_to_release(place, model, "hungarian")
    decision, now = decide_release(place, model)
    assert (decision.decision, now.number) == ("rejected", 1)
    assert "is below the champion's" in decision.reasons[0]
