"""Carries effects out, in list order. The only module that touches ports; it decides nothing.

Called by `consume` with what `decide` wants; outcomes come back to `consume` as events.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from asya_core.ops.logs import Level, Log
from asya_core.transports.base import Transport
from asya_sidecar.effects import (
    Ack,
    Call,
    CloseRuntime,
    DeliveryRecord,
    DrainEnded,
    Effect,
    Event,
    ExportSpans,
    Fetch,
    FinalAnswer,
    FinalReported,
    Leave,
    LogDelivery,
    Outcome,
    Publish,
    Reject,
    Report,
    ReportFinal,
    Requeue,
    Retry,
    SetPrefetch,
    Store,
    Timer,
    TimerFired,
    TimerKind,
    Unsubscribe,
)
from asya_sidecar.metrics import SidecarMetrics

if TYPE_CHECKING:  # at run time only where tracing is on
    from asya_core.wire.trace import Span

__all__ = ["ClaimsPort", "Performer", "ReporterPort", "RuntimePort", "TracesPort"]

_FINE: Final = (Outcome.OK, Outcome.ENDED)


class RuntimePort(Protocol):
    """What is asked of the runtime."""

    def call(self, call: Call) -> None:
        """Run the handler; answered by `Replied` or `RuntimeLost`."""
        ...

    def close_connection(self) -> None:
        """Close, so that no late reply can arrive, and connect again."""
        ...


class ReporterPort(Protocol):
    """What is asked of the gateway."""

    def report(self, report: Report) -> None:
        """Tell where an envelope is; may be lost."""
        ...

    def report_final(self, report: ReportFinal) -> None:
        """Tell how an envelope ended; answered by `FinalReported`."""
        ...


class ClaimsPort(Protocol):
    """What is asked of claim storage."""

    def fetch(self, fetch: Fetch) -> None:
        """Fetch a payload; answered by `FetchEnded`."""
        ...

    def store(self, store: Store) -> None:
        """Put payloads there; answered by `StoreEnded`."""
        ...


class TracesPort(Protocol):
    """What is asked of tracing."""

    def export(self, spans: "Sequence[Span]") -> None:
        """Send spans away; may be lost."""
        ...


class Performer:
    """Performs effects.

    Args:
        transport: moves messages.
        queue: the actor's own.
        runtime: runs the handler.
        reporter: tells the gateway; None without one: final reports count as recorded.
        claims: keeps large payloads; None without a storage: then no decision asks for it.
        traces: takes spans; None where tracing is off: then no decision tells any.
        sink: takes `TimerFired` and answers made here.
        leave: called once at `Leave`.
        log: bound to the actor.
        log_fine: whether deliveries that went well have a line.
        metrics: counted at `LogDelivery`.
        published: told each token as it is published.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        queue: str,
        runtime: RuntimePort,
        reporter: ReporterPort | None,
        claims: ClaimsPort | None = None,
        traces: TracesPort | None = None,
        sink: Callable[[Event], None],
        leave: Callable[[], None],
        log: Log,
        log_fine: bool,
        metrics: SidecarMetrics,
        published: Callable[[int], None],
    ) -> None:
        self._transport = transport
        self._queue = queue
        self._runtime = runtime
        self._reporter = reporter
        self._sink = sink
        self._leave = leave
        self._log = log
        self._log_fine = log_fine
        self._metrics = metrics
        self._published = published
        self._loop = asyncio.get_running_loop()
        self._timers: dict[tuple[TimerKind, int], asyncio.TimerHandle] = {}
        self._actions: Final[dict[type[Effect], Callable[[Any], None]]] = {
            Call: runtime.call,
            CloseRuntime: self._close_runtime,
            Publish: self._publish,
            Retry: lambda effect: transport.retry(effect.receipt, effect.delay_seconds),
            Ack: lambda effect: transport.ack(effect.receipt),
            Requeue: lambda effect: transport.requeue(effect.receipt),
            Reject: lambda effect: transport.reject(effect.receipt),
            Report: self._report,
            ReportFinal: self._report_final,
            Timer: self._timer,
            SetPrefetch: lambda effect: transport.subscribe(queue, effect.prefetch),
            Unsubscribe: lambda effect: transport.unsubscribe(),
            LogDelivery: self._log_delivery,
            DrainEnded: lambda effect: log.info("drained"),
            Leave: lambda effect: leave(),
            **({} if claims is None else {Fetch: claims.fetch, Store: claims.store}),
            **({} if traces is None else {ExportSpans: lambda effect: traces.export(effect.spans)}),
        }

    def perform(self, effects: list[Effect]) -> None:
        """Carry out `effects`, first to last."""
        actions = self._actions
        for effect in effects:
            actions[type(effect)](effect)

    def close(self) -> None:
        """Cancel all timers."""
        for handle in self._timers.values():
            handle.cancel()
        self._timers.clear()

    def _publish(self, effect: Publish) -> None:
        self._published(effect.token)
        self._transport.publish(effect.token, effect.queue, effect.body)

    def _close_runtime(self, effect: CloseRuntime) -> None:
        self._metrics.runtime_restarts.add("timeout")
        self._runtime.close_connection()

    def _report(self, effect: Report) -> None:
        if self._reporter is not None:
            self._reporter.report(effect)

    def _report_final(self, effect: ReportFinal) -> None:
        if self._reporter is not None:
            self._reporter.report_final(effect)
        else:
            self._sink(FinalReported(effect.delivery, FinalAnswer.RECORDED))

    def _timer(self, effect: Timer) -> None:
        key = (effect.kind, effect.delivery)
        open_one = self._timers.pop(key, None)
        if open_one is not None:
            open_one.cancel()
        if effect.delay_seconds is not None:
            self._timers[key] = self._loop.call_later(effect.delay_seconds, self._fired, key)

    def _fired(self, key: tuple[TimerKind, int]) -> None:
        del self._timers[key]
        self._sink(TimerFired(*key))

    def _log_delivery(self, effect: LogDelivery) -> None:
        record = effect.record
        self._metrics.settled(record)
        if (self._log_fine or record.outcome not in _FINE) and self._log.is_enabled(Level.INFO):
            self._log.line("info", "delivery", _line(record))


def _line(record: DeliveryRecord) -> dict[str, Any]:
    """The keys of the canonical line; times in ms with one decimal, null where the delivery did not come so far."""
    return {
        "envelope_id": record.envelope_id,
        "attempt": record.attempt,
        "outcome": record.outcome,
        "code": record.code,
        "next": record.next,
        "items": record.items,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "wait_ms": _tenths(record.wait_ms),
        "handler_ms": _tenths(record.handler_ms),
        "publish_ms": _tenths(record.publish_ms),
        "total_ms": _tenths(record.total_ms),
    }


def _tenths(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)
