# ruff: noqa: E501
"""A real runtime process, called over its socket."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

PAYLOADS, ENVELOPES, ERROR, DRAIN, FAULT = 0x20, 0x21, 0x22, 2, 3

KINDS = """
import asyncio, contextlib, functools, os, signal, sys, threading, time

def enrich(p): return {**p, "y": 2}
def give(p): return eval_free[p]
eval_free = {"none": None, "list": [1, 2], "empty": [], "tuple": (1,), "zero": 0, "false": False, "text": "", "dict": {}, "null": [None], "big": list(range(20))}
def items(p):
    yield 1
    yield None
async def later(p):
    await asyncio.sleep(0)
    return {**p, "later": True}
async def many(p):
    for number in range(3):
        yield number
def coroutine(p): return later(p)
class Counter:
    def __init__(self, start: int = 10): self.count = start
    def process(self, p):
        self.count += 1
        return self.count
    def __call__(self, p): return "called"
    @staticmethod
    def static(p): return "static"
counter = Counter()
added = functools.partial(lambda extra, p: p + extra, 5)
raises = {"exit": SystemExit(3), "interrupt": KeyboardInterrupt(), "stop": StopIteration(), "value": ValueError("bad x"), "huge": ValueError("x" * 1000000)}
class Unprintable(Exception):
    def __str__(self): raise SystemExit
raises["unprintable"] = Unprintable()
def fail(p):
    if p in raises: raise raises[p]
    return p
def awkward(p):
    if p == "fork":
        pid = os.fork()
        if pid: os.waitpid(pid, 0)
    elif p == "close": os.close(1); os.close(0)
    elif p == "chdir": os.chdir("/")
    elif p == "signals": signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN)
    elif p == "thread": threading.Thread(target=time.sleep, args=(1000,)).start()
    elif p == "alarm":
        def ring(*_): raise TimeoutError("ring")
        signal.signal(signal.SIGALRM, ring); signal.setitimer(signal.ITIMER_REAL, 0.01)
    elif p == "stderr": sys.stderr = None; sys.stdout = 5
    elif p == "timeout": import socket; socket.setdefaulttimeout(0.001)
    elif p == "recursion": return awkward(p)
    return p
"""


@pytest.mark.parametrize(
    ("handler", "payload", "reply"),
    [
        ("enrich", {"x": 1}, (False, [{"x": 1, "y": 2}])),
        ("give", "none", (False, [])),
        ("give", "list", (True, [1, 2])),
        ("give", "empty", (False, [])),
        ("give", "tuple", (True, [1])),
        ("give", "null", (True, [None])),
        ("give", "zero", (False, [0])),
        ("give", "false", (False, [False])),
        ("give", "text", (False, [""])),
        ("give", "dict", (False, [{}])),
        ("items", 0, (True, [1, None])),
        ("later", {}, (False, [{"later": True}])),
        ("many", 0, (True, [0, 1, 2])),
        ("coroutine", {}, (False, [{"later": True}])),
        ("Counter.process", 0, (False, [11])),
        ("Counter.static", 0, (False, ["static"])),
        ("counter", 0, (False, ["called"])),
        ("counter.process", 0, (False, [11])),
        ("added", 1, (False, [6])),
    ],
)
def test_each_kind_of_handler_and_result_is_answered(start: Callable[..., Any], handler: str, payload: Any, reply: Any) -> None:
    assert start("handlers." + handler, KINDS).connect().payload(payload) == (PAYLOADS, reply)


def test_exceptions_are_error_replies_of_the_same_worker(start: Callable[..., Any]) -> None:
    runtime = start("handlers.fail", KINDS)
    client, worker = runtime.connect(), runtime.worker_pid
    for name, type_name in [
        ("exit", "SystemExit"),
        ("interrupt", "KeyboardInterrupt"),
        ("stop", "StopIteration"),
        ("value", "ValueError"),
        ("huge", "ValueError"),
        ("unprintable", "handlers.Unprintable"),
    ]:
        kind, error = client.payload(name)
        assert (kind, error["code"], error["type"]) == (ERROR, "handler_error", type_name)
        assert error["mro"][-1] == "BaseException"
    assert client.payload("fine") == (PAYLOADS, (False, ["fine"]))
    assert runtime.worker_pid == worker
    assert "ValueError: bad x" in runtime.stderr()


@pytest.mark.parametrize("deed", ["fork", "close", "chdir", "signals", "thread", "alarm", "stderr", "timeout", "recursion"])
def test_after_an_awkward_handler_the_next_call_works(start: Callable[..., Any], deed: str) -> None:
    runtime = start("handlers.awkward", KINDS)
    client, worker = runtime.connect(), runtime.worker_pid
    client.payload(deed)
    for number in range(3):
        assert client.payload(number) == (PAYLOADS, (False, [number]))
    runtime.process.send_signal(signal.SIGTERM)
    assert client.read()[0] == DRAIN
    assert runtime.wait() == 0
    assert worker


@pytest.mark.parametrize(
    ("body", "code"),
    [(b'{"payload":"\xff"}', "bad_message"), (b"[1]", "bad_message"), (b"{}", "bad_message"), (b'{"payload":{"a":NaN}}', "bad_message")],
)
def test_unreadable_message_is_answered_and_the_next_call_works(start: Callable[..., Any], body: bytes, code: str) -> None:
    client = start("handlers.fail", KINDS).connect()
    assert client.call(body)[1]["code"] == code
    assert client.payload(1) == (PAYLOADS, (False, [1]))


def test_too_many_items_and_half_bad_lists_send_nothing(start: Callable[..., Any]) -> None:
    client = start("handlers.give", KINDS, ASYA_MAX_ITEMS="10").connect()
    assert client.payload("big")[1]["code"] == "too_many_items"
    source = "def process(p): return [1, 2, {3}]\n"
    kind, error = start("handlers.process", source).connect().payload(0)
    assert (kind, error["code"]) == (ERROR, "result_not_serialisable")
    assert "$[2] is of type set" in error["message"]


def test_reply_over_the_peers_limit_is_reply_too_large(start: Callable[..., Any]) -> None:
    client = start("handlers.process", "def process(p): return 'x' * p\n").connect(max_frame=20_000)
    assert client.payload(30_000)[1]["code"] == "reply_too_large"
    assert client.payload(3) == (PAYLOADS, (False, ["xxx"]))


def test_large_message_makes_the_round_trip(start: Callable[..., Any]) -> None:
    text = "ä" * 3_000_000
    assert start("handlers.process", "def process(p): return p\n").connect().payload(text) == (PAYLOADS, (False, [text]))


def test_envelope_mode_inserts_an_actor_and_tells_what_is_wrong(start: Callable[..., Any]) -> None:
    source = (
        "def process(e):\n    r = e['route']\n    r['actors'].insert(r['current'] + 1, e['payload'])\n    r['current'] += 1\n    return e\n"
    )
    client = start("handlers.process", source, ASYA_HANDLER_MODE="envelope").connect()
    kind, (fan_out, items) = client.payload("c")
    assert (kind, fan_out) == (ENVELOPES, False)
    assert items == [{"id": "7", "route": {"actors": ["a", "c", "b"], "current": 1}}, "c"]
    assert client.payload("Not Legal")[1]["code"] == "route_entry_invalid"


def test_async_calls_overlap_and_are_cancelled_at_their_limit(start: Callable[..., Any]) -> None:
    source = """
import asyncio
waiting = []
async def process(p):
    if p == "wait":
        event = asyncio.Event(); waiting.append(event); await event.wait()
    elif p == "release": waiting.pop(0).set()
    elif p == "hang": await asyncio.Event().wait()
    return p
"""
    client = start("handlers.process", source, ASYA_CONCURRENCY="2").connect()
    body = b'{"id":"7","payload":"%s"}'
    first, second = client.start_call(body % b"wait"), client.start_call(body % b"release")
    assert {client.read()[1], client.read()[1]} == {first, second}
    kind, error = client.call(body % b"hang", 100)
    assert (kind, error["code"]) == (ERROR, "timeout")
    for _ in range(2):
        client.start_call(body % b"hang")
    client.start_call(body % b"hang")
    kind, _, fault = client.read()
    assert (kind, b"too_many_calls" in fault) == (FAULT, True)


HANGS = {
    "sleeps": "import time\ndef process(p):\n    while p == 'hang': time.sleep(1000)\n    return p\n",
    "loops": "def process(p):\n    while p == 'hang': pass\n    return p\n",
    "holds the interpreter lock in C": (
        "import ctypes\nlibc = ctypes.PyDLL(None)\ndef process(p):\n    while p == 'hang': libc.sleep(1000)\n    return p\n"
    ),
}


@pytest.mark.parametrize("source", HANGS.values(), ids=HANGS.keys())
def test_hanging_handler_is_killed_and_the_next_call_served(start: Callable[..., Any], source: str) -> None:
    runtime = start("handlers.process", source)
    client, worker = runtime.connect(), runtime.worker_pid
    client.start_call(b'{"payload":"hang"}', 100)
    assert client.is_closed()
    client = runtime.connect()
    assert client.hello["last_exit"] == {"signal": 9}
    assert client.payload("next") == (PAYLOADS, (False, ["next"]))
    assert runtime.worker_pid != worker
    assert runtime.process.poll() is None


def test_killed_worker_is_replaced(start: Callable[..., Any]) -> None:
    runtime = start("handlers.enrich", KINDS)
    client = runtime.connect()
    os.kill(runtime.worker_pid, signal.SIGKILL)
    assert client.is_closed()
    assert runtime.connect().hello["last_exit"] == {"signal": 9}


def test_sigterm_says_drain_in_mid_call_and_answers_it(start: Callable[..., Any]) -> None:
    source = "import sys\ndef process(p):\n    sys.stdin = open('go')\n    return sys.stdin.read()\n"
    runtime = start("handlers.process", source)
    os.mkfifo(runtime.folder / "go")
    client = runtime.connect()
    client.start_call(b'{"payload":1}')
    with open(runtime.folder / "go", "w") as go:  # opens when the handler has
        assert runtime.probe("ready").returncode == 0
        runtime.process.send_signal(signal.SIGTERM)
        assert client.read() == (DRAIN, 0, b"")
        assert runtime.probe("ready").returncode == 1
        assert runtime.probe("live").returncode == 0
        go.write("done")
    assert client.read()[0] == PAYLOADS
    assert client.is_closed()
    assert runtime.wait() == 0


def test_end_of_the_parents_pipe_ends_supervisor_and_worker(start: Callable[..., Any]) -> None:
    read_end, write_end = os.pipe()
    runtime = start("handlers.enrich", KINDS, pass_fds=(read_end,), ASYA_PARENT_FD=str(read_end))
    os.close(read_end)
    client = runtime.connect()
    os.close(write_end)
    assert client.is_closed()
    assert runtime.wait() == 0


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\0\0\0\0", b"bad_frame"),
        (b"\xff\xff\xff\xff", b"frame_too_large"),
        (b"\0\0\0\5\x7f\0\0\0\0", b"bad_frame"),
        (b"\0\0\0\5\x10\0\0\0\1", b"bad_frame"),
    ],
)
def test_broken_frames_get_a_fault_and_the_next_peer_is_served(start: Callable[..., Any], raw: bytes, code: bytes) -> None:
    runtime = start("handlers.enrich", KINDS)
    client = runtime.connect()
    client.socket.sendall(raw)
    kind, _, body = client.read()
    assert (kind, code in body) == (FAULT, True)
    assert client.is_closed()
    assert runtime.connect().payload({})[0] == PAYLOADS


def test_protocol_mismatch_is_a_fault(start: Callable[..., Any]) -> None:
    client = start("handlers.enrich", KINDS).connect(greet=False)
    client.greet(protocol=2)
    kind, _, body = client.read()
    assert (kind, b"protocol_mismatch" in body) == (FAULT, True)


def test_second_peer_waits_and_disturbs_nobody(start: Callable[..., Any]) -> None:
    runtime = start("handlers.enrich", KINDS)
    first = runtime.connect()
    second = runtime.connect(greet=False)
    second.socket.sendall(b"\0\0\0\0")
    assert first.payload({}) == (PAYLOADS, (False, [{"y": 2}]))


def test_handler_sees_its_folder_first_and_no_arguments(start: Callable[..., Any]) -> None:
    source = "import sys\ndef process(p): return {'path': sys.path, 'argv': sys.argv}\n"
    runtime = start("handlers.process", source)
    _, (_, (seen,)) = runtime.connect().payload(0)
    assert seen["path"][0] == str(runtime.folder)
    assert [entry for entry in seen["path"] if entry.startswith("/proc")] == []
    assert [name.rpartition("/")[2] for name in seen["argv"]] == ["asya_runtime.py"]


def test_100_mb_of_prints_without_a_newline_end_in_a_reply(start: Callable[..., Any]) -> None:
    source = "def process(p):\n    for _ in range(100): print('x' * 1000000, end='')\n    return p\n"
    client = start("handlers.process", source).connect()
    assert client.payload(1) == (PAYLOADS, (False, [1]))
    assert client.payload(2) == (PAYLOADS, (False, [2]))


def test_unsupervised_runtime_answers_and_drains(start: Callable[..., Any]) -> None:
    runtime = start("handlers.enrich", KINDS, ASYA_SUPERVISE="0")
    client = runtime.connect()
    assert client.payload({}) == (PAYLOADS, (False, [{"y": 2}]))
    assert runtime.probe("live").returncode == 0
    runtime.process.send_signal(signal.SIGTERM)
    assert client.read()[0] == DRAIN
    assert runtime.wait() == 0
