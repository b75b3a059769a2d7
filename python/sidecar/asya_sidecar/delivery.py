"""What is remembered of one delivery and of its outputs. Data that changes; decides nothing.

Owned by `decide` and the parts that it is made of.
"""

from enum import IntEnum

from asya_core.transports.base import Receipt
from asya_core.wire.envelope import Envelope
from asya_core.wire.reply import Reply
from asya_sidecar.effects import DeliveryRecord, Outcome, Reject, Retry
from asya_sidecar.lifecycle import Happening, State, next_state
from asya_sidecar.outputs import Draft

__all__ = ["Delivery", "Output", "OutputStatus"]


class OutputStatus(IntEnum):
    """Where one output is."""

    HELD = 0
    """To be published, and nobody has been asked to: it is an orphan's."""
    QUEUED = 1
    """Next in line for the publish window."""
    OPEN = 2
    """Published, without an outcome."""
    OBSTRUCTED = 3
    """Returned or refused; waits for its time."""
    CONFIRMED = 4
    """In its queue."""


class Output:
    """One message on its way out.

    Attributes:
        delivery: what it comes of.
        draft: the message.
        status: where it is.
        obstructions: how often it was returned or refused.
        due: when to publish again what is obstructed, in monotonic seconds.
    """

    __slots__ = ("delivery", "draft", "due", "obstructions", "status")

    def __init__(self, delivery: "Delivery", draft: Draft) -> None:
        self.delivery = delivery
        self.draft = draft
        self.status = OutputStatus.HELD
        self.obstructions = 0
        self.due = 0.0


class Delivery:
    """One handing-over of a message, from arrival to settling.

    Attributes:
        number: its number.
        receipt: to settle it with; changes if an orphan is adopted.
        body: the message as it came.
        attempt: of the delivery.
        arrived: when, in monotonic seconds.
        state: where it is.
        envelope: what `body` holds; None if it is unreadable.
        call_body: what the handler is called with.
        call: number of its open call, 0 without one.
        limit_at: when the open call is over its limit, in monotonic seconds.
        held: the reply that came while it was an orphan, or whose large payloads are being stored.
        drafts: its messages while their large payloads are being stored.
        claim_token: of its open fetch or store, 0 without one.
        outputs: its messages; empty before the run ends.
        unconfirmed: outputs that are not in their queue.
        timer_at: when its open timer for obstructed outputs fires; None without one.
        settling: the retry or reject that was asked for.
        settle_tries: how often its outcome was lost.
        codes: of the error records that are published for it.
    """

    __slots__ = (
        "arrived",
        "attempt",
        "body",
        "call",
        "call_body",
        "called",
        "claim_token",
        "codes",
        "drafts",
        "ended",
        "envelope",
        "held",
        "limit_at",
        "number",
        "outputs",
        "receipt",
        "replied",
        "settle_tries",
        "settling",
        "state",
        "timer_at",
        "unconfirmed",
    )

    def __init__(self, number: int, receipt: Receipt, *, body: bytes, attempt: int, arrived: float) -> None:
        self.number = number
        self.receipt = receipt
        self.body = body
        self.attempt = attempt
        self.arrived = arrived
        self.state = State.NEW
        self.envelope: Envelope | None = None
        self.call_body = body
        self.call = 0
        self.limit_at = 0.0
        self.called: float | None = None
        self.replied: float | None = None
        self.held: Reply | None = None
        self.drafts: list[Draft] = []
        self.claim_token = 0
        self.outputs: list[Output] = []
        self.unconfirmed = 0
        self.timer_at: float | None = None
        self.settling: Retry | Reject | None = None
        self.settle_tries = 0
        self.ended = False
        self.codes: list[str] = []

    def change(self, happening: Happening) -> None:
        """Go where `happening` leads. Raises Bug if it cannot happen now."""
        self.state = next_state(self.state, happening)

    @property
    def envelope_id(self) -> str:
        """The envelope's id; empty if the message is unreadable."""
        return "" if self.envelope is None else self.envelope.id

    @property
    def outcome(self) -> Outcome:
        """How it was settled once all outputs are confirmed."""
        if self.codes:
            return Outcome.ERROR
        return Outcome.ENDED if self.ended else Outcome.OK

    def record(self, outcome: Outcome, now: float) -> DeliveryRecord:
        """What log and metrics say of it, settled at `now` (monotonic seconds)."""
        outputs = self.outputs
        codes = self.codes
        called, replied = self.called, self.replied
        if len(outputs) == 1:
            actors: tuple[str, ...] = (outputs[0].draft.actor,)
            bytes_out = len(outputs[0].draft.body)
        else:
            actors = tuple(dict.fromkeys(output.draft.actor for output in outputs))
            bytes_out = sum(len(output.draft.body) for output in outputs)
        return DeliveryRecord(
            self.envelope_id,
            self.attempt,
            outcome,
            codes[0] if codes else None,
            actors,
            len(outputs),
            len(self.body),
            bytes_out,
            None if called is None else (called - self.arrived) * 1e3,
            None if called is None or replied is None else (replied - called) * 1e3,
            None if replied is None or not outputs else (now - replied) * 1e3,
            (now - self.arrived) * 1e3,
            tuple(codes),
        )
