"""The port of the commands `dlq`: where failed envelopes are, and how one is sent again.

Implemented by `gateway_source`, `storage_source` and `queue_source`; used by `replaying` and `asya_cli.commands.dlq`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from asya_cli.dlq.failures import Failure, Wanted

__all__ = ["Outcome", "Sent", "Source"]


class Outcome(StrEnum):
    """What became of one replay."""

    SENT = "sent"
    """A new envelope is on its way, durably."""
    BEFORE = "replayed before"
    """It has been replayed in the meantime, by this command or another; nothing was sent now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One replay.

    Attributes:
        outcome: what became of it.
        new_id: of the envelope that stands for the old one from now on.
    """

    outcome: Outcome
    new_id: str


class Source(Protocol):
    """Failed envelopes of one place. All calls block."""

    def failures(self, wanted: Wanted, limit: int | None = None) -> list[Failure]:
        """Those that are meant, newest first, at most `limit`. Raises Unavailable, Refused, RemoteFault."""
        ...

    def show(self, envelope_id: str) -> dict[str, Any]:
        """The whole record: the envelope as error-end got it, with its error and traceback.

        Raises Refused ``no_such_record``, Unavailable.
        """
        ...

    def replay(self, failure: Failure, *, actor: str | None, again: bool) -> Sent:
        """Send it again as a new envelope, from the actor that failed or from `actor` on; returns once that is durable.

        Once only, however often it is called and by however many, unless `again`. An interruption at any moment loses nothing: called once
        more it is finished under the same new id. Raises Refused, RemoteFault for this envelope alone, Unavailable.
        """
        ...

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        ...
