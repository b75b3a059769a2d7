"""A TCP proxy between a sidecar and RabbitMQ that counts AMQP frames and bytes: both directions, all connections.

Used by tests that count.
"""

import asyncio
import threading
from dataclasses import dataclass

from tests.loopback import Loopback

_HEARTBEAT = 8
_PROTOCOL_HEADER = b"AMQP"


@dataclass(slots=True)
class Traffic:
    """What went through. Heartbeats are left out."""

    frames: int = 0
    bytes: int = 0


class CountingProxy:
    """Listens on a free port of loopback while entered; a thread of its own with its own loop."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._traffic = Traffic()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="counting-proxy")
        self._door = Loopback(self._serve)
        self.port = 0

    def __enter__(self) -> "CountingProxy":
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(5)
        return self

    def __exit__(self, *error: object) -> None:
        asyncio.run_coroutine_threadsafe(self._door.end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    @property
    def settings(self) -> dict[str, str]:
        """What sends a sidecar through it."""
        return {"ASYA_RABBITMQ_ADDRESS": f"amqp://127.0.0.1:{self.port}"}

    def take(self) -> Traffic:
        """What went through since the last time."""

        async def swap() -> Traffic:
            taken, self._traffic = self._traffic, Traffic()
            return taken

        return asyncio.run_coroutine_threadsafe(swap(), self._loop).result(5)

    async def _start(self) -> int:
        await self._door.listen()
        return self._door.port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        broker_reader, broker_writer = await asyncio.open_connection(*self._target)
        async with asyncio.TaskGroup() as copying:
            copying.create_task(self._copy(reader, broker_writer))
            copying.create_task(self._copy(broker_reader, writer))

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        buffer = bytearray()
        try:
            while chunk := await source.read(65_536):
                target.write(chunk)
                buffer += chunk
                self._count(buffer)
                await target.drain()
        except OSError:
            pass
        finally:
            target.close()

    def _count(self, buffer: bytearray) -> None:
        if buffer.startswith(_PROTOCOL_HEADER) and len(buffer) >= 8:
            del buffer[:8]
        at = 0
        while len(buffer) - at >= 8:
            # type u8, channel u16, size u32, payload, end u8
            end = at + 8 + int.from_bytes(buffer[at + 3 : at + 7], "big")
            if end > len(buffer):
                break
            if buffer[at] != _HEARTBEAT:
                self._traffic.frames += 1
                self._traffic.bytes += end - at
            at = end
        del buffer[:at]
