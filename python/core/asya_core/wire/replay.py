"""What a replay sends: a stored record, or a first message, as a new envelope. Decisions only.

Called by the gateway and, where there is none, by the command line. Records are kept by id and final states absorb, so a replay is always
a new envelope with a new id. Knows neither storage nor broker.
"""

from collections.abc import Mapping
from typing import Any, Final

from asya_core.wire.errors import Refused, RemoteFault
from asya_core.wire.names import is_end_actor, is_route_entry, split_entry

__all__ = ["UNREADABLE", "replayed"]

UNREADABLE: Final = "unreadable-"
"""What ids of records begin with whose message was no envelope (docs/reference/envelope.md)."""
_DROPPED: Final = ("error", "asya_stored", "parent_id", "deadline")
_DROPPED_HEADERS: Final = ("asya-hops", "asya-fanout", "asya-sent")
"""A replay counts its own hops, and for no parent; it was not sent yet."""
_CATCH: Final = "asya-catch"
"""Who takes a failure. It stays where the envelope goes on from where it failed, and is left behind where it begins elsewhere."""


def replayed(old: Mapping[str, Any], *, new_id: str, deadline: str | None, start: str, actor: str | None) -> tuple[dict[str, Any], int]:
    """The new envelope, and the index of its first actor.

    Args:
        old: the envelope as it was stored, or as it was first sent: parsed JSON.
        new_id: its id.
        deadline: RFC 3339; None: it has none.
        start: ``failed``: where the record stands; ``start``: the first entry.
        actor: an entry to begin at instead; looked for in the route, else it becomes the whole route.

    Raises RemoteFault ``bad_request``, Refused ``not_replayable``.
    """
    if str(old.get("id", "")).startswith(UNREADABLE):
        raise Refused("not_replayable", "The message was no envelope", "its bytes are in the record's payload; send a correct one")
    entries, current = _place(old)
    if start == "start":
        current = 0
    if actor is not None:
        if not is_route_entry(actor) or is_end_actor(split_entry(actor)[0]):
            raise RemoteFault("bad_request", f"actor is {actor[:60]!r}; expected an actor's name", "correct it")
        places = [index for index, entry in enumerate(entries) if entry == actor or split_entry(str(entry))[0] == actor]
        entries, current = (entries, places[-1]) if places else ([actor], 0)
    if current >= len(entries):
        raise Refused("not_replayable", "The envelope had passed its last actor", 'replay it from "start", or name an actor')
    dropped = _DROPPED_HEADERS if start == "failed" and actor is None else (*_DROPPED_HEADERS, _CATCH)
    raw_headers = old.get("headers")
    headers = {name: value for name, value in raw_headers.items() if name not in dropped} if isinstance(raw_headers, dict) else {}
    envelope = {name: value for name, value in old.items() if name not in _DROPPED}
    envelope |= {"id": new_id, "route": {"actors": entries, "current": current}, "headers": headers}
    if deadline is not None:
        envelope["deadline"] = deadline
    return envelope, current


def _place(old: Mapping[str, Any]) -> tuple[list[Any], int]:
    raw_route = old.get("route")
    route: Mapping[str, Any] = raw_route if isinstance(raw_route, dict) else {}
    entries, current = route.get("actors"), route.get("current") or 0
    is_whole = isinstance(entries, list) and bool(entries) and all(isinstance(each, str) and is_route_entry(each) for each in entries)
    is_whole = is_whole and isinstance(current, int) and current >= 0 and ("payload" in old or "asya_claim" in old)
    if not is_whole or not isinstance(entries, list):
        raise Refused("not_replayable", "The record has no route or payload", "send the message again by hand")
    return entries, int(current)
