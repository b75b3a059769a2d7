"""A sidecar whose gateway is away, silent, broken or refusing: messages flow, the process drains, reports are counted as lost."""

import contextlib
import re
import signal
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

MESSAGES = 60


class Broken(BaseHTTPRequestHandler):
    """Answers every report with the status of the server."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with contextlib.suppress(OSError):
            self.send_response(self.server.status)  # type: ignore[attr-defined]
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextlib.contextmanager
def answering(status: int) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    server.daemon_threads = True
    server.status = status  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(5)


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """Takes connections and requests and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


GATEWAYS = {
    "nobody there": lambda: contextlib.nullcontext("http://127.0.0.1:1"),
    "unknown host": lambda: contextlib.nullcontext("http://no-such-host.invalid:8081"),
    "silent": silent,
    "failing": lambda: answering(500),
    "not ours": lambda: answering(404),
    "token refused": lambda: answering(401),
}


@pytest.mark.parametrize("kind", GATEWAYS)
def test_messages_flow_whatever_the_gateway_does(mesh: Any, kind: str) -> None:
    with GATEWAYS[kind]() as url:  # type: ignore[operator]
        mesh.declare("b")
        actor = mesh.actor("a", "sample.identity", ASYA_GATEWAY_URL=url).ready()

        for number in range(MESSAGES):
            mesh.send("a", {"id": str(number), "route": {"actors": ["a", "b"], "current": 0}, "payload": number})

        assert sorted(mesh.receive("b")["payload"] for _ in range(MESSAGES)) == list(range(MESSAGES))
        actor.sidecar.signal(signal.SIGTERM)
        assert actor.sidecar.exit_code() == 0
        assert len(actor.sidecar.events("progress reports fail")) <= 1


def test_lost_reports_are_counted_and_readiness_does_not_ask_for_the_gateway(mesh: Any) -> None:
    with answering(422) as url:
        actor = mesh.actor("a", "sample.identity", ASYA_GATEWAY_URL=url).ready()

        mesh.send("a", {"id": "7", "route": {"actors": ["a"], "current": 0}, "payload": 1})
        assert actor.sidecar.event("progress reports fail")["reason"] == "the gateway answered 422"

        # One report if all fits into it; what comes after it is another.
        actor.get_until("/metrics", lambda status, text: re.search(r'progress_dropped_total\{actor="a"\} [1-9]', text) is not None)
        assert actor.get("/ready")[0] == 200
