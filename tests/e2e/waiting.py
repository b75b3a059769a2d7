"""Waits for what the cluster does by itself. Used by every story; knows no cluster."""

import time
from collections.abc import Callable
from http.client import HTTPException
from typing import TypeVar

from urllib3.exceptions import HTTPError

__all__ = ["END", "WAIT", "NotNow", "eventually"]

WAIT = 240.0
"""Seconds: the one bound of every wait. A pod of a warm cluster starts in 3 s; a small machine may be ten times slower at its worst."""
END = 2 * WAIT
"""Seconds: the bound for a pod's end, which may take its grace period, its actor's timeout and 30 s, if it is deleted while it starts."""
PASSING_STATUS = frozenset({404, 409, 429, 500, 502, 503, 504})
"""HTTP answers of what is being replaced, changed by another at this moment, or too busy."""

T = TypeVar("T")


class NotNow(Exception):
    """What was asked cannot answer at this moment, such as a pod that is being replaced; `eventually` asks again."""


def eventually(what: str, look: Callable[[], T | None], *, within: float = WAIT) -> T:
    """Look again and again until there is something true to see; gives what was seen. The last look begins after the bound.

    Args:
        what: is awaited, for the failure's text.
        look: gives a false value while it is not there. `NotNow`, lost connections, missing files and a status of `PASSING_STATUS` count as
            such, and are told when the time is over; any other exception ends the wait, a failed assertion above all.
        within: seconds.
    """
    deadline = time.monotonic() + within
    while True:
        is_last = time.monotonic() >= deadline
        seen: object = None
        cause: Exception | None = None
        try:
            found = look()
            if found:
                return found
            seen = found
        except Exception as error:
            if not _passes(error):
                raise
            seen = cause = error
        if is_last:
            raise AssertionError(f"{what}: not within {within:.0f} s; last seen: {seen!r}") from cause
        time.sleep(0.25)


def _passes(error: Exception) -> bool:
    """Whether the next look may succeed. The status is that of Kubernetes' client, the code that of urllib."""
    status = getattr(error, "status", getattr(error, "code", None))
    if isinstance(status, int):
        return status in PASSING_STATUS
    return isinstance(error, NotNow | OSError | HTTPException | HTTPError)
