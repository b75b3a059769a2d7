"""The client against a server on a real socket that plays the runtime, rightly and wrongly."""

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asya_core.ops.logs import Log
from asya_core.wire.frames import Frame, FrameReader, Kind, encode_frame
from asya_core.wire.reply import ErrorReply, PayloadsReply
from asya_sidecar import runtime_client
from asya_sidecar.effects import Call, CallsEnded, DrainRequested, Replied, RuntimeLost, RuntimeReady
from asya_sidecar.runtime_client import RuntimeClient

WAIT = 30.0
HELLO = {"protocol": 1, "runtime": "0.1.0", "python": "3.13", "handler": "h", "mode": "payload", "concurrency": 1, "max_frame": 1_000_000}


def items(*payloads: bytes) -> bytes:
    return struct.pack(">BI", 0, len(payloads)) + b"".join(struct.pack(">I", len(each)) + each for each in payloads)


class Peer:
    """One accepted connection: what the runtime would do, by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self._frames: list[Frame] = []
        self._parser = FrameReader()

    async def frame(self) -> Frame | None:
        """The next frame; None at the end of the stream."""
        while not self._frames:
            try:
                chunk = await asyncio.wait_for(self._reader.read(65536), WAIT)
            except ConnectionResetError:  # closed with bytes of ours unread
                return None
            if not chunk:
                return None
            self._frames.extend(self._parser.feed(chunk))
        return self._frames.pop(0)

    def hello(self, **changes: Any) -> None:
        self.writer.write(encode_frame(Kind.HELLO, 0, json.dumps({**HELLO, **changes}).encode()))

    def send(self, kind: Kind, call: int, body: bytes = b"") -> None:
        self.writer.write(encode_frame(kind, call, body))

    def close(self) -> None:
        self.writer.close()


class Runtime:
    """A server in the runtime's place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._all: list[Peer] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = Peer(reader, writer)
            self._all.append(peer)
            self._peers.put_nowait(peer)

        self._server = await asyncio.start_unix_server(accepted, str(self._path))

    async def peer(self) -> Peer:
        return await asyncio.wait_for(self._peers.get(), WAIT)

    async def stop(self) -> None:
        assert self._server is not None
        for _ in range(5):  # turns of the loop in which a connection that was just accepted becomes a peer: a closed server loses it
            await asyncio.sleep(0)
        self._server.close()
        for peer in self._all:
            peer.close()
            try:
                await peer.writer.wait_closed()
            except OSError:
                pass


class Stage:
    """A client, its events, a runtime."""

    def __init__(self, folder: Path, events: Any, log: Log, max_frame_bytes: int) -> None:
        self.events = events
        self.runtime = Runtime(folder / "r.sock")
        self.client = RuntimeClient(
            str(folder / "r.sock"), actor="a", version="0.1.0", max_frame_bytes=max_frame_bytes, sink=events, log=log
        )

    async def ready(self, **hello: Any) -> Peer:
        """Start both; gives the connection after both HELLOs."""
        await self.runtime.start()
        self.client.start()
        return await self.welcome(**hello)

    async def welcome(self, **hello: Any) -> Peer:
        peer = await self.runtime.peer()
        peer.hello(**hello)
        frame = await peer.frame()
        assert frame is not None
        assert frame.kind is Kind.HELLO
        return peer

    async def close(self) -> None:
        self.client.stop()
        await self.runtime.stop()


Play = Callable[..., None]


@pytest.fixture
def play(run: Any, new_events: Any, log: Log, folder: Path) -> Play:
    """Runs a scene with a stage that is closed afterwards."""

    def play(scene: Callable[[Stage], Any], max_frame_bytes: int = 1_000_000) -> None:
        async def body() -> None:
            stage = Stage(folder, new_events(), log, max_frame_bytes)
            try:
                await scene(stage)
            finally:
                await stage.close()

        run(body())

    return play


def test_hello_goes_both_ways_before_ready(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        await stage.runtime.start()
        stage.client.start()
        peer = await stage.runtime.peer()
        peer.hello(concurrency=3, ahead=2)

        frame = await peer.frame()

        assert frame is not None
        assert json.loads(frame.body) == {"protocol": 1, "sidecar": "0.1.0", "actor": "a", "max_frame": 1_000_000}
        assert await stage.events.next() == RuntimeReady(3, 2)
        assert stage.client.problem == ""

    play(scene)


def test_a_socket_that_comes_late_is_found(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.client.start()
        while "is not there" not in stage.client.problem:  # noqa: ASYNC110 - nothing tells of the client's own try
            await asyncio.sleep(0.001)

        await stage.runtime.start()
        await stage.welcome()

        assert await stage.events.next() == RuntimeReady(1)

    play(scene)


def test_a_call_is_sent_as_it_came_and_its_reply_handed_on(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        peer = await stage.ready()
        await stage.events.next()

        stage.client.call(Call(7, 300_000, b'{"x": 1}'))
        frame = await peer.frame()
        peer.send(Kind.PAYLOADS, 7, items(b"1"))

        assert frame == Frame(Kind.CALL, 7, struct.pack(">I", 300_000) + b'{"x": 1}')
        assert await stage.events.next() == CallsEnded((7,))
        assert await stage.events.next() == Replied(7, PayloadsReply((b"1",), False))

    play(scene)


def test_several_frames_in_one_chunk_are_all_handed_on_in_order(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        peer = await stage.ready(concurrency=3)
        await stage.events.next()
        for number in (1, 2, 3):
            stage.client.call(Call(number, 0, b"{}"))
        for _ in range(3):
            await peer.frame()

        peer.writer.write(b"".join(encode_frame(Kind.PAYLOADS, number, items(b"0")) for number in (3, 1, 2)))

        assert await stage.events.next() == CallsEnded((3, 1, 2))
        assert [(await stage.events.next()).call for _ in range(3)] == [3, 1, 2]

    play(scene)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_the_next_calls_have_left_in_one_piece_before_an_answer_is_told(
    run: Any, new_events: Any, log: Log, folder: Path, concurrency: int
) -> None:
    """Whoever hears of the answer, and takes its time over it, keeps no slot idle."""

    async def body() -> None:
        stage = Stage(folder, new_events(), log, 1_000_000)
        left: list[bytes] = []
        told = stage.events

        def sink(event: Any) -> None:
            if isinstance(event, CallsEnded):
                for call in event.calls:
                    stage.client.call(Call(call + concurrency, 0, b"{}"))
            elif isinstance(event, Replied) and not left:
                left.append(runtime_end.recv(65_536, socket.MSG_DONTWAIT))
            told(event)

        stage.client = RuntimeClient(str(folder / "r.sock"), actor="a", version="0.1.0", max_frame_bytes=1_000_000, sink=sink, log=log)
        try:
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(str(folder / "r.sock"))
                listening.listen(1)
                listening.setblocking(False)
                stage.client.start()
                runtime_end, _ = await asyncio.get_running_loop().sock_accept(listening)
                with runtime_end:
                    runtime_end.setblocking(False)
                    runtime_end.send(encode_frame(Kind.HELLO, 0, json.dumps({**HELLO, "concurrency": concurrency}).encode()))
                    assert await told.next() == RuntimeReady(concurrency)
                    numbers = range(1, concurrency + 1)
                    for number in numbers:
                        stage.client.call(Call(number, 0, b"{}"))
                    await asyncio.get_running_loop().sock_recv(runtime_end, 65_536)

                    runtime_end.send(b"".join(encode_frame(Kind.PAYLOADS, number, items(b"0")) for number in numbers))

                    assert await told.next() == CallsEnded(tuple(numbers))
                    assert isinstance(await told.next(), Replied)
                    frames = list(FrameReader().feed(left[0]))
                    assert [frame.call for frame in frames if frame.kind is Kind.CALL] == [number + concurrency for number in numbers]
        finally:
            stage.client.stop()

    run(body())


def test_a_call_larger_than_the_socket_takes_at_once_arrives_whole_and_before_the_next(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        peer = await stage.ready(max_frame=4_000_000)
        await stage.events.next()
        large = b'"' + b"x" * 3_000_000 + b'"'

        stage.client.call(Call(1, 0, large))
        stage.client.call(Call(2, 0, b"{}"))

        assert await peer.frame() == Frame(Kind.CALL, 1, struct.pack(">I", 0) + large)
        assert await peer.frame() == Frame(Kind.CALL, 2, struct.pack(">I", 0) + b"{}")

    play(scene, 4_000_000)


def test_a_reply_in_pieces_is_put_together(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        peer = await stage.ready()
        await stage.events.next()
        stage.client.call(Call(1, 0, b"{}"))
        frame = encode_frame(Kind.PAYLOADS, 1, items(b'"' + b"x" * 300_000 + b'"'))
        for at in range(0, len(frame), 50_000):
            peer.writer.write(frame[at : at + 50_000])
            await peer.writer.drain()

        assert await stage.events.next() == CallsEnded((1,))
        assert len((await stage.events.next()).reply.items[0]) == 300_002

    play(scene)


def test_drain_asks_for_a_drain_that_is_not_final(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        peer = await stage.ready()
        await stage.events.next()

        peer.send(Kind.DRAIN, 0)

        assert await stage.events.next() == DrainRequested(final=False)

    play(scene)


def test_a_connection_that_ends_while_idle_is_told_at_once_and_made_anew(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        peer = await stage.ready()
        await stage.events.next()

        peer.close()

        lost = await stage.events.next()
        assert (type(lost), lost.code) == (RuntimeLost, "runtime_crashed")
        await stage.welcome()
        assert await stage.events.next() == RuntimeReady(1)

    play(scene)


@pytest.mark.parametrize(
    ("last_exit", "sentence"),
    [
        ({"signal": 9}, "The runtime's worker was killed by signal 9 (SIGKILL); out of memory is the usual cause"),
        ({"signal": 11}, "The runtime's worker was killed by signal 11 (SIGSEGV)"),
        ({"code": 3}, "The runtime's worker exited with code 3"),
        (None, "The runtime closed the connection"),
    ],
)
def test_a_lost_call_tells_how_the_worker_died_as_the_next_hello_says(play: Play, last_exit: Any, sentence: str) -> None:
    async def scene(stage: Stage) -> None:
        peer = await stage.ready()
        await stage.events.next()
        stage.client.call(Call(1, 0, b"{}"))
        await peer.frame()

        peer.close()
        await stage.welcome(last_exit=last_exit)

        assert await stage.events.next() == RuntimeLost("runtime_crashed", sentence)
        assert await stage.events.next() == RuntimeReady(1)

    play(scene)


def test_a_lost_call_does_not_wait_long_for_the_next_hello(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_client, "_EXIT_WAIT_SECONDS", 0.02)

    async def scene(stage: Stage) -> None:
        peer = await stage.ready()
        await stage.events.next()
        stage.client.call(Call(1, 0, b"{}"))
        await peer.frame()

        peer.close()

        assert await stage.events.next() == RuntimeLost("runtime_crashed", "The runtime closed the connection")

    play(scene)


def test_a_closed_connection_tells_nothing_and_hears_no_late_reply(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        peer = await stage.ready()
        await stage.events.next()
        stage.client.call(Call(1, 0, b"{}"))
        await peer.frame()
        peer.send(Kind.PAYLOADS, 1, items(b"1"))

        stage.client.close_connection()

        assert await peer.frame() is None
        await stage.welcome()
        assert await stage.events.next() == RuntimeReady(1)
        assert stage.events.is_empty

    play(scene)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("reply to no call", encode_frame(Kind.PAYLOADS, 9, items(b"1"))),
        ("second reply", encode_frame(Kind.PAYLOADS, 1, items(b"1")) * 2),
        ("unknown kind", struct.pack(">IBI", 5, 0x99, 0)),
        ("length under 5", struct.pack(">IBI", 4, 0x20, 1)),
        ("length over the limit", struct.pack(">IBI", 2**32 - 1, 0x20, 1)),
        ("wrong count", encode_frame(Kind.PAYLOADS, 1, struct.pack(">BI", 0, 5))),
        ("trailing bytes", encode_frame(Kind.PAYLOADS, 1, items(b"1") + b"x")),
        ("odd envelopes", encode_frame(Kind.ENVELOPES, 1, items(b"{}"))),
        ("error without fields", encode_frame(Kind.ERROR, 1, b"{}")),
        ("call from the runtime", encode_frame(Kind.CALL, 1, b"0000")),
        ("second hello", encode_frame(Kind.HELLO, 0, b"{}")),
        ("fault", encode_frame(Kind.FAULT, 0, b'{"code": "too_many_calls", "message": "m"}')),
        ("fault that cannot be read", encode_frame(Kind.FAULT, 0, b"[]")),
    ],
)
def test_a_broken_frame_is_bad_reply_and_the_connection_is_made_anew(play: Play, name: str, data: bytes) -> None:
    async def scene(stage: Stage) -> None:
        peer = await stage.ready()
        await stage.events.next()
        stage.client.call(Call(1, 0, b"{}"))
        await peer.frame()

        peer.writer.write(data)

        event = await stage.events.next()
        if name == "second reply":
            assert [type(event), type(await stage.events.next())] == [CallsEnded, Replied]
            event = await stage.events.next()
        assert (type(event), event.code) == (RuntimeLost, "bad_reply")
        if not name.startswith("fault"):
            frame = await peer.frame()
            assert frame is not None
            assert frame.kind is Kind.FAULT
        assert await peer.frame() is None
        await stage.welcome()

    play(scene)


def test_a_frame_that_is_not_finished_in_time_is_bad_reply(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_client, "_UNFINISHED_SECONDS", 0.02)

    async def scene(stage: Stage) -> None:
        peer = await stage.ready()
        await stage.events.next()
        stage.client.call(Call(1, 0, b"{}"))
        await peer.frame()

        peer.writer.write(b"\x00\x00\x00")

        lost = await stage.events.next()
        assert lost.code == "bad_reply"
        assert "not finished within" in lost.message

    play(scene)


@pytest.mark.parametrize(
    "hello", [{"protocol": 2}, {"protocol": 0}, {"concurrency": 0}, {"concurrency": 65}, {"protocol": "1"}, {"ahead": -1}, {"ahead": 65}]
)
def test_a_hello_of_another_protocol_is_refused_with_a_fault(play: Play, hello: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_client, "_REFUSED_PAUSE_SECONDS", 0.01)

    async def scene(stage: Stage) -> None:
        await stage.runtime.start()
        stage.client.start()
        peer = await stage.runtime.peer()
        peer.hello(**hello)

        frame = await peer.frame()

        assert frame is not None
        assert frame.kind is Kind.FAULT
        await stage.welcome()
        assert await stage.events.next() == RuntimeReady(1)

    play(scene)


@pytest.mark.parametrize(("own", "theirs"), [(1_000_000, 2000), (2000, 1_000_000)])
def test_a_message_over_the_smaller_frame_limit_is_answered_without_the_runtime(play: Play, own: int, theirs: int) -> None:
    async def scene(stage: Stage) -> None:
        peer = await stage.ready(max_frame=theirs)
        await stage.events.next()

        stage.client.call(Call(1, 0, b"x" * 1992))
        stage.client.call(Call(2, 0, b"x" * 1991))

        replied = await stage.events.next()
        assert isinstance(replied.reply, ErrorReply)
        assert (replied.call, replied.reply.code) == (1, "payload_too_large")
        frame = await peer.frame()
        assert frame is not None
        assert frame.call == 2

    play(scene, own)


def test_a_call_without_a_runtime_is_lost(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.client.call(Call(1, 0, b"{}"))

        assert (await stage.events.next()).code == "runtime_crashed"
        await stage.runtime.start()

    play(scene)
