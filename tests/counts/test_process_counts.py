"""What one message costs outside the code: AMQP frames and bytes, system calls, requests to the gateway. Real processes, real RabbitMQ."""

import http.server
import os
import signal
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.brokers import Broker
from benchmarks.processes import descendants
from benchmarks.systems.asya import Asya
from benchmarks.systems.base import Handler, Harness, Job, QueueType, payload_of
from tests.counts.conftest import Counts
from tests.counts.counting_proxy import CountingProxy

MESSAGES = 1_000
WARM_UP = 300
PAYLOAD = payload_of(1_000)
URL = "ASYA_TEST_RABBITMQ_URL"

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def broker() -> Broker:
    """The node of ci/services.sh."""
    url = os.environ.get(URL)
    if not url:
        message = f"{URL} is not set: ci/services.sh start, then eval its env"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    parts = urllib.parse.urlsplit(url)
    assert parts.hostname
    assert parts.port
    return Broker(
        host=parts.hostname,
        port=parts.port,
        pid=os.getpid(),
        version="",
        username=urllib.parse.unquote(parts.username or "guest"),
        password=urllib.parse.unquote(parts.password or "guest"),
    )


@contextmanager
def running(broker: Broker, folder: Path, environment: dict[str, str]) -> Iterator[Harness]:
    """A sidecar and a runtime that have handled some messages. The prefetch is fixed, as that of itself changes by the clock."""
    system = Asya(environment={"ASYA_PREFETCH": "100", **environment}, namespace=f"counts-{os.getpid()}")
    job = Job(
        broker=broker,
        run="counts",
        queue_type=QueueType.QUORUM,
        handler=Handler.IDENTITY,
        handler_seconds=0.0,
        concurrency=None,
        folder=folder,
    )
    harness = Harness(system, job)
    try:
        message = system.message(job, PAYLOAD)
        harness.fill(message(number) for number in range(WARM_UP))
        harness.wait_done(WARM_UP)
        yield harness
    finally:
        harness.close()


def fill_while_paused(harness: Harness) -> int:
    """Messages that wait all at once; the size of one. Ends with everything paused."""
    harness.processes.send(signal.SIGSTOP)
    message = harness.system.message(harness.job, PAYLOAD)
    harness.fill(message(number) for number in range(WARM_UP, WARM_UP + MESSAGES))
    return len(message(WARM_UP)[0])


def go_on(harness: Harness) -> None:
    """Let all go on, until everything is in the sink."""
    harness.processes.send(signal.SIGCONT)
    harness.wait_done(WARM_UP + MESSAGES)
    assert harness.depth() == WARM_UP + MESSAGES


def test_a_message_takes_at_most_eight_frames_and_its_bytes_twice_plus_600(broker: Broker, tmp_path: Path) -> None:
    with CountingProxy(broker.host, broker.port) as proxy, running(broker, tmp_path, proxy.settings) as harness:
        size = fill_while_paused(harness)
        proxy.take()
        go_on(harness)
        harness.processes.end()  # what is acknowledged late counts too, closing the links as well
        traffic = proxy.take()
    assert traffic.frames / MESSAGES <= 8.05
    assert traffic.bytes / MESSAGES <= 2 * size + 600


def test_a_message_takes_few_system_calls(broker: Broker, tmp_path: Path, need_tool: Callable[[str], str]) -> None:
    strace = need_tool("strace")
    with running(broker, tmp_path, {}) as harness:
        supervisor, sidecar = harness.processes.roots()
        [worker] = [pid for pid in descendants([supervisor]) if pid != supervisor]
        traces = {pid: tmp_path / f"trace-{pid}" for pid in (sidecar, worker)}
        fill_while_paused(harness)
        tracers = [_attach(strace, pid, path) for pid, path in traces.items()]
        go_on(harness)
        for tracer in tracers:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(10)
            assert tracer.stderr
            tracer.stderr.close()
        calls = {
            pid: sum("resumed>" not in line and "---" not in line for line in path.read_text().splitlines()) for pid, path in traces.items()
        }
    # How much is written at once depends on who runs when: 6.5 to 7 in the sidecar, 0.5 getpid of uvloop among them. The worker: 2, exact.
    assert calls[sidecar] / MESSAGES <= 7.5, calls[sidecar]
    assert calls[worker] / MESSAGES <= 3, calls[worker]


def _attach(strace: str, pid: int, path: Path) -> subprocess.Popen[bytes]:
    tracer = subprocess.Popen([strace, "-f", "-p", str(pid), "-o", str(path)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert tracer.stderr
    said = tracer.stderr.readline()
    assert b"attached" in said, said
    return tracer


class _Gateway(http.server.ThreadingHTTPServer):
    """Takes progress and counts the requests."""

    requests = 0
    reports = 0


class _Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Gateway

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests += 1
        self.server.reports += body.count(b'"state"')
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


def test_a_thousand_deliveries_take_at_most_fifteen_requests_to_the_gateway(broker: Broker, tmp_path: Path, counts: Counts) -> None:
    gateway = _Gateway(("127.0.0.1", 0), _Answer)
    thread = threading.Thread(target=gateway.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with running(broker, tmp_path, {"ASYA_GATEWAY_URL": f"http://127.0.0.1:{gateway.server_port}"}) as harness:
            fill_while_paused(harness)
            before, began = gateway.requests, time.monotonic()
            go_on(harness)
            taken, seconds = gateway.requests - before, time.monotonic() - began
        assert gateway.reports > 0
        assert taken <= max(15, 10 * seconds + 5)  # one goes every 100 ms, however long the deliveries take on this machine
    finally:
        gateway.shutdown()
        thread.join(5)
        gateway.server_close()
