"""A sidecar's inside, complete from transport to frames, in one thread and without waiting. Used by the tests that count.

The twin stands in place of a broker, and frames are answered in place of a runtime.
"""

import os
from collections import deque
from collections.abc import Callable
from random import Random

from asya_core.ops.logs import LineWriter, Log
from asya_core.testing.twin import TwinAdmin, TwinBroker, TwinTransport
from asya_core.transports.base import QueueSpec
from asya_core.wire.frames import FrameReader, Kind, encode_call, encode_frame, read_reply
from asya_sidecar.consume import Consumer
from asya_sidecar.decide import Decider
from asya_sidecar.effects import Call, CallsEnded, Event, Replied, RuntimeReady
from asya_sidecar.metrics import SidecarMetrics
from asya_sidecar.perform import Performer
from asya_sidecar.policy import Policy

SOURCE, SINK = "asya-ns-a", "asya-ns-b"


class AnsweringRuntime:
    """Gives back the payload `answer` for every call, through the frames of both sides."""

    def __init__(self, turns: deque[Callable[[], None]], sink: Callable[[Event], None], answer: bytes) -> None:
        self._turns, self._sink, self._answer = turns, sink, answer
        self._reader = FrameReader()

    def call(self, call: Call) -> None:
        encode_call(call.call, call.limit_ms, call.body)
        self._turns.append(lambda: self._reply(call.call))

    def _reply(self, number: int) -> None:
        body = b"\x00\x00\x00\x00\x01" + len(self._answer).to_bytes(4, "big") + self._answer
        for frame in self._reader.feed(encode_frame(Kind.PAYLOADS, number, body)):
            self._sink(CallsEnded((frame.call,)))
            self._sink(Replied(frame.call, read_reply(frame)))

    def close_connection(self) -> None:
        raise AssertionError("nothing times out here")


class TwinSidecar:
    """A sidecar that can be fed. Made inside a running loop, whose turns are not needed but for its clock."""

    def __init__(self, *, answer: bytes = b'{"x":1}') -> None:
        self.turns: deque[Callable[[], None]] = deque()
        self.broker = TwinBroker(schedule=self.turns.append)
        admin = TwinAdmin(self.broker)
        for name in (SOURCE, SINK, "asya-ns-error-end", "asya-ns-happy-end"):
            admin.ensure(QueueSpec(name))
        self.failures: list[Exception] = []
        self._null = os.open(os.devnull, os.O_WRONLY)
        log = Log(LineWriter(self._null)).bind(actor="a")
        metrics = SidecarMetrics("a")
        self.decider = Decider(Policy(actor="a", namespace="ns", prefetch=32), Random(1))
        self.consumer = Consumer(self.decider, metrics=metrics, log=log, closed=lambda: None, failed=self.failures.append)
        transport = TwinTransport(self.broker)
        self.performer = Performer(
            transport=transport,
            queue=SOURCE,
            runtime=AnsweringRuntime(self.turns, self.consumer.take, answer),
            reporter=None,
            sink=self.consumer.take,
            leave=lambda: None,
            log=log,
            log_fine=True,
            metrics=metrics,
            published=self.consumer.publish_sent,
        )
        self.consumer.attach(self.performer.perform)
        transport.open(self.consumer.take_transport)
        self.consumer.take(RuntimeReady(1))
        self._feeder = TwinTransport(self.broker)
        self._feeder.open(lambda event: None)
        self._token = 0
        self.run()

    def run(self) -> None:
        """All turns until nothing is left to do."""
        while self.turns:
            self.turns.popleft()()
        assert not self.failures, self.failures

    def fill(self, count: int, body: bytes) -> None:
        """Messages for the source; nothing is delivered before `run`."""
        for _ in range(count):
            self._token += 1
            self._feeder.publish(self._token, SOURCE, body)

    def finished(self) -> int:
        """Messages in the sink."""
        return len(self.broker.bodies(SINK))

    def empty(self) -> None:
        """Forget what is in the sink."""
        TwinAdmin(self.broker).purge(SINK)

    def close(self) -> None:
        """Let go of timers and files."""
        self.performer.close()
        os.close(self._null)
