"""A mesh of real actors (sidecar and runtime processes) on a real RabbitMQ, and a checker on envelope ids.

The checker knows what was *accepted* (its publish was confirmed) and reads what arrived at the two ends: *lost* is accepted and nowhere,
*unexpected* is at an end and was never accepted or could not come of it, *duplicated* is there more than once. A test passes with lost
0 and unexpected 0; duplicates are counted and compared with the bound that docs/explanation/delivery-guarantees.md states.
"""

import json
import os
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pika
import pika.exceptions

from asya_core.transports.rabbitmq import QueueType, RabbitAdmin, RabbitSettings
from asya_core.wire.names import ERROR_END, HAPPY_END, queue_name
from tests import forked
from tests.runtimes import runtime_command

HANDLERS = Path(__file__).parent / "handlers"
WAIT_SECONDS = 60.0


def wait_until(condition: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Poll until `condition` holds; fails with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


@dataclass(frozen=True, kw_only=True)
class ActorSpec:
    """An actor of the mesh.

    Attributes:
        name: its name.
        handler: a function of `handlers/fault_handlers.py`.
        settings: more environment of its sidecar.
        concurrency: replicas, each a pair of processes.
    """

    name: str
    handler: str
    settings: dict[str, str] = field(default_factory=dict)
    replicas: int = 1


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the checker found. Ids by what became of them."""

    lost: set[str]
    unexpected: set[str]
    duplicates: int
    results: dict[str, list[dict[str, Any]]]
    errors: dict[str, list[dict[str, Any]]]

    def assert_all(self) -> None:
        """Nothing lost, nothing unexpected."""
        assert (self.lost, self.unexpected) == (set(), set())


class Pair:
    """One sidecar and one runtime."""

    def __init__(self, mesh: "Mesh", spec: ActorSpec, number: int) -> None:
        self.mesh = mesh
        self.spec = spec
        self.folder = mesh.folder / f"{spec.name}-{number}"
        self.folder.mkdir()
        self.socket = self.folder / "s"
        self.sidecar: forked.Fork | None = None
        self.runtime: subprocess.Popen[bytes] | None = None
        self.exit_code: int | None = None

    def start_runtime(self) -> None:
        """Start the runtime with its handler."""
        environment = _clean_environment() | {
            "ASYA_HANDLER": f"fault_handlers.{self.spec.handler}",
            "ASYA_SOURCE_PATH": str(HANDLERS),
            "ASYA_SOCKET": str(self.socket),
            "WHO": self.spec.name,
            "RUNS_FILE": str(self.mesh.runs_file),
            "ONCE_FOLDER": str(self.mesh.once_folder),
        }
        command, inherited = runtime_command(environment)
        with self._log_of("runtime") as log:
            self.runtime = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=inherited)

    def start_sidecar(self, crash_at: str = "") -> None:
        """Start the sidecar; `crash_at` as in `crashing_sidecar.py`."""
        environment = _clean_environment() | {
            "ASYA_ACTOR": self.spec.name,
            "ASYA_NAMESPACE": self.mesh.namespace,
            **self.mesh.sidecar_environment(),
            "ASYA_SOCKET": str(self.socket),
            "ASYA_HEALTH_LISTEN": "off",
            "ASYA_LOG_DELIVERIES": "failures",
            **self.spec.settings,
        }
        module = ["-m", "asya_sidecar"]
        if crash_at:
            environment["CRASH_AT"] = crash_at
            module = [str(Path(__file__).parent / "crashing_sidecar.py")]
        with self._log_of("sidecar") as log:
            self.sidecar = forked.start(module, env=environment, program="asya_sidecar", stdout=log.fileno(), stderr=log.fileno())

    def _log_of(self, name: str) -> BinaryIO:
        return (self.folder / f"{name}.log").open("ab")

    def log(self, name: str) -> str:
        """What sidecar or runtime wrote."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        """End both processes at once."""
        for process in (self.sidecar, self.runtime):
            if process is not None and process.poll() is None:
                process.terminate()
        for process in (self.sidecar, self.runtime):
            if process is not None:
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(10)


class Mesh:
    """A namespace of its own with actors on a broker."""

    def __init__(self, url: str, folder: Path, actors: Iterable[ActorSpec], queue_type: QueueType = QueueType.QUORUM) -> None:
        self.namespace = f"f{uuid.uuid4().hex[:10]}"
        self.folder = folder
        self.runs_file = folder / "runs"
        self.runs_file.touch()
        self._runs: Counter[tuple[str, int]] = Counter()
        self._runs_of: Counter[str] = Counter()
        self._runs_read = 0
        self._connection: Any = None
        self.once_folder = folder / "once"
        self.once_folder.mkdir()
        self.url = url
        self.settings = RabbitSettings.from_url(url, namespace=self.namespace, queue_type=queue_type)
        self.actors = list(actors)
        self.pairs = {spec.name: [Pair(self, spec, number) for number in range(spec.replicas)] for spec in self.actors}
        self.accepted: set[str] = set()
        self._taken: dict[str, list[dict[str, Any]]] = {HAPPY_END: [], ERROR_END: []}

    def sidecar_environment(self) -> dict[str, str]:
        """Which transport, and where."""
        settings = self.settings
        return {
            "ASYA_TRANSPORT": "rabbitmq",
            "ASYA_RABBITMQ_ADDRESS": f"amqp://{settings.host}:{settings.port}",
            "ASYA_RABBITMQ_USERNAME": settings.username or "",
            "ASYA_RABBITMQ_PASSWORD": settings.password or "",
        }

    @property
    def names(self) -> list[str]:
        """Its actors."""
        return [spec.name for spec in self.actors]

    def declare(self) -> None:
        """Make all queues, exchanges and bindings."""
        with self.admin() as admin:
            admin.ensure_namespace([*self.names, HAPPY_END])

    @contextmanager
    def admin(self) -> Iterator[RabbitAdmin]:
        """A connection for administration."""
        admin = RabbitAdmin(self.settings)
        try:
            yield admin
        finally:
            admin.close()

    def start(self) -> None:
        """Declare, start every pair."""
        self.declare()
        for pair in self.each():
            pair.start_runtime()
            pair.start_sidecar()

    def each(self) -> Iterator[Pair]:
        """Every pair."""
        for pairs in self.pairs.values():
            yield from pairs

    def stop(self) -> None:
        """End all processes, remove the queues."""
        for pair in self.each():
            pair.stop()
        self._forget_connection()
        with suppress(Exception), self.channel() as channel:
            for name in [*self.names, HAPPY_END, ERROR_END]:
                channel.queue_delete(queue_name(self.namespace, name))
        with suppress(Exception), self.admin() as admin:
            admin.remove_namespace([*self.names, HAPPY_END, ERROR_END])

    @contextmanager
    def channel(self) -> Iterator[Any]:
        """A blocking channel of the test's own."""
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            yield connection.channel()
        finally:
            with suppress(pika.exceptions.AMQPError):
                connection.close()

    @contextmanager
    def looking(self) -> Iterator[Any]:
        """A channel for looks many times a second, of a connection that is kept; a look that breaks it is tried anew by its caller."""
        try:
            if self._connection is None:
                self._connection = pika.BlockingConnection(pika.URLParameters(self.url))
            channel = self._connection.channel()
            yield channel
            channel.close()
        except (pika.exceptions.AMQPError, OSError):
            self._forget_connection()
            raise

    def _forget_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(pika.exceptions.AMQPError, OSError):
                connection.close()

    def publish(self, count: int, payload: Callable[[int], dict[str, Any]] = lambda n: {}, route: list[str] | None = None) -> None:
        """Publish `count` envelopes with confirms; they are accepted."""
        with self.channel() as channel:
            channel.confirm_delivery()
            actors = route or self.names
            for identity, body in envelopes(count, actors, payload):
                channel.basic_publish(
                    "",
                    queue_name(self.namespace, actors[0]),
                    body,
                    pika.BasicProperties(delivery_mode=2),
                    mandatory=True,
                )
                self.accepted.add(identity)

    def take_ends(self) -> None:
        """Take what is in the two ends' queues."""
        with self.looking() as channel:
            for end, taken in self._taken.items():
                while True:
                    method, _, body = channel.basic_get(queue_name(self.namespace, end))
                    if method is None:
                        break
                    taken.append(json.loads(body))
                    channel.basic_ack(method.delivery_tag)

    def run_until_done(self, children: Callable[[str], set[str]] = lambda identity: {identity}, seconds: float = WAIT_SECONDS) -> Verdict:
        """Wait until every accepted id has ended and the actors' queues are empty; what was found then, or at the end of the time.

        Args:
            children: the ids that an accepted one ends as.
            seconds: the longest wait.
        """
        expected = {child for identity in self.accepted for child in children(identity)}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(pika.exceptions.AMQPError, OSError):
                self.take_ends()
                ended = {item["id"] for taken in self._taken.values() for item in taken}
                failed_parents = {item["id"] for item in self._taken[ERROR_END]} & self.accepted
                missing = expected - ended - {child for parent in failed_parents for child in children(parent)}
                if not missing and self.is_empty():
                    self._stop_sidecars()  # what they still hold goes back to the queues
                    if self.is_empty():
                        self.take_ends()
                        break
                    self._start_sidecars()
            time.sleep(0.1)
        results, errors = _by_id(self._taken[HAPPY_END]), _by_id(self._taken[ERROR_END])
        ended = results.keys() | errors.keys()
        lost = {
            identity for identity in self.accepted if identity not in errors and not all(child in ended for child in children(identity))
        }
        counts = Counter(item["id"] for taken in self._taken.values() for item in taken)
        return Verdict(
            lost=lost,
            unexpected=ended - expected - self.accepted,
            duplicates=sum(count - 1 for count in counts.values()),
            results=results,
            errors=errors,
        )

    def is_empty(self) -> bool:
        """Whether no actor's queue holds anything."""
        with self.looking() as channel:
            return not any(
                channel.queue_declare(queue_name(self.namespace, name), passive=True).method.message_count for name in self.names
            )

    def _stop_sidecars(self) -> None:
        for pair in self.each():
            if pair.sidecar is not None and pair.sidecar.poll() is None:
                pair.sidecar.terminate()
        for pair in self.each():
            if pair.sidecar is not None:
                pair.exit_code = pair.sidecar.wait(30)

    def _start_sidecars(self) -> None:
        for pair in self.each():
            pair.start_sidecar()

    def runs(self) -> Counter[tuple[str, int]]:
        """How often each actor's handler ran for each number. Reads what has been written since the last look."""
        with self.runs_file.open("rb") as file:
            file.seek(self._runs_read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._runs_read += len(whole)
        for line in whole.decode().splitlines():
            actor, number, _ = line.split()
            self._runs[actor, int(number)] += 1
            self._runs_of[actor] += 1
        return self._runs

    def runs_of(self, actor: str) -> int:
        """Runs of an actor's handler so far."""
        self.runs()
        return self._runs_of[actor]


def envelopes(count: int, actors: list[str], payload: Callable[[int], dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    """Ids and messages."""
    for n in range(count):
        body = {"id": f"e{n}", "route": {"actors": actors, "current": 0}, "payload": {"n": n, **payload(n)}}
        yield f"e{n}", json.dumps(body).encode()


def _by_id(items: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        found.setdefault(item["id"], []).append(item)
    return found


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")}
