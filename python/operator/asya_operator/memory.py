"""What a reconciler remembers between reconciles of an actor, in memory only: all of it can be lost at any time. Values, no I/O."""

from dataclasses import dataclass, field

from asya_operator.conditions import Depth
from asya_operator.policies import Verdict

__all__ = ["Memory", "Newcomers"]


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


class Newcomers:
    """Actors whose first status waits until KEDA has seen their ScaledObject. It sees one after the other: of many the last waits longest.

    Args:
        one_seconds: how long one waits that is alone.
        each_seconds: how much longer for each of those that wait together.
    """

    def __init__(self, one_seconds: float, each_seconds: float) -> None:
        self._one_seconds = one_seconds
        self._each_seconds = each_seconds
        self._keys: set[tuple[str, str]] = set()
        self._most = 0

    def wait_seconds(self, key: tuple[str, str]) -> float:
        """How long this one waits."""
        self._keys.add(key)
        self._most = max(self._most, len(self._keys))
        return self._one_seconds + self._each_seconds * (self._most - 1)

    def has_come(self, key: tuple[str, str]) -> None:
        """This one waits no longer: it was seen, or waited long enough, or is gone."""
        self._keys.discard(key)
        if not self._keys:
            self._most = 0
