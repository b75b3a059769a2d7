"""How far an envelope is, in whole per cent, and the sentence that goes with it. Arithmetic only.

Called by the store's work and by `http.mcp`. A router may lengthen the route: the number never falls all the same, since the highest so
far is kept.
"""

from collections.abc import Sequence
from typing import Final

__all__ = ["DONE", "HAIR_LIMIT", "hair", "percent", "sentence"]

DONE: Final = 100
HAIR_LIMIT: Final = 0.9
"""How far keep-alive progress may creep above the true number; below the next whole per cent."""
_HALF_WAY: Final = 10
"""Beats to half of `HAIR_LIMIT`."""


def percent(*, hop: int, state: str, route_length: int) -> int:
    """⌊100 · hops finished ÷ route length⌋, at most 99: only the end is 100.

    Args:
        hop: the route's current index at the actor that reports; it has finished all before.
        state: ``done`` counts this hop as finished too.
        route_length: entries of the route as the actor knows it; 0 counts as unknown and gives 0.
    """
    if route_length <= 0:
        return 0
    finished = max(0, hop) + (1 if state == "done" else 0)
    return min(DONE - 1, DONE * min(finished, route_length) // route_length)


def sentence(*, actor: str | None, hop: int, route: Sequence[str], state: str = "") -> str:
    """``tokenize (2 of 5)``, with the state where it says more: ``tokenize (2 of 5), retrying``."""
    place = f"{actor or 'envelope'} ({min(hop + 1, len(route))} of {len(route)})" if route else (actor or "envelope")
    return f"{place}, retrying" if state == "retrying" else place


def hair(beats: int) -> float:
    """What keep-alive adds after `beats` beats: grows with each, never reaches `HAIR_LIMIT`."""
    return HAIR_LIMIT * beats / (beats + _HALF_WAY)
