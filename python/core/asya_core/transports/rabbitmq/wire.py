"""A socket to RabbitMQ on asyncio, with a short way past pika for what travels once per message.

`connection` gives `SocketServices` to pika as its I/O services, the extension point that pika documents for other event loops. pika then
sees an ordinary stream; what it does not see are publishes, deliveries, returns and confirms of the channels that `attach` names: they go
between `codec` and a `FrameListener` directly. So pika keeps the protocol (handshake, heartbeats, channels, consumers) and costs nothing
per message. One write to the socket carries all frames of one turn of the event loop, and what may wait (`Wire.hold`) gathers over a few
turns: under load a system call costs more than the message. Knows nothing of queues, links and receipts.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from pika import exceptions, spec
from pika.adapters.utils import nbio_interface

from asya_core.transports.rabbitmq import codec

__all__ = ["FrameListener", "SocketServices", "Wire"]

_FAST: Final = frozenset({codec.BASIC_ACK, codec.BASIC_NACK, codec.BASIC_DELIVER, codec.BASIC_RETURN})
_COPY_BELOW_BYTES: Final = 65536
"""Frames up to this size are joined into one write; longer ones are written as they are, which saves copying a large body."""
_HEARTBEAT_EVERY_SECONDS: Final = 1.0
_HOLD_SECONDS: Final = 0.001
"""How long frames that may wait do so at most."""
_HOLD_BYTES: Final = 32768
"""So much is worth a write of its own."""


class FrameListener(Protocol):
    """Takes what arrives on one channel past pika. Called in the loop's thread; must not raise."""

    def delivered(self, deliver: codec.Deliver, headers: dict[str, Any], body: bytes) -> None:
        """A message. `headers` is empty if it has none or if they cannot be read."""
        ...

    def confirmed(self, tag: int, multiple: bool, ok: bool) -> None:
        """The broker has the publish number `tag`, or all open ones up to it, or (not `ok`) refused it."""
        ...

    def returned(self, correlation_id: str) -> None:
        """No queue takes the publish with this correlation id. Its confirm follows."""
        ...


class _Assembly:
    """The content of one channel that is being received: method, header, then bodies."""

    __slots__ = ("bodies", "deliver", "listener", "open", "properties", "remaining")

    def __init__(self, listener: FrameListener) -> None:
        self.listener = listener
        self.open = False
        self.deliver: codec.Deliver | None = None
        self.properties: Any = None
        self.bodies: list[bytes] = []
        self.remaining = 0

    def begin(self, deliver: codec.Deliver | None) -> None:
        self.open = True
        self.deliver = deliver
        self.properties = None

    def header(self, payload: bytes) -> None:
        self.remaining = int.from_bytes(payload[4:12], "big")
        if self.deliver is None or codec.has_headers(payload):
            self.properties = _properties(payload)
        if not self.remaining:
            self._finish(b"")

    def body(self, part: bytes) -> None:
        self.remaining -= len(part)
        if self.remaining > 0:
            self.bodies.append(part)
        elif self.bodies:
            self.bodies.append(part)
            whole = b"".join(self.bodies)
            self.bodies = []
            self._finish(whole)
        else:
            self._finish(part)

    def _finish(self, body: bytes) -> None:
        self.open = False
        properties = self.properties
        if self.deliver is not None:
            headers = properties.headers if properties is not None else None
            self.listener.delivered(self.deliver, headers if isinstance(headers, dict) else {}, body)
        else:
            self.listener.returned(str(properties.correlation_id) if properties is not None else "")


def _properties(payload: bytes) -> Any:
    """The properties of a content header, or None: anybody may publish what pika cannot decode, and it must not end the connection."""
    properties = spec.BasicProperties()
    try:
        properties.decode(payload[12:])
    except (exceptions.AMQPError, ValueError, TypeError, LookupError, ArithmeticError, OSError):
        return None
    except Exception as error:  # struct.error derives from Exception itself
        if type(error).__name__ != "error":
            raise
        return None
    return properties


class Wire(asyncio.Protocol, nbio_interface.AbstractStreamTransport):  # type: ignore[misc]
    """One connected socket: an asyncio protocol to the event loop, a stream transport to pika."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any) -> None:
        self._loop = loop
        self._pika = protocol
        self._socket: asyncio.Transport | None = None
        self._channels: dict[int, _Assembly] = {}
        self._before_flush: list[Callable[[], None]] = []
        self._out: list[bytes | memoryview] = []
        self._flush_scheduled = False
        self._held: asyncio.TimerHandle | None = None
        self._held_bytes = 0
        self._in: list[bytes] = []
        self._in_bytes = 0
        self._wanted_bytes = codec.FRAME_HEADER_BYTES
        self._last_heartbeat = 0.0
        self._closed = False
        self._broken: BaseException | None = None

    # -- for the transport

    def attach(self, channel: int, listener: FrameListener) -> None:
        """Send deliveries, returns and confirms of `channel` to `listener`, not to pika."""
        self._channels[channel] = _Assembly(listener)

    def detach(self, channel: int) -> None:
        """No more; pika takes what still arrives."""
        self._channels.pop(channel, None)

    def before_flush(self, call: Callable[[], None]) -> None:
        """Call this whenever frames are about to be written; it may add some."""
        self._before_flush.append(call)

    def schedule_flush(self) -> None:
        """Write at the end of this turn of the loop."""
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def write_frames(self, frames: list[bytes | memoryview]) -> None:
        """Send these, in order, at the end of this turn of the loop."""
        self._out += frames
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def hold(self, frames: list[bytes | memoryview]) -> None:
        """Send these, in order, with the next write that something else causes, or once 32 KiB have gathered, or after 1 ms."""
        self._out += frames
        if not self._flush_scheduled:
            self._held_bytes += sum(map(len, frames))
            if self._held_bytes >= _HOLD_BYTES:
                self.schedule_flush()
            elif self._held is None:
                self._held = self._loop.call_later(_HOLD_SECONDS, self._flush)

    def release(self) -> None:
        """Hold no longer: write at the end of this turn."""
        if self._held is not None:
            self.schedule_flush()

    def _flush(self) -> None:
        if self._held is not None:
            self._held.cancel()
            self._held = None
        self._held_bytes = 0
        self._flush_scheduled = True  # what is added now is written below
        for call in self._before_flush:
            call()
        self._flush_scheduled = False
        out = self._out
        if not out or self._closed or self._socket is None:
            return
        self._out = []
        if len(out) == 1:
            self._socket.write(out[0])
            return
        small: list[bytes | memoryview] = []
        for piece in out:
            if len(piece) < _COPY_BELOW_BYTES:
                small.append(piece)
                continue
            if small:
                self._socket.write(b"".join(small))
                small = []
            self._socket.write(piece)
        if small:
            self._socket.write(b"".join(small))

    # -- for pika

    def write(self, data: bytes) -> None:
        self.write_frames([data])

    def abort(self) -> None:
        if self._socket is not None:
            self._socket.abort()

    def forget(self) -> None:
        """Close the socket at once and tell pika nothing more."""
        self._pika = _Nobody()
        self._channels.clear()
        self.abort()

    def get_protocol(self) -> Any:
        return self._pika

    def get_write_buffer_size(self) -> int:
        waiting = sum(map(len, self._out))
        return waiting + (self._socket.get_write_buffer_size() if self._socket is not None else 0)

    # -- for the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = transport  # type: ignore[assignment]

    def connection_lost(self, error: BaseException | None) -> None:
        self._closed = True
        self._out = []
        if self._held is not None:
            self._held.cancel()
            self._held = None
        self._channels.clear()
        self._before_flush.clear()
        # pika wants a reason unless it has ended the stream itself.
        self._pika.connection_lost(error or self._broken)

    def eof_received(self) -> bool:
        return bool(self._pika.eof_received())

    def data_received(self, data: bytes) -> None:
        if self._in:
            self._in.append(data)
            self._in_bytes += len(data)
            if self._in_bytes < self._wanted_bytes:
                return
            data = b"".join(self._in)
            self._in = []
        used = self._take_frames(data)
        if used < len(data):
            rest = data[used:] if used else data
            self._in = [rest]
            self._in_bytes = len(rest)

    def _take_frames(self, data: bytes) -> int:
        """Handles the whole frames at the beginning of `data`; gives how many bytes they had."""
        at, size = 0, len(data)
        for_pika = 0  # all before this place is handled
        unpack = codec.FRAME.unpack_from
        self._wanted_bytes = codec.FRAME_HEADER_BYTES
        while size - at >= codec.FRAME_HEADER_BYTES:
            kind, channel, length = unpack(data, at)
            end = at + codec.FRAME_OVERHEAD_BYTES + length
            if end > size:
                self._wanted_bytes = end - at
                break
            assembly = self._channels.get(channel) if channel else None
            if assembly is not None:
                begin = at + codec.FRAME_HEADER_BYTES
                method = int.from_bytes(data[begin : begin + 4], "big") if kind == codec.FRAME_METHOD else 0
                if method in _FAST if method else assembly.open:
                    if for_pika < at:
                        self._pika.data_received(data[for_pika:at])
                    if self._closed:
                        return size
                    if data[end - 1] != 0xCE:
                        self._broken = ConnectionAbortedError("a frame has no end octet")
                        self.abort()
                        return size
                    self._take(assembly, kind, method, data, begin, end - 1)
                    for_pika = end
            at = end
        if for_pika < at:
            self._pika.data_received(data if for_pika == 0 and at == size else data[for_pika:at])
        if for_pika and not self._closed:
            self._show_life()
        return size if self._closed else at

    def _take(self, assembly: _Assembly, kind: int, method: int, data: bytes, begin: int, end: int) -> None:
        if kind == codec.FRAME_BODY:
            assembly.body(data[begin:end])
        elif kind == codec.FRAME_HEADER:
            assembly.header(data[begin:end])
        elif method == codec.BASIC_DELIVER:
            assembly.begin(codec.decode_deliver(data, begin))
        elif method == codec.BASIC_RETURN:
            assembly.begin(None)
        else:
            tag, multiple = codec.decode_confirm(data, begin)
            assembly.listener.confirmed(tag, multiple, method == codec.BASIC_ACK)

    def _show_life(self) -> None:
        """pika counts what it reads to know that the peer lives, and a busy broker sends no heartbeats: stand in for them."""
        now = self._loop.time()
        if now - self._last_heartbeat >= _HEARTBEAT_EVERY_SECONDS:
            self._last_heartbeat = now
            self._pika.data_received(codec.HEARTBEAT)


class _Reference(nbio_interface.AbstractIOReference):  # type: ignore[misc]
    """A running operation of `SocketServices`; `done` is called with its result or error unless it was cancelled; `cancelled` if it was."""

    def __init__(self, work: Awaitable[Any], done: Callable[[Any], None], cancelled: Callable[[], None] = lambda: None) -> None:
        self._done = done
        self._cancelled = cancelled
        self._future = asyncio.ensure_future(work)
        self._future.add_done_callback(self._report)

    def _report(self, future: "asyncio.Future[Any]") -> None:
        if future.cancelled():
            self._cancelled()
            return
        error = future.exception()
        self._done(error if error is not None else future.result())

    def cancel(self) -> bool:
        return self._future.cancel()


class _TimerReference(nbio_interface.AbstractTimerReference):  # type: ignore[misc]
    def __init__(self, handle: asyncio.TimerHandle) -> None:
        self._handle = handle

    def cancel(self) -> None:
        self._handle.cancel()


class _Nobody:
    """Hears what a forgotten connection's socket still does."""

    def data_received(self, data: bytes) -> None:
        """Nothing."""

    def eof_received(self) -> bool:
        """Close."""
        return False

    def connection_lost(self, error: BaseException | None) -> None:
        """Nothing."""


class SocketServices(nbio_interface.AbstractIOServices):  # type: ignore[misc]
    """pika's I/O services over a running asyncio or uvloop loop, for one connection attempt.

    Attributes:
        wire: the socket, once there is one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, resolve_timeout_seconds: float) -> None:
        self._loop = loop
        self._resolve_timeout_seconds = resolve_timeout_seconds
        self._running: list[_Reference] = []
        self._is_forgotten = False
        self._making: Wire | None = None
        self.wire: Wire | None = None

    def forget(self) -> None:
        """Close the socket, or give up making one, and never call pika again.

        pika 1.4 can be asked neither to close nor to lose a connection that is being made: it fails on assertions of its own, in callbacks
        that nobody hears (contract case 30 closes in the middle of connecting).
        """
        self._is_forgotten = True
        for reference in self._running:
            reference.cancel()
        self._running.clear()
        if self._making is not None:
            self._making.forget()

    def get_native_ioloop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def close(self) -> None:
        """The loop is not ours."""

    def run(self) -> None:
        """The loop is not ours; it runs already."""

    def stop(self) -> None:
        """The loop is not ours."""

    def add_callback_threadsafe(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(self._call, callback)

    def call_later(self, delay: float, callback: Callable[[], None]) -> _TimerReference:
        return _TimerReference(self._loop.call_later(delay, self._call, callback))

    def getaddrinfo(
        self, host: str, port: int, on_done: Callable[[Any], None], family: int = 0, socktype: int = 0, proto: int = 0, flags: int = 0
    ) -> _Reference:
        async def look_up() -> Any:
            async with asyncio.timeout(self._resolve_timeout_seconds):
                return await self._loop.getaddrinfo(host, port, family=family, type=socktype, proto=proto, flags=flags)

        return self._run(look_up(), on_done)

    def connect_socket(self, sock: socket.socket, resolved_addr: Any, on_done: Callable[[Any], None]) -> _Reference:
        return self._run(self._loop.sock_connect(sock, resolved_addr), on_done, sock, is_kept=False)

    def create_streaming_connection(
        self,
        protocol_factory: Callable[[], Any],
        sock: socket.socket,
        on_done: Callable[[Any], None],
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> _Reference:
        async def link_up() -> tuple[Wire, Any]:
            protocol = protocol_factory()
            wire = self._making = Wire(self._loop, protocol)
            try:
                hostname = (server_hostname or "") if ssl_context is not None else None
                await self._loop.create_connection(lambda: wire, sock=sock, ssl=ssl_context, server_hostname=hostname)
            except BaseException:
                with contextlib.suppress(OSError):
                    sock.close()
                raise
            self.wire = wire
            protocol.connection_made(wire)
            return wire, protocol

        return self._run(link_up(), on_done, sock)

    def _run(
        self, work: Awaitable[Any], on_done: Callable[[Any], None], sock: socket.socket | None = None, *, is_kept: bool = True
    ) -> _Reference:
        """Begin an operation. `sock` is closed if it is cancelled, maybe before its first step; if not `is_kept`, also when nobody hears
        of its success any more."""

        def done(result: Any) -> None:
            if reference in self._running:
                self._running.remove(reference)
            if not self._is_forgotten:
                on_done(result)
            elif sock is not None and not is_kept:
                sock.close()

        def cancelled() -> None:
            if self._is_forgotten and sock is not None:
                sock.close()

        reference = _Reference(work, done, cancelled)
        self._running.append(reference)
        return reference

    def _call(self, callback: Callable[[], None]) -> None:
        if not self._is_forgotten:
            callback()
