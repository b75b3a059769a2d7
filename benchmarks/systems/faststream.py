"""FastStream on aio-pika: a subscriber that publishes its result to the next queue."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.environment import bench_python, bench_versions
from benchmarks.processes import ProcessGroup
from benchmarks.systems.base import Channel, Job, Message, plain_message

APPS = Path(__file__).with_name("apps")


class FastStream:
    """One process, one loop."""

    def __init__(self) -> None:
        self.name = "faststream"
        self.setup = (
            "prefetch 32 (or the concurrency asked for), ack after the handler, confirmed publishes, uvloop, no log line per message"
        )

    def absent(self) -> str | None:
        return None

    def versions(self) -> dict[str, str]:
        return bench_versions(bench_python(), "faststream", "aio-pika", "aiormq", "uvloop")

    def queues(self, job: Job) -> tuple[str, str]:
        return f"faststream-{job.run}-source", f"faststream-{job.run}-sink"

    def declare(self, job: Job, channel: Channel) -> None:
        for queue in self.queues(job):
            channel.queue_declare(queue, durable=True, arguments={"x-queue-type": job.queue_type})

    def message(self, job: Job, payload: bytes) -> Callable[[int], Message]:
        def make(number: int) -> Message:
            return plain_message(payload, content_type="application/json", message_id=str(number), correlation_id=str(number))

        return make

    def start(self, job: Job) -> ProcessGroup:
        source, sink = self.queues(job)
        group = ProcessGroup(job.folder / "faststream.log")
        group.start([str(bench_python()), "faststream_app.py"], job.environment(source, sink), APPS)
        return group
