"""A server of a test's own on loopback that, ended, leaves no connection behind."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

ACCEPTING_STEPS: Final = 4
"""Turns of the loop that are enough from asyncio's accept of a connection to `_accept`; it takes two (selector_events of 3.11 to 3.13)."""


class Loopback:
    """Serves each connection with `serve` in a task of its own and closes it when that has ended.

    `asyncio.start_server` alone forgets a connection, open, whose server is closed between its accept and its first step, and closes none
    whose task is cancelled; each such one warns in whatever test runs when it is collected.

    Attributes:
        port: where it listens, and listens again.
    """

    def __init__(self, serve: Serve, *, limit: int = 1 << 16) -> None:
        self._serve = serve
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self.port = 0

    async def listen(self, port: int = 0) -> None:
        """Begin, on `port` or where it listened before or on a free one."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port or self.port, limit=self._limit)
        self.port = self._server.sockets[0].getsockname()[1]

    async def end(self) -> None:
        """Refuse connections and break those that are open. Raises the first that a `serve` raised."""
        loop = asyncio.get_running_loop()
        for listening in self._server.sockets:
            loop.remove_reader(listening)
        for _ in range(ACCEPTING_STEPS):
            await asyncio.sleep(0)
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # a connection is closed one turn after its task
        if self._failures:
            raise self._failures.pop(0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def serve() -> None:
            await self._serve(reader, writer)

        task = asyncio.get_running_loop().create_task(serve())
        self._tasks.add(task)

        def done(task: "asyncio.Task[None]") -> None:  # also of one that was cancelled before it began
            self._tasks.discard(task)
            if task.cancelled():
                writer.transport.abort()
                return
            writer.close()
            if failure := task.exception():
                self._failures.append(failure)

        task.add_done_callback(done)
