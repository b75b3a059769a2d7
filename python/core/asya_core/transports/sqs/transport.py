"""`SqsTransport`: the transports port over Amazon SQS.

Made by the sidecar's composition root, by the command line, the gateway and tests. Knows SQS only through `publisher` and `consumer`.

**There is no connection** whose end the server would notice: each call is a request of its own. What the port calls the link is up while
requests are answered. A receipt lives as long as its message is renewed; so an outage that is shorter than the visibility timeout costs
nothing, and after a longer one `ReceiptsLost` is told before `Connected`.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from asya_core.ops.backoff import Backoff
from asya_core.transports.base import (
    Blocked,
    Closed,
    Connected,
    Disconnected,
    Link,
    Published,
    Receipt,
    ReceiptsLost,
    Sink,
    TransportEvent,
    Unblocked,
)
from asya_core.transports.sqs.calls import Answer, Calls
from asya_core.transports.sqs.client import make_client
from asya_core.transports.sqs.consumer import Consumer
from asya_core.transports.sqs.publisher import Publisher
from asya_core.transports.sqs.settings import SqsSettings
from asya_core.transports.sqs.workers import Workers
from asya_core.wire.errors import Bug

__all__ = ["SqsTransport"]

_THREADS: Final = 8
"""For short calls; a call keeps a core busy for a millisecond, so more do not help."""
_POLL_THREADS: Final = 4
_CLOSE_SECONDS: Final = 0.8
"""How long `close` tries to give back what is unsettled; the port allows 1 s."""
_PATIENCE_SECONDS: Final = 1.0
"""How long requests may go unanswered before the link is told to be down."""
_PROBE: Final = Backoff(initial_seconds=0.1, max_seconds=10.0)


class SqsTransport:
    """See `asya_core.transports.base.Transport` for what each method promises.

    Args:
        settings: where, limits and times.
        probe_queue: a queue whose address is asked for to see whether the server answers; it need not be there.
        counted: told the name of each API call, on the loop.
    """

    def __init__(self, settings: SqsSettings, *, probe_queue: str = "asya", counted: Callable[[str], None] | None = None) -> None:
        self._settings = settings
        self._probe_queue = probe_queue
        self._counted = counted
        self._sink: Sink = lambda _event: None
        self._is_opened = False
        self._is_closing = False
        self._is_up = False
        self._was_up = False
        self._failing_since: float | None = None
        self._probes = 0
        self._probe_handle: asyncio.TimerHandle | None = None
        self._is_told_down = False
        self._reason = ""
        self._is_refused = False
        self._uncounted: deque[str] = deque()

    @property
    def max_message_bytes(self) -> int:
        """See `Transport.max_message_bytes`. A queue's own MaximumMessageSize may be less; then the server's word is the outcome."""
        return self._settings.max_message_bytes

    @property
    def is_connected(self) -> bool:
        """Whether requests are answered, as far as is known."""
        return self._is_up

    def open(self, sink: Sink) -> None:
        """See `Transport.open`. Raises RemoteFault ``bad_setting`` if no region is known, Bug if called twice."""
        if self._is_opened:
            raise Bug("opened_twice", "Transport was opened before; expected one call of open")
        self._loop = asyncio.get_running_loop()
        self._sink = sink
        settings = self._settings
        connections, wait = _THREADS + _POLL_THREADS, settings.wait_seconds
        make = partial(make_client, settings, connections=connections, longest_wait_seconds=wait)
        self._calls = Calls(make, counted=self._uncounted.append)
        self._calls.start()
        self._workers = Workers(self._loop, count=_THREADS, name="sqs-call")
        self._pollers = Workers(self._loop, count=_POLL_THREADS, name="sqs-poll")
        self._consumer = Consumer(
            settings,
            self._calls,
            self._workers,
            self._pollers,
            deliver=self._emit,
            settled=self._emit,
            on_answer=self._on_answer,
            on_refused=self._refused,
        )
        self._publisher = Publisher(
            self._calls,
            self._workers,
            on_outcome=lambda token, outcome: self._emit(Published(token, outcome)),
            on_answer=self._on_answer,
            on_throttled=lambda is_throttled: self._emit(Blocked() if is_throttled else Unblocked()),
            more_will_come=self._consumer.is_loaded,
        )
        self._is_opened = True
        self._probe()

    def close(self) -> None:
        """See `Transport.close`."""
        if self._is_closing or not self._is_opened:
            return
        self._publisher.give_up()
        if self._probe_handle is not None:
            self._probe_handle.cancel()
        self._consumer.close(self._closed, seconds=_CLOSE_SECONDS)
        self._is_closing = True

    def subscribe(self, queue: str, prefetch: int) -> None:
        """See `Transport.subscribe`."""
        if self._is_open():
            self._consumer.subscribe(queue, prefetch)

    def unsubscribe(self) -> None:
        """See `Transport.unsubscribe`."""
        if self._is_open():
            self._consumer.unsubscribe()

    def publish(self, token: int, queue: str, body: bytes) -> None:
        """See `Transport.publish`."""
        if not self._is_open():
            return
        if len(body) > self._settings.max_message_bytes:
            self._publisher.too_large(token)
        else:
            self._publisher.publish(token, queue, body)

    def ack(self, receipt: Receipt) -> None:
        """See `Transport.ack`."""
        if self._is_open():
            self._consumer.ack(receipt)

    def requeue(self, receipt: Receipt) -> None:
        """See `Transport.requeue`. The next attempt is one more: SQS counts receives."""
        if self._is_open():
            self._consumer.requeue(receipt)

    def retry(self, receipt: Receipt, delay_seconds: float) -> None:
        """See `Transport.retry`. Delays are rounded up to whole seconds."""
        if self._is_open():
            self._consumer.retry(receipt, delay_seconds)

    def reject(self, receipt: Receipt) -> None:
        """See `Transport.reject`."""
        if self._is_open():
            self._consumer.reject(receipt)

    # ---------------------------------------------------------------------------------------------------------- the link

    def _on_answer(self, answer: Answer) -> None:
        while self._uncounted:
            action = self._uncounted.popleft()
            if self._counted is not None:
                self._counted(action)
        if self._is_closing:
            return
        if answer.is_link:
            self._failed(answer.reason)
        else:
            self._answered()

    def _answered(self) -> None:
        self._failing_since = None
        self._probes = 0
        if self._is_up:
            return
        self._is_up = True
        self._is_told_down = False
        self._tell_lost_receipts()
        self._was_up = True
        self._is_refused = False
        for link in Link:
            self._emit(Connected(link))
        self._publisher.resume()
        self._consumer.resume()

    def _refused(self, reason: str | None) -> None:
        """The server answers and refuses to give us messages, which nobody would see otherwise; None: no longer."""
        if self._is_closing or (reason is not None) is self._is_refused:
            return
        self._is_refused = reason is not None
        if reason is not None:
            self._emit(Disconnected(Link.CONSUME, reason))
        elif self._is_up:
            self._tell_lost_receipts()
            self._emit(Connected(Link.CONSUME))

    def _tell_lost_receipts(self) -> None:
        if self._was_up and self._consumer.expired():
            self._consumer.lose_all()
            self._emit(ReceiptsLost())

    def _failed(self, reason: str) -> None:
        self._reason = reason
        if self._failing_since is None:
            self._failing_since = self._loop.time()
            self._loop.call_later(_PATIENCE_SECONDS, self._patience_over, self._failing_since)
        if not self._is_up:
            self._tell_down()
        if self._probe_handle is None:
            self._probes += 1
            self._probe_handle = self._loop.call_later(_PROBE.delay_seconds(self._probes, random.random), self._probe)

    def _patience_over(self, since: float) -> None:
        if self._failing_since == since and self._is_up and not self._is_closing:
            self._is_up = False
            self._tell_down()

    def _tell_down(self) -> None:
        if not self._is_told_down:
            self._is_told_down = True
            for link in Link:
                self._emit(Disconnected(link, self._reason))

    def _probe(self) -> None:
        self._probe_handle = None
        if not self._is_closing:
            self._workers.run(lambda: self._calls.probe(self._probe_queue), self._probed)

    def _probed(self, answer: Answer) -> None:
        if self._is_closing:
            return
        if answer.fault is None:
            self._answered()
        elif answer.is_link or not self._is_up:
            self._failed(answer.reason)

    # -------------------------------------------------------------------------------------------------- events to the sink

    def _is_open(self) -> bool:
        return self._is_opened and not self._is_closing

    def _emit(self, event: TransportEvent) -> None:
        if not self._is_closing:
            self._sink(event)

    def _closed(self) -> None:
        self._workers.stop()
        self._pollers.stop()
        self._sink(Closed())
