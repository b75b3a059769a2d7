"""Peers that are slow: no HELLO, a frame that is never finished, a reply that nobody takes. The bounds are shortened to a second."""

import asyncio
import json
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import asya_runtime

WAIT = 30.0
HALF = b"\0\0\0\x20\x10\0"
"""The first bytes of a CALL of 32 bytes."""
Connect = Callable[..., socket.socket]


@pytest.fixture
def connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """Starts a server in a thread, ``connect(handler, is_async)``, and connects to it."""
    monkeypatch.chdir(tmp_path)  # so that the socket's path is short
    monkeypatch.setattr(asya_runtime, "UNFINISHED_SECONDS", 1)
    monkeypatch.setattr(asya_runtime, "STALLED_SECONDS", 1)
    running: list[tuple[asya_runtime.Worker, threading.Thread]] = []
    clients: list[socket.socket] = []

    def begin(handler: Any, is_async: bool) -> socket.socket:
        if not running:
            listener = asya_runtime._socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind("s")
            listener.listen()
            state = asya_runtime.open_state("state")
            state[asya_runtime.LOADED] = 1.0
            settings = asya_runtime.Settings({"ASYA_HANDLER": "in.process"})
            worker = asya_runtime.Worker(settings, listener, control=-1, state=state, last_exit=None)
            worker.handler = asya_runtime.Handler(handler, is_async=is_async, warnings=[])
            thread = threading.Thread(target=serve, args=(worker,))
            thread.start()
            running.append((worker, thread))
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        clients.append(client)
        client.settimeout(WAIT)
        client.connect("s")
        return client

    yield begin
    for client in clients:
        client.close()
    for worker, thread in running:
        worker._drain()
        thread.join(WAIT)
        assert not thread.is_alive()
        worker.listener.close()
        if worker.peer is not None:
            worker.peer.close()


def serve(worker: asya_runtime.Worker) -> None:
    if not worker.handler.is_async:
        asya_runtime.serve_blocking(worker)
        return
    asya_runtime.serve_async(worker)
    asyncio.get_event_loop().close()  # the process ends here otherwise


def plain(payload: Any) -> Any:
    return "x" * payload


async def later(payload: Any) -> Any:
    return plain(payload)


def read(client: socket.socket) -> tuple[int, bytes]:
    """Kind and body of the next frame."""
    data = b""
    while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
        chunk = client.recv(4 + int.from_bytes(data[:4], "big") - len(data) if len(data) >= 4 else 4 - len(data))
        assert chunk
        data += chunk
    return data[4], data[9:]


def greet(client: socket.socket) -> None:
    assert read(client)[0] == asya_runtime.HELLO
    body = json.dumps({"protocol": 1, "actor": "a", "max_frame": 1 << 26}).encode()
    client.sendall(asya_runtime.encode_frame(asya_runtime.HELLO, 0, body))


def call(client: socket.socket, payload: int) -> None:
    body = struct.pack(">I", 0) + json.dumps({"payload": payload}).encode()
    client.sendall(asya_runtime.encode_frame(asya_runtime.CALL, 1, body))


both = pytest.mark.parametrize(("handler", "is_async"), [(plain, False), (later, True)], ids=["blocking", "asyncio"])


@both
def test_peer_without_hello_is_sent_away_and_the_next_is_served(connect: Connect, handler: Any, is_async: bool) -> None:
    client = connect(handler, is_async)
    assert read(client)[0] == asya_runtime.HELLO
    kind, body = read(client)
    assert (kind, json.loads(body)) == (asya_runtime.FAULT, {"code": "bad_frame", "message": "No HELLO after 1 s"})
    assert client.recv(1) == b""
    client = connect(handler, is_async)
    greet(client)
    call(client, 1)
    assert read(client) == (asya_runtime.PAYLOADS, b'\0\0\0\0\1\0\0\0\3"x"')


@both
def test_frame_that_stays_unfinished_sends_the_peer_away(connect: Connect, handler: Any, is_async: bool) -> None:
    client = connect(handler, is_async)
    greet(client)
    client.sendall(HALF)
    kind, body = read(client)
    assert (kind, json.loads(body)["message"]) == (asya_runtime.FAULT, "Frame is unfinished after 1 s")
    assert client.recv(1) == b""


@both
def test_reply_that_nobody_takes_closes_the_connection_and_the_next_peer_is_served(
    connect: Connect, handler: Any, is_async: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    client = connect(handler, is_async)
    greet(client)
    call(client, 8_000_000)
    poller = select.poll()
    poller.register(client, 0)  # hang-up only: nothing is read
    assert poller.poll(WAIT * 1000) != []
    assert "has taken nothing of a frame of 8000020 bytes for 1 s" in capfd.readouterr().err
    client = connect(handler, is_async)
    greet(client)
    call(client, 2)
    assert read(client)[0] == asya_runtime.PAYLOADS


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(asya_runtime, "time", clock)
    return clock


@pytest.fixture
def pair() -> Iterator[tuple[asya_runtime.Peer, socket.socket]]:
    """A peer whose reads do not wait, and the other end."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    yield asya_runtime.Peer(ours, 1 << 26, 1), theirs
    ours.close()
    theirs.close()


def greeted(pair: tuple[asya_runtime.Peer, socket.socket]) -> tuple[asya_runtime.Peer, socket.socket]:
    peer, sender = pair
    body = b'{"protocol":1,"actor":"a","max_frame":5000}'
    sender.send(asya_runtime.encode_frame(asya_runtime.HELLO, 0, body))
    assert peer.receive() == [(asya_runtime.HELLO, 0, body)]
    peer.greet(body, asya_runtime.Json())
    return peer, sender


def test_bytes_now_and_then_do_not_prolong_a_frame(clock: Clock, pair: tuple[asya_runtime.Peer, socket.socket]) -> None:
    peer, sender = greeted(pair)
    clock.now = 500.0
    for byte in HALF[:4]:
        sender.send(bytes([byte]))
        assert peer.receive() == []
        clock.now += 3.0 if clock.now < 509.0 else 0.5
    sender.send(HALF[4:])
    with pytest.raises(asya_runtime.Fault, match="unfinished"):
        peer.receive()


def test_silence_between_frames_is_no_fault(clock: Clock, pair: tuple[asya_runtime.Peer, socket.socket]) -> None:
    peer, sender = greeted(pair)
    for _ in range(3):
        sender.send(asya_runtime.encode_frame(asya_runtime.CALL, 1, b"\0\0\0\0{}"))
        assert peer.receive() == [(asya_runtime.CALL, 1, b"\0\0\0\0{}")]
        clock.now += 1000.0
        assert peer.receive() == []


def test_next_frame_that_begins_with_the_end_of_one_has_its_own_time(clock: Clock, pair: tuple[asya_runtime.Peer, socket.socket]) -> None:
    peer, sender = greeted(pair)
    frame = asya_runtime.encode_frame(asya_runtime.CALL, 1, b"\0\0\0\0{}")
    sender.send(frame[:6])
    assert peer.receive() == []
    clock.now += 9.0
    sender.send(frame[6:] + frame[:6])
    assert peer.receive() == [(asya_runtime.CALL, 1, b"\0\0\0\0{}")]
    clock.now += 9.0
    sender.send(frame[6:])
    assert len(peer.receive() or []) == 1


def test_end_of_file_is_none(pair: tuple[asya_runtime.Peer, socket.socket]) -> None:
    peer, sender = pair
    sender.close()
    assert peer.receive() is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[]", "protocol_mismatch"),
        (b"{", "bad_frame"),
        (b'{"protocol":2}', "protocol_mismatch"),
        (b'{"protocol":1}', "bad_frame"),
        (b'{"protocol":1,"actor":1,"max_frame":5000}', "bad_frame"),
        (b'{"protocol":1,"actor":"a","max_frame":1023}', "bad_frame"),
        (b'{"protocol":1,"actor":"a","max_frame":true}', "bad_frame"),
    ],
)
def test_hello_that_is_wrong_is_a_fault(pair: tuple[asya_runtime.Peer, socket.socket], body: bytes, code: str) -> None:
    with pytest.raises(asya_runtime.Fault, match=code):
        pair[0].greet(body, asya_runtime.Json())


def test_smaller_frame_limit_of_both_sides_counts(pair: tuple[asya_runtime.Peer, socket.socket]) -> None:
    pair[0].greet(b'{"protocol":1,"actor":"a","max_frame":2048}', asya_runtime.Json())
    assert pair[0].reply_limit == 2048
