"""One call after the other: what comes back, whatever the message and the handler are like. One interpreter."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PAYLOADS, ERROR = 0x20, 0x22
HANDLERS = Path(__file__).parents[1] / "handlers"
KINDS = (HANDLERS / "kinds.py").read_text("utf-8")
AWKWARD = (HANDLERS / "awkward.py").read_text("utf-8")


@pytest.mark.parametrize(
    ("handler", "payload", "reply"),
    [
        ("Counter.static", 0, "static"),
        ("Plain.name", 0, "Plain"),
        ("counter", 0, "called"),
        ("counter.process", 0, 11),
        ("added", 1, 6),
    ],
)
def test_objects_and_static_methods_are_handlers(start: Callable[..., Any], handler: str, payload: Any, reply: Any) -> None:
    assert start("handlers." + handler, KINDS).connect().payload(payload) == (PAYLOADS, (False, [reply]))


def test_class_method_builds_no_instance_and_reads_no_environment(start: Callable[..., Any]) -> None:
    client = start("handlers.Counter.times_built", KINDS, START="not a number").connect()
    assert client.payload(0) == (PAYLOADS, (False, [1]))  # the one that the module makes itself


@pytest.mark.behaviour("runtime:survives-user-code")
@pytest.mark.parametrize("deed", ["close_standard_descriptors", "replace_streams", "empty_the_path", "fork_and_return"])
def test_after_an_awkward_deed_an_exception_is_told_and_the_next_call_works(start: Callable[..., Any], deed: str) -> None:
    client = start("handlers.process", AWKWARD).connect()
    client.payload(deed)
    kind, error = client.payload("no_such_deed")
    assert (kind, error["type"]) == (ERROR, "KeyError")
    assert "handlers.py" in error["traceback"]
    assert client.payload(1) == (PAYLOADS, (False, [1]))


@pytest.mark.behaviour("runtime:survives-user-code")
@pytest.mark.parametrize("deed", ["fork", "exit", "descriptors", "stray"])
def test_after_an_awkward_deed_in_the_event_loop_the_next_call_works(start: Callable[..., Any], deed: str) -> None:
    source = """
import asyncio, os, sys
async def stray(): sys.exit("of a task")
async def process(p):
    if p == "fork":
        pid = os.fork()
        if pid: os.waitpid(pid, 0)
    elif p == "exit": sys.exit(3)
    elif p == "descriptors":
        for fd in (0, 1, 2): os.close(fd)
    elif p == "stray": process.task = asyncio.ensure_future(stray())
    return p
"""
    runtime = start("handlers.process", source)
    client, worker = runtime.connect(), runtime.worker_pid
    client.payload(deed)
    for number in range(3):
        assert client.payload(number) == (PAYLOADS, (False, [number]))
    assert runtime.worker_pid == worker


def test_unreadable_messages_are_answered_and_the_next_call_works(start: Callable[..., Any]) -> None:
    client = start("handlers.fail", KINDS).connect()
    for body in (b'{"payload":"\xff"}', b"[1]", b"{}", b'{"payload":{"a":NaN}}', b"", b"[" * 100_000, b'{"payload":' + b"1" * 5000 + b"}"):
        kind, error = client.call(body)
        assert (kind, error["code"]) == (ERROR, "bad_message")
    assert client.payload(1) == (PAYLOADS, (False, [1]))


def test_results_that_are_no_json_are_refused_and_the_next_call_works(start: Callable[..., Any]) -> None:
    source = """
import array, datetime, decimal
cycle = []
cycle.append(cycle)
deep = []
for _ in range(100_000): deep = [deep]
results = [{1}, b"x", float("nan"), decimal.Decimal(1), datetime.date(2026, 1, 1), array.array("b")]
results += [{"a": cycle}, {"a": "\\ud800"}, {"a": deep}, [1, 2, {3}]]
def process(p): return results[p] if p < 10 else 2 ** 70
"""
    client = start("handlers.process", source).connect()
    for number in range(10):
        kind, error = client.payload(number)
        assert (kind, error["code"]) == (ERROR, "result_not_serialisable"), number
    assert "$[2] is of type set" in error["message"]
    assert client.payload(10) == (PAYLOADS, (False, [2**70]))


def test_generator_that_raises_in_the_middle_sends_the_error_only(start: Callable[..., Any]) -> None:
    client = start("handlers.breaks", KINDS).connect()
    for _ in range(2):  # a second reply to the first call would be read as the second's
        kind, error = client.payload(0)
        assert (kind, error["message"]) == (ERROR, "in the middle")


def test_100_000_items_are_too_many_unless_allowed(start: Callable[..., Any]) -> None:
    source = "def process(p):\n    return range_of(p)\ndef range_of(p):\n    yield from range(p)\n"
    client = start("handlers.process", source).connect()
    assert client.payload(100_000)[1]["code"] == "too_many_items"
    assert client.payload(10_000) == (PAYLOADS, (True, list(range(10_000))))
    client = start("handlers.process", source, ASYA_MAX_ITEMS="100000").connect()
    assert client.payload(100_000) == (PAYLOADS, (True, list(range(100_000))))


def test_list_over_the_limit_is_too_many_items(start: Callable[..., Any]) -> None:
    assert start("handlers.give", KINDS, ASYA_MAX_ITEMS="10").connect().payload("big")[1]["code"] == "too_many_items"


def test_reply_over_the_peers_limit_is_reply_too_large(start: Callable[..., Any]) -> None:
    client = start("handlers.process", "def process(p): return 'x' * p\n").connect(max_frame=20_000)
    assert client.payload(30_000)[1]["code"] == "reply_too_large"
    assert client.payload(3) == (PAYLOADS, (False, ["xxx"]))


def test_error_over_the_peers_limit_is_shortened(start: Callable[..., Any]) -> None:
    client = start("handlers.fail", KINDS).connect(max_frame=2048)
    kind, error = client.payload("huge")
    assert (kind, error["type"], error["traceback"]) == (ERROR, "ValueError", None)


def test_large_message_makes_the_round_trip(start: Callable[..., Any]) -> None:
    text = "ä" * 3_000_000
    assert start("handlers.process", "def process(p): return p\n").connect().payload(text) == (PAYLOADS, (False, [text]))


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
