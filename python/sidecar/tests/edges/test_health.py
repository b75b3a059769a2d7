"""The health server over a real connection."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from asya_core.ops.settings import Listen
from asya_sidecar.health import HealthServer

WAIT = 30.0


async def exchange(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answer = await asyncio.wait_for(reader.read(), WAIT)
    writer.close()
    return answer


@pytest.fixture
def ask(run: Any) -> Callable[..., bytes]:
    """What the server answers to these bytes, up to the end of the connection."""

    def ask(data: bytes, problems: list[str] | None = None) -> bytes:
        answers: list[bytes] = []

        async def body() -> None:
            server = HealthServer(lambda: problems or [], lambda: "m 1\n")
            port = await server.start(Listen("127.0.0.1", 0))
            answers.append(await exchange(port, data))
            server.close()

        run(body())
        return answers[0]

    return ask


def test_ready_without_problems_is_200(ask: Any) -> None:
    assert ask(b"GET /ready HTTP/1.1\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")


def test_ready_with_problems_is_503_and_names_each(ask: Any) -> None:
    answer = ask(b"GET /ready HTTP/1.1\r\nConnection: close\r\n\r\n", ["one", "two"])

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b"\r\n\r\nnot ready: one\nnot ready: two\n")


def test_metrics_have_the_type_that_prometheus_asks_for(ask: Any) -> None:
    answer = ask(b"GET /metrics?x=1 HTTP/1.1\r\nConnection: close\r\n\r\n")

    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n" in answer
    assert answer.endswith(b"\r\n\r\nm 1\n")


def test_a_connection_is_kept_for_the_next_request(ask: Any) -> None:
    answer = ask(b"GET /live HTTP/1.1\r\n\r\nGET /live HTTP/1.1\r\nConnection: close\r\n\r\n")

    assert answer.count(b"HTTP/1.1 200 OK") == 2


def test_head_has_no_body(ask: Any) -> None:
    answer = ask(b"HEAD /live HTTP/1.1\r\nConnection: close\r\n\r\n")

    assert b"Content-Length: 6\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_http_1_0_is_answered_and_closed(ask: Any) -> None:
    assert ask(b"GET /live HTTP/1.0\r\n\r\n").endswith(b"alive\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /other HTTP/1.1\r\nConnection: close\r\n\r\n", b"404"),
        (b"POST /live HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /live SPDY/3\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 9000, b"400"),
        (b"\xff\xfe\r\n\r\n", b"400"),
    ],
)
def test_other_requests_are_refused(ask: Any, request_bytes: bytes, status: bytes) -> None:
    assert ask(request_bytes).split(b" ")[1] == status
