"""When is an envelope final? One, or all the envelopes it fanned out into. Pure.

Called by `post` with what arrives in the end queues. Knows no queue.

Each fan-out appends its sibling count to header ``asya-fanout``. So an envelope that ended stands for 1/(n1·n2·…) of the one that was sent,
and all are in when the shares make one, whatever the ids look like and however often a copy is delivered.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod
from typing import Any, Final

__all__ = ["Ended", "Gathering"]

_SUFFIX: Final = re.compile(r"\.(\d+)\.(\d+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An envelope in an end queue.

    Attributes:
        id: its id.
        parent_id: of the envelope that fanned out into it, or None.
        fanout: sibling counts, outermost first.
        payload: any JSON value.
        error: the member ``error`` of a failed one, else None.
    """

    id: str
    parent_id: str | None
    fanout: tuple[int, ...]
    payload: Any
    error: Mapping[str, Any] | None

    @classmethod
    def of(cls, envelope: Mapping[str, Any]) -> "Ended":
        """Read a decoded envelope."""
        fanout = (envelope.get("headers") or {}).get("asya-fanout") or ()
        return cls(
            id=str(envelope.get("id", "")),
            parent_id=envelope.get("parent_id"),
            fanout=tuple(count for count in fanout if isinstance(count, int) and count > 0),
            payload=envelope.get("payload"),
            error=envelope.get("error"),
        )

    @property
    def places(self) -> tuple[int, ...]:
        """Its place among its siblings on each level, outermost first; empty if the ids are the handler's own."""
        places: list[int] = []
        rest = self.id
        for _ in self.fanout:
            match = _SUFFIX.search(rest)
            if match is None:
                return ()
            places.append(int(match[2]))
            rest = rest[: match.start()]
        return tuple(reversed(places))


@dataclass(slots=True)
class Gathering:
    """Waits for everything that the envelope `root` becomes.

    Attributes:
        root: the id that was sent.
        ended: what has come so far, by id.
    """

    root: str
    ended: dict[str, Ended] = field(default_factory=dict)
    _ids: set[str] = field(default_factory=set)

    def takes(self, ended: Ended) -> bool:
        """Whether `ended` belongs to this envelope. If so it is kept; a copy of one that is there changes nothing."""
        is_ours = ended.id == self.root or ended.id.startswith(self.root + ".") or (ended.parent_id in self._ids | {self.root})
        if is_ours:
            self._ids.add(ended.id)
            self.ended.setdefault(ended.id, ended)
        return is_ours

    @property
    def share(self) -> Fraction:
        """How much of the envelope is final, 0 to 1."""
        counted = (each for each in self.ended.values() if each.fanout or each.id == self.root)
        return sum((Fraction(1, prod(each.fanout)) for each in counted), Fraction(0))

    @property
    def is_complete(self) -> bool:
        """Whether nothing is awaited any more."""
        return self.share >= 1

    @property
    def failed(self) -> list[Ended]:
        """Those that failed, in order."""
        return [each for each in self._ordered() if each.error is not None]

    def result(self) -> Any:
        """The final payload; after a fan-out a list, nested as the fan-outs were, in the order in which the handlers gave the items."""
        ordered = self._ordered()
        if len(ordered) == 1 and not ordered[0].fanout:
            return ordered[0].payload
        if not all(each.places for each in ordered):
            return [each.payload for each in ordered]
        tree: dict[int, Any] = {}
        for each in ordered:
            level = tree
            for place in each.places[:-1]:
                level = level.setdefault(place, {})
            level[each.places[-1]] = _Leaf(each.payload)
        return _as_lists(tree)

    def _ordered(self) -> list[Ended]:
        counted = [each for each in self.ended.values() if each.fanout or each.id == self.root]
        return sorted(counted, key=lambda each: (each.places, each.id))


@dataclass(frozen=True, slots=True)
class _Leaf:
    payload: Any


def _as_lists(level: Any) -> Any:
    if isinstance(level, _Leaf):
        return level.payload
    return [_as_lists(level[place]) for place in sorted(level)]
