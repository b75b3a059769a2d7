"""The gateway's part of a trace, on real sockets: the caller's context is honoured, and its spans reach an OTLP receiver."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asya_core.wire.trace import Sent, read_traceparent
from tests.otlp import ReceivedSpan, Receiver

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
MCP_HEADERS = {
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call",
    "Mcp-Name": "slow",
}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def traced(receiver: Receiver, gateway_of: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = gateway_of(tmp_path_factory.mktemp("traced") / "state", **receiver.environment).start()
    yield running
    assert running.stop() == 0


def mcp(gateway: Any, meta: dict[str, Any], **headers: str) -> str:
    """The id of the envelope that a call by MCP made: the tool is too slow to be waited for."""
    params = {"name": "slow", "arguments": {}, "_meta": {**META, **meta}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    before = {row["id"] for row in gateway.client.get("/envelopes").json()["envelopes"]}
    answer = gateway.client.post("/mcp", json=body, headers={**MCP_HEADERS, **headers})
    assert answer.status_code == 200, answer.text
    (made,) = {row["id"] for row in gateway.client.get("/envelopes").json()["envelopes"]} - before
    return str(made)


def of_envelope(receiver: Receiver, envelope_id: str) -> tuple[ReceivedSpan, ReceivedSpan]:
    """Spans of the call and of the publish."""

    def found(spans: list[ReceivedSpan]) -> Any:
        own = [
            span for span in spans if envelope_id in (span.attributes.get("asya.envelope_id"), span.attributes.get("messaging.message.id"))
        ]
        return sorted(own, key=lambda span: span.name) if len(own) == 2 else None

    call, publish = receiver.wait_for(found, f"two spans of {envelope_id}")
    return call, publish


def test_a_call_is_a_child_of_its_callers_span_and_the_envelope_of_its_publish(traced: Any, receiver: Receiver) -> None:
    envelope_id = traced.call("two-hops", {}, traceparent=SAMPLED, tracestate="rojo=1").json()["id"]
    headers = traced.message(envelope_id)["headers"]

    call, publish = of_envelope(receiver, envelope_id)
    assert (call.name, call.service, call.trace_id, call.parent_id) == ("call two-hops", "asya-gateway", TRACE, CALLER)
    assert (publish.name, publish.trace_id, publish.parent_id) == ("publish asya-test-text-processor", TRACE, call.span_id)
    assert publish.start == call.start <= publish.end
    assert publish.attributes["messaging.system"] == "asya_embedded"
    assert headers["traceparent"] == f"00-{TRACE}-{publish.span_id}-01"
    assert (headers["tracestate"], headers["team"]) == ("rojo=1", "blue")
    assert Sent(*headers["asya-sent"]) == Sent(publish.start // 1000, 0, "text-processor")


@pytest.mark.parametrize("given", [None, "not one", f"ff-{TRACE}-{CALLER}-01", f"{SAMPLED}-x", f"00-{'0' * 32}-{CALLER}-01"])
def test_without_a_good_traceparent_a_new_trace_begins(traced: Any, receiver: Receiver, given: str | None) -> None:
    headers = {"tracestate": "rojo=1", **({} if given is None else {"traceparent": given})}
    envelope_id = traced.call(**headers).json()["id"]
    call, publish = of_envelope(receiver, envelope_id)
    assert call.parent_id == ""
    assert call.trace_id == publish.trace_id != TRACE
    message = traced.message(envelope_id)["headers"]
    assert read_traceparent(message["traceparent"]).trace_id == call.trace_id
    assert "tracestate" not in message


def test_a_call_that_its_caller_does_not_sample_is_passed_on_as_that(traced: Any, receiver: Receiver) -> None:
    envelope_id = traced.call(traceparent=UNSAMPLED).json()["id"]
    assert traced.message(envelope_id)["headers"] == {"traceparent": UNSAMPLED}
    of_envelope(receiver, traced.call().json()["id"])  # what came later has been told
    assert not [span for span in receiver.spans if span.attributes.get("asya.envelope_id") == envelope_id]


@pytest.mark.parametrize(
    ("meta", "headers", "parent"),
    [
        ({"traceparent": SAMPLED, "tracestate": "rojo=1"}, {}, CALLER),
        ({"traceparent": SAMPLED}, {"traceparent": f"00-{TRACE}-{'1' * 16}-01"}, "1" * 16),
        ({"traceparent": 5}, {}, ""),
    ],
    ids=["in _meta", "header wins", "broken"],
)
def test_a_call_by_mcp_brings_its_context_along(
    traced: Any, receiver: Receiver, meta: dict[str, Any], headers: dict[str, str], parent: str
) -> None:
    envelope_id = mcp(traced, meta, **headers)
    call, publish = of_envelope(receiver, envelope_id)
    assert (call.name, call.parent_id, publish.parent_id) == ("call slow", parent, call.span_id)
    assert traced.message(envelope_id)["headers"].get("tracestate") == meta.get("tracestate")


def test_a_repeated_call_is_told_and_the_envelope_published_once(traced: Any, receiver: Receiver) -> None:
    key = {"Idempotency-Key": "once", "traceparent": SAMPLED}
    first, second = (traced.call("quick", {}, **key).json()["id"] for _ in range(2))
    assert first == second

    def told(spans: list[ReceivedSpan]) -> Any:
        calls = [span for span in spans if span.attributes.get("asya.envelope_id") == first]
        return calls if len(calls) == 2 else None

    calls = receiver.wait_for(told, "two calls")
    (publish,) = (span for span in receiver.spans if span.attributes.get("messaging.message.id") == first)
    assert publish.parent_id in {span.span_id for span in calls}


@pytest.mark.behaviour("tracing:off")
def test_a_gateway_without_an_endpoint_loads_nothing_that_makes_spans() -> None:
    program = "import sys, asya_gateway.__main__, asya_gateway.app; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {name for name in loaded if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", "google"))}


def test_spans_are_counted(traced: Any, receiver: Receiver, eventually: Callable[..., Any]) -> None:
    of_envelope(receiver, traced.call().json()["id"])
    counted = eventually(
        lambda: [line for line in traced.mesh.get("/metrics").text.splitlines() if 'spans_total{result="exported"}' in line]
    )
    assert float(counted[0].split()[-1]) >= 2


def test_without_an_endpoint_a_good_context_passes_and_a_bad_one_does_not(gateway: Any) -> None:
    passed = gateway.call(traceparent=SAMPLED, tracestate="rojo=1 , congo=2").json()["id"]
    assert gateway.message(passed)["headers"] == {"traceparent": SAMPLED, "tracestate": "rojo=1,congo=2"}
    refused = gateway.call(traceparent=SAMPLED.upper(), tracestate="rojo=1").json()["id"]
    assert gateway.message(refused)["headers"] == {}
    twice = [("traceparent", SAMPLED), ("traceparent", UNSAMPLED)]
    ambiguous = gateway.client.post("/tools/two-hops", json={}, headers=twice).json()["id"]
    assert gateway.message(ambiguous)["headers"] == {"team": "blue"}
