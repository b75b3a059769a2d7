"""The sidecar's end of the socket to the runtime: connects and keeps connecting, says HELLO, sends calls, hands replies on.

Made by `app`, called by `perform` (calls, closing) and heard by `consume` (events). Knows neither queues nor what a reply means.

The connection is lost in three ways: the runtime closed it or died (``runtime_crashed``), it broke the protocol (``bad_reply``), or the
sidecar closed it after a timeout (`RuntimeClient.close_connection`, which tells nothing back). After each the client connects again at
once, then every 10 to 250 ms, for ever; the runtime is ready when its HELLO comes (docs/reference/frames.md).
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any, Final, TypeAlias, cast

import msgspec

from asya_core.ops.logs import Log
from asya_core.wire.errors import RemoteFault
from asya_core.wire.frames import PROTOCOL, Frame, FrameReader, Kind, encode_call, encode_frame, read_reply
from asya_core.wire.reply import ErrorReply
from asya_sidecar.effects import Call, CallsEnded, DrainRequested, Replied, RuntimeLost, RuntimeReady

__all__ = ["RuntimeClient", "RuntimeEvent"]

RuntimeEvent: TypeAlias = RuntimeReady | RuntimeLost | CallsEnded | Replied | DrainRequested

_FIRST_PAUSE_SECONDS: Final = 0.01
_LAST_PAUSE_SECONDS: Final = 0.25
_REFUSED_PAUSE_SECONDS: Final = 5.0
"""After a HELLO that this sidecar cannot speak with: a new runtime image is what helps, and it brings a new pod."""
_UNFINISHED_SECONDS: Final = 10.0
_EXIT_WAIT_SECONDS: Final = 1.0
"""How long a lost call waits for the next HELLO, which tells how the worker died."""
_MAX_CONCURRENCY: Final = 64
_REPLIES: Final = frozenset({Kind.PAYLOADS, Kind.ENVELOPES, Kind.ERROR})


class _Exit(msgspec.Struct):
    signal: int | None = None
    code: int | None = None


class _Hello(msgspec.Struct):
    protocol: int
    runtime: str = ""
    python: str = ""
    handler: str = ""
    mode: str = ""
    concurrency: int = 1
    ahead: int = 0
    max_frame: int = 0
    last_exit: _Exit | None = None


_decode_hello: Final = msgspec.json.Decoder(_Hello).decode
_decode_any: Final = msgspec.json.Decoder().decode


class _Lost(msgspec.Struct):
    """A loss with every slot in a call, not told yet: the next HELLO may say how the worker died."""

    message: str
    timer: asyncio.TimerHandle


class RuntimeClient:
    """Connects to the runtime, for ever until `stop`.

    Args:
        path: the Unix socket.
        actor: told in HELLO.
        version: the sidecar's own, told in HELLO.
        max_frame_bytes: the largest frame, in both directions; the runtime's own limit counts too if it is smaller.
        sink: takes the events, in the loop's thread; may call this client again.
        log: one line per change.
    """

    def __init__(
        self, path: str, *, actor: str, version: str, max_frame_bytes: int, sink: Callable[[RuntimeEvent], None], log: Log
    ) -> None:
        self._path = path
        self._hello = encode_frame(
            Kind.HELLO,
            0,
            msgspec.json.encode({"protocol": PROTOCOL, "sidecar": version, "actor": actor, "max_frame": max_frame_bytes}),
        )
        self._max_frame_bytes = max_frame_bytes
        self._sink = sink
        self._log = log
        self._connection: _Connection | None = None
        self._lost: _Lost | None = None
        self._pause = 0.0
        self._connecting: asyncio.Task[None] | None = None
        self._is_stopped = False
        self.problem = "the runtime has not been reached yet"
        """Why the runtime is not ready, one sentence; empty if it is."""

    def start(self) -> None:
        """Begin to connect. Once, in the running loop."""
        self._connecting = asyncio.get_running_loop().create_task(self._connect(), name="runtime-connect")

    def stop(self) -> None:
        """Close and connect no more; tells nothing. Idempotent."""
        self._is_stopped = True
        if self._connecting is not None:
            self._connecting.cancel()
        self._forget_lost()
        if self._connection is not None:
            self._connection.abandon()
            self._connection = None

    def call(self, call: Call) -> None:
        """Send a call. Answered by `Replied` or, with all open calls, by one `RuntimeLost`.

        A message that does not fit a frame is answered ``payload_too_large`` without troubling the runtime.
        """
        connection = self._connection
        if connection is None or not connection.is_ready:
            # The runtime went away in this very tick; its RuntimeLost is on its way or has been told, and covers this call.
            if self._lost is None:
                self._sink(RuntimeLost("runtime_crashed", "The runtime was not there when the call was to be sent"))
            return
        if len(call.body) + 9 > connection.max_frame_bytes:
            self._sink(Replied(call.call, _too_large(len(call.body), connection.max_frame_bytes)))
            return
        connection.calls.add(call.call)
        connection.write_call(encode_call(call.call, call.limit_ms, call.body))

    def close_connection(self) -> None:
        """Close, so that no late reply can arrive, and connect again. Tells no `RuntimeLost`; the next event is `RuntimeReady`."""
        self._forget_lost()
        if self._connection is not None:
            self._connection.abandon()
            self._connection = None
            self._log.warning("runtime closed", reason="a call was past its limit")
        self._reconnect("a call was past its limit; the runtime replaces its worker", 0.0)

    # ------------------------------------------------------------------------------------------------- from the connection

    def hello_received(self, connection: "_Connection", hello: _Hello) -> None:
        """The runtime spoke first. Raises RemoteFault ``protocol_mismatch`` or ``bad_frame``."""
        if hello.protocol != PROTOCOL:
            raise RemoteFault(
                "protocol_mismatch",
                f"Runtime speaks protocol {hello.protocol}; expected {PROTOCOL}",
                "use runtime and sidecar of one release",
            )
        if not 1 <= hello.concurrency <= _MAX_CONCURRENCY:
            raise RemoteFault("bad_frame", f"HELLO says concurrency {hello.concurrency}; expected 1 to {_MAX_CONCURRENCY}")
        if not 0 <= hello.ahead <= _MAX_CONCURRENCY:
            raise RemoteFault("bad_frame", f"HELLO says ahead {hello.ahead}; expected 0 to {_MAX_CONCURRENCY}")
        if hello.max_frame > 0:
            connection.max_frame_bytes = min(self._max_frame_bytes, hello.max_frame)
        connection.concurrency = hello.concurrency
        connection.is_ready = True
        connection.write(self._hello)
        self._pause = 0.0
        if self._lost is not None:
            self._tell_lost(_exit_sentence(hello.last_exit) or self._lost.message)
        self.problem = ""
        self._log.info(
            "runtime ready",
            runtime=hello.runtime,
            python=hello.python,
            handler=hello.handler,
            mode=hello.mode,
            concurrency=hello.concurrency,
            last_exit=_exit_sentence(hello.last_exit),
        )
        self._sink(RuntimeReady(hello.concurrency, hello.ahead))

    def drain_received(self, connection: "_Connection") -> None:
        """The runtime takes no new calls."""
        connection.is_draining = True
        self.problem = "the runtime is draining"
        self._sink(DrainRequested(final=False))

    def replied(self, connection: "_Connection", replies: list[Replied]) -> None:
        """The runtime answered calls: the next ones leave first, in one piece, then the answers are told."""
        connection.hold()
        try:
            self._sink(CallsEnded(tuple(reply.call for reply in replies)))
        finally:
            connection.release()
        for reply in replies:
            self._sink(reply)

    def connection_ended(self, connection: "_Connection", code: str, message: str) -> None:
        """The connection is gone, by the runtime's doing."""
        if connection is not self._connection or self._is_stopped:
            return
        self._connection = None
        was_ready, open_calls = connection.is_ready, len(connection.calls)
        is_refused = code == "protocol_mismatch"
        self._reconnect(message, _REFUSED_PAUSE_SECONDS if is_refused else max(self._pause, 0.0 if was_ready else _FIRST_PAUSE_SECONDS))
        if not was_ready:
            if is_refused:
                self._log.error("runtime refused", reason=message)
            return
        if connection.is_draining and not open_calls:
            self._log.info("runtime left", reason=message)
        else:
            self._log.warning("runtime lost", code=code, reason=message, calls=open_calls)
        if code == "runtime_crashed" and open_calls >= connection.concurrency:
            loop = asyncio.get_running_loop()
            self._lost = _Lost(message, loop.call_later(_EXIT_WAIT_SECONDS, self._tell_lost, message))
        else:
            self._sink(RuntimeLost(code, message))

    # ------------------------------------------------------------------------------------------------------------- inside

    def _tell_lost(self, message: str) -> None:
        self._forget_lost()
        self._sink(RuntimeLost("runtime_crashed", message))

    def _forget_lost(self) -> None:
        if self._lost is not None:
            self._lost.timer.cancel()
            self._lost = None

    def _reconnect(self, problem: str, pause_seconds: float) -> None:
        self.problem = problem
        self._pause = pause_seconds
        if not self._is_stopped and (self._connecting is None or self._connecting.done()):
            self.start()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._is_stopped:
            if self._pause:
                await asyncio.sleep(self._pause)
            self._pause = min(max(self._pause * 1.5, _FIRST_PAUSE_SECONDS), max(self._pause, _LAST_PAUSE_SECONDS))
            try:
                _, connection = await loop.create_unix_connection(lambda: _Connection(self, self._max_frame_bytes, self._log), self._path)
            except OSError as error:
                self.problem = f"the runtime's socket {self._path} is not there: {error.strerror or type(error).__name__}"
                continue
            if not connection.is_over:
                self._connection = connection
                self.problem = "the runtime is loading its handler"
                connection.begin()
                if not connection.is_over:  # else it was refused or closed by what had come already
                    return


class _Connection(asyncio.Protocol):
    """One connection. Bytes in and out, frames checked; what they are for is the client's."""

    def __init__(self, client: RuntimeClient, max_frame_bytes: int, log: Log) -> None:
        self._client = client
        self._log = log
        self._reader = FrameReader(max_frame_bytes)
        self._transport: asyncio.Transport | None = None
        self._unfinished: asyncio.TimerHandle | None = None
        self._early: list[bytes] | None = []
        self._descriptor = -1
        self._held: list[bytes] | None = None
        self.max_frame_bytes = max_frame_bytes
        self.concurrency = 1
        self.calls: set[int] = set()
        self.is_ready = False
        self.is_draining = False
        self.is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are no subclass of it
        self._descriptor = transport.get_extra_info("socket").fileno()

    def begin(self) -> None:
        """The client knows this connection now: take what came before that."""
        early, self._early = self._early or [], None
        for chunk in early:
            self.data_received(chunk)

    def data_received(self, chunk: bytes) -> None:
        """Called by the loop."""
        if self._early is not None:
            self._early.append(chunk)
            return
        finished = 0
        replies: list[Replied] = []
        try:
            for frame in self._reader.feed(chunk):
                if self.is_over:
                    return
                finished += 1
                if frame.kind in _REPLIES:
                    replies.append(self._reply(frame))
                    continue
                self._hand_on(replies)
                self._frame(frame)
        except RemoteFault as fault:
            self._hand_on(replies)
            self._refuse(fault)
            return
        self._hand_on(replies)
        if finished and self._unfinished is not None:
            self._unfinished.cancel()
            self._unfinished = None
        if self._reader.is_mid_frame and self._unfinished is None and not self.is_over:
            self._unfinished = asyncio.get_running_loop().call_later(_UNFINISHED_SECONDS, self._frame_unfinished)

    def eof_received(self) -> bool:
        """Called by the loop: the runtime closed; so do we."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the loop."""
        self._end(
            "runtime_crashed", "The runtime closed the connection" if error is None else f"The connection to the runtime broke: {error}"
        )

    def write(self, data: bytes) -> None:
        """Send bytes; the loop keeps what the socket does not take at once."""
        if self._transport is not None and not self.is_over:
            self._transport.write(data)

    def hold(self) -> None:
        """Keep the calls that follow until `release`."""
        self._held = []

    def release(self) -> None:
        """Send the calls that were kept, in one piece."""
        held, self._held = self._held, None
        if held:
            self._write_now(held[0] if len(held) == 1 else b"".join(held))

    def write_call(self, data: bytes) -> None:
        """Send a call: at once where the runtime has one slot, which waits for it; else with the others of this turn of the loop."""
        if self._held is not None:
            self._held.append(data)
        elif self.concurrency == 1:
            self._write_now(data)
        else:
            self.write(data)

    def _write_now(self, data: bytes) -> None:
        """Into the socket, not into the loop's queue, whose turn comes after all that is still to be done in this one (uvloop 0.23)."""
        transport = self._transport
        if transport is None or self.is_over or transport.is_closing():
            return
        sent = 0
        if not transport.get_write_buffer_size():
            with contextlib.suppress(OSError):  # full, or broken: the loop finds out which
                sent = os.write(self._descriptor, data)
        if sent < len(data):
            transport.write(data[sent:])

    def abandon(self) -> None:
        """Close at once and hear nothing more."""
        self.is_over = True
        if self._unfinished is not None:
            self._unfinished.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _reply(self, frame: Frame) -> Replied:
        if frame.call not in self.calls:
            raise RemoteFault("bad_frame", f"Reply to call {frame.call}, which is not open")
        reply = read_reply(frame)
        self.calls.discard(frame.call)
        return Replied(frame.call, reply)

    def _hand_on(self, replies: list[Replied]) -> None:
        if replies:
            told = replies.copy()
            replies.clear()
            self._client.replied(self, told)

    def _frame(self, frame: Frame) -> None:
        match frame.kind:
            case Kind.DRAIN if self.is_ready:
                self._client.drain_received(self)
            case Kind.HELLO if not self.is_ready:
                try:
                    hello = _decode_hello(frame.body)
                except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                    raise RemoteFault("bad_frame", f"HELLO is no JSON object as it should be: {error}") from error
                self._client.hello_received(self, hello)
            case Kind.FAULT:
                self._fault(frame.body)
            case _:
                raise RemoteFault("bad_frame", f"{frame.kind.name} frame from the runtime where none is due")

    def _fault(self, body: bytes) -> None:
        try:
            told: Any = _decode_any(body)
            code, message = str(told["code"]), str(told["message"])
        except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, KeyError):
            code, message = "bad_frame", "a FAULT that cannot be read"
        self._stop("protocol_mismatch" if code == "protocol_mismatch" else "bad_reply", f"The runtime refused a frame: {code}: {message}")

    def _frame_unfinished(self) -> None:
        self._unfinished = None
        self._refuse(RemoteFault("bad_frame", f"A frame was begun and not finished within {_UNFINISHED_SECONDS:g} s"))

    def _refuse(self, fault: RemoteFault) -> None:
        self.write(encode_frame(Kind.FAULT, 0, msgspec.json.encode({"code": fault.code, "message": fault.message})))
        self._stop("protocol_mismatch" if fault.code == "protocol_mismatch" else "bad_reply", f"The runtime broke the protocol: {fault}")

    def _stop(self, code: str, message: str) -> None:
        if self._transport is not None:
            self._transport.close()
        self._end(code, message)

    def _end(self, code: str, message: str) -> None:
        if self.is_over:
            return
        self.is_over = True
        if self._unfinished is not None:
            self._unfinished.cancel()
        self._client.connection_ended(self, code, message)


def _too_large(body_bytes: int, max_frame_bytes: int) -> ErrorReply:
    return ErrorReply(
        code="payload_too_large",
        type=None,
        mro=(),
        message=f"Message of {body_bytes} bytes does not fit a frame of {max_frame_bytes}; raise ASYA_MAX_FRAME_BYTES on both sides",
        traceback=None,
    )


def _exit_sentence(last_exit: _Exit | None) -> str | None:
    match last_exit:
        case _Exit(signal=int(number)):
            try:
                name = signal.Signals(number).name
            except ValueError:
                name = "unknown"
            told = "; out of memory is the usual cause" if number == signal.SIGKILL else ""
            return f"The runtime's worker was killed by signal {number} ({name}){told}"
        case _Exit(code=int(code)):
            return f"The runtime's worker exited with code {code}"
        case _:
            return None
