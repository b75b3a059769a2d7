"""The states of a delivery."""

from enum import StrEnum


class State(StrEnum):
    """Where a delivery is."""

    WAITING = "waiting"
    """Checked, waiting for a free slot of the runtime."""
    RUNNING = "running"
    """Its call is open."""
    PUBLISHING = "publishing"
    """Its outputs are on their way."""
    STALLED = "stalled"
    """At least one output waits to be published again."""
    REPORTING = "reporting"
    """An end actor's: the final report is on its way."""
    RETRYING = "retrying"
    """It is being put back for later, or moved to the dead-letter queue."""
    ORPHANED = "orphaned"
    """Its receipt was lost; its work is kept in case the message comes again."""
    SETTLED = "settled"
    """Done; nothing is remembered."""
