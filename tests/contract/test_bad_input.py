"""Bad input against real processes: row by row as in docs/reference/bad-input.md, made from tests/contract/bad_inputs.py.

Beside the sidecar and the runtime the same is proved piece by piece: frames in python/runtime/tests/process/test_socket.py and
python/sidecar/tests/edges/test_runtime_client.py, results in python/runtime/tests/test_results.py, checks in
python/sidecar/tests/core/test_decide.py.

What must never happen: rows 1 to 25 are also the proof that an unreadable message does not travel in a circle and that its bytes are kept;
22 to 24 that headers and unknown members stay; 29 and 30 that no part of a list is sent; 20 that a missing queue runs no handler twice.
"""

import gzip
import itertools
import json
import os
import socket
import struct
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pika
import pytest

from asya_core.transports.rabbitmq import RabbitAdmin, RabbitSettings
from asya_core.wire.names import ERROR_END, HAPPY_END, queue_name
from tests.contract.actors import CANARY, Actor, Actors, Process, load, original, until
from tests.contract.bad_inputs import BAD_INPUTS, PAGE, page

LIMIT = 512 * 1024
MAX_HOPS = 1000
Check = Callable[["World"], None]
CHECKS: dict[int, Check] = {}


class World:
    """The actors of this module."""

    def __init__(self, folder: Path) -> None:
        self.actors = Actors(folder)
        once = {"ASYA_MAX_MESSAGE_BYTES": str(LIMIT), "ASYA_MAX_HOPS": str(MAX_HOPS), "ASYA_UNROUTABLE_TRIES": "1"}
        payload = {"ASYA_HANDLER": "bad_input_handlers.handle"}
        again = {"ASYA_RETRY": '{"maxAttempts": 2, "backoff": {"initial": "10ms", "max": "10ms"}}'}
        self.a = self.actors.start("a", payload, **once)
        self.b = self.actors.start("b", payload, **once)
        self.e = self.actors.start("e", {"ASYA_HANDLER": "bad_input_handlers.change_route", "ASYA_HANDLER_MODE": "envelope"}, **once)
        self.r = self.actors.start("r", payload, **once, **again)
        self._ids = itertools.count()

    def envelope(self, *, actor: str = "a", **changes: Any) -> dict[str, Any]:
        """A valid envelope for an actor; a change to `...` leaves the member out."""
        everything = {
            "id": f"e{next(self._ids)}",
            "route": {"actors": [actor], "current": 0},
            "payload": {"x": CANARY},
            **changes,
        }
        return {name: value for name, value in everything.items() if value is not ...}

    def body(self, **changes: Any) -> bytes:
        """Its bytes."""
        return json.dumps(self.envelope(**changes), ensure_ascii=False).encode()

    def is_refused(self, *bodies: bytes, code: str, readable: bool = False, actor: Actor | None = None) -> list[Any]:
        """Send bad messages: each becomes one record of this code with the original inside, without a run; the records, in order."""
        who = actor or self.a
        before = who.runs()
        errors, results = self.actors.exchange(who.name, *bodies)
        assert results == []
        records = [load(error) for error in errors]
        assert [record["error"]["code"] for record in records] == [code] * len(bodies)
        for record in records:
            assert set(record["error"]) == {"code", "type", "mro", "message", "traceback", "actor", "attempt", "at"}
            assert record["error"]["actor"] == who.name
        if readable:
            assert sorted(_without_error(record) for record in records) == sorted(_without_error(load(body)) for body in bodies)
        else:
            assert all(record["id"].startswith("unreadable-") for record in records)
            assert all(record["route"] == {"actors": [who.name], "current": 0} for record in records)
            assert sorted(map(original, records)) == sorted(bodies)
        self._same_worker(who, before, runs=1)
        return records

    def runs(self, *bodies: bytes, actor: Actor | None = None, route: list[str] | None = None) -> tuple[list[bytes], list[bytes]]:
        """Send messages that a handler runs for, once each: what is in error-end and in happy-end."""
        who = actor or self.a
        before = who.runs()
        outcome = self.actors.exchange(who.name, *bodies, route=route)
        self._same_worker(who, before, runs=len(bodies) + 1)
        return outcome

    def fails(self, *bodies: bytes, code: str, actor: Actor | None = None) -> list[Any]:
        """As `runs`, where each becomes one record of this code that holds what came; the records."""
        errors, results = self.runs(*bodies, actor=actor)
        assert results == []
        records = [load(error) for error in errors]
        assert [record["error"]["code"] for record in records] == [code] * len(bodies)
        assert sorted(_without_error(record) for record in records) == sorted(_without_error(load(body)) for body in bodies)
        return records

    def _same_worker(self, who: Actor, before: list[Any], *, runs: int) -> None:
        after = who.runs()
        assert len(after) - len(before) == runs
        assert len({run["pid"] for run in after}) == 1


def _without_error(envelope: Any) -> str:
    return json.dumps({name: value for name, value in envelope.items() if name != "error"}, sort_keys=True)


def row(number: int) -> Callable[[Check], Check]:
    """Make a function the check of this row."""

    def register(check: Check) -> Check:
        CHECKS[number] = check
        return check

    return register


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("w"))
    yield made
    made.actors.close()


@row(1)
def _(world: World) -> None:
    world.is_refused(b"", code="bad_envelope")


@row(2)
def _(world: World) -> None:
    (record,) = world.is_refused(b"\x00\xff\xfe" + CANARY.encode(), code="bad_envelope")
    assert "base64" in record["payload"]
    world.is_refused(b"hello " + CANARY.encode(), b"{", b'{"id":', code="bad_envelope")


@row(3)
def _(world: World) -> None:
    world.is_refused(b"[1]", b'"text"', b"7", b"null", b"true", code="bad_envelope")


@row(4)
def _(world: World) -> None:
    world.is_refused(b"\xef\xbb\xbf" + world.body(), code="bad_envelope")


@row(5)
def _(world: World) -> None:
    bad = world.body(payload={"x": "@"}).replace(b'"@"', b'"\xff' + CANARY.encode() + b'"')
    before = world.a.runs()
    errors, results = world.actors.exchange("a", bad)
    assert results == []
    (record,) = errors
    assert load(record)["error"]["code"] == "bad_message"
    assert b'"\xff' + CANARY.encode() + b'"' in record
    assert len(world.a.runs()) == len(before) + 1
    world.is_refused(world.body()[:-1] + b', "k\xff": 1}', code="bad_envelope")


@row(6)
def _(world: World) -> None:
    world.is_refused(world.body(payload="@").replace(b"@", b"\\ud800" + CANARY.encode()), code="bad_envelope")


@row(7)
def _(world: World) -> None:
    bodies = [world.body(payload="@").replace(b'"@"', number) for number in (b"NaN", b"Infinity", b"-Infinity")]
    world.is_refused(*bodies, code="bad_envelope")
    world.fails(world.body(payload={"x": "@"}).replace(b'"@"', b"1e400"), code="result_not_serialisable")
    assert world.a.runs()[-2]["got"] == {"x": float("inf")}


@row(8)
def _(world: World) -> None:
    for actor, got in ((world.a, {"v": 2}), (world.e, {"v": 2})):
        route = json.dumps({"actors": [actor.name], "current": 0}).encode()
        twice = b'{"id":"first","id":"last","route":7,"route":%s,"payload":{"v":1},"payload":{"v":2}}' % route
        errors, results = world.runs(twice, actor=actor)
        assert errors == []
        (result,) = results
        assert (load(result)["id"], load(result)["payload"]) == ("last", got)
        assert result.count(b'"id"') == result.count(b'"payload"') == result.count(b'"route"') == 1
        assert actor.runs()[-2]["got"] == got


@row(9)
def _(world: World) -> None:
    def deep(levels: int) -> bytes:
        return world.body(payload="@").replace(b'"@"', b"[" * levels + b"]" * levels)

    world.is_refused(deep(1_000), deep(100_000), code="bad_envelope")
    errors, results = world.runs(world.body(payload={"deep": "@"}).replace(b'"@"', b"[" * 500 + b"]" * 500))
    assert errors == []
    assert [b"[" * 500 + b"]" * 500 in result for result in results] == [True]


@row(10)
def _(world: World) -> None:
    body = world.body(payload={"n": "@"}).replace(b'"@"', b"7" * 5000)
    before = world.a.runs()
    errors, results = world.actors.exchange("a", body)
    assert results == []
    (record,) = errors
    assert b'"code":"bad_message"' in record
    assert b"7" * 5000 in record
    assert len(world.a.runs()) == len(before) + 1


@row(11)
def _(world: World) -> None:
    numbers = b"[18446744073709551616,0.30000000000000004,-0.0,9007199254740993,5e-324,1.7976931348623157e+308]"
    errors, results = world.runs(
        world.body(payload={"n": "@"}, route={"actors": ["a", "b"], "current": 0}).replace(b'"@"', numbers), route=["a", "b"]
    )
    assert errors == []
    assert [b'{"n":' + numbers + b"}" in result for result in results] == [True]


@row(12)
def _(world: World) -> None:
    world.is_refused(world.body() + b"x", world.body() + world.body(), world.body() + b"\0", code="bad_envelope")
    errors, results = world.runs(b" \r\n\t" + world.body() + b"\n \t")
    assert (errors, len(results)) == ([], 1)


@row(13)
def _(world: World) -> None:
    world.is_refused(world.body(id=...), world.body(id=None), code="bad_envelope")


@row(14)
def _(world: World) -> None:
    ids = (7, "", "x" * 129, "a/b", "../../up", "a\nb", "a\0b", ["x"], True)
    world.is_refused(*(world.body(id=bad) for bad in ids), code="bad_envelope")
    errors, results = world.runs(world.body(id="x" * 128), world.body(id=".."))
    assert (errors, len(results)) == ([], 2)


@row(15)
def _(world: World) -> None:
    world.is_refused(*(world.body(route=bad) for bad in (..., None, [], "a", 1)), code="bad_envelope")


@row(16)
def _(world: World) -> None:
    bad: tuple[Any, ...] = ("a", [], [1], [None], {"a": 1}, ["a", 2], None)
    world.is_refused(*(world.body(route={"actors": actors, "current": 0}) for actors in bad), world.body(route={}), code="bad_envelope")


@row(17)
def _(world: World) -> None:
    errors, results = world.runs(world.body(route={"actors": ["a"]}))
    assert errors == []
    assert [load(result)["route"] for result in results] == [{"actors": ["a"], "current": 1}]


@row(18)
def _(world: World) -> None:
    bad: tuple[Any, ...] = (-1, 2, 1.0, True, "0", 2**63, 2**64, None, 0.5)
    world.is_refused(*(world.body(route={"actors": ["a"], "current": current}) for current in bad), code="bad_envelope")


@row(19)
def _(world: World) -> None:
    names = ("a.b", "#", "*", "a b", "a" * 256, "amq.direct", "A", "-a", "a-", "", "a_b", "ä", "a\n", "a:", "a:b c")
    world.is_refused(*(world.body(route={"actors": ["a", name], "current": 0}) for name in names), code="bad_envelope")


@row(20)
def _(world: World) -> None:
    body = world.envelope(route={"actors": ["a", "ghost"], "current": 0})
    errors, results = world.runs(json.dumps(body).encode())
    assert results == []
    (record,) = map(load, errors)
    assert record["error"]["code"] == "unroutable"
    assert (record["id"], record["route"], record["payload"]) == (body["id"], {"actors": ["a", "ghost"], "current": 1}, body["payload"])


@row(21)
def _(world: World) -> None:
    world.is_refused(world.body(route={"actors": ["a"] * 10_001, "current": 0}), code="bad_envelope")
    world.is_refused(world.body(headers={"asya-hops": MAX_HOPS + 1}), code="route_too_long", readable=True)


@row(22)
def _(world: World) -> None:
    done = world.body(route={"actors": ["a"], "current": 1})
    world.is_refused(world.body(route={"actors": ["b", "a"], "current": 0}), done, code="route_mismatch", readable=True)


HEADER = b'{"deep" : [1.50, {"k":"\\u00e9"}, 1e2], "\\u0061":null}'
UNKNOWN = b'[ {"any": [[[{"deep":1E2}]]]} , 12345678901234567890123, "\\/" ]'
PLAIN = b'{"deep":[1.5,{"k":"x"},null,18446744073709551616]}'


def _marked(world: World, *, header: bytes = HEADER, unknown: bytes = UNKNOWN, **changes: Any) -> bytes:
    body = world.body(headers={"traceparent": "@1"}, x_unknown="@2", **changes)
    return body.replace(b'"@1"', header).replace(b'"@2"', unknown)


@row(23)
def _(world: World) -> None:
    bad = (7, [], "x", None, {"k": "v" * 65_536})
    world.is_refused(*(world.body(headers=headers) for headers in bad), code="bad_envelope")
    _bytes_stay(world, lambda body: HEADER in body, lambda body: PLAIN in body)


@row(24)
def _(world: World) -> None:
    _bytes_stay(world, lambda body: UNKNOWN in body, lambda body: body.count(PLAIN) == 2)


def _bytes_stay(world: World, kept: Callable[[bytes], bool], kept_plain: Callable[[bytes], bool]) -> None:
    two_hops = {"actors": ["a", "b"], "current": 0}
    errors, results = world.runs(_marked(world, route=two_hops), route=["a", "b"])
    assert (errors, [kept(body) for body in results]) == ([], [True])
    errors, results = world.runs(_marked(world, payload={"result": "tuple"}))
    assert (errors, [kept(body) for body in results]) == ([], [True, True])
    errors, results = world.runs(_marked(world, payload={"raise": "stop"}))
    assert ([kept(body) for body in errors], results) == ([True], [])
    errors, results = world.actors.exchange("r", _marked(world, actor="r", payload={"raise_at_first": f"m{next(world._ids)}"}))
    assert (errors, [kept(body) for body in results]) == ([], [True])
    # In envelope mode the handler owns the whole object, so values are compared as compact JSON writes them.
    for payload, count in (({}, 1), ({"route": "fan_out"}, 2)):
        errors, results = world.runs(_marked(world, header=PLAIN, unknown=PLAIN, actor="e", payload=payload), actor=world.e)
        assert (errors, [kept_plain(body) for body in results]) == ([], [True] * count)
    errors, results = world.runs(_marked(world, actor="e", payload={"route": "raise"}), actor=world.e)
    assert ([kept(body) for body in errors], results) == ([True], [])


@row(25)
def _(world: World) -> None:
    world.is_refused(world.body(payload=...), code="bad_envelope")
    payloads: tuple[Any, ...] = (None, "", 0, False, [], {})
    for payload in payloads:
        errors, results = world.runs(world.body(payload=payload))
        assert errors == []
        assert [load(result)["payload"] for result in results] == [payload if payload == {} else {"got": payload}]
        assert json.dumps(world.a.runs()[-2]["got"]) == json.dumps(payload)


@row(26)
def _(world: World) -> None:
    (result,) = world.runs(world.body(id="size", payload={"grow": 1000}))[1]
    room = LIMIT - len(result) + 1000
    for extra in (-1, 0):
        errors, results = world.runs(world.body(id="size", payload={"grow": room + extra}))
        assert (errors, [len(body) for body in results]) == ([], [LIMIT + extra])
    world.fails(world.body(id="size", payload={"grow": room + 1}), code="payload_too_large")


@row(27)
def _(world: World) -> None:
    text = "\ufffe\uffff\x01\U0001f600\u2028"
    errors, results = world.runs(world.body(payload={"x": text}, route={"actors": ["a", "b"], "current": 0}), route=["a", "b"])
    assert (errors, [load(body)["payload"] for body in results]) == ([], [{"x": text}])


@row(28)
def _(world: World) -> None:
    world.is_refused(world.body(deadline="2020-01-01T00:00:00Z"), code="deadline_exceeded", readable=True)
    errors, results = world.runs(world.body(deadline="9999-12-31T23:59:59Z"), world.body(deadline="9999-12-31T23:59:59.999+00:00"))
    assert (errors, len(results)) == ([], 2)
    bad: tuple[Any, ...] = ("soon", "2030-01-01T00:00:00", "2030-01-01", 1893456000, None, "2030-13-01T00:00:00Z")
    world.is_refused(*(world.body(deadline=deadline) for deadline in bad), code="bad_envelope")


@row(29)
def _(world: World) -> None:
    for result in ("none", "empty_list"):
        sent = world.envelope(payload={"result": result, "x": CANARY}, route={"actors": ["a", "b"], "current": 0})
        errors, results = world.runs(json.dumps(sent).encode())
        (ended,) = map(load, results)
        assert (errors, ended["route"], ended["payload"]) == ([], sent["route"], sent["payload"])
    for result, payloads in (("generator", [1, None, "x"]), ("nested", [[1], [2, [3]]]), ("tuple", ["a", {"b": 1}])):
        sent = world.envelope(payload={"result": result})
        errors, results = world.runs(json.dumps(sent).encode())
        assert errors == []
        children = {load(body)["id"]: load(body) for body in results}
        assert sorted(children) == [f"{sent['id']}.0.{index}" for index in range(len(payloads))]
        assert [children[name]["payload"] for name in sorted(children)] == payloads
        assert {child["parent_id"] for child in children.values()} == {sent["id"]}
        assert [child["headers"]["asya-fanout"] for child in children.values()] == [[len(payloads)]] * len(payloads)
    world.fails(world.body(payload={"result": "hundred_thousand"}), code="too_many_items")


@row(30)
def _(world: World) -> None:
    places = {
        "set": "$.in",
        "bytes": "$.in[0]",
        "nan": "$.in",
        "decimal": "$.in",
        "datetime": "$.in",
        "array": "$.in",
        "cycle": "$.in",
        "surrogate": "$.in",
        "last_of_three_is_bad": "$[2].in",
    }
    for result, place in places.items():
        (record,) = world.fails(world.body(payload={"result": result}), code="result_not_serialisable")
        assert place in record["error"]["message"], result
    errors, results = world.runs(world.body(payload={"result": "two_to_the_70"}))
    assert (errors, [load(body)["payload"] for body in results]) == ([], [{"in": 2**70}])


@row(31)
def _(world: World) -> None:
    types = {
        "exit": "SystemExit",
        "interrupt": "KeyboardInterrupt",
        "stop": "StopIteration",
        "group": "ExceptionGroup",
        "unprintable": "bad_input_handlers.Unprintable",
        "long": "ValueError",
    }
    for kind, name in types.items():
        (record,) = world.fails(world.body(payload={"raise": kind}), code="handler_error")
        error = record["error"]
        assert (error["type"], error["mro"][0]) == (name, name)
        assert len(error["message"].encode()) <= 4096
        assert len(error["traceback"].encode()) <= 16_384


@row(32)
def _(world: World) -> None:
    for deed in ("print_without_newline", "print_100_mb", "fork", "chdir", "sigterm_handler", "thread", "close_stdout"):
        errors, results = world.runs(world.body(payload={"deed": deed}))
        assert (errors, [load(body)["payload"] for body in results]) == ([], [{"done": deed}])


@row(33)
def _(world: World) -> None:
    world.fails(world.body(payload={"mutate": CANARY}), code="handler_error")
    errors, results = world.runs(world.body(actor="e", payload={"route": "mutate"}), actor=world.e)
    assert (errors, [load(body)["payload"] for body in results]) == ([], [{"route": "mutate", "mutated": True}])
    for change, code in (
        ("remove_visited", "route_past_changed"),
        ("change_visited", "route_past_changed"),
        ("back", "route_current_invalid"),
        ("skip", "route_current_invalid"),
    ):
        route = {"actors": ["q", "e", "b", "b"], "current": 1}
        world.fails(world.body(route=route, payload={"route": change}), code=code, actor=world.e)


@row(34)
def _(world: World) -> None:
    path = _runtime_alone(world, "f")
    for broken in (struct.pack(">I", 0), struct.pack(">I", 2**32 - 1), b"\0\0", struct.pack(">IBI", 100, 0x10, 1) + b"short"):
        with _connect(path) as peer:
            assert _read_frame(peer)[0] == 0x01
            peer.sendall(broken)
            peer.shutdown(socket.SHUT_WR)
            rest = _until_closed(peer)
            assert rest == b"" or rest[4] == 0x03, rest
    with _connect(path) as peer:
        assert _read_frame(peer)[0] == 0x01
        hello = json.dumps({"protocol": 1, "sidecar": "0", "actor": "f", "max_frame": 1 << 26}).encode()
        peer.sendall(struct.pack(">IBI", len(hello) + 5, 0x01, 0) + hello)
        body = world.body(actor="f", payload=[1])
        peer.sendall(struct.pack(">IBII", len(body) + 9, 0x10, 1, 0) + body)
        assert _read_frame(peer) == (0x20, 1, struct.pack(">BII", 0, 1, 11) + b'{"got":[1]}')


@row(35)
def _(world: World) -> None:
    one = struct.pack(">BII", 0, 1, 1) + b"1"
    broken = {
        "count": lambda call: _frame(0x20, call, struct.pack(">BI", 0, 5)),
        "kind": lambda call: _frame(0x99, call, one),
        "call": lambda call: _frame(0x20, call + 7, one),
        "trailing": lambda call: _frame(0x20, call, one + b"x"),
        "length-0": lambda call: struct.pack(">I", 0),
        "length-max": lambda call: struct.pack(">IBI", 2**32 - 1, 0x20, call),
        "fault": lambda call: _frame(0x03, 0, b'{"code":"bad_frame","message":"m"}'),
        "closes": lambda call: _frame(0x20, call, one)[:-1],
    }
    peer = RuntimePeer(world, "p", broken)
    bodies = [world.body(actor="p", id=name) for name in broken]
    errors, results = world.actors.exchange("p", *bodies)
    records = {record["id"]: record for record in map(load, errors)}
    assert (results, len(errors)) == ([], len(broken))
    assert {name: record["error"]["code"] for name, record in records.items()} == {
        name: "runtime_crashed" if name == "closes" else "bad_reply" for name in broken
    }
    assert [record["error"]["attempt"] for record in records.values()] == [3] * len(broken)
    assert sorted(map(_without_error, records.values())) == sorted(_without_error(load(body)) for body in bodies)
    assert {name: peer.calls.count(name) for name in broken} == dict.fromkeys(broken, 3)
    peer.close()


@row(36)
def _(world: World) -> None:
    with _connect(world.a.socket) as intruder:
        intruder.sendall(b"\xff" * 1000)
        errors, results = world.runs(world.body())
        assert (errors, len(results)) == ([], 1)
    errors, results = world.runs(world.body())
    assert (errors, len(results)) == ([], 1)


@row(37)
def _(world: World) -> None:
    url = os.environ.get("ASYA_TEST_RABBITMQ_URL")
    if url is None:
        message = "ASYA_TEST_RABBITMQ_URL is not set; run: ci/services.sh start; eval $(ci/services.sh env)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    settings = RabbitSettings.from_url(url, namespace=f"bad{uuid.uuid4().hex[:8]}")
    admin = RabbitAdmin(settings)
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        admin.ensure_namespace(["m", HAPPY_END])
        sidecar = _actor_on_rabbitmq(world, settings)
        _odd_messages(world, connection.channel(), settings.namespace)
        assert sidecar.poll() is None
    finally:
        connection.close()
        for process in world.actors.processes[-2:]:
            process.kill()
            process.wait()
        admin.remove_namespace(["m", HAPPY_END, ERROR_END])
        admin.close()


def _actor_on_rabbitmq(world: World, settings: RabbitSettings) -> Process:
    path = world.actors.folder / "m.s"
    world.actors.start_runtime("m", path, {"ASYA_HANDLER": "bad_input_handlers.handle"})
    credentials = settings.credentials()
    environment = {
        "ASYA_ACTOR": "m",
        "ASYA_NAMESPACE": settings.namespace,
        "ASYA_TRANSPORT": "rabbitmq",
        "ASYA_RABBITMQ_ADDRESS": f"amqp://{settings.host}:{settings.port}",
        "ASYA_RABBITMQ_VHOST": settings.vhost,
        "ASYA_RABBITMQ_USERNAME": credentials.username,
        "ASYA_RABBITMQ_PASSWORD": credentials.password,
        "ASYA_SOCKET": str(path),
        "ASYA_HEALTH_LISTEN": "off",
        "ASYA_RETRY": '{"maxAttempts": 3, "backoff": {"initial": "10ms", "max": "10ms"}}',
    }
    return world.actors.start_process(["-m", "asya_sidecar"], environment, "m.sidecar")


ODD_PROPERTIES: dict[str, dict[str, Any]] = {
    "bare": {},
    "text": {"content_type": "text/plain", "content_encoding": "gzip"},
    "death": {"headers": {"x-death": [{"count": 3, "queue": "old", "reason": "rejected", "exchange": "", "routing-keys": ["old"]}]}},
    "odd-death": {"headers": {"x-death": "a text", "x-first-death-queue": 7}},
    "expires": {"expiration": "600000", "priority": 9, "timestamp": 1, "type": "t", "app_id": "x", "reply_to": "y"},
    "attempt-text": {"headers": {"asya-attempt": "many"}},
    "attempt-negative": {"headers": {"asya-attempt": -5}},
    "attempt-table": {"headers": {"asya-attempt": {"a": [1]}, "x-delivery-count": "x"}},
    "numbers": {"headers": {"big": 2**62, "decimal": Decimal("1.5"), "bytes": b"\xff"}},
    "tables": {"headers": {"n": None, "b": True, "deep": {"t": [{"u": [1, "x", None]}]}}},
    "delay": {"headers": {"asya-delay": 250}},
    "correlation": {"correlation_id": "1", "message_id": "z" * 200, "delivery_mode": 2},
}


def _odd_messages(world: World, channel: Any, namespace: str) -> None:
    channel.confirm_delivery()
    sent = set()
    for name, properties in ODD_PROPERTIES.items():
        for payload in ({"x": CANARY}, {"raise_at_first": f"{name}-{namespace}"}):
            body = world.envelope(actor="m", id=f"{name}-{len(payload)}-{'raise_at_first' in payload}", payload=payload)
            sent.add(body["id"])
            _send(channel, namespace, json.dumps(body).encode(), properties)
    packed = gzip.compress(world.body(actor="m"))
    _send(channel, namespace, packed, {"content_type": "application/json", "content_encoding": "gzip"})
    found: dict[str, list[bytes]] = {HAPPY_END: [], ERROR_END: []}

    def all_ended() -> bool:
        for end, bodies in found.items():
            while (taken := channel.basic_get(queue_name(namespace, end), auto_ack=True))[0] is not None:
                bodies.append(taken[2])
        return len(found[HAPPY_END]) >= len(sent) and len(found[ERROR_END]) >= 1

    until(all_ended, lambda: f"{len(sent)} results and one record; {found}; {world.actors.logs()[-3000:]}")
    assert sorted(load(body)["id"] for body in found[HAPPY_END]) == sorted(sent)
    (record,) = map(load, found[ERROR_END])
    assert (record["error"]["code"], original(record)) == ("bad_envelope", packed)
    assert CANARY not in world.actors.logs()


def _send(channel: Any, namespace: str, body: bytes, properties: dict[str, Any]) -> None:
    channel.basic_publish("", queue_name(namespace, "m"), body, pika.BasicProperties(**properties), mandatory=True)


def _connect(path: Path) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(30)
    peer.connect(str(path))
    return peer


def _exactly(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = peer.recv(size - len(data))
        if not chunk:
            raise EOFError("connection closed")
        data += chunk
    return data


def _read_frame(peer: socket.socket) -> tuple[int, int, bytes]:
    length, kind, call = struct.unpack(">IBI", _exactly(peer, 9))
    return kind, call, _exactly(peer, length - 5)


def _until_closed(peer: socket.socket) -> bytes:
    data = b""
    while chunk := peer.recv(65_536):
        data += chunk
    return data


def _frame(kind: int, call: int, body: bytes) -> bytes:
    return struct.pack(">IBI", len(body) + 5, kind, call) + body


class RuntimePeer:
    """Plays the runtime of an actor: answers the envelopes that `broken` names with its bytes, all others well.

    Args:
        world: where the actor is.
        name: of the actor.
        broken: what to answer, from the number of the call, by the envelope's id.
    """

    def __init__(self, world: World, name: str, broken: Mapping[str, Callable[[int], bytes]]) -> None:
        self.calls: list[str] = []
        self._broken = broken
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(world.actors.folder / f"{name}.s"))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        world.actors.start(name, None, ASYA_PREFETCH="1")

    def close(self) -> None:
        """Stop serving; the sidecar's connection ends."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                self._connection = self._listener.accept()[0]
            except OSError:
                return
            with self._connection:
                try:
                    self._converse(self._connection)
                except (OSError, EOFError):
                    continue

    def _converse(self, sidecar: socket.socket) -> None:
        hello = {"protocol": 1, "runtime": "0.1.0", "python": "3.11.0", "handler": "h.h", "mode": "payload", "concurrency": 1}
        sidecar.sendall(_frame(0x01, 0, json.dumps({**hello, "max_frame": 1 << 26, "last_exit": None}).encode()))
        while True:
            kind, call, body = _read_frame(sidecar)
            if kind != 0x10:
                continue
            identity = json.loads(body[4:])["id"]
            self.calls.append(identity)
            if identity in self._broken:
                sidecar.sendall(self._broken[identity](call))
                if identity in ("closes", "fault"):
                    return
            else:
                sidecar.sendall(_frame(0x20, call, struct.pack(">BII", 0, 1, 2) + b"{}"))


def _runtime_alone(world: World, name: str) -> Path:
    path = world.actors.folder / f"{name}.s"
    world.actors.start_runtime(name, path, {"ASYA_HANDLER": "bad_input_handlers.handle"})
    until(path.exists, lambda: f"socket of {name}; {world.actors.logs()}")
    return path


UNREADABLE = {1, 2, 3, 4, 5, 6, 9, 12, 13, 14, 15, 16, 18, 19}
UNTOUCHED = {11, 23, 24, 25, 27}


def _marks(number: int) -> list[pytest.MarkDecorator]:
    marks = []
    if number in UNREADABLE:
        marks.append(pytest.mark.behaviour("sidecar:unreadable"))
    if number in UNTOUCHED:
        marks.append(pytest.mark.behaviour("envelope:untouched"))
    if number == 29:
        marks.append(pytest.mark.behaviour("envelope:fanout-ids"))
    if number == 37:
        marks.append(pytest.mark.rabbitmq)
    if number == 32:
        marks.append(pytest.mark.behaviour("runtime:survives-user-code"))
    return marks


@pytest.mark.parametrize("number", [pytest.param(number, id=str(number), marks=_marks(number)) for number in sorted(CHECKS)])
def test_bad_input(world: World, number: int) -> None:
    CHECKS[number](world)


@pytest.mark.behaviour("sidecar:unreadable")
def test_unreadable_messages_at_error_end_run_once_and_travel_no_further(tmp_path_factory: pytest.TempPathFactory) -> None:
    actors = Actors(tmp_path_factory.mktemp("z"))
    try:
        end = actors.start(ERROR_END, {"ASYA_HANDLER": "bad_input_handlers.change_route", "ASYA_HANDLER_MODE": "envelope"})
        bodies = [b"", b"\0\xff", b"[]", b'{"id":7}', b'{"payload":1}', b"[" * 1000]
        actors.publish(ERROR_END, *bodies)
        actors.settle([ERROR_END])
        assert sorted(original({"payload": run["got"]}) for run in end.runs()) == sorted(bodies)
        assert actors.admin.peek(actors.queue(HAPPY_END), 10) == []
    finally:
        actors.close()


def test_every_row_of_the_table_has_its_check() -> None:
    assert CHECKS.keys() == BAD_INPUTS.keys()


def test_page_of_bad_inputs_is_made_from_the_table() -> None:
    assert PAGE.read_text() == page()
