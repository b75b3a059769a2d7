"""Who waits for news of which envelope. Called by `service`, the HTTP edges and `publisher`; holds no events, they are read from the store.

On a store that other processes write to, `watch` looks every 250 ms, in one query, whether the envelopes that somebody here waits for have
moved.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from asya_core.wire.errors import Unavailable
from asya_gateway.store.base import Store, Tx

__all__ = ["Streams", "Subscription"]

_POLL_SECONDS: Final = 0.25
_MAX_IDS_PER_QUERY: Final = 500


class Subscription:
    """One waiter: `wait` returns when something may have happened since the last time."""

    __slots__ = ("_is_news", "_waiter")

    def __init__(self) -> None:
        self._is_news = False
        self._waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Something may have happened."""
        self._is_news = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait for news; False if none came in time. One future and one timer: thousands wait, and are woken at once."""
        if not self._is_news:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout_seconds, _give_up, self._waiter)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        is_news, self._is_news = self._is_news, False
        return is_news


def _give_up(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


class Streams:
    """All waiters of this process."""

    def __init__(self) -> None:
        self._waiters: dict[str, set[Subscription]] = {}
        self._seen: dict[str, int] = {}
        self._generations: dict[str, int] = {}
        self._draining = asyncio.Event()

    @property
    def count(self) -> int:
        """Waiters now."""
        return sum(len(each) for each in self._waiters.values())

    @property
    def is_draining(self) -> bool:
        """Whether the process is leaving: streams end, their clients come back elsewhere."""
        return self._draining.is_set()

    @contextmanager
    def subscribed(self, envelope_id: str) -> Iterator[Subscription]:
        """A subscription to one envelope; made before the history is read, so that nothing falls between."""
        subscription = Subscription()
        self._waiters.setdefault(envelope_id, set()).add(subscription)
        try:
            yield subscription
        finally:
            waiters = self._waiters.get(envelope_id, set())
            waiters.discard(subscription)
            if not waiters:
                self._waiters.pop(envelope_id, None)
                self._seen.pop(envelope_id, None)
                self._generations.pop(envelope_id, None)

    def notify(self, envelope_ids: Iterable[str]) -> None:
        """These envelopes have new events, committed."""
        for envelope_id in envelope_ids:
            waiters = self._waiters.get(envelope_id)
            if not waiters:
                continue
            self._generations[envelope_id] = self.generation(envelope_id) + 1
            for subscription in waiters:
                subscription.wake()

    def generation(self, envelope_id: str) -> int:
        """Count of news of an envelope that somebody waits for. What is read after it rose has the news, so waiters may share it."""
        return self._generations.get(envelope_id, 0)

    def drain(self) -> None:
        """Wake everybody; `is_draining` is True from now on."""
        self._draining.set()
        self.notify(list(self._waiters))

    async def watch(self, store: Store) -> None:
        """Look for what other processes wrote, until cancelled. Does nothing on a store of our own."""
        while store.is_shared:
            await asyncio.sleep(_POLL_SECONDS)
            ids = list(self._waiters)
            for begin in range(0, len(ids), _MAX_IDS_PER_QUERY):
                part = ids[begin : begin + _MAX_IDS_PER_QUERY]
                try:
                    numbers = await store.read(lambda tx, part=part: _numbers(tx, part))  # type: ignore[misc]
                except Unavailable:
                    break
                self.notify([each for each, seq in numbers.items() if self._moved(each, seq)])

    def _moved(self, envelope_id: str, seq: int) -> bool:
        if self._seen.get(envelope_id) == seq or envelope_id not in self._waiters:
            return False
        self._seen[envelope_id] = seq
        return True


def _numbers(tx: Tx, ids: list[str]) -> dict[str, int]:
    return {row["id"]: row["seq"] for row in tx.all("sequence_numbers", ids=ids)}
