"""Bad bodies and too much of everything: the code that is promised, and memory that stays."""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

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


def resident_bytes(gateway: Gateway) -> int:
    pages = Path(f"/proc/{gateway.process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096


def test_hundred_megabytes_are_413_and_leave_no_trace_in_memory(limited: Gateway) -> None:
    before = resident_bytes(limited)

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b'"' + b"x" * MIB

    try:
        assert post(limited, endless()).status_code == 413
    except (httpx.WriteError, httpx.ReadError):
        pass  # the answer came and the connection was closed while we still wrote
    with socket.create_connection(("127.0.0.1", int(limited.public.rsplit(":", 1)[1])), timeout=60) as connection:
        head = ["POST /tools/text-processor HTTP/1.1", "Host: localhost", "Content-Type: application/json", f"Content-Length: {100 * MIB}"]
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        assert b" 413 " in connection.recv(1000).splitlines()[0]
    assert resident_bytes(limited) - before < 20 * MIB


def test_hundred_thousand_headers_are_refused_and_the_next_is_served(limited: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", int(limited.public.rsplit(":", 1)[1])), timeout=60) as connection:
        try:
            connection.sendall(b"GET /tools HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 100_000 + b"\r\n")
            first = connection.recv(1000)
        except OSError:
            first = b"HTTP/1.1 400 "
        assert first.split()[1] in (b"400", b"431")
    assert limited.client.get("/tools").status_code == 200


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
    answers = [gateway.client.get("/tools") for _ in range(6)]
    assert [answer.status_code for answer in answers].count(429) >= 2
    refused = answers[-1]
    assert (refused.json()["code"], int(refused.headers["retry-after"]) >= 1) == ("rate_limited", True)


def test_changed_tools_are_listed_and_a_broken_file_changes_nothing(limited: Gateway) -> None:
    gateway = limited
    file = gateway.folder / "tools" / "more.yaml"
    file.write_text("tools: {added: {actor: second}}\n")
    gateway.until(lambda line: line.get("event") == "tools loaded")
    assert gateway.client.get("/tools/added").status_code == 200
    file.write_text("tools: {added: {actr: second}}\n")
    refused = gateway.until(lambda line: line.get("event") == "tools refused")
    assert refused["reason"] == "more.yaml: tools.added.actr is no key here"
    assert refused["hint"] == "did you mean actor?"
    told = gateway.client.get("/tools").json()
    assert "added" in {tool["name"] for tool in told["tools"]}
    assert told["problem"] == refused["reason"]
    assert "asya_gateway_tools_refused 1\n" in gateway.mesh.get("/metrics").text
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
