"""Loads an HTTP server from one process: kept connections that ask one after another, held streams. Called by workloads/b08_gateway.

Knows HTTP/1.1 as far as the measured servers speak it: lengths, chunks, server-sent events. Every loop is bounded.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

WAIT_SECONDS = 120


class Client(asyncio.Protocol):
    """One kept connection; one request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiter: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no instance of it

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        self._waiter = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        async with asyncio.timeout(WAIT_SECONDS):
            return await self._waiter

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end])
        lower = head.lower()
        if b"content-length:" in lower:
            length = int(lower.partition(b"content-length:")[2].split(b"\r\n")[0])
            if len(self._buffer) < end + 4 + length:
                return
            body = bytes(self._buffer[end + 4 : end + 4 + length])
        elif b"transfer-encoding: chunked" in lower:
            if not self._buffer.endswith(b"0\r\n\r\n"):
                return
            body = bytes(self._buffer[end + 4 :])
        else:
            body = b""
        self._buffer.clear()
        self._settle(int(head.split(b" ", 2)[1]), body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._settle(0, b"")

    def _settle(self, status: int, body: bytes) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result((status, body))


class Stream(asyncio.Protocol):
    """One held stream of server-sent events; counts what it hears."""

    def __init__(self, request: bytes, heard: Callable[[int], None]) -> None:
        self._request = request
        self._heard = heard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no instance of it
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        count = data.count(b"event:")
        if count:
            self._heard(count)


@dataclass(slots=True, kw_only=True)
class Asked:
    """What came of many requests.

    Attributes:
        seconds: from the first request to the last answer.
        took: seconds of each, sorted.
        refused: answers with another status than 2xx, or none.
    """

    seconds: float
    took: list[float] = field(repr=False)
    refused: int


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    if body:
        lines.append("Content-Type: application/json")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def connect(port: int) -> Client:
    """A kept connection."""
    _, client = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port)
    return client


async def ask_many(port: int, make: Callable[[int], bytes], *, count: int, connections: int) -> Asked:
    """`count` requests over so many connections, each sending its next when it has its answer."""
    clients = [await connect(port) for _ in range(connections)]
    numbers = iter(range(count))
    took: list[float] = []
    refused = 0

    async def work(client: Client) -> None:
        nonlocal refused
        for number in numbers:
            began = time.perf_counter()
            status, _ = await client.ask(make(number))
            took.append(time.perf_counter() - began)
            refused += not 200 <= status < 300

    began = time.perf_counter()
    await asyncio.gather(*(work(client) for client in clients))
    seconds = time.perf_counter() - began
    for client in clients:
        client.transport.close()
    return Asked(seconds=seconds, took=sorted(took), refused=refused)


class Streams:
    """Many held streams of one server.

    Args:
        port: of the server.
        path: of the stream.
    """

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._request = request("GET", path, Accept="text/event-stream")
        self._streams: list[Stream] = []
        self._count = 0
        self._wanted = 0
        self._all = asyncio.Event()

    def _heard(self, count: int) -> None:
        self._count += count
        if self._count >= self._wanted:
            self._all.set()

    def want(self, count: int) -> None:
        """Forget what was heard; `all_heard` returns when so many events have come from now on."""
        self._count, self._wanted = 0, count
        self._all.clear()

    async def all_heard(self) -> None:
        """Wait for the last event that is wanted."""
        async with asyncio.timeout(WAIT_SECONDS):
            await self._all.wait()

    async def open(self, count: int, *, batch: int = 100) -> None:
        """So many streams, each having heard its first event."""
        loop = asyncio.get_running_loop()
        self.want(count)
        while len(self._streams) < count:
            made = await asyncio.gather(
                *(loop.create_connection(lambda: Stream(self._request, self._heard), "127.0.0.1", self._port) for _ in range(batch))
            )
            self._streams += [stream for _, stream in made]
        await self.all_heard()

    def close(self) -> None:
        """Let all of them go."""
        for stream in self._streams:
            stream.transport.abort()


def json_bytes(value: object) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()
