"""The route: a list of actors and the index of the one that is handling the envelope. List arithmetic only.

Called by the envelope, the sidecar's decisions and tools. Knows no JSON and no queue.
"""

from functools import cached_property
from typing import Final

import msgspec

from asya_core.wire.names import HAPPY_END, is_end_actor, is_route_entry, split_entry

__all__ = ["MAX_ENTRIES", "Route", "RouteChange", "check_change"]

MAX_ENTRIES: Final = 10_000
"""Entries of one route."""


class Route(msgspec.Struct, frozen=True, dict=True):
    """Where an envelope was and goes.

    Attributes:
        actors: entries ``actor`` or ``actor:step``, visited ones first; 1–10,000.
        current: index of the entry that is handling the envelope; ``len(actors)`` once all are done.
    """

    actors: tuple[str, ...]
    current: int

    @property
    def is_done(self) -> bool:
        """Whether no entry is left: the envelope belongs to happy-end."""
        return self.current >= len(self.actors)

    @cached_property
    def actor(self) -> str:
        """The actor whose queue the envelope belongs in: that of the current entry without its step, happy-end once done."""
        return HAPPY_END if self.is_done else split_entry(self.actors[self.current])[0]

    def advanced(self) -> "Route":
        """The route after the current entry."""
        return self._advanced

    @cached_property
    def _advanced(self) -> "Route":
        return Route(self.actors, self.current + 1)


class RouteChange(msgspec.Struct, frozen=True, gc=False):
    """What an envelope-mode handler may not do with a route.

    Attributes:
        code: ``route_past_changed``, ``route_current_invalid`` or ``route_entry_invalid``.
        message: one sentence.
    """

    code: str
    message: str


def check_change(before: Route, after: Route) -> RouteChange | None:
    """Whether `after`, the route that a handler returned, is a legal successor of `before`; None if it is.

    Rules (docs/reference/envelope.md): entries up to the current one stay; `current` is one further, or more if all entries in between are
    steps of this same actor; later entries are legal names and no end actors. The runtime has advanced a `current` that was left alone.
    """
    done = before.current + 1
    if after.actors[:done] != before.actors[:done]:
        return RouteChange("route_past_changed", f"Route entries 0 to {before.current} may not change")
    if not done <= after.current <= len(after.actors):
        return RouteChange("route_current_invalid", f"Route current is {after.current}; expected {done}")
    own_actor = before.actor
    if any(split_entry(entry)[0] != own_actor for entry in after.actors[done : after.current]):
        return RouteChange("route_current_invalid", f"Route current is {after.current}; it skips entries of other actors after {done}")
    if len(after.actors) > MAX_ENTRIES:
        return RouteChange("route_entry_invalid", f"Route has {len(after.actors)} entries; expected at most {MAX_ENTRIES}")
    for index in range(done, len(after.actors)):
        entry = after.actors[index]
        if not is_route_entry(entry) or is_end_actor(split_entry(entry)[0]):
            return RouteChange("route_entry_invalid", f"Route entry {index} is {entry[:80]!r}; expected an actor's name, and no end actor")
    return None
