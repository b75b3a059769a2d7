"""The status of an envelope as callers see it: one table, final states absorb.

Called by the store (guards of its statements are compared with the table by a test) and by `service`. Arithmetic on words only.
"""

from enum import StrEnum
from typing import Final

__all__ = ["FINAL", "OPEN", "TRANSITIONS", "Status", "final_status", "may_become"]


class Status(StrEnum):
    """Where an envelope is."""

    PENDING = "pending"
    """Accepted; no actor has reported it yet."""
    RUNNING = "running"
    """At least one actor has it or had it."""
    SUCCEEDED = "succeeded"
    """happy-end stored its result."""
    FAILED = "failed"
    """error-end stored its record, or the gateway could never hand it over."""
    CANCELLED = "cancelled"
    """A caller gave it up before it ended."""
    EXPIRED = "expired"
    """Its deadline passed before it ended."""


FINAL: Final = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.EXPIRED})
OPEN: Final = frozenset(Status) - FINAL

TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    Status.PENDING: frozenset({Status.RUNNING}) | FINAL,
    Status.RUNNING: frozenset({Status.RUNNING}) | FINAL,
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.EXPIRED: frozenset(),
}
"""What each status may become; ``running`` to itself is progress."""


def may_become(now: Status, wanted: Status) -> bool:
    """Whether an envelope that is `now` may become `wanted`."""
    return wanted in TRANSITIONS[now]


def final_status(reported: str, error_code: str | None) -> Status:
    """The status of a final report.

    Args:
        reported: ``succeeded`` or ``failed``, as an end actor tells it.
        error_code: the error's code, if there is one. ``deadline_exceeded`` is ``expired`` and ``cancelled`` is ``cancelled``, so that the
            mesh and the gateway's own sweeper agree.
    """
    if reported == Status.SUCCEEDED:
        return Status.SUCCEEDED
    match error_code:
        case "deadline_exceeded":
            return Status.EXPIRED
        case "cancelled":
            return Status.CANCELLED
        case _:
            return Status.FAILED
