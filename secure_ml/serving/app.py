"""The inference service: FastAPI serves the management routes, and a plain ASGI route the predictions.

The service reads the home and the trust root, and needs no signing key. An error is `{"error": "..."}`, as in the Open
Inference Protocol, and holds no value of the request.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from secure_ml.errors import MalformedError, PreconditionError, SecureMLError, UnavailableError
from secure_ml.home import Home
from secure_ml.inference_log.records import new_id
from secure_ml.inference_log.writer import LogWriter
from secure_ml.serving.batcher import Batcher
from secure_ml.serving.http_limits import MAX_BODY_BYTES, BoundedProtocol, max_connections
from secure_ml.serving.metrics import Metrics
from secure_ml.serving.protocol import parse_infer, parse_predict, render_infer, render_predict
from secure_ml.serving.release_watcher import ReleaseWatcher
from secure_ml.signing.trust import Trust

__all__ = ["serve"]

_MAX_HELD_BYTES = 64 << 20
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Service:
    """The ASGI application of one model."""

    def __init__(self, watcher: ReleaseWatcher, writer: LogWriter, metrics: Metrics, model: str) -> None:
        """Connect the watcher, the log and the metrics."""
        self._watcher, self._metrics = watcher, metrics
        self._batcher = Batcher(writer, metrics)
        self._infer_path = f"/v2/models/{model}/infer"
        self._management = management(watcher, metrics, model)
        self._held_bytes = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] == "POST":
            path = scope["path"]
            if path == self._infer_path or path == "/predict":
                await self._predict(scope, receive, send, named=path == "/predict")
                return
        await self._management(scope, receive, send)

    async def _predict(self, scope: Message, receive: Receive, send: Send, *, named: bool) -> None:
        start = time.perf_counter()
        code, body = 200, b""
        try:
            content = await self._read_body(receive)
            served = self._watcher.served
            if served is None:
                raise UnavailableError(f"service: no model is served ({self._watcher.reason})")
            if named:
                request = parse_predict(content, served, _header(scope, b"x-request-id"))
                body = render_predict(await self._batcher.answer(served, request))
            else:
                if _header(scope, b"inference-header-content-length") is not None:
                    raise MalformedError("inputs: binary tensors are not supported; send the data as JSON")
                request = parse_infer(content, served)
                body = render_infer(await self._batcher.answer(served, request))
        except _TooLargeError as error:
            code, body = 413, _error(str(error))
        except MalformedError as error:
            code, body = 400, _error(str(error))
        except SecureMLError as error:
            code, body = 503, _error(str(error))
        self._metrics.requests.labels(str(code)).inc()
        self._metrics.seconds.observe(time.perf_counter() - start)
        await send(
            {
                "type": "http.response.start",
                "status": code,
                "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
            }
        )
        await send({"type": "http.response.body", "body": body})

    async def _read_body(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise MalformedError("request: the client disconnected")
                part = message.get("body", b"")
                size += len(part)
                self._held_bytes += len(part)
                if size > MAX_BODY_BYTES:
                    raise _TooLargeError(f"body: too large, expected at most {MAX_BODY_BYTES} bytes")
                if self._held_bytes > _MAX_HELD_BYTES:
                    raise UnavailableError("service: too many large requests at once; retry later")
                parts.append(part)
                if not message.get("more_body"):
                    return b"".join(parts)
        finally:
            self._held_bytes -= size


class _TooLargeError(MalformedError):
    """A body over the limit. The rest of it is not read."""


def _header(scope: Message, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            return str(value.decode("latin-1"))
    return None


def _error(text: str) -> bytes:
    return msgspec.json.encode({"error": text})


def management(watcher: ReleaseWatcher, metrics: Metrics, model: str) -> FastAPI:
    """Return the routes for people and orchestrators: health, metadata, metrics."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(watcher.watch())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    app = FastAPI(title=f"secure-ml {model}", lifespan=lifespan, docs_url=None, redoc_url=None)

    def ready() -> JSONResponse:
        healthy = watcher.served is not None
        document: dict[str, Any] = {"live": healthy, "ready": healthy}
        if not healthy:
            document["error"] = watcher.reason
        return JSONResponse(document, status_code=200 if healthy else 503)

    @app.get("/v2/health/live")
    async def health_live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready")
    async def health_ready() -> JSONResponse:
        return ready()

    @app.get("/v2")
    async def server() -> dict[str, Any]:
        return {"name": "secure-ml", "version": "0.1.0", "extensions": []}

    _add_model_routes(app, watcher, model, ready)

    @app.get("/metrics")
    async def exposition() -> Response:
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.exception_handler(404)
    async def not_found(*_: object) -> JSONResponse:
        return JSONResponse({"error": "no such route or model"}, status_code=404)

    @app.exception_handler(405)
    async def not_allowed(*_: object) -> JSONResponse:
        return JSONResponse({"error": "method not allowed"}, status_code=405)

    return app


def _add_model_routes(app: FastAPI, watcher: ReleaseWatcher, model: str, ready: Callable[[], JSONResponse]) -> None:
    """Add metadata and readiness of the model."""

    @app.get("/v2/models/{name}")
    async def metadata(name: str) -> JSONResponse:
        if name != model:
            return JSONResponse({"error": "no such model"}, status_code=404)
        served = watcher.served
        if served is None:
            return ready()
        return JSONResponse(
            {
                "name": model,
                "versions": [str(served.release.number)],
                "platform": "onnx_onnxv1",
                "inputs": [{"name": "features", "datatype": "FP64", "shape": [-1, len(served.features)]}],
                "outputs": [
                    {"name": "score", "datatype": "FP64", "shape": [-1]},
                    {"name": "label", "datatype": "BYTES", "shape": [-1]},
                ],
                "parameters": {
                    "features": ",".join(served.features),
                    "model_digest": served.release.model_digest,
                    "release_document": served.release.document,
                },
            }
        )

    @app.get("/v2/models/{name}/ready")
    async def model_ready(name: str) -> JSONResponse:
        return ready() if name == model else JSONResponse({"error": "no such model"}, status_code=404)


def serve(
    home: Home,
    trust: Trust,
    model: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    unsafe_expose_without_authentication: bool = False,
) -> None:
    """Serve the released model until SIGTERM or SIGINT, then finish open requests and close the log.

    Args:
        home: Home that holds the releases and takes the log.
        trust: Trust root that verifies the release.
        model: Name of the model.
        host: Address to listen on.
        port: TCP port, 0 for any free port.
        unsafe_expose_without_authentication: Whether to listen on an address that is not loopback.

    Raises:
        RejectedError: If the release does not verify. The service does not start.
        PreconditionError: If the address is not loopback, or the port cannot be bound.
        UnavailableError: If no model is released, or the log cannot be created.
    """
    if not unsafe_expose_without_authentication and not ipaddress.ip_address(_resolve(host)).is_loopback:
        raise PreconditionError(
            f"host {host}: not a loopback address, and this service has no authentication; "
            "put an authenticating proxy in front of it, or add --unsafe-expose-without-authentication"
        )
    metrics = Metrics()
    watcher = ReleaseWatcher(home, trust, model, metrics)
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        raise PreconditionError(f"port {port} on {host}: cannot be bound ({error.strerror})") from None
    writer = LogWriter(home.log / model / f"{new_id()}.sqlite")
    service = Service(watcher, writer, metrics, model)
    config = uvicorn.Config(
        service,
        http=BoundedProtocol,
        ws="none",
        limit_concurrency=max_connections(),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    number = watcher.served.release.number if watcher.served else 0
    try:
        asyncio.run(_run(uvicorn.Server(config), bound, f"serving {model} release {number}", host))
    finally:
        writer.close()


async def _run(server: uvicorn.Server, bound: socket.socket, message: str, host: str) -> None:
    task = asyncio.create_task(server.serve(sockets=[bound]))
    while not server.started and not task.done():
        await asyncio.sleep(0.01)
    if server.started:
        print(f"{message} on http://{host}:{bound.getsockname()[1]}", file=sys.stderr, flush=True)  # noqa: T201
    await task


def _resolve(host: str) -> str:
    try:
        return str(socket.getaddrinfo(host, None)[0][4][0])
    except OSError:
        raise PreconditionError(f"host {host}: not an address of this machine; pass an address that it has") from None
