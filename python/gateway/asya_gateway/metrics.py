"""The gateway's metrics: one table. Made by `app`; labels come from configuration only, never from callers."""

from typing import Final

from asya_core.ops.metrics import Label, Registry
from asya_core.ops.tracing import SpanFate
from asya_core.transports.base import PublishOutcome
from asya_gateway.status import FINAL

__all__ = ["GatewayMetrics"]

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_ENVELOPE_SECONDS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1800.0, 3600.0, 21600.0, 86400.0)

_REQUEST: Final = (
    Label(name="listener", meaning="`public`"),
    Label(name="route", meaning="path with its parameters' names, or `other`"),
    Label(name="status", meaning="HTTP status; 499: the caller went away"),
)
_TOOL: Final = (Label(name="tool", meaning="its name"),)
_STATUS: Final = (Label(name="status", values=tuple(sorted(FINAL))),)
_PUBLISHED: Final = (Label(name="outcome", values=tuple(PublishOutcome)),)
_RELOADED: Final = (Label(name="outcome", values=("ok", "refused")),)
_CODE: Final = (Label(name="code", meaning="[of the answer](gateway.md#rest)"),)
_FATE: Final = (Label(name="result", values=tuple(SpanFate)),)


class GatewayMetrics:
    """Counters by name; `registry` prints them."""

    def __init__(self) -> None:
        self.registry = Registry("asya_gateway_", {})
        registry = self.registry
        self.requests = registry.counter("requests_total", "Answered requests.", _REQUEST)
        self.request_seconds = registry.histogram("request_seconds", "Request to the first byte of its answer, streams apart.", _SECONDS)
        self.calls = registry.counter("tool_calls_total", "Accepted calls.", _TOOL)
        self.ended = registry.counter("envelopes_ended_total", "Envelopes that became final.", _STATUS)
        self.envelope_seconds = registry.histogram("envelope_seconds", "Creation to final status.", _ENVELOPE_SECONDS)
        self.store_read_seconds = registry.histogram("store_read_seconds", "Reads of the store, their wait for it included.", _SECONDS)
        self.store_write_seconds = registry.histogram("store_write_seconds", "Transactions of the store, until durable.", _SECONDS)
        self.publishes = registry.counter("publishes_total", "First publishes by outcome.", _PUBLISHED)
        self.outbox = registry.gauge("outbox_waiting", "Accepted envelopes that wait for the broker.")
        self.outbox_age = registry.gauge("outbox_oldest_seconds", "Age of the oldest of them.")
        self.streams = registry.gauge("streams", "Open streams and held calls.")
        self.reports = registry.counter("progress_reports_total", "Progress reports taken.")
        self.reports_dropped = registry.counter("progress_dropped_total", "Progress reports dropped on overload or without a store.")
        self.late = registry.counter("late_finals_total", "Final reports after another final status.")
        self.reloads = registry.counter("tool_reloads_total", "Changes of the tools' files.", _RELOADED)
        self.tools = registry.gauge("tools", "Tools in force.")
        self.tools_refused = registry.gauge("tools_refused", "1 while the tools' files on disk are refused and older ones are in force.")
        self.refusals = registry.counter("refusals_total", "Requests refused before their work began.", _CODE)
        self.spans = registry.counter("spans_total", "Spans of traces by what became of them; 0 where tracing is off.", _FATE)
