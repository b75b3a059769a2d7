"""Dramatiq: an actor that sends its result to the next queue."""

import uuid
from collections.abc import Callable
from pathlib import Path

from benchmarks.environment import bench_python, bench_versions
from benchmarks.processes import ProcessGroup
from benchmarks.systems.base import Channel, Job, Message, QueueType, plain_message

APPS = Path(__file__).with_name("apps")


class Dramatiq:
    """One worker command.

    Args:
        processes: worker processes.
        threads: of each; it prefetches twice as many messages.
    """

    def __init__(self, processes: int, threads: int) -> None:
        self.name = f"dramatiq {threads}" if processes == 1 else f"dramatiq {processes}×{threads}"
        self.setup = f"{processes} process(es) of {threads} thread(s), confirm_delivery, prefetch twice the threads"
        self._processes, self._threads = processes, threads

    def absent(self) -> str | None:
        return None

    def versions(self) -> dict[str, str]:
        return bench_versions(bench_python(), "dramatiq", "pika")

    def queues(self, job: Job) -> tuple[str, str]:
        return f"dramatiq-{job.run}-source", f"dramatiq-{job.run}-sink"

    def declare(self, job: Job, channel: Channel) -> None:
        if job.queue_type is not QueueType.CLASSIC:
            raise ValueError("Dramatiq declares classic queues only")
        for queue in self.queues(job):
            # The arguments that Dramatiq gives its queues; it would refuse others.
            channel.queue_declare(queue, durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{queue}.XQ"})

    def message(self, job: Job, payload: bytes) -> Callable[[int], Message]:
        source = self.queues(job)[0]

        def make(number: int) -> Message:
            head = f'{{"queue_name":"{source}","actor_name":"work","kwargs":{{}},"options":{{}},"message_id":"{uuid.UUID(int=number)}",'
            return plain_message(head.encode() + b'"message_timestamp":1700000000000,"args":[' + payload + b"]}")

        return make

    def start(self, job: Job) -> ProcessGroup:
        source, sink = self.queues(job)
        group = ProcessGroup(job.folder / "dramatiq.log")
        command = [str(bench_python()), "-m", "dramatiq", "dramatiq_app", "--queues", source]
        command += ["--processes", str(self._processes), "--threads", str(job.concurrency or self._threads)]
        group.start(command, job.environment(source, sink), APPS)
        return group
