"""Celery: a task that sends its result to the next queue."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path

from benchmarks.environment import bench_python, bench_versions
from benchmarks.processes import ProcessGroup
from benchmarks.systems.base import Channel, Job, Message, plain_message

APPS = Path(__file__).with_name("apps")


class Celery:
    """One worker.

    Args:
        pool: ``threads``, ``solo`` or ``prefork``.
        concurrency: of the pool.
    """

    def __init__(self, pool: str, concurrency: int) -> None:
        self.name = f"celery {pool}" if pool == "solo" else f"celery {pool} {concurrency}"
        self.setup = (
            f"pool {pool}, concurrency {concurrency}, acks_late, reject_on_worker_lost, prefetch multiplier 32, confirm_publish, no result "
            "backend, no events, gossip, mingle or heartbeat"
        )
        self._pool, self._concurrency = pool, concurrency

    def absent(self) -> str | None:
        return None

    def versions(self) -> dict[str, str]:
        return bench_versions(bench_python(), "celery", "kombu", "amqp")

    def queues(self, job: Job) -> tuple[str, str]:
        return f"celery-{job.run}-source", f"celery-{job.run}-sink"

    def declare(self, job: Job, channel: Channel) -> None:
        for queue in self.queues(job):
            channel.queue_declare(queue, durable=True, arguments={"x-queue-type": job.queue_type})

    def message(self, job: Job, payload: bytes) -> Callable[[int], Message]:
        # Celery's message protocol 2, as its own client writes it.
        body = b"[[" + payload + b'], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
        arguments = repr((json.loads(payload),))[:1024]

        def make(number: int) -> Message:
            task = str(uuid.UUID(int=number))
            headers = {
                "lang": "py",
                "task": "bench.work",
                "id": task,
                "shadow": None,
                "eta": None,
                "expires": None,
                "group": None,
                "group_index": None,
                "retries": 0,
                "timelimit": [None, None],
                "root_id": task,
                "parent_id": None,
                "argsrepr": arguments,
                "kwargsrepr": "{}",
                "origin": "bench",
                "ignore_result": True,
            }
            return plain_message(body, headers=headers, content_type="application/json", content_encoding="utf-8", correlation_id=task)

        return make

    def start(self, job: Job) -> ProcessGroup:
        source, sink = self.queues(job)
        group = ProcessGroup(job.folder / "celery.log")
        command = [str(bench_python()), "-m", "celery", "-A", "celery_app", "worker", "--pool", self._pool]
        command += ["--concurrency", str(job.concurrency or self._concurrency), "--queues", source, "--loglevel", "WARNING"]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        group.start(command, job.environment(source, sink), APPS)
        return group
