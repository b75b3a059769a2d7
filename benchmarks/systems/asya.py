"""Asya: the sidecar and the runtime as in a pod, two processes and a supervisor, joined by a Unix socket."""

import importlib.metadata
import sys
from collections.abc import Callable
from pathlib import Path

from asya_core.transports.rabbitmq import settings, topology
from benchmarks.brokers import free_port
from benchmarks.doubles import GatewayDouble
from benchmarks.processes import ProcessGroup
from benchmarks.systems.base import Channel, Job, Message, QueueType, plain_message

APPS = Path(__file__).with_name("apps")
RUNTIME = Path(__file__).parents[2] / "python" / "runtime" / "asya_runtime.py"


class Asya:
    """One sidecar and one runtime.

    Args:
        name: of the row.
        environment: further settings of the sidecar.
        namespace: of its queues.
        gateway_answers_after: report progress to a double of the gateway that answers after so many seconds; see `benchmarks.doubles`.
    """

    def __init__(
        self,
        name: str = "asya",
        *,
        environment: dict[str, str] | None = None,
        namespace: str = "bench",
        gateway_answers_after: float | None = None,
    ) -> None:
        self.name = name
        self._namespace = namespace
        self._gateway_answers_after = gateway_answers_after
        self.setup = (
            "default settings: sidecar and runtime in two processes, confirms, mandatory publishes, ack after confirm, a log line each"
        )
        self.sidecar_command = [sys.executable, "-m", "asya_sidecar"]
        self._environment = environment or {}

    def absent(self) -> str | None:
        return None

    def versions(self) -> dict[str, str]:
        return {name: importlib.metadata.version(name) for name in ("asya", "pika", "msgspec", "uvloop")}

    def queues(self, job: Job) -> tuple[str, str]:
        return f"asya-{self._namespace}-a", f"asya-{self._namespace}-b"

    def declare(self, job: Job, channel: Channel) -> None:
        # What the operator declares: the actors' queues and the delays of the namespace.
        kind = settings.QueueType.QUORUM if job.queue_type is QueueType.QUORUM else settings.QueueType.CLASSIC
        queues = [topology.actor_queue(topology.actor_spec(self._namespace, actor), kind) for actor in ("a", "b")]
        for part in (topology.delays(self._namespace), topology.Topology(queues=tuple(queues))):
            for exchange in part.exchanges:
                channel.exchange_declare(exchange.name, exchange.type, durable=True)
            for queue in part.queues:
                channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments))
            for binding in part.bindings:
                channel.queue_bind(binding.queue, binding.exchange, routing_key="", arguments=dict(binding.arguments))

    def message(self, job: Job, payload: bytes) -> Callable[[int], Message]:
        def make(number: int) -> Message:
            return plain_message(b'{"id":"%08d","route":{"actors":["a","b"],"current":0},"payload":%b}' % (number, payload))

        return make

    def start(self, job: Job) -> ProcessGroup:
        socket = job.folder / "socket" / "runtime.sock"
        socket.parent.mkdir(mode=0o770, exist_ok=True)
        group = ProcessGroup(job.folder / "asya.log")
        reports = {}
        if self._gateway_answers_after is not None:
            double = GatewayDouble(self._gateway_answers_after)
            group.afterwards(double.end)
            reports = {"ASYA_GATEWAY_URL": double.url}
        source, sink = self.queues(job)
        runtime = {
            "ASYA_HANDLER": f"handlers.{job.handler}",
            "ASYA_CONCURRENCY": str(job.concurrency or 1),
            "ASYA_SOURCE_PATH": str(APPS),
            "ASYA_SOCKET": str(socket),
        }
        group.start([sys.executable, str(RUNTIME)], job.environment(source, sink) | runtime, job.folder)
        sidecar = {
            "ASYA_ACTOR": "a",
            "ASYA_NAMESPACE": self._namespace,
            "ASYA_TRANSPORT": "rabbitmq",
            "ASYA_RABBITMQ_ADDRESS": f"amqp://{job.broker.host}:{job.broker.port}",
            "ASYA_RABBITMQ_USERNAME": job.broker.username,
            "ASYA_RABBITMQ_PASSWORD": job.broker.password,
            "ASYA_SOCKET": str(socket),
            "ASYA_HEALTH_LISTEN": f"127.0.0.1:{free_port()}",
        }
        group.start(self.sidecar_command, sidecar | reports | self._environment, job.folder)
        return group
