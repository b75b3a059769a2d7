"""The publish link: publishes and their outcomes, delayed retries.

Used by `transport`. Knows neither receipts nor the sink's events; outcomes are told to callbacks.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from asya_core.transports.base import PublishOutcome
from asya_core.transports.rabbitmq import codec, topology
from asya_core.transports.rabbitmq.connection import Channel, Session

__all__ = ["ConfirmedChannel", "DelayedPublisher", "Publisher"]

AGAIN_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Delays before a retry that found no delay queue is published again."""
MAX_NAME_BYTES: Final = 255

_process_id: Final = os.urandom(6).hex().encode()
"""Part of every message id, so that ids of two processes differ."""


class ConfirmedChannel:
    """A channel in confirm mode: gives each token one outcome.

    Args:
        channel: opened, in confirm mode.
        on_outcome: called once per token.
    """

    def __init__(self, on_outcome: Callable[[int, PublishOutcome], None]) -> None:
        self._on_outcome = on_outcome
        self._channel: Channel | None = None
        self._frame_max = 0
        self._sequence = 0
        self._open: dict[int, int] = {}
        self._returned: set[int] = set()
        self._methods: dict[tuple[str, str], bytes] = {}

    def use(self, channel: Channel) -> None:
        """The channel to publish on."""
        self._channel = channel
        self._frame_max = channel.session.frame_max

    def send(self, token: int, exchange: str, key: str, body: bytes, table: bytes = b"") -> None:
        """Publish, persistent and mandatory."""
        channel = self._channel
        assert channel is not None
        method = self._methods.get((exchange, key))
        if method is None:
            if len(self._methods) >= 1024:
                self._methods.clear()
            method = self._methods[exchange, key] = codec.publish_method(channel.number, exchange, key)
        self._sequence += 1
        self._open[self._sequence] = token
        correlation = b"%d" % token
        header = codec.content_header(channel.number, len(body), correlation, _process_id + b"-" + correlation, table)
        # As in Nagle's algorithm: the first leaves at once, others while its confirm is on the way gather for one write.
        send = channel.hold if len(self._open) > 1 else channel.write
        send(method, header, *codec.body_frames(channel.number, body, self._frame_max))

    def lose(self) -> None:
        """The channel is gone: everything open is lost."""
        lost, self._open = list(self._open.values()), {}
        for token in lost:
            self._on_outcome(token, PublishOutcome.LOST)

    def delivered(self, deliver: codec.Deliver, headers: dict[str, Any], body: bytes) -> None:
        """Nothing is consumed here."""

    def returned(self, correlation_id: str) -> None:
        if correlation_id.isdecimal():
            self._returned.add(int(correlation_id))

    def confirmed(self, tag: int, multiple: bool, ok: bool) -> None:
        if self._channel is not None:
            self._channel.release()
        if not multiple:
            token = self._open.pop(tag, None)
            if token is not None:
                self._tell(token, ok)
            return
        tokens = []
        for sequence in self._open:
            if sequence > tag:
                break
            tokens.append((sequence, self._open[sequence]))
        for sequence, _ in tokens:
            del self._open[sequence]
        for _, token in tokens:
            self._tell(token, ok)

    def _tell(self, token: int, ok: bool) -> None:
        if self._returned and token in self._returned:
            self._returned.discard(token)
            self._on_outcome(token, PublishOutcome.RETURNED)
        else:
            self._on_outcome(token, PublishOutcome.CONFIRMED if ok else PublishOutcome.REFUSED)


class Publisher:
    """Publishes to queues, through the default exchange. What cannot be sent yet waits; what was sent when the link broke is lost.

    Args:
        on_outcome: called once per token.
        on_ready: called when a session can be used.
        on_broken: called with a sentence when the broker closed the channel.
    """

    def __init__(
        self, *, on_outcome: Callable[[int, PublishOutcome], None], on_ready: Callable[[], None], on_broken: Callable[[str], None]
    ) -> None:
        self._on_outcome = on_outcome
        self._on_ready = on_ready
        self._on_broken = on_broken
        self._confirmed: ConfirmedChannel | None = None
        self._waiting: deque[tuple[int, str, bytes]] = deque()
        self._ready = False
        self.blocked = False

    def link_up(self, session: Session) -> None:
        confirmed = ConfirmedChannel(self._on_outcome)
        self._confirmed = confirmed

        def opened(channel: Channel) -> None:
            confirmed.use(channel)
            channel.confirm(ready)

        def ready() -> None:
            if self._confirmed is confirmed:
                self._ready = True
                self._on_ready()
                self.flush()

        Channel(
            session,
            listener=confirmed,
            on_open=opened,
            on_closed=lambda code, text: self._on_broken(f"Broker closed the publish channel: {code} {text}"),
        )

    def link_down(self) -> None:
        self._ready = False
        confirmed, self._confirmed = self._confirmed, None
        if confirmed is not None:
            confirmed.lose()

    def publish(self, token: int, queue: str, body: bytes) -> None:
        if self._ready and not self.blocked and self._confirmed is not None:
            self._confirmed.send(token, "", queue, body)
        else:
            self._waiting.append((token, queue, body))

    def flush(self) -> None:
        """Send what waits, if it may be sent now."""
        while self._waiting and self._ready and not self.blocked and self._confirmed is not None:
            token, queue, body = self._waiting.popleft()
            self._confirmed.send(token, "", queue, body)

    def give_up(self) -> None:
        """Everything without an outcome is lost."""
        self.link_down()
        waiting, self._waiting = list(self._waiting), deque()
        for token, _queue, _body in waiting:
            self._on_outcome(token, PublishOutcome.LOST)


class DelayedPublisher:
    """Publishes retries into the delay queues of a namespace, on a channel of its own: a missing exchange closes a channel.

    Args:
        namespace: whose delay exchange.
        on_outcome: called once per number with True (durable) or False (lost).
        wanted: whether the retry with this number still has a live receipt.
    """

    def __init__(self, namespace: str, *, on_outcome: Callable[[int, bool], None], wanted: Callable[[int], bool]) -> None:
        self._exchange = topology.delay_exchange_name(namespace)
        self._on_outcome = on_outcome
        self._wanted = wanted
        self._loop = asyncio.get_running_loop()
        self._session: Session | None = None
        self._confirmed: ConfirmedChannel | None = None
        self._usable = False
        self._failures = 0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: dict[int, tuple[str, bytes, bytes]] = {}
        self._sent: dict[int, tuple[str, bytes, bytes]] = {}
        self.blocked = False

    def publish(self, number: int, queue: str, body: bytes, headers: dict[str, str | int]) -> None:
        self._waiting[number] = (queue, body, codec.headers_table(headers))
        self.flush()

    def flush(self) -> None:
        if self._timer is not None or self.blocked or self._confirmed is None or not self._usable:
            return
        waiting, self._waiting = self._waiting, {}
        for number, (queue, body, table) in waiting.items():
            if self._wanted(number):
                self._sent[number] = (queue, body, table)
                self._confirmed.send(number, self._exchange, queue, body, table)
            else:
                self._on_outcome(number, False)

    def link_up(self, session: Session) -> None:
        self._session = session
        self._probe()

    def link_down(self) -> None:
        self._session = None
        self._close_channel()

    def give_up(self) -> None:
        """Everything without an outcome is lost."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.link_down()
        waiting, self._waiting = list(self._waiting), {}
        for number in waiting:
            self._on_outcome(number, False)

    def _probe(self) -> None:
        session = self._session
        if session is None:
            return
        session.probe(
            lambda channel, answered: channel.exchange_exists(self._exchange, answered),
            lambda code, _text: self._probed(session, code),
        )

    def _probed(self, session: Session, code: int) -> None:
        if session is not self._session:
            return
        if code:
            self._again()
            return
        confirmed = ConfirmedChannel(self._outcome)
        self._confirmed = confirmed

        def opened(channel: Channel) -> None:
            confirmed.use(channel)
            channel.confirm(ready)

        def ready() -> None:
            if self._confirmed is confirmed:
                self._usable = True
                self.flush()

        Channel(session, listener=confirmed, on_open=opened, on_closed=lambda _code, _text: self._channel_closed(confirmed))

    def _channel_closed(self, confirmed: ConfirmedChannel) -> None:
        if self._confirmed is confirmed:
            self._close_channel()
            self._again()

    def _close_channel(self) -> None:
        self._usable = False
        confirmed, self._confirmed = self._confirmed, None
        if confirmed is not None:
            confirmed.lose()

    def _again(self) -> None:
        """Look later: the exchange or a delay queue is missing, or the broker is full."""
        if self._timer is None:
            delay = AGAIN_SECONDS[min(self._failures, len(AGAIN_SECONDS) - 1)]
            self._failures += 1
            self._timer = self._loop.call_later(delay, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        if self._usable:
            self.flush()
        elif self._confirmed is None:
            self._probe()

    def _outcome(self, number: int, outcome: PublishOutcome) -> None:
        sent = self._sent.pop(number, None)
        match outcome:
            case PublishOutcome.CONFIRMED:
                self._failures = 0
                self._on_outcome(number, True)
            case PublishOutcome.RETURNED | PublishOutcome.REFUSED if sent is not None and self._wanted(number):
                self._waiting[number] = sent
                self._again()
            case _:
                self._on_outcome(number, False)
