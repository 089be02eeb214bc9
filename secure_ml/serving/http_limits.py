"""Limits of one HTTP connection: size, time, and number of open connections. Uvicorn alone sets no deadline.

1. A connection over the limit is dropped at once, so that file descriptors remain for the log and the released files.
2. The head of a request is at most 64 KiB, and the whole request at most twice the largest body.
3. A connection is dropped if a request is incomplete 15 seconds after it began, or after the connection opened.
"""

from __future__ import annotations

import asyncio
import resource
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["MAX_BODY_BYTES", "BoundedProtocol", "max_connections"]

MAX_BODY_BYTES = 8 << 20
_MAX_HEAD_BYTES = 64 << 10
_REQUEST_S = 15.0
_MAX_CONNECTIONS = 512


def max_connections() -> int:
    """Return the largest number of open connections: half of the file descriptors of this process, at most 512."""
    return min(_MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Uvicorn creates it, and `limit_concurrency` is the largest number of open connections."""

    _in_head = True
    _received_bytes = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Drop the connection if too many are open."""
        super().connection_made(cast("asyncio.Transport", transport))
        # 1.
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            self.transport.abort()
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline."""
        self._end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Reject a request that is too large."""
        self._received_bytes += len(data)  # a request that begins or ends in these bytes resets the count to 0
        super().data_received(data)
        # 2.
        limit = _MAX_HEAD_BYTES if self._in_head else 2 * MAX_BODY_BYTES
        if self._received_bytes > limit and not self.transport.is_closing():
            self.send_400_response("The request is too large.")

    def on_message_begin(self) -> None:
        """Start the deadline of a request."""
        self._begin()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Apply the limit of the body from here on."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Cancel the deadline of a complete request."""
        self._end()
        super().on_message_complete()

    def _begin(self) -> None:
        self._end()
        # 3.
        self._deadline = self.loop.call_later(_REQUEST_S, self.transport.abort)

    def _end(self) -> None:
        self._in_head, self._received_bytes = True, 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
