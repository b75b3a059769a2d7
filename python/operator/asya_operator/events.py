"""Kubernetes events about AsyncActors: told on transitions, equal ones counted up, sent beside the work. Called by `reconcile`.

Events are hints for people. They never delay or fail a reconcile: at most 10 a second are sent, and what does not fit is dropped and
counted.
"""

import asyncio
import datetime
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from asya_core.ops.logs import Log
from asya_core.wire.errors import AsyaError
from asya_operator.desired.labels import MANAGER, digest
from asya_operator.kube import Conflict, Kube, NotFound
from asya_operator.observed import Actor
from asya_operator.resources import EVENTS

__all__ = ["Events"]

MAX_WAITING: Final = 2_000
PER_SECOND: Final = 10
REMEMBERED: Final = 5_000
WARNINGS: Final = frozenset(
    {"NotReady", "MixedTransports", "CrewMissing", "QueueKept", "DrainGivenUp", "Drift", "QueueRestored", "ConsumerTimeoutUnknown"}
)


class Events:
    """Sends events.

    Args:
        kube: the API server.
        instance: name of this pod.
        wall: seconds since 1970.
        log: where to tell of those that could not be sent.
        on_namespace_end: called with a namespace that takes no new objects since it is being deleted.
        per_second: the most that are sent.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        instance: str,
        wall: Callable[[], float],
        log: Log,
        on_namespace_end: Callable[[str], None] = lambda _: None,
        per_second: float = PER_SECOND,
    ) -> None:
        self._kube = kube
        self._instance = instance
        self._wall = wall
        self._log = log
        self._on_namespace_end = on_namespace_end
        self._pause_seconds = 1 / per_second
        self._waiting: asyncio.Queue[tuple[Actor, str, str]] = asyncio.Queue(MAX_WAITING)
        self._counts: OrderedDict[str, int] = OrderedDict()

    def tell(self, actor: Actor, reason: str, message: str) -> None:
        """Say about `actor` that `reason` happened; returns at once."""
        try:
            self._waiting.put_nowait((actor, reason, message[:1000]))
        except asyncio.QueueFull:
            self._log.debug("event dropped", actor=actor.name, namespace=actor.namespace, reason=reason)

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            actor, reason, message = await self._waiting.get()
            try:
                await self._send(actor, reason, message)
            except AsyaError as error:
                if getattr(error, "namespace_ends", False):
                    self._on_namespace_end(actor.namespace)
                self._log.debug("event not sent", actor=actor.name, namespace=actor.namespace, reason=reason, error=str(error))
            finally:
                self._waiting.task_done()
            await asyncio.sleep(self._pause_seconds)

    async def flushed(self) -> None:
        """Return when all that was told has been tried."""
        await self._waiting.join()

    async def _send(self, actor: Actor, reason: str, message: str) -> None:
        name = f"{actor.name}.{digest([actor.uid, reason, message])}"
        now = datetime.datetime.fromtimestamp(int(self._wall()), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        count = self._counts.get(name, 0)
        if count == 0:
            try:
                await self._kube.create(EVENTS, self._event(actor, name, reason, message, now))
                self._remember(name, 1)
                return
            except Conflict:
                count = 1  # told by an earlier process; its count is not known, and one too few does not matter
        try:
            await self._kube.merge(EVENTS, actor.namespace, name, {"count": count + 1, "lastTimestamp": now})
            self._remember(name, count + 1)
        except NotFound:  # the API server keeps events for an hour
            self._counts.pop(name, None)
            await self._kube.create(EVENTS, self._event(actor, name, reason, message, now))
            self._remember(name, 1)

    def _event(self, actor: Actor, name: str, reason: str, message: str, now: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": actor.namespace},
            "involvedObject": {
                "apiVersion": "asya.sh/v1alpha1",
                "kind": "AsyncActor",
                "namespace": actor.namespace,
                "name": actor.name,
                "uid": actor.uid,
            },
            "reason": reason,
            "message": message,
            "type": "Warning" if reason in WARNINGS else "Normal",
            "source": {"component": MANAGER},
            "reportingComponent": MANAGER,
            "reportingInstance": self._instance,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }

    def _remember(self, name: str, count: int) -> None:
        self._counts[name] = count
        self._counts.move_to_end(name)
        while len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)
