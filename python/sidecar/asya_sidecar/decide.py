"""What a sidecar does about what happens to it: one event in, effects out. The heart of the sidecar.

Called by `consume` (one event at a time, in one thread); `perform` carries the effects out, in list order. Pure: no clock, no I/O, and
randomness is handed in.
"""

from random import Random

from asya_sidecar.effects import Effect, Event
from asya_sidecar.lifecycle import State
from asya_sidecar.policy import Moment, Policy

__all__ = ["Decider", "Moment", "Policy"]


class Decider:
    """All deliveries of one sidecar process, from their arrival to their settling.

    Args:
        policy: the settings.
        random: where jitter comes from.
    """

    def __init__(self, policy: Policy, random: Random) -> None:
        self._policy = policy
        self._random = random

    def handle(self, event: Event, now: Moment) -> list[Effect]:
        """What to do about `event`, in this order. Raises Bug if the event cannot happen now."""
        raise NotImplementedError

    @property
    def in_flight(self) -> dict[State, int]:
        """Deliveries by state; states without any are absent."""
        raise NotImplementedError

    @property
    def prefetch(self) -> int:
        """The prefetch of the subscription; 0 while there is none."""
        raise NotImplementedError

    @property
    def unconfirmed(self) -> int:
        """Publishes without an outcome."""
        raise NotImplementedError

    @property
    def is_draining(self) -> bool:
        """Whether nothing new is taken."""
        raise NotImplementedError

    @property
    def is_runtime_ready(self) -> bool:
        """Whether the runtime takes calls."""
        raise NotImplementedError

    @property
    def is_idle(self) -> bool:
        """Whether no delivery and no publish is open."""
        raise NotImplementedError
