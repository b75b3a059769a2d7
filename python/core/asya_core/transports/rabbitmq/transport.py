"""`RabbitTransport`: the transports port over RabbitMQ, with one connection to consume and one to publish.

Two, because in a memory or disk alarm RabbitMQ stops reading from connections that publish, acks on them too. Made by the sidecar's
composition root, by the command line and tests. Knows AMQP only through `consumer` and `publisher`.
"""

import asyncio
import random
import re
from collections.abc import Callable
from typing import Final

from asya_core.transports.base import (
    Blocked,
    Closed,
    Connected,
    Delivered,
    Disconnected,
    Link,
    Published,
    PublishOutcome,
    Receipt,
    ReceiptsLost,
    Settled,
    SettledOutcome,
    Sink,
    TransportEvent,
    Unblocked,
)
from asya_core.transports.rabbitmq import connection, topology
from asya_core.transports.rabbitmq.consumer import Consumer
from asya_core.transports.rabbitmq.publisher import MAX_NAME_BYTES, DelayedPublisher, Publisher
from asya_core.transports.rabbitmq.settings import RabbitSettings

__all__ = ["RabbitTransport"]

_BROKERS_LIMIT: Final = re.compile(r"message size \d+ is larger than configured max size (\d+)")


class RabbitTransport:
    """See `asya_core.transports.base.Transport` for what each method promises.

    Args:
        settings: where, as whom, and limits.
        random: gives numbers in [0, 1) for the reconnect's jitter.
    """

    def __init__(self, settings: RabbitSettings, *, random: Callable[[], float] = random.random) -> None:
        self._settings = settings
        self._random = random
        self._sink: Sink = lambda _event: None
        self._opened = False
        self._closing = False
        self._blocked = False
        self._max_message_bytes = settings.max_message_bytes
        self._retries: dict[int, Receipt] = {}
        self._retry_number = 0
        self._rejects: dict[int, Receipt] = {}

    @property
    def max_message_bytes(self) -> int:
        return self._max_message_bytes

    def open(self, sink: Sink) -> None:
        self._loop = asyncio.get_running_loop()
        self._sink = sink
        self._opened = True
        self._consume_link = connection.Link(
            self._settings, name="consume", on_up=self._consume_up, on_down=self._consume_down, random=self._random
        )
        self._publish_link = connection.Link(
            self._settings, name="publish", on_up=self._publish_up, on_down=self._publish_down, random=self._random
        )
        self._consumer = Consumer(
            self._settings,
            deliver=self._deliver,
            on_ready=lambda: self._emit(Connected(Link.CONSUME)),
            on_broken=self._consume_link.fail,
        )
        self._publisher = Publisher(
            on_outcome=self._published,
            on_ready=lambda: self._emit(Connected(Link.PUBLISH)),
            on_broken=self._publish_broken,
        )
        self._delayed = DelayedPublisher(self._settings.namespace, on_outcome=self._retried, wanted=self._is_wanted)
        self._consume_link.start()
        self._publish_link.start()

    def close(self) -> None:
        if self._closing or not self._opened:
            return
        self._publisher.give_up()
        self._delayed.give_up()
        for receipt in self._rejects.values():
            self._emit(Settled(receipt, SettledOutcome.LOST))
        self._closing = True
        self._consumer.unsubscribe()
        self._consumer.write_acks()
        stopped = 0

        def link_stopped() -> None:
            nonlocal stopped
            stopped += 1
            if stopped == 2:
                self._consumer.link_down()
                self._sink(Closed())

        self._consume_link.stop(link_stopped)
        self._publish_link.stop(link_stopped)

    def subscribe(self, queue: str, prefetch: int) -> None:
        if self._is_open():
            self._consumer.subscribe(queue, prefetch)

    def unsubscribe(self) -> None:
        if self._is_open():
            self._consumer.unsubscribe()

    def publish(self, token: int, queue: str, body: bytes) -> None:
        if not self._is_open():
            return
        if len(body) > self._max_message_bytes:
            # Before sending: the broker would close the channel and put all open publishes in doubt.
            self._later(Published(token, PublishOutcome.TOO_LARGE))
        elif len(queue.encode()) > MAX_NAME_BYTES:
            self._later(Published(token, PublishOutcome.RETURNED))
        else:
            self._publisher.publish(token, queue, body)

    def ack(self, receipt: Receipt) -> None:
        if self._is_open():
            self._consumer.ack(receipt)

    def requeue(self, receipt: Receipt) -> None:
        if self._is_open():
            self._consumer.requeue(receipt)

    def retry(self, receipt: Receipt, delay_seconds: float) -> None:
        if not self._is_open():
            return
        held = self._consumer.receipts.get(receipt)
        queue = self._consumer.queue
        if held is None or queue is None or held.retrying:
            self._later(Settled(receipt, SettledOutcome.LOST))
            return
        held.retrying = True
        headers: dict[str, str | int] = {
            topology.DELAY_HEADER: str(topology.delay_step_ms(delay_seconds)),
            topology.ATTEMPT_HEADER: held.attempt,
        }
        if held.origin is not None:
            headers[topology.ORIGIN_HEADER] = held.origin
        self._retry_number += 1
        self._retries[self._retry_number] = receipt
        self._delayed.publish(self._retry_number, queue, held.body, headers)

    def reject(self, receipt: Receipt) -> None:
        if not self._is_open():
            return
        self._retry_number += 1
        number = self._retry_number
        if receipt not in self._consumer.receipts:
            self._later(Settled(receipt, SettledOutcome.LOST))
            return
        self._rejects[number] = receipt
        self._consumer.reject(receipt, lambda ok: self._rejected(number, ok))

    # -- events of the links

    def _consume_up(self, session: connection.Session) -> None:
        self._consumer.link_up(session)

    def _consume_down(self, reason: str) -> None:
        self._emit(Disconnected(Link.CONSUME, reason))
        self._consumer.link_down()
        self._emit(ReceiptsLost())
        rejects, self._rejects = self._rejects, {}
        for receipt in rejects.values():
            self._emit(Settled(receipt, SettledOutcome.LOST))

    def _publish_up(self, session: connection.Session) -> None:
        session.on_blocked(self._set_blocked)
        self._publisher.link_up(session)
        self._delayed.link_up(session)

    def _publish_broken(self, reason: str) -> None:
        """The broker closed the publish channel. If a message was over its limit, who publishes it again is told so from now on."""
        limit = _BROKERS_LIMIT.search(reason)
        if limit is not None:
            self._max_message_bytes = min(self._max_message_bytes, int(limit[1]))
        self._publish_link.fail(reason)

    def _publish_down(self, reason: str) -> None:
        self._emit(Disconnected(Link.PUBLISH, reason))
        self._set_blocked(False)
        self._publisher.link_down()
        self._delayed.link_down()

    def _set_blocked(self, blocked: bool) -> None:
        if blocked == self._blocked:
            return
        self._blocked = self._publisher.blocked = self._delayed.blocked = blocked
        self._emit(Blocked() if blocked else Unblocked())
        self._publisher.flush()
        self._delayed.flush()

    # -- retries and rejects

    def _is_wanted(self, number: int) -> bool:
        return self._retries.get(number) in self._consumer.receipts

    def _retried(self, number: int, durable: bool) -> None:
        receipt = self._retries.pop(number)
        held = self._consumer.receipts.get(receipt)
        if held is not None:
            held.retrying = False
        if durable and held is not None:
            self._consumer.ack(receipt)
            self._emit(Settled(receipt, SettledOutcome.OK))
        else:
            self._emit(Settled(receipt, SettledOutcome.LOST))

    def _rejected(self, number: int, ok: bool) -> None:
        receipt = self._rejects.pop(number, None)
        if receipt is not None:
            self._emit(Settled(receipt, SettledOutcome.OK if ok else SettledOutcome.LOST))

    # -- events to the sink

    def _is_open(self) -> bool:
        return self._opened and not self._closing

    def _deliver(self, event: Delivered) -> None:
        if not self._closing:
            self._sink(event)

    def _emit(self, event: TransportEvent) -> None:
        if not self._closing:
            self._sink(event)

    def _published(self, token: int, outcome: PublishOutcome) -> None:
        if not self._closing:
            self._sink(Published(token, outcome))

    def _later(self, event: TransportEvent) -> None:
        self._loop.call_soon(self._emit, event)
