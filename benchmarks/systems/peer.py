"""Any other sidecar, named by ``BENCH_PEER``: an executable that consumes envelopes from one queue and publishes them to the next.

It is started with the variables of `Job.environment` (``BENCH_URL``, ``BENCH_SOURCE``, ``BENCH_SINK``, ``BENCH_HANDLER``, …), with
the handlers of systems/apps/handlers.py in its working directory, and gets envelopes whose route is ``[a, b]``. Absent unless the
variable is set. With a gateway's double it finds that one's address in ``BENCH_GATEWAY``.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.doubles import GatewayDouble
from benchmarks.processes import ProcessGroup
from benchmarks.systems.base import Channel, Job, Message, plain_message

APPS = Path(__file__).with_name("apps")


class Peer:
    """The executable of ``BENCH_PEER``.

    Args:
        gateway_answers_after: see `benchmarks.doubles`.
    """

    def __init__(self, gateway_answers_after: float | None = None) -> None:
        self.name = "peer"
        self._gateway_answers_after = gateway_answers_after
        self.setup = "the executable that BENCH_PEER names"
        self._command = os.environ.get("BENCH_PEER", "")

    def absent(self) -> str | None:
        if not self._command:
            return "BENCH_PEER is not set"
        return None if shutil.which(self._command) else f"BENCH_PEER: {self._command} is no executable"

    def versions(self) -> dict[str, str]:
        return {"peer": "unknown"}

    def queues(self, job: Job) -> tuple[str, str]:
        return f"peer-{job.run}-source", f"peer-{job.run}-sink"

    def declare(self, job: Job, channel: Channel) -> None:
        for queue in self.queues(job):
            channel.queue_declare(queue, durable=True, arguments={"x-queue-type": job.queue_type})

    def message(self, job: Job, payload: bytes) -> Callable[[int], Message]:
        def make(number: int) -> Message:
            return plain_message(b'{"id":"%08d","route":{"actors":["a","b"],"current":0},"payload":%b}' % (number, payload))

        return make

    def start(self, job: Job) -> ProcessGroup:
        source, sink = self.queues(job)
        group = ProcessGroup(job.folder / "peer.log")
        environment = job.environment(source, sink)
        if self._gateway_answers_after is not None:
            double = GatewayDouble(self._gateway_answers_after)
            group.afterwards(double.end)
            environment["BENCH_GATEWAY"] = double.url
        group.start([self._command], environment, APPS)
        return group
