"""One end of a transport in a test: opens it, writes down every event, waits for what a test wants to see.

Used by the contract suite and other tests. Knows the port only, no implementation.

Every wait is under one bound and raises AssertionError with the events so far.
"""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from asya_core.transports.base import (
    Closed,
    Connected,
    Delivered,
    Link,
    Published,
    PublishOutcome,
    Receipt,
    Settled,
    SettledOutcome,
    Transport,
    TransportEvent,
)

__all__ = ["WAIT_SECONDS", "Peer", "eventually"]

WAIT_SECONDS: Final = 30.0
"""Bound of every wait: far over what a loaded machine needs, far under the test's timeout."""
T = TypeVar("T")


class Peer:
    """A transport and everything it told.

    Args:
        transport: not opened yet.
        automatic: called with each delivery, for consumers that settle at once; None: the test settles.
        changed: set at each event. Peers that share one may wait for what happens to any of them.
    """

    def __init__(
        self,
        transport: Transport,
        automatic: "Callable[[Peer, Delivered], None] | None" = None,
        changed: asyncio.Event | None = None,
    ) -> None:
        self.transport: Final = transport
        self.events: Final[list[TransportEvent]] = []
        self.delivered: Final[list[Delivered]] = []
        self.outcomes: Final[dict[int, list[PublishOutcome]]] = {}
        self.settled: Final[dict[Receipt, list[SettledOutcome]]] = {}
        self._automatic = automatic
        self._taken = 0
        self._token = 0
        self._open_publishes = 0
        self._changed = changed or asyncio.Event()

    def _sink(self, event: TransportEvent) -> None:
        self.events.append(event)
        match event:
            case Delivered():
                self.delivered.append(event)
                if self._automatic is not None:
                    self._automatic(self, event)
            case Published(token, outcome):
                self.outcomes.setdefault(token, []).append(outcome)
                self._open_publishes -= 1
            case Settled(receipt, settled):
                self.settled.setdefault(receipt, []).append(settled)
            case _:
                pass
        self._changed.set()

    def begin(self) -> None:
        """Open the transport; nothing has happened yet when this returns."""
        self.transport.open(self._sink)

    async def open(self) -> "Peer":
        """Open the transport and wait until both links are up."""
        self.begin()
        await self.until(lambda: {event.link for event in self.events if isinstance(event, Connected)} == set(Link))
        return self

    async def close(self) -> None:
        """Close the transport and wait for `Closed`."""
        self.transport.close()
        await self.until(lambda: any(isinstance(event, Closed) for event in self.events))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition`, looked at after each event of this peer and of those that share its `changed`."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"Waited {WAIT_SECONDS} s in vain; last events: {self.events[-10:]}") from None

    def send(self, queue: str, body: bytes) -> int:
        """Publish without waiting; the token."""
        self._token += 1
        self._open_publishes += 1
        self.transport.publish(self._token, queue, body)
        return self._token

    async def publish(self, queue: str, *bodies: bytes) -> list[PublishOutcome]:
        """Publish and wait for the outcomes, in the order of `bodies`. Each token must have exactly one."""
        tokens = [self.send(queue, body) for body in bodies]
        await self.until(lambda: all(token in self.outcomes for token in tokens))
        return [self.outcomes[token][0] for token in tokens]

    async def all_answered(self) -> None:
        """Wait until every publish so far has an outcome."""
        await self.until(lambda: self._open_publishes == 0)

    async def take(self, count: int = 1) -> list[Delivered]:
        """The next `count` deliveries that no earlier `take` gave."""
        await self.until(lambda: len(self.delivered) >= self._taken + count)
        self._taken += count
        return self.delivered[self._taken - count : self._taken]

    async def take_one(self) -> Delivered:
        """The next delivery."""
        (delivery,) = await self.take()
        return delivery

    async def retry(self, delivery: Delivered, delay_seconds: float) -> SettledOutcome:
        """Retry and wait for the outcome."""
        self.transport.retry(delivery.receipt, delay_seconds)
        return await self._outcome(delivery)

    async def reject(self, delivery: Delivered) -> SettledOutcome:
        """Reject and wait for the outcome."""
        self.transport.reject(delivery.receipt)
        return await self._outcome(delivery)

    async def _outcome(self, delivery: Delivered) -> SettledOutcome:
        await self.until(lambda: delivery.receipt in self.settled)
        return self.settled[delivery.receipt][-1]


async def eventually(read: Callable[[], T], expected: T) -> None:
    """Wait until the blocking `read` gives `expected`, looked at 20 times a second: for what tells no event, such as a queue's depth."""
    found = read()
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while found != expected:
                await asyncio.sleep(0.05)
                found = read()
    except TimeoutError:
        raise AssertionError(f"Waited {WAIT_SECONDS} s in vain for {expected}; found {found}") from None
