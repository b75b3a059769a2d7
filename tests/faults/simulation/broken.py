"""Deciders that break a promise on purpose: the simulation must find each of them out."""

from typing import Any

from asya_core.transports.base import PublishOutcome
from asya_sidecar.decide import Decider
from asya_sidecar.effects import Ack, Outcome, Requeue
from asya_sidecar.lifecycle import Happening

__all__ = ["AcksEarly", "ForgetsChildren", "ForgetsLostPublish", "GivesUpWhenReturned", "RequeuesFailures", "RetriesTimeouts"]


class AcksEarly(Decider):
    """Acknowledges with the publish, not with its confirm."""

    def _conclude(self, delivery: Any, reply: Any, now: Any) -> None:
        super()._conclude(delivery, reply, now)
        if delivery.outputs:
            self._effects.append(Ack(delivery.receipt))


class ForgetsLostPublish(Decider):
    """Takes a publish whose outcome is not known for a confirmed one."""

    def _publish_ended(self, event: Any, now: Any) -> None:
        if event.outcome is PublishOutcome.LOST:
            event = type(event)(event.token, PublishOutcome.CONFIRMED)
        super()._publish_ended(event, now)


class GivesUpWhenReturned(Decider):
    """Takes a returned publish for a confirmed one."""

    def _publish_ended(self, event: Any, now: Any) -> None:
        if event.outcome is PublishOutcome.RETURNED:
            event = type(event)(event.token, PublishOutcome.CONFIRMED)
        super()._publish_ended(event, now)


class RequeuesFailures(Decider):
    """Gives a failed message back instead of making an error of it."""

    def _fail(self, delivery: Any, reason: Any, now: Any) -> None:
        self._effects.append(Requeue(delivery.receipt))
        delivery.change(Happening.FAILED)
        self._settle(delivery, Happening.ALL_CONFIRMED, Outcome.REQUEUE, now)


class ForgetsChildren(Decider):
    """Sends the first item of a list only."""

    def _conclude(self, delivery: Any, reply: Any, now: Any) -> None:
        if len(getattr(reply, "items", ())) > 1:
            reply = type(reply)(reply.items[:1], reply.fan_out)
        super()._conclude(delivery, reply, now)


class RetriesTimeouts(Decider):
    """Makes an error record of a timeout and gives the message back as well."""

    def _timed_out(self, delivery: Any, now: Any) -> None:
        super()._timed_out(delivery, now)
        self._effects.append(Requeue(delivery.receipt))
