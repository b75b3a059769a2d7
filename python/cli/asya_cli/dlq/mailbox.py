"""A transport for one who can wait: sends an envelope and returns once it is durable; takes what lies in a queue.

Called by the sources. The transport lives in a loop of its own, in a thread, so that it answers its broker while the caller sleeps.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from asya_core.transports.base import (
    Blocked,
    Closed,
    Connected,
    Delivered,
    Disconnected,
    Link,
    Published,
    PublishOutcome,
    Receipt,
    ReceiptsLost,
    Transport,
    TransportEvent,
)
from asya_core.wire.errors import Refused, RemoteFault, Unavailable

__all__ = ["Mailbox"]

T = TypeVar("T")
_SECONDS: Final = 20.0
"""How long a broker that is away, or takes nothing, is waited for: less than a claim of the journal lives."""
_PAUSE_SECONDS: Final = 0.5
_CLOSE_SECONDS: Final = 5.0


class Mailbox:
    """Sends and takes. One thread calls.

    Args:
        make: makes the transport, not open yet; called in the loop.
        seconds: patience with the broker.

    Raises Unavailable ``broker`` if it cannot be reached in that time.
    """

    def __init__(self, make: Callable[[], Transport], *, seconds: float = _SECONDS) -> None:
        self._make = make
        self._seconds = seconds
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mailbox", daemon=True)
        self._thread.start()
        self._transport: Transport | None = None
        self._open: dict[int, asyncio.Future[PublishOutcome]] = {}
        self._taken: list[Delivered] = []
        self._news = asyncio.Event()
        self._closed = asyncio.Event()
        self._links: set[Link] = set()
        self._problem = "no answer"
        self._token = 0
        try:
            self._run(self._start())
        except BaseException:
            self.close()
            raise

    def send(self, queue: str, body: bytes) -> None:
        """Put `body` into `queue`; durable when it returns.

        After an answer that was lost it is sent again, so it may be there twice. Raises Refused ``unroutable``, RemoteFault
        ``payload_too_large``, Unavailable ``broker``.
        """
        self._run(self._send(queue, body))

    def take(self, queue: str, count: int, *, seconds: float = 10.0) -> list[Delivered]:
        """At most `count` messages of `queue`, held until `ack` or `close`; fewer if no more come for `seconds`. Once per object."""
        return self._run(self._take(queue, count, seconds))

    def ack(self, receipt: Receipt) -> None:
        """The message is done."""
        assert self._transport is not None
        self._loop.call_soon_threadsafe(self._transport.ack, receipt)

    def close(self) -> None:
        """Give back what is held and let go. Idempotent."""
        if not self._thread.is_alive():
            return
        if self._transport is not None:
            self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    async def _start(self) -> None:
        self._transport = self._make()
        self._transport.open(self._hear)
        deadline = time.monotonic() + self._seconds
        while Link.PUBLISH not in self._links:
            if not await self._heard(deadline):
                raise self._away()

    async def _send(self, queue: str, body: bytes) -> None:
        assert self._transport is not None
        deadline = time.monotonic() + self._seconds
        while True:
            self._token += 1
            answer = self._open[self._token] = asyncio.get_running_loop().create_future()
            self._transport.publish(self._token, queue, body)
            try:
                async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                    outcome = await answer
            except TimeoutError:
                raise self._away() from None
            match outcome:
                case PublishOutcome.CONFIRMED:
                    return
                case PublishOutcome.RETURNED:
                    raise Refused("unroutable", f"Queue {queue} does not exist", "deploy that actor first, or name another by --to")
                case PublishOutcome.TOO_LARGE:
                    raise RemoteFault(
                        "payload_too_large", f"The envelope has {len(body)} bytes; the broker takes no such message", "raise its limit"
                    )
                case PublishOutcome.REFUSED | PublishOutcome.LOST:
                    self._problem = "it takes no messages for now"
            if time.monotonic() > deadline:
                raise self._away()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _take(self, queue: str, count: int, seconds: float) -> list[Delivered]:
        assert self._transport is not None
        self._transport.subscribe(queue, count)
        deadline = time.monotonic() + seconds
        while len(self._taken) < count:
            before = len(self._taken)
            if not await self._heard(deadline):
                break
            if len(self._taken) > before:
                deadline = time.monotonic() + seconds
        return list(self._taken)

    async def _stop(self) -> None:
        assert self._transport is not None
        await asyncio.sleep(0)  # acks that were asked for a moment ago
        self._transport.close()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._closed.wait()
        except TimeoutError:
            pass  # what is held comes back when the link dies with this process

    async def _heard(self, deadline: float) -> bool:
        """Whether an event came before `deadline`."""
        self._news.clear()
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    def _away(self) -> Unavailable:
        return Unavailable(
            "broker", f"Broker cannot be used: {self._problem}", "start it or wait for it, check --broker-url; then run this again"
        )

    def _hear(self, event: TransportEvent) -> None:
        match event:
            case Published():
                answer = self._open.pop(event.token, None)
                if answer is not None and not answer.done():
                    answer.set_result(event.outcome)
            case Delivered():
                self._taken.append(event)
            case ReceiptsLost():
                self._taken.clear()
            case Connected():
                self._links.add(event.link)
            case Disconnected():
                self._problem = event.reason
                self._links.discard(event.link)
            case Blocked():
                self._problem = "it takes no messages for now (memory or disk alarm)"
            case Closed():
                self._closed.set()
            case _:
                pass
        self._news.set()
