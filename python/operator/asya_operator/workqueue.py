"""Keys that wait for a reconcile: coalesced, never two at a time of one key, user changes before resyncs, back-off per key.

Used by `app`'s workers; `watch`, timers and the depth poll add to it. It knows keys and times, not what a reconcile is.
"""

import asyncio
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from asya_core.ops.backoff import Backoff

__all__ = ["Key", "WorkQueue"]

Key = tuple[str, str]
BACKOFF: Final = Backoff(initial_seconds=0.5, max_seconds=300.0)


class WorkQueue:
    """A queue of keys for several workers in one loop.

    Args:
        clock: monotonic seconds.
        random_number: in [0, 1), for jitter.
    """

    def __init__(self, clock: Callable[[], float], random_number: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._random = random_number
        self._urgent: deque[Key] = deque()
        self._idle: deque[Key] = deque()
        self._waiting: dict[Key, bool] = {}
        """Keys in one of the two lines; True: urgent."""
        self._running: set[Key] = set()
        self._again: dict[Key, bool] = {}
        self._timers: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._count = itertools.count()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._running)

    def add(self, key: Key, *, urgent: bool = True) -> None:
        """Let `key` be reconciled, as soon as a worker is free; `urgent` ones first."""
        if key in self._running:
            self._again[key] = urgent or self._again.get(key, False)
            return
        known = self._waiting.get(key)
        if known is None or (urgent and not known):
            self._waiting[key] = urgent
            (self._urgent if urgent else self._idle).append(key)
            self._changed.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Let `key` be reconciled after `seconds`, unless it is before."""
        due = self._clock() + seconds
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        heapq.heappush(self._timers, (due, next(self._count), key))
        self._changed.set()

    def failed(self, key: Key, at_least_seconds: float = 0.0) -> float:
        """Let `key` be tried again after a growing delay, which is given back."""
        self._failures[key] = self._failures.get(key, 0) + 1
        seconds = max(at_least_seconds, BACKOFF.delay_seconds(self._failures[key], self._random))
        self.add_after(key, seconds)
        return seconds

    def succeeded(self, key: Key) -> None:
        """The next delay is the shortest again."""
        self._failures.pop(key, None)

    def forget(self, key: Key) -> None:
        """Nothing of `key` is left to do."""
        self._failures.pop(key, None)
        self._due.pop(key, None)

    async def take(self) -> Key:
        """The next key; the caller owns it until `done`."""
        while True:
            self._ring()
            for line, urgent in ((self._urgent, True), (self._idle, False)):
                while line:
                    key = line.popleft()
                    # A key that became urgent stands in both lines.
                    if self._waiting.get(key) is urgent:
                        del self._waiting[key]
                        self._running.add(key)
                        self._due.pop(key, None)
                        return key
            self._changed.clear()
            wait = self._timers[0][0] - self._clock() if self._timers else None
            with suppress(TimeoutError):
                # Not wait_for: before Python 3.12 it forgets a cancellation that meets a change, and the worker would wait for ever.
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    def done(self, key: Key) -> None:
        """The reconcile of `key` has ended; what came meanwhile begins."""
        self._running.discard(key)
        urgent = self._again.pop(key, None)
        if urgent is not None:
            self.add(key, urgent=urgent)
        self._changed.set()

    def _ring(self) -> None:
        now = self._clock()
        while self._timers and self._timers[0][0] <= now:
            due, _, key = heapq.heappop(self._timers)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key, urgent=False)
