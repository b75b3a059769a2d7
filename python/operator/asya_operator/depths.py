"""Looks at all queues every half minute and wakes the actors whose status is out of date. Run by `app`; decides nothing.

One call per namespace and transport. A queue that is missing is declared again at once: whoever deleted it, senders and consumers wait
for it. A broker that does not answer is looked at anew by each actor, whose status then says so; one that answers again wakes them.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping

from asya_core.ops.logs import Log
from asya_core.wire.errors import AsyaError, Unavailable
from asya_core.wire.names import queue_name
from asya_operator.conditions import Depth, rounded_depth
from asya_operator.events import Events
from asya_operator.gather import World
from asya_operator.observed import Actor, unpacked
from asya_operator.queues import Queues
from asya_operator.reconcile import Reconciler

__all__ = ["DepthPoll"]

Key = tuple[str, str]


class DepthPoll:
    """The poll.

    Args:
        world: which actors there are.
        queues: brokers by transport.
        reconciler: whose memories take the numbers.
        events: where a restored queue is told.
        wake: called with the key of an actor whose status is out of date, or, urgent, whose queue is missing.
        default_transport: of actors that name none.
        log: where failures are told.
    """

    def __init__(
        self,
        world: World,
        queues: Mapping[str, Queues],
        *,
        reconciler: Reconciler,
        events: Events,
        wake: Callable[[Key, bool], None],
        default_transport: str,
        log: Log,
    ) -> None:
        self._world = world
        self._queues = queues
        self._reconciler = reconciler
        self._events = events
        self._wake = wake
        self._default_transport = default_transport
        self._log = log

    async def run(self, interval_seconds: float) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(interval_seconds)
            await self.look()

    async def look(self) -> None:
        """Look once at all queues that were declared."""
        groups: dict[tuple[str, str], list[Actor]] = defaultdict(list)
        for actor in self._world.actors:
            memory = self._reconciler.memories.get(actor.key)
            if memory is not None and memory.queue is not None and actor.deleted is None:
                groups[actor.namespace, actor.transport or self._default_transport].append(actor)
        for (namespace, transport), actors in groups.items():
            queues = self._queues.get(transport)
            if queues is None:
                continue
            try:
                found = await queues.depths(namespace, [queue_name(*actor.key) for actor in actors])
            except AsyaError as error:
                # An unknown number is no number: the status keeps the last one, QueueReady is for `ensure` to say.
                self._log.warning("queues not read", namespace=namespace, transport=transport, error=error.message)
                if isinstance(error, Unavailable):
                    self._ask_again(actors)
                continue
            for actor in actors:
                name = queue_name(*actor.key)
                if self._lacks_queue(actor):
                    self._wake(actor.key, True)
                elif name in found:
                    self._take(actor, found[name])
                else:
                    self._restore(actor, name)

    def _ask_again(self, actors: list[Actor]) -> None:
        """Let those reach for the broker whose status still says that all is well; the others do already, with growing delay."""
        for actor in actors:
            if not self._lacks_queue(actor):
                self._reconciler.renew(actor.key)
                self._wake(actor.key, False)

    def _lacks_queue(self, actor: Actor) -> bool:
        """Whether the last declaration of its queue failed, or is still to come."""
        memory = self._reconciler.memories.get(actor.key)
        return memory is not None and memory.ensured is None

    def _take(self, actor: Actor, depth: Depth | None) -> None:
        memory = self._reconciler.memories.get(actor.key)
        if memory is None or depth is None:
            return
        memory.depth = depth
        shown = unpacked(actor.status).get("queue") or {}
        is_new = shown.get("waiting") != rounded_depth(depth.waiting) or (
            depth.in_flight is not None and shown.get("inFlight") != rounded_depth(depth.in_flight)
        )
        if is_new:
            self._wake(actor.key, False)

    def _restore(self, actor: Actor, name: str) -> None:
        self._events.tell(actor, "QueueRestored", f"Queue {name} was missing; declared again")
        self._reconciler.renew(actor.key)
        self._wake(actor.key, True)
