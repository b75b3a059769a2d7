"""What a replay sends: a stored record, or a first message, as a new envelope. Decisions only.

Called by `service`. Keys hold nothing but the id and final states absorb, so a replay is always a new envelope with a new id.
"""

from collections.abc import Mapping
from typing import Any, Final

from asya_core.wire.errors import Refused, RemoteFault
from asya_core.wire.names import is_end_actor, is_route_entry, split_entry

__all__ = ["replayed"]

_DROPPED: Final = ("error", "asya_stored", "parent_id", "deadline")
_DROPPED_HEADERS: Final = ("asya-hops", "asya-fanout", "asya-catch")
"""A replay counts its own hops, and for no parent; who would have caught the failure has been left behind."""


def replayed(old: Mapping[str, Any], *, new_id: str, deadline: str, start: str, actor: str | None) -> tuple[dict[str, Any], int]:
    """The new envelope, and the index of its first actor.

    Args:
        old: the envelope as it was stored, or as it was first sent.
        new_id: its id.
        deadline: RFC 3339.
        start: ``failed``: where the record stands; ``start``: the first entry.
        actor: an entry to begin at instead; looked for in the route, else it becomes the whole route.

    Raises RemoteFault ``bad_request``, Refused ``not_replayable``.
    """
    raw_route = old.get("route")
    route: Mapping[str, Any] = raw_route if isinstance(raw_route, dict) else {}
    entries = route.get("actors")
    if not isinstance(entries, list) or not entries or not ("payload" in old or "asya_claim" in old):
        raise Refused("not_replayable", "The record has no route or payload", "send the message again by hand")
    current = 0 if start == "start" else int(route.get("current") or 0)
    if actor is not None:
        if not is_route_entry(actor) or is_end_actor(split_entry(actor)[0]):
            raise RemoteFault("bad_request", f"actor is {actor[:60]!r}; expected an actor's name", "correct it")
        places = [index for index, entry in enumerate(entries) if entry == actor or split_entry(str(entry))[0] == actor]
        entries, current = (entries, places[-1]) if places else ([actor], 0)
    if current >= len(entries):
        raise Refused("not_replayable", "The envelope had passed its last actor", 'replay it from "start", or name an actor')
    raw_headers = old.get("headers")
    headers = {name: value for name, value in raw_headers.items() if name not in _DROPPED_HEADERS} if isinstance(raw_headers, dict) else {}
    envelope = {name: value for name, value in old.items() if name not in _DROPPED}
    envelope |= {"id": new_id, "route": {"actors": entries, "current": current}, "headers": headers, "deadline": deadline}
    return envelope, current
