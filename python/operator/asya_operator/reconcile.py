"""One actor, from what is to what should be: gather → queue → desired → plan → apply → status. Called by `app`'s workers for each key.

Level-triggered: whatever woke it, it looks at the whole actor and writes what differs. Each step is an apply or an ensure, the status
comes last, and no state outside cluster and broker matters, so it may be killed after any call.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from asya_core.ops.clock import Clock
from asya_core.ops.logs import Log
from asya_core.transports.sqs.settings import MAX_NAME_LENGTH
from asya_core.wire.errors import AsyaError, Refused, Unavailable
from asya_operator.apply import Children, Refusals
from asya_operator.conditions import Status, invalid_status, make_status
from asya_operator.crd import GROUP, KIND, VERSION
from asya_operator.deletion import FINALIZER, Deletion, finalizer_manifest
from asya_operator.desired import Desired, desired_children
from asya_operator.desired.labels import MANAGER, runtime_name
from asya_operator.drain import DRAIN
from asya_operator.draining import Draining
from asya_operator.events import Events
from asya_operator.gather import Observed, World, gather
from asya_operator.kube import Kube, NotFound
from asya_operator.memory import Memory, Newcomers
from asya_operator.observed import Actor, cut_actor, unpacked
from asya_operator.plan import plan
from asya_operator.policies import Facts, Verdict
from asya_operator.queues import Queues
from asya_operator.reasons import BY_NAME, Condition
from asya_operator.resources import ACTORS
from asya_operator.rollout import Rollout
from asya_operator.settings import OperatorSettings
from asya_operator.source import Sources
from asya_operator.spec import ActorSpec, InvalidSpec, RefusedTemplate, read_spec, refuse_template

__all__ = ["Reconciler", "Result"]

Key = tuple[str, str]
Json = dict[str, Any]
SETTLE_SECONDS: Final = 1.5
"""How long the first status waits for what controllers make of new children, so that it is written once and not three times."""
FIRST_SECONDS: Final = 60.0
"""How long the first status waits for KEDA's first report, if that is all it lacks: until then nobody could make more of it."""
FIRST_SECONDS_EACH: Final = 0.5
"""How much longer where many are new at once: KEDA took 100 s to see 300 (measured on two cores)."""
TURN_SECONDS: Final = 5.0
SQS_TIMEOUT_SECONDS: Final = 11 * 3600.0
"""A message of SQS may be with one receiver for 12 h; the rest is for what comes before and after the call."""
NOT_NOW: Final = ("BrokerUnreachable", "QueueRefused", "QueueDeletedRecently")
"""Reasons of QueueReady under which workloads that are there are still updated, and the queue is tried again."""
FOREGROUND: Final = "foregroundDeletion"
"""The garbage collector's finalizer: what belongs to the actor is being deleted, and would be again at once if it were made anew."""
TROUBLED_SECONDS: Final = 30.0
"""When to look again at a deleted actor of which something could not be written."""
BROKERS_CONSUMER_SECONDS: Final = 25 * 60.0
"""RabbitMQ ends a consumer that has not settled a message for 30 min, unless the consumer brings a time-out of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a reconcile came to.

    Attributes:
        again_seconds: look again then.
        failed: look again with growing delay instead, for this reason.
        waits_for_keda: the first status is held back until KEDA's first report.
    """

    again_seconds: float | None = None
    failed: str | None = None
    waits_for_keda: bool = False


class Reconciler:
    """Reconciles actors, several at a time, never one key twice at a time.

    Args:
        kube: the API server.
        world: what is known of the cluster.
        settings: of the operator.
        queues: brokers by transport.
        events: where transitions are told.
        clock: the process's.
        log: one INFO line per reconcile that wrote something.
        runtime: the runtime's file.
    """

    def __init__(
        self,
        *,
        kube: Kube,
        world: World,
        settings: OperatorSettings,
        queues: Mapping[str, Queues],
        events: Events,
        clock: Clock,
        log: Log,
        runtime: bytes,
    ) -> None:
        self._kube = kube
        self._world = world
        self._settings = settings
        self._queues = queues
        self._events = events
        self._clock = clock
        self._log = log
        self._runtime_name = runtime_name(runtime)
        self.memories: dict[Key, Memory] = {}
        self._newcomers = Newcomers(FIRST_SECONDS, FIRST_SECONDS_EACH)
        self.ended_namespaces: set[str] = set()
        rollout = Rollout(settings.rollout_max_concurrent, clock=clock.monotonic, has_settled=self._has_settled)
        self._children = Children(kube, world, events=events, clock=clock, rollout=rollout, runtime=runtime)
        self._deletion = Deletion(kube, world, queues=queues, events=events, clock=clock, default_transport=settings.default_transport)
        self._sources = Sources(kube, log)
        self._draining = Draining(kube, world, queues=queues, events=events, clock=clock, settings=settings, sources=self._sources, log=log)
        self._crew_told: dict[str, float] = {}

    async def reconcile(self, key: Key) -> Result:
        """Bring one actor where it should be. Raises Unavailable and ApiError of calls that failed: try again later."""
        result = await self._reconcile(key)
        if not result.waits_for_keda:
            self._newcomers.has_come(key)
        return result

    async def _reconcile(self, key: Key) -> Result:
        actor = self._world.actors.get(key)
        if actor is None:
            self.memories.pop(key, None)
            await self._children.collect_runtimes(key[0], self._runtime_name)
            return Result()
        memory = self.memories.get(key)
        if memory is None or memory.uid != actor.uid:
            memory = self.memories[key] = Memory(uid=actor.uid)
        observed = gather(self._world, actor)
        if actor.deleted is not None:
            if DRAIN in actor.finalizers:
                sentence = await self._draining.proceed(observed, memory, ended=key[0] in self.ended_namespaces)
                if sentence is not None:
                    return await self._go_on(observed, memory, sentence)
                actor = self._world.actors.get(key) or actor
                observed = gather(self._world, actor)
            outcome = await self._deletion.proceed(observed, memory, ended=key[0] in self.ended_namespaces)
            if outcome.verdict is not None:
                await self._write_queue_verdict(actor, outcome.verdict)
            return Result(again_seconds=outcome.again_seconds, failed=outcome.failed)
        try:
            spec = read_spec(actor.namespace, actor.name, actor.labels, unpacked(actor.body))
        except (InvalidSpec, AsyaError) as error:
            return await self._invalid(actor, str(error))
        return await self._act(observed, spec, memory)

    def forget_runtime(self, namespace: str) -> None:
        """Look for the namespace's ConfigMap again: at a resync."""
        self._children.forget_runtime(namespace)

    def renew(self, key: Key) -> None:
        """Declare the queue again at the next reconcile: at a resync, or since it was found missing."""
        memory = self.memories.get(key)
        if memory is not None:
            memory.ensured = None
            memory.kept = None

    # ------------------------------------------------------------------------------------------------------------------------ the steps

    async def _go_on(self, observed: Observed, memory: Memory, sentence: str) -> Result:
        """A deleted actor that drains is kept as any other, until the next look."""
        actor = observed.actor
        again = self._draining.look_again_seconds(actor)
        if FOREGROUND in actor.finalizers:
            return Result(again_seconds=again)
        await self._sources.restore(actor, observed.pods)
        try:
            spec = read_spec(actor.namespace, actor.name, actor.labels, unpacked(actor.body))
        except (InvalidSpec, AsyaError) as error:
            await self._invalid(actor, str(error))
            return Result(again_seconds=again)
        result = await self._act(observed, spec, memory, draining=sentence)
        if result.failed is not None:
            return Result(again_seconds=TROUBLED_SECONDS)
        return Result(again_seconds=min(again, result.again_seconds or again))

    async def _act(self, observed: Observed, spec: ActorSpec, memory: Memory, *, draining: str = "") -> Result:
        actor = observed.actor
        transport = actor.transport or self._settings.default_transport
        if transport == "sqs" and spec.timeout_seconds > SQS_TIMEOUT_SECONDS:
            # The API server refuses it where spec.transport says sqs; here it is the operator's default.
            limit = "a message cannot stay in flight for more than 12h"
            return await self._invalid(actor, f"spec.timeout {spec.timeout} is above 11h; on sqs {limit}; lower it")
        if not draining:  # nothing can be added to a deleted one
            await self._finalizers(actor, spec, memory)
        queue = await self._queue(observed, spec, transport, memory)
        desired = self._desired(spec, actor, transport, memory)
        refusals, waits_for_turn = Refusals(), False
        may_make = queue.reason in ("Declared", "QueueMismatch")
        may_update = may_make or (queue.reason in NOT_NOW and self._workload(observed, spec) is not None)
        if may_update:
            try:
                refuse_template(spec, self._settings)
            except RefusedTemplate as error:
                refusals.workload = Verdict(reason="PodTemplateRefused", message=str(error))
            else:
                await self._children.adopt(observed, desired)
                observed = gather(self._world, actor)
                todo = plan(desired, observed.live, actor.uid, _accepted(desired, memory))
                if todo.foreign:
                    return await self._invalid(actor, f"{todo.foreign[0]} {actor.name} exists and is not this actor's; rename the actor")
                refusals, waits_for_turn = await self._children.perform(observed, todo, memory)
                observed = gather(self._world, actor)
                if todo.workload is not None and not refusals.namespace_ends:
                    self.ended_namespaces.discard(actor.namespace)
        if refusals.namespace_ends:
            self.ended_namespaces.add(actor.namespace)
            return Result()
        facts = Facts(
            spec=spec,
            settings=self._settings,
            transport=transport,
            queue=queue,
            now=self._clock.wall(),
            desired=desired,
            workload_refusal=refusals.workload,
            scaling_refusal=refusals.scaling,
            workload=self._workload(observed, spec),
            scaled=observed.live.get("ScaledObject"),
            pods=observed.pods,
            has_keda=self._world.has_keda,
            awaited=memory.awaited.get(spec.workload_kind),
            waits_for_turn=waits_for_turn,
            draining=draining,
        )
        if not draining:
            self._warn(observed, transport, memory)
        return await self._finish(actor, facts, memory, observed)

    def _desired(self, spec: ActorSpec, actor: Actor, transport: str, memory: Memory) -> Desired:
        return desired_children(
            spec,
            self._settings,
            uid=actor.uid,
            transport=transport,
            runtime=self._runtime_name,
            has_keda=self._world.has_keda,
            queue_url=_address(actor, memory),
        )

    async def _finish(self, actor: Actor, facts: Facts, memory: Memory, observed: Observed) -> Result:
        owns = facts.queue.reason in ("Declared", "QueueMismatch", "QueueKept", *NOT_NOW)
        old = unpacked(actor.status)
        status = make_status(
            facts,
            generation=actor.generation,
            old=old,
            queue=observed.queue if owns else None,
            depth=memory.depth,
            address=_address(actor, memory),
        )
        waits = [each for each in (status.look_again_seconds, TURN_SECONDS if facts.waits_for_turn else None) if each is not None]
        age = self._clock.monotonic() - memory.made
        lacks_report = _waits_for_keda_alone(old, status)
        settle = self._newcomers.wait_seconds(actor.key) if lacks_report else SETTLE_SECONDS
        if age < settle and not _is_stalled(status):
            return Result(again_seconds=settle - age + 0.05, waits_for_keda=lacks_report)
        await self._write_status(actor, old, status)
        if facts.scaling_refusal is not None or facts.workload_refusal is not None:
            refusal = facts.workload_refusal or facts.scaling_refusal
            return Result(failed=refusal.message if refusal else None)
        if facts.queue.reason in NOT_NOW:
            return Result(failed=facts.queue.message)
        return Result(again_seconds=min(waits) if waits else None)

    async def _queue(self, observed: Observed, spec: ActorSpec, transport: str, memory: Memory) -> Verdict:
        actor = observed.actor
        early = self._queue_refusal(observed, transport)
        if early is not None:
            memory.ensured, memory.queue, memory.depth = None, None, None
            return early
        if memory.queue is not None and memory.ensured == actor.generation:
            return memory.queue
        queues = self._queues[transport]
        try:
            found = await queues.ensure(
                actor.namespace,
                actor.name,
                spec.queue_type,
                max_attempts=spec.retry["maxAttempts"],
                renew=memory.ensured is None and memory.queue is not None,
            )
        except Unavailable as error:
            memory.ensured = None
            if error.code == "queue_deleted_recently":
                message = f"Queue {observed.queue} was deleted less than a minute ago; SQS takes its name again after that"
                return Verdict(reason="QueueDeletedRecently", message=message)
            return Verdict(reason="BrokerUnreachable", message=f"{error.message}; running pods are not affected")
        except Refused as error:
            memory.ensured = None
            return Verdict(reason="NameCollision" if error.code == "name_collision" else "QueueRefused", message=str(error))
        if found.owner is not None:
            memory.ensured, memory.queue, memory.depth = None, None, None
            return Verdict(reason="NameCollision", message=_collision(observed, found.owner))
        memory.address = found.address
        if found.mismatch:
            memory.queue = Verdict(reason="QueueMismatch", message=f"{found.mismatch}; left as it is")
        else:
            memory.queue = Verdict(reason="Declared", message=f"Queue {observed.queue} exists on {transport}")
        memory.ensured = actor.generation
        if found.depth is not None and (memory.depth is None or found.depth.in_flight is not None):
            memory.depth = found.depth
        is_new = unpacked(actor.status).get("observedGeneration") != actor.generation
        if is_new and not found.knows_consumer_timeout and spec.timeout_seconds > BROKERS_CONSUMER_SECONDS:
            self._events.tell(
                actor,
                "ConsumerTimeoutUnknown",
                f"Timeout {spec.timeout} is over 25 min and this RabbitMQ is older than 3.11.15: raise its consumer_timeout above it",
            )
        if found.changed:
            self._events.tell(actor, "QueueChanged", f"Queue {observed.queue} was corrected: {found.changed}")
        if not (unpacked(actor.status).get("queue") or {}).get("name"):
            self._events.tell(actor, "QueueCreated", f"Queue {observed.queue} on {transport}")
        return memory.queue

    def _queue_refusal(self, observed: Observed, transport: str) -> Verdict | None:
        if transport not in self._queues:
            enabled = " and ".join(sorted(self._queues)) or "none"
            return Verdict(
                reason="TransportDisabled",
                message=f"Transport {transport} is not enabled; choose {enabled}, or set transports.{transport}.enabled in the operator",
            )
        if observed.queue_owner is not None:
            return Verdict(reason="NameCollision", message=_collision(observed, observed.queue_owner))
        if transport == "sqs" and len(observed.queue) > MAX_NAME_LENGTH:
            return Verdict(
                reason="QueueNameTooLong",
                message=f"Queue name {observed.queue} has {len(observed.queue)} characters; sqs allows {MAX_NAME_LENGTH}",
            )
        return None

    async def _finalizers(self, actor: Actor, spec: ActorSpec, memory: Memory) -> None:
        wanted = [DRAIN] if self._draining.is_wanted(actor) else []
        if wanted:
            await self._sources.keep(actor, memory)
        elif DRAIN in actor.finalizers:
            await self._sources.drop(actor)
        wanted += [FINALIZER] if spec.deletion_policy != "Retain" else []
        if set(wanted) == {each for each in actor.finalizers if each in (DRAIN, FINALIZER)}:
            return
        self._take(await self._kube.apply(ACTORS, finalizer_manifest(actor, wanted), manager=MANAGER))

    def _workload(self, observed: Observed, spec: ActorSpec) -> Any:
        child = observed.live.get(spec.workload_kind)
        return child if child is not None and child.owner == observed.actor.uid else None

    def _has_settled(self, key: Key) -> bool:
        for kind in ("Deployment", "StatefulSet"):
            child = self._world.children[kind].get(key)
            if child is not None and child.progress is not None:
                wanted = 1 if child.replicas is None else child.replicas
                progress = child.progress
                return progress.is_observed and progress.updated >= wanted and progress.available >= wanted
        return True

    # ----------------------------------------------------------------------------------------------------------------------- the status

    async def _invalid(self, actor: Actor, message: str) -> Result:
        old = unpacked(actor.status)
        await self._write_status(actor, old, invalid_status(message, generation=actor.generation, old=old, now=self._clock.wall()))
        return Result()

    async def _write_queue_verdict(self, actor: Actor, verdict: Verdict) -> None:
        """While an actor is being deleted only its queue is worth a word; the rest of the status stays."""
        old = unpacked(actor.status)
        made = invalid_status(verdict.message, generation=actor.generation, old=old, now=self._clock.wall())
        is_true = "True" if BY_NAME[verdict.reason].is_true else "False"
        kept = [each for each in old.get("conditions") or [] if each["type"] not in (Condition.READY, Condition.QUEUE, Condition.STALLED)]
        ready = next(each for each in made.body["conditions"] if each["type"] == Condition.READY) | {
            "reason": verdict.reason,
            "status": is_true,
        }
        body = {**made.body, "conditions": [ready, ready | {"type": Condition.QUEUE}, *kept]}
        await self._write_status(actor, old, Status(body=body))

    async def _write_status(self, actor: Actor, old: Json, status: Status) -> None:
        if _comparable(old) == _comparable(status.body):
            return
        manifest = _manifest(actor) | {"status": status.body}
        try:
            self._take(await self._kube.apply(ACTORS, manifest, manager=MANAGER, status=True))
        except NotFound:
            return  # deleted in the meantime
        self._tell_ready(actor, old, status.body)

    def _tell_ready(self, actor: Actor, old: Json, new: Json) -> None:
        before, after = _ready_of(old), _ready_of(new)
        if after is None or (before is not None and before[:2] == after[:2]):
            return
        if after[0] == "True" and (before is None or before[0] != "True"):
            self._events.tell(actor, "Ready", f"{after[1]}: {after[2]}")
        elif after[0] == "False" and BY_NAME[after[1]].name not in ("RollingOut", "ScalerPending"):
            self._events.tell(actor, "NotReady", f"{after[1]}: {after[2]}")
        self._log.info("actor changed", namespace=actor.namespace, actor=actor.name, ready=after[0], reason=after[1])

    def _warn(self, observed: Observed, transport: str, memory: Memory) -> None:
        actor = observed.actor
        if memory.warned == actor.generation or unpacked(actor.status).get("observedGeneration") == actor.generation:
            return
        memory.warned = actor.generation
        others = observed.other_transports - {transport}
        if others:
            self._events.tell(
                actor, "MixedTransports", f"{transport} here, {' and '.join(sorted(others))} elsewhere in the namespace; they cannot talk"
            )
        now = self._clock.monotonic()
        if observed.lacks_crew and now - self._crew_told.get(actor.namespace, float("-inf")) > self._settings.resync_seconds:
            self._crew_told[actor.namespace] = now
            missing = " or ".join(observed.lacks_crew)
            self._events.tell(
                actor, "CrewMissing", f"No actor {missing} in namespace {actor.namespace}: envelopes wait for it; install asya-crew"
            )

    def _take(self, answer: Json) -> None:
        cut = cut_actor(answer)
        self._world.actors.put(cut)


def _address(actor: Actor, memory: Memory) -> str:
    """The queue's, as told when it was declared, by this process or an earlier one: a broker that is away must not change the scaler."""
    return memory.address or str((unpacked(actor.status).get("queue") or {}).get("url", ""))


def _collision(observed: Observed, owner: str) -> str:
    return f"Queue {observed.queue} belongs to AsyncActor {owner}; rename this actor"


def _manifest(actor: Actor) -> Json:
    # With the uid the API server refuses to make a deleted AsyncActor anew.
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {"name": actor.name, "namespace": actor.namespace, "uid": actor.uid},
    }


def _accepted(desired: Desired, memory: Memory) -> dict[str, frozenset[str]]:
    made = {}
    for manifest in (desired.workload, *desired.scaled):
        held = memory.accepted.get(str(manifest["kind"]))
        if held is not None and held[0] == manifest["metadata"]["annotations"]["asya.sh/desired"]:
            made[str(manifest["kind"])] = held[1]
    return made


def _waits_for_keda_alone(old: Json, new: Status) -> bool:
    """Whether a first status would be followed by a second one as soon as KEDA has seen the new ScaledObject."""
    ready = _ready_of(new.body)
    return not old.get("conditions") and ready is not None and ready[1] == "ScalerPending"


def _is_stalled(status: Status) -> bool:
    return any(each["type"] == Condition.STALLED for each in status.body["conditions"])


def _comparable(status: Json) -> str:
    made = {**status, "conditions": sorted(status.get("conditions") or [], key=lambda each: str(each["type"]))}
    return json.dumps(made, sort_keys=True)


def _ready_of(status: Json) -> tuple[str, str, str] | None:
    for each in status.get("conditions") or []:
        if each["type"] == Condition.READY:
            return each["status"], each["reason"], each["message"]
    return None
