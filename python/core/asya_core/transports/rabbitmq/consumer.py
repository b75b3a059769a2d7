"""The consume link: one subscription, its deliveries and their receipts.

Used by `transport`. Knows nothing of publishing.

**Prefetch.** RabbitMQ fixes a consumer's limit when it begins, and what an ended consumer handed over stays open. To take from the broker
no more than what was asked for, at any moment, a changed prefetch ends all consumers, and new ones begin as room comes: each takes
the part of the limit that is free then, so that their limits add up to it after a few steps. Raising needs no end: one more begins.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from asya_core.transports.base import Delivered, Receipt
from asya_core.transports.rabbitmq import codec, topology
from asya_core.transports.rabbitmq.connection import Channel, Session
from asya_core.transports.rabbitmq.settings import QueueType, RabbitSettings

__all__ = ["Consumer", "Held", "attempt_and_origin"]

AGAIN_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Delays before a queue that was missing is subscribed to again."""
ACCESS_REFUSED: Final = 403
MIN_CONSUMER_TIMEOUT_SECONDS: Final = 1800.0
"""RabbitMQ's own default."""
_ACKS_PER_PREFETCH: Final = 8
"""Acks wait up to 1 ms for others until an eighth of the prefetch has gathered: the broker never runs out of room to send."""


class Held(msgspec.Struct, gc=False):
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
        self._limits: dict[str, int] = {}
        """Consumers that the broker has or is about to have, each with its limit."""
        self._consumers = 0
        self._starting = False
        self._ending = False
        self._left_up_to = 0
        """Deliveries up to this number are of ended consumers; they take room until they are settled."""
        self._left = 0
        """How many of those are open."""
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
        self._limits.clear()
        self._starting = self._ending = False
        self._left = self._left_up_to = 0
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
        channel = self._channel
        if channel is None or self._starting or self._ending:
            return
        wanted, given = self._prefetch if self._subscribed else 0, sum(self._limits.values())
        if given > wanted:
            self._end_consumers(channel)
        elif given < wanted and self._timer is None:
            missing, room = wanted - given, wanted - given - self._left
            if room * 2 >= missing:
                self._start(room)

    def _end_consumers(self, channel: Channel) -> None:
        """End all: what they have handed over stays open. Then `_arrange` goes on."""
        tags = list(self._limits)
        self._limits.clear()
        self._ending = True
        channel.cancel(tags, self._have_ended)

    def _have_ended(self) -> None:
        self._ending = False
        self._leave_open()
        self._arrange()

    def _leave_open(self) -> None:
        """No consumer is left: everything that is open takes room of those that will begin."""
        self._left_up_to, self._left = next(reversed(self._open), 0), len(self._open)

    def _start(self, limit: int) -> None:
        session, queue = self._session, self.queue
        if session is None or queue is None:
            return
        self._starting = True
        if self._limits:
            self._consume(session, limit)
            return
        # Consuming from a missing queue closes the channel, and with it all receipts: ask on another one first.
        session.probe(
            lambda channel, answered: channel.queue_exists(queue, answered),
            lambda code, text: self._probed(session, code, text, limit),
        )

    def _probed(self, session: Session, code: int, text: str, limit: int) -> None:
        if session is not self._session:
            return
        if code == 0 and self._subscribed:
            self._consume(session, limit)
        elif code == 0:
            self._starting = False
        elif code == ACCESS_REFUSED:
            # Not missing: wrong rights, or a user that is gone. It must be seen, and another connect reads the credentials anew.
            self._on_broken(f"Broker refused queue {self.queue}: {code} {text}")
        else:
            self._starting = False
            self._again()

    def _consume(self, session: Session, limit: int) -> None:
        channel = self._channel
        if channel is None:
            return
        self._consumers += 1
        tag = f"asya-{self._consumers}"
        self._limits[tag] = limit
        timeout_seconds = max((self._settings.handler_timeout_seconds + 60) * self._prefetch, MIN_CONSUMER_TIMEOUT_SECONDS)
        channel.prefetch(limit, lambda: None)
        channel.consume(str(self.queue), tag, {"x-consumer-timeout": int(timeout_seconds * 1000)}, lambda: self._has_started(session))

    def _has_started(self, session: Session) -> None:
        if session is self._session:
            self._starting = False
            self._failures = 0
            self._arrange()

    def _cancelled(self, tag: str) -> None:
        """The broker ended a consumer: the queue is gone or its node is. Others will end too: begin anew with all."""
        channel = self._channel
        if channel is None or self._limits.pop(tag, None) is None:
            return
        self._starting = False
        if self._limits:
            self._end_consumers(channel)
        else:
            self._leave_open()
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
            if len(self._acked) * _ACKS_PER_PREFETCH < self._prefetch:
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
        if self._left:
            self._left = sum(1 for tag in self._open if tag <= self._left_up_to)
            self._arrange()
