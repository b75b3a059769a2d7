"""The transports port: what moves messages, whatever the broker.

Implemented by `embedded`, `rabbitmq` and the in-memory twin; used by the sidecar, the command line and tests. Knows no broker.

**How it works.** All calls are made on the thread of one running asyncio loop, never block and return nothing; whatever comes of them is an
event, handed to the one sink in that thread. (A future per publish cost 2.7 times the messages per second in a measured client, hence no
awaitables on the hot path.) The sink must not raise; it may call the transport again.

**Delivery** is at least once and in no order. A receipt stands for one delivery and dies with the link that brought it; a call with a dead
or unknown receipt has no effect, except `Transport.retry` and `Transport.reject`, which answer `SettledOutcome.LOST`.

Administration (`QueueAdmin`) is blocking and for start-up, operators, command line and tests.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import NewType, Protocol, TypeAlias

import msgspec

__all__ = [
    "Blocked",
    "Closed",
    "Connected",
    "Delivered",
    "Depth",
    "Disconnected",
    "Link",
    "Mismatch",
    "PublishOutcome",
    "Published",
    "QueueAdmin",
    "QueueSpec",
    "Receipt",
    "ReceiptsLost",
    "Settled",
    "SettledOutcome",
    "Sink",
    "Transport",
    "TransportEvent",
    "Unblocked",
]

Receipt = NewType("Receipt", str)
"""Stands for one delivery. Opaque: compare it for equality, give it back, nothing else."""


class Link(StrEnum):
    """One of the two connections of a transport; one that has a single connection reports both together."""

    CONSUME = "consume"
    PUBLISH = "publish"


class PublishOutcome(StrEnum):
    """What became of one publish."""

    CONFIRMED = "confirmed"
    """The broker holds the message durably."""
    RETURNED = "returned"
    """There is no such queue; the message is nowhere."""
    REFUSED = "refused"
    """The broker said no for now (full, alarm, limit); the message is nowhere, trying later helps."""
    TOO_LARGE = "too_large"
    """Over the broker's limit for one message; the message is nowhere, trying again never helps."""
    LOST = "lost"
    """The link broke before an answer: the message may or may not be there."""


class SettledOutcome(StrEnum):
    """What became of a `retry` or `reject`."""

    OK = "ok"
    """Durable: the message is where it should be and this delivery is settled."""
    LOST = "lost"
    """Not known: the link broke or the receipt was dead. The message comes again, perhaps twice."""


class Delivered(msgspec.Struct, frozen=True, gc=False):
    """A message was handed over.

    Attributes:
        receipt: to settle it with.
        body: exactly the bytes that were published.
        attempt: 1 for the first delivery; never falls from one delivery of a message to the next.
        origin: the queue that gave the message up, if it was dead-lettered into this one; else None.
    """

    receipt: Receipt
    body: bytes
    attempt: int = 1
    origin: str | None = None


class Published(msgspec.Struct, frozen=True, gc=False):
    """The one outcome of the publish with this token."""

    token: int
    outcome: PublishOutcome


class Settled(msgspec.Struct, frozen=True, gc=False):
    """The one outcome of a `retry` or `reject` of this receipt."""

    receipt: Receipt
    outcome: SettledOutcome


class ReceiptsLost(msgspec.Struct, frozen=True, gc=False):
    """All receipts given out so far are dead. Told before the `Connected` of the consume link."""


class Connected(msgspec.Struct, frozen=True, gc=False):
    """The link is up (again)."""

    link: Link


class Disconnected(msgspec.Struct, frozen=True, gc=False):
    """The link is down; it reconnects by itself until `Transport.close`.

    Attributes:
        reason: one sentence without credentials.
    """

    link: Link
    reason: str


class Blocked(msgspec.Struct, frozen=True, gc=False):
    """The broker takes no publishes for now; they wait and are not lost."""


class Unblocked(msgspec.Struct, frozen=True, gc=False):
    """The broker takes publishes again."""


class Closed(msgspec.Struct, frozen=True, gc=False):
    """After `Transport.close`: the last event. Everything unsettled has been given back or will be by the broker."""


TransportEvent: TypeAlias = Delivered | Published | Settled | ReceiptsLost | Connected | Disconnected | Blocked | Unblocked | Closed
Sink: TypeAlias = Callable[[TransportEvent], None]


class Transport(Protocol):
    """Moves messages. See the module's text for threading, ordering and errors; no call raises a foreign exception."""

    @property
    def max_message_bytes(self) -> int:
        """The most bytes one message may have; a larger publish is `PublishOutcome.TOO_LARGE`, its siblings unhurt."""
        ...

    def open(self, sink: Sink) -> None:
        """Start connecting, and reconnect for ever with full jitter until `close`. Called once, in a running loop.

        Events: `Connected` for each link; `Disconnected`, `Blocked`, `Unblocked` as they happen. Subscriptions survive a reconnect.
        """
        ...

    def close(self) -> None:
        """Stop: interrupts a long poll within 1 s, gives back what is unsettled, ends with `Closed`. Idempotent.

        Publishes without an outcome are answered `PublishOutcome.LOST` first.
        """
        ...

    def subscribe(self, queue: str, prefetch: int) -> None:
        """Consume `queue`: at least once, no order, at most `prefetch` unsettled, each kept alive until settled.

        `prefetch` limits what is taken from the broker, not only what is handed over: the rest is there for others. Called again with
        the same queue it changes that, and no delivery is lost or settled by it; a lowered one takes nothing more until fewer are
        unsettled. What was on its way by then is handed over when there is room. One queue per transport. A queue that is missing is tried
        again by the transport (1 → 30 s) until `unsubscribe`.
        """
        ...

    def unsubscribe(self) -> None:
        """Take no more deliveries; those handed over stay valid. A few may still arrive that were on their way. Idempotent."""
        ...

    def publish(self, token: int, queue: str, body: bytes) -> None:
        """Put `body` into `queue`. One `Published` per token, in any order; confirmed means durable. Declares nothing.

        The message keeps waiting while the link is down or blocked only if it had not been sent; else its outcome is ``lost``.
        `token` is the caller's, unique among open publishes.
        """
        ...

    def ack(self, receipt: Receipt) -> None:
        """The message is done. Unknown or dead receipt: no effect. No event."""
        ...

    def requeue(self, receipt: Receipt) -> None:
        """Give the message back: visible to another consumer within 1 s, attempt unchanged where the broker allows. No event."""
        ...

    def retry(self, receipt: Receipt, delay_seconds: float) -> None:
        """Deliver the same body again, not before `delay_seconds`, with attempt + 1. One `Settled`."""
        ...

    def reject(self, receipt: Receipt) -> None:
        """Move the message to the queue's dead-letter queue. One `Settled`."""
        ...


class QueueSpec(msgspec.Struct, frozen=True, gc=False):
    """A queue as it should be.

    Attributes:
        name: the queue.
        dead_letter: the queue that takes what is rejected or delivered more than `max_deliveries` times; None: such messages are dropped
            by nobody, they stay until consumed.
        max_deliveries: deliveries of one message before the broker itself gives it up; the net below the sidecar's own limit.
    """

    name: str
    dead_letter: str | None = None
    max_deliveries: int = 200


class Depth(msgspec.Struct, frozen=True, gc=False):
    """How full a queue is, in messages.

    Attributes:
        ready: waiting to be delivered, delayed ones of the queue itself included.
        unsettled: handed over and not settled.
    """

    ready: int
    unsettled: int


class Mismatch(Exception):
    """`QueueAdmin.ensure` found the queue with other arguments; it was left untouched.

    Args:
        queue: its name.
        detail: what differs, one sentence.
    """

    def __init__(self, queue: str, detail: str) -> None:
        super().__init__(f"Queue {queue} exists with other arguments: {detail}")
        self.queue = queue
        self.detail = detail


class QueueAdmin(Protocol):
    """Makes and looks at queues. Blocking, one thread, own connection. Raises Unavailable and Refused of `asya_core.wire.errors`."""

    def ensure(self, spec: QueueSpec) -> None:
        """Make the queue if it is missing. Twice is the same as once. Raises `Mismatch` if it exists with other arguments."""
        ...

    def depth(self, queue: str) -> Depth:
        """How full the queue is. Raises Refused ``no_such_queue``; an error is never reported as zero."""
        ...

    def delete_if_empty(self, queue: str) -> bool:
        """Delete the queue unless it holds messages, unsettled ones included. True if it is gone afterwards."""
        ...

    def purge(self, queue: str) -> int:
        """Drop all ready messages; for tests and people, never called by a component. Gives the count."""
        ...

    def peek(self, queue: str, limit: int) -> list[bytes]:
        """Bodies of at most `limit` ready messages, oldest first, left where they are (their attempt may rise on RabbitMQ)."""
        ...

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        ...
