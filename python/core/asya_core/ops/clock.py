"""What time it is: a port, the machine's clock, and a clock for tests that only moves when told.

Called by everything that measures a duration or writes down a time. Must not know what the time is used for.

Durations are measured on `Clock.monotonic`, never as a difference of `Clock.wall`: people and time servers set the wall clock, by an hour
at times, and a timer built on it would fire an hour late (experiment F24 of docs/explanation/reliability.md).
"""

import time
from collections.abc import Callable
from typing import Final, Protocol

__all__ = ["Clock", "FakeClock", "SystemClock"]


class Clock(Protocol):
    """Two readings of time. Neither blocks or fails; safe in any thread."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment, the same one for all processes of a machine; never falls, cannot be set."""
        ...

    def wall(self) -> float:
        """Seconds since 1970-01-01T00:00:00Z, for records and deadlines; may jump in both directions."""
        ...


class SystemClock:
    """The machine's clock.

    `time.monotonic` is one clock for the whole machine since Python 3.5 (documentation of module `time`), so that processes can compare
    readings.
    """

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    def wall(self) -> float:
        """See `Clock.wall`."""
        return time.time()


class FakeClock:
    """A clock that stands still until `advance` or `set_wall`.

    Args:
        monotonic: the first reading, in seconds.
        wall: the first reading of the wall clock, in seconds since 1970; 2026-01-01T00:00:00Z unless given.
    """

    def __init__(self, monotonic: float = 1_000.0, wall: float = 1_767_225_600.0) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._listeners: Final[list[Callable[[], None]]] = []

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._monotonic

    def wall(self) -> float:
        """See `Clock.wall`."""
        return self._wall

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both readings, then tell the listeners. Raises ValueError if `seconds` is negative."""
        if seconds < 0:
            raise ValueError(f"Clock cannot advance by {seconds} s; expected 0 or more (use set_wall to move the wall clock back)")
        self._monotonic += seconds
        self._wall += seconds
        for listener in tuple(self._listeners):
            listener()

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock, as a person or a time server would; no time passes."""
        self._wall = seconds

    def on_advance(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each `advance`, in the order of registration. What has timers on this clock looks at them then."""
        self._listeners.append(listener)
