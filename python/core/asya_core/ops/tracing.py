"""Sends spans to an OTLP endpoint: the one home of OpenTelemetry's packages, which are imported only where an endpoint is set.

Called by the sidecar's and the gateway's composition roots. Settings are OpenTelemetry's own variables; which of them are read here, and
which by its packages, is in docs/reference/tracing.md.

Spans are finished when they come here. They wait in a bounded queue for a thread of OpenTelemetry's batch processor: nothing here waits for
the endpoint, and what finds the queue full is dropped and counted. The objects of finished spans are made directly and not by a tracer:
9 µs each against 50, on the thread that delivers (opentelemetry-sdk 1.45).
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from asya_core.ops.logs import Log
from asya_core.ops.settings import setting, url
from asya_core.wire.errors import RemoteFault

if TYPE_CHECKING:  # at run time only where an endpoint is set: every sidecar imports this module
    from opentelemetry.sdk.trace import ReadableSpan

    from asya_core.wire.trace import Attributes, Span, TraceContext

__all__ = ["SpanFate", "Tracing", "open_tracing", "otlp_endpoint", "otlp_traces_endpoint"]

_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
_TRACES_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL: Final = "http/protobuf"
_SAMPLER: Final = "OTEL_TRACES_SAMPLER"
_SAMPLERS: Final = tuple(prefix + name for prefix in ("", "parentbased_") for name in ("always_on", "always_off", "traceidratio"))
_QUEUE_SIZE: Final = "OTEL_BSP_MAX_QUEUE_SIZE"
_SCOPE: Final = "asya"


class SpanFate(StrEnum):
    """What became of a span: the label of the metric ``spans_total``."""

    EXPORTED = "exported"
    """The endpoint took it."""
    FAILED = "failed"
    """The endpoint refused it, or was away for longer than ``OTEL_EXPORTER_OTLP_TIMEOUT``."""
    DROPPED = "dropped"
    """The queue was full, or the process ended before it was sent."""


def otlp_endpoint() -> Any:
    """The row of a settings table that turns tracing on."""
    return setting(
        _ENDPOINT,
        url("http", "https"),
        "Base address of an OTLP receiver (HTTP, protobuf), such as `http://otel-collector:4318`; absent: no tracing. "
        "All of OpenTelemetry's other variables count too: [Tracing](tracing.md).",
    )


def otlp_traces_endpoint() -> Any:
    """The row of the address for spans alone."""
    return setting(_TRACES_ENDPOINT, url("http", "https"), f"Whole address for spans, with its path; wins over `{_ENDPOINT}`.")


class Tracing:
    """The way out for spans. Used by one thread, in a running loop; see `open_tracing`.

    Args:
        packages: what was imported.
        resource: attributes of the process.
        version: of this component, the version of the spans' scope.
        queue_size: spans that may wait or be on their way.
        log: one line when spans are no longer taken, one when they are again.
        counted: told each change of the spans' number by fate.
    """

    def __init__(
        self,
        packages: "_Packages",
        resource: "Attributes",
        *,
        version: str,
        queue_size: int,
        log: Log,
        counted: Callable[[SpanFate, int], None],
    ) -> None:
        self._otel = packages
        self._log = log
        self._counted = counted
        self._loop = asyncio.get_running_loop()
        self._pending = 0
        self._limit = queue_size
        self._is_failing = False
        self._is_closed = False
        self._reasons = _Reasons()
        self._provider = packages.provider(resource)
        self._exporter = packages.exporter(self._exported_by_thread)
        self._processor = packages.processor(self._exporter, queue_size)
        self._scope = packages.scope(_SCOPE, version)

    def samples(self, trace_id: str, parent: "TraceContext | None") -> bool:
        """Whether a trace is kept, by the sampler of ``OTEL_TRACES_SAMPLER``."""
        return self._otel.samples(self._provider, trace_id, parent)

    def export(self, spans: "Sequence[Span]") -> None:
        """Send finished spans, some time. Never waits, never raises for the endpoint's sake."""
        room = 0 if self._is_closed else self._limit - self._pending
        for span in spans[:room]:
            self._processor.on_end(self._otel.readable(span, self._provider.resource, self._scope))
        taken = min(room, len(spans))
        self._pending += taken
        if taken < len(spans):
            self._counted(SpanFate.DROPPED, len(spans) - taken)
            self._failing("the queue of spans is full: more are made than the endpoint takes")

    async def close(self, timeout_seconds: float) -> None:
        """Send what waits, for at most so long; the rest is dropped. Takes nothing any more."""
        self._is_closed = True
        done = asyncio.Event()

        def flush() -> None:
            self._processor.shutdown()
            self._in_loop(done.set)

        threading.Thread(target=flush, name="flush-spans", daemon=True).start()
        try:
            async with asyncio.timeout(timeout_seconds):
                await done.wait()
        except TimeoutError:
            self._exporter.shutdown()
        if self._pending:
            self._counted(SpanFate.DROPPED, self._pending)
            self._log.warning("spans dropped", count=self._pending, reason="the endpoint did not take them before the process ended")
            self._pending = 0
        self._reasons.close()

    def _exported_by_thread(self, count: int, is_taken: bool) -> None:
        self._in_loop(self._exported, count, is_taken)

    def _in_loop(self, call: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(call, *arguments)

    def _exported(self, count: int, is_taken: bool) -> None:
        if not self._pending:  # given up by `close`
            return
        self._pending -= count
        self._counted(SpanFate.EXPORTED if is_taken else SpanFate.FAILED, count)
        if not is_taken:
            self._failing(self._reasons.last)
        elif self._is_failing:
            self._is_failing = False
            self._log.info("spans are taken again")

    def _failing(self, reason: str) -> None:
        if not self._is_failing:
            self._is_failing = True
            self._log.warning("spans are not taken", reason=reason)


def open_tracing(
    environment: Mapping[str, str],
    *,
    resource: "Attributes",
    version: str,
    log: Log,
    counted: Callable[[SpanFate, int], None],
) -> Tracing | None:
    """The way out for spans; None if the environment turns tracing off. In a running loop.

    Args:
        environment: that of the process: OpenTelemetry's packages read some variables of it by themselves.
        resource: attributes of the process; those of ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` win.
        version: of this component.
        log: see `Tracing`.
        counted: see `Tracing`.

    Raises RemoteFault ``bad_setting`` for a protocol or sampler that is not there, and if the packages are not installed.
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or environment.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    if not any(environment.get(name) for name in (_ENDPOINT, _TRACES_ENDPOINT)):
        return None
    for name in _PROTOCOLS:
        if environment.get(name, _PROTOCOL) not in (_PROTOCOL, ""):
            raise RemoteFault(
                "bad_setting",
                f"{name} is {environment[name]!r}; expected {_PROTOCOL}",
                "receivers take it on port 4318; grpc is not spoken",
            )
    sampler = environment.get(_SAMPLER, "")
    if sampler and sampler.lower() not in _SAMPLERS:
        raise RemoteFault("bad_setting", f"{_SAMPLER} is {sampler!r}; expected one of {', '.join(_SAMPLERS)}", "correct the value")
    try:
        packages = _Packages()
    except ImportError as error:
        raise RemoteFault(
            "bad_setting",
            f"{_ENDPOINT} is set and {error.name or 'OpenTelemetry'} is not installed",
            "pip install 'asya[tracing]', or unset it",
        ) from error
    try:
        queue_size = int(environment.get(_QUEUE_SIZE) or 2048)
        return Tracing(packages, resource, version=version, queue_size=queue_size, log=log, counted=counted)
    except ValueError as error:  # OTEL_BSP_…
        raise RemoteFault("bad_setting", f"OpenTelemetry refuses its settings: {error}", "correct OTEL_BSP_…, or leave it unset") from error


class _Reasons(logging.Handler):
    """Keeps the last thing that OpenTelemetry's packages say, in place of a line for each of their tries."""

    def __init__(self) -> None:
        super().__init__()
        self.last = "the endpoint refused them"
        self._logger = logging.getLogger("opentelemetry")
        self._logger.addHandler(self)
        self._logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()[:300]

    def close(self) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate = True
        super().close()


class _Packages:
    """OpenTelemetry's names, imported when this is made; and the values of ours as values of theirs."""

    def __init__(self) -> None:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk import resources
        from opentelemetry.sdk import trace as sdk
        from opentelemetry.sdk.trace import export, sampling
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        from asya_core.wire.trace import SpanKind

        self._trace, self._sdk, self._export, self._resources, self._otlp = trace, sdk, export, resources, OTLPSpanExporter
        self._sampled = sampling.Decision.RECORD_AND_SAMPLE
        self.scope = InstrumentationScope
        self._kinds = {
            SpanKind.INTERNAL: trace.SpanKind.INTERNAL,
            SpanKind.SERVER: trace.SpanKind.SERVER,
            SpanKind.PRODUCER: trace.SpanKind.PRODUCER,
            SpanKind.CONSUMER: trace.SpanKind.CONSUMER,
        }

    def provider(self, resource: "Attributes") -> Any:
        """For its sampler and resource: no tracer is asked for."""
        given = self._resources.OTELResourceDetector().detect().attributes
        ours = {name: value for name, value in resource.items() if name not in given}
        return self._sdk.TracerProvider(resource=self._resources.Resource.create(ours), shutdown_on_exit=False)

    def exporter(self, exported: Callable[[int, bool], None]) -> Any:
        """OpenTelemetry's, which tells `exported` of each batch, on the thread that sends."""
        success = self._export.SpanExportResult.SUCCESS

        class Told(self._otlp):  # type: ignore[misc, name-defined]
            def export(self, spans: "Sequence[ReadableSpan]") -> Any:
                result = None
                try:
                    result = super().export(spans)
                finally:
                    exported(len(spans), result is success)
                return result

        return Told()

    def processor(self, exporter: Any, queue_size: int) -> Any:
        """Batches, with the settings ``OTEL_BSP_…``; starts its thread. Raises ValueError for a size that is none."""
        return self._export.BatchSpanProcessor(exporter, max_queue_size=queue_size)

    def samples(self, provider: Any, trace_id: str, parent: "TraceContext | None") -> bool:
        trace = self._trace
        context = None
        if parent is not None:
            context = trace.set_span_in_context(trace.NonRecordingSpan(self._context(parent, is_remote=True)))
        result = provider.sampler.should_sample(context, int(trace_id, 16), "process", trace.SpanKind.CONSUMER)
        return bool(result.decision is self._sampled)

    def readable(self, span: "Span", resource: Any, scope: Any) -> "ReadableSpan":
        trace = self._trace
        own = self._context(span.context)
        comes_in = span.kind in ("consumer", "server")
        parent = None if span.parent_id is None else self._context(span.context.child(span.parent_id), is_remote=comes_in)
        status = trace.Status() if span.error is None else trace.Status(trace.StatusCode.ERROR, span.error)
        return self._sdk.ReadableSpan(
            name=span.name,
            context=own,
            parent=parent,
            resource=resource,
            attributes=dict(span.attributes),
            kind=self._kinds[span.kind],
            status=status,
            start_time=span.start_us * 1000,
            end_time=span.end_us * 1000,
            instrumentation_scope=scope,
        )

    def _context(self, context: "TraceContext", *, is_remote: bool = False) -> Any:
        trace = self._trace
        state = trace.TraceState.from_header([context.state]) if context.state else None
        return trace.SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote, trace.TraceFlags(context.flags), state)
