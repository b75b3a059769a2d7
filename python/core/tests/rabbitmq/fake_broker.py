"""A server that speaks just enough AMQP to misbehave where a real broker cannot be made to.

It answers what every client needs (handshake, channels, confirm mode, consumers); a test replaces the answer to one method by its own.
Frames are written and read by pika's own classes, which the transport's `codec` shares nothing with.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from pika import frame, spec

from tests.loopback import Loopback

Answer = Callable[["Conversation", int, Any], Awaitable[None] | None]
CAPABILITIES = ("publisher_confirms", "basic.nack", "consumer_cancel_notify", "connection.blocked", "authentication_failure_close")
HEADER = b"AMQP\x00\x00\x09\x01"


class Conversation:
    """One connection of a client.

    Attributes:
        name: ``consume`` or ``publish``, as the client told; empty before.
        frames: everything it sent after the protocol header, decoded.
    """

    def __init__(self, broker: "FakeBroker", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._broker = broker
        self._reader = reader
        self.writer = writer
        self._buffer = b""
        self.name = ""
        self.credentials = b""
        self.frames: list[Any] = []

    def send(self, channel: int, method: Any, properties: Any = None, body: bytes | None = None) -> None:
        """Write a method; with `properties` its content too."""
        out = frame.Method(channel, method).marshal()
        if properties is not None:
            out += frame.Header(channel, len(body or b""), properties).marshal()
            out += frame.Body(channel, body).marshal() if body else b""
        self.writer.write(out)

    def deliver(self, channel: int, tag: int, body: bytes = b"x", *, redelivered: bool = False, headers: Any = None) -> None:
        """Write a delivery."""
        self.send(channel, spec.Basic.Deliver("asya-1", tag, redelivered, "", "q"), spec.BasicProperties(headers=headers), body)

    def end(self) -> None:
        """Break the connection without a word."""
        self.writer.transport.abort()

    async def receive(self) -> Any:
        """The next frame. Raises EOFError."""
        while True:
            used, found = frame.decode_frame(self._buffer)
            if found is not None:
                self._buffer = self._buffer[used:]
                self.frames.append(found)
                self._broker.changed.set()
                return found
            more = await self._reader.read(65536)
            if not more:
                raise EOFError
            self._buffer += more

    async def run(self) -> None:
        if await self._reader.readexactly(8) != HEADER:
            self.writer.write(HEADER)  # as the specification wants: what is spoken here, and the end
            return
        if self._broker.mute:
            await self._reader.read()
            return
        self.send(0, spec.Connection.Start(0, 9, self._broker.properties, "PLAIN", "en_US"))
        while True:
            got = await self.receive()
            if isinstance(got, frame.Method):
                answer = self._broker.answers.get(type(got.method)) or ANSWERS.get(type(got.method))
                if answer is not None:
                    result = answer(self, got.channel_number, got.method)
                    if result is not None:
                        await result


def _started(conversation: Conversation, _channel: int, method: Any) -> None:
    conversation.name = method.client_properties["connection_name"].rsplit(" ", 1)[-1]
    conversation.credentials = method.response
    conversation.send(0, spec.Connection.Tune(2047, conversation._broker.frame_max, conversation._broker.heartbeat_seconds))


def _consuming(conversation: Conversation, channel: int, method: Any) -> None:
    conversation.send(channel, spec.Basic.ConsumeOk(method.consumer_tag))


def _reply(make: Callable[[], Any]) -> Answer:
    return lambda conversation, channel, _method: conversation.send(channel, make())


ANSWERS: dict[type, Answer] = {
    spec.Connection.StartOk: _started,
    spec.Connection.Open: _reply(spec.Connection.OpenOk),
    spec.Connection.Close: _reply(spec.Connection.CloseOk),
    spec.Channel.Open: _reply(spec.Channel.OpenOk),
    spec.Channel.Close: _reply(spec.Channel.CloseOk),
    spec.Confirm.Select: _reply(spec.Confirm.SelectOk),
    spec.Basic.Qos: _reply(spec.Basic.QosOk),
    spec.Basic.Consume: _consuming,
    spec.Basic.Cancel: lambda conversation, channel, method: conversation.send(channel, spec.Basic.CancelOk(method.consumer_tag)),
    spec.Exchange.Declare: _reply(spec.Exchange.DeclareOk),
    spec.Queue.Declare: lambda conversation, channel, method: conversation.send(channel, spec.Queue.DeclareOk(method.queue, 0, 0)),
}


class FakeBroker:
    """Listens on a free loopback port.

    Attributes:
        answers: by method class, instead of the usual answer; may be changed at any time.
        mute: whether it accepts and then says nothing.
        tls: its certificate; None for a plain server.
        connections: every conversation so far, oldest first.
    """

    def __init__(self, answers: dict[type, Answer] | None = None, *, heartbeat_seconds: int = 0, frame_max: int = 131072) -> None:
        self.answers = answers or {}
        self.heartbeat_seconds = heartbeat_seconds
        self.frame_max = frame_max
        self.properties: dict[str, Any] = {"capabilities": dict.fromkeys(CAPABILITIES, True)}
        self.mute = False
        self.tls: ssl.SSLContext | None = None
        self.connections: list[Conversation] = []
        self.changed = asyncio.Event()
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Here and not by the server, which knows nothing of a handshake that has not ended when it is closed.
        with contextlib.suppress(OSError, EOFError, asyncio.IncompleteReadError):
            if self.tls is not None:
                await writer.start_tls(self.tls)
            conversation = Conversation(self, reader, writer)
            self.connections.append(conversation)
            await conversation.run()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition`, looked at after each frame of any client."""
        async with asyncio.timeout(30):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def named(self, name: str) -> list[Conversation]:
        """The conversations of a link, oldest first."""
        return [each for each in self.connections if each.name == name]

    def methods(self, kind: type) -> list[Any]:
        """Every method of this class that any client sent."""
        frames = [each for conversation in self.connections for each in conversation.frames]
        return [each.method for each in frames if isinstance(each, frame.Method) and isinstance(each.method, kind)]

    @contextlib.asynccontextmanager
    async def running(self) -> "AsyncIterator[FakeBroker]":
        server = Loopback(self._serve)
        await server.listen(self.port)
        self.port = server.port
        try:
            yield self
        finally:
            await server.end()
