"""The route of one run: parsed from ``--route``, checked against the actors that are there. Pure.

Called by `project`. Knows no queue.
"""

from collections.abc import Collection, Mapping, Sequence

from asya_cli.errors import nearest
from asya_cli.run.actor import ActorSpec
from asya_core.wire.errors import RemoteFault
from asya_core.wire.names import is_end_actor, is_route_entry, split_entry
from asya_core.wire.route import MAX_ENTRIES

__all__ = ["check_route", "parse_route", "reachable"]


def parse_route(text: str) -> tuple[str, ...]:
    """The entries of ``a,b:step,c``; blanks around them do not count. Raises RemoteFault ``bad_route``."""
    entries = tuple(entry.strip() for entry in text.split(","))
    if not all(entries):
        raise RemoteFault("bad_route", f"Route {text!r} has an empty entry", "write actors with single commas between them: a,b:step,c")
    return entries


def check_route(entries: Sequence[str], actors: Collection[str], *, source: str) -> None:
    """Raise RemoteFault ``bad_route`` for an entry that is not legal or names none of `actors`; `source` says where the route stands."""
    if not 1 <= len(entries) <= MAX_ENTRIES:
        raise RemoteFault(
            "bad_route", f"{source}: route has {len(entries)} entries; expected 1 to {MAX_ENTRIES}", "name at least one actor"
        )
    for entry in entries:
        actor = split_entry(entry)[0]
        if is_end_actor(actor):
            raise RemoteFault("bad_route", f"{source}: {actor} is an end actor, every route ends there", "leave it out")
        if actor not in actors:
            raise RemoteFault(
                "bad_route", f"{source}: route names actor {actor!r}, which is not among the values files", nearest(actor, actors)
            )
        if not is_route_entry(entry):
            raise RemoteFault(
                "bad_route", f"{source}: route entry {entry!r} is not legal", "write ACTOR or ACTOR:STEP, step of [A-Za-z0-9_.-]"
            )


def reachable(entries: Sequence[str], actors: Mapping[str, ActorSpec]) -> tuple[str, ...]:
    """The actors that an envelope on this route may meet, those of the route first.

    Only a handler in envelope mode can change a route: with none of them on it, the actors of the route are all.
    """
    first = list(dict.fromkeys(split_entry(entry)[0] for entry in entries))
    if any(actors[name].mode == "envelope" for name in first):
        first += sorted(set(actors) - set(first))
    return tuple(first)
