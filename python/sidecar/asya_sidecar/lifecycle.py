"""The life of a delivery: its states, what can happen to it, and where that leads. One table.

Called by `decide` for each change of state. Knows no effects and no broker. docs/reference/sidecar-lifecycle.md explains each row and is
compared with the table by a test.
"""

from enum import StrEnum
from typing import Final

from asya_core.wire.errors import Bug

__all__ = ["TRANSITIONS", "Happening", "State", "next_state"]


class State(StrEnum):
    """Where a delivery is."""

    NEW = "new"
    """Just handed over, nothing decided."""
    FETCHING = "fetching"
    """Checked, its payload is being fetched from claim storage."""
    WAITING = "waiting"
    """Checked, waiting for a free slot of the runtime."""
    AHEAD = "ahead"
    """Its call has been handed to the runtime, which begins it when a slot is free."""
    RUNNING = "running"
    """Its call is open, and was begun."""
    STORING = "storing"
    """Large payloads of its outputs are being put into claim storage; nothing is sent yet."""
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


class Happening(StrEnum):
    """What can happen to a delivery."""

    ACCEPTED = "accepted"
    """The checks on receipt hold, and the payload is there."""
    CLAIMED = "claimed"
    """The checks on receipt hold; the payload is in claim storage."""
    FAILED = "failed"
    """It ends as an error record, or goes to a catch entry."""
    CALLED = "called"
    """A slot is free: the handler runs."""
    HANDED = "handed"
    """All slots are taken, runs are short, and the runtime takes a call ahead."""
    BEGUN = "begun"
    """The answer to another call freed a slot: the handler runs."""
    GIVEN_BACK = "given back"
    """No more calls: draining, or no runtime for 30 s."""
    WITHDRAWN = "withdrawn"
    """The runtime was closed because another call was past its limit; or the call was ahead, and the runtime is gone or drains."""
    OUTPUTS = "outputs"
    """The run ended with outputs, or ended the envelope."""
    LARGE_OUTPUTS = "large outputs"
    """The run ended with outputs, of which some belong in claim storage first."""
    STORED = "stored"
    """All large payloads are in claim storage."""
    RESULT = "result"
    """The run of an end actor stored the result."""
    RETRY = "retry"
    """The run failed and another attempt is left, gateway or claim storage was away, or error-end gives up."""
    RUN_ENDED = "run ended"
    """The run of an orphan ended, whatever came of it."""
    CONFIRMED = "confirmed"
    """An output is in its queue, others are not yet."""
    ALL_CONFIRMED = "all confirmed"
    """The last output is in its queue."""
    OBSTRUCTED = "obstructed"
    """An output was returned or refused, and is to be published again later."""
    REPLACED = "replaced"
    """An error record is to be published instead of an output that cannot be."""
    LOST = "lost"
    """The outcome of a publish, retry or reject is not known."""
    TRY_AGAIN = "try again"
    """The timer of what has to be done again ran out."""
    RECORDED = "recorded"
    """The gateway has the final report, or refused it for good."""
    PUT_BACK = "put back"
    """A retry or reject is durable."""
    RECEIPT_LOST = "receipt lost"
    """The consume link broke."""
    ADOPTED_RUNNING = "adopted running"
    """The message came again: the run goes on, or its reply is taken now."""
    ADOPTED_PUBLISHING = "adopted publishing"
    """The message came again: what is not confirmed is published."""
    ADOPTED_DONE = "adopted done"
    """The message came again and all outputs were confirmed: it is only acknowledged."""
    FORGOTTEN = "forgotten"
    """It did not come again in 60 s, orphans need too much memory, its run is gone, or the sidecar drains."""
    GRACE_OVER = "grace over"
    """The time for draining is spent."""


_S = State
_H = Happening
TRANSITIONS: Final[dict[State, dict[Happening, State]]] = {
    _S.NEW: {
        _H.ACCEPTED: _S.WAITING,
        _H.CLAIMED: _S.FETCHING,
        _H.FAILED: _S.PUBLISHING,
    },
    _S.FETCHING: {
        _H.ACCEPTED: _S.WAITING,
        _H.FAILED: _S.PUBLISHING,
        _H.RETRY: _S.RETRYING,
        _H.GIVEN_BACK: _S.SETTLED,
        _H.RECEIPT_LOST: _S.SETTLED,
        _H.GRACE_OVER: _S.SETTLED,
    },
    _S.WAITING: {
        _H.CALLED: _S.RUNNING,
        _H.HANDED: _S.AHEAD,
        _H.FAILED: _S.PUBLISHING,
        _H.GIVEN_BACK: _S.SETTLED,
        _H.RECEIPT_LOST: _S.SETTLED,
        _H.GRACE_OVER: _S.SETTLED,
    },
    _S.AHEAD: {
        _H.BEGUN: _S.RUNNING,
        _H.WITHDRAWN: _S.WAITING,
        _H.RECEIPT_LOST: _S.ORPHANED,
        _H.GRACE_OVER: _S.SETTLED,
    },
    _S.RUNNING: {
        _H.OUTPUTS: _S.PUBLISHING,
        _H.LARGE_OUTPUTS: _S.STORING,
        _H.FAILED: _S.PUBLISHING,
        _H.RESULT: _S.REPORTING,
        _H.RETRY: _S.RETRYING,
        _H.WITHDRAWN: _S.WAITING,
        _H.RECEIPT_LOST: _S.ORPHANED,
        _H.GRACE_OVER: _S.SETTLED,
    },
    _S.STORING: {
        _H.STORED: _S.PUBLISHING,
        _H.RETRY: _S.RETRYING,
        _H.RECEIPT_LOST: _S.ORPHANED,
        _H.GRACE_OVER: _S.SETTLED,
    },
    _S.PUBLISHING: {
        _H.CONFIRMED: _S.PUBLISHING,
        _H.ALL_CONFIRMED: _S.SETTLED,
        _H.OBSTRUCTED: _S.STALLED,
        _H.REPLACED: _S.PUBLISHING,
        _H.LOST: _S.PUBLISHING,
        _H.RECEIPT_LOST: _S.ORPHANED,
        _H.GRACE_OVER: _S.SETTLED,
    },
    _S.STALLED: {
        _H.CONFIRMED: _S.STALLED,
        _H.OBSTRUCTED: _S.STALLED,
        _H.REPLACED: _S.STALLED,
        _H.LOST: _S.STALLED,
        _H.TRY_AGAIN: _S.PUBLISHING,
        _H.RECEIPT_LOST: _S.ORPHANED,
        _H.GRACE_OVER: _S.SETTLED,
    },
    _S.REPORTING: {
        _H.RECORDED: _S.SETTLED,
        _H.RETRY: _S.RETRYING,
        _H.RECEIPT_LOST: _S.SETTLED,
        _H.GRACE_OVER: _S.SETTLED,
    },
    _S.RETRYING: {
        _H.PUT_BACK: _S.SETTLED,
        _H.LOST: _S.RETRYING,
        _H.TRY_AGAIN: _S.RETRYING,
        _H.RECEIPT_LOST: _S.SETTLED,
        _H.GRACE_OVER: _S.SETTLED,
    },
    _S.ORPHANED: {
        _H.RUN_ENDED: _S.ORPHANED,
        _H.CONFIRMED: _S.ORPHANED,
        _H.ALL_CONFIRMED: _S.ORPHANED,
        _H.OBSTRUCTED: _S.ORPHANED,
        _H.REPLACED: _S.ORPHANED,
        _H.LOST: _S.ORPHANED,
        _H.ADOPTED_RUNNING: _S.RUNNING,
        _H.ADOPTED_PUBLISHING: _S.PUBLISHING,
        _H.ADOPTED_DONE: _S.SETTLED,
        _H.FORGOTTEN: _S.SETTLED,
        _H.GRACE_OVER: _S.SETTLED,
    },
    _S.SETTLED: {},
}
"""Where each happening leads from each state; what is absent cannot happen."""


def next_state(state: State, happening: Happening) -> State:
    """Where `happening` leads from `state`. Raises Bug ``impossible_transition`` if it cannot happen there."""
    try:
        return TRANSITIONS[state][happening]
    except KeyError:
        raise Bug("impossible_transition", f"A delivery that is {state} cannot be {happening}") from None
