"""Waits for what the cluster does by itself. Used by every story; knows no cluster."""

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["WAIT", "eventually"]

WAIT = 240.0
"""Seconds: the one bound of every wait. A pod of a warm cluster starts in 3 s; a small machine may be ten times slower at its worst."""

T = TypeVar("T")


def eventually(what: str, look: Callable[[], T | None], *, within: float = WAIT) -> T:
    """Look again and again until there is something true to see; gives what was seen.

    Args:
        what: is awaited, for the failure's text.
        look: gives a false value while it is not there. Its exceptions end the wait.
        within: seconds.
    """
    deadline = time.monotonic() + within
    seen = look()
    while not seen:
        assert time.monotonic() < deadline, f"{what}: not within {within:.0f} s; last seen: {seen!r}"
        time.sleep(0.25)
        seen = look()
    return seen
