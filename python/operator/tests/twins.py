"""Queues in memory, and builders of valid objects. For the operator's tests."""

from typing import Any

from asya_core.wire.errors import AsyaError, Unavailable
from asya_core.wire.names import queue_name
from asya_operator.conditions import Depth
from asya_operator.queues import Ensured
from asya_operator.settings import OperatorSettings, parse_settings

Json = dict[str, Any]


class MemoryQueues:
    """See `asya_operator.queues.Queues`.

    `down`: nothing works. `trouble`: what every call raises. `owners`, `changed`: as SQS tells them. `address`: of all queues, in front of
    their names.
    """

    def __init__(self) -> None:
        self.held: dict[str, Depth] = {}
        self.types: dict[str, str] = {}
        self.owners: dict[str, str] = {}
        self.changed = ""
        self.address = ""
        self.down = False
        self.trouble: AsyaError | None = None
        self.calls: list[tuple[str, str]] = []

    @property
    def where(self) -> str:
        return "memory:1"

    async def close(self) -> None: ...

    def delayed(self, namespace: str) -> tuple[str, ...]:
        return (f"asya-{namespace}_delay",)

    async def ensure(self, namespace: str, actor: str, queue_type: str | None, *, max_attempts: int = 1, renew: bool = False) -> Ensured:
        name = queue_name(namespace, actor)
        self._call("ensure", name)
        kind = queue_type or "quorum"
        found = self.types.setdefault(name, kind)
        depth = self.held.setdefault(name, Depth(waiting=0, in_flight=0))
        return Ensured(
            depth=depth,
            mismatch=f"x-queue-type is {found}, wanted {kind}" if found != kind else "",
            owner=self.owners.get(name),
            changed=self.changed,
            address=f"{self.address}{name}" if self.address else "",
        )

    async def depths(self, namespace: str, queues: list[str]) -> dict[str, Depth | None]:
        self._call("depth", namespace)
        return {name: self.held[name] for name in queues if name in self.held}

    async def delete_if_empty(self, queue: str, *, owner: str) -> bool:
        self._call("delete_if_empty", queue)
        held = self.held.get(queue)
        if held is not None and (held.waiting or held.in_flight):
            return False
        self.held.pop(queue, None)
        return True

    async def delete(self, queue: str, *, owner: str) -> None:
        self._call("delete", queue)
        self.held.pop(queue, None)

    def _call(self, name: str, what: str) -> None:
        self.calls.append((name, what))
        if self.trouble is not None:
            raise self.trouble
        if self.down:
            raise Unavailable("broker_unavailable", "memory:1: connection refused")


def settings(**more: Any) -> OperatorSettings:
    """The settings of a parsed file; keywords replace whole sections. Deleted actors do not drain: see test_drain."""
    return parse_settings(
        {
            "transports": {"rabbitmq": {"host": "rabbitmq.mq.svc", "managementUrl": "http://rabbitmq.mq.svc:15672"}},
            "sidecar": {"image": "asya/sidecar:0.1.0"},
            "drain": {"timeout": "0s", "quietPeriod": "10s"},
            **more,
        }
    )


def spec(**more: Any) -> Json:
    """The spec of an AsyncActor: one container, handler `a.b`; keywords add or replace keys of the spec."""
    container = {"name": "asya-runtime", "image": "my-processor:v1", "env": [{"name": "ASYA_HANDLER", "value": "text_processor.process"}]}
    return {"workload": {"kind": "Deployment", "template": {"spec": {"containers": [container]}}}, **more}


def actor(name: str = "ocr", namespace: str = "demo", *, labels: Json | None = None, annotations: Json | None = None, **more: Any) -> Json:
    """An AsyncActor."""
    meta: Json = {"name": name, "namespace": namespace, "labels": labels or {}}
    if annotations:
        meta["annotations"] = annotations
    return {"apiVersion": "asya.sh/v1alpha1", "kind": "AsyncActor", "metadata": meta, "spec": spec(**more)}
