"""What is measured of one run, and how runs are compared. Called by `run` and the workloads.

Contenders take turns, Asya among them, round after round (A B C A B C …); a ratio is always taken within one round, and the result is the
median of the rounds' ratios with the smallest and largest. So what the machine does meanwhile meets all alike.
"""

import asyncio
import json
import math
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.brokers import Broker
from benchmarks.processes import descendants, usage
from benchmarks.systems.base import Handler, Harness, Job, Named, QueueType, System, payload_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A system in one of its set-ups.

    Attributes:
        targets: by unit, what Asya's value divided by this one's should be at least (at most, where less is better); none: no target.
    """

    system: Named
    name: str = ""
    queue_type: QueueType | None = None
    targets: Mapping[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return self.name or self.system.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One run of one contender.

    Attributes:
        values: by unit.
        cpu_seconds: of all its processes, during the measured time.
        broker_cpu_seconds: of the broker, likewise.
        rss_mb: of all its processes at the end.
        left: messages that it had not acknowledged when it was told to end; 0 in a good run.
    """

    values: Mapping[str, float]
    cpu_seconds: float
    broker_cpu_seconds: float
    rss_mb: float
    left: int = 0


Measure = Callable[[Harness, "Case"], Sample]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row group of the table.

    Attributes:
        bench: such as ``B1``.
        title: what is varied.
        contenders: Asya first.
        count: measured messages; warm_up: before them.
        limits: by unit, what Asya's own value should be at least (at most, where less is better); none: only ratios count.
        play: makes one run where no queue is in the way, in place of `measure`.
    """

    bench: str
    title: str
    contenders: tuple[Contender, ...]
    measure: Measure | None = None
    rounds: int
    count: int
    warm_up: int
    payload_bytes: int = 1_000
    queue_type: QueueType = QueueType.CLASSIC
    handler: Handler = Handler.IDENTITY
    handler_seconds: float = 0.0
    concurrency: int | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    play: "Callable[[Contender, Case], Sample] | None" = None


LESS_IS_BETTER = frozenset(
    {"p50 ms", "p99 ms", "CPU µs/message", "kB/stream", "last ms", "cores", "finals lost", "calls/message", "hand-over ms", "slowest ms"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Asya's value divided by another's, within rounds."""

    median: float
    smallest: float
    largest: float


def compare(own: list[float], other: list[float]) -> Ratio:
    """The ratios of paired values."""
    ratios = [a / b if b else (1.0 if a == b else math.inf) for a, b in zip(own, other, strict=True)]
    return Ratio(median=statistics.median(ratios), smallest=min(ratios), largest=max(ratios))


def run_once(case: Case, contender: Contender, broker: Broker, run: str) -> Sample:
    """Start the contender, warm it up, measure, end it."""
    system = contender.system
    assert isinstance(system, System)
    assert case.measure is not None
    with tempfile.TemporaryDirectory(prefix="asya-bench-") as folder:
        job = Job(
            broker=broker,
            run=run,
            queue_type=contender.queue_type or case.queue_type,
            handler=case.handler,
            handler_seconds=case.handler_seconds,
            concurrency=case.concurrency,
            folder=Path(folder),
        )
        harness = Harness(system, job)
        try:
            message = system.message(job, payload_of(case.payload_bytes))
            harness.fill(message(number) for number in range(case.warm_up))
            harness.wait_done(case.warm_up)
            sample = case.measure(harness, case)
        finally:
            left = harness.close()
    return Sample(
        values=sample.values,
        cpu_seconds=sample.cpu_seconds,
        broker_cpu_seconds=sample.broker_cpu_seconds,
        rss_mb=sample.rss_mb,
        left=left,
    )


def throughput(harness: Harness, case: Case) -> Sample:
    """Messages per second from a filled source to the last one in the sink, and CPU time per message."""
    elapsed, sample = _drain(harness, case)
    values = {"msg/s": case.count / elapsed, "CPU µs/message": sample.cpu_seconds / case.count * 1e6}
    return Sample(values=values, cpu_seconds=sample.cpu_seconds, broker_cpu_seconds=sample.broker_cpu_seconds, rss_mb=sample.rss_mb)


def share_of_ideal(harness: Harness, case: Case) -> Sample:
    """The time that the handlers alone take, spread over the slots, divided by the time it took.

    ``of ideal`` counts `Case.handler_seconds` exactly, as the targets do. A sleep of 20 ms takes more by itself (20.2 ms blocking; asyncio
    rounds the waits of its loop up to whole milliseconds), so that 1 is out of reach; ``of a bare loop`` counts what the same handler takes
    here and now in as many slots with no queue at all, measured just before.
    """
    slots = case.concurrency or 1
    handler_seconds = bare_loop(case.handler, case.handler_seconds, slots)
    elapsed, sample = _drain(harness, case)
    values = {
        "of ideal": case.count * case.handler_seconds / slots / elapsed,
        "of a bare loop": case.count * handler_seconds / slots / elapsed,
    }
    return Sample(values=values, cpu_seconds=sample.cpu_seconds, broker_cpu_seconds=sample.broker_cpu_seconds, rss_mb=sample.rss_mb)


_BARE_CALLS = 50


def bare_loop(handler: Handler, seconds: float, slots: int) -> float:
    """Seconds that one call of a sleeping handler really takes when `slots` of them run all the time, one after another in each slot."""
    start = time.perf_counter()
    if handler is Handler.ASYNC_SLEEP:
        return asyncio.run(_bare_async(seconds, slots))
    for _ in range(_BARE_CALLS):
        time.sleep(seconds)
    return (time.perf_counter() - start) / _BARE_CALLS


async def _bare_async(seconds: float, slots: int) -> float:
    async def slot(number: int) -> float:
        await asyncio.sleep(seconds * number / slots)  # calls begin spread over time, as they do behind a queue
        start = time.perf_counter()
        for _ in range(_BARE_CALLS):
            await asyncio.sleep(seconds)
        return (time.perf_counter() - start) / _BARE_CALLS

    return statistics.mean(await asyncio.gather(*(slot(number) for number in range(slots))))


def latency(harness: Harness, case: Case) -> Sample:
    """One message at a time: from the publish to its arrival at a consumer of the sink."""
    message = harness.system.message(harness.job, payload_of(case.payload_bytes))
    broker = descendants([harness.job.broker.pid])
    channel = harness.channel
    channel.queue_purge(harness.sink)
    took: list[float] = []
    before, broker_before = harness.processes.usage(), usage(broker)
    body, properties = message(case.warm_up)
    start = time.perf_counter()
    channel.basic_publish("", harness.source, body, properties)
    for _ in channel.consume(harness.sink, auto_ack=True, inactivity_timeout=30):
        now = time.perf_counter()
        if _[0] is None:
            raise RuntimeError(f"{harness.system.name}: no answer within 30 s; {harness.processes.failed() or 'it runs'}")
        took.append(now - start)
        if len(took) == case.count:
            break
        body, properties = message(case.warm_up + len(took))
        start = time.perf_counter()
        channel.basic_publish("", harness.source, body, properties)
    channel.cancel()
    after = harness.processes.usage()
    ranked = sorted(took)
    values = {"p50 ms": ranked[len(ranked) // 2] * 1e3, "p99 ms": ranked[len(ranked) * 99 // 100] * 1e3}
    return Sample(
        values=values,
        cpu_seconds=after.cpu_seconds - before.cpu_seconds,
        broker_cpu_seconds=usage(broker).cpu_seconds - broker_before.cpu_seconds,
        rss_mb=after.rss_mb,
    )


def _drain(harness: Harness, case: Case) -> tuple[float, Sample]:
    message = harness.system.message(harness.job, payload_of(case.payload_bytes))
    first = case.warm_up
    harness.processes.send(signal.SIGSTOP)
    try:
        harness.fill(message(number) for number in range(first, first + case.count))
        time.sleep(0.3)  # let the broker's disk rest
        broker = descendants([harness.job.broker.pid])
        before, broker_before = harness.processes.usage(), usage(broker)
        start = time.perf_counter()
    finally:
        harness.processes.send(signal.SIGCONT)
    end = harness.wait_done(first + case.count)
    after, broker_after = harness.processes.usage(), usage(broker)
    depth = harness.depth()
    if depth != first + case.count:
        raise RuntimeError(f"{harness.system.name}: {depth} messages in the sink, expected {first + case.count}")
    sample = Sample(
        values={},
        cpu_seconds=after.cpu_seconds - before.cpu_seconds,
        broker_cpu_seconds=broker_after.cpu_seconds - broker_before.cpu_seconds,
        rss_mb=after.rss_mb,
    )
    return end - start, sample


def dump(samples: list[dict[str, object]], path: Path) -> None:
    """Write results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(samples, indent=1, ensure_ascii=False) + "\n")
