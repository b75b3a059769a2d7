"""B6: SQS that takes 5 ms for each call: messages waiting, and one message a second."""

import asyncio
import signal
import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import cast

from asya_core.transports.base import Connected, Delivered, Link, QueueSpec, TransportEvent
from asya_core.transports.sqs import SqsAdmin, SqsSettings, SqsTransport
from asya_core.transports.sqs.client import connect
from asya_core.wire.names import dead_letter_queue_name, queue_name
from benchmarks.measure import Case, Contender, Sample
from benchmarks.processes import ProcessGroup, Usage
from benchmarks.sqs_double import SqsDouble
from benchmarks.systems.base import payload_of
from benchmarks.systems.sqs import AsyaOnSqs, Boto3Loop, SqsSystem

CALL_SECONDS = 0.005
WARM_UP = 100
BATCH = 10
WAIT_SECONDS = 240


def cases(quick: bool) -> list[Case]:
    """Under load beside a loop with boto3; and one message a second."""
    count = 1_000 if quick else 2_000
    asya = Contender(system=AsyaOnSqs())
    loop = Contender(system=Boto3Loop(), targets={"msg/s": 5.0})
    return [
        Case(
            bench="B6",
            title=f"SQS, 5 ms for each call, {count:,} × 1 kB, identity",
            contenders=(asya, loop),
            measure=None,
            rounds=1 if quick else 3,
            count=count,
            warm_up=WARM_UP,
            limits={"calls/message": 0.35},
            play=_load,
        ),
        Case(
            bench="B6",
            title=f"SQS, 5 ms for each call, one message a second, {10 if quick else 30} times",
            contenders=(asya,),
            measure=None,
            rounds=1,
            count=10 if quick else 30,
            warm_up=0,
            limits={"hand-over ms": 10.0},
            play=_one_a_second,
        ),
    ]


class _Room:
    """A namespace on the double."""

    def __init__(self) -> None:
        self.double = SqsDouble(CALL_SECONDS)
        self.namespace = f"b{uuid.uuid4().hex[:10]}"
        self.settings = SqsSettings(endpoint=self.double.server, access_key_id="bench", secret_access_key="bench")
        self.admin = SqsAdmin(self.settings, counts_lag_seconds=0)
        self.source, self.sink = (queue_name(self.namespace, actor) for actor in "ab")
        for name in (dead_letter_queue_name(self.namespace), self.source, self.sink):
            self.admin.ensure(QueueSpec(name))
        self._api = connect(self.settings)

    def fill(self, first: int, count: int) -> None:
        payload = payload_of(1_000)
        url = self.admin.url(self.source)
        for start in range(first, first + count, BATCH):
            numbers = range(start, min(start + BATCH, first + count))
            bodies = [b'{"id":"%08d","route":{"actors":["a","b"],"current":0},"payload":%b}' % (number, payload) for number in numbers]
            entries = [{"Id": str(number), "MessageBody": body.decode()} for number, body in zip(numbers, bodies, strict=True)]
            self._api.call("send_message_batch", QueueUrl=url, Entries=entries)

    def wait_done(self, count: int, group: ProcessGroup) -> None:
        """Until the sink holds so many and the source nothing."""
        until = time.monotonic() + WAIT_SECONDS
        while self.admin.depth(self.sink).ready < count:
            if time.monotonic() > until or group.failed():
                raise RuntimeError(f"{self.admin.depth(self.sink).ready} of {count} messages; {group.failed() or 'it runs'}")
            time.sleep(0.02)

    def close(self) -> None:
        for name in (self.source, self.sink):
            self.admin.delete(name)
        self.admin.close()
        self._api.close()
        self.double.end()


def _load(contender: Contender, case: Case) -> Sample:
    system = cast(SqsSystem, contender.system)
    room = _Room()
    with tempfile.TemporaryDirectory(prefix="asya-bench-") as folder:
        group = system.start(room.double.endpoint, room.namespace, Path(folder))
        try:
            room.fill(0, case.warm_up)
            room.wait_done(case.warm_up, group)
            time.sleep(0.5)  # until the last of them is deleted
            group.send(signal.SIGSTOP)
            room.fill(case.warm_up, case.count)
            before, calls = group.usage(), room.double.calls()
            start = time.perf_counter()
            group.send(signal.SIGCONT)
            room.wait_done(case.warm_up + case.count, group)
            elapsed = time.perf_counter() - start
            after = group.usage()
            while (depth := room.admin.depth(room.source)).ready + depth.unsettled:
                time.sleep(0.02)
            calls = room.double.calls() - calls
        finally:
            group.end()
            room.close()
    cpu = after.cpu_seconds - before.cpu_seconds
    values = {"msg/s": case.count / elapsed, "calls/message": calls / case.count, "CPU µs/message": cpu / case.count * 1e6}
    return _sample(values, after, cpu)


def _one_a_second(contender: Contender, case: Case) -> Sample:
    """The transport alone: from the server's answer that holds a message to its hand-over, by one clock of the machine."""
    del contender
    room = _Room()
    try:
        delivered = asyncio.run(_deliver(room, case.count))
        told = room.double.told()
    finally:
        room.close()
    took = [came - left for came, left in zip(delivered, told["handed"], strict=True)]
    return _sample({"hand-over ms": statistics.median(took) * 1e3, "slowest ms": max(took) * 1e3}, Usage(cpu_seconds=0, rss_mb=0), 0.0)


async def _deliver(room: _Room, count: int) -> list[float]:
    settings = SqsSettings(endpoint=room.double.endpoint, access_key_id="bench", secret_access_key="bench")
    transport = SqsTransport(settings)
    connected, came = asyncio.Event(), asyncio.Event()
    times: list[float] = []

    def sink(event: TransportEvent) -> None:
        match event:
            case Delivered():
                times.append(time.monotonic())
                transport.ack(event.receipt)
                came.set()
            case Connected(Link.CONSUME):
                connected.set()
            case _:
                pass

    transport.open(sink)
    await connected.wait()
    transport.subscribe(room.source, 1)
    for number in range(count):
        came.clear()
        await asyncio.sleep(1.0)
        await asyncio.to_thread(room.fill, number, 1)
        await came.wait()
    transport.close()
    return times


def _sample(values: dict[str, float], usage: Usage, cpu_seconds: float) -> Sample:
    return Sample(values=values, cpu_seconds=cpu_seconds, broker_cpu_seconds=0.0, rss_mb=usage.rss_mb)
