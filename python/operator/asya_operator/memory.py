"""What a reconciler remembers between reconciles of an actor, in memory only: all of it can be lost at any time. Values, no I/O."""

from dataclasses import dataclass, field

from asya_operator.conditions import Depth
from asya_operator.policies import Verdict

__all__ = ["Memory"]


@dataclass(slots=True, kw_only=True)
class Memory:
    """Of one actor (by uid).

    Attributes:
        uid: of the actor; another uid is another actor.
        ensured: generation for which the queue was last declared; None: never, or it must be again.
        queue: what came of it.
        address: of the queue, where the transport has one; empty: not known.
        depth: as last read.
        accepted: by kind, the hash applied last and the paths that differed right after it.
        made: monotonic seconds of the last creation or change of a child.
        awaited: by kind, generation of a child after our last write.
        keeps_queue: the event QueueKept was sent.
        kept: generation for which the copy of its source was last looked at.
        quiet_since: monotonic seconds since which nothing is on its way to the deleted actor; None: something is.
        draining: what was last said about that, when, and why.
        warned: generation for which MixedTransports and CrewMissing were looked at.
    """

    uid: str
    ensured: int | None = None
    queue: Verdict | None = None
    address: str = ""
    depth: Depth | None = None
    accepted: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict)
    made: float = float("-inf")
    awaited: dict[str, int] = field(default_factory=dict)
    keeps_queue: bool = False
    kept: int | None = None
    quiet_since: float | None = None
    draining: tuple[str, float, str] | None = None
    warned: int | None = None
