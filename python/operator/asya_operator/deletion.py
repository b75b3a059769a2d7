"""The end of an actor whose queue goes with it: workload first, then, when its pods are gone, the queue, then the finalizer. Called by
`reconcile`.

An actor with `deletionPolicy: Retain` lacks this finalizer and is never seen here. One that drains (`draining`) does that first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from asya_core.ops.clock import Clock
from asya_core.wire.errors import Refused, Unavailable
from asya_operator.crd import GROUP, KIND, VERSION
from asya_operator.desired.labels import MANAGER
from asya_operator.events import Events
from asya_operator.gather import Observed, World
from asya_operator.kube import Conflict, Kube, NotFound
from asya_operator.memory import Memory
from asya_operator.observed import Actor, seconds_of, unpacked
from asya_operator.policies import Verdict
from asya_operator.queues import Queues
from asya_operator.resources import ACTORS, BY_KIND

__all__ = ["FINALIZER", "Deletion", "Ending", "finalizer_manifest"]

FINALIZER: Final = "asya.sh/queue"
NAMESPACE_SECONDS: Final = 300.0
"""In a namespace that is being deleted the queue is left after this long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How far it is: look `again_seconds` later, or `failed` and why; `verdict` is for the status."""

    again_seconds: float | None = None
    failed: str | None = None
    verdict: Verdict | None = None


class Deletion:
    """Ends actors.

    Args:
        kube: the API server.
        world: what is known of the cluster.
        queues: brokers by transport.
        events: where the queue's fate is told.
        clock: the process's.
        default_transport: of an actor that never named one.
    """

    def __init__(
        self, kube: Kube, world: World, *, queues: Mapping[str, Queues], events: Events, clock: Clock, default_transport: str
    ) -> None:
        self._kube = kube
        self._world = world
        self._queues = queues
        self._events = events
        self._clock = clock
        self._default_transport = default_transport

    async def proceed(self, observed: Observed, memory: Memory, *, ended: bool) -> Ending:
        """One step. `ended`: the namespace is being deleted, as a refused creation has told."""
        actor = observed.actor
        if FINALIZER not in actor.finalizers:
            return Ending()
        if actor.abandons_queue:
            return await self._release(actor, "QueueKept", f"Queue {observed.queue} was left behind, as the annotation asks")
        waits = await self._remove_children(observed)
        if waits:
            return Ending(again_seconds=2.0)
        age = self._clock.wall() - seconds_of(str(actor.deleted))
        if ended and age > NAMESPACE_SECONDS:
            return await self._release(actor, "QueueKept", f"Queue {observed.queue} was left behind, as its namespace is being deleted")
        if observed.queue_owner is not None:
            return await self._release(actor, "QueueKept", f"Queue {observed.queue} belongs to AsyncActor {observed.queue_owner}")
        return await self._end_queue(observed, memory)

    async def _end_queue(self, observed: Observed, memory: Memory) -> Ending:
        actor = observed.actor
        transport = actor.transport or self._default_transport
        queues = self._queues.get(transport)
        if queues is None:
            return self._kept(observed, memory, f"Queue {observed.queue} cannot be deleted: transport {transport} is not enabled")
        try:
            owner = f"{actor.namespace}/{actor.name}"
            if _policy(actor) == "Delete":
                await queues.delete(observed.queue, owner=owner)
            elif not await queues.delete_if_empty(observed.queue, owner=owner):
                return self._kept(observed, memory, f"Queue {observed.queue} is not empty, so the deleted actor waits for it")
        except (Unavailable, Refused) as error:
            if isinstance(error, Unavailable) and error.code == "queue_settling":
                return Ending(again_seconds=error.retry_after_seconds)
            if error.code == "name_collision":
                return await self._release(actor, "QueueKept", error.message)
            return self._kept(observed, memory, f"Queue {observed.queue} cannot be deleted: {error.message}")
        return await self._release(actor, "QueueDeleted", f"Queue {observed.queue} on {transport}")

    def _kept(self, observed: Observed, memory: Memory, message: str) -> Ending:
        if not memory.keeps_queue:
            memory.keeps_queue = True
            self._events.tell(observed.actor, "QueueKept", message)
        return Ending(failed=message, verdict=Verdict(reason="QueueKept", message=message))

    async def _remove_children(self, observed: Observed) -> bool:
        """Delete the workload and KEDA's objects; True while some of it, or pods, are there."""
        live = [child for child in observed.live.values() if child.owner == observed.actor.uid]
        # KEDA's objects first, so that nothing wakes the workload again.
        for child in sorted(live, key=lambda each: each.kind in ("Deployment", "StatefulSet")):
            if not child.is_deleted:
                try:
                    await self._kube.delete(BY_KIND[child.kind], child.namespace, child.name, uid=child.uid)
                except Conflict:
                    continue  # another one of that name by now
        return bool(observed.pods) or any(child.kind in ("Deployment", "StatefulSet") for child in live)

    async def _release(self, actor: Actor, reason: str, message: str) -> Ending:
        self._events.tell(actor, reason, message)
        try:
            await self._kube.apply(ACTORS, finalizer_manifest(actor, ()), manager=MANAGER)
        except (NotFound, Conflict):
            pass  # it is gone
        return Ending()


def finalizer_manifest(actor: Actor, wanted: Sequence[str]) -> dict[str, Any]:
    """What to apply so that the AsyncActor has these finalizers of ours and no others of ours."""
    # With the uid the API server refuses to make a deleted AsyncActor anew.
    meta: dict[str, Any] = {"name": actor.name, "namespace": actor.namespace, "uid": actor.uid}
    if wanted:
        meta["finalizers"] = list(wanted)
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": meta}


def _policy(actor: Actor) -> str:
    return str((unpacked(actor.body).get("queue") or {}).get("deletionPolicy", "Retain"))
