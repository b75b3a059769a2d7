"""What a system under test has to offer to be measured. Implemented by the other modules of this package; called by workloads.

The same for all: the harness puts messages into the source queue while the system's processes are paused, lets them go on, and
looks at the depth of the sink queue. So a system's start, its connections and the filling are never part of a measured time.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import pika
import pika.adapters.blocking_connection
import pika.exceptions

from benchmarks.brokers import Broker
from benchmarks.processes import ProcessGroup

Channel: TypeAlias = pika.adapters.blocking_connection.BlockingChannel
Message: TypeAlias = tuple[bytes, pika.BasicProperties]


class QueueType(StrEnum):
    """RabbitMQ's two kinds of durable queues."""

    CLASSIC = "classic"
    QUORUM = "quorum"


class Handler(StrEnum):
    """What the measured handler does before it returns its argument."""

    IDENTITY = "identity"
    SLEEP = "sleep"
    """Blocks for `Job.handler_seconds`."""
    ASYNC_SLEEP = "async_sleep"
    """Awaits for `Job.handler_seconds`; a system without ``async def`` handlers blocks a thread instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One set-up of a system.

    Attributes:
        run: tells the queues of this run from others.
        handler_seconds: for the sleeping handlers.
        concurrency: handler calls at a time; None: the system's set-up for throughput.
        folder: for logs and sockets of this run.
    """

    broker: Broker
    run: str
    queue_type: QueueType
    handler: Handler
    handler_seconds: float
    concurrency: int | None
    folder: Path

    def environment(self, source: str, sink: str) -> dict[str, str]:
        """What the small programs in systems/apps read."""
        return {
            "BENCH_URL": self.broker.url,
            "BENCH_SOURCE": source,
            "BENCH_SINK": sink,
            "BENCH_QUEUE_TYPE": self.queue_type,
            "BENCH_HANDLER": self.handler,
            "BENCH_HANDLER_SECONDS": str(self.handler_seconds),
            "BENCH_CONCURRENCY": str(self.concurrency or 0),
            "PYTHONUNBUFFERED": "1",
        }


class Named(Protocol):
    """What the tables tell of any system."""

    name: str
    setup: str
    """One sentence: how it is set up, for the table's legend."""

    def absent(self) -> str | None:
        """Why it cannot be measured here; None if it can."""
        ...

    def versions(self) -> dict[str, str]:
        """Version by distribution."""
        ...


@runtime_checkable
class System(Named, Protocol):
    """A system that takes messages from one queue, runs a handler on each, and puts the result into the next."""

    def queues(self, job: Job) -> tuple[str, str]:
        """Names of source and sink."""
        ...

    def declare(self, job: Job, channel: Channel) -> None:
        """Make both queues with the arguments that the system itself would give them."""
        ...

    def message(self, job: Job, payload: bytes) -> Callable[[int], Message]:
        """A maker of the n-th message that carries this payload (JSON), as the system's own client would send it."""
        ...

    def start(self, job: Job) -> ProcessGroup:
        """Start its processes; the harness waits until one consumes."""
        ...


PERSISTENT = 2


def plain_message(body: bytes, **properties: object) -> Message:
    """A persistent message with these properties."""
    return body, pika.BasicProperties(delivery_mode=PERSISTENT, **properties)


def payload_of(size: int) -> bytes:
    """A JSON object of exactly `size` bytes: a number, a short list and text, as handlers get them."""
    head = {"n": 17, "tags": ["a", "b"], "text": ""}
    text = "the quick brown fox jumps over the lazy dog "
    need = size - len(json.dumps(head, separators=(",", ":")))
    if need < 0:
        raise ValueError(f"Payload of {size} bytes is too small")
    head["text"] = (text * (need // len(text) + 1))[:need]
    return json.dumps(head, separators=(",", ":")).encode()


WAIT_SECONDS = 120
PAUSE_SECONDS = 0.05


class Harness:
    """Fills and watches the queues of one run. One connection; nothing consumes but the system."""

    def __init__(self, system: System, job: Job) -> None:
        self.system = system
        self.job = job
        self.source, self.sink = system.queues(job)
        self._connection = job.broker.connect()
        self.channel = self._connection.channel()
        system.declare(job, self.channel)
        self.processes = system.start(job)
        try:
            self._wait_for(lambda: self._look(self.source)[1] > 0, "no consumer")
        except BaseException:
            self.close()
            raise

    def close(self) -> int:
        """End the system and remove the queues. Gives the messages that it left unsettled in the source."""
        self.processes.end()
        with contextlib.suppress(pika.exceptions.AMQPError):
            self._connection.close()
        connection = self.job.broker.connect()
        channel = connection.channel()
        left: int = channel.queue_declare(self.source, passive=True).method.message_count
        for queue in (self.source, self.sink):
            channel.queue_delete(queue)
        connection.close()
        return left

    def fill(self, messages: Iterable[Message]) -> None:
        """Put messages into the source. When it returns the broker has taken all of them."""
        channel = self._connection.channel()
        for body, properties in messages:
            channel.basic_publish("", self.source, body, properties)
        channel.close()

    def depth(self) -> int:
        """Messages in the sink."""
        return self._look(self.sink)[0]

    def wait_done(self, count: int) -> float:
        """Wait until the sink holds `count` messages; the clock's reading then, late by 4 ms at most and looked at rarely before."""
        start = time.perf_counter()
        end = start + WAIT_SECONDS
        first = None
        while True:
            depth = self.depth()
            now = time.perf_counter()
            if depth >= count:
                return now
            if now > end:
                raise RuntimeError(
                    f"{self.system.name}: {depth} of {count} messages after {WAIT_SECONDS} s; {self.processes.failed() or 'it runs'}"
                )
            self._check()
            first = first if first is not None or depth == 0 else (now, depth)
            pause = PAUSE_SECONDS
            if first is not None and depth > first[1]:
                rate = (depth - first[1]) / (now - first[0])
                pause = min(0.25, max(0.004, (count - depth) / rate * 0.3))
            time.sleep(pause)

    def _look(self, queue: str) -> tuple[int, int]:
        frame = self.channel.queue_declare(queue, passive=True)
        return frame.method.message_count, frame.method.consumer_count

    def _check(self) -> None:
        failed = self.processes.failed()
        if failed:
            raise RuntimeError(f"{self.system.name}: {failed}")

    def _wait_for(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + WAIT_SECONDS
        while not condition():
            self._check()
            if time.monotonic() > end:
                raise RuntimeError(f"{self.system.name}: {what} after {WAIT_SECONDS} s")
            time.sleep(PAUSE_SECONDS)
