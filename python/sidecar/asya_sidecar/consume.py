"""The loop: every event, from wherever it comes, goes to `decide` one at a time, and what it wants goes to `perform`.

Made by `app`; called by transport, runtime client, reporter, timers and signals, all in one thread. An event that comes while another is
being handled (a port may answer at once) waits its turn, so that decisions see the order in which effects were performed.
"""

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Final, assert_never

from asya_core.ops.logs import Log
from asya_core.transports.base import (
    Blocked,
    Closed,
    Connected,
    Delivered,
    Disconnected,
    Link,
    Published,
    ReceiptsLost,
    Settled,
    TransportEvent,
    Unblocked,
)
from asya_sidecar.decide import Decider, Moment
from asya_sidecar.effects import (
    ConsumeLinkChanged,
    Effect,
    Event,
    MessageArrived,
    PublishEnded,
    PublishLinkChanged,
    RetryEnded,
    RuntimeLost,
)
from asya_sidecar.lifecycle import State
from asya_sidecar.metrics import SidecarMetrics

__all__ = ["Consumer"]

_now: Final = datetime.now


class Consumer:
    """Feeds the decisions.

    Args:
        decider: what to do.
        metrics: counted per event.
        log: one line per change of a link.
        closed: called at the transport's `Closed`.
        failed: called once if a decision or its performing raises; the process must leave then, settling nothing.
    """

    def __init__(
        self, decider: Decider, *, metrics: SidecarMetrics, log: Log, closed: Callable[[], None], failed: Callable[[Exception], None]
    ) -> None:
        self._decider = decider
        self._metrics = metrics
        self._log = log
        self._closed = closed
        self._failed = failed
        self._perform: Callable[[list[Effect]], None] | None = None
        self._waiting: deque[Event] = deque()
        self._is_busy = False
        self._has_failed = False
        self._sent_at: dict[int, float] = {}
        self._links: dict[Link, str] = dict.fromkeys(Link, "not connected yet")
        self._was_connected: set[Link] = set()
        self._is_blocked = False
        self._has_live_receipts = False
        for link in Link:
            metrics.connected.set(0, link)
        metrics.blocked.set(0)

    def attach(self, perform: Callable[[list[Effect]], None]) -> None:
        """Where effects go; before the first event."""
        self._perform = perform

    def take(self, event: Event) -> None:
        """Handle an event, now or after the one that is being handled. Never raises."""
        if self._is_busy:
            self._waiting.append(event)
            return
        if self._has_failed or self._perform is None:
            return
        self._is_busy = True
        try:
            while True:
                if type(event) is RuntimeLost and self._decider.in_flight.get(State.RUNNING):
                    self._metrics.runtime_restarts.add("crash")
                self._perform(self._decider.handle(event, Moment(monotonic(), _now(UTC))))
                if not self._waiting:
                    return
                event = self._waiting.popleft()
        except Exception as error:  # the outer loop: a broken invariant ends the process, which gives everything back
            self._has_failed = True
            self._failed(error)
        finally:
            self._is_busy = False

    def publish_sent(self, token: int) -> None:
        """A publish leaves now."""
        self._sent_at[token] = monotonic()

    def take_transport(self, event: TransportEvent) -> None:
        """The transport's sink."""
        match event:
            case Delivered():
                self._has_live_receipts = True
                self.take(MessageArrived(event.receipt, event.body, event.attempt, event.origin))
            case Published():
                self._metrics.publishes.add(event.outcome)
                sent_at = self._sent_at.pop(event.token, None)
                if sent_at is not None:
                    self._metrics.confirm_seconds.observe(monotonic() - sent_at)
                self.take(PublishEnded(event.token, event.outcome))
            case Settled():
                self.take(RetryEnded(event.receipt, event.outcome))
            case ReceiptsLost():
                if self._has_live_receipts:
                    self._has_live_receipts = False
                    self.take(ConsumeLinkChanged(False))
                    if not self._links[Link.CONSUME]:
                        self.take(ConsumeLinkChanged(True))
            case Connected():
                self._link_up(event.link)
            case Disconnected():
                self._link_down(event.link, event.reason)
            case Blocked() | Unblocked():
                self._is_blocked = isinstance(event, Blocked)
                self._metrics.blocked.set(float(self._is_blocked))
                if self._is_blocked:
                    self._log.warning("broker blocked", reason="it takes no publishes: memory or disk alarm")
                else:
                    self._log.info("broker unblocked")
            case Closed():
                self._closed()
            case _:
                assert_never(event)

    def problems(self) -> list[str]:
        """Why messages do not flow, one sentence each, as far as broker and drain go."""
        found = [f"{link} link to the broker: {reason}" for link, reason in self._links.items() if reason]
        if self._is_blocked:
            found.append("the broker takes no publishes (memory or disk alarm)")
        if self._decider.is_draining:
            found.append("draining")
        return found

    def _link_up(self, link: Link) -> None:
        if not self._links[link]:
            return
        self._links[link] = ""
        self._metrics.connected.set(1, link)
        if link in self._was_connected:
            self._metrics.reconnects.add(link)
        self._was_connected.add(link)
        self._log.info("link up", link=link)
        self.take(ConsumeLinkChanged(True) if link is Link.CONSUME else PublishLinkChanged(True))

    def _link_down(self, link: Link, reason: str) -> None:
        was_up = not self._links[link]
        if self._links[link] != reason:
            self._log.warning("link down", link=link, reason=reason)
        self._links[link] = reason or "disconnected"
        if was_up:
            self._metrics.connected.set(0, link)
            if link is Link.CONSUME:
                self._has_live_receipts = False
            self.take(ConsumeLinkChanged(False) if link is Link.CONSUME else PublishLinkChanged(False))
