"""End actors as real processes: the runtime with the crew's handlers beside a sidecar, over the embedded transport."""

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from python.sidecar.tests.process.conftest import WAIT, Actor, EmbeddedBroker, Mesh, folder  # noqa: F401  # a fixture

ENVELOPE_MODE = {"ASYA_HANDLER_MODE": "envelope"}


@pytest.fixture
def mesh(folder: Path) -> Iterator[Mesh]:  # noqa: F811
    broker = EmbeddedBroker(folder)
    mesh = Mesh(broker, folder)
    yield mesh
    mesh.close()
    broker.admin.close()


@pytest.fixture
def results(folder: Path) -> Path:  # noqa: F811
    """The folder that the crew keeps its records in."""
    results = folder / "records"
    results.mkdir()
    return results


@pytest.fixture
def crew(mesh: Mesh, results: Path) -> Callable[..., Actor]:
    """Starts an end actor; settings of the handler by mapping, of the sidecar by keyword."""

    def start(name: str, settings: dict[str, str] | None = None, **environment: str) -> Actor:
        handler = f"asya_crew.{name.replace('-', '_')}.store"
        return mesh.actor(name, handler, {**ENVELOPE_MODE, "ASYA_CREW_STORAGE_URL": f"file://{results}", **(settings or {})}, **environment)

    return start


@pytest.fixture
def record(results: Path) -> Callable[[str], dict[str, Any]]:
    """The record under a key, once it is there."""

    def wait(key: str) -> dict[str, Any]:
        path = results / key
        deadline = time.monotonic() + WAIT
        while not path.exists():
            assert time.monotonic() < deadline, f"no {key} within {WAIT} s; there is {sorted(each.name for each in results.rglob('*'))}"
            time.sleep(0.02)  # polls a folder that other processes write to
        return json.loads(path.read_bytes())  # type: ignore[no-any-return]

    return wait


class Gateway:
    """Takes final reports over real HTTP; refuses with `status` while that is not 200."""

    def __init__(self) -> None:
        self.status = 200
        self.look: Callable[[dict[str, Any]], bool] = lambda report: True
        """Asked about each final report before it is answered; what it said is in `looks`."""
        self.looks: list[bool] = []
        self._finals: queue.Queue[dict[str, Any]] = queue.Queue()
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/internal/v1/final":
                    gateway.looks.append(gateway.look(body))
                answer = b'{"recorded": true}'
                self.send_response(gateway.status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                if self.path == "/internal/v1/final":
                    gateway._finals.put(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def final(self) -> dict[str, Any]:
        """The next final report."""
        return self._finals.get(timeout=WAIT)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.close()
