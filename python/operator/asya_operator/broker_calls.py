"""Blocking calls of a broker's administration, in a few threads, each within a limit. Called by the implementations of `queues.Queues`.

A broker that cannot be reached is left alone for some seconds, so that a thousand actors do not each wait for the same time-out. Knows
neither brokers nor actors.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Generic, Protocol, TypeVar

from asya_core.wire.errors import AsyaError, Refused, RemoteFault, Unavailable

__all__ = ["CALL_SECONDS", "THREADS", "BrokerCalls", "Closable"]

CALL_SECONDS: Final = 10.0
THREADS: Final = 4
LEAVE_ALONE_SECONDS: Final = 2.0
OF_ONE_QUEUE: Final = frozenset({"statistics_missing", "queue_deleted_recently", "queue_settling"})
"""Codes of Unavailable that say nothing about the broker: one queue alone has to wait."""
T = TypeVar("T")


class Closable(Protocol):
    """What a thread keeps between calls."""

    def close(self) -> None:
        """Let go of connections."""
        ...


A = TypeVar("A", bound=Closable)


class BrokerCalls(Generic[A]):
    """Runs calls; each thread keeps one administration.

    Args:
        where: address for sentences.
        connect: makes an administration; must not block.
        observe: called after each call with its name and outcome (ok, unavailable, refused, or what `run` is told).
        threads: at most.
    """

    def __init__(self, *, where: str, connect: Callable[[], A], observe: Callable[[str, str], None], threads: int = THREADS) -> None:
        self.where = where
        self._connect = connect
        self._observe = observe
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="broker")
        self._local = threading.local()
        self._admins: list[A] = []
        self._left_alone_until = 0.0
        self._last_error: Unavailable | None = None

    async def close(self) -> None:
        """Let go of threads and connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for admin in self._admins:
            admin.close()

    async def run(
        self, name: str, work: Callable[[A], T], *, limit: float = CALL_SECONDS, outcome: Callable[[T], str] = lambda result: "ok"
    ) -> T:
        """What `work` gives. Raises Unavailable, also if it takes longer than `limit` seconds, and Refused."""
        if self._last_error is not None and time.monotonic() < self._left_alone_until:
            raise self._last_error
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limit):
                result: T = await loop.run_in_executor(self._pool, self._in_thread, work)
        except TimeoutError:
            self._observe(name, "unavailable")
            error = Unavailable("broker_silent", f"Broker {self.where} did not answer within {limit:g} s", "check that it runs")
            self._leave_alone(error)
            raise error from None
        except Unavailable as error:
            self._observe(name, "unavailable")
            if error.code not in OF_ONE_QUEUE:
                self._leave_alone(error)
            raise
        except AsyaError:
            self._observe(name, "refused")
            raise
        self._last_error = None
        self._observe(name, outcome(result))
        return result

    def _leave_alone(self, error: Unavailable) -> None:
        self._last_error = error
        self._left_alone_until = time.monotonic() + LEAVE_ALONE_SECONDS

    def _in_thread(self, work: Callable[[A], T]) -> T:
        admin: A | None = getattr(self._local, "admin", None)
        if admin is None:
            admin = self._local.admin = self._connect()
            self._admins.append(admin)
        try:
            return work(admin)
        except RemoteFault as fault:  # settings of ours that no library can work with: for a person, as what a broker refuses
            raise Refused(fault.code, fault.message, fault.hint) from fault
