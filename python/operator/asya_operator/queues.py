"""The brokers' side of an actor: declares, reads and deletes queues in threads, with limits. Called by `reconcile` and `depths`.

It knows queue names and outcomes, not resources. A broker that cannot be reached is left alone for some seconds, so that a thousand
actors do not each wait for the same time-out.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from asya_core.transports.base import Mismatch, QueueSpec
from asya_core.transports.rabbitmq import RabbitAdmin, topology
from asya_core.transports.rabbitmq.settings import QueueType, RabbitSettings
from asya_core.wire.errors import AsyaError, Refused, Unavailable
from asya_core.wire.names import dead_letter_queue_name
from asya_operator.conditions import Depth

__all__ = ["Ensured", "Queues", "RabbitQueues"]

T = TypeVar("T")
CALL_SECONDS: Final = 10.0
THREADS: Final = 4
LEAVE_ALONE_SECONDS: Final = 2.0
CONSUMER_TIMEOUT_SINCE: Final = (3, 11, 15)
"""RabbitMQ's version from which on a consumer may bring a time-out of its own (docs/reference/rabbitmq.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensured:
    """A queue that is there. `depth` is what it holds now, `in_flight` only if that is certain (nobody consumes).

    `knows_consumer_timeout`: whether the broker lets a consumer say how long it may work on a message.
    """

    depth: Depth | None
    mismatch: str = ""
    knows_consumer_timeout: bool = True


class Queues(Protocol):
    """One transport's queues. All methods raise Unavailable (try again) and Refused (a person must act), and may be called at any time."""

    @property
    def where(self) -> str:
        """Address for sentences."""
        ...

    async def close(self) -> None:
        """Let go of threads and connections."""
        ...

    async def ensure(self, namespace: str, actor: str, queue_type: str | None, *, renew: bool = False) -> Ensured:
        """Declare what the namespace shares (once, or again with `renew`) and the actor's queue. Another queue of that name is left."""
        ...

    async def depths(self, namespace: str, queues: list[str]) -> dict[str, Depth | None]:
        """What these queues hold; a queue that is missing is not in the result, None where the broker has no numbers yet."""
        ...

    async def delete_if_empty(self, queue: str) -> bool:
        """True if the queue is gone afterwards."""
        ...

    async def delete(self, queue: str) -> None:
        """Delete it with what is in it."""
        ...


class RabbitQueues:
    """RabbitMQ's, through `RabbitAdmin`: one per thread, each with a connection that is kept.

    Args:
        settings: where and as whom; `queue_type` is the default, `namespace` does not matter.
        observe: called after each call with its name and outcome (ok, mismatch, unavailable, refused).
    """

    def __init__(self, settings: RabbitSettings, observe: Callable[[str, str], None] = lambda *_: None) -> None:
        self._settings = settings
        self._observe = observe
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="broker")
        self._local = threading.local()
        self._admins: list[RabbitAdmin] = []
        self._shared: set[str] = set()
        self._left_alone_until = 0.0
        self._last_error: Unavailable | None = None

    @property
    def where(self) -> str:
        """See `Queues.where`."""
        return f"{self._settings.host}:{self._settings.port}"

    async def close(self) -> None:
        """Let go of threads and connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for admin in self._admins:
            admin.close()

    async def ensure(self, namespace: str, actor: str, queue_type: str | None, *, renew: bool = False) -> Ensured:
        """See `Queues.ensure`."""
        kind = QueueType(queue_type) if queue_type else self._settings.queue_type
        spec = topology.actor_spec(namespace, actor)
        if renew:
            self._shared.discard(namespace)

        def work(admin: RabbitAdmin) -> Ensured:
            if namespace not in self._shared:
                letters = topology.actor_queue(QueueSpec(dead_letter_queue_name(namespace)), self._settings.queue_type)
                admin.ensure_topology(topology.delays(namespace))
                admin.ensure_topology(topology.Topology(queues=(letters,)))
                self._shared.add(namespace)
            mismatch = ""
            try:
                admin.ensure_topology(topology.Topology(queues=(topology.actor_queue(spec, kind),)))
            except Mismatch as error:
                mismatch = error.detail
            ready, consumers = admin.glance(spec.name)
            return Ensured(
                depth=Depth(waiting=ready, in_flight=None if consumers else 0),
                mismatch=mismatch,
                knows_consumer_timeout=_version(admin.server_version()) >= CONSUMER_TIMEOUT_SINCE,
            )

        return await self._run("ensure", work)

    async def depths(self, namespace: str, queues: list[str]) -> dict[str, Depth | None]:
        """See `Queues.depths`. Without a management API: ready messages only, one call per queue."""

        def by_management(admin: RabbitAdmin) -> dict[str, Depth | None]:
            found = admin.depths(namespace)
            wanted = set(queues)
            return {
                name: None if depth is None else Depth(waiting=depth.ready, in_flight=depth.unsettled)
                for name, depth in found.items()
                if name in wanted
            }

        def by_declare(admin: RabbitAdmin) -> dict[str, Depth | None]:
            made: dict[str, Depth | None] = {}
            for name in queues:
                try:
                    ready, consumers = admin.glance(name)
                except Refused as error:
                    if error.code != "no_such_queue":
                        raise
                    continue
                made[name] = Depth(waiting=ready, in_flight=None if consumers else 0)
            return made

        return await self._run("depth", by_management if self._settings.management_url else by_declare)

    async def delete_if_empty(self, queue: str) -> bool:
        """See `Queues.delete_if_empty`."""
        return await self._run(
            "delete_if_empty", lambda admin: admin.delete_if_empty(queue), limit=CALL_SECONDS + 2 * self._settings.statistics_seconds
        )

    async def delete(self, queue: str) -> None:
        """See `Queues.delete`."""
        await self._run("delete", lambda admin: admin.delete(queue))

    async def _run(self, name: str, work: Callable[[RabbitAdmin], T], limit: float = CALL_SECONDS) -> T:
        if self._last_error is not None and time.monotonic() < self._left_alone_until:
            raise self._last_error
        loop = asyncio.get_running_loop()
        try:
            result: T = await asyncio.wait_for(loop.run_in_executor(self._pool, self._in_thread, work), limit)
        except TimeoutError:
            self._observe(name, "unavailable")
            error = Unavailable("broker_silent", f"Broker {self.where} did not answer within {limit:g} s", "check that it runs")
            self._leave_alone(error)
            raise error from None
        except Unavailable as error:
            self._observe(name, "unavailable")
            if error.code != "statistics_missing":
                self._leave_alone(error)
            raise
        except AsyaError:
            self._observe(name, "refused")
            raise
        self._last_error = None
        self._observe(name, "mismatch" if isinstance(result, Ensured) and result.mismatch else "ok")
        return result

    def _leave_alone(self, error: Unavailable) -> None:
        self._last_error = error
        self._left_alone_until = time.monotonic() + LEAVE_ALONE_SECONDS

    def _in_thread(self, work: Callable[[RabbitAdmin], Any]) -> Any:
        admin: RabbitAdmin | None = getattr(self._local, "admin", None)
        if admin is None:
            admin = self._local.admin = RabbitAdmin(self._settings)
            self._admins.append(admin)
        try:
            return work(admin)
        except Mismatch as error:
            # Of what the namespace shares: the actor's own queue is told apart in `ensure`.
            raise Refused("queue_mismatch", f"{error.queue}: {error.detail}", "delete it at the broker when it is empty") from error


def _version(text: str) -> tuple[int, ...]:
    """Numbers of a version such as ``3.10.8`` or ``4.0.5-rc.1``; an unknown one counts as new."""
    numbers = text.partition("-")[0].split(".")
    return tuple(int(each) for each in numbers) if all(each.isdigit() for each in numbers) else CONSUMER_TIMEOUT_SINCE
