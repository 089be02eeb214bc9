"""How large a request may be, how long it may take, and how many may be open: uvicorn alone waits for ever.

1. A connection over the limit is dropped at once, so that descriptors are left for the log and the released files.
2. A head is at most 64 KiB, a whole request twice the largest body.
3. A request that is not complete 15 seconds after it began, or its connection, is dropped.
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
    """Return how many connections may be open: half of the descriptors that this process may have."""
    return min(_MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


class BoundedProtocol(HttpToolsProtocol):
    """One connection; uvicorn makes it, with `limit_concurrency` as the most that may be open."""

    _in_head = True
    _received_bytes = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Drop one connection too many."""
        super().connection_made(cast("asyncio.Transport", transport))
        # 1.
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            self.transport.abort()
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Refuse what is too large."""
        self._received_bytes += len(data)  # a request that begins or ends in these bytes begins to count at 0
        super().data_received(data)
        # 2.
        limit = _MAX_HEAD_BYTES if self._in_head else 2 * MAX_BODY_BYTES
        if self._received_bytes > limit and not self.transport.is_closing():
            self.send_400_response("The request is too large.")

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._begin()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """End its head."""
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End it."""
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
