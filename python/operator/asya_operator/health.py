"""``/livez``, ``/readyz`` and ``/metrics`` over HTTP, from the operator's own loop. Made by `app`; asks the functions it is given.

An answer is the proof that the loop turns: a stuck loop gives none, and the kubelet's probe fails by its time-out.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from asya_core.ops.metrics import CONTENT_TYPE

__all__ = ["HealthServer"]

_HEAD_BYTES: Final = 8192
_REQUEST_SECONDS: Final = 10.0
_WORDS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}
_TEXT: Final = "text/plain; charset=utf-8"


class HealthServer:
    """A small HTTP/1.1 server: GET and HEAD, one request per connection.

    Args:
        dead: why the process should be restarted, one sentence each; empty if it lives.
        unready: why it is not ready.
        metrics: the text of ``/metrics``.
    """

    def __init__(self, *, dead: Callable[[], list[str]], unready: Callable[[], list[str]], metrics: Callable[[], str]) -> None:
        self._dead = dead
        self._unready = unready
        self._metrics = metrics
        self._server: asyncio.Server | None = None

    async def start(self, port: int, host: str | None = None) -> int:
        """Listen; gives the port. Raises OSError if it cannot be had."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=_HEAD_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    def answer(self, path: str) -> tuple[int, str, str]:
        """Status, content type and body for a GET of `path`."""
        match path.partition("?")[0]:
            case "/livez":
                return _verdict(self._dead())
            case "/readyz":
                return _verdict(self._unready())
            case "/metrics":
                return 200, CONTENT_TYPE, self._metrics()
            case _:
                return 404, _TEXT, "no such page; there are /livez, /readyz and /metrics\n"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
                if len(words) != 3:
                    status, kind, body = 400, _TEXT, "not HTTP\n"
                elif words[0] not in ("GET", "HEAD"):
                    status, kind, body = 405, _TEXT, "only GET and HEAD\n"
                else:
                    status, kind, body = self.answer(words[1])
                data = body.encode()
                writer.write(
                    f"HTTP/1.1 {status} {_WORDS[status]}\r\nContent-Type: {kind}\r\n"
                    f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode()
                )
                if words[0] != "HEAD":
                    writer.write(data)
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()


def _verdict(problems: list[str]) -> tuple[int, str, str]:
    if problems:
        return 503, _TEXT, "".join(f"{each}\n" for each in problems)
    return 200, _TEXT, "ok\n"
