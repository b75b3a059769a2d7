"""The sidecar's metrics: one table, from which the exposition and the reference page are made.

Called by `consume` and `perform`; at most six increments per delivery.
"""

from typing import Final

from asya_core.ops.metrics import Label, Registry
from asya_core.ops.tracing import SpanFate
from asya_core.transports.base import Link, PublishOutcome
from asya_sidecar.decide import Decider
from asya_sidecar.effects import DeliveryRecord, FinalAnswer, Outcome
from asya_sidecar.lifecycle import State

__all__ = ["BOUNDS", "SidecarMetrics"]

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""Upper bounds of all histograms, seconds: 1 ms to 10 min."""
_OPEN: Final = tuple(state for state in State if state is not State.SETTLED)

_OUTCOME: Final = (Label(name="outcome", values=tuple(Outcome)),)
_CODE: Final = (Label(name="code", meaning="[of the error](envelope.md#the-error-record)"),)
_PUBLISHED: Final = (Label(name="result", values=tuple(PublishOutcome)),)
_STATE: Final = (Label(name="state", values=_OPEN),)
_LOST: Final = (Label(name="reason", values=("timeout", "crash")),)
_LINK: Final = (Label(name="link", values=tuple(Link)),)
_ACTION: Final = (Label(name="action", meaning="as SQS names it"),)
_CLAIM: Final = (Label(name="op", values=("fetch", "store")),)
_ANSWER: Final = (Label(name="result", values=tuple(FinalAnswer)),)
_FATE: Final = (Label(name="result", values=tuple(SpanFate)),)


class SidecarMetrics:
    """All metrics of one sidecar.

    Args:
        actor: the constant label.
    """

    def __init__(self, actor: str) -> None:
        registry = self.registry = Registry("asya_sidecar_", {"actor": actor})
        self.deliveries = registry.counter("deliveries_total", "Settled deliveries by outcome.", _OUTCOME)
        self.errors = registry.counter("errors_total", "Error records published, by code.", _CODE)
        self.handler_seconds = registry.histogram("handler_seconds", "From the call to the runtime's reply.", BOUNDS)
        self.hop_seconds = registry.histogram("hop_seconds", "From receipt to ack.", BOUNDS)
        self.confirm_seconds = registry.histogram("confirm_seconds", "From publish to confirm.", BOUNDS)
        self.publishes = registry.counter("publishes_total", "Publishes by what became of them.", _PUBLISHED)
        self.in_flight = registry.gauge("in_flight", "Deliveries taken and not settled, by state.", _STATE)
        self.prefetch = registry.gauge("prefetch", "Deliveries that may be taken at a time, now.")
        self.unconfirmed = registry.gauge("unconfirmed", "Publishes without an outcome.")
        self.runtime_restarts = registry.counter("runtime_restarts_total", "Workers of the runtime lost in a call.", _LOST)
        self.connected = registry.gauge("connected", "Whether a link to the broker is up, 0 or 1.", _LINK)
        self.reconnects = registry.counter("reconnects_total", "Times that a link to the broker came back.", _LINK)
        self.blocked = registry.gauge("blocked", "Whether the broker takes no publishes, 0 or 1.")
        self.transport_calls = registry.counter(
            "transport_calls_total", "API calls of the transport; SQS only, where each is billed.", _ACTION
        )
        self.progress_dropped = registry.counter("progress_dropped_total", "Progress reports that were lost.")
        self.claim_bytes = registry.counter("claim_bytes_total", "Bytes of payloads fetched from and put into claim storage.", _CLAIM)
        self.final_reports = registry.counter("final_reports_total", "Final reports by the gateway's answer.", _ANSWER)
        self.spans = registry.counter("spans_total", "Spans of traces by what became of them; 0 where tracing is off.", _FATE)

    def settled(self, record: DeliveryRecord) -> None:
        """Count one settled delivery."""
        self.deliveries.add(record.outcome.value)
        if record.handler_ms is not None:
            self.handler_seconds.observe(record.handler_ms / 1000)
        if record.outcome in (Outcome.OK, Outcome.ENDED, Outcome.ERROR):
            self.hop_seconds.observe(record.total_ms / 1000)
        for code in record.error_codes:
            self.errors.add(code)

    def read(self, decider: Decider) -> None:
        """Take over what the decisions know of themselves; before each exposition."""
        states = decider.in_flight
        for state in _OPEN:
            self.in_flight.set(states.get(state, 0), state.value)
        self.prefetch.set(decider.prefetch)
        self.unconfirmed.set(decider.unconfirmed)
