"""Performs a plan: server-side apply of children, removal, the runtime's ConfigMap. Called by `reconcile`; decides nothing but order.

Before it makes anything it looks whether something of that name is there (`adopt`), since an apply would take it over silently; the
caches hold only what bears the actor's label.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

from asya_core.ops.clock import Clock
from asya_operator.compare import differences
from asya_operator.desired import Desired
from asya_operator.desired.labels import DESIRED, MANAGER, runtime_name
from asya_operator.desired.runtime import runtime_config_map
from asya_operator.events import Events
from asya_operator.gather import Observed, World
from asya_operator.kube import ApiError, ApiUnavailable, Conflict, Kube, NotFound
from asya_operator.memory import Memory
from asya_operator.observed import Child, cut_child, unpacked
from asya_operator.plan import Apply, Plan, Why, comparable
from asya_operator.policies import Verdict
from asya_operator.reasons import Condition
from asya_operator.resources import BY_KIND, CONFIG_MAPS
from asya_operator.rollout import Rollout

__all__ = ["Children", "Refusals"]

Json = dict[str, Any]
LOOK_AGAIN_SECONDS: Final = 15.0
WEBHOOK: Final = "webhook"


@dataclass(slots=True)
class Refusals:
    """Why something could not be applied, for the status; `namespace_ends`: since the namespace is being deleted."""

    workload: Verdict | None = None
    scaling: Verdict | None = None
    namespace_ends: bool = False


class Children:
    """Writes children.

    Args:
        kube: the API server.
        world: takes what the API server answers.
        events: where applications are told.
        clock: the process's.
        rollout: turns for restarts that nobody asked for.
        runtime: the runtime's file.
    """

    def __init__(self, kube: Kube, world: World, *, events: Events, clock: Clock, rollout: Rollout, runtime: bytes) -> None:
        self._kube = kube
        self._world = world
        self._events = events
        self._clock = clock
        self._rollout = rollout
        self._runtime = runtime
        self._runtime_seen: dict[str, float] = {}
        self._old_runtimes: dict[str, set[str]] = defaultdict(set)

    async def adopt(self, observed: Observed, desired: Desired) -> None:
        """Read children that the cache does not have but that may be there."""
        actor = observed.actor
        for manifest in (desired.workload, *desired.scaled):
            kind = str(manifest["kind"])
            if kind not in observed.live:
                try:
                    found = await self._kube.get(BY_KIND[kind], actor.namespace, actor.name)
                except NotFound:
                    continue
                self._world.children[kind].put(cut_child(found, kind))

    async def perform(self, observed: Observed, todo: Plan, memory: Memory) -> tuple[Refusals, bool]:
        """Write what the plan says. Gives what was refused, and whether the workload waits for its turn.

        Raises Conflict (look again) and ApiUnavailable (try again later).
        """
        refusals, waits = Refusals(), False
        for child in todo.remove:
            await self._remove(child)
        await self._runtime_file(observed, todo)
        if todo.workload is not None:
            if self._must_wait(todo.workload, observed):
                waits = True
            else:
                refusals.workload = await self._apply(todo.workload, observed, memory, refusals)
        has_workload = any(kind in ("Deployment", "StatefulSet") for kind in observed.live) or todo.workload is not None
        if has_workload and refusals.workload is None and not refusals.namespace_ends:
            for action in todo.scaled:
                verdict = await self._apply(action, observed, memory, refusals)
                refusals.scaling = refusals.scaling or verdict
        await self._collect_old(observed)
        return refusals, waits

    def _must_wait(self, action: Apply, observed: Observed) -> bool:
        live = observed.live.get(action.kind)
        if live is None or not action.restarts_pods or not live.replicas:
            return False
        return not self._rollout.admit(observed.actor.key)

    async def _apply(self, action: Apply, observed: Observed, memory: Memory, refusals: Refusals) -> Verdict | None:
        actor, manifest = observed.actor, action.manifest
        try:
            answer = await self._kube.apply(BY_KIND[action.kind], manifest, manager=MANAGER)
        except Conflict:
            raise
        except ApiUnavailable as error:
            if action.kind in ("ScaledObject", "TriggerAuthentication") and WEBHOOK in error.message:
                return Verdict(reason="KedaMissing", message=f"KEDA's webhook does not answer: {error.message}")
            raise
        except ApiError as error:
            if error.namespace_ends:
                refusals.namespace_ends = True
                return None
            return _refusal(action.kind, error)
        child = cut_child(answer, action.kind)
        self._world.children[action.kind].put(child)
        left = frozenset(differences(comparable(manifest), unpacked(child.body)))
        memory.accepted[action.kind] = (manifest["metadata"]["annotations"][DESIRED], left)
        memory.made = self._clock.monotonic()
        memory.awaited[action.kind] = child.generation
        self._tell(action, observed)
        if action.why is Why.DRIFTED:
            self._events.tell(actor, "Drift", f"{action.kind} {actor.name} was edited ({', '.join(action.paths[:3])}); restored")
        return None

    def _tell(self, action: Apply, observed: Observed) -> None:
        """A new actor is told of by QueueCreated and Ready; more would only be noise."""
        actor = observed.actor
        is_new = action.why is Why.MISSING and not unpacked(actor.status).get("conditions")
        if is_new or action.kind == "TriggerAuthentication":
            return
        reason = "ScalingApplied" if action.kind == "ScaledObject" else "WorkloadApplied"
        if action.why is Why.MISSING and _was_there(action.kind, unpacked(actor.status)):
            self._events.tell(actor, "Drift", f"{action.kind} {actor.name} was missing; made again")
        elif action.why is not Why.DRIFTED:
            self._events.tell(actor, reason, f"{action.kind} {actor.name} {'made' if action.why is Why.MISSING else 'changed'}")

    async def _remove(self, child: Child) -> None:
        await self._kube.delete(BY_KIND[child.kind], child.namespace, child.name, uid=child.uid)

    # --------------------------------------------------------------------------------------------------------------- the runtime's file

    async def _runtime_file(self, observed: Observed, todo: Plan) -> None:
        """See that the ConfigMap is there: before a workload is written, and where pods cannot mount their volumes."""
        namespace = observed.actor.namespace
        now = self._clock.monotonic()
        seen = self._runtime_seen.get(namespace)
        lacks = any(not pod.can_start and not pod.is_deleted for pod in observed.pods)
        if seen is not None and not (lacks and now - seen > LOOK_AGAIN_SECONDS):
            return
        if todo.workload is None and seen is None and not lacks and _has(observed, runtime_name(self._runtime)):
            return
        manifest = runtime_config_map(namespace, self._runtime)
        self._runtime_seen[namespace] = now
        try:
            await self._kube.get(CONFIG_MAPS, namespace, manifest["metadata"]["name"])
        except NotFound:
            try:
                await self._kube.apply(CONFIG_MAPS, manifest, manager=MANAGER)
            except BaseException:
                del self._runtime_seen[namespace]
                raise
        except BaseException:
            del self._runtime_seen[namespace]
            raise

    def forget_runtime(self, namespace: str) -> None:
        """Look for the ConfigMap again at the next reconcile."""
        self._runtime_seen.pop(namespace, None)

    async def _collect_old(self, observed: Observed) -> None:
        """Delete ConfigMaps with an older runtime that nothing in the namespace refers to any more."""
        namespace, current = observed.actor.namespace, runtime_name(self._runtime)
        used = {child.runtime for child in observed.live.values()} | {pod.runtime for pod in observed.pods}
        old = self._old_runtimes[namespace]
        old |= {name for name in used if name and name != current}
        if not old or self._is_rolling(namespace):
            return
        for name in sorted(old - self._world.runtimes(namespace)):
            await self._kube.delete(CONFIG_MAPS, namespace, name)
            old.discard(name)

    def _is_rolling(self, namespace: str) -> bool:
        """Whether a controller may still make pods of an older template there."""
        for kind in ("Deployment", "StatefulSet"):
            for child in self._world.children[kind]:
                if child.namespace == namespace and child.progress is not None:
                    progress = child.progress
                    if not progress.is_observed or progress.updated < progress.replicas:
                        return True
        return False

    async def collect_runtimes(self, namespace: str, name: str) -> None:
        """Delete the current ConfigMap of a namespace that has no actor and no pod of one any more."""
        if namespace in self._world.namespaces() or namespace not in self._runtime_seen or self._world.runtimes(namespace):
            return
        del self._runtime_seen[namespace]
        try:
            await self._kube.delete(CONFIG_MAPS, namespace, name)
        except ApiError:
            pass  # the namespace is gone


def _was_there(kind: str, status: Json) -> bool:
    """Whether the last status knew of such an object."""
    reasons = {each["type"]: each["reason"] for each in status.get("conditions") or []}
    if kind == "ScaledObject":
        return reasons.get(Condition.SCALING) in ("ScalerReady", "TriggerFailing", "Paused")
    return reasons.get(Condition.WORKLOAD) in ("Available", "ScaledToZero", "Waking")


def _has(observed: Observed, runtime: str) -> bool:
    return any(child.runtime == runtime for child in observed.live.values())


def _refusal(kind: str, error: ApiError) -> Verdict:
    if kind in ("ScaledObject", "TriggerAuthentication"):
        return Verdict(reason="ScalingRefused", message=error.message)
    if error.status == 403:
        return Verdict(reason="PodsRefused", message=error.message)
    return Verdict(reason="PodTemplateRefused", message=error.message)
