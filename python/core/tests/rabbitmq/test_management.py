"""Counts of unsettled messages: from every form of the management API's answers, and never zero when they are not known."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from python.core.tests.rabbitmq.brokers import SERVICES, Server

from asya_core.transports.base import Depth
from asya_core.transports.rabbitmq import RabbitAdmin, RabbitSettings, admin
from asya_core.transports.rabbitmq.topology import actor_spec
from asya_core.wire.errors import Refused, Unavailable


class Management:
    """An HTTP server that gives one answer after the other, the last one for ever, and keeps the paths."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.paths: list[str] = []
        self.authorization = ""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.paths.append(self.path)
                outer.authorization = self.headers["Authorization"]
                status, body = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, *bodies: object) -> None:
        self.answers = [(200, json.dumps(body).encode()) for body in bodies]


@pytest.fixture
def management() -> Iterator[Management]:
    management = Management()
    thread = threading.Thread(target=management.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield management
    management.server.shutdown()
    thread.join()
    management.server.server_close()


def unsettled(management: Management | None, **more: Any) -> int:
    url = management.url if management is not None else None
    return RabbitAdmin(RabbitSettings(host="127.0.0.1", management_url=url, **more))._unsettled("asya-shop-a")


def test_totals_of_one_queue_are_asked_for(management: Management) -> None:
    management.answer({"name": "asya-shop-a", "messages_unacknowledged": 7})
    assert unsettled(management, vhost="team/a") == 7
    assert management.paths == ["/api/queues/team%2Fa/asya-shop-a?disable_stats=true&enable_queue_totals=true"]


def test_list_of_the_vhost_is_asked_where_one_queue_has_no_totals(management: Management) -> None:
    management.answer({"name": "asya-shop-a"}, {"items": [{"name": "asya-shop-a", "messages_unacknowledged": 3}]})
    assert unsettled(management) == 3
    assert "use_regex=true&name=%5Easya%5C-shop%5C-a%24" in management.paths[1]


@pytest.mark.parametrize("second", [{"items": []}, {"items": [{"name": "asya-shop-a"}]}, {"items": "x"}, {}])
def test_count_that_is_not_there_yet_is_waited_for_and_then_an_error(
    management: Management, monkeypatch: pytest.MonkeyPatch, second: object
) -> None:
    monkeypatch.setattr(admin, "FIRST_STATISTICS_SECONDS", 0.3)
    management.answer({"name": "asya-shop-a"}, second)
    with pytest.raises(Unavailable, match="has no counts of queue asya-shop-a yet"):
        unsettled(management, statistics_seconds=0.1)
    management.answer({}, {}, {"messages_unacknowledged": 0})
    assert unsettled(management) == 0


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (404, b"{}", Refused, "is not known to the management API"),
        (401, b"{}", Refused, "refused the user: 401"),
        (403, b"{}", Refused, "refused the user: 403"),
        (500, b"oops", Unavailable, "answered 500"),
        (200, b"<html>", Unavailable, "cannot be read"),
        (200, b"[]", Unavailable, "does not answer as RabbitMQ's"),
    ],
)
def test_trouble_of_the_api_is_an_error_and_never_zero(
    management: Management, status: int, body: bytes, kind: type[Exception], words: str
) -> None:
    management.answers = [(status, body)]
    with pytest.raises(kind, match=words):
        unsettled(management)


def test_absent_api_is_an_error(management: Management) -> None:
    with pytest.raises(Refused, match="not known without the management API"):
        unsettled(None)


def test_credentials_of_the_folder_are_used_and_read_each_time(management: Management, tmp_path: Path) -> None:
    management.answer({"messages_unacknowledged": 0})
    (tmp_path / "username").write_text("u")
    for password, expected in (("p", "Basic dTpw"), ("q", "Basic dTpx")):
        (tmp_path / "password").write_text(password)
        unsettled(management, credentials_dir=str(tmp_path))
        assert management.authorization == expected


@pytest.mark.rabbitmq
@pytest.mark.parametrize("name", SERVICES)
def test_depths_of_a_namespace_come_in_one_call(name: str, namespace: str) -> None:
    real = RabbitAdmin(Server(name).settings(namespace=namespace))
    for actor in ("a", "b"):
        real.ensure(actor_spec(namespace, actor))
    found = real.depths(namespace)
    assert found[f"asya-{namespace}-a"] == found[f"asya-{namespace}-b"] == Depth(0, 0)
    assert real.depth(f"asya-{namespace}-a") == Depth(0, 0)
    real.close()
