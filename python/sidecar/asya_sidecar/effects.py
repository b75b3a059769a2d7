"""What can happen to a sidecar (events) and what it can do about it (effects). Values only.

`decide` turns events into effects; `perform` carries them out, in list order. Neither a broker, a socket nor a clock is known here.

Numbers: a *delivery* is one handing-over of a message, numbered by the sidecar as it arrives; a *token* is one publish; a *call* is one run
of the handler. All three are numbered from 1 and never used twice in one process.

Structs and not dataclasses: a dozen is made per message, and defining the classes took 18 ms of each start, now 3 (msgspec 0.22).
"""

from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from asya_core.transports.base import PublishOutcome, Receipt, SettledOutcome
from asya_core.wire.envelope import Claim
from asya_core.wire.reply import Reply

if TYPE_CHECKING:  # at run time only where tracing is on
    from asya_core.wire.trace import Span

__all__ = [
    "Ack",
    "Call",
    "CallsEnded",
    "Cancelled",
    "CloseRuntime",
    "ConsumeLinkChanged",
    "DeliveryRecord",
    "DrainEnded",
    "DrainRequested",
    "Effect",
    "Event",
    "ExportSpans",
    "Fetch",
    "FetchEnded",
    "FetchOutcome",
    "FinalAnswer",
    "FinalReported",
    "GraceOver",
    "Leave",
    "LogDelivery",
    "MessageArrived",
    "Outcome",
    "ProgressStatus",
    "Publish",
    "PublishEnded",
    "PublishLinkChanged",
    "Reject",
    "Replied",
    "Report",
    "ReportFinal",
    "Requeue",
    "Retry",
    "RetryEnded",
    "RuntimeLost",
    "RuntimeReady",
    "SetPrefetch",
    "Store",
    "StoreEnded",
    "Timer",
    "TimerFired",
    "TimerKind",
    "Unsubscribe",
]


class Outcome(StrEnum):
    """How a delivery was settled; the label of ``deliveries_total`` and of the log line."""

    OK = "ok"
    """All outputs confirmed."""
    ENDED = "ended"
    """The handler ended the envelope; it is in happy-end's queue."""
    ERROR = "error"
    """An error record is in error-end's queue, or in that of a catch entry."""
    RETRY = "retry"
    """It comes again later, with a higher attempt."""
    REQUEUE = "requeue"
    """It was given back untouched."""
    DROPPED = "dropped"
    """Nothing was done with it: its receipt was lost, or it was a copy of one that is done."""


class ProgressStatus(StrEnum):
    """What a progress report tells."""

    RECEIVED = "received"
    RUNNING = "running"
    RETRYING = "retrying"
    DONE = "done"


class TimerKind(StrEnum):
    """What a timer is for."""

    LIMIT = "limit"
    """The earliest limit of the open calls is over. Delivery 0: one timer for all, so that a call that ends in time costs none."""
    STALLED = "stalled"
    """Publish again what was returned, refused, or failed on its way to an end actor."""
    RETRY = "retry"
    """Ask again for a `Retry` or `Reject` whose outcome was lost."""
    NO_RUNTIME = "no_runtime"
    """The runtime has been away for 30 s. Delivery 0."""
    ORPHAN = "orphan"
    """Forget a delivery whose receipt was lost."""


# ---------------------------------------------------------------------------------------------------------------------- events


class MessageArrived(msgspec.Struct, frozen=True, gc=False):
    """The transport handed a message over. Fields as in `asya_core.transports.base.Delivered`."""

    receipt: Receipt
    body: bytes
    attempt: int
    origin: str | None = None


class PublishEnded(msgspec.Struct, frozen=True, gc=False):
    """The one outcome of a publish."""

    token: int
    outcome: PublishOutcome


class RetryEnded(msgspec.Struct, frozen=True, gc=False):
    """The one outcome of a `Retry` or `Reject`."""

    receipt: Receipt
    outcome: SettledOutcome


class ConsumeLinkChanged(msgspec.Struct, frozen=True, gc=False):
    """The consume link came up or went down. Going down kills all receipts."""

    connected: bool


class PublishLinkChanged(msgspec.Struct, frozen=True, gc=False):
    """The publish link came up or went down."""

    connected: bool


class RuntimeReady(msgspec.Struct, frozen=True, gc=False):
    """The runtime said HELLO: its handler is loaded.

    Attributes:
        concurrency: calls that it takes at a time, 1–64.
        ahead: calls that may be handed to it beyond those, each begun when the answer to one before it frees a slot, 0–64.
    """

    concurrency: int
    ahead: int = 0


class RuntimeLost(msgspec.Struct, frozen=True, gc=False):
    """The runtime's connection is gone, or it broke the protocol.

    Attributes:
        code: ``runtime_crashed`` or ``bad_reply``; the code of the error record if attempts are spent.
        message: one sentence, with signal or exit code if known.
    """

    code: str
    message: str


class CallsEnded(msgspec.Struct, frozen=True):
    """Slots of the runtime are free. `Replied` of each call follows at once, with nothing in between.

    Told apart so that the next calls leave before the answers are worked on: a slot then idles for a wake-up, not for a decision.

    Attributes:
        calls: their numbers.
    """

    calls: tuple[int, ...]


class Replied(msgspec.Struct, frozen=True, gc=False):
    """The runtime answered a call.

    Attributes:
        call: the call's number.
        reply: the parsed reply.
    """

    call: int
    reply: Reply


class TimerFired(msgspec.Struct, frozen=True, gc=False):
    """A `Timer` ran out."""

    kind: TimerKind
    delivery: int


class FinalAnswer(StrEnum):
    """What the gateway said to a final report."""

    RECORDED = "recorded"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


class FinalReported(msgspec.Struct, frozen=True, gc=False):
    """The one outcome of a `ReportFinal`."""

    delivery: int
    answer: FinalAnswer


class FetchOutcome(StrEnum):
    """What became of a `Fetch`."""

    FETCHED = "fetched"
    """The payload is there, with the right size and hash."""
    INVALID = "invalid"
    """There is no such object, or it is another one; trying again never helps."""
    AWAY = "away"
    """The storage could not be asked for a minute."""


class FetchEnded(msgspec.Struct, frozen=True, gc=False):
    """The one outcome of a `Fetch`.

    Attributes:
        payload: the payload's bytes if it was fetched.
        message: one sentence if it is invalid.
    """

    token: int
    outcome: FetchOutcome
    payload: bytes = b""
    message: str = ""


class StoreEnded(msgspec.Struct, frozen=True, gc=False):
    """The one outcome of a `Store`.

    Attributes:
        is_stored: all objects are in claim storage; else it could not be asked for a minute.
    """

    token: int
    is_stored: bool


class Cancelled(msgspec.Struct, frozen=True, gc=False):
    """The gateway told that these envelope ids are cancelled."""

    ids: tuple[str, ...]


class DrainRequested(msgspec.Struct, frozen=True, gc=False):
    """Take nothing new.

    Attributes:
        final: True for SIGTERM, after which the process leaves; False for the runtime's DRAIN, after which a new HELLO resumes.
    """

    final: bool


class GraceOver(msgspec.Struct, frozen=True, gc=False):
    """The time for draining is spent: leave without settling what is open."""


Event: TypeAlias = (
    MessageArrived
    | PublishEnded
    | RetryEnded
    | ConsumeLinkChanged
    | PublishLinkChanged
    | RuntimeReady
    | RuntimeLost
    | CallsEnded
    | Replied
    | TimerFired
    | FinalReported
    | FetchEnded
    | StoreEnded
    | Cancelled
    | DrainRequested
    | GraceOver
)

# --------------------------------------------------------------------------------------------------------------------- effects


class Fetch(msgspec.Struct, frozen=True, gc=False):
    """Fetch a payload from claim storage and compare size and hash; answered by `FetchEnded` with the same token."""

    token: int
    claim: Claim


class Store(msgspec.Struct, frozen=True, gc=False):
    """Put payloads into claim storage unless they are there; answered by `StoreEnded` with the same token.

    Attributes:
        objects: key and bytes of each.
    """

    token: int
    objects: tuple[tuple[str, bytes], ...]


class Call(msgspec.Struct, frozen=True, gc=False):
    """Run the handler on `body`, the message exactly as received (a claim spliced in).

    Attributes:
        call: its number.
        limit_ms: the call's time limit in ms.
    """

    call: int
    limit_ms: int
    body: bytes


class CloseRuntime(msgspec.Struct, frozen=True, gc=False):
    """Close the connection to the runtime, so that no late reply can arrive, and connect again. No `RuntimeLost` is expected for it."""


class Publish(msgspec.Struct, frozen=True, gc=False):
    """Publish `body` to `queue`; answered by `PublishEnded` with the same token."""

    token: int
    queue: str
    body: bytes


class Retry(msgspec.Struct, frozen=True, gc=False):
    """Deliver the message again after a delay; answered by `RetryEnded`."""

    receipt: Receipt
    delay_seconds: float


class Ack(msgspec.Struct, frozen=True, gc=False):
    """The message is done."""

    receipt: Receipt


class Requeue(msgspec.Struct, frozen=True, gc=False):
    """Give the message back untouched."""

    receipt: Receipt


class Reject(msgspec.Struct, frozen=True, gc=False):
    """Move the message to the dead-letter queue; answered by `RetryEnded`."""

    receipt: Receipt


class Report(msgspec.Struct, frozen=True, gc=False):
    """Tell the gateway where the envelope is, if convenient. May be lost.

    Attributes:
        current: the actor's index in `route`.
        route: all entries, as this actor received them.
        parent_id: the envelope that fanned out into this one, or None.
    """

    envelope_id: str
    status: ProgressStatus
    current: int
    attempt: int
    route: tuple[str, ...]
    parent_id: str | None = None


class ReportFinal(msgspec.Struct, frozen=True, gc=False):
    """Tell the gateway how the envelope ended; answered by `FinalReported`.

    Attributes:
        body: the end actor's output: the envelope as JSON bytes, with ``asya_stored``.
    """

    delivery: int
    envelope_id: str
    body: bytes


class Timer(msgspec.Struct, frozen=True, gc=False):
    """Fire `TimerFired` of this kind and delivery after a delay; replaces an open one of the same kind and delivery.

    Attributes:
        delay_seconds: None cancels the open one.
    """

    kind: TimerKind
    delivery: int
    delay_seconds: float | None


class SetPrefetch(msgspec.Struct, frozen=True, gc=False):
    """Subscribe to the actor's queue with this prefetch, or change it."""

    prefetch: int


class Unsubscribe(msgspec.Struct, frozen=True, gc=False):
    """Take no more deliveries."""


class DeliveryRecord(msgspec.Struct, frozen=True, gc=False):
    """What the canonical log line and the metrics say of one settled delivery. Durations in ms; None where it did not come so far."""

    envelope_id: str
    attempt: int
    outcome: Outcome
    code: str | None = None
    next: tuple[str, ...] = ()
    items: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    wait_ms: float | None = None
    handler_ms: float | None = None
    publish_ms: float | None = None
    total_ms: float = 0.0
    error_codes: tuple[str, ...] = ()
    """Codes of the error records that were published for it."""


class LogDelivery(msgspec.Struct, frozen=True, gc=False):
    """A delivery was settled: write its line, count it."""

    record: DeliveryRecord


class ExportSpans(msgspec.Struct, frozen=True, gc=False):
    """Send these spans away, if convenient. May be lost; only where tracing is on."""

    spans: "tuple[Span, ...]"


class DrainEnded(msgspec.Struct, frozen=True, gc=False):
    """Nothing is open any more after a `DrainRequested` that was not final: wait for the next HELLO."""


class Leave(msgspec.Struct, frozen=True, gc=False):
    """Close the transport, flush, exit 0."""


Effect: TypeAlias = (
    Fetch
    | Store
    | Call
    | CloseRuntime
    | Publish
    | Retry
    | Ack
    | Requeue
    | Reject
    | Report
    | ReportFinal
    | Timer
    | SetPrefetch
    | Unsubscribe
    | LogDelivery
    | ExportSpans
    | DrainEnded
    | Leave
)
