"""The whole way as one tree: a call at the real gateway, a real actor, the real end actor, and an OTLP receiver of their spans."""

import pytest
from python.crew.tests.process.test_with_gateway import staged

from tests.otlp import ReceivedSpan, Receiver

NAMES = {
    "call greet": None,
    "publish asya-t-a": "call greet",
    "wait asya-t-a": "publish asya-t-a",
    "process asya-t-a": "publish asya-t-a",
    "handler a": "process asya-t-a",
    "publish asya-t-happy-end": "process asya-t-a",
    "wait asya-t-happy-end": "publish asya-t-happy-end",
    "process asya-t-happy-end": "publish asya-t-happy-end",
    "handler happy-end": "process asya-t-happy-end",
}
"""Each span by the name of the one that it is below."""


@pytest.mark.behaviour("tracing:one-tree")
def test_a_call_is_one_tree_from_the_gateway_to_the_end_actor(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as receiver:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)
        with staged() as stage:
            stage.actor("a", "sample.greet")
            stage.end_actor("happy-end")
            envelope_id = stage.gateway.envelope("greet", {"name": "x"})
            assert stage.ended(envelope_id)["status"] == "succeeded"
            record = stage.record(f"results/{envelope_id}.json")

            def all_came(spans: list[ReceivedSpan]) -> dict[str, ReceivedSpan] | None:
                return {span.name: span for span in spans} if len(spans) >= len(NAMES) else None

            spans = receiver.wait_for(all_came, f"{len(NAMES)} spans")
    below = {
        name: next((parent.name for parent in spans.values() if parent.span_id == span.parent_id), None) for name, span in spans.items()
    }
    assert below == NAMES
    assert {span.trace_id for span in spans.values()} == {record["headers"]["traceparent"].split("-")[1]}
    assert spans["call greet"].attributes["asya.envelope_id"] == envelope_id
    assert spans["wait asya-t-a"].start == spans["publish asya-t-a"].start
