"""Decisions that also tell spans: each envelope carries the trace context of its publish, each settled delivery gives its spans.

Made by `app` in place of `Decider` where tracing is on; where it is off not one instruction differs. Pure: what is sampled is asked of a
function that is handed in, and spans are an effect, `ExportSpans`.

Spans of a delivery, all in the trace of the envelope:

* ``wait``, from the publish to the arrival: first attempts only, as a message does not tell when it came back;
* ``process``, from the arrival to the settling; with ``wait`` a child of the publish that sent the envelope;
* ``handler``, from the call to the reply; a child of ``process``;
* ``publish``, one per output, to its confirm; a child of ``process``, and the parent of what the receiver makes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

import msgspec

from asya_core.transports.base import PublishOutcome
from asya_core.wire.envelope import MAX_HEADERS_BYTES, Envelope, parse, unreadable_id
from asya_core.wire.reply import ErrorReply
from asya_core.wire.trace import (
    SENT_HEADER,
    TRACEPARENT,
    TRACESTATE,
    Attributes,
    Sent,
    Span,
    SpanKind,
    TraceContext,
    derived_trace_id,
    read_context,
)
from asya_sidecar.decide import Decider
from asya_sidecar.delivery import Delivery, Output
from asya_sidecar.effects import Effect, Event, ExportSpans, Outcome, Publish
from asya_sidecar.lifecycle import Happening
from asya_sidecar.outputs import Draft
from asya_sidecar.policy import Moment, Policy
from asya_sidecar.publishing import Publishing

__all__ = ["TracePolicy", "TracedDecider"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NOTHING_DONE: Final = frozenset({Outcome.REQUEUE, Outcome.DROPPED})
_encode: Final = msgspec.json.encode
_decode_sent: Final = msgspec.json.Decoder(Sent).decode


@dataclass(frozen=True, kw_only=True)
class TracePolicy:
    """What spans depend on.

    Attributes:
        samples: whether a trace is kept, by its id and the context that the envelope came with, None without one.
        attributes: of every span that speaks of the broker, such as ``messaging.system``.
    """

    samples: Callable[[str, TraceContext | None], bool]
    attributes: Attributes = field(default_factory=dict)


class _Send:
    """One output on its way: a span that is not finished."""

    __slots__ = ("draft", "ended", "envelope_id", "error", "queue", "span_id", "started", "tries")

    def __init__(self, span_id: str, draft: Draft, queue: str, started: float) -> None:
        self.span_id = span_id
        self.envelope_id = ""
        self.draft = draft
        self.queue = queue
        self.started = started
        self.ended: float | None = None
        self.error: str | None = None
        self.tries = 1


class _Trace:
    """What is remembered of one delivery: where its trace comes from, its own span, its sends by the identity of their drafts.

    All its times are read from one clock that never goes back, set to the time of day once: spans cannot overlap by a microsecond, nor by
    an hour when the time of day is corrected.
    """

    __slots__ = ("context", "failure", "parent", "sends", "set_at", "set_us")

    def __init__(self, context: TraceContext, parent: TraceContext | None, now: Moment) -> None:
        self.context = context
        self.parent = parent
        self.set_at = now.monotonic
        self.set_us = (now.wall - _EPOCH) // _MICROSECOND
        self.sends: dict[int, _Send] = {}
        self.failure: str | None = None

    def at(self, monotonic: float) -> int:
        """A monotonic time as Unix time in microseconds."""
        return self.set_us + round((monotonic - self.set_at) * 1e6)


class TracedDecider(Decider):
    """A `Decider` with spans.

    Args:
        policy: the settings.
        random: where jitter and the ids of spans come from.
        tracing: what spans depend on.
    """

    def __init__(self, policy: Policy, random: Random, tracing: TracePolicy) -> None:
        super().__init__(policy, random)
        self._traces = _Traces(policy, random, tracing)
        self._publishing = self._traced = _TracedPublishing(policy, random, self._traces)

    def handle(self, event: Event, now: Moment) -> list[Effect]:
        """As `Decider.handle`."""
        self._traced.now = now
        return super().handle(event, now)

    def _run_failed(self, delivery: Delivery, reason: ErrorReply, now: Moment) -> None:
        self._traces.of(delivery, now).failure = reason.type or reason.code
        super()._run_failed(delivery, reason, now)

    def _settle(self, delivery: Delivery, happening: Happening, outcome: Outcome, now: Moment) -> None:
        super()._settle(delivery, happening, outcome, now)
        spans = self._traces.settled(delivery, outcome, now)
        if spans:
            self._effects.append(ExportSpans(spans))


class _TracedPublishing(Publishing):
    """A `Publishing` that writes the trace context into what it sends."""

    def __init__(self, policy: Policy, random: Random, traces: "_Traces") -> None:
        super().__init__(policy, random)
        self._traces = traces
        self.now = Moment(0.0, _EPOCH)

    def pump(self, effects: list[Effect]) -> None:
        first = len(effects)
        super().pump(effects)
        for index in range(first, len(effects)):
            effect = effects[index]
            if isinstance(effect, Publish):
                output = self._open[effect.token]
                self._traces.sent(output, effect.queue, self.now)
                effects[index] = Publish(effect.token, effect.queue, output.draft.body)

    def confirmed(self, output: Output) -> bool:
        self._traces.arrived(output, self.now, None)
        return super().confirmed(output)

    def failed(self, output: Output, outcome: PublishOutcome, now: Moment) -> list[Effect]:
        draft = output.draft
        effects = super().failed(output, outcome, now)
        if output.draft is not draft:  # it goes elsewhere, as another message
            self._traces.arrived(output, now, outcome.value, draft)
        return effects


class _Traces:
    """The traces of all open deliveries.

    Args:
        policy: the settings.
        random: where ids come from.
        tracing: what spans depend on.
    """

    def __init__(self, policy: Policy, random: Random, tracing: TracePolicy) -> None:
        self._policy = policy
        self._random = random
        self._tracing = tracing
        self._open: dict[int, _Trace] = {}

    def of(self, delivery: Delivery, now: Moment) -> _Trace:
        """The delivery's trace; made when it is first needed."""
        trace = self._open.get(delivery.number)
        if trace is None:
            trace = self._open[delivery.number] = self._made(delivery, now)
        return trace

    def _made(self, delivery: Delivery, now: Moment) -> _Trace:
        envelope = delivery.envelope
        parent = None if envelope is None else read_context(envelope.headers)
        if parent is None:
            trace_id = derived_trace_id(unreadable_id(delivery.body) if envelope is None else envelope.id)
            context = TraceContext(trace_id, self._span_id(), 0)
        else:
            context = parent.child(self._span_id())
        return _Trace(context.sampled(self._tracing.samples(context.trace_id, parent)), parent, now)

    def _span_id(self) -> str:
        return f"{self._random.getrandbits(64) or 1:016x}"

    def sent(self, output: Output, queue: str, now: Moment) -> None:
        """An output leaves: its draft gets the context of this publish; one that leaves again stays as it is."""
        trace = self.of(output.delivery, now)
        draft = output.draft
        send = trace.sends.get(id(draft))
        if send is not None:
            send.tries += 1
            return
        send = _Send(self._span_id(), draft, queue, now.monotonic)
        self._stamp(send, trace)
        output.draft = send.draft
        trace.sends[id(send.draft)] = send

    def _stamp(self, send: _Send, trace: _Trace) -> None:
        context, parent = trace.context, trace.parent
        if not context.is_sampled and parent is not None and not parent.is_sampled:
            return  # as it came
        envelope = parse(send.draft.body)
        send.envelope_id = envelope.id
        if context.is_sampled:
            sent = Sent(trace.at(send.started), envelope.hops, send.draft.actor)
            send.draft = self._stamped(send.draft, envelope, context.child(send.span_id), sent)
        else:  # the decision was made here: all who come after keep to it
            send.draft = self._stamped(send.draft, envelope, context if parent is None else parent.sampled(False), None)

    def _stamped(self, draft: Draft, envelope: Envelope, context: TraceContext, sent: Sent | None) -> Draft:
        """`draft` with the context in its headers; as it is if it would then be too large for anybody: tracing never fails an envelope."""
        headers = dict(envelope.headers)
        headers[TRACEPARENT] = msgspec.Raw(_encode(context.traceparent))
        if context.state:
            headers[TRACESTATE] = msgspec.Raw(_encode(context.state))
        else:
            headers.pop(TRACESTATE, None)
        if sent is not None:
            headers[SENT_HEADER] = msgspec.Raw(_encode(sent))
        stamped = envelope.changed(headers=headers)
        body = stamped.encode()
        limit = max(self._policy.max_message_bytes, len(draft.body))
        if len(body) > limit or len(bytes(stamped.members["headers"])) > MAX_HEADERS_BYTES:
            return draft
        return Draft(draft.actor, body, draft.code)

    def arrived(self, output: Output, now: Moment, error: str | None, draft: Draft | None = None) -> None:
        """The publish of `draft`, else of the output's draft, is over: in its queue, or given up for `error`."""
        send = self.of(output.delivery, now).sends.get(id(output.draft if draft is None else draft))
        if send is not None:
            send.ended, send.error = now.monotonic, error

    def settled(self, delivery: Delivery, outcome: Outcome, now: Moment) -> tuple[Span, ...]:
        """The spans of a delivery that is over; none if its trace is not kept or nothing was done with it."""
        if outcome in _NOTHING_DONE and delivery.called is None:
            self._open.pop(delivery.number, None)
            return ()
        trace = self.of(delivery, now)
        del self._open[delivery.number]
        if not trace.context.is_sampled:
            return ()
        return _Telling(self._policy, self._tracing, trace, delivery, now, self._span_id).spans(outcome)


class _Telling:
    """Makes the spans of one delivery."""

    def __init__(
        self, policy: Policy, tracing: TracePolicy, trace: _Trace, delivery: Delivery, now: Moment, new_id: Callable[[], str]
    ) -> None:
        self._policy = policy
        self._new_id = new_id
        self._trace = trace
        self._delivery = delivery
        self._now = now
        self._queue = policy.queue(policy.actor)
        self._broker = tracing.attributes

    def spans(self, outcome: Outcome) -> tuple[Span, ...]:
        """All of them, in the order of their beginning."""
        return (*self._wait(), self._process(outcome), *self._handler(), *(self._publish(send) for send in self._trace.sends.values()))

    def _message(self, operation: str, queue: str, size: int, envelope_id: str) -> dict[str, str | int | float | bool]:
        return {
            **self._broker,
            "messaging.operation.name": operation,
            "messaging.destination.name": queue,
            "messaging.message.id": envelope_id,
            "messaging.message.body.size": size,
            "asya.actor": self._policy.actor,
            "asya.namespace": self._policy.namespace,
        }

    def _received(self, operation: str) -> dict[str, str | int | float | bool]:
        delivery = self._delivery
        attributes = self._message(operation, self._queue, len(delivery.body), delivery.envelope_id or unreadable_id(delivery.body))
        return attributes | {"asya.attempt": delivery.attempt}

    def _wait(self) -> list[Span]:
        sent = _sent_to(self._policy.actor, self._delivery.envelope)
        trace = self._trace
        parent = trace.parent
        if sent is None or parent is None or self._delivery.attempt != 1:
            return []
        arrived = trace.at(self._delivery.arrived)
        context = trace.context.child(self._new_id())
        start = min(sent.at_us, arrived)  # another host's clock may be ahead
        name = f"wait {self._queue}"
        return [Span(name, SpanKind.INTERNAL, context, parent.span_id, start, arrived, self._received("wait"))]

    def _process(self, outcome: Outcome) -> Span:
        delivery, trace = self._delivery, self._trace
        attributes = self._received("process") | {"messaging.operation.type": "process", "asya.outcome": outcome.value}
        error = None
        if outcome in (Outcome.ERROR, Outcome.RETRY, Outcome.DROPPED):
            error = delivery.codes[0] if delivery.codes else outcome.value
            attributes["error.type"] = trace.failure or error
            attributes["asya.error.code"] = error
        if delivery.envelope is not None and delivery.envelope.parent_id is not None:
            attributes["asya.parent_id"] = delivery.envelope.parent_id
        return Span(
            f"process {self._queue}",
            SpanKind.CONSUMER,
            trace.context,
            None if trace.parent is None else trace.parent.span_id,
            trace.at(delivery.arrived),
            trace.at(self._now.monotonic),
            attributes,
            error,
        )

    def _handler(self) -> list[Span]:
        delivery, trace = self._delivery, self._trace
        if delivery.called is None:
            return []
        failed = delivery.replied is None or trace.failure is not None
        error = (trace.failure or "lost") if failed else None
        attributes: dict[str, str | int | float | bool] = {"asya.actor": self._policy.actor, "asya.attempt": delivery.attempt}
        if error is not None:
            attributes["error.type"] = error
        return [
            Span(
                f"handler {self._policy.actor}",
                SpanKind.INTERNAL,
                trace.context.child(self._new_id()),
                trace.context.span_id,
                trace.at(delivery.called),
                trace.at(self._now.monotonic if delivery.replied is None else delivery.replied),
                attributes,
                error,
            )
        ]

    def _publish(self, send: _Send) -> Span:
        error = send.error if send.ended is not None else "lost"
        ended = self._now.monotonic if send.ended is None else send.ended
        attributes = self._message("publish", send.queue, len(send.draft.body), send.envelope_id)
        attributes["messaging.operation.type"] = "send"
        if send.tries > 1:
            attributes["asya.tries"] = send.tries
        if error is not None:
            attributes["error.type"] = error
        return Span(
            f"publish {send.queue}",
            SpanKind.PRODUCER,
            self._trace.context.child(send.span_id),
            self._trace.context.span_id,
            self._trace.at(send.started),
            self._trace.at(ended),
            attributes,
            error,
        )


def _sent_to(actor: str, envelope: Envelope | None) -> Sent | None:
    """The envelope's last publish, if that was to `actor`: an actor without tracing passes on the header of an earlier one."""
    raw = None if envelope is None else envelope.headers.get(SENT_HEADER)
    if raw is None or envelope is None:
        return None
    try:
        sent = _decode_sent(raw)
    except msgspec.MsgspecError:
        return None
    return sent if sent.actor == actor and sent.hops == envelope.hops else None
