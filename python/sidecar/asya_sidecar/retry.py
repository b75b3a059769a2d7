"""When a failed run is tried again, and after how long. Pure; randomness is handed in.

Called by `decide`. Knows neither broker nor clock. Source of the rules: docs/reference/sidecar-lifecycle.md, section "Retries".
"""

from collections.abc import Sequence
from random import Random
from typing import Final

import msgspec

__all__ = ["CRASH_ATTEMPTS", "END_ACTOR_ATTEMPTS", "RetryPolicy", "crash_delay", "end_actor_delay", "full_jitter"]

CRASH_ATTEMPTS: Final = 3
"""Attempts that a delivery whose run ended with the runtime gets at least."""
END_ACTOR_ATTEMPTS: Final = 100
"""Attempts that an end actor has to store a result."""
_LONGEST_SECONDS: Final = 512.0


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The ``retry`` of an actor. Applies to exceptions of the handler (code ``handler_error``) only.

    Attributes:
        max_attempts: runs that one envelope gets, the first included.
        initial_seconds: the longest first delay.
        factor: by how much each further delay may be longer.
        max_seconds: the longest delay of all.
        include: names of exceptions that are retried, in full or by their last part; empty: all.
        exclude: names of exceptions that are not; wins over `include`.
    """

    max_attempts: int = 1
    initial_seconds: float = 1.0
    factor: float = 2.0
    max_seconds: float = 300.0
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def takes(self, mro: Sequence[str]) -> bool:
        """Whether an exception with these class names (its own first, then its bases) is one that is retried."""
        names = {*mro, *(name.rpartition(".")[2] for name in mro)}
        if not names.isdisjoint(self.exclude):
            return False
        return not self.include or not names.isdisjoint(self.include)

    def delay(self, attempt: int, random: Random, longest_seconds: float = _LONGEST_SECONDS) -> float:
        """Seconds to wait after attempt `attempt` (1 is the first): full jitter in (0, min(max, initial × factorⁿ⁻¹)].

        Args:
            attempt: the attempt that failed.
            random: where the jitter comes from.
            longest_seconds: what the transport can hold back at most.
        """
        ceiling = min(self.max_seconds, longest_seconds)
        return full_jitter(ceiling, self.initial_seconds, self.factor, attempt, random)


def crash_delay(attempt: int) -> float:
    """Seconds to wait after a run that ended with the runtime: 1, 2, 4 … 512, so that a new worker has time to load."""
    return min(_LONGEST_SECONDS, 2.0 ** min(attempt - 1, 9))


def end_actor_delay(attempt: int, random: Random) -> float:
    """Seconds to wait before an end actor stores or reports again: full jitter, from 1 s up to 512 s."""
    return full_jitter(_LONGEST_SECONDS, 1.0, 2.0, attempt, random)


def full_jitter(ceiling: float, initial: float, factor: float, attempt: int, random: Random) -> float:
    """Seconds in (0, min(ceiling, initial × factorⁿ⁻¹)], n = `attempt`, evenly spread so that clients do not come in step."""
    try:
        bound = min(ceiling, initial * factor ** (attempt - 1))
    except OverflowError:
        bound = ceiling
    return bound * (1.0 - random.random())
