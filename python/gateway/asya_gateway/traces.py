"""The gateway's part of a trace: the span of a call, and that of the publish that begins the envelope's way. Pure.

Called by `service` with each call and with `publisher`'s outcomes; made by `app` where tracing is on. Rules: docs/reference/tracing.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

import msgspec

from asya_core.wire.names import queue_name, split_entry
from asya_core.wire.trace import (
    SENT_HEADER,
    TRACEPARENT,
    TRACESTATE,
    Attributes,
    Sent,
    Span,
    SpanKind,
    TraceContext,
    read_traceparent,
)

__all__ = ["CallTrace", "Traces"]

_MAX_OPEN: Final = 10_000
"""Publishes without a confirm whose spans are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTrace:
    """One call that is being worked on.

    Attributes:
        context: of the call's span.
        parent: what the caller said, or None.
        publish_id: the publish's span.
        sent_us: when the envelope was made, Unix time in microseconds.
        actor: whose queue it goes to.
        headers: what the envelope gets.
    """

    context: TraceContext
    parent: TraceContext | None
    publish_id: str
    sent_us: int
    actor: str
    headers: Mapping[str, object]


class Traces:
    """Makes spans of calls.

    Args:
        random: where ids come from.
        samples: whether a trace is kept, by its id and the caller's context.
        export: takes finished spans.
        namespace: of the queues.
        attributes: of every span that speaks of the broker, such as ``messaging.system``.
    """

    def __init__(
        self,
        random: Random,
        *,
        samples: Callable[[str, TraceContext | None], bool],
        export: Callable[[Sequence[Span]], None],
        namespace: str,
        attributes: Attributes,
    ) -> None:
        self._random = random
        self._samples = samples
        self._export = export
        self._namespace = namespace
        self._attributes = attributes
        self._open: dict[str, tuple[CallTrace, int]] = {}

    def begin(self, headers: Mapping[str, str], entry: str, now_us: int) -> CallTrace:
        """A call has come and its envelope is made, now.

        Args:
            headers: a good ``traceparent`` and ``tracestate`` of the caller, if it gave them.
            entry: the route's first one.
            now_us: Unix time in microseconds.
        """
        parent = read_traceparent(headers.get(TRACEPARENT, ""))
        if parent is not None:
            parent = TraceContext(parent.trace_id, parent.span_id, parent.flags, headers.get(TRACESTATE, ""))
        trace_id = f"{self._random.getrandbits(128) or 1:032x}" if parent is None else parent.trace_id
        context = TraceContext(trace_id, self._span_id(), 0) if parent is None else parent.child(self._span_id())
        context = context.sampled(self._samples(trace_id, parent))
        publish_id = self._span_id()
        actor = split_entry(entry)[0]
        carried: dict[str, object] = {TRACEPARENT: context.child(publish_id).traceparent}
        if not context.is_sampled and parent is not None:
            carried[TRACEPARENT] = parent.sampled(False).traceparent
        if context.state:
            carried[TRACESTATE] = context.state
        if context.is_sampled:
            carried[SENT_HEADER] = msgspec.to_builtins(Sent(now_us, 0, actor))
        return CallTrace(context=context, parent=parent, publish_id=publish_id, sent_us=now_us, actor=actor, headers=carried)

    def created(self, call: CallTrace, *, tool: str, envelope_id: str, size: int | None, now_us: int) -> None:
        """The call is answered; with `size`, the bytes of its message, its envelope is new and on its way."""
        if not call.context.is_sampled:
            return
        if size is not None:
            self._open[envelope_id] = (call, size)
            if len(self._open) > _MAX_OPEN:
                del self._open[next(iter(self._open))]
        span = Span(
            f"call {tool}",
            SpanKind.SERVER,
            call.context,
            None if call.parent is None else call.parent.span_id,
            call.sent_us,
            max(call.sent_us, now_us),
            {"asya.tool": tool, "asya.namespace": self._namespace, "asya.envelope_id": envelope_id},
        )
        self._export((span,))

    def published(self, envelope_id: str, error: str | None, now_us: int) -> None:
        """The broker has confirmed the first publish, or it was given up for `error`. An unknown id is another process's."""
        known = self._open.pop(envelope_id, None)
        if known is None:
            return
        call, size = known
        queue = queue_name(self._namespace, call.actor)
        attributes: dict[str, str | int | float | bool] = {
            **self._attributes,
            "messaging.operation.name": "publish",
            "messaging.operation.type": "send",
            "messaging.destination.name": queue,
            "messaging.message.id": envelope_id,
            "messaging.message.body.size": size,
            "asya.namespace": self._namespace,
        }
        if error is not None:
            attributes["error.type"] = error
        span = Span(
            f"publish {queue}",
            SpanKind.PRODUCER,
            call.context.child(call.publish_id),
            call.context.span_id,
            call.sent_us,
            max(call.sent_us, now_us),
            attributes,
            error,
        )
        self._export((span,))

    def _span_id(self) -> str:
        return f"{self._random.getrandbits(64) or 1:016x}"
