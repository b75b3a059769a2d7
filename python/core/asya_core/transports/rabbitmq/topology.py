"""What Asya has on a RabbitMQ: every queue, exchange and binding with all of its arguments, from one place. Pure.

The operator, the command line and tests declare what is listed here (`admin`); the transport only uses the names and the delay steps.
Nothing here knows a connection.

Arguments are constants, because RabbitMQ never lets them be changed: a queue that is there with other arguments stays as it is.

A retry is published to the delay exchange, which routes it by its header `DELAY_HEADER` into the queue of that delay; there it lies
until it expires and is dead-lettered to the default exchange under its *original* routing key: the actor's queue.
"""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias, assert_never

import msgspec

from asya_core.transports.base import QueueSpec
from asya_core.transports.rabbitmq.settings import QueueType
from asya_core.wire.names import ERROR_END, check_namespace, dead_letter_queue_name, queue_name

__all__ = [
    "ATTEMPT_HEADER",
    "DELAY_HEADER",
    "DELAY_STEPS_MS",
    "MAX_DELIVERY_LIMIT",
    "ORIGIN_HEADER",
    "Arguments",
    "Binding",
    "Exchange",
    "Queue",
    "Topology",
    "actor_queue",
    "actor_spec",
    "delay_exchange_name",
    "delay_queue_name",
    "delay_step_ms",
    "delays",
    "is_delay_queue",
    "namespace_topology",
]

Arguments: TypeAlias = Mapping[str, str | int]

DELAY_STEPS_MS: Final[tuple[int, ...]] = tuple(250 * 2**n for n in range(12))
"""250 ms, 500 ms, 1 s, 2 s … 512 s. Steps, since a queue's messages expire in order only if all have the same time to live."""
DELAY_HEADER: Final = "asya-delay"
"""Milliseconds *as text*: a headers exchange compares types too, and clients differ in how wide an integer they send."""
ATTEMPT_HEADER: Final = "asya-attempt"
"""Attempts spent before this copy, an integer."""
ORIGIN_HEADER: Final = "asya-origin"
"""The queue that had given the message up, kept when a dead-lettered message is retried: its new copy has no `x-death` any more."""
MAX_DELIVERY_LIMIT: Final = 2**31 - 1
"""Stands for no limit. Without the argument RabbitMQ 4.0 would drop a message after 20 returns."""


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """A durable queue, neither exclusive nor deleted by the broker."""

    name: str
    arguments: Arguments


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """A durable exchange."""

    name: str
    type: str


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """A queue receives from an exchange what its arguments match."""

    exchange: str
    queue: str
    arguments: Arguments


class Topology(msgspec.Struct, frozen=True, kw_only=True):
    """Things to declare, in this order: exchanges, queues, bindings."""

    exchanges: tuple[Exchange, ...] = ()
    queues: tuple[Queue, ...] = ()
    bindings: tuple[Binding, ...] = ()


def actor_spec(namespace: str, actor: str) -> QueueSpec:
    """The queue of an actor. What the broker gives up on goes to error-end's queue; error-end's own to the dead-letter queue."""
    dead_letter = dead_letter_queue_name(namespace) if actor == ERROR_END else queue_name(namespace, ERROR_END)
    return QueueSpec(queue_name(namespace, actor), dead_letter=dead_letter)


def actor_queue(spec: QueueSpec, queue_type: QueueType = QueueType.QUORUM) -> Queue:
    """The queue that `spec` asks for, with all arguments.

    A classic queue has no delivery limit and dead-letters at most once: RabbitMQ knows neither for it.
    """
    arguments: dict[str, str | int] = {"x-queue-type": queue_type.value}
    match queue_type:
        case QueueType.QUORUM:
            # Without a dead-letter target RabbitMQ drops what is over the limit, so that there is none then.
            arguments["x-delivery-limit"] = MAX_DELIVERY_LIMIT if spec.dead_letter is None else spec.max_deliveries
            if spec.dead_letter is not None:
                arguments |= _dead_letter_to(spec.dead_letter)
                arguments["x-dead-letter-strategy"] = "at-least-once"
            # At-least-once dead-lettering is refused with any other overflow behaviour.
            arguments["x-overflow"] = "reject-publish"
        case QueueType.CLASSIC:
            if spec.dead_letter is not None:
                arguments |= _dead_letter_to(spec.dead_letter)
            arguments["x-overflow"] = "reject-publish"
        case _:
            assert_never(queue_type)
    return Queue(name=spec.name, arguments=MappingProxyType(arguments))


def _dead_letter_to(queue: str) -> dict[str, str | int]:
    return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}


def delay_exchange_name(namespace: str) -> str:
    """The exchange that retries of the namespace are published to."""
    return f"asya-{namespace}_delay"


def delay_queue_name(namespace: str, step_ms: int) -> str:
    """The queue in which a retry waits `step_ms` milliseconds."""
    return f"asya-{namespace}_delay-{step_ms}"


def is_delay_queue(name: str) -> bool:
    """Whether a queue is one of those in which retries wait. No actor's name holds an underscore."""
    return "_delay-" in name


def delay_step_ms(delay_seconds: float) -> int:
    """The shortest step that is not shorter than `delay_seconds`; the longest, 512 s, for more."""
    wanted_ms = math.ceil(delay_seconds * 1000 - 1e-6) if math.isfinite(delay_seconds) else DELAY_STEPS_MS[-1]
    for step_ms in DELAY_STEPS_MS:
        if step_ms >= wanted_ms:
            return step_ms
    return DELAY_STEPS_MS[-1]


def delays(namespace: str) -> Topology:
    """The delay exchange of a namespace, its queues and their bindings."""
    check_namespace(namespace)
    exchange = Exchange(name=delay_exchange_name(namespace), type="headers")
    queues = tuple(
        Queue(
            name=delay_queue_name(namespace, step_ms),
            arguments=MappingProxyType(
                {
                    "x-queue-type": QueueType.QUORUM.value,
                    "x-message-ttl": step_ms,
                    # No dead-letter key: the original one is kept, and that is the actor's queue.
                    "x-dead-letter-exchange": "",
                    "x-dead-letter-strategy": "at-least-once",
                    "x-overflow": "reject-publish",
                }
            ),
        )
        for step_ms in DELAY_STEPS_MS
    )
    bindings = tuple(
        Binding(
            exchange=exchange.name,
            queue=delay_queue_name(namespace, step_ms),
            arguments=MappingProxyType({"x-match": "all", DELAY_HEADER: str(step_ms)}),
        )
        for step_ms in DELAY_STEPS_MS
    )
    return Topology(exchanges=(exchange,), queues=queues, bindings=bindings)


def namespace_topology(namespace: str, actors: Iterable[str], queue_type: QueueType = QueueType.QUORUM) -> Topology:
    """Everything that a namespace with these actors has: delays, the dead-letter queue, error-end's queue and one queue per actor."""
    base = delays(namespace)
    names = dict.fromkeys((ERROR_END, *actors))
    dead_letter = actor_queue(QueueSpec(dead_letter_queue_name(namespace)), queue_type)
    queues = (dead_letter, *(actor_queue(actor_spec(namespace, name), queue_type) for name in names))
    return Topology(exchanges=base.exchanges, queues=base.queues + queues, bindings=base.bindings)
