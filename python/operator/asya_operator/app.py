"""The operator's process: builds everything, fills the caches, waits for leadership, works, stops. Called by `__main__`.

Loops: one reflector per kind and namespace, workers, depth poll, resync, events, leadership. Any of them that ends unexpectedly ends the
process; the Deployment starts a new one, which finds everything it needs in the cluster.
"""

import asyncio
import random
import signal
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

from asya_core.ops.clock import Clock
from asya_core.ops.logs import Log
from asya_core.transports.rabbitmq.settings import QueueType, RabbitSettings
from asya_core.transports.sqs.settings import SqsSettings
from asya_core.wire.errors import AsyaError, Bug, Unavailable
from asya_operator import resources
from asya_operator.conditions import Depth
from asya_operator.depths import DepthPoll
from asya_operator.events import Events
from asya_operator.gather import World
from asya_operator.health import HealthServer
from asya_operator.kube import ApiError, Conflict, Kube, WritesClosed, configure
from asya_operator.lease import Leadership
from asya_operator.metrics import Metrics
from asya_operator.observed import Actor, Child, Pod, cut_actor, cut_child, cut_pod, unpacked
from asya_operator.queues import Queues, RabbitQueues
from asya_operator.reasons import Condition
from asya_operator.reconcile import Reconciler
from asya_operator.settings import OperatorSettings, ProcessSettings
from asya_operator.watch import Reflector
from asya_operator.workqueue import WorkQueue

__all__ = ["LostLeadership", "Operator", "rabbit_settings", "sqs_settings"]

Key = tuple[str, str]
RECONCILE_SECONDS: Final = 60.0
LOOP_SECONDS: Final = 30.0
"""A loop that has not turned for this long is stuck; see /livez."""


class LostLeadership(Exception):
    """Another process leads, or nobody knows; this one must end."""


def rabbit_settings(process: ProcessSettings, settings: OperatorSettings) -> RabbitSettings:
    """How the operator itself reaches RabbitMQ."""
    section = settings.rabbitmq
    return RabbitSettings(
        host=section.host,
        port=section.port,
        vhost=section.vhost,
        credentials_dir=str(process.credentials_dir),
        tls=section.tls,
        tls_ca=str(process.tls_ca) if process.tls_ca else None,
        queue_type=QueueType(section.queue_type),
        management_url=section.management_url or None,
        client_name="asya-operator",
    )


def sqs_settings(settings: OperatorSettings) -> SqsSettings:
    """How the operator itself reaches SQS; as whom is boto3's to find out: pod identity, or keys in the environment."""
    section = settings.sqs
    return SqsSettings(region=section.region, endpoint=section.endpoint or None)


class Operator:
    """The operator.

    Args:
        process: environment of this process.
        settings: of the settings file.
        runtime: the runtime's file.
        clock: the process's.
        log: where to tell.
        identity: of this process, for the Lease; never two alike.
        host: address of health and metrics; None: all.
        queues: brokers by transport; None: those of the settings.
    """

    def __init__(
        self,
        process: ProcessSettings,
        settings: OperatorSettings,
        *,
        runtime: bytes,
        clock: Clock,
        log: Log,
        identity: str,
        host: str | None = None,
        queues: Mapping[str, Queues] | None = None,
    ) -> None:
        self._queues_given = queues
        self._process = process
        self._settings = settings
        self._runtime = runtime
        self._clock = clock
        self._log = log
        self._identity = identity
        self._host = host
        self.metrics = Metrics()
        self.world = World()
        self.port = 0
        self.work = WorkQueue(clock.monotonic)
        self._reflectors: list[Reflector[Any]] = []
        self._keda: list[Reflector[Any]] = []
        self.actor_reflectors: list[Reflector[Any]] = []
        self._turned = clock.monotonic()
        self._stopping = asyncio.Event()
        self.working = asyncio.Event()

    def stop(self) -> None:
        """End after what runs; returns at once."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop` or SIGTERM. Raises `LostLeadership`, RemoteFault for a broken kubeconfig, and what a loop ended with."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        configuration = await configure(self._process.kubeconfig)
        kube = Kube(configuration, observe=self._count_call, may_write=lambda: self.leadership.leads)
        queues = self._queues_given if self._queues_given is not None else self._queues()
        self.leadership = Leadership(
            kube,
            namespace=self._process.namespace,
            identity=self._identity,
            settings=self._settings.lease,
            clock=self._clock,
            log=self._log,
            on_change=lambda leads: self.metrics.leader.set(1.0 if leads else 0.0),
        )
        health = HealthServer(dead=self._dead, unready=self._unready, metrics=self._metrics_text)
        self.port = await health.start(self._settings.metrics_port, self._host)
        self._log.info("started", port=self.port, identity=self._identity, namespaces=list(self._settings.namespaces) or "all")
        try:
            await self._supervise(kube, queues)
        finally:
            await self.leadership.release()
            health.close()
            for each in queues.values():
                await each.close()
            await kube.close()
            self._log.info("stopped")

    async def _supervise(self, kube: Kube, queues: Mapping[str, Queues]) -> None:
        self._make_reflectors(kube)
        instance = self._process.pod or self._identity
        events = Events(kube, instance=instance, wall=self._clock.wall, log=self._log, on_namespace_end=self._namespace_ends)
        self.reconciler = Reconciler(
            kube=kube,
            world=self.world,
            settings=self._settings,
            queues=queues,
            events=events,
            clock=self._clock,
            log=self._log,
            runtime=self._runtime,
        )
        loops = [reflector.run() for reflector in self._reflectors]
        loops += [self.leadership.run(), self._work(events, queues), self._tick()]
        tasks = [asyncio.create_task(each) for each in loops]
        stop = asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait([*tasks, stop], return_when=asyncio.FIRST_COMPLETED)
            if stop in done:
                return
            for task in done:
                task.result()
            raise LostLeadership
        finally:
            for task in (*tasks, stop):
                task.cancel()
            await asyncio.gather(*tasks, stop, return_exceptions=True)

    async def _work(self, events: Events, queues: Mapping[str, Queues]) -> None:
        for reflector in self._reflectors:
            await reflector.filled.wait()
        await self.leadership.acquired.wait()
        self.working.set()
        self._log.info("working", actors=len(self.world.actors))
        for actor in self.world.actors:
            self.work.add(actor.key, urgent=False)
        poll = DepthPoll(
            self.world,
            queues,
            reconciler=self.reconciler,
            events=events,
            wake=lambda key, urgent: self.work.add(key, urgent=urgent),
            default_transport=self._settings.default_transport,
            log=self._log,
        )
        async with asyncio.TaskGroup() as group:
            for _ in range(self._settings.workers):
                group.create_task(self._worker())
            group.create_task(poll.run(self._settings.queue_interval_seconds))
            group.create_task(self._resync())
            group.create_task(events.run())

    async def _worker(self) -> None:
        while True:
            key = await self.work.take()
            try:
                await self._reconcile(key)
            finally:
                self.work.done(key)

    async def _reconcile(self, key: Key) -> None:
        if any(each.is_missing for each in self.actor_reflectors):
            self.work.add_after(key, 10.0)  # the definition is gone: touch no child
            return
        self.world.has_keda = not any(each.is_missing for each in self._keda)
        begun = time.perf_counter()
        again: float | None = None
        failure = ""
        wait = 0.0
        try:
            async with asyncio.timeout(RECONCILE_SECONDS):
                result = await self.reconciler.reconcile(key)
            outcome, again, failure = ("ok" if result.failed is None else "failed"), result.again_seconds, result.failed or ""
        except TimeoutError:
            outcome, failure = "timeout", f"not done within {RECONCILE_SECONDS:g} s"
        except WritesClosed:
            outcome = "fenced"
        except Conflict as error:
            outcome, failure = "conflict", error.message
        except Unavailable as error:
            outcome, failure, wait = "unavailable", error.message, error.retry_after_seconds
        except ApiError as error:
            if error.namespace_ends:
                self._namespace_ends(key[0])
                outcome = "namespace ends"
            else:
                outcome, failure, wait = "refused", error.message, 2.0
        except (Bug, AsyaError) as error:
            outcome, failure = "error", str(error)
        except Exception as error:  # one bad actor must not end the others; its stack is in the log
            outcome, failure = "error", f"{type(error).__name__}: {error}"
            self._log.error("reconcile failed", namespace=key[0], actor=key[1], stack=_stack(error))
        seconds = time.perf_counter() - begun
        self.metrics.reconciles.add(outcome)
        self.metrics.reconcile_seconds.observe(seconds)
        if outcome == "conflict":
            self.work.add_after(key, 0.2)
        elif failure:
            delay = self.work.failed(key, wait)
            self._log.warning(
                "reconcile",
                namespace=key[0],
                actor=key[1],
                outcome=outcome,
                error=failure,
                duration_ms=round(seconds * 1000),
                again_s=round(delay, 1),
            )
        else:
            self.work.succeeded(key)
            if again is not None:
                self.work.add_after(key, again)
            self._log.debug("reconcile", namespace=key[0], actor=key[1], outcome=outcome, duration_ms=round(seconds * 1000))

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(self._settings.resync_seconds)
            for namespace in self.world.namespaces():
                self.reconciler.forget_runtime(namespace)
            for actor in self.world.actors:
                self.reconciler.renew(actor.key)
                self.work.add_after(actor.key, random.random() * min(60.0, self._settings.resync_seconds / 10))

    async def _tick(self) -> None:
        while True:
            self._turned = self._clock.monotonic()
            await asyncio.sleep(1.0)

    # --------------------------------------------------------------------------------------------------------------------------- parts

    def _queues(self) -> dict[str, Queues]:
        made: dict[str, Queues] = {}
        if self._settings.rabbitmq.enabled:
            made["rabbitmq"] = RabbitQueues(
                rabbit_settings(self._process, self._settings),
                observe=lambda call, outcome: self.metrics.broker_calls.add("rabbitmq", call, outcome),
            )
        if self._settings.sqs.enabled:
            from asya_operator.sqs_queues import SqsQueues  # boto3 costs memory and start-up time that RabbitMQ's operators need not pay

            made["sqs"] = SqsQueues(
                sqs_settings(self._settings),
                tags=self._settings.sqs.tags,
                observe=lambda call, outcome: self.metrics.broker_calls.add("sqs", call, outcome),
            )
        return made

    def _make_reflectors(self, kube: Kube) -> None:
        for namespace in self._settings.namespaces or (None,):
            make = partial(Reflector, kube, namespace=namespace, on_restart=self._count_restart, log=self._log)
            actors: Reflector[Actor] = make(
                resource=resources.ACTORS, cache=self.world.actors, cut=cut_actor, on_change=self._actor_changed
            )
            pods: Reflector[Pod] = make(resource=resources.PODS, cache=self.world.pods, cut=cut_pod, on_change=self._pod_changed)
            self.actor_reflectors.append(actors)
            self._reflectors += [actors, pods]
            for resource in (
                resources.DEPLOYMENTS,
                resources.STATEFUL_SETS,
                *(() if self._settings.keda == "disabled" else (resources.SCALED_OBJECTS, resources.TRIGGER_AUTHENTICATIONS)),
            ):
                is_kedas = resource.group == "keda.sh"
                reflector: Reflector[Child] = make(
                    resource=resource,
                    cache=self.world.children[resource.kind],
                    cut=partial(cut_child, kind=resource.kind),
                    on_change=self._child_changed,
                    is_optional=is_kedas,
                )
                self._reflectors.append(reflector)
                if is_kedas:
                    self._keda.append(reflector)

    def _actor_changed(self, old: Actor | None, new: Actor | None) -> None:
        for key in self.world.index_actor(old, new):
            self.work.add(key)
        changed = new or old
        assert changed is not None
        if old is None or new is None or _is_users_change(old, new):
            self.work.succeeded(changed.key)
            self.work.add(changed.key)

    def _child_changed(self, old: Child | None, new: Child | None) -> None:
        child = new or old
        assert child is not None
        self.work.add(child.key)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        self.work.add(self.world.index_pod(old, new))

    def _namespace_ends(self, namespace: str) -> None:
        if namespace in self.reconciler.ended_namespaces:
            return
        self.reconciler.ended_namespaces.add(namespace)
        # They need not be drained any more, and no event will come of them.
        for actor in self.world.actors:
            if actor.namespace == namespace and actor.deleted is not None:
                self.work.add(actor.key)

    def _count_call(self, verb: str, kind: str, code: int) -> None:
        self.metrics.api_calls.add(verb, kind, str(code))

    def _count_restart(self, kind: str, reason: str) -> None:
        self.metrics.watch_restarts.add(kind, reason)

    def _metrics_text(self) -> str:
        self.metrics.queue_depth.set(len(self.work))
        states = []
        for actor in self.world.actors:
            ready = next((each for each in unpacked(actor.status).get("conditions") or [] if each["type"] == Condition.READY), None)
            states.append((ready["status"], ready["reason"]) if ready else ("Unknown", ""))
        self.metrics.count_actors(states)
        self.metrics.read_queues(self._depths())
        return self.metrics.registry.text()

    def _depths(self) -> Iterator[tuple[str, str, str, Depth]]:
        for actor in self.world.actors if self.working.is_set() else ():
            memory = self.reconciler.memories.get(actor.key)
            if memory is not None and memory.depth is not None:
                yield actor.namespace, actor.name, actor.labels.get("asya.sh/flow", ""), memory.depth

    def _dead(self) -> list[str]:
        silent = self._clock.monotonic() - self._turned
        return [f"the loop has not turned for {silent:.0f} s"] if silent > LOOP_SECONDS else []

    def _unready(self) -> list[str]:
        return sorted({f"cache of {each.kind} is not filled" for each in self._reflectors if not each.filled.is_set()}) or (
            [] if self._reflectors else ["starting"]
        )


def _is_users_change(old: Actor, new: Actor) -> bool:
    """Anything but our own status."""
    return (old.uid, old.generation, old.deleted, old.labels, old.finalizers, old.abandons_queue, old.skips_drain, old.transport) != (
        new.uid,
        new.generation,
        new.deleted,
        new.labels,
        new.finalizers,
        new.abandons_queue,
        new.skips_drain,
        new.transport,
    ) or old.status != new.status


def _stack(error: BaseException) -> str:
    import traceback

    return "".join(traceback.format_exception(error))[-8000:]
