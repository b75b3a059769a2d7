"""Real processes: a mesh of actors (runtime and sidecar each) over a real transport, seen from outside."""

import asyncio
import base64
import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from asya_core.transports.base import (
    Closed,
    Connected,
    Delivered,
    Link,
    Published,
    PublishOutcome,
    QueueAdmin,
    QueueSpec,
    Transport,
    TransportEvent,
)
from asya_core.transports.embedded import EmbeddedAdmin, EmbeddedTransport
from asya_core.transports.rabbitmq import RabbitAdmin, RabbitSettings, RabbitTransport
from asya_core.transports.sqs import SqsAdmin, SqsSettings, SqsTransport
from asya_core.wire.names import ERROR_END, HAPPY_END, dead_letter_queue_name, queue_name
from tests import forked
from tests.runtimes import runtime_command
from tests.sqs_servers import endpoint

WAIT = 30.0
"""The one bound of every wait here, seconds: processes start within it on a busy machine."""
HANDLERS = Path(__file__).parent / "handlers"


class Broker(Protocol):
    """What a mesh needs of a broker."""

    namespace: str
    environment: dict[str, str]
    admin: QueueAdmin

    def transport(self) -> Transport: ...


class EmbeddedBroker:
    def __init__(self, folder: Path) -> None:
        path = folder / "queues.db"
        self.namespace = "t"
        self.environment = {"ASYA_TRANSPORT": "embedded", "ASYA_EMBEDDED_PATH": str(path)}
        self.admin: QueueAdmin = EmbeddedAdmin(path)
        self._path = path

    def transport(self) -> Transport:
        return EmbeddedTransport(self._path)


class RabbitBroker:
    """The server of ci/services.sh; each mesh has a namespace of its own."""

    def __init__(self, url: str, management_url: str | None, namespace: str) -> None:
        self.namespace = namespace
        self._management_url = management_url
        self._settings = RabbitSettings.from_url(url, namespace=namespace, management_url=management_url)
        credentials = self._settings.credentials()
        self.environment = {
            "ASYA_TRANSPORT": "rabbitmq",
            "ASYA_RABBITMQ_ADDRESS": f"{self._settings.host}:{self._settings.port}",
            "ASYA_RABBITMQ_VHOST": self._settings.vhost,
            "ASYA_RABBITMQ_USERNAME": credentials.username,
            "ASYA_RABBITMQ_PASSWORD": credentials.password,
        }
        self.used = {HAPPY_END, ERROR_END}
        self.rabbit = RabbitAdmin(self._settings)
        self.admin: QueueAdmin = self.rabbit

    def transport(self) -> Transport:
        return RabbitTransport(self._settings)

    def close_connections(self, client: str) -> int:
        """End the two connections of one client, as an operator would on the management page; waits until the page knows both."""
        ours: list[str] = []
        deadline = time.monotonic() + WAIT
        while len(ours) != 2:  # that of an earlier test's sidecar may still stand there
            assert time.monotonic() < deadline, f"the management page knows {ours} of {client}"
            listed = json.loads(self._manage("GET", "connections"))
            ours = [each["name"] for each in listed if each.get("client_properties", {}).get("connection_name", "").startswith(client)]
        for name in ours:
            self._manage("DELETE", "connections/" + urllib.parse.quote(name, safe=""))
        return len(ours)

    def _manage(self, method: str, what: str) -> bytes:
        if self._management_url is None:
            pytest.skip("no management plugin: ASYA_TEST_RABBITMQ_MANAGEMENT_URL is not set")
        credentials = self._settings.credentials()
        word = base64.b64encode(f"{credentials.username}:{credentials.password}".encode()).decode()
        request = urllib.request.Request(f"{self._management_url}/api/{what}", method=method, headers={"Authorization": f"Basic {word}"})
        with urllib.request.urlopen(request, timeout=WAIT) as answer:
            return bytes(answer.read())


class SqsBroker:
    """A server of ci/services.sh; each mesh has a namespace of its own, which is in the server's memory until that ends."""

    def __init__(self, endpoint: str) -> None:
        self.namespace = f"p{uuid.uuid4().hex[:8]}"
        self._settings = SqsSettings(endpoint=endpoint, access_key_id="test", secret_access_key="test")
        self.environment = {
            "ASYA_TRANSPORT": "sqs",
            "ASYA_SQS_ENDPOINT": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }
        self.admin: QueueAdmin = SqsAdmin(self._settings, counts_lag_seconds=0)

    def transport(self) -> Transport:
        return SqsTransport(self._settings)


class Process:
    """A child whose standard error is read line by line."""

    def __init__(self, arguments: list[str], environment: dict[str, str], descriptors: tuple[int, ...] = ()) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")}
        self._child: forked.Fork | subprocess.Popen[str]
        if arguments[:2] == ["-m", "asya_sidecar"]:
            self._child = forked.start(arguments, env={**clean, **environment}, pass_fds=descriptors)
        else:
            self._child = subprocess.Popen(
                [sys.executable, *arguments],
                env={**clean, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                pass_fds=descriptors,
            )
        self.lines: list[str] = []
        self._came = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        return self._child.poll() is None

    def _read(self) -> None:
        assert self._child.stderr is not None
        for line in self._child.stderr:
            with self._came:
                self.lines.append(line.rstrip("\n"))
                self._came.notify_all()

    def wait_for(self, wanted: Callable[[str], Any], what: str) -> Any:
        """What `wanted` makes of the first line for which that is true."""
        deadline = time.monotonic() + WAIT
        seen = 0
        with self._came:
            while True:
                for line in self.lines[seen:]:
                    found = wanted(line)
                    if found:
                        return found
                seen = len(self.lines)
                left = deadline - time.monotonic()
                if left <= 0 or not self._came.wait(left):
                    raise AssertionError(f"no {what} within {WAIT} s; standard error:\n" + "\n".join(self.lines[-40:]))

    def event(self, event: str, **keys: Any) -> dict[str, Any]:
        """The first log line of this event that has these keys."""

        def wanted(line: str) -> dict[str, Any] | None:
            if not line.startswith("{"):
                return None
            fields = json.loads(line)
            return fields if fields.get("event") == event and all(fields.get(key) == value for key, value in keys.items()) else None

        return self.wait_for(wanted, f"line {event} {keys}")

    def events(self, event: str) -> list[dict[str, Any]]:
        """All lines of this event so far."""
        parsed = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        return [fields for fields in parsed if fields.get("event") == event]

    def signal(self, number: int) -> None:
        self._child.send_signal(number)

    def exit_code(self) -> int:
        code = self._child.wait(WAIT)
        self._reader.join(WAIT)
        return code

    def end(self) -> None:
        if self.is_alive:
            self._child.kill()
        self._child.wait(WAIT)
        self._reader.join(WAIT)
        assert self._child.stderr is not None
        self._child.stderr.close()


class Actor:
    """An actor's two processes."""

    def __init__(self, mesh: "Mesh", name: str, handler: str, environment: dict[str, str], runtime: dict[str, str]) -> None:
        self.folder = mesh.folder / name
        self.folder.mkdir()
        self.socket = str(self.folder / "r.sock")
        self._mesh = mesh
        self._runtime_environment = {
            "ASYA_HANDLER": handler,
            "ASYA_SOCKET": self.socket,
            "ASYA_SOURCE_PATH": str(HANDLERS),
            "PYTHONUNBUFFERED": "1",
            **runtime,
        }
        self._sidecar_environment = {
            "ASYA_ACTOR": name,
            "ASYA_NAMESPACE": mesh.broker.namespace,
            "ASYA_SOCKET": self.socket,
            "ASYA_HEALTH_LISTEN": "127.0.0.1:0",
            **mesh.broker.environment,
            **environment,
        }
        self.runtime = self.start_runtime()
        self.sidecar = self.start_sidecar()

    def start_runtime(self) -> Process:
        command, inherited = runtime_command(self._runtime_environment)
        self.runtime = self._mesh.process(command[1:], self._runtime_environment, inherited)
        return self.runtime

    def start_sidecar(self, arguments: Sequence[str] = ("-m", "asya_sidecar")) -> Process:
        self.sidecar = self._mesh.process([*arguments], self._sidecar_environment)
        return self.sidecar

    def ready(self) -> "Actor":
        """Wait until the runtime has said HELLO to the sidecar."""
        self.sidecar.event("runtime ready")
        return self

    def get(self, path: str) -> tuple[int, str]:
        """What the health endpoint answers."""
        port = self.sidecar.event("started")["health_port"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=WAIT) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def get_until(self, path: str, wanted: Callable[[int, str], bool]) -> str:
        """The first answer that is as wanted."""
        deadline = time.monotonic() + WAIT
        while True:
            status, text = self.get(path)
            if wanted(status, text):
                return text
            if time.monotonic() > deadline:
                raise AssertionError(f"{path} still answers {status} {text}")
            time.sleep(0.02)  # polls a page of another process, which cannot be awaited


class Mesh:
    """Actors over one broker, and a peer of our own that sends and receives."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker = broker
        self.folder = folder
        self._processes: list[Process] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._inboxes: dict[str, queue.Queue[Delivered]] = {}
        self._transports: list[tuple[Transport, asyncio.Event]] = []
        self._outcomes: queue.Queue[Published] = queue.Queue()
        self._tokens = 0
        self.declared: set[str] = set()
        self._sender = self._open(lambda event: self._outcomes.put(event) if isinstance(event, Published) else None)
        self.declare(ERROR_END, HAPPY_END)  # in this order: SQS wants a dead-letter queue to be there

    def queue(self, actor: str) -> str:
        return queue_name(self.broker.namespace, actor)

    def declare(self, *actors: str) -> None:
        self.broker.admin.ensure(QueueSpec(dead_letter_queue_name(self.broker.namespace)))
        self.declared |= set(actors)
        for actor in actors:
            dead_letter = dead_letter_queue_name(self.broker.namespace) if actor == ERROR_END else self.queue(ERROR_END)
            self.broker.admin.ensure(QueueSpec(self.queue(actor), dead_letter))

    def process(self, arguments: list[str], environment: dict[str, str], descriptors: tuple[int, ...] = ()) -> Process:
        process = Process(arguments, environment, descriptors)
        self._processes.append(process)
        return process

    def actor(self, name: str, handler: str, runtime: dict[str, str] | None = None, **environment: str) -> Actor:
        """Declare the queue of `name` and start its processes; settings of the sidecar by keyword."""
        self.declare(name)
        return Actor(self, name, handler, environment, runtime or {})

    def send(self, actor: str, message: bytes | dict[str, Any]) -> None:
        """Publish to the actor's queue and wait for the confirm."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        self._tokens += 1
        self._loop.call_soon_threadsafe(self._sender.publish, self._tokens, self.queue(actor), body)
        assert self._outcomes.get(timeout=WAIT).outcome is PublishOutcome.CONFIRMED

    def receive(self, actor: str) -> dict[str, Any]:
        """The next message in the actor's queue, taken and acknowledged."""
        try:
            return json.loads(self._inbox(actor).get(timeout=WAIT).body)
        except queue.Empty:
            said = [line for process in self._processes for line in process.lines[-20:]]
            raise AssertionError(f"nothing came to {actor} within {WAIT} s; the processes said:\n" + "\n".join(said)) from None

    def is_quiet(self, actor: str) -> bool:
        """Whether nothing has come to the actor's queue that was not received by `receive`."""
        return self._inbox(actor).empty() and not self.broker.admin.peek(self.queue(actor), 1)

    def _inbox(self, actor: str) -> "queue.Queue[Delivered]":
        inbox = self._inboxes.get(actor)
        if inbox is None:
            inbox = self._inboxes[actor] = queue.Queue()
            transports: list[Transport] = []

            def sink(event: TransportEvent) -> None:
                if isinstance(event, Delivered):
                    transports[0].ack(event.receipt)
                    inbox.put(event)

            transports.append(self._open(sink))
            self._loop.call_soon_threadsafe(transports[0].subscribe, self.queue(actor), 100)
        return inbox

    def _open(self, sink: Callable[[TransportEvent], None]) -> Transport:
        connected, closed = threading.Event(), asyncio.Event()
        transport = self.broker.transport()

        def watched(event: TransportEvent) -> None:
            if isinstance(event, Connected) and event.link is Link.PUBLISH:
                connected.set()
            elif isinstance(event, Closed):
                closed.set()
            sink(event)

        self._loop.call_soon_threadsafe(transport.open, watched)
        assert connected.wait(WAIT)
        self._transports.append((transport, closed))
        return transport

    def close(self) -> None:
        for process in self._processes:
            process.signal(signal.SIGTERM) if process.is_alive else None
        for process in self._processes:
            process.end()

        async def close() -> None:
            for transport, closed in self._transports:
                transport.close()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(closed.wait(), 2.0)
            await asyncio.sleep(0.05)  # lets sockets close; nothing is asserted after it

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(WAIT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT)
        self._loop.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: a Unix socket's is at most 107 bytes."""
    path = Path("/tmp") / f"asya-{uuid.uuid4().hex[:8]}"
    path.mkdir()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def embedded_mesh(folder: Path) -> Iterator[Mesh]:
    broker = EmbeddedBroker(folder)
    mesh = Mesh(broker, folder)
    yield mesh
    mesh.close()
    broker.admin.close()


@pytest.fixture(scope="session")
def rabbit_broker() -> Iterator[RabbitBroker]:
    """A namespace of our own on the server of ci/services.sh, with its delay queues."""
    url = os.environ.get("ASYA_TEST_RABBITMQ_URL")
    if url is None:
        if os.environ.get("CI"):
            pytest.fail("ASYA_TEST_RABBITMQ_URL is not set; run: eval $(ci/services.sh env)")
        pytest.skip("no RabbitMQ: ci/services.sh start; eval $(ci/services.sh env)")
    namespace = f"p{uuid.uuid4().hex[:8]}"
    broker = RabbitBroker(url, os.environ.get("ASYA_TEST_RABBITMQ_MANAGEMENT_URL"), namespace)
    broker.rabbit.ensure_namespace([HAPPY_END, ERROR_END])
    yield broker
    broker.rabbit.remove_namespace(sorted(broker.used))
    broker.admin.close()


@pytest.fixture
def rabbitmq_mesh(folder: Path, rabbit_broker: RabbitBroker) -> Iterator[Mesh]:
    mesh = Mesh(rabbit_broker, folder)
    yield mesh
    mesh.close()
    for actor in mesh.declared:
        rabbit_broker.admin.purge(mesh.queue(actor))
    rabbit_broker.used |= mesh.declared


@pytest.fixture
def sqs_mesh(folder: Path) -> Iterator[Mesh]:
    broker = SqsBroker(endpoint("sqs"))
    mesh = Mesh(broker, folder)
    yield mesh
    mesh.close()
    broker.admin.close()


@pytest.fixture
def mesh(embedded_mesh: Mesh) -> Mesh:
    """The embedded transport's; a module may override it with more."""
    return embedded_mesh
