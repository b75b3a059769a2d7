"""Whether a deleted actor may go: what may still be on its way to it, and why. Pure; called by `draining`.

An envelope's route is fixed when it is published, so an actor that was taken out of a flow is still named by envelopes in the queues of
others. It may go when, for a while, nothing that could bring it a message was there: none in its own queue, none in queues before it, none
that waits for its next try, no other actor that still names it (for some minutes: a change may arrive in parts), and none whose pods may
still be of an older template that did.

Queues before it are those of its namespace and transport. An actor with the label `asya.sh/flow` is one flow's: of the others, those with
another flow's label do not count. End actors send nothing, nor do actors that have drained already.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from asya_core.ops.settings import parse_duration
from asya_core.wire.names import is_end_actor, queue_name
from asya_operator.conditions import Depth
from asya_operator.observed import Actor, Child, unpacked
from asya_operator.words import RUNTIME_CONTAINER

__all__ = ["DRAIN", "FLOW_LABEL", "Finding", "Neighbour", "Why", "find", "is_before", "limit_seconds", "stuck"]

Json = dict[str, Any]
DRAIN: Final = "asya.sh/drain"
"""The finalizer of an actor that drains."""
FLOW_LABEL: Final = "asya.sh/flow"
BLIND_MARGIN_SECONDS: Final = 60.0
"""Where nobody counts running messages, quiet must last longer than the longest call by this."""
REST_OF_A_CHANGE_SECONDS: Final = 300.0
"""How long an actor that still names a deleted one is in its way: a change may arrive in parts, minutes apart. After that it is meant."""
NAMED: Final = 3
"""Actors that a sentence names."""


class Why(StrEnum):
    """What is in the way."""

    OWN = "own"
    NAMED = "named"
    ROLLING = "rolling"
    BEFORE = "before"
    DELAYED = "delayed"
    UNKNOWN = "unknown"
    QUIET = "quiet"
    """Nothing; it must stay so for a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """Another actor of the namespace, and its workload as it is."""

    actor: Actor
    workload: Child | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One look. `text`: the sentence's part about it; `quiet_seconds`: for how long it must have been `Why.QUIET`."""

    why: Why
    text: str
    quiet_seconds: float


def limit_seconds(spec: Mapping[str, Any], default: float) -> float:
    """How long an actor may drain: its `drainTimeout`, else the operator's."""
    try:
        return parse_duration(str(spec["drainTimeout"])) if "drainTimeout" in spec else default
    except ValueError:  # an older definition let it through
        return default


def is_before(actor: Actor, other: Actor, *, default_transport: str) -> bool:
    """Whether a message in the queue of `other` may be on its way to `actor`."""
    if other.key == actor.key or is_end_actor(other.name):
        return False
    if (other.transport or default_transport) != (actor.transport or default_transport):
        return False
    if other.deleted is not None and DRAIN not in other.finalizers:
        return False  # nobody works on its queue any more
    flow, others = actor.labels.get(FLOW_LABEL), other.labels.get(FLOW_LABEL)
    return flow is None or others is None or flow == others


def find(
    actor: Actor,
    neighbours: Sequence[Neighbour],
    depths: Mapping[str, Depth | None],
    delayed: Iterable[str],
    *,
    age_seconds: float,
    quiet_seconds: float,
    default_transport: str,
) -> Finding:
    """What is in the way of the deleted `actor`, the nearest first.

    Args:
        neighbours: the other actors of its namespace.
        depths: by queue; None: the broker has no counts yet; a queue that is not there holds nothing.
        delayed: queues in which messages of the namespace wait for their next try.
        age_seconds: since it was deleted.
        quiet_seconds: for how long nothing must be in the way, where the broker counts running messages.
    """
    before = [each for each in neighbours if is_before(actor, each.actor, default_transport=default_transport)]
    own = queue_name(*actor.key)
    queues = [own, *(queue_name(*each.actor.key) for each in before)]
    is_blind = any((depth := depths.get(queue)) is not None and depth.in_flight is None for queue in queues)
    needed = quiet_seconds
    if is_blind:
        longest = max(_timeout_seconds(each) for each in (actor, *(each.actor for each in before)))
        needed = max(quiet_seconds, longest + BLIND_MARGIN_SECONDS)

    def finding(why: Why, text: str) -> Finding:
        return Finding(why=why, text=text, quiet_seconds=needed)

    if _holds(depths, own):
        return finding(Why.OWN, "its queue holds messages")
    naming = [each.actor.name for each in neighbours if each.actor.deleted is None and _names(each.actor, actor.name)]
    if naming and age_seconds < REST_OF_A_CHANGE_SECONDS:
        return finding(Why.NAMED, f"{_listed(naming)} still {'names' if len(naming) == 1 else 'name'} it ({_variable(actor.name)})")
    rolling = [each.actor.name for each in before if each.actor.deleted is None and _writes_routes(each.actor) and _is_rolling(each)]
    if rolling:
        return finding(Why.ROLLING, f"{_listed(rolling)} may still run the template from before a change")
    holding = [each.actor.name for each in before if _holds(depths, queue_name(*each.actor.key))]
    if holding:
        return finding(Why.BEFORE, f"messages for {_listed(holding)} may be on their way to it")
    if any(_holds(depths, queue) for queue in delayed):
        return finding(Why.DELAYED, "messages of the namespace wait for their next try")
    return finding(Why.QUIET, f"nothing is on its way to it; it goes when that has been so for {needed:g} s")


def stuck(actor: Actor, workload: Child | None) -> str:
    """Why what is in its queue will not be worked on, however long it stays; empty if it may be."""
    ready = workload.progress.ready if workload is not None and workload.progress is not None else 0
    if ready:
        return ""
    conditions = {each["type"]: each for each in unpacked(actor.status).get("conditions") or []}
    stalled, works = conditions.get("Stalled"), conditions.get("WorkloadReady")
    if stalled is not None and works is not None and works["status"] == "False":
        return f"its pods cannot run ({works['reason']})"
    scaling = unpacked(actor.body).get("scaling") or {}
    is_fixed = bool(scaling.get("paused")) or not scaling.get("enabled", True)
    return "it is held at no pods" if is_fixed and workload is not None and workload.replicas == 0 else ""


def _holds(depths: Mapping[str, Depth | None], queue: str) -> bool:
    if queue not in depths:
        return False
    depth = depths[queue]
    return depth is None or bool(depth.waiting or depth.in_flight)


def _is_rolling(neighbour: Neighbour) -> bool:
    """Whether a pod of an older template may still take messages."""
    actor, workload = neighbour.actor, neighbour.workload
    if unpacked(actor.status).get("observedGeneration") != actor.generation:
        return True
    if workload is None or workload.progress is None:
        return False
    return not workload.progress.is_observed or workload.progress.updated < workload.progress.replicas


@lru_cache(maxsize=2048)
def _handlers(body: bytes) -> frozenset[str]:
    """What the handler's container says of handlers: its mapping variables, and ``envelope`` if it writes routes. By packed spec: many
    actors that go together look at the same others again and again."""
    pod = ((unpacked(body).get("workload") or {}).get("template") or {}).get("spec") or {}
    for container in pod.get("containers") or []:
        if container.get("name") == RUNTIME_CONTAINER:
            given = {str(each.get("name")): each.get("value") for each in container.get("env") or []}
            mode = {"envelope"} if given.get("ASYA_HANDLER_MODE") == "envelope" else set()
            return frozenset(name for name in given if name.startswith("ASYA_HANDLER_")) | mode
    return frozenset()


def _writes_routes(actor: Actor) -> bool:
    return "envelope" in _handlers(actor.body)


def _names(other: Actor, name: str) -> bool:
    return _variable(name) in _handlers(other.body)


def _variable(name: str) -> str:
    """The mapping variable by which a flow's router finds an actor (docs/reference/flow-language.md)."""
    return f"ASYA_HANDLER_{name.upper().replace('-', '_')}"


def _timeout_seconds(actor: Actor) -> float:
    try:
        return parse_duration(str(unpacked(actor.body).get("timeout", "5m")))
    except ValueError:
        return 300.0


def _listed(names: Sequence[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(listed[:NAMED]) + more
