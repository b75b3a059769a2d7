"""Health and metrics over HTTP: ``/live``, ``/ready``, ``/metrics``.

Made by `app`; asks the two functions it is given. Serves from the process's own loop, so an answer is the proof that the loop turns: a
stuck loop gives none, and the kubelet's probe fails by its timeout.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from asya_core.ops.metrics import CONTENT_TYPE
from asya_core.ops.settings import Listen

__all__ = ["HealthServer"]

_MAX_REQUEST_BYTES: Final = 8192
_MAX_CONNECTIONS: Final = 32
_IDLE_SECONDS: Final = 75.0
"""A scraper that keeps its connection asks every 15 to 60 s."""
_REASONS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class HealthServer:
    """A small HTTP/1.1 server for probes and scrapers: GET and HEAD, no bodies.

    Args:
        problems: why the process is not ready, one sentence each; empty if it is.
        metrics: the text of ``/metrics``.
    """

    def __init__(self, problems: Callable[[], list[str]], metrics: Callable[[], str]) -> None:
        self._problems = problems
        self._metrics = metrics
        self._server: asyncio.Server | None = None
        self._connections: set[_HealthConnection] = set()

    async def start(self, listen: Listen) -> int:
        """Listen; gives the port. Raises OSError if the address cannot be had."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _HealthConnection(self), listen.host or None, listen.port)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Listen no more and close what is open."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()

    def answer(self, path: str) -> tuple[int, str, str]:
        """Status, content type and body for a GET of `path`."""
        match path.partition("?")[0]:
            case "/live":
                return 200, "text/plain; charset=utf-8", "alive\n"
            case "/ready":
                problems = self._problems()
                return (
                    (503, "text/plain; charset=utf-8", "".join(f"not ready: {each}\n" for each in problems))
                    if problems
                    else (
                        200,
                        "text/plain; charset=utf-8",
                        "ready\n",
                    )
                )
            case "/metrics":
                return 200, CONTENT_TYPE, self._metrics()
            case _:
                return 404, "text/plain; charset=utf-8", "no such page; there are /live, /ready and /metrics\n"

    def connected(self, connection: "_HealthConnection") -> bool:
        """Whether one more connection may be served."""
        if len(self._connections) >= _MAX_CONNECTIONS:
            return False
        self._connections.add(connection)
        return True

    def disconnected(self, connection: "_HealthConnection") -> None:
        """A connection is gone."""
        self._connections.discard(connection)


class _HealthConnection(asyncio.Protocol):
    def __init__(self, server: HealthServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are no subclass of it
        if not self._server.connected(self):
            self._transport.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self.close)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the loop."""
        self._server.disconnected(self)
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, chunk: bytes) -> None:
        """Called by the loop."""
        self._buffer += chunk
        while b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            if not self._request(head):
                self.close()
                return
        if len(self._buffer) > _MAX_REQUEST_BYTES:
            self._send(400, "text/plain; charset=utf-8", "request too large\n", is_last=True)
            self.close()

    def close(self) -> None:
        """Close once what was written is out."""
        if self._transport is not None:
            self._transport.close()

    def _request(self, head: bytes) -> bool:
        """Answer one request; gives whether the connection stays."""
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            self._send(400, "text/plain; charset=utf-8", "not HTTP/1\n", is_last=True)
            return False
        headers = {name.strip().lower(): value.strip().lower() for name, _, value in (line.partition(":") for line in lines[1:])}
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        is_last = has_body or headers.get("connection") == "close" or (words[2] == "HTTP/1.0" and headers.get("connection") != "keep-alive")
        if words[0] not in ("GET", "HEAD"):
            self._send(405, "text/plain; charset=utf-8", "GET or HEAD only\n", is_last=is_last)
        else:
            status, content_type, body = self._server.answer(words[1])
            self._send(status, content_type, body, is_last=is_last, is_head=words[0] == "HEAD")
        return not is_last

    def _send(self, status: int, content_type: str, body: str, *, is_last: bool, is_head: bool = False) -> None:
        data = body.encode()
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content_type}\r\nContent-Length: {len(data)}\r\n"
            f"Cache-Control: no-store\r\nConnection: {'close' if is_last else 'keep-alive'}\r\n"
            + ("Allow: GET, HEAD\r\n" if status == 405 else "")
            + "\r\n"
        ).encode()
        if self._transport is not None:
            self._transport.write(head if is_head else head + data)
