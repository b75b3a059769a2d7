"""Traces of real processes: what an OTLP receiver is sent, and that nothing waits for one."""

import itertools
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asya_core.wire.trace import Sent
from tests.otlp import ReceivedSpan, Receiver

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
ACTORS = ("a", "b", "c", "d", "e")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def envelope(*actors: str, envelope_id: str = "7", payload: Any = None, **headers: Any) -> dict[str, Any]:
    payload = {"x": 1} if payload is None else payload
    return {"id": envelope_id, "route": {"actors": list(actors), "current": 0}, "headers": headers, "payload": payload}


def by_name(spans: list[ReceivedSpan]) -> dict[str, ReceivedSpan]:
    assert len({span.name for span in spans}) == len(spans), [span.name for span in spans]
    return {span.name: span for span in spans}


@pytest.mark.behaviour("tracing:one-tree")
def test_one_trace_over_five_actors_has_correct_parents_and_queue_waits(embedded_mesh: Any, receiver: Receiver) -> None:
    for name in ACTORS:
        embedded_mesh.actor(name, "sample.identity", **receiver.environment)
    happy_end = embedded_mesh.queue("happy-end")

    embedded_mesh.send("a", envelope(*ACTORS, traceparent=f"00-{TRACE}-{CALLER}-01", tracestate="rojo=1"))

    result = embedded_mesh.receive("happy-end")
    spans = by_name(receiver.wait_for(lambda spans: list(spans) if len(spans) >= 4 * 5 - 1 else None, "19 spans"))
    assert {span.trace_id for span in spans.values()} == {TRACE}
    assert {span.trace_state for span in spans.values()} == {"rojo=1"}
    published = CALLER
    for name, following in itertools.pairwise((*ACTORS, "happy-end")):
        queue, onward = embedded_mesh.queue(name), embedded_mesh.queue(following)
        process, handler, publish = spans[f"process {queue}"], spans[f"handler {name}"], spans[f"publish {onward}"]
        assert {span.service for span in (process, handler, publish)} == {name}
        assert process.parent_id == published
        assert (handler.parent_id, publish.parent_id) == (process.span_id, process.span_id)
        assert process.start <= handler.start <= handler.end <= publish.start <= publish.end <= process.end
        assert process.attributes["messaging.operation.type"] == "process"
        assert publish.attributes["messaging.operation.type"] == "send"
        assert publish.attributes["messaging.destination.name"] == onward
        if name != "a":  # nobody stamped what the test itself sent
            wait = spans[f"wait {queue}"]
            assert wait.parent_id == published
            # One machine, one clock: the wait is exactly from the publish to the receipt.
            assert wait.start == spans[f"publish {queue}"].start
            assert wait.end == process.start
        published = publish.span_id
    sent = Sent(*result["headers"]["asya-sent"])
    assert (sent.hops, sent.actor) == (5, "happy-end")
    assert sent.at_us * 1000 == spans[f"publish {happy_end}"].start
    assert result["headers"]["traceparent"] == f"00-{TRACE}-{published}-01"
    assert result["headers"]["tracestate"] == "rojo=1"


TRANSPORTS = ["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq), pytest.param("sqs", marks=pytest.mark.sqs)]


@pytest.mark.behaviour("tracing:one-tree")
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_context_reaches_the_next_actor_and_outlasts_a_retry(
    transport: str, request: pytest.FixtureRequest, receiver: Receiver, folder: Path
) -> None:
    mesh = request.getfixturevalue(f"{transport}_mesh")
    retry = {"ASYA_RETRY": '{"maxAttempts": 3, "backoff": {"initial": "1ms", "max": "10ms"}}'}
    mesh.actor("a", "sample.identity", **receiver.environment).ready()
    mesh.actor("b", "sample.fail_at_first", **receiver.environment, **retry).ready()

    mesh.send("a", envelope("a", "b", payload={"path": str(folder / "runs"), "runs": 2}, traceparent=f"00-{TRACE}-{CALLER}-01"))

    result = mesh.receive("happy-end")
    spans = receiver.wait_for(lambda spans: list(spans) if len(spans) >= 9 else None, "9 spans")
    assert {span.trace_id for span in spans} == {TRACE} == {result["headers"]["traceparent"].split("-")[1]}
    (sent,) = (span for span in spans if span.name == f"publish {mesh.queue('b')}")
    (wait,) = (span for span in spans if span.name == f"wait {mesh.queue('b')}")
    runs = sorted((span for span in spans if span.name == f"process {mesh.queue('b')}"), key=lambda span: span.start)
    assert {wait.parent_id, *(run.parent_id for run in runs)} == {sent.span_id}
    assert (wait.start, wait.end) == (sent.start, runs[0].start)
    assert [(run.attributes["asya.attempt"], run.attributes["asya.outcome"], run.is_error) for run in runs] == [
        (1, "retry", True),
        (2, "ok", False),
    ]
    assert {run.attributes["messaging.system"] for run in runs} == {
        {"embedded": "asya_embedded", "sqs": "aws_sqs"}.get(transport, transport)
    }


def test_parts_of_a_fan_out_and_an_error_record_are_in_the_trace(embedded_mesh: Any, receiver: Receiver) -> None:
    embedded_mesh.actor("a", "sample.identity", **receiver.environment)
    embedded_mesh.actor("b", "sample.refuse_none", **receiver.environment)

    embedded_mesh.send("a", envelope("a", "b", payload=[1, None], traceparent="not one"))

    result, record = embedded_mesh.receive("happy-end"), embedded_mesh.receive("error-end")
    spans = receiver.wait_for(lambda spans: list(spans) if len(spans) >= 12 else None, "12 spans")
    assert len({span.trace_id for span in spans}) == 1
    first = next(span for span in spans if span.name == f"process {embedded_mesh.queue('a')}")
    assert first.parent_id == ""
    sends = {span.span_id: span for span in spans if span.name.startswith("publish ")}
    processed = [span for span in spans if span.name == f"process {embedded_mesh.queue('b')}"]
    assert {sends[span.parent_id].attributes["messaging.message.id"] for span in processed} == {"7.0.0", "7.0.1"}
    failed = next(span for span in processed if span.is_error)
    assert (failed.attributes["error.type"], failed.attributes["asya.error.code"]) == ("ValueError", "handler_error")
    for message, queue in ((result, "happy-end"), (record, "error-end")):
        context = message["headers"]["traceparent"].split("-")
        assert context[1] == first.trace_id
        assert sends[context[2]].name == f"publish {embedded_mesh.queue(queue)}"


@pytest.mark.behaviour("tracing:off")
def test_without_an_endpoint_the_context_passes_byte_for_byte(embedded_mesh: Any) -> None:
    embedded_mesh.actor("a", "sample.identity")
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01", "tracestate": " rojo=1 ,, congo=2", "asya-sent": [1, 0, "a"]}

    embedded_mesh.send("a", envelope("a", **headers))

    assert embedded_mesh.receive("happy-end")["headers"] == {**headers, "asya-hops": 1}


@pytest.mark.behaviour("tracing:delays-nothing")
def test_an_endpoint_that_hangs_delays_no_delivery_and_no_leaving(embedded_mesh: Any, receiver: Receiver) -> None:
    receiver.hold.clear()
    actor = embedded_mesh.actor(
        "a", "sample.identity", **receiver.environment, OTEL_BSP_MAX_QUEUE_SIZE="8", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="4"
    )
    embedded_mesh.send("a", envelope("a", envelope_id="0"))
    receiver.wait_for_request()

    for number in range(1, 6):
        embedded_mesh.send("a", envelope("a", envelope_id=str(number)))
    results = [embedded_mesh.receive("happy-end")["id"] for _ in range(6)]

    assert results == [str(number) for number in range(6)]
    # Three spans each: 8 wait or are on their way, the rest is dropped.
    actor.get_until("/metrics", lambda status, text: 'spans_total{actor="a",result="dropped"} 10' in text)
    actor.sidecar.event("spans are not taken")
    actor.sidecar.signal(signal.SIGTERM)
    assert actor.sidecar.exit_code() == 0
    assert actor.sidecar.event("spans dropped")["count"] == 8


@pytest.mark.behaviour("tracing:delays-nothing")
def test_an_endpoint_that_refuses_is_counted_and_told_once(embedded_mesh: Any, receiver: Receiver) -> None:
    receiver.status = 400
    actor = embedded_mesh.actor("a", "sample.identity", **receiver.environment)
    for number in range(2):
        embedded_mesh.send("a", envelope("a", envelope_id=str(number)))
        actor.get_until("/metrics", lambda status, text, count=3 * (number + 1): f'result="failed"}} {count}' in text)

    receiver.status = 200
    embedded_mesh.send("a", envelope("a", envelope_id="2"))

    receiver.wait_for(lambda spans: len(spans) == 3, "3 spans")
    actor.sidecar.event("spans are taken again")
    assert len(actor.sidecar.events("spans are not taken")) == 1


def test_spans_of_the_last_delivery_are_sent_before_the_process_ends(embedded_mesh: Any, receiver: Receiver) -> None:
    environment = {**receiver.environment, "OTEL_BSP_SCHEDULE_DELAY": "600000"}
    actor = embedded_mesh.actor("a", "sample.identity", **environment)
    embedded_mesh.send("a", envelope("a"))
    embedded_mesh.receive("happy-end")

    actor.sidecar.signal(signal.SIGTERM)

    assert actor.sidecar.exit_code() == 0
    assert len(receiver.spans) == 3


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "expected http/protobuf"),
        ({"OTEL_TRACES_SAMPLER": "half"}, "expected one of always_on"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT is 'collector:4318'; expected"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "1"}, "OpenTelemetry refuses its settings"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
def test_a_setting_that_cannot_work_is_refused_with_a_sentence(embedded_mesh: Any, setting: dict[str, str], words: str) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", **setting}
    actor = embedded_mesh.actor("a", "sample.identity", **environment)
    assert actor.sidecar.exit_code() == 78
    assert words in actor.sidecar.lines[-1]


def test_what_is_not_sampled_is_passed_on_as_not_sampled_and_tells_no_spans(embedded_mesh: Any, receiver: Receiver) -> None:
    actor = embedded_mesh.actor("a", "sample.identity", **receiver.environment, OTEL_TRACES_SAMPLER="parentbased_always_off")
    for number, headers in enumerate(({}, {"traceparent": f"00-{TRACE}-{CALLER}-00"}, {"traceparent": f"00-{TRACE}-{CALLER}-01"})):
        embedded_mesh.send("a", envelope("a", envelope_id=str(number), **headers))
    made, kept, sampled = (embedded_mesh.receive("happy-end")["headers"]["traceparent"] for _ in range(3))

    actor.sidecar.signal(signal.SIGTERM)
    assert actor.sidecar.exit_code() == 0
    assert made.endswith("-00")
    assert kept == f"00-{TRACE}-{CALLER}-00"
    assert json.dumps(sampled).count(TRACE) == 1
    assert {span.trace_id for span in receiver.spans} == {TRACE}
