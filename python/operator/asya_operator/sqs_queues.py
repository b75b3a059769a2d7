"""SQS's side of an actor, by `SqsAdmin`. Called by `reconcile` and `depths` as one of `queues.Queues`.

A namespace's dead-letter queue and error-end's queue come first: SQS takes no redrive policy that names a queue which is not there. Queues
are corrected in place, and a queue that bears another owner's tag is left alone. One that seems empty is deleted only after it has seemed
so for a minute, as SQS tells counts late.
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Mapping

from asya_core.transports.base import Depth as Counted
from asya_core.transports.sqs import SqsAdmin, SqsSettings
from asya_core.transports.sqs.admin import COUNTS_LAG_SECONDS
from asya_core.transports.sqs.attributes import SqsQueue, actor_queue, dead_letter_queue
from asya_core.wire.errors import Refused, Unavailable
from asya_core.wire.names import ERROR_END
from asya_operator.broker_calls import CALL_SECONDS, THREADS, BrokerCalls
from asya_operator.conditions import Depth
from asya_operator.queues import Ensured

__all__ = ["SqsQueues"]

_NOTHING = Counted(0, 0)
_SHARED_SECONDS = 60.0
_LOOK_SECONDS = 0.5
"""The most that one look at a queue's counts may take on average, where there are many."""


class SqsQueues:
    """See `asya_operator.queues.Queues`.

    Args:
        settings: where and as whom; its namespace does not matter.
        tags: of every queue.
        observe: called after each call with its name and outcome (ok, corrected, collision, unavailable, refused).
        counts_lag_seconds: for how long a queue must seem empty before it is deleted.
        threads: that call at the same time, each with an administration of its own.
    """

    def __init__(
        self,
        settings: SqsSettings,
        *,
        tags: Mapping[str, str] | None = None,
        observe: Callable[[str, str], None] = lambda *_: None,
        counts_lag_seconds: float = COUNTS_LAG_SECONDS,
        threads: int = THREADS,
    ) -> None:
        self._calls = BrokerCalls(where=settings.where, connect=lambda: SqsAdmin(settings, tags=tags), observe=observe, threads=threads)
        self._lag = counts_lag_seconds
        self._shared: dict[str, float] = {}
        self._sharing = threading.Lock()
        self._empty_since: dict[str, float] = {}

    @property
    def where(self) -> str:
        """See `Queues.where`."""
        return self._calls.where

    async def close(self) -> None:
        """Let go of threads and connections."""
        await self._calls.close()

    def delayed(self, namespace: str) -> tuple[str, ...]:
        """See `Queues.delayed`: such a message is hidden in the queue it came from, and counts as in flight there."""
        return ()

    async def ensure(self, namespace: str, actor: str, queue_type: str | None, *, max_attempts: int = 1, renew: bool = False) -> Ensured:
        """See `Queues.ensure`. The type is RabbitMQ's and does not matter.

        A resync renews every actor of a namespace: what they share is looked at once in a minute, not once for each.
        """
        queue = actor_queue(namespace, actor, max_attempts=max_attempts)

        def work(admin: SqsAdmin) -> Ensured:
            is_fresh = self._ensure_shared(admin, namespace, within=_SHARED_SECONDS if renew else math.inf)
            try:
                made = admin.ensure_queue(queue)
            except Refused:
                if is_fresh:
                    raise
                # Somebody may have deleted the queue of its dead letters: without it none is made that names it.
                self._ensure_shared(admin, namespace, within=0.0)
                made = admin.ensure_queue(queue)
            return Ensured(
                depth=Depth(waiting=made.depth.ready, in_flight=made.depth.unsettled),
                changed=made.changed,
                owner=made.owner,
                address=made.url,
            )

        return await self._calls.run("ensure", work, outcome=_outcome)

    def _ensure_shared(self, admin: SqsAdmin, namespace: str, *, within: float) -> bool:
        """Make what the namespace shares, unless that was done `within` seconds; whether it was done now."""
        with self._sharing:  # one thread makes what all need; the others would run into "not there yet"
            if time.monotonic() - self._shared.get(namespace, -math.inf) < within:
                return False
            for shared in (dead_letter_queue(namespace), actor_queue(namespace, ERROR_END)):
                _ensure_shared(admin, shared)
            self._shared[namespace] = time.monotonic()
            return True

    async def depths(self, namespace: str, queues: list[str]) -> dict[str, Depth | None]:
        """See `Queues.depths`. One call per queue, shared out to the threads."""

        def work(admin: SqsAdmin, names: list[str]) -> dict[str, Depth | None]:
            found: dict[str, Depth | None] = {}
            for name in names:
                try:
                    depth = admin.depth(name)
                except Refused as error:
                    if error.code != "no_such_queue":
                        raise
                    continue
                found[name] = Depth(waiting=depth.ready, in_flight=depth.unsettled)
            return found

        shares = [share for start in range(THREADS) if (share := queues[start::THREADS])]
        limit = max(CALL_SECONDS, len(queues) * _LOOK_SECONDS)
        parts = await asyncio.gather(
            *(self._calls.run("depth", lambda admin, names=share: work(admin, names), limit=limit) for share in shares)  # type: ignore[misc]
        )
        return {name: depth for part in parts for name, depth in part.items()}

    async def delete_if_empty(self, queue: str, *, owner: str) -> bool:
        """See `Queues.delete_if_empty`. Raises Unavailable ``queue_settling`` until the queue has seemed empty for long enough."""

        def work(admin: SqsAdmin) -> bool:
            try:
                _check_owner(admin, queue, owner)
                depth = admin.depth(queue)
            except Refused as error:
                if error.code == "no_such_queue":
                    self._empty_since.pop(queue, None)
                    return True
                raise
            if depth != _NOTHING:
                self._empty_since.pop(queue, None)
                return False
            remaining = self._empty_since.setdefault(queue, time.monotonic()) + self._lag - time.monotonic()
            if remaining > 0:
                raise Unavailable(
                    "queue_settling",
                    f"Queue {queue} seems empty; SQS tells counts late, so it is looked at again before it is deleted",
                    retry_after_seconds=min(remaining, self._lag / 4),
                )
            admin.delete(queue)
            self._empty_since.pop(queue, None)
            return True

        return await self._calls.run("delete_if_empty", work)

    async def delete(self, queue: str, *, owner: str) -> None:
        """See `Queues.delete`."""

        def work(admin: SqsAdmin) -> None:
            try:
                _check_owner(admin, queue, owner)
            except Refused as error:
                if error.code == "no_such_queue":
                    return
                raise
            admin.delete(queue)

        await self._calls.run("delete", work)


def _check_owner(admin: SqsAdmin, queue: str, owner: str) -> None:
    found = admin.owner(queue)
    if found is not None and found != owner:
        raise Refused("name_collision", f"Queue {queue} belongs to AsyncActor {found}")


def _ensure_shared(admin: SqsAdmin, queue: SqsQueue) -> None:
    made = admin.ensure_queue(queue)
    if made.owner is not None:
        raise Refused(
            "name_collision",
            f"Queue {queue.name} belongs to {made.owner}, and this namespace needs it",
            "rename the namespace, or use another account",
        )


def _outcome(found: Ensured) -> str:
    if found.owner is not None:
        return "collision"
    return "corrected" if found.changed else "ok"
