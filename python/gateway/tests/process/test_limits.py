"""Bad bodies and too much of everything: the code that is promised, and memory that stays."""

import asyncio
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from asya_gateway.http.errors import HttpRefusal, status_of
from asya_gateway.http.limits import read_body

Gateway = Any
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory, gateway_of: Callable[..., Gateway]) -> Iterator[Gateway]:
    made = gateway_of(
        tmp_path_factory.mktemp("limited") / "state", ASYA_GATEWAY_STREAMS_PER_PRINCIPAL="2", ASYA_GATEWAY_MAX_INLINE_RESULT="100"
    ).start()
    yield made
    made.stop()


def post(gateway: Gateway, body: Any, **headers: str) -> httpx.Response:
    return gateway.client.post("/tools/text-processor", content=body, headers={"Content-Type": "application/json"} | headers)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00\xff",
        b'\xef\xbb\xbf{"text": "x"}',
        b'{"text": "\xff"}',
        b'{"text": "\\ud800"}',
        b'{"text": NaN}',
        b'{"text": Infinity}',
        b'{"times": 1e400, "text": "x"}',
        b'{"text": "a", "text": "b"}',
        b'{"text": "x"} trailing',
        b"[" * 70 + b"]" * 70,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"times": ' + b"9" * 5_000 + b"}",
    ],
)
def test_body_that_is_no_strict_json_is_400(limited: Gateway, body: bytes) -> None:
    answer = post(limited, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_json"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_wrong_arguments_are_422_with_pointers(limited: Gateway) -> None:
    answer = post(limited, b'{"times": 0, "other": 1}')
    assert answer.status_code == 422
    problem = answer.json()
    assert (problem["code"], problem["status"]) == ("bad_arguments", 422)
    assert {each["pointer"] for each in problem["errors"]} == {"/text", "/times", "/other"}
    assert limited.client.get("/envelopes").json() == {"envelopes": []}


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
        ({"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415, "unsupported_media_type"),
        ({"Idempotency-Key": "a b"}, 400, "bad_request"),
        ({"X-Long": "x" * 17_000}, 431, "headers_too_large"),
    ],
)
def test_header_that_is_not_taken_has_its_code(limited: Gateway, headers: dict[str, str], status: int, code: str) -> None:
    body = gzip.compress(b'{"text": "x"}') if "Content-Encoding" in headers else b'{"text": "x"}'
    answer = post(limited, body, **headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    "query", ["status=nothing", "limit=0", "limit=201", "limit=x", "colour=red", "since=yesterday", "cursor=%00", "limit=1&limit=2"]
)
def test_unknown_or_bad_parameter_is_400(limited: Gateway, query: str) -> None:
    answer = limited.client.get(f"/envelopes?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def peak_bytes(gateway: Gateway) -> int:
    """The most memory that the process had since `forget_peak`."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1])


def forget_peak(gateway: Gateway) -> None:
    Path(f"/proc/{gateway.process.pid}/clear_refs").write_text("5")


def connected(gateway: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(gateway.public.rsplit(":", 1)[1])), timeout=60)


def raw_status(gateway: Gateway, *pieces: bytes) -> int:
    """Status of the answer to these bytes; what is not read any more is not sent."""
    with connected(gateway) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
        except OSError:
            pass  # refused and closed while we still wrote
        try:
            return int(connection.recv(1000).split()[1])
        except (OSError, IndexError):
            return 0  # our own unsent bytes made the kernel drop the answer


HEAD = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
PIECE = b"x" * MIB
HUGE: dict[str, tuple[tuple[bytes, ...], tuple[int, ...]]] = {
    "declared 100 MB": ((b"Content-Length: 104857600\r\n\r\n",), (413,)),
    "100 MB": ((b"Content-Length: 104857600\r\n\r\n", *[PIECE] * 100), (413, 0)),
    "endless chunks": ((b"Transfer-Encoding: chunked\r\n\r\n", *[b"100000\r\n" + PIECE + b"\r\n"] * 100), (413, 0)),
    "gzip bomb": ((b"Content-Encoding: gzip\r\nContent-Length: 100000\r\n\r\n", gzip.compress(b"[" * 100 * MIB)[:100_000]), (415, 0)),
    "one header of 1 MB": ((b"X-Long: ", PIECE, b"\r\n\r\n"), (400, 431, 0)),
    "100,000 headers": ((b"X-A: b\r\n" * 100_000, b"\r\n"), (400, 431, 0)),
    "deep JSON": ((b"Content-Length: 1000000\r\n\r\n", b"[" * 1_000_000), (400,)),
}


@pytest.mark.behaviour("gateway:limits")
def test_what_is_far_too_much_is_refused_and_its_memory_stays_within_20_mb(limited: Gateway) -> None:
    forget_peak(limited)
    before = peak_bytes(limited)
    for path in (b"/tools/text-processor", b"/mcp"):
        for name, (pieces, expected) in HUGE.items():
            status = raw_status(limited, HEAD % path, *pieces)
            assert status in expected, (name, path, status)
    slow = [connected(limited) for _ in range(200)]
    for number, connection in enumerate(slow):  # neither heads nor bodies ever end
        connection.sendall(HEAD % b"/mcp" + (b"X: " if number % 2 else b"Content-Length: 4000000\r\n\r\n[" + b" " * 10_000))
    assert limited.client.get("/tools").status_code == 200
    assert peak_bytes(limited) - before < 20 * MIB
    for connection in slow:
        connection.close()
    assert limited.client.get("/envelopes").json() == {"envelopes": []}


def test_body_that_does_not_come_in_time_is_408() -> None:
    async def never() -> Any:
        await asyncio.Event().wait()

    with pytest.raises(HttpRefusal) as refused:
        asyncio.run(read_body(never, declared=None, limit_bytes=10, seconds=0.01))
    assert (refused.value.code, status_of(refused.value)) == ("body_timeout", 408)


def test_third_stream_of_a_caller_is_429_and_others_go_on(limited: Gateway) -> None:
    envelope_id = limited.envelope()
    with (
        limited.client.stream("GET", f"/envelopes/{envelope_id}/stream"),
        limited.client.stream("GET", f"/envelopes/{envelope_id}/stream"),
    ):
        answer = limited.client.get(f"/envelopes/{envelope_id}/stream")
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_streams")
        assert "retry-after" in answer.headers
        limited.final(envelope_id, result=1)
    deadline = time.monotonic() + 60
    while limited.client.get(f"/envelopes/{envelope_id}/stream").status_code == 429:
        assert time.monotonic() < deadline


def test_large_result_is_kept_by_reference(limited: Gateway) -> None:
    envelope_id = limited.envelope()
    limited.final(envelope_id, result="x" * 200, result_ref={"key": "results/1.json", "bytes": 202, "sha256": "0" * 64})
    view = limited.view(envelope_id)
    assert "result" not in view
    assert view["result_ref"]["key"] == "results/1.json"


def test_too_many_requests_are_429_with_retry_after(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway(ASYA_GATEWAY_RATE="1", ASYA_GATEWAY_BURST="3").start()
    answers = [gateway.client.get("/tools") for _ in range(30)]  # one more is allowed for each second that they take
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert (refused.json()["code"], int(refused.headers["retry-after"]) >= 1) == ("rate_limited", True)


def replace(file: Path, text: str) -> None:
    """As a ConfigMap's volume does it: nobody sees half a file."""
    draft = file.parents[1] / "draft"
    draft.write_text(text)
    draft.rename(file)


def test_changed_tools_are_listed_and_a_broken_file_changes_nothing(limited: Gateway, eventually: Callable[..., Any]) -> None:
    gateway = limited
    file = gateway.folder / "tools" / "more.yaml"
    replace(file, "tools: {added: {actor: second}}\n")
    gateway.until(lambda line: line.get("event") == "tools loaded")
    assert gateway.client.get("/tools/added").status_code == 200
    replace(file, "tools: {added: {actr: second}}\n")
    refused = gateway.until(lambda line: line.get("event") == "tools refused")
    assert refused["reason"] == "more.yaml: tools.added.actr is no key here"
    assert refused["hint"] == "did you mean actor?"
    told = gateway.client.get("/tools").json()
    assert "added" in {tool["name"] for tool in told["tools"]}
    assert told["problem"] == refused["reason"]
    eventually(lambda: "asya_gateway_tools_refused 1\n" in gateway.mesh.get("/metrics").text)
    file.unlink()


def test_drain_ends_streams_and_exits_0(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway().start()
    envelope_id = gateway.envelope()
    ended = threading.Event()

    def listen() -> None:
        with gateway.client.stream("GET", f"/envelopes/{envelope_id}/stream") as answer:
            for line in answer.iter_lines():
                if line.startswith("id: 1"):
                    opened.set()
        ended.set()

    opened = threading.Event()
    thread = threading.Thread(target=listen)
    thread.start()
    assert opened.wait(60)
    gateway.process.terminate()
    assert ended.wait(60)
    assert gateway.process.wait(60) == 0
    thread.join(60)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ASYA_GATEWAY_LISTEN": "0.0.0.0:0"}, "ASYA_GATEWAY_AUTH is none and the gateway listens on 0.0.0.0"),
        ({"ASYA_GATEWAY_INTERNAL_AUTH": "none", "ASYA_GATEWAY_INTERNAL_LISTEN": ":0"}, "ASYA_GATEWAY_INTERNAL_AUTH is none"),
        ({"ASYA_GATEWAY_AUTH": "apiKey", "ASYA_GATEWAY_KEYS_FILE": "/nonexistent"}, "Keys file /nonexistent cannot be read"),
        ({"ASYA_GATEWAY_TOOLS": "/nonexistent"}, "Tools /nonexistent cannot be read"),
        ({"ASYA_GATEWAY_LISTNE": "x"}, "did you mean ASYA_GATEWAY_LISTEN?"),
        ({"ASYA_GATEWAY_STORE": "postgres"}, "ASYA_GATEWAY_POSTGRES_URL_FILE is not set"),
    ],
)
def test_start_that_cannot_work_is_one_line_and_78(
    make_gateway: Callable[..., Gateway], capfd: Any, change: dict[str, str], sentence: str
) -> None:
    from asya_gateway.__main__ import main

    environment = make_gateway().environment | change
    assert main([], environment) == 78
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert sentence in said
