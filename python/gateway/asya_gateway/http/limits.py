"""What one caller may take: bodies, requests per second, streams. Called by `front`, `rest` and `mcp`."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from starlette.types import Receive

from asya_gateway.http.errors import HttpRefusal

__all__ = ["BodyGone", "Limits", "RateLimiter", "StreamSlots", "read_body"]

_MAX_BUCKETS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The numbers.

    Attributes:
        body_bytes: of one request.
        body_seconds: to receive it.
        requests_per_second, burst: per principal and replica.
        streams_per_principal, streams: held answers and open streams.
    """

    body_bytes: int = 4 * 1024 * 1024
    body_seconds: float = 30.0
    requests_per_second: float = 50.0
    burst: int = 100
    streams_per_principal: int = 50
    streams: int = 5_000


class BodyGone(Exception):
    """The client left before its body was complete: nobody is there to answer."""


async def read_body(receive: Receive, *, declared: str | None, limit_bytes: int, seconds: float) -> bytes:
    """The whole body. Raises HttpRefusal ``payload_too_large``, ``body_timeout``; BodyGone.

    Args:
        receive: of the request.
        declared: Content-Length, if it is there: refused before a byte is read.
        limit_bytes: the most.
        seconds: until it is complete.
    """
    if declared is not None and declared.isdigit() and int(declared) > limit_bytes:
        raise _too_large(limit_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise BodyGone
                body += message.get("body", b"")
                if len(body) > limit_bytes:
                    raise _too_large(limit_bytes)
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        raise HttpRefusal("body_timeout", f"Body was not complete after {seconds:g} s", "send it faster", headers=_CLOSE) from None


_CLOSE: Final = {"Connection": "close"}


def _too_large(limit_bytes: int) -> HttpRefusal:
    return HttpRefusal("payload_too_large", f"Body is over {limit_bytes} bytes", "send a reference to the data instead", headers=_CLOSE)


class RateLimiter:
    """A token bucket per principal; the principals longest unseen are forgotten.

    Args:
        limits: rate and burst.
        clock: seconds that never fall.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._rate = limits.requests_per_second
        self._burst = float(limits.burst)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> None:
        """Count one request. Raises HttpRefusal ``rate_limited`` with Retry-After."""
        now = self._clock()
        tokens, at = self._buckets.pop(name, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._rate)
        is_allowed = tokens >= 1.0
        self._buckets[name] = (tokens - 1.0 if is_allowed else tokens, now)
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
        if not is_allowed:
            wait = max(1, round((1.0 - tokens) / self._rate))
            raise HttpRefusal("rate_limited", f"Over {self._rate:g} requests per second", "send fewer", headers={"Retry-After": str(wait)})


class StreamSlots:
    """Counts open streams and held calls."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held: dict[str, int] = {}
        self.total = 0

    def has_room(self, name: str) -> bool:
        """Whether one more would be taken for this principal."""
        return self._held.get(name, 0) < self._limits.streams_per_principal and self.total < self._limits.streams

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """One more for this principal while inside. Raises HttpRefusal ``too_many_streams``, ``streams_full``."""
        mine = self._held.get(name, 0)
        if mine >= self._limits.streams_per_principal:
            raise HttpRefusal("too_many_streams", f"{mine} streams are open for this caller", "close some", headers={"Retry-After": "5"})
        if self.total >= self._limits.streams:
            raise HttpRefusal("streams_full", "This gateway holds no more streams", "try again", headers={"Retry-After": "5"})
        self._held[name] = mine + 1
        self.total += 1
        try:
            yield
        finally:
            self.total -= 1
            left = self._held[name] - 1
            if left:
                self._held[name] = left
            else:
                del self._held[name]
