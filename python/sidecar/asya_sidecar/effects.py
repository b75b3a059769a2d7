"""What can happen to a sidecar (events) and what it can do about it (effects). Values only.

`decide` turns events into effects; `perform` carries them out, in list order. Neither a broker, a socket nor a clock is known here.

Numbers: a *delivery* is one handing-over of a message, numbered by the sidecar as it arrives; a *token* is one publish; a *call* is one run
of the handler. All three are numbered from 1 and never used twice in one process.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from asya_core.transports.base import PublishOutcome, Receipt, SettledOutcome
from asya_core.wire.reply import Reply

__all__ = [
    "Ack",
    "Call",
    "Cancelled",
    "CloseRuntime",
    "ConsumeLinkChanged",
    "DeliveryRecord",
    "DrainEnded",
    "DrainRequested",
    "Effect",
    "Event",
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


@dataclass(frozen=True, slots=True)
class MessageArrived:
    """The transport handed a message over. Fields as in `asya_core.transports.base.Delivered`."""

    receipt: Receipt
    body: bytes
    attempt: int
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class PublishEnded:
    """The one outcome of a publish."""

    token: int
    outcome: PublishOutcome


@dataclass(frozen=True, slots=True)
class RetryEnded:
    """The one outcome of a `Retry` or `Reject`."""

    receipt: Receipt
    outcome: SettledOutcome


@dataclass(frozen=True, slots=True)
class ConsumeLinkChanged:
    """The consume link came up or went down. Going down kills all receipts."""

    connected: bool


@dataclass(frozen=True, slots=True)
class PublishLinkChanged:
    """The publish link came up or went down."""

    connected: bool


@dataclass(frozen=True, slots=True)
class RuntimeReady:
    """The runtime said HELLO: its handler is loaded.

    Attributes:
        concurrency: calls that it takes at a time, 1–64.
    """

    concurrency: int


@dataclass(frozen=True, slots=True)
class RuntimeLost:
    """The runtime's connection is gone, or it broke the protocol.

    Attributes:
        code: ``runtime_crashed`` or ``bad_reply``; the code of the error record if attempts are spent.
        message: one sentence, with signal or exit code if known.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Replied:
    """The runtime answered a call.

    Attributes:
        call: the call's number.
        reply: the parsed reply.
    """

    call: int
    reply: Reply


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A `Timer` ran out."""

    kind: TimerKind
    delivery: int


class FinalAnswer(StrEnum):
    """What the gateway said to a final report."""

    RECORDED = "recorded"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class FinalReported:
    """The one outcome of a `ReportFinal`."""

    delivery: int
    answer: FinalAnswer


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The gateway told that these envelope ids are cancelled."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DrainRequested:
    """Take nothing new.

    Attributes:
        final: True for SIGTERM, after which the process leaves; False for the runtime's DRAIN, after which a new HELLO resumes.
    """

    final: bool


@dataclass(frozen=True, slots=True)
class GraceOver:
    """The time for draining is spent: leave without settling what is open."""


Event: TypeAlias = (
    MessageArrived
    | PublishEnded
    | RetryEnded
    | ConsumeLinkChanged
    | PublishLinkChanged
    | RuntimeReady
    | RuntimeLost
    | Replied
    | TimerFired
    | FinalReported
    | Cancelled
    | DrainRequested
    | GraceOver
)

# --------------------------------------------------------------------------------------------------------------------- effects


@dataclass(frozen=True, slots=True)
class Call:
    """Run the handler on `body`, the message exactly as received (a claim spliced in).

    Attributes:
        call: its number.
        limit_ms: the call's time limit in ms.
    """

    call: int
    limit_ms: int
    body: bytes


@dataclass(frozen=True, slots=True)
class CloseRuntime:
    """Close the connection to the runtime, so that no late reply can arrive, and connect again. No `RuntimeLost` is expected for it."""


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish `body` to `queue`; answered by `PublishEnded` with the same token."""

    token: int
    queue: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Retry:
    """Deliver the message again after a delay; answered by `RetryEnded`."""

    receipt: Receipt
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class Ack:
    """The message is done."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Requeue:
    """Give the message back untouched."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Reject:
    """Move the message to the dead-letter queue; answered by `RetryEnded`."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the gateway where the envelope is, if convenient. May be lost."""

    envelope_id: str
    status: ProgressStatus
    current: int
    attempt: int


@dataclass(frozen=True, slots=True)
class ReportFinal:
    """Tell the gateway how the envelope ended; answered by `FinalReported`.

    Attributes:
        body: the end actor's output: the envelope as JSON bytes, with ``asya_stored``.
    """

    delivery: int
    envelope_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Timer:
    """Fire `TimerFired` of this kind and delivery after a delay; replaces an open one of the same kind and delivery.

    Attributes:
        delay_seconds: None cancels the open one.
    """

    kind: TimerKind
    delivery: int
    delay_seconds: float | None


@dataclass(frozen=True, slots=True)
class SetPrefetch:
    """Subscribe to the actor's queue with this prefetch, or change it."""

    prefetch: int


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Take no more deliveries."""


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
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
    error_codes: tuple[str, ...] = field(default=())
    """Codes of the error records that were published for it."""


@dataclass(frozen=True, slots=True)
class LogDelivery:
    """A delivery was settled: write its line, count it."""

    record: DeliveryRecord


@dataclass(frozen=True, slots=True)
class DrainEnded:
    """Nothing is open any more after a `DrainRequested` that was not final: wait for the next HELLO."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Close the transport, flush, exit 0."""


Effect: TypeAlias = (
    Call
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
    | DrainEnded
    | Leave
)
