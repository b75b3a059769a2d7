"""The consume link: one subscription, its deliveries and their receipts.

Used by `transport`. Knows nothing of publishing.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from asya_core.transports.base import Delivered, Receipt
from asya_core.transports.rabbitmq import codec, topology
from asya_core.transports.rabbitmq.connection import Channel, Session
from asya_core.transports.rabbitmq.settings import QueueType, RabbitSettings

__all__ = ["Consumer", "Held", "attempt_and_origin"]

AGAIN_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Delays before a queue that was missing is subscribed to again."""
MIN_CONSUMER_TIMEOUT_SECONDS: Final = 1800.0
"""RabbitMQ's own default."""
_ACKS_PER_PREFETCH: Final = 8
"""Acks wait up to 1 ms for others until an eighth of the prefetch has gathered: the broker never runs out of room to send."""


class _State(Enum):
    IDLE = auto()
    STARTING = auto()
    ACTIVE = auto()
    CANCELLING = auto()


@dataclass(slots=True)
class Held:
    """A delivery that is not settled."""

    tag: int
    body: bytes
    attempt: int
    origin: str | None
    retrying: bool = False


def attempt_and_origin(headers: dict[str, Any], redelivered: bool, queue_type: QueueType) -> tuple[int, str | None]:
    """Attempt number, and the queue that gave the message up or None, from a message's headers. Headers of any shape are taken.

    A quorum queue counts how often a message came back (`x-delivery-count`); a classic one only knows whether it did. `x-death` tells
    where it was dead-lettered: from a delay queue that is a retry, from elsewhere the message was given up and its attempts begin anew.

    RabbitMQ 4.0 leaves the count of a rejected message's *old* queue on it, always 1, until its new queue has a count of its own, 1 too.
    So there one return of a rejected message is not seen: better than a first delivery that looks like the second.
    """
    returns = _whole(headers.get("x-delivery-count")) if queue_type is QueueType.QUORUM else int(redelivered)
    died_in = _last_death_queue(headers)
    if died_in is not None and not topology.is_delay_queue(died_in):
        rejected = headers.get("x-last-death-reason") == "rejected"
        return max(1, returns) if rejected else 1 + returns, died_in
    origin = headers.get(topology.ORIGIN_HEADER)
    return 1 + _whole(headers.get(topology.ATTEMPT_HEADER)) + returns, origin if isinstance(origin, str) and origin else None


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else 0


def _last_death_queue(headers: dict[str, Any]) -> str | None:
    last = headers.get("x-last-death-queue")  # from 3.13 on
    if isinstance(last, str) and last:
        return last
    deaths = headers.get("x-death")  # newest first
    if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict):
        queue = deaths[0].get("queue")
        return queue if isinstance(queue, str) else None
    return None


class Consumer:
    """Keeps one subscription as it is wanted and hands deliveries out.

    Args:
        settings: queue type and timeouts.
        deliver: called with each delivery.
        on_ready: called when a session can be used.
        on_broken: called with a sentence when the broker closed the channel.
    """

    def __init__(
        self,
        settings: RabbitSettings,
        *,
        deliver: Callable[[Delivered], None],
        on_ready: Callable[[], None],
        on_broken: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._deliver = deliver
        self._on_ready = on_ready
        self._on_broken = on_broken
        self._loop = asyncio.get_running_loop()
        self._session: Session | None = None
        self._channel: Channel | None = None
        self._sessions = 0
        self.queue: str | None = None
        self._prefetch = 0
        self._subscribed = False
        self._state = _State.IDLE
        self._active_prefetch = 0
        self._consumers = 0
        self._tag = ""
        self._timer: asyncio.TimerHandle | None = None
        self._failures = 0
        self.receipts: dict[Receipt, Held] = {}
        self._open: dict[int, Receipt] = {}
        self._acked: set[int] = set()
        self._surplus: deque[Receipt] = deque()

    # -- the link

    def link_up(self, session: Session) -> None:
        self._session = session
        self._sessions += 1

        def opened(channel: Channel) -> None:
            self._channel = channel
            session.wire.before_flush(self.write_acks)
            channel.on_cancelled_by_broker(self._cancelled)
            self._on_ready()
            self._arrange()

        Channel(
            session,
            listener=self,
            on_open=opened,
            on_closed=lambda code, text: self._on_broken(f"Broker closed the consume channel: {code} {text}"),
        )

    def link_down(self) -> None:
        """All receipts are dead."""
        self._session = self._channel = None
        self._state = _State.IDLE
        self.receipts.clear()
        self._open.clear()
        self._acked.clear()
        self._surplus.clear()
        self._stop_timer()
        self._failures = 0

    # -- the subscription

    def subscribe(self, queue: str, prefetch: int) -> None:
        if self.queue not in (None, queue):
            raise ValueError(f"Transport consumes {self.queue} already; expected no other queue than that, not {queue}")
        if prefetch < 1:
            raise ValueError(f"Prefetch is {prefetch}; expected 1 or more")
        self.queue, self._prefetch, self._subscribed = queue, prefetch, True
        self._hand_out_surplus()
        self._arrange()

    def unsubscribe(self) -> None:
        self._subscribed = False
        self._stop_timer()
        while self._surplus:
            self.requeue(self._surplus.popleft())
        self._arrange()

    def _arrange(self) -> None:
        """Take the next step from what is to what is wanted."""
        if self._channel is None:
            return
        if self._state is _State.ACTIVE and (not self._subscribed or self._active_prefetch != self._prefetch):
            self._state = _State.CANCELLING
            self._channel.cancel(self._tag, self._has_cancelled)
        elif self._state is _State.IDLE and self._subscribed and self._timer is None and len(self._open) < self._prefetch:
            # A new consumer has a limit of its own: begin it when there is room, and hold back what is over (`delivered`).
            self._start()

    def _start(self) -> None:
        session, queue = self._session, self.queue
        if session is None or queue is None:
            return
        self._state = _State.STARTING
        # Consuming from a missing queue closes the channel, and with it all receipts: ask on another one first.
        session.probe(lambda channel, answered: channel.queue_exists(queue, answered), lambda there: self._probed(session, there))

    def _probed(self, session: Session, there: bool) -> None:
        channel = self._channel
        if session is not self._session or channel is None:
            return
        if not there:
            self._state = _State.IDLE
            self._again()
            return
        self._consumers += 1
        self._tag = f"asya-{self._consumers}"
        self._active_prefetch = self._prefetch
        timeout_seconds = max((self._settings.handler_timeout_seconds + 60) * self._prefetch, MIN_CONSUMER_TIMEOUT_SECONDS)
        channel.prefetch(self._prefetch, lambda: None)
        channel.consume(str(self.queue), self._tag, {"x-consumer-timeout": int(timeout_seconds * 1000)}, lambda: self._has_started(session))

    def _has_started(self, session: Session) -> None:
        if session is self._session and self._state is _State.STARTING:
            self._state = _State.ACTIVE
            self._failures = 0
            self._arrange()

    def _has_cancelled(self) -> None:
        if self._state is _State.CANCELLING:
            self._state = _State.IDLE
            self._arrange()

    def _cancelled(self) -> None:
        """The broker ended the consumer: the queue is gone or its node is."""
        self._state = _State.IDLE
        self._again()

    def _again(self) -> None:
        if self._timer is None and self._subscribed:
            delay = AGAIN_SECONDS[min(self._failures, len(AGAIN_SECONDS) - 1)]
            self._failures += 1
            self._timer = self._loop.call_later(delay, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self._arrange()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- deliveries

    def delivered(self, deliver: codec.Deliver, headers: dict[str, Any], body: bytes) -> None:
        channel = self._channel
        if channel is None:
            return
        if not self._subscribed:
            channel.write(codec.nack(channel.number, deliver.tag))
            return
        receipt = Receipt(f"{self._sessions}.{deliver.tag}")
        attempt, origin = 1, None
        if headers or deliver.redelivered:
            attempt, origin = attempt_and_origin(headers, deliver.redelivered, self._settings.queue_type)
        self.receipts[receipt] = Held(deliver.tag, body, attempt, origin)
        self._open[deliver.tag] = receipt
        if len(self._open) - len(self._surplus) > self._prefetch or self._surplus:
            self._surplus.append(receipt)
        else:
            self._deliver(Delivered(receipt, body, attempt, origin))

    def returned(self, correlation_id: str) -> None:
        """Nothing is published here."""

    def confirmed(self, tag: int, multiple: bool, ok: bool) -> None:
        """Nothing is published here."""

    def _hand_out_surplus(self) -> None:
        while self._surplus and len(self._open) - len(self._surplus) < self._prefetch:
            receipt = self._surplus.popleft()
            held = self.receipts[receipt]
            self._deliver(Delivered(receipt, held.body, held.attempt, held.origin))

    # -- settling

    def take(self, receipt: Receipt) -> Held | None:
        """Remove and give what the receipt stands for; None if it is dead or unknown."""
        held = self.receipts.pop(receipt, None)
        if held is not None:
            del self._open[held.tag]
        return held

    def ack(self, receipt: Receipt) -> None:
        held = self.receipts.pop(receipt, None)
        if held is not None and self._channel is not None:
            # It stays in `_open` until the ack is written: `multiple` must not pass one that is not acked.
            self._acked.add(held.tag)
            if len(self._acked) * _ACKS_PER_PREFETCH < self._active_prefetch:
                self._channel.hold()
            else:
                self._channel.session.wire.schedule_flush()

    def write_acks(self) -> None:
        """Write the acks of this turn: one for all that are contiguous, one each for the rest."""
        acked, channel = self._acked, self._channel
        if not acked or channel is None:
            return
        self._acked = set()
        run: list[int] = []
        for tag in self._open:
            if tag not in acked:
                break
            run.append(tag)
        frames: list[bytes] = []
        if run:
            frames.append(codec.ack(channel.number, run[-1], len(run) > 1))
            acked.difference_update(run)
            for tag in run:
                del self._open[tag]
        for tag in acked:
            frames.append(codec.ack(channel.number, tag, False))
            del self._open[tag]
        channel.write(*frames)
        self._settled()

    def requeue(self, receipt: Receipt) -> None:
        held = self.take(receipt)
        if held is not None and self._channel is not None:
            self._channel.write(codec.nack(self._channel.number, held.tag))
            self._settled()

    def reject(self, receipt: Receipt, done: Callable[[bool], None]) -> None:
        held, channel, session = self.take(receipt), self._channel, self._session
        if held is None or channel is None:
            done(False)
            return
        channel.write(codec.reject(channel.number, held.tag))
        # A reject has no answer, but the broker handles a channel's methods in order: the answer to the next one stands for both.
        channel.prefetch(max(self._prefetch, 1), lambda: done(session is self._session))
        self._settled()

    def _settled(self) -> None:
        if self._surplus:
            self._hand_out_surplus()
        if self._state is _State.IDLE:
            self._arrange()
