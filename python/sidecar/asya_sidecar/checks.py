"""Whether an envelope may be handled here: the checks on receipt, in order, and those right before the run.

Called by `decide`. Knows no broker; the time is handed in. Source: docs/reference/envelope.md, "Checks on receipt".
"""

from collections.abc import Container
from datetime import datetime, timedelta
from typing import Final

from asya_core.wire.claims import is_claim_key
from asya_core.wire.envelope import Claim, Envelope
from asya_core.wire.reply import ErrorReply
from asya_sidecar.policy import Policy

__all__ = ["DEADLINE_SLACK_SECONDS", "check_before_run", "check_receipt", "failure", "run_limit"]

DEADLINE_SLACK_SECONDS: Final = 5.0
"""How far past its deadline an envelope still counts as in time: clocks differ."""
_SLACK: Final = timedelta(seconds=DEADLINE_SLACK_SECONDS)


def failure(code: str, message: str) -> ErrorReply:
    """A failure that no exception of the handler stands behind."""
    return ErrorReply(code=code, type=None, mro=(), message=message, traceback=None)


def check_receipt(envelope: Envelope, policy: Policy, *, attempt: int, wall: datetime, cancelled: Container[str]) -> ErrorReply | None:
    """What speaks against handling `envelope` here; None if nothing does.

    Envelopes for end actors are only checked for their claim: they are stored whatever their route, age and history.

    Args:
        envelope: well-formed, by `asya_core.wire.envelope.parse`.
        policy: the actor's.
        attempt: of this delivery.
        wall: the time of day.
        cancelled: ids of cancelled envelopes.
    """
    if not policy.is_end_actor:
        route = envelope.route
        if route.actor != policy.actor:  # a route that is done is happy-end's, which is not checked here
            return failure("route_mismatch", f"Envelope is for {_place(envelope)}; this is actor {policy.actor}")
        if envelope.hops > policy.max_hops:
            return failure("route_too_long", f"Envelope made {envelope.hops} hops; expected at most {policy.max_hops}")
        against = check_before_run(envelope, policy, wall=wall, cancelled=cancelled)
        if against is not None:
            return against
        if attempt > policy.delivery_limit:
            return failure("too_many_deliveries", f"Message was delivered {attempt} times; expected at most {policy.delivery_limit}")
    return None if envelope.claim is None else _check_claim(envelope.claim, policy)


def _check_claim(claim: Claim, policy: Policy) -> ErrorReply | None:
    if policy.claim_threshold is None:
        return failure("claim_invalid", "Payload is in claim storage, and this sidecar has none to fetch it from")
    if not is_claim_key(claim):
        return failure("claim_invalid", f"Payload's claim has the key {claim.key[:80]!r}, which no sidecar makes")
    if claim.bytes > policy.max_claim_bytes:
        return failure("claim_invalid", f"Payload's claim has {claim.bytes} bytes; the runtime takes at most {policy.max_claim_bytes}")
    return None


def check_before_run(envelope: Envelope, policy: Policy, *, wall: datetime, cancelled: Container[str]) -> ErrorReply | None:
    """What speaks against running the handler now, although it did not on receipt; None if nothing does. Arguments as above."""
    if policy.is_end_actor:
        return None
    if envelope.deadline is not None and wall - envelope.deadline > _SLACK:
        return failure("deadline_exceeded", f"Envelope's deadline was {envelope.deadline.isoformat()}")
    if envelope.id in cancelled:
        return failure("cancelled", "Envelope was cancelled")
    return None


def run_limit(envelope: Envelope, policy: Policy, wall: datetime) -> float:
    """Seconds that the run may take: the actor's timeout, or what is left until the deadline (with its slack) if that is less."""
    if envelope.deadline is None or policy.is_end_actor:
        return policy.timeout_seconds
    left = (envelope.deadline - wall).total_seconds() + DEADLINE_SLACK_SECONDS
    return min(policy.timeout_seconds, left)


def _place(envelope: Envelope) -> str:
    route = envelope.route
    return "no further actor" if route.is_done else f"actor {route.actor}"
