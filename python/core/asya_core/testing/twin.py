"""A broker in memory with the same port as the real ones: deterministic, with faults on demand. Product code with tests, for tests.

Used by the sidecar's tests (exact counts, no waiting) and by the contract suite, whose first subject it is. Knows no file and no socket.

A call changes the broker's state at once; its events reach the sink in a later turn, in the order in which they came about, never from
inside the call. Who the turns belong to is chosen at construction: the running asyncio loop, or a function of the test's own.

Time is a `FakeClock` if one is given (delays end inside `FakeClock.advance`), else the loop's timers.
"""

import heapq
from asyncio import get_running_loop
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from asya_core.ops.clock import Clock, FakeClock, SystemClock
from asya_core.transports.base import (
    Blocked,
    Closed,
    Connected,
    Delivered,
    Depth,
    Disconnected,
    Link,
    Mismatch,
    Published,
    PublishOutcome,
    QueueSpec,
    Receipt,
    ReceiptsLost,
    Settled,
    SettledOutcome,
    Sink,
    TransportEvent,
    Unblocked,
)
from asya_core.wire.errors import Bug, Refused

__all__ = ["TwinAdmin", "TwinBroker", "TwinTransport"]

_ALL_LINKS: Final = tuple(Link)


@dataclass(slots=True)
class _Message:
    seq: int
    body: bytes
    origin: str | None = None
    deliveries: int = 0


@dataclass(slots=True)
class _Queue:
    spec: QueueSpec
    ready: list[tuple[int, _Message]] = field(default_factory=list)
    delayed: list[tuple[float, int, _Message]] = field(default_factory=list)
    unsettled: dict[Receipt, _Message] = field(default_factory=dict)

    def put(self, message: _Message) -> None:
        heapq.heappush(self.ready, (message.seq, message))


class TwinBroker:
    """The state that transports and administrations of one test share.

    Args:
        clock: a `FakeClock` for tests that move time themselves; else real time and the loop's timers.
        schedule: runs a function in a later turn; the running loop's `call_soon` if not given.
        max_message_bytes: larger publishes are ``too_large``.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        schedule: Callable[[Callable[[], None]], object] | None = None,
        max_message_bytes: int = 16 * 1024 * 1024,
    ) -> None:
        self.clock: Final = clock or SystemClock()
        self.max_message_bytes = max_message_bytes
        self.refusing: Final[set[str]] = set()
        """Queues that take no publishes for now: ``refused``."""
        self._schedule = schedule
        self._queues: dict[str, _Queue] = {}
        self._transports: list[TwinTransport] = []
        self._seq = 0
        self._receipts = 0
        self._turn_asked = False
        self._is_up = True
        self._is_blocked = False
        self._holds_confirms = False
        if isinstance(self.clock, FakeClock):
            self.clock.on_advance(self._turn_soon)

    # Faults.

    def cut(self, transport: "TwinTransport", *links: Link) -> None:
        """Cut links of a transport (both if none is named). Its receipts die with the consume link; it reconnects in a later turn."""
        transport._lose(links or _ALL_LINKS, "Link was cut by the test")
        self._turn_soon()

    def stop(self) -> None:
        """Cut all links and take no new ones until `start`. Messages stay."""
        self._is_up = False
        for transport in self._transports:
            transport._lose(_ALL_LINKS, "Broker was stopped by the test")

    def start(self) -> None:
        """Take links again."""
        self._is_up = True
        self._turn_soon()

    def block(self) -> None:
        """Take no publishes until `unblock`; they wait."""
        self._tell_blocked(True, Blocked())

    def unblock(self) -> None:
        """Take publishes again, the waiting ones first."""
        self._tell_blocked(False, Unblocked())

    def hold_confirms(self) -> None:
        """Take publishes but tell no outcome until `release_confirms`; a cut meanwhile makes them ``lost``, though the messages are
        there."""
        self._holds_confirms = True

    def release_confirms(self) -> None:
        """Tell the outcomes that were held."""
        self._holds_confirms = False
        self._turn_soon()

    def bodies(self, queue: str) -> list[bytes]:
        """Bodies of everything in a queue, whatever its state, in order of arrival."""
        found = self._queues[queue]
        everything = [*(m for _, m in found.ready), *(m for *_, m in found.delayed), *found.unsettled.values()]
        return [message.body for message in sorted(everything, key=lambda message: message.seq)]

    # What transports do.

    def _put(self, queue: str, body: bytes) -> PublishOutcome:
        if len(body) > self.max_message_bytes:
            return PublishOutcome.TOO_LARGE
        found = self._queues.get(queue)
        if found is None:
            return PublishOutcome.RETURNED
        if queue in self.refusing:
            return PublishOutcome.REFUSED
        self._seq += 1
        found.put(_Message(self._seq, body))
        return PublishOutcome.CONFIRMED

    def _move_to_dead_letter(self, queue: _Queue, message: _Message) -> bool:
        target = self._queues.get(queue.spec.dead_letter or "")
        if target is None:
            return False
        target.put(_Message(message.seq, message.body, queue.spec.name))
        return True

    def _take(self, queue: str) -> tuple[Receipt, _Message] | None:
        found = self._queues.get(queue)
        while found is not None and found.ready:
            message = heapq.heappop(found.ready)[1]
            if message.deliveries >= found.spec.max_deliveries and self._move_to_dead_letter(found, message):
                continue
            message.deliveries += 1
            self._receipts += 1
            receipt = Receipt(f"twin-{self._receipts}")
            found.unsettled[receipt] = message
            return receipt, message
        return None

    def _tell_blocked(self, blocked: bool, event: TransportEvent) -> None:
        if self._is_blocked != blocked:
            self._is_blocked = blocked
            for transport in self._transports:
                transport._tell(event)
            self._turn_soon()

    # Turns.

    def _turn_soon(self) -> None:
        if not self._turn_asked:
            self._turn_asked = True
            (self._schedule or get_running_loop().call_soon)(self._turn)

    def _turn(self) -> None:
        self._turn_asked = False
        self._end_delays()
        if self._is_up:
            for transport in self._transports:
                transport._reconnect()
        taken = True
        while taken:  # one message to each in turn, so that consumers of one queue share it evenly
            taken = False
            for transport in self._transports:
                taken = transport._receive_one() or taken
        for transport in tuple(self._transports):
            transport._hand_over()
        self._transports = [transport for transport in self._transports if not transport._is_gone]

    def _end_delays(self) -> None:
        now = self.clock.monotonic()
        for queue in self._queues.values():
            while queue.delayed and queue.delayed[0][0] <= now:
                queue.put(heapq.heappop(queue.delayed)[2])

    def _delay(self, queue: _Queue, message: _Message, seconds: float) -> None:
        heapq.heappush(queue.delayed, (self.clock.monotonic() + seconds, message.seq, message))
        if not isinstance(self.clock, FakeClock):
            get_running_loop().call_later(seconds + 0.002, self._turn_soon)


class TwinTransport:
    """A `Transport` of a `TwinBroker`, with `kill` in place of a process that dies."""

    def __init__(self, broker: TwinBroker) -> None:
        self._broker = broker
        self._sink: Sink | None = None
        self._links: set[Link] = set()
        self._queue: str | None = None
        self._prefetch = 0
        self._held: dict[Receipt, _Queue] = {}
        self._waiting: deque[tuple[int, str, bytes]] = deque()
        self._unconfirmed: list[Published] = []
        self._events: deque[TransportEvent] = deque()
        self._is_closed = False
        self._is_gone = False

    @property
    def max_message_bytes(self) -> int:
        """See `Transport.max_message_bytes`."""
        return self._broker.max_message_bytes

    def open(self, sink: Sink) -> None:
        """See `Transport.open`. Raises Bug if called twice."""
        if self._sink is not None or self._is_closed:
            raise Bug("opened_twice", "Transport was opened before; expected one call of open")
        self._sink = sink
        self._broker._transports.append(self)
        self._broker._turn_soon()

    def close(self) -> None:
        """See `Transport.close`."""
        if self._is_closed:
            return
        self._is_closed = True
        self._send_waiting()
        self._give_back()
        for event in self._unconfirmed:
            self._tell(event if not self._broker._holds_confirms else Published(event.token, PublishOutcome.LOST))
        for token, *_ in self._waiting:
            self._tell(Published(token, PublishOutcome.LOST))
        self._unconfirmed.clear()
        self._waiting.clear()
        self._tell(Closed())

    def kill(self) -> None:
        """Vanish as a killed process does: no event any more; what was held goes back to the queue and the delivery counts."""
        self._is_closed = self._is_gone = True
        self._events.clear()
        self._give_back()
        self._broker._turn_soon()

    def subscribe(self, queue: str, prefetch: int) -> None:
        """See `Transport.subscribe`. Raises Bug for a second queue or a prefetch under 1."""
        if prefetch < 1 or self._queue not in (None, queue):
            expected = f"1 or more, and {self._queue or 'any queue'!r}"
            raise Bug("bad_subscribe", f"Subscribe to {queue!r} with prefetch {prefetch}; expected {expected}")
        self._queue, self._prefetch = queue, prefetch
        self._broker._turn_soon()

    def unsubscribe(self) -> None:
        """See `Transport.unsubscribe`."""
        self._queue = None

    def publish(self, token: int, queue: str, body: bytes) -> None:
        """See `Transport.publish`."""
        self._waiting.append((token, queue, body))
        self._send_waiting()
        self._broker._turn_soon()

    def ack(self, receipt: Receipt) -> None:
        """See `Transport.ack`."""
        self._settle(receipt)

    def requeue(self, receipt: Receipt) -> None:
        """See `Transport.requeue`."""
        settled = self._settle(receipt)
        if settled is not None:
            queue, message = settled
            message.deliveries -= 1
            queue.put(message)

    def retry(self, receipt: Receipt, delay_seconds: float) -> None:
        """See `Transport.retry`."""
        settled = self._settle(receipt)
        if settled is not None:
            self._broker._delay(*settled, max(0.0, delay_seconds))
        self._tell(Settled(receipt, SettledOutcome.OK if settled else SettledOutcome.LOST))

    def reject(self, receipt: Receipt) -> None:
        """See `Transport.reject`. Without a dead-letter queue the message stays, comes again, and the outcome is ``lost``."""
        settled = self._settle(receipt)
        moved = settled is not None and self._broker._move_to_dead_letter(*settled)
        if settled is not None and not moved:
            self._broker._delay(*settled, 1.0)
        self._tell(Settled(receipt, SettledOutcome.OK if moved else SettledOutcome.LOST))

    # What the broker does.

    def _tell(self, event: TransportEvent) -> None:
        if self._sink is not None and not self._is_gone:
            self._events.append(event)
            self._broker._turn_soon()

    def _settle(self, receipt: Receipt) -> tuple[_Queue, _Message] | None:
        queue = self._held.pop(receipt, None)
        if queue is None:
            return None
        self._broker._turn_soon()
        return queue, queue.unsettled.pop(receipt)

    def _give_back(self) -> None:
        for receipt in tuple(self._held):
            settled = self._settle(receipt)
            assert settled is not None
            settled[0].put(settled[1])

    def _send_waiting(self) -> None:
        while self._waiting and Link.PUBLISH in self._links and not self._broker._is_blocked:
            token, queue, body = self._waiting.popleft()
            self._unconfirmed.append(Published(token, self._broker._put(queue, body)))

    def _lose(self, links: tuple[Link, ...], reason: str) -> None:
        for link in links:
            if link not in self._links:
                continue
            self._links.discard(link)
            self._tell(Disconnected(link, reason))
            if link is Link.CONSUME:
                self._give_back()
                # Deliveries on their way are lost with the link; nobody has seen their receipts.
                self._events = deque(event for event in self._events if not isinstance(event, Delivered))
                self._tell(ReceiptsLost())
            else:
                for event in self._unconfirmed:
                    self._tell(Published(event.token, PublishOutcome.LOST))
                self._unconfirmed.clear()

    def _reconnect(self) -> None:
        if self._is_closed:
            return
        for link in _ALL_LINKS:
            if link not in self._links:
                self._links.add(link)
                self._tell(Connected(link))
        self._send_waiting()

    def _receive_one(self) -> bool:
        if self._is_closed or self._queue is None or Link.CONSUME not in self._links or len(self._held) >= self._prefetch:
            return False
        taken = self._broker._take(self._queue)
        if taken is None:
            return False
        receipt, message = taken
        self._held[receipt] = self._broker._queues[self._queue]
        self._tell(Delivered(receipt, message.body, message.deliveries, message.origin))
        return True

    def _hand_over(self) -> None:
        if not self._broker._holds_confirms:
            self._events.extend(self._unconfirmed)
            self._unconfirmed.clear()
        events, self._events = self._events, deque()
        while events and self._sink is not None and not self._is_gone:
            event = events.popleft()
            self._is_gone = isinstance(event, Closed)
            self._sink(event)


class TwinAdmin:
    """A `QueueAdmin` of a `TwinBroker`."""

    def __init__(self, broker: TwinBroker) -> None:
        self._broker = broker

    def ensure(self, spec: QueueSpec) -> None:
        """See `QueueAdmin.ensure`."""
        found = self._broker._queues.setdefault(spec.name, _Queue(spec)).spec
        if found != spec:
            raise Mismatch(spec.name, f"it is {found} and not {spec}")

    def depth(self, queue: str) -> Depth:
        """See `QueueAdmin.depth`."""
        found = self._find(queue)
        return Depth(len(found.ready) + len(found.delayed), len(found.unsettled))

    def delete_if_empty(self, queue: str) -> bool:
        """See `QueueAdmin.delete_if_empty`."""
        found = self._broker._queues.get(queue)
        if found is not None and not (found.ready or found.delayed or found.unsettled):
            del self._broker._queues[queue]
        return queue not in self._broker._queues

    def purge(self, queue: str) -> int:
        """See `QueueAdmin.purge`."""
        found = self._find(queue)
        count = len(found.ready) + len(found.delayed)
        found.ready.clear()
        found.delayed.clear()
        return count

    def peek(self, queue: str, limit: int) -> list[bytes]:
        """See `QueueAdmin.peek`."""
        found = self._find(queue)
        messages = sorted([*(m for _, m in found.ready), *(m for *_, m in found.delayed)], key=lambda message: message.seq)
        return [message.body for message in messages[:limit]]

    def close(self) -> None:
        """See `QueueAdmin.close`."""

    def _find(self, queue: str) -> _Queue:
        found = self._broker._queues.get(queue)
        if found is None:
            raise Refused("no_such_queue", f"Queue {queue!r} does not exist", "make it with `ensure`, or check the name")
        return found
