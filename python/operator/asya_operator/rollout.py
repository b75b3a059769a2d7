"""Turns for restarts that nobody asked for: a new sidecar or runtime after an upgrade of the operator. Called by `reconcile`.

A sleeping actor changes at once. Of those awake only some restart at a time; the next has its turn when one is Available again. A change
of an actor's spec never waits. It knows keys and times only.
"""

from collections.abc import Callable
from typing import Final

__all__ = ["Rollout"]

Key = tuple[str, str]
GIVE_UP_SECONDS: Final = 900.0
"""An actor that has not become Available by then is broken in a way of its own and must not hold up the others."""


class Rollout:
    """Turns.

    Args:
        most: restarts at a time.
        clock: monotonic seconds.
        has_settled: whether an actor's workload runs its newest template and is Available, or is gone.
    """

    def __init__(self, most: int, *, clock: Callable[[], float], has_settled: Callable[[Key], bool]) -> None:
        self._most = most
        self._clock = clock
        self._has_settled = has_settled
        self._granted: dict[Key, float] = {}

    def admit(self, key: Key) -> bool:
        """Whether `key` may restart its pods now. A turn that was given stays given until it has settled."""
        if key in self._granted:
            return True
        now = self._clock()
        self._granted = {
            each: since for each, since in self._granted.items() if now - since < GIVE_UP_SECONDS and not self._has_settled(each)
        }
        if len(self._granted) >= self._most:
            return False
        self._granted[key] = now
        return True
