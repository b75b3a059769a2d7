"""The publish window: outputs in line, outputs without an outcome, and what each outcome means for the output.

Called by `decide`, which settles deliveries. Knows no broker: a publish is an effect, its outcome an event.
"""

from collections import deque
from random import Random
from typing import Final

from asya_core.transports.base import PublishOutcome
from asya_core.wire.errors import Bug
from asya_core.wire.names import ERROR_END, is_end_actor
from asya_sidecar.delivery import Delivery, Output, OutputStatus
from asya_sidecar.effects import Effect, Publish, Timer, TimerKind
from asya_sidecar.lifecycle import Happening, State
from asya_sidecar.outputs import Draft, shrunk, too_large_draft, unroutable_draft
from asya_sidecar.policy import Moment, Policy
from asya_sidecar.retry import full_jitter

__all__ = ["Publishing"]

_UNROUTABLE_DELAYS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_REFUSED_SECONDS: Final = 30.0
_TIMER_SLACK: Final = 0.002


class Publishing:
    """All outputs of a sidecar process that are not confirmed yet.

    Args:
        policy: the settings.
        random: where jitter comes from.
    """

    def __init__(self, policy: Policy, random: Random) -> None:
        self._policy = policy
        self._random = random
        self._line: deque[Output] = deque()
        self._open: dict[int, Output] = {}
        self._last_token = 0
        self._is_connected = False

    @property
    def unconfirmed(self) -> int:
        """Publishes without an outcome."""
        return len(self._open)

    def link_changed(self, connected: bool) -> None:
        """Nothing is sent while the publish link is down."""
        self._is_connected = connected

    def add(self, delivery: Delivery, drafts: list[Draft]) -> None:
        """Line up the outputs of a delivery; `pump` sends them."""
        delivery.outputs = [Output(delivery, draft) for draft in drafts]
        delivery.unconfirmed = len(drafts)
        for output in delivery.outputs:
            self._enqueue(output)

    def pump(self, effects: list[Effect]) -> None:
        """Publish what is in line, as far as link and window allow."""
        window = self._policy.publish_window
        while self._line and self._is_connected and len(self._open) < window:
            output = self._line.popleft()
            state = output.delivery.state
            if state is State.ORPHANED:
                output.status = OutputStatus.HELD
            elif state is not State.SETTLED:
                self._last_token += 1
                output.status = OutputStatus.OPEN
                self._open[self._last_token] = output
                effects.append(Publish(self._last_token, self._policy.queue(output.draft.actor), output.draft.body))

    def take(self, token: int) -> Output:
        """The output whose publish this was; it is open no more. Raises Bug for a token that is not open."""
        output = self._open.pop(token, None)
        if output is None:
            raise Bug("unknown_token", f"Publish {token} has an outcome and is not open")
        return output

    def confirmed(self, output: Output) -> bool:
        """The output is in its queue; whether all of its delivery are now."""
        output.status = OutputStatus.CONFIRMED
        output.delivery.unconfirmed -= 1
        return output.delivery.unconfirmed == 0

    def failed(self, output: Output, outcome: PublishOutcome, now: Moment) -> list[Effect]:
        """Decide about an output that did not arrive: publish again, later, or an error record instead. Its delivery is not settled."""
        delivery = output.delivery
        if outcome is PublishOutcome.LOST:
            delivery.change(Happening.LOST)
            self._again(output)
            return []
        draft = output.draft
        to_end_actor = is_end_actor(draft.actor)
        replacement: Draft | None = None
        if outcome is PublishOutcome.RETURNED:
            if not to_end_actor and output.obstructions < self._policy.unroutable_tries:
                return self._obstructed(output, _UNROUTABLE_DELAYS[min(output.obstructions, len(_UNROUTABLE_DELAYS) - 1)], now)
            if not to_end_actor:
                replacement = unroutable_draft(draft, self._policy, attempt=delivery.attempt, at=now.wall)
        elif outcome is PublishOutcome.TOO_LARGE:
            replacement = self._smaller(output, now)
        if replacement is None:
            jitter = full_jitter(_REFUSED_SECONDS, 1.0, 2.0, output.obstructions + 1, self._random)
            return self._obstructed(output, jitter, now)
        delivery.change(Happening.REPLACED)
        if replacement.code is not None and replacement.code != draft.code:
            delivery.codes.append(replacement.code)
        output.draft = replacement
        output.obstructions = 0
        self._again(output)
        return []

    def timer_fired(self, delivery: Delivery, now: float) -> list[Effect]:
        """Line up the obstructed outputs of a stalled delivery whose time has come."""
        delivery.timer_at = None
        rest = []
        for output in delivery.outputs:
            if output.status is OutputStatus.OBSTRUCTED:
                if output.due <= now + _TIMER_SLACK:
                    self._enqueue(output)
                else:
                    rest.append(output.due)
        if not rest:
            delivery.change(Happening.TRY_AGAIN)
            return []
        return self._timer(delivery, min(rest), now)

    def orphaned(self, delivery: Delivery) -> list[Effect]:
        """Hold what is obstructed until the delivery is adopted."""
        for output in delivery.outputs:
            if output.status is OutputStatus.OBSTRUCTED:
                output.status = OutputStatus.HELD
        return self.stop_timer(delivery)

    def adopted(self, delivery: Delivery) -> None:
        """Line up what an orphan held."""
        for output in delivery.outputs:
            if output.status is OutputStatus.HELD:
                self._enqueue(output)

    def stop_timer(self, delivery: Delivery) -> list[Effect]:
        """Cancel the delivery's timer if one is open."""
        if delivery.timer_at is None:
            return []
        delivery.timer_at = None
        return [Timer(TimerKind.STALLED, delivery.number, None)]

    def _enqueue(self, output: Output) -> None:
        output.status = OutputStatus.QUEUED
        self._line.append(output)

    def _again(self, output: Output) -> None:
        if output.delivery.state is State.ORPHANED:
            output.status = OutputStatus.HELD
        else:
            self._enqueue(output)

    def _obstructed(self, output: Output, delay: float, now: Moment) -> list[Effect]:
        delivery = output.delivery
        delivery.change(Happening.OBSTRUCTED)
        output.obstructions += 1
        if delivery.state is State.ORPHANED:
            output.status = OutputStatus.HELD
            return []
        output.status = OutputStatus.OBSTRUCTED
        output.due = now.monotonic + delay
        if delivery.timer_at is None or output.due < delivery.timer_at:
            return self._timer(delivery, output.due, now.monotonic)
        return []

    def _timer(self, delivery: Delivery, due: float, now: float) -> list[Effect]:
        delivery.timer_at = due
        return [Timer(TimerKind.STALLED, delivery.number, due - now)]

    def _smaller(self, output: Output, now: Moment) -> Draft | None:
        delivery, draft = output.delivery, output.draft
        if draft.actor == ERROR_END or delivery.envelope is None:
            return shrunk(draft)
        return too_large_draft(draft, delivery.envelope, self._policy, attempt=delivery.attempt, at=now.wall)
