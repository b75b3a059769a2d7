"""Two sets of actors → what changes between them. Pure.

Called by `asya_cli.commands.plan`. Knows neither files nor Git nor a broker.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

__all__ = ["EFFECTS", "ActorValues", "Change", "Changed", "Comparison", "Effect", "Renamed", "compare"]


class Effect(StrEnum):
    """What applying a changed value does to the actor; the worst of several counts."""

    NONE = "no restart"
    """Metadata, objects beside the actor, or how the next roll-out goes."""
    SCALES = "scales, no restart"
    RESTARTS = "restarts"
    """New pods, rolled out; messages wait or are worked on by the old ones meanwhile."""
    MOVES = "moves to another broker"
    """A new queue there; what waits in the old one stays in the old one."""
    REPLACES = "must be made anew"
    """The field of an actor that exists cannot be changed: the operator refuses it."""


EFFECTS: Final[Mapping[str, Effect]] = {
    "transport": Effect.MOVES,
    "queue.type": Effect.REPLACES,
    "queue": Effect.NONE,
    "drainTimeout": Effect.NONE,
    "scaling": Effect.SCALES,
    "workload.kind": Effect.REPLACES,
    "workload": Effect.NONE,
    "labels": Effect.NONE,
    "annotations": Effect.NONE,
    "pdb": Effect.NONE,
    "podMonitor": Effect.NONE,
    "extraObjects": Effect.NONE,
    "deploy": Effect.NONE,
    "libraryOnly": Effect.NONE,
    "actorName": Effect.NONE,
    "enabled": Effect.NONE,
}
"""By key of the values, the longest that fits; every other key is part of the pod, so it restarts."""

_NO_TIME: Final = re.compile(r"0+(ms|s|m|h)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorValues:
    """One actor as its values file describes it.

    Attributes:
        name: of the actor.
        values: as in the file.
        file: for people.
        code: what a router of a flow does, from the flow's graph: its kind, its lines; empty if it is none or nothing is known.
    """

    name: str
    values: Mapping[str, Any]
    file: str
    code: tuple[str, ...] = ()

    @property
    def identity(self) -> tuple[Any, ...] | None:
        """What stays if only the name changes: handler, mode, image and code; None if there is no handler to know it by."""
        values = self.values
        image, files = values.get("image"), (values.get("source") or {}).get("files")
        handler = None if self.code else values.get("handler")
        if not self.code and not handler:
            return None
        return handler, values.get("handlerMode", "payload"), self.code, _frozen(image), _frozen(files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One value that differs; None stands for a key that is not there.

    Attributes:
        key: dotted.
        old: JSON value.
        new: JSON value.
        effect: what it does.
    """

    key: str
    old: Any
    new: Any
    effect: Effect

    def as_json(self) -> dict[str, Any]:
        """``{"key", "old"?, "new"?, "effect"}``."""
        sides = {name: value for name, value in (("old", self.old), ("new", self.new)) if value is not None}
        return {"key": self.key, **sides, "effect": self.effect.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """An actor that stays, with other values."""

    name: str
    changes: tuple[Change, ...]

    @property
    def effect(self) -> Effect:
        """The worst."""
        order = list(Effect)
        return max((each.effect for each in self.changes), key=order.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    """An actor that goes on under another name, and so with another queue."""

    old: str
    new: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that differs, by name.

    Attributes:
        added: names.
        removed: names, without the renamed ones.
        renamed: pairs.
        changed: with what changes.
        unchanged: names.
        upstream: by removed or renamed old name: the actors whose messages may be on their way to it.
        drains: of those that go, the ones that work on until nothing is on its way to them, where the operator lets them.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    renamed: tuple[Renamed, ...] = ()
    changed: tuple[Changed, ...] = ()
    unchanged: tuple[str, ...] = ()
    upstream: Mapping[str, frozenset[str]] = field(default_factory=dict)
    drains: frozenset[str] = frozenset()

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not (self.added or self.removed or self.renamed or self.changed)

    @property
    def gone(self) -> tuple[str, ...]:
        """Actors whose queue nobody will consume: removed, renamed, or moved to another broker."""
        moved = (each.name for each in self.changed if any(change.effect is Effect.MOVES for change in each.changes))
        return tuple(sorted({*self.removed, *(each.old for each in self.renamed), *moved}))


def compare(
    old: Mapping[str, ActorValues], new: Mapping[str, ActorValues], *, edges: Mapping[str, Iterable[str]] | None = None
) -> Comparison:
    """What changes from `old` to `new`.

    Args:
        old: actors by name.
        new: actors by name.
        edges: which actors each one's messages go to, as far as flows tell; of an actor that none of them names, any other may be upstream.
    """
    pairs = _renames(old, new)
    renamed_old, renamed_new = {each for each, _ in pairs}, {each for _, each in pairs}
    same = sorted(old.keys() & new.keys())
    differing = {name: tuple(_changes(old[name].values, new[name].values)) for name in same}
    removed = tuple(sorted(old.keys() - new.keys() - renamed_old))
    comparison = Comparison(
        added=tuple(sorted(new.keys() - old.keys() - renamed_new)),
        removed=removed,
        renamed=tuple(Renamed(old=a, new=b, changes=tuple(_changes(old[a].values, new[b].values))) for a, b in sorted(pairs)),
        changed=tuple(Changed(name=name, changes=changes) for name, changes in differing.items() if changes),
        unchanged=tuple(name for name, changes in differing.items() if not changes),
    )
    upstream = {name: _upstream(name, old, edges or {}) for name in comparison.gone}
    return Comparison(
        added=comparison.added,
        removed=removed,
        renamed=comparison.renamed,
        changed=comparison.changed,
        unchanged=comparison.unchanged,
        upstream=upstream,
        drains=frozenset(name for name in comparison.gone if name not in new and _drains(old[name].values)),
    )


def _renames(old: Mapping[str, ActorValues], new: Mapping[str, ActorValues]) -> list[tuple[str, str]]:
    """Pairs of a removed and an added actor that are alike, where there is only one of each."""
    lost: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    found: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for names, actors, kept in ((lost, old, new), (found, new, old)):
        for name, actor in actors.items():
            if name not in kept and actor.identity is not None:
                names[actor.identity].append(name)
    return [(lost[key][0], found[key][0]) for key in lost if len(lost[key]) == 1 and len(found.get(key, ())) == 1]


def _upstream(name: str, old: Mapping[str, ActorValues], edges: Mapping[str, Iterable[str]]) -> frozenset[str]:
    if not any(name in targets for targets in edges.values()) and name not in edges:
        return frozenset(old) - {name}
    found: set[str] = set()
    look = [name]
    while look:
        target = look.pop()
        for source, targets in edges.items():
            if target in targets and source not in found:
                found.add(source)
                look.append(source)
    return frozenset(found) - {name}


def _drains(values: Mapping[str, Any]) -> bool:
    """Whether a deleted actor works on; an empty drainTimeout is the operator's."""
    return _NO_TIME.fullmatch(str(values.get("drainTimeout") or "")) is None


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    before, after = dict(_leaves(old)), dict(_leaves(new))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key) or type(before.get(key)) is not type(after.get(key)):
            yield Change(key=".".join(key), old=before.get(key), new=after.get(key), effect=_effect(key))


def _leaves(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Everything that is no mapping by its path; null and an empty mapping say the same as nothing."""
    for key, each in value.items():
        inner = (*path, str(key))
        if isinstance(each, Mapping):
            yield from _leaves(each, inner)
        elif each is not None:
            yield inner, each


def _effect(key: tuple[str, ...]) -> Effect:
    return EFFECTS.get(".".join(key[:2])) or EFFECTS.get(key[0], Effect.RESTARTS)


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return tuple(sorted((str(key), _frozen(each)) for key, each in value.items()))
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
