"""How many messages to hold at a time: few if the handler is slow, many if it is fast.

Called by `decide`. A message that waits here is kept from an idle replica, so look-ahead must be worth its millisecond.
Source: docs/reference/sidecar-lifecycle.md, section "Prefetch".
"""

from typing import Final

__all__ = ["RunMeter"]

_STEPS: Final = (100, 32, 16, 4, 1)
_SLOW_RUN_SECONDS: Final = 0.5
_MEMORY_BYTES: Final = 8 * 1024 * 1024
"""Of messages that wait. The C library keeps about ten times as much of the process's memory, as copies of 100 kB come and go between
small objects: 156 MB at this bound and 370 MB at four times it, where 256 MiB are the container's limit (measured with 4,000 messages)."""
_CHANGE_SECONDS: Final = 5.0
_FIRST_RUNS: Final = 8
_WEIGHT: Final = 1 / 16


class RunMeter:
    """The mean length of runs and size of messages, the last few dozen weighing most."""

    __slots__ = ("_bytes", "_next_look", "_runs", "_seconds")

    def __init__(self) -> None:
        self._runs = 0
        self._seconds = 0.0
        self._bytes = 0.0
        self._next_look = 0.0

    def observe(self, seconds: float, size_bytes: int) -> None:
        """A run ended: how long it took and how long its message was."""
        self._runs += 1
        weight = max(_WEIGHT, 1 / self._runs)
        self._seconds += (seconds - self._seconds) * weight
        self._bytes += (size_bytes - self._bytes) * weight

    def is_quick(self) -> bool:
        """Whether a message that waits for the runs before it waits for a moment only: known after 8 runs."""
        return self._runs >= _FIRST_RUNS and self._seconds < _SLOW_RUN_SECONDS

    def is_due(self, now: float) -> bool:
        """Whether the look-ahead may be changed: first after 8 runs, then at most every 5 s."""
        return now >= self._next_look and self._runs >= _FIRST_RUNS

    def look_ahead(self, concurrency: int, now: float) -> int:
        """Messages to hold beyond those that run: 0, 1, 4, 16, 32 or 100. Not due again for 5 s."""
        self._next_look = now + _CHANGE_SECONDS
        if self._seconds >= _SLOW_RUN_SECONDS:
            return 0
        bound = min(_SLOW_RUN_SECONDS * concurrency / max(self._seconds, 1e-6), _MEMORY_BYTES / max(self._bytes, 1.0))
        return next((step for step in _STEPS if step <= bound), 0)
