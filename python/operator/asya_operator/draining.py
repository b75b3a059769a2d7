"""A deleted actor goes on until nothing is on its way to it: looks, says so, and lets it go. Called by `reconcile`; the rule is in `drain`.

While the finalizer is there, `reconcile` keeps workload and scaler as for any other actor. It never stays for ever: after its time-out the
actor goes, whatever is left. Nothing is remembered but since when it has been quiet, so a new process begins that anew.
"""

import asyncio
import datetime
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from asya_core.ops.clock import Clock
from asya_core.ops.logs import Log
from asya_core.wire.errors import AsyaError
from asya_core.wire.names import queue_name
from asya_operator.conditions import Depth
from asya_operator.deletion import FINALIZER, finalizer_manifest
from asya_operator.desired.labels import MANAGER
from asya_operator.drain import Finding, Neighbour, Why, find, limit_seconds, stuck
from asya_operator.events import Events
from asya_operator.gather import Observed, World
from asya_operator.kube import Kube
from asya_operator.memory import Memory
from asya_operator.observed import Actor, cut_actor, seconds_of, unpacked
from asya_operator.queues import Queues
from asya_operator.reasons import Condition
from asya_operator.resources import ACTORS
from asya_operator.settings import OperatorSettings
from asya_operator.source import Sources

__all__ = ["LOOK_SECONDS", "Draining"]

SKIP: Final = "asya.sh/skip-drain"
LOOK_SECONDS: Final = {"rabbitmq": 5.0, "sqs": 15.0}
"""Between two looks at a namespace's queues: one call on RabbitMQ, one for each queue on SQS."""
LEAST_QUIET_SECONDS: Final = {"rabbitmq": 10.0, "sqs": 75.0}
"""Counts are late by so much: RabbitMQ's statistics by 5 s, SQS' by a minute."""
SAME_SECONDS: Final = 30.0
"""A sentence that differs only in names and numbers is not written anew before that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    at: float
    depths: Mapping[str, Depth | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """It may go. `reason`: of an event; empty: there was nothing to drain."""

    reason: str = ""
    message: str = ""


class Draining:
    """Lets deleted actors go when nothing is on its way to them.

    Args:
        kube: the API server.
        world: what is known of the cluster; takes what the API server answers.
        queues: brokers by transport.
        events: where beginning and end are told.
        clock: the process's.
        settings: of the operator.
        sources: copies of source files, which end with the drain.
        log: where the end is told.
    """

    def __init__(
        self,
        kube: Kube,
        world: World,
        *,
        queues: Mapping[str, Queues],
        events: Events,
        clock: Clock,
        settings: OperatorSettings,
        sources: Sources,
        log: Log,
    ) -> None:
        self._kube = kube
        self._world = world
        self._queues = queues
        self._events = events
        self._clock = clock
        self._settings = settings
        self._sources = sources
        self._log = log
        self._readings: dict[tuple[str, str], _Reading] = {}
        self._reading: dict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    def is_wanted(self, actor: Actor) -> bool:
        """Whether the actor shall drain once it is deleted."""
        return limit_seconds(unpacked(actor.body), self._settings.drain_seconds) > 0

    def look_again_seconds(self, actor: Actor) -> float:
        """When to look next."""
        return LOOK_SECONDS[self._transport(actor)]

    async def proceed(self, observed: Observed, memory: Memory, *, ended: bool) -> str | None:
        """One look. Gives the sentence for the status, or None once the finalizer is gone.

        Args:
            ended: the namespace is being deleted: what it has goes without asking.

        Raises ApiError and ApiUnavailable of the call that takes the finalizer away, Conflict if the actor is gone already.
        """
        judged = await self._judge(observed, memory, ended=ended)
        if isinstance(judged, str):
            return judged
        await self._release(observed.actor, judged)
        return None

    async def _judge(self, observed: Observed, memory: Memory, *, ended: bool) -> _End | str:
        actor = observed.actor
        if ended or self._has_nothing(observed):
            return _End()
        limit = limit_seconds(unpacked(actor.body), self._settings.drain_seconds)
        deleted = seconds_of(str(actor.deleted))
        age = self._clock.wall() - deleted
        if actor.skips_drain:
            return _End(reason="DrainGivenUp", message="Goes without draining, as the annotation asks")
        if limit <= 0:
            return _End()
        finding, at = await self._look(actor, age)
        why_stuck = stuck(actor, self._world.workload_of(actor.key)) if finding.why is Why.OWN else ""
        if why_stuck:
            return _End(reason="DrainGivenUp", message=f"Its queue holds messages and {why_stuck}; queue {observed.queue} has them")
        if finding.why is Why.QUIET:
            since = memory.quiet_since = at if memory.quiet_since is None else memory.quiet_since
            if at - since >= finding.quiet_seconds or age >= limit:
                return _End(reason="Drained", message="Nothing is on its way to it any more")
        else:
            memory.quiet_since = None
        if age >= limit:
            return _End(reason="DrainGivenUp", message=f"Goes after drainTimeout, {limit:g} s, though {finding.text}")
        self._tell_begin(actor, memory, finding)
        return self._sentence(actor, memory, finding, deleted + limit)

    # ------------------------------------------------------------------------------------------------------------------------- looking

    def _has_nothing(self, observed: Observed) -> bool:
        """Whether there is no queue of its own to work on, or nothing of its own to work with."""
        actor = observed.actor
        workload = self._world.workload_of(actor.key)
        return (
            observed.queue_owner is not None
            or self._transport(actor) not in self._queues
            or not (unpacked(actor.status).get("queue") or {}).get("name")
            or "orphan" in actor.finalizers
            or (workload is not None and workload.owner != actor.uid)
        )

    async def _look(self, actor: Actor, age: float) -> tuple[Finding, float]:
        transport = self._transport(actor)
        quiet = max(self._settings.drain_quiet_seconds, LEAST_QUIET_SECONDS[transport])
        others = self._world.others(actor.key)
        try:
            reading = await self._read(actor, others, transport)
        except AsyaError as error:
            text = f"its queue cannot be looked at: {getattr(error, 'message', error)}"
            return Finding(why=Why.UNKNOWN, text=text, quiet_seconds=quiet), self._clock.monotonic()
        finding = find(
            actor,
            [Neighbour(actor=other, workload=self._world.workload_of(other.key)) for other in others],
            reading.depths,
            self._queues[transport].delayed(actor.namespace),
            age_seconds=age,
            quiet_seconds=quiet,
            default_transport=self._settings.default_transport,
        )
        return finding, reading.at

    async def _read(self, actor: Actor, others: list[Actor], transport: str) -> _Reading:
        """The namespace's queues, read once for all of its actors that drain."""
        place = (actor.namespace, transport)
        async with self._reading[place]:
            reading = self._readings.get(place)
            if reading is not None and self._clock.monotonic() - reading.at < LOOK_SECONDS[transport] - 1.0:
                return reading
            queues = self._queues[transport]
            at = self._clock.monotonic()  # of before the call: what it tells is not older
            names = [queue_name(*each.key) for each in (actor, *others) if self._transport(each) == transport]
            depths = await queues.depths(actor.namespace, [*names, *queues.delayed(actor.namespace)])
            made = self._readings[place] = _Reading(at=at, depths=depths)
            return made

    def _transport(self, actor: Actor) -> str:
        return actor.transport or self._settings.default_transport

    # ------------------------------------------------------------------------------------------------------------------------- telling

    def _tell_begin(self, actor: Actor, memory: Memory, finding: Finding) -> None:
        ready = next((each for each in unpacked(actor.status).get("conditions") or [] if each["type"] == Condition.READY), None)
        if memory.draining is None and (ready is None or ready["reason"] != "Draining"):
            self._events.tell(actor, "Draining", f"Deleted, and goes on: {finding.text}")

    def _sentence(self, actor: Actor, memory: Memory, finding: Finding, deadline: float) -> str:
        now = self._clock.monotonic()
        said = memory.draining
        if said is None or said[0] != finding.why or now - said[1] >= SAME_SECONDS:
            until = datetime.datetime.fromtimestamp(int(deadline), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            text = f'Deleted, and goes on: {finding.text}. It ends by {until}, at once with the annotation {SKIP}: "true"'
            said = memory.draining = (finding.why, now, text)
            reading = self._readings.get((actor.namespace, self._transport(actor)))
            memory.depth = (reading.depths.get(queue_name(*actor.key)) if reading is not None else None) or memory.depth
        return said[2]

    async def _release(self, actor: Actor, end: _End) -> None:
        if end.reason:
            self._events.tell(actor, end.reason, end.message)
        reason = end.reason or "nothing to drain"
        self._log.info("actor drained", namespace=actor.namespace, actor=actor.name, reason=reason, message=end.message)
        await self._sources.drop(actor)
        left = (FINALIZER,) if FINALIZER in actor.finalizers else ()
        answer = await self._kube.apply(ACTORS, finalizer_manifest(actor, left), manager=MANAGER)
        if answer["metadata"].get("finalizers"):  # else it is gone, as the watch will tell
            self._world.actors.put(cut_actor(answer))
