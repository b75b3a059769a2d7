"""What each condition of an AsyncActor means: lists of policies, the first that has something to say decides. Pure.

Called by `conditions`. A policy takes the `Facts` of one actor and gives reason and sentence, or None to leave it to the next. The three
lists at the end *are* the definition of QueueReady, WorkloadReady and ScalingReady.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from asya_operator.desired.children import Desired
from asya_operator.desired.scaling import cooldown_seconds
from asya_operator.observed import Child, ContainerState, Pod, Progress, unpacked
from asya_operator.settings import OperatorSettings
from asya_operator.spec import ActorSpec
from asya_operator.words import RUNTIME_CONTAINER

__all__ = ["QUEUE", "SCALING", "WORKLOAD", "Facts", "Policy", "Verdict", "first"]

MOUNT_SECONDS: Final = 30.0
"""A pod with a node whose volumes are not mounted after this long lacks something: mounting takes a second, attaching a disk some ten."""
REFUSED_EXIT: Final = 78
"""What the runtime exits with when it refuses to start (docs/reference/exit-codes.md)."""
IMAGE_REASONS: Final = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Reason (`reasons`) and message. `since`: when it began, seconds since 1970, if known; `again`: look again after so many seconds."""

    reason: str
    message: str
    since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that conditions are made of.

    Attributes:
        spec: of the actor.
        settings: of the operator.
        desired: what should exist; None if it could not be made.
        transport: the resolved one.
        queue: what became of the queue.
        workload_refusal: why the workload could not be applied.
        scaling_refusal: why KEDA's objects could not be applied.
        workload: as it is.
        scaled: the ScaledObject as it is.
        pods: of the actor, those being deleted included.
        has_keda: whether the cluster knows KEDA's kinds.
        awaited: generation of the workload after our own last write; its controller has to act on that before counts mean anything. None if
            not known.
        waits_for_turn: a new sidecar or runtime waits for other actors' restarts.
        now: seconds since 1970.
        draining: of a deleted actor that goes on, why; empty: it is not deleted.
    """

    spec: ActorSpec
    settings: OperatorSettings
    transport: str
    queue: Verdict
    now: float
    desired: Desired | None = None
    workload_refusal: Verdict | None = None
    scaling_refusal: Verdict | None = None
    workload: Child | None = None
    scaled: Child | None = None
    pods: tuple[Pod, ...] = field(default=())
    has_keda: bool = True
    awaited: int | None = None
    waits_for_turn: bool = False
    draining: str = ""


Policy = Callable[[Facts], Verdict | None]


def first(policies: Sequence[Policy], facts: Facts) -> Verdict:
    """What the first policy says that says something."""
    for policy in policies:
        verdict = policy(facts)
        if verdict is not None:
            return verdict
    raise AssertionError("the last policy of a list always says something")  # pragma: no cover


# ------------------------------------------------------------------------------------------------------------------------------ workload


def _template_refused(facts: Facts) -> Verdict | None:
    return facts.workload_refusal


def _not_there(facts: Facts) -> Verdict | None:
    if facts.workload is not None and facts.workload.progress is not None:
        return None
    return Verdict(reason="RollingOut", message="The workload is not made yet; it waits for its queue")


def _pods_refused(facts: Facts) -> Verdict | None:
    progress = _progress(facts)
    return Verdict(reason="PodsRefused", message=progress.refusal) if progress.refusal else None


def _pod_trouble(policy: Callable[[Facts, Pod, ContainerState], Verdict | None]) -> Policy:
    """A policy about containers that are not ready, the handler's first, newest pod first."""

    def look(facts: Facts) -> Verdict | None:
        for pod in sorted(facts.pods, key=lambda each: each.created, reverse=True):
            if pod.is_deleted or pod.is_ready:
                continue
            for state in sorted(pod.troubled, key=lambda each: each.name != RUNTIME_CONTAINER):
                verdict = policy(facts, pod, state)
                if verdict is not None:
                    return verdict
        return None

    return look


def _handler_invalid(facts: Facts, pod: Pod, state: ContainerState) -> Verdict | None:
    if state.name != RUNTIME_CONTAINER or state.exit_code != REFUSED_EXIT:
        return None
    return Verdict(reason="HandlerInvalid", message=state.exit_message or "The runtime refused to start; see its log", since=pod.created)


def _secret_missing(facts: Facts, pod: Pod, state: ContainerState) -> Verdict | None:
    if state.waiting == "CreateContainerConfigError":
        return Verdict(reason="SecretMissing", message=f"{state.name}: {state.waiting_message}", since=pod.created)
    return None


def _volumes_missing(facts: Facts) -> Verdict | None:
    """The kubelet tells of volumes that it cannot mount by events only, so the pod's condition has to do."""
    for pod in facts.pods:
        if pod.is_deleted or pod.can_start or pod.scheduled is None or facts.now - pod.scheduled < MOUNT_SECONDS:
            continue
        named = ", ".join(pod.secrets) or "none"
        return Verdict(
            reason="SecretMissing",
            message=f"Pod {pod.name} cannot mount its volumes; see that these Secrets exist in namespace {pod.namespace}: {named}",
            since=pod.created,
        )
    return None


def _image(facts: Facts, pod: Pod, state: ContainerState) -> Verdict | None:
    if state.waiting not in IMAGE_REASONS:
        return None
    return Verdict(reason="ImagePullFailed", message=f"{state.name}: {state.waiting_message or state.waiting}", since=pod.created)


def _out_of_memory(facts: Facts, pod: Pod, state: ContainerState) -> Verdict | None:
    if state.exit_reason != "OOMKilled":
        return None
    return Verdict(
        reason="OutOfMemory", message=f"{state.name} was killed at its memory limit {_memory_limit(facts, state.name)}", since=pod.created
    )


def _startup_timeout(facts: Facts, pod: Pod, state: ContainerState) -> Verdict | None:
    limit = facts.spec.startup_seconds
    if (
        state.name != RUNTIME_CONTAINER
        or state.has_started
        or state.exit_code is None
        or state.restarts == 0
        or state.ran_seconds < limit - 5
    ):
        return None
    return Verdict(reason="StartupTimeout", message=f"{state.name} had not loaded its handler after {limit:g} s", since=pod.created)


def _crash(facts: Facts, pod: Pod, state: ContainerState) -> Verdict | None:
    if state.waiting != "CrashLoopBackOff" and (state.exit_code in (None, 0) or state.restarts == 0):
        return None
    # The back-off's own message has a changing delay in it: not in a condition.
    last = f": {state.exit_message}" if state.exit_message else ""
    message = (
        f"{state.name} ended with code {state.exit_code if state.exit_code is not None else '?'}, {_rounded(state.restarts)} restarts{last}"
    )
    return Verdict(reason="CrashLoop", message=message, since=pod.created)


def _unschedulable(facts: Facts) -> Verdict | None:
    for pod in facts.pods:
        if pod.unschedulable and not pod.is_deleted:
            return Verdict(reason="Unschedulable", message=pod.unschedulable, since=pod.created)
    return None


def _scaled_to_zero(facts: Facts) -> Verdict | None:
    return Verdict(reason="ScaledToZero", message="No pods are wanted") if _wanted(facts) == 0 else None


def _waking(facts: Facts) -> Verdict | None:
    progress = _progress(facts)
    if progress.ready or facts.spec.scaling.min_replicas or _fixed(facts) is not None:
        return None
    return Verdict(reason="Waking", message="Pods are starting for waiting messages")


def _rolling_out(facts: Facts) -> Verdict | None:
    progress, wanted = _progress(facts), _wanted(facts)
    # Of the generations that KEDA makes by scaling none is worth a word: only those that change the template are.
    is_pending = progress.observed < facts.awaited if facts.awaited is not None else not progress.is_observed
    old = progress.replicas - progress.updated
    if is_pending or (old > 0 and progress.updated < wanted):
        return Verdict(reason="RollingOut", message=f"{min(progress.updated, wanted)} of {wanted} pods run the new template")
    if old > 0:
        return Verdict(reason="RollingOut", message=f"{old} {_pods(old)} of the old template {'is' if old == 1 else 'are'} left")
    if progress.ready == 0:
        return Verdict(reason="RollingOut", message=f"0 of {wanted} pods are ready")
    return None


def _available(facts: Facts) -> Verdict:
    progress = _progress(facts)
    waits = "; a new sidecar or runtime waits for its turn" if facts.waits_for_turn else ""
    return Verdict(reason="Available", message=f"{progress.ready} of {_wanted(facts)} pods are ready{waits}")


def _progress(facts: Facts) -> Progress:
    assert facts.workload is not None
    assert facts.workload.progress is not None
    return facts.workload.progress


def _wanted(facts: Facts) -> int:
    assert facts.workload is not None
    return 1 if facts.workload.replicas is None else facts.workload.replicas


def _fixed(facts: Facts) -> int | None:
    return facts.desired.replicas if facts.desired is not None else None


def _memory_limit(facts: Facts, container: str) -> str:
    assert facts.workload is not None
    pod = unpacked(facts.workload.body)["spec"].get("template", {}).get("spec", {})
    limits = {
        each["name"]: each.get("resources", {}).get("limits", {}).get("memory", "of the node")
        for each in (*pod.get("initContainers", ()), *pod.get("containers", ()))
    }
    return str(limits.get(container, "?"))


def _rounded(number: int) -> str:
    """Exact below ten, then rougher, so that a crash loop does not change the status at every round."""
    if number < 10:
        return str(number)
    return f"over {number // 10 * 10}" if number < 100 else f"over {number // 100 * 100}"


# ------------------------------------------------------------------------------------------------------------------------------- scaling


def _scaling_off(facts: Facts) -> Verdict | None:
    if facts.spec.scaling.enabled and facts.settings.keda != "disabled":
        return None
    count = _fixed(facts)
    pods = f": {count} fixed {_pods(count)}" if count is not None else ""
    return Verdict(reason="ScalingOff", message=f"Scaling is off{pods}")


def _keda_missing(facts: Facts) -> Verdict | None:
    if facts.has_keda:
        return None
    count = _fixed(facts)
    count = 1 if count is None else count
    return Verdict(reason="KedaMissing", message=f"KEDA is not installed: {count} fixed {_pods(count)}")


def _scaling_refused(facts: Facts) -> Verdict | None:
    return facts.scaling_refusal


def _paused(facts: Facts) -> Verdict | None:
    scaling = facts.spec.scaling
    if not scaling.paused or facts.scaled is None:
        return None
    count = scaling.paused_replicas
    if count is None:
        count = facts.workload.replicas if facts.workload is not None and facts.workload.replicas is not None else 0
    return Verdict(reason="Paused", message=f"Scaling is paused at {count} {_pods(count)}")


def _trigger_failing(facts: Facts) -> Verdict | None:
    scaler = facts.scaled.scaler if facts.scaled is not None else None
    if scaler is None or scaler.ready is not False:
        return None
    return Verdict(reason="TriggerFailing", message=f"KEDA: {scaler.message}")


def _scaler_pending(facts: Facts) -> Verdict | None:
    scaler = facts.scaled.scaler if facts.scaled is not None else None
    if scaler is not None and scaler.ready:
        return None
    if facts.scaled is None:
        return Verdict(reason="ScalerPending", message="The ScaledObject is not made yet; it waits for the workload")
    return Verdict(reason="ScalerPending", message="KEDA has not reported on the ScaledObject yet")


def _scaler_ready(facts: Facts) -> Verdict:
    lengthened = cooldown_seconds(facts.spec, facts.settings, facts.transport)
    if facts.transport == "rabbitmq" and not facts.settings.rabbitmq.management_url:
        blind = f"KEDA sees waiting messages only, as there is no managementUrl: zero pods after {lengthened} s without any"
        return Verdict(reason="ScalerReady", message=blind)
    return Verdict(reason="ScalerReady", message="KEDA watches the queue")


def _pods(count: int) -> str:
    return "pod" if count == 1 else "pods"


# --------------------------------------------------------------------------------------------------------------------------- definitions

QUEUE: Final[tuple[Policy, ...]] = (lambda facts: facts.queue,)
WORKLOAD: Final[tuple[Policy, ...]] = (
    _template_refused,
    _not_there,
    _pods_refused,
    _pod_trouble(_handler_invalid),
    _pod_trouble(_secret_missing),
    _pod_trouble(_image),
    _pod_trouble(_out_of_memory),
    _pod_trouble(_startup_timeout),
    _pod_trouble(_crash),
    _volumes_missing,
    _unschedulable,
    _scaled_to_zero,
    _waking,
    _rolling_out,
    _available,
)
SCALING: Final[tuple[Policy, ...]] = (
    _scaling_off,
    _keda_missing,
    _scaling_refused,
    _paused,
    _trigger_failing,
    _scaler_pending,
    _scaler_ready,
)
