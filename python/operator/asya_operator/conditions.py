"""The status of an AsyncActor: conditions with transition times, counts, queue. Pure; called by `reconcile`.

Asks `policies` for a verdict per condition, makes Ready and Stalled of them, and keeps the transition time of what did not change.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from asya_operator.policies import QUEUE, SCALING, WORKLOAD, Facts, Verdict, first
from asya_operator.reasons import BY_NAME, PATIENT_SECONDS, Condition

__all__ = ["Depth", "Status", "invalid_status", "make_status", "rounded_depth"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """Messages in the queue as last read; `in_flight` is None where nobody knows."""

    waiting: int
    in_flight: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The status to write, and when time alone may change it."""

    body: Json
    look_again_seconds: float | None = None


def rounded_depth(number: int) -> int:
    """Exact up to 100, then two digits, so that a busy queue does not change the status at every look."""
    if number <= 100:
        return number
    unit: int = 10 ** (len(str(number)) - 2)
    return number // unit * unit


def make_status(
    facts: Facts, *, generation: int, old: Mapping[str, Any], queue: str | None, depth: Depth | None, address: str = ""
) -> Status:
    """The status of an actor.

    Args:
        facts: what policies look at.
        generation: that was acted on.
        old: the status as it is.
        queue: name of the queue; None if it is not this actor's.
        depth: as last read; None keeps what the old status has.
        address: of the queue; empty where the transport has none.
    """
    parts = {
        Condition.QUEUE: first(QUEUE, facts),
        Condition.WORKLOAD: first(WORKLOAD, facts),
        Condition.SCALING: first(SCALING, facts),
    }
    ready = _ready(parts, facts)
    body = _body(generation, old, facts.now, {Condition.READY: ready, **parts}, _stalled(ready, facts.now))
    progress = facts.workload.progress if facts.workload is not None else None
    body["replicas"] = progress.replicas if progress is not None else 0
    body["readyReplicas"] = progress.ready if progress is not None else 0
    if facts.workload is not None and facts.workload.sidecar:
        body["sidecarVersion"] = facts.workload.sidecar
    if queue is not None:
        body["queue"] = _queue(queue, facts.transport, depth, old.get("queue") or {}) | ({"url": address} if address else {})
    return Status(body=body, look_again_seconds=_look_again(facts, ready))


def invalid_status(message: str, *, generation: int, old: Mapping[str, Any], now: float) -> Status:
    """The status of a resource that cannot be acted on: what was known of the rest stays."""
    verdict = Verdict(reason="SpecInvalid", message=message)
    body = _body(generation, old, now, {Condition.READY: verdict}, verdict)
    names = {each["type"] for each in body["conditions"]}
    body["conditions"] += [each for each in old.get("conditions") or [] if each["type"] not in (*names, Condition.STALLED)]
    for key in ("replicas", "readyReplicas", "sidecarVersion", "queue"):
        if key in old:
            body[key] = old[key]
    return Status(body=body)


def _ready(parts: Mapping[str, Verdict], facts: Facts) -> Verdict:
    for verdict in parts.values():
        if not BY_NAME[verdict.reason].is_true:
            return verdict
    if facts.draining:
        return Verdict(reason="Draining", message=facts.draining)
    if parts[Condition.SCALING].reason == "Paused":
        return parts[Condition.SCALING]
    match parts[Condition.WORKLOAD].reason:
        case "ScaledToZero":
            napping = facts.spec.scaling.enabled and facts.settings.keda != "disabled"
            return Verdict(reason="Napping", message="No messages; the first one starts a pod" if napping else "No pods are wanted")
        case "Waking":
            return parts[Condition.WORKLOAD]
        case _:
            count = facts.workload.progress.ready if facts.workload is not None and facts.workload.progress is not None else 0
            return Verdict(reason="Running", message=f"{count} {'pod is' if count == 1 else 'pods are'} ready")


def _stalled(ready: Verdict, now: float) -> Verdict | None:
    match BY_NAME[ready.reason].stalls:
        case "now":
            return ready
        case "patient" if ready.since is not None and now - ready.since >= PATIENT_SECONDS:
            return ready
        case _:
            return None


def _look_again(facts: Facts, ready: Verdict) -> float | None:
    waits = []
    if BY_NAME[ready.reason].stalls == "patient" and ready.since is not None and facts.now - ready.since < PATIENT_SECONDS:
        waits.append(PATIENT_SECONDS - (facts.now - ready.since) + 1)
    if any(not pod.is_deleted and not pod.can_start and pod.scheduled is not None for pod in facts.pods):
        waits.append(5.0)
    return min(waits) if waits else None


def _body(generation: int, old: Mapping[str, Any], now: float, verdicts: Mapping[str, Verdict], stalled: Verdict | None) -> Json:
    held = {each["type"]: each for each in old.get("conditions") or []}
    conditions = [
        _condition(kind, "True" if BY_NAME[verdict.reason].is_true else "False", verdict, generation, held.get(kind), now)
        for kind, verdict in verdicts.items()
    ]
    if stalled is not None:
        conditions.insert(1, _condition(Condition.STALLED, "True", stalled, generation, held.get(Condition.STALLED), now))
    return {"observedGeneration": generation, "conditions": conditions}


def _condition(kind: str, status: str, verdict: Verdict, generation: int, old: Mapping[str, Any] | None, now: float) -> Json:
    since = old["lastTransitionTime"] if old is not None and old.get("status") == status else _text(now)
    return {
        "type": kind,
        "status": status,
        "reason": verdict.reason,
        "message": verdict.message[:2000],
        "lastTransitionTime": since,
        "observedGeneration": generation,
    }


def _text(now: float) -> str:
    return datetime.datetime.fromtimestamp(int(now), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _queue(name: str, transport: str, depth: Depth | None, old: Mapping[str, Any]) -> Json:
    made: Json = {"name": name, "transport": transport}
    if depth is None:
        return made | {key: old[key] for key in ("waiting", "inFlight") if key in old}
    made["waiting"] = rounded_depth(depth.waiting)
    if depth.in_flight is not None:
        made["inFlight"] = rounded_depth(depth.in_flight)
    elif "inFlight" in old:
        made["inFlight"] = old["inFlight"]
    return made
