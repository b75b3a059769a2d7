"""The spans of a delivery, and the context that its outputs carry."""

import json
from random import Random
from typing import Any

import msgspec
import pytest
from core_bench import Bench, broken, message, one

from asya_core.transports.base import PublishOutcome, SettledOutcome
from asya_core.wire.envelope import MAX_HEADERS_BYTES
from asya_core.wire.reply import EnvelopesReply, PayloadsReply
from asya_core.wire.trace import Span, TraceContext, derived_trace_id
from asya_sidecar import effects as fx
from asya_sidecar.policy import Policy
from asya_sidecar.retry import RetryPolicy
from asya_sidecar.traced import TracedDecider, TracePolicy

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"
NOON_US = 1_767_268_800_000_000


def by_parent(trace_id: str, parent: TraceContext | None) -> bool:
    return parent is None or parent.is_sampled


class Traced(Bench):
    """A bench whose decider tells spans; `spans` are those that were said last, by name."""

    def __init__(self, *, samples: Any = by_parent, **policy: Any) -> None:
        super().__init__(ready=False, connected=False, **policy)
        policy.setdefault("actor", "a")
        self.decider = TracedDecider(Policy(namespace="n", **policy), Random(1), TracePolicy(samples=samples))
        for event in (fx.ConsumeLinkChanged(True), fx.PublishLinkChanged(True), fx.RuntimeReady(1)):
            self.take(event)

    @property
    def spans(self) -> dict[str, Span]:
        told = [span for effect in self.all(fx.ExportSpans) for span in effect.spans]
        assert len({span.context.span_id for span in told}) == len(told)
        return {span.name: span for span in told}


def headers(effect: fx.Publish) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(effect.body)["headers"]
    return found


def parts(traceparent: str) -> tuple[str, str]:
    version, trace_id, span_id, flags = traceparent.split("-")
    assert (version, flags) == ("00", "01")
    return trace_id, span_id


def test_a_delivery_tells_wait_process_handler_and_publish() -> None:
    bench = Traced()
    bench.now = 2.0
    sent = [NOON_US + 500_000, 1, "a"]
    bench.arrive(headers={"traceparent": SAMPLED, "tracestate": "x=1", "asya-hops": 1, "asya-sent": sent})
    bench.reply(1, one(), after=1.0)
    publish = bench.one(fx.Publish)
    bench.take(fx.PublishEnded(1, PublishOutcome.CONFIRMED), after=0.5)

    spans = bench.spans
    assert {name: (span.start_us - NOON_US, span.end_us - NOON_US) for name, span in spans.items()} == {
        "wait asya-n-a": (500_000, 2_000_000),
        "process asya-n-a": (2_000_000, 3_500_000),
        "handler a": (2_000_000, 3_000_000),
        "publish asya-n-b": (3_000_000, 3_500_000),
    }
    process = spans["process asya-n-a"].context.span_id
    assert {name: span.parent_id for name, span in spans.items()} == {
        "wait asya-n-a": CALLER,
        "process asya-n-a": CALLER,
        "handler a": process,
        "publish asya-n-b": process,
    }
    assert {(span.context.trace_id, span.context.state, span.error) for span in spans.values()} == {(TRACE, "x=1", None)}
    assert parts(headers(publish)["traceparent"]) == (TRACE, spans["publish asya-n-b"].context.span_id)
    assert headers(publish)["tracestate"] == "x=1"
    assert headers(publish)["asya-sent"] == [NOON_US + 3_000_000, 2, "b"]


@pytest.mark.parametrize(
    "sent",
    [None, 5, [1], [1, 1, "b"], [1, 2, "a"], [1, 1, "a", 0], ["1", 1, "a"]],
    ids=["absent", "number", "short", "other actor", "other hop", "long", "text"],
)
def test_a_wait_is_told_only_of_the_envelopes_last_publish(sent: Any) -> None:
    bench = Traced()
    bench.arrive(headers={"traceparent": SAMPLED, "asya-hops": 1, "asya-sent": sent})
    bench.reply(1, one())
    bench.ended(1)
    assert sorted(bench.spans) == ["handler a", "process asya-n-a", "publish asya-n-b"]


def test_a_second_attempt_tells_no_wait_and_is_in_the_same_trace_under_the_same_publish() -> None:
    bench = Traced(retry=RetryPolicy(max_attempts=2))
    sent = {"traceparent": SAMPLED, "asya-sent": [NOON_US, 0, "a"]}
    receipt = bench.arrive(headers=sent)
    bench.reply(1, broken("handler_error", "KeyError"))
    bench.take(fx.RetryEnded(receipt, SettledOutcome.OK))
    first = bench.spans
    bench.arrive(headers=sent, attempt=2)
    bench.reply(2, one())
    bench.ended(1)
    second = bench.spans

    assert sorted(first) == ["handler a", "process asya-n-a", "wait asya-n-a"]
    assert sorted(second) == ["handler a", "process asya-n-a", "publish asya-n-b"]
    process = first["process asya-n-a"]
    assert (process.error, process.attributes["error.type"], process.attributes["asya.outcome"]) == ("retry", "KeyError", "retry")
    assert [spans["process asya-n-a"].attributes["asya.attempt"] for spans in (first, second)] == [1, 2]
    assert {spans["process asya-n-a"].parent_id for spans in (first, second)} == {CALLER}


@pytest.mark.parametrize("given", [None, "not one", 5], ids=["absent", "broken", "number"])
def test_without_a_context_all_attempts_are_in_one_new_trace(given: Any) -> None:
    bench = Traced()
    seen = []
    for attempt in (1, 2):
        bench.arrive(headers={"traceparent": given, "tracestate": "x=1"}, attempt=attempt)
        bench.reply(attempt, one())
        publish = headers(bench.one(fx.Publish))
        assert "tracestate" not in publish
        bench.ended(attempt)
        assert bench.spans["process asya-n-a"].parent_id is None
        seen.append(parts(publish["traceparent"]))
    assert {trace_id for trace_id, _ in seen} == {derived_trace_id("7")}
    assert len(set(seen)) == 2


def test_each_part_of_a_fan_out_is_sent_by_a_span_of_its_own() -> None:
    bench = Traced()
    bench.arrive(headers={"traceparent": SAMPLED})
    bench.reply(1, PayloadsReply((b"1", b"2"), True))
    sent = [parts(headers(effect)["traceparent"])[1] for effect in bench.all(fx.Publish)]
    bench.take(fx.PublishEnded(2, PublishOutcome.CONFIRMED), after=1.0)
    assert not bench.has(fx.ExportSpans)
    bench.take(fx.PublishEnded(1, PublishOutcome.CONFIRMED), after=1.0)
    told = [span for span in bench.one(fx.ExportSpans).spans if span.name == "publish asya-n-b"]
    assert [span.context.span_id for span in told] == sent
    assert [span.end_us - span.start_us for span in told] == [2_000_000, 1_000_000]
    assert [span.attributes["messaging.message.id"] for span in told] == ["7.0.0", "7.0.1"]


def test_a_failure_goes_to_error_end_with_the_context_of_its_publish() -> None:
    bench = Traced()
    bench.arrive(headers={"traceparent": SAMPLED})
    bench.reply(1, broken("handler_error", "ValueError"))
    record = bench.one(fx.Publish)
    bench.ended(1)
    spans = bench.spans
    assert parts(headers(record)["traceparent"]) == (TRACE, spans["publish asya-n-error-end"].context.span_id)
    assert headers(record)["asya-sent"][1:] == [0, "error-end"]
    process, handler = spans["process asya-n-a"], spans["handler a"]
    assert (process.error, process.attributes["error.type"]) == ("handler_error", "ValueError")
    assert (handler.error, handler.attributes["error.type"]) == ("ValueError", "ValueError")


def test_an_unreadable_message_is_a_trace_of_its_own() -> None:
    bench = Traced()
    bench.arrive(b"no JSON")
    record = bench.one(fx.Publish)
    bench.ended(1)
    assert sorted(bench.spans) == ["process asya-n-a", "publish asya-n-error-end"]
    assert parts(headers(record)["traceparent"])[0] == derived_trace_id(json.loads(record.body)["id"])


def test_an_output_that_leaves_again_is_the_same_message_and_one_span() -> None:
    bench = Traced()
    bench.arrive(headers={"traceparent": SAMPLED})
    bench.reply(1, one())
    first = bench.one(fx.Publish).body
    bench.ended(1, PublishOutcome.LOST)
    assert bench.one(fx.Publish).body == first
    bench.ended(2)
    assert bench.spans["publish asya-n-b"].attributes["asya.tries"] == 2


def test_an_output_without_a_queue_is_a_failed_span_and_its_record_another() -> None:
    bench = Traced(unroutable_tries=0)
    bench.arrive(headers={"traceparent": SAMPLED})
    bench.reply(1, one())
    bench.ended(1, PublishOutcome.RETURNED)
    record = bench.one(fx.Publish)
    bench.ended(2)
    spans = bench.spans
    assert spans["publish asya-n-b"].error == "returned"
    assert spans["publish asya-n-error-end"].error is None
    assert parts(headers(record)["traceparent"])[1] == spans["publish asya-n-error-end"].context.span_id


def test_a_handler_cannot_take_an_envelope_out_of_its_trace() -> None:
    bench = Traced()
    bench.arrive(headers={"traceparent": SAMPLED})
    head = message(route={"actors": ["a", "b"], "current": 1}, headers={"traceparent": "mine", "tracestate": "y=1"}, payload=...)
    bench.reply(1, EnvelopesReply(((head, b"1"),), False))
    publish = headers(bench.one(fx.Publish))
    assert parts(publish["traceparent"])[0] == TRACE
    assert "tracestate" not in publish


def test_an_unsampled_envelope_keeps_its_bytes_and_tells_nothing() -> None:
    bench = Traced()
    bench.arrive(headers={"traceparent": UNSAMPLED, "tracestate": " x=1 "})
    bench.reply(1, one())
    assert headers(bench.one(fx.Publish)) == {"traceparent": UNSAMPLED, "tracestate": " x=1 ", "asya-hops": 1}
    bench.ended(1)
    assert not bench.has(fx.ExportSpans)


@pytest.mark.parametrize("given", [{}, {"traceparent": SAMPLED}])
def test_a_decision_against_a_trace_is_told_to_all_who_come_after(given: dict[str, str]) -> None:
    bench = Traced(samples=lambda trace_id, parent: False)
    bench.arrive(headers=given)
    bench.reply(1, one())
    said = headers(bench.one(fx.Publish))
    assert said["traceparent"].startswith(f"00-{TRACE if given else derived_trace_id('7')}-")
    assert said["traceparent"].endswith("-00")
    assert "asya-sent" not in said
    bench.ended(1)
    assert not bench.has(fx.ExportSpans)


def test_headers_that_are_nearly_too_large_stay_without_a_context() -> None:
    bench = Traced()
    full = {"x": "y" * (MAX_HEADERS_BYTES - 100)}
    bench.arrive(headers=full)
    bench.reply(1, one())
    assert headers(bench.one(fx.Publish)) == {**full, "asya-hops": 1}
    bench.ended(1)
    assert "publish asya-n-b" in bench.spans


def test_a_message_that_is_nearly_too_large_stays_without_a_context() -> None:
    bench = Traced(max_message_bytes=1000)
    bench.arrive()
    bench.reply(1, one(b'"' + b"x" * 860 + b'"'))
    publish = bench.one(fx.Publish)
    assert publish.queue == "asya-n-b"
    assert headers(publish) == {"asya-hops": 1}


def test_what_was_given_back_untouched_tells_nothing() -> None:
    bench = Traced(prefetch=2)
    bench.arrive()
    bench.arrive(id="8")
    bench.take(fx.DrainRequested(True))
    assert bench.has(fx.Requeue)
    assert not bench.has(fx.ExportSpans)
    bench.reply(1, one())
    bench.ended(1)
    assert bench.has(fx.ExportSpans)
    assert bench.decider._traces._open == {}


def test_a_run_that_the_grace_period_cut_off_is_told_as_dropped() -> None:
    bench = Traced()
    bench.arrive(headers={"traceparent": SAMPLED})
    bench.take(fx.GraceOver(), after=3.0)
    process, handler = bench.spans["process asya-n-a"], bench.spans["handler a"]
    assert (process.error, handler.error) == ("dropped", "lost")
    assert handler.end_us - handler.start_us == 3_000_000


def test_another_hosts_clock_that_is_ahead_makes_no_negative_wait() -> None:
    bench = Traced()
    bench.arrive(headers={"traceparent": SAMPLED, "asya-sent": [NOON_US + 10**9, 0, "a"]})
    bench.reply(1, one())
    bench.ended(1)
    wait = bench.spans["wait asya-n-a"]
    assert wait.start_us == wait.end_us == NOON_US


def test_end_actors_tell_process_and_handler() -> None:
    bench = Traced(actor="happy-end")
    bench.arrive(headers={"traceparent": SAMPLED, "asya-sent": [NOON_US, 0, "happy-end"]}, route={"actors": ["a"], "current": 1})
    head = message(headers={}, route={"actors": ["a"], "current": 1}, payload=...)
    bench.reply(1, EnvelopesReply(((head, b"1"),), False))
    bench.take(fx.FinalReported(1, fx.FinalAnswer.RECORDED))
    assert sorted(bench.spans) == ["handler happy-end", "process asya-n-happy-end", "wait asya-n-happy-end"]


def test_spans_hold_nothing_of_payload_or_message() -> None:
    bench = Traced()
    bench.arrive(payload={"secret": "hunter2"}, headers={"traceparent": SAMPLED, "mine": "hunter2"})
    bench.reply(1, broken("handler_error", "ValueError", traceback="hunter2"))
    bench.ended(1)
    assert b"hunter2" not in msgspec.json.encode(bench.one(fx.ExportSpans))
