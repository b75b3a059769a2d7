"""The core of the runtime's promises, on each interpreter: this one, the newest, and an old one that is named by hand."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EVERY_PYTHON = True
PAYLOADS, ENVELOPES, ERROR, DRAIN, FAULT = 0x20, 0x21, 0x22, 2, 3
HANDLERS = Path(__file__).parents[1] / "handlers"
KINDS = (HANDLERS / "kinds.py").read_text("utf-8")
AWKWARD = (HANDLERS / "awkward.py").read_text("utf-8")
DEEDS = [
    "fork_and_return",
    "change_directory",
    "handle_sigterm",
    "ignore_signals",
    "leave_a_thread",
    "start_processes",
    "limit_all_sockets",
    "recurse",
    "empty_the_path",
    "replace_streams",
    "close_standard_descriptors",
]


def test_each_result_of_a_function_is_answered(start: Callable[..., Any]) -> None:
    client = start("handlers.give", KINDS).connect()
    for payload, reply in [
        ("none", (False, [])),
        ("list", (True, [1, 2])),
        ("empty", (False, [])),
        ("tuple", (True, [1])),
        ("null", (True, [None])),
        ("nested", (True, [[1, [2]], []])),
        ("zero", (False, [0])),
        ("false", (False, [False])),
        ("text", (False, [""])),
        ("dict", (False, [{}])),
    ]:
        assert client.payload(payload) == (PAYLOADS, reply)


@pytest.mark.parametrize(
    ("handler", "payload", "reply"),
    [
        ("enrich", {"x": 1}, (False, [{"x": 1, "y": 2}])),
        ("items", 0, (True, [1, None])),
        ("later", {}, (False, [{"later": True}])),
        ("many", 0, (True, [0, 1, 2])),
        ("coroutine", {}, (False, [{"later": True}])),
        ("Counter.process", 0, (False, [11])),
    ],
)
def test_each_kind_of_handler_is_called(start: Callable[..., Any], handler: str, payload: Any, reply: Any) -> None:
    assert start("handlers." + handler, KINDS).connect().payload(payload) == (PAYLOADS, reply)


@pytest.mark.behaviour("runtime:survives-user-code")
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


@pytest.mark.behaviour("runtime:survives-user-code")
def test_after_each_awkward_deed_the_same_worker_answers_and_drains(start: Callable[..., Any]) -> None:
    runtime = start("handlers.process", AWKWARD)
    client, worker = runtime.connect(), runtime.worker_pid
    for deed in DEEDS:
        client.payload(deed)
        for number in range(3):
            assert client.payload(number) == (PAYLOADS, (False, [number])), deed
    assert runtime.worker_pid == worker
    runtime.process.send_signal(signal.SIGTERM)
    assert client.read()[0] == DRAIN
    assert runtime.wait() == 0


@pytest.mark.behaviour("runtime:survives-user-code")
@pytest.mark.parametrize("prefix", ["", "async "], ids=["plain", "async"])
def test_signal_handler_that_raises_between_calls_costs_nothing(start: Callable[..., Any], prefix: str) -> None:
    runtime = start("handlers.process", AWKWARD.replace("def process", prefix + "def process"))
    client, worker = runtime.connect(), runtime.worker_pid
    for number, deed in enumerate(["ring_after_the_call", "ring_with_an_oserror", "ring_with_an_interrupt"]):
        client.payload(deed)
        runtime.wait_until(lambda seen=number: runtime.stderr().count(": ring\n") > seen)
        assert client.payload(1) == (PAYLOADS, (False, [1]))
    assert runtime.worker_pid == worker


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
    for _ in range(5):  # two at a time, two ahead
        client.start_call(body % b"hang")
    kind, _, fault = client.read()
    assert (kind, b"too_many_calls" in fault) == (FAULT, True)


def test_handler_that_holds_the_interpreter_lock_in_c_is_killed_and_the_next_call_served(start: Callable[..., Any]) -> None:
    source = "import ctypes\nlibc = ctypes.PyDLL(None)\ndef process(p):\n    while p == 'hang': libc.sleep(1000)\n    return p\n"
    runtime = start("handlers.process", source)
    client, worker = runtime.connect(), runtime.worker_pid
    client.start_call(b'{"payload":"hang"}', 100)
    assert client.is_closed()
    client = runtime.connect()
    assert client.hello["last_exit"] == {"signal": 9}
    assert client.payload("next") == (PAYLOADS, (False, ["next"]))
    assert runtime.worker_pid != worker
    assert runtime.process.poll() is None


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


GATED = """
import asyncio, os
calls = open("calls", "a", buffering=1)
def process(p):
    calls.write(f"{p}\\n")
    with open("go") as go: return go.read()
async def coroutine(p):
    calls.write(f"{p}\\n")
    return await asyncio.get_running_loop().run_in_executor(None, lambda: open("go").read())
"""


@pytest.mark.parametrize("handler", ["process", "coroutine"])
def test_call_handed_ahead_is_begun_by_the_answer_before_it_and_not_after_drain(start: Callable[..., Any], handler: str) -> None:
    runtime = start(f"handlers.{handler}", GATED)
    os.mkfifo(runtime.folder / "go")
    client = runtime.connect()
    assert client.hello["ahead"] == 1
    first, second = client.start_call(b'{"payload":1}'), client.start_call(b'{"payload":2}')
    with open(runtime.folder / "go", "w") as go:  # opens when the handler has
        go.write("one")
    assert client.read()[:2] == (PAYLOADS, first)
    with open(runtime.folder / "go", "w") as go:  # begun without a further word
        client.start_call(b'{"payload":3}')
        runtime.process.send_signal(signal.SIGTERM)
        assert client.read() == (DRAIN, 0, b"")
        go.write("two")
    assert client.read()[:2] == (PAYLOADS, second)
    assert client.is_closed()
    assert runtime.wait() == 0
    assert (runtime.folder / "calls").read_text() == "1\n2\n"


@pytest.mark.behaviour("runtime:refusal")
@pytest.mark.parametrize(
    ("handler", "environ", "words"),
    [
        ("handlers.proces", {}, "'handlers' has no 'proces'; did you mean 'handlers.process'?"),
        ("handlers.Fails.process", {}, "__init__ raised RuntimeError: no model"),
        ("handlers.Fails.process", {"MODE": "exit"}, "__init__ raised SystemExit"),
        ("handlers.Fails.process", {"LEVEL": "high"}, "LEVEL 'high' does not convert to int"),
    ],
)
def test_refusal_exits_78_with_one_sentence_last(start: Callable[..., Any], handler: str, environ: dict[str, str], words: str) -> None:
    source = (
        "def process(p): return p\nclass Fails:\n    def __init__(self, mode: str = '', level: int = 0):\n"
        "        raise SystemExit(0) if mode else RuntimeError('no model')\n    def process(self, p): return p\n"
    )
    runtime = start(handler, source, **environ)
    assert runtime.wait() == 78
    assert runtime.last_line().startswith("asya-runtime: ")
    assert words in runtime.last_line()


def test_environment_fills_init_with_conversion(start: Callable[..., Any]) -> None:
    source = """
from __future__ import annotations
import enum, pathlib, typing
class Colour(enum.Enum):
    RED = "red"
class All:
    def __init__(self, text: str = "", number: int = 0, share: float = 0.0, flag: bool = False, file: pathlib.Path = pathlib.Path("."),
                 names: typing.List[str] = (), table: dict = None, colour: Colour = None, kind: typing.Literal["a", "b"] = "a",
                 maybe: typing.Optional[int] = 3, bare=1, unknown: Missing = "x", home: str = "untouched", kept: int = 9):
        self.all = [text, number, share, flag, str(file), names, table, colour.name, kind, maybe, bare, unknown, home, kept]
    def process(self, p): return {"all": self.all}
"""
    environ = {"TEXT": "t", "NUMBER": "5", "SHARE": "0.25", "FLAG": "Yes", "FILE": "/x", "NAMES": '["n"]', "TABLE": '{"a":1}'}
    environ |= {"COLOUR": "red", "KIND": "b", "MAYBE": "", "BARE": "7", "UNKNOWN": "u", "HOME": "/root"}
    runtime = start("handlers.All.process", source, **environ)
    _, (_, items) = runtime.connect().payload(0)
    assert items[0]["all"] == ["t", 5, 0.25, True, "/x", ["n"], {"a": 1}, "RED", "b", None, 7, "u", "untouched", 9]
    assert "is not filled from HOME" in runtime.stderr()
