"""The service as a real process under requests that are meant to break it: bytes on a socket, not a client library."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.installed_home import PATIENT, Service, SharedHome, copy_home, serving
from tests.wait import until

BODY = json.dumps(PATIENT).encode()


@pytest.fixture(scope="module")
def service(shared_home: SharedHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(copy_home(shared_home.environment, tmp_path_factory.mktemp("hostile"))) as running:
        yield running


def connect(service: Service) -> socket.socket:
    parts = urlsplit(service.address)
    return socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=40)


def head(*lines: str, length: int | None = len(BODY)) -> bytes:
    said = ["POST /predict HTTP/1.1", "Host: x", *lines]
    if length is not None:
        said.append(f"Content-Length: {length}")
    return ("\r\n".join(said) + "\r\n\r\n").encode("latin-1")


def exchange(service: Service, content: bytes) -> bytes:
    """Send all, say that nothing more comes, and return all that is answered until the other side closes."""
    with connect(service) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
        return read(connection)


def read(connection: socket.socket) -> bytes:
    answer = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(1 << 16):
            answer += part
    return answer


SMUGGLED = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
AMBIGUOUS = {
    "both lengths": head("Transfer-Encoding: chunked", length=6) + b"0\r\n\r\n" + SMUGGLED,
    "two lengths": head("Content-Length: 3") + BODY + SMUGGLED,
    "an unknown coding": head("Transfer-Encoding: xchunked", length=None) + BODY + SMUGGLED,
    "a negative length": head(length=-1) + SMUGGLED,
    "a length with a sign": head("Content-Length: +3", length=None) + b"{}x" + SMUGGLED,
    "a length that is no number": head("Content-Length: \u00b2", length=None) + SMUGGLED,
    "a folded header": head("X-A: a", " b") + BODY + SMUGGLED,
    "a space before the colon": head("Content-Length : 3") + BODY + SMUGGLED,
    "a line end in a chunk's length": head("Transfer-Encoding: chunked", length=None) + b"1\nx" + SMUGGLED,
    "no HTTP": b"\x16\x03\x01\x02\x00" * 100 + SMUGGLED,
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_an_ambiguous_request_is_refused_and_its_connection_closed(case: str, service: Service) -> None:
    answer = exchange(service, AMBIGUOUS[case])
    assert answer.startswith(b"HTTP/1.1 400 "), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1, "a second request was answered"
    assert b"secure_ml_" not in answer
    assert service.post("/predict", PATIENT)[0] == 200


ENDLESS = {
    "a header": head(length=None)[:-2] + b"X-A: " + b"a" * (1 << 22),
    "headers": head(length=None)[:-2] + b"".join(b"X-%d: a\r\n" % number for number in range(200_000)),
    "a path": b"GET /" + b"a" * (1 << 22),
    "empty lines": b"\r\n" * (1 << 21),
    "trailers": head("Transfer-Encoding: chunked", length=None)
    + b"0\r\n"
    + b"".join(b"X-%d: a\r\n" % number for number in range(2_000_000)),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_what_never_ends_is_cut_off(case: str, service: Service) -> None:
    with connect(service) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(ENDLESS[case])
        answer = read(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:200]
    assert service.post("/predict", PATIENT)[0] == 200


@pytest.mark.parametrize("sent", [b"", b"POST /pre", head(length=100) + b"{"])
def test_a_request_that_does_not_go_on_is_dropped(sent: bytes, service: Service) -> None:
    with connect(service) as connection:
        connection.sendall(sent)
        assert read(connection) == b""


def test_connections_that_say_nothing_keep_nobody_out_for_long(service: Service) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    held = []
    try:
        for _ in range(1500):
            connection = connect(service)
            connection.sendall(head(length=100))
            held.append(connection)
        until(lambda: answers(service), seconds=90, every=0.5)
        assert service.get("/v2/health/ready")[0] == 200
    finally:
        for connection in held:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def answers(service: Service) -> bool:
    try:
        return service.post("/predict", PATIENT)[0] == 200
    except OSError:
        return False


def test_many_large_bodies_at_once_are_not_all_held(service: Service) -> None:
    held = []
    for _ in range(12):
        connection = connect(service)
        with contextlib.suppress(OSError):
            connection.sendall(head(length=8 << 20) + b" " * (7 << 20))
        held.append(connection)
    refused = [read(connection).startswith(b"HTTP/1.1 503 ") for connection in held]
    for connection in held:
        connection.close()
    assert any(refused)
    assert service.post("/predict", PATIENT)[0] == 200


ROWS = {
    "a row too many": json.dumps([PATIENT] * 10_001).encode(),
    "two million rows": b"[" + b",".join([b"{}"] * 2_000_000) + b"]",
    "ten thousand bad rows": json.dumps([dict.fromkeys(PATIENT, -1e9)] * 10_000).encode(),
    "a value twice": BODY[:-1] + b', "chol": 0}',
    "NaN": BODY.replace(b"233", b"NaN"),
    "infinity": BODY.replace(b"233", b"-Infinity"),
    "hexadecimal": BODY.replace(b"233", b"0xE9"),
    "a leading zero": BODY.replace(b"233", b"0233"),
    "digits of another script": BODY.replace(b"233", "\u0662\u0663\u0663".encode()),
    "text": BODY.replace(b"233", b'"233"'),
    "a comment": BODY.replace(b"233", b"233 /* */"),
    "two documents": BODY + BODY,
    "UTF-16": json.dumps(PATIENT).encode("utf-16"),
    "a number beyond float32": BODY.replace(b"233", b"1e39"),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_that_are_none_get_400(case: str, service: Service) -> None:
    status, answer = service.post("/predict", ROWS[case])
    assert status == 400
    assert len(answer["error"]) < 400


TENSORS = {
    "four million values": {"shape": [400_000, 10], "data": [1] * 4_000_000},
    "more values than rows": {"shape": [1, 10], "data": [1] * 3_000_000},
    "one nested list": {"shape": [1, 10], "data": [[1] * 3_000_000]},
    "a shape that overflows": {"shape": [2**62, 10], "data": [1]},
    "three dimensions": {"shape": [1, 1, 10], "data": [1] * 10},
}


@pytest.mark.parametrize("case", TENSORS)
def test_tensors_that_are_none_get_400(case: str, service: Service) -> None:
    tensor = {"name": "features", "datatype": "FP64", **TENSORS[case]}
    body = json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()
    status, answer = service.post("/v2/models/heart_disease/infer", body)
    assert status == 400, answer


def test_no_request_makes_a_new_label(service: Service) -> None:
    def series() -> set[str]:
        lines = service.text("/metrics").splitlines()
        return {line.rsplit(" ", 1)[0] for line in lines if not line.startswith("#")}

    service.post("/predict", {**PATIENT, "chol": 0})
    service.get("/nowhere")
    before = series()
    for number in range(30):
        service.get(f"/nowhere/{number}")
        service.get(f"/v2/models/{number}")
        service.post(f"/v2/models/{number}/infer", PATIENT)
        service.post("/predict", {**PATIENT, f"more_{number}": 1})
        service.post("/predict", {**PATIENT, "chol": -number})
        service.post("/predict", PATIENT, {"X-Request-ID": f"id-{number}"})
    assert series() == before


def test_an_upgrade_is_not_followed(service: Service) -> None:
    lines = ("Connection: Upgrade, close", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA")
    answer = exchange(service, head(*lines))
    assert not answer.startswith(b"HTTP/1.1 101")


def test_the_service_uses_no_more_memory_than_it_must(service: Service) -> None:
    """After all the above."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    (peak,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    assert peak < 1 << 20, f"{peak} kB"
