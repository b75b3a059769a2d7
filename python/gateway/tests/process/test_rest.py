"""REST and the mesh's reports against the real process."""

import json
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from asya_core.testing.exposition import differences
from asya_gateway.metrics import GatewayMetrics

# conftest of this folder gives the fixture; its types are duck-typed here since tests are imported by path.
Gateway = Any


def events_of(text: str) -> list[tuple[str, int, dict[str, Any]]]:
    """(event, id, data) of each event in an SSE body."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in fields:
            found.append((fields["event"], int(fields["id"]), json.loads(fields["data"])))
    return found


def test_call_is_answered_with_a_view_and_its_message_is_in_the_queue(gateway: Gateway) -> None:
    answer = gateway.call(arguments={"text": "hello"})
    assert answer.status_code == 202
    view = answer.json()
    assert answer.headers["location"] == f"/envelopes/{view['id']}"
    assert {key: view[key] for key in ("tool", "status", "progress", "route")} == {
        "tool": "text-processor",
        "status": "pending",
        "progress": 0,
        "route": ["text-processor"],
    }
    message = gateway.message(view["id"])
    assert message["payload"] == {"text": "hello"}
    assert message["route"] == {"actors": ["text-processor"], "current": 0}
    assert datetime.fromisoformat(message["deadline"]) > datetime.now(UTC)


def test_flow_is_called_at_its_entry(gateway: Gateway) -> None:
    envelope_id = gateway.envelope("text_flow", {"anything": [1]})
    assert gateway.message(envelope_id, "start-text-flow")["route"]["actors"] == ["start-text-flow"]
    assert gateway.view(envelope_id)["flow"] == "text_flow"


def test_defaults_and_headers_of_the_tool_reach_the_envelope(gateway: Gateway) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    envelope_id = gateway.call("two-hops", {"text": "x"}, traceparent=trace).json()["id"]
    message = gateway.message(envelope_id)
    assert message["payload"] == {"greeting": "hello", "text": "x"}
    assert message["headers"] == {"team": "blue", "traceparent": trace}


def test_reports_make_progress_and_the_final_one_ends_it(gateway: Gateway) -> None:
    envelope_id = gateway.envelope("two-hops")
    gateway.progress({"id": envelope_id, "state": "done", "hop": 0})
    half = gateway.view(envelope_id)
    assert (half["status"], half["progress"], half["actor"]) == ("running", 50, "text-processor")
    assert gateway.final(envelope_id, result={"z": 1, "a": 2}) == {"recorded": True}
    answer = gateway.client.get(f"/envelopes/{envelope_id}")
    assert answer.json()["progress"] == 100
    assert '"result":{"z":1,"a":2}' in answer.text  # keys in their order
    assert "finished_at" in answer.json()


def test_times_that_sidecars_report_are_told_and_progress_after_the_end_too(gateway: Gateway) -> None:
    envelope_id = gateway.envelope("two-hops")
    gateway.final(envelope_id, result=1)
    gateway.progress(
        {
            "id": envelope_id,
            "state": "done",
            "hop": 0,
            "at": "2026-01-01T00:00:01.5Z",
            "earlier": {"received": "2026-01-01T00:00:00+00:00", "running": "2026-01-01T01:00:01+01:00"},
        }
    )
    assert gateway.view(envelope_id)["status"] == "succeeded"
    last = gateway.client.get(f"/envelopes/{envelope_id}/events").json()["events"][-1]
    assert (last["kind"], last["late"], last["state"], last["actor"]) == ("progress", True, "done", "text-processor")
    assert last["times"] == {
        "received": "2026-01-01T00:00:00.000Z",
        "running": "2026-01-01T00:00:01.000Z",
        "done": "2026-01-01T00:00:01.500Z",
    }
    answer = gateway.client.get(f"/envelopes/{envelope_id}/stream")
    assert [event for event, _, _ in events_of(answer.text)] == ["status", "final"]


def test_percentage_never_falls_when_a_router_lengthens_the_route(gateway: Gateway) -> None:
    envelope_id = gateway.envelope("two-hops")
    gateway.progress({"id": envelope_id, "state": "done", "hop": 0})
    gateway.progress({"id": envelope_id, "state": "running", "hop": 1, "route": ["text-processor", "second", "c", "d"], "actor": "second"})
    view = gateway.view(envelope_id)
    assert (view["progress"], view["route"]) == (50, ["text-processor", "second", "c", "d"])


def test_tool_without_progress_tells_its_end_only(gateway: Gateway) -> None:
    envelope_id = gateway.envelope("silent")
    gateway.progress({"id": envelope_id, "state": "done", "hop": 0})
    assert gateway.view(envelope_id)["status"] == "pending"
    gateway.final(envelope_id, result=1)
    assert gateway.view(envelope_id)["status"] == "succeeded"


def test_first_final_report_stands(gateway: Gateway) -> None:
    envelope_id = gateway.envelope()
    assert gateway.final(envelope_id, "failed", error={"code": "timeout", "message": "too slow", "traceback": "secret"})["recorded"]
    assert gateway.final(envelope_id, result=1) == {"recorded": False, "status": "failed"}
    view = gateway.view(envelope_id)
    assert view["error"] == {"code": "timeout", "message": "too slow"}
    assert "result" not in view
    kinds = [event["kind"] for event in gateway.client.get(f"/envelopes/{envelope_id}/events").json()["events"]]
    assert kinds == ["status", "final", "late"]


@pytest.mark.parametrize(("code", "status"), [("deadline_exceeded", "expired"), ("cancelled", "cancelled"), ("handler_error", "failed")])
def test_error_code_decides_the_final_status(gateway: Gateway, code: str, status: str) -> None:
    envelope_id = gateway.envelope()
    gateway.final(envelope_id, "failed", error={"code": code, "message": "m"})
    assert gateway.view(envelope_id)["status"] == status


def test_cancelled_envelope_is_told_to_sidecars_once_per_cursor(gateway: Gateway) -> None:
    envelope_id = gateway.envelope()
    cursor = gateway.progress()["cursor"]
    answer = gateway.client.post(f"/envelopes/{envelope_id}/cancel")
    assert answer.json()["status"] == "cancelled"
    told = gateway.progress(cursor=cursor)
    assert told["cancelled"] == [envelope_id]
    assert gateway.progress(cursor=told["cursor"])["cancelled"] == []
    assert gateway.client.post(f"/envelopes/{envelope_id}/cancel").json()["status"] == "cancelled"
    assert gateway.final(envelope_id, result=1) == {"recorded": False, "status": "cancelled"}


def test_past_deadline_expires_by_itself(gateway: Gateway) -> None:
    envelope_id = gateway.envelope("quick")
    with sqlite3.connect(gateway.folder / "gateway.db") as database:  # the mesh has 5 s after the deadline to tell of it; they are over now
        database.execute("UPDATE envelopes SET deadline_at = deadline_at - 6000 WHERE id = ?", (envelope_id,))
    database.close()
    with gateway.client.stream("GET", f"/envelopes/{envelope_id}/stream") as answer:
        last = events_of("".join(answer.iter_text()))[-1]
    assert (last[0], last[2]["status"], last[2]["error"]["code"]) == ("final", "expired", "deadline_exceeded")


def test_id_that_is_kept_no_longer_is_404_with_a_hint(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway().start()
    envelope_id = gateway.envelope()
    gateway.final(envelope_id, result=1)
    assert gateway.stop() == 0
    with sqlite3.connect(gateway.folder / "gateway.db") as database:  # a week and an hour later
        database.execute("UPDATE envelopes SET finished_at = finished_at - 608400000")
    database.close()
    gateway.lines.clear()
    gateway.start()
    gateway.until(lambda line: line.get("event") == "envelopes forgotten")
    answer = gateway.client.get(f"/envelopes/{envelope_id}")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_envelope")
    assert "kept for a limited time" in answer.json()["hint"]
    never = gateway.client.get("/envelopes/01JD2ABSENT")
    assert never.json() == answer.json()


def test_same_idempotency_key_gives_the_first_answer_again(gateway: Gateway) -> None:
    key = {"Idempotency-Key": "k-1"}
    first = gateway.call(arguments={"text": "a"}, **key).json()
    assert gateway.call(arguments={"text": "a"}, **key).json()["id"] == first["id"]
    other = gateway.call(arguments={"text": "b"}, **key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


def test_prefer_wait_holds_the_answer_until_the_end(gateway: Gateway) -> None:
    answers: list[Any] = []
    cursor = gateway.lines
    del cursor
    caller = threading.Thread(target=lambda: answers.append(gateway.call(arguments={"text": "held"}, Prefer="wait=50")))
    caller.start()

    def mine() -> str | None:
        listed = gateway.client.get("/envelopes", params={"status": "pending", "limit": 200}).json()["envelopes"]
        for each in listed:
            if gateway.message(each["id"], each["route"][0])["payload"] == {"text": "held"}:
                return str(each["id"])
        return None

    found = None
    while found is None:
        found = mine()
    gateway.final(found, result="done")
    caller.join(60)
    assert answers[0].status_code == 200
    assert answers[0].json()["result"] == "done"


def test_stream_tells_history_then_news_then_closes(gateway: Gateway) -> None:
    envelope_id = gateway.envelope("two-hops")
    gateway.progress({"id": envelope_id, "state": "done", "hop": 0})
    with gateway.client.stream("GET", f"/envelopes/{envelope_id}/stream") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        text = ""
        for piece in answer.iter_text():
            text += piece
            if "event: progress" in text and "event: final" not in text:
                gateway.final(envelope_id, result=7)
    events = events_of(text)
    assert [(kind, number) for kind, number, _ in events] == [("status", 1), ("progress", 2), ("final", 3)]
    assert events[-1][2]["result"] == 7


def test_cut_stream_goes_on_after_the_last_event(gateway: Gateway) -> None:
    envelope_id = gateway.envelope("two-hops")
    gateway.progress({"id": envelope_id, "state": "done", "hop": 0})
    gateway.final(envelope_id, result=7)
    url = f"/envelopes/{envelope_id}/stream"
    rest = gateway.client.get(url, headers={"Last-Event-ID": "1"})
    assert [number for _, number, _ in events_of(rest.text)] == [2, 3]
    assert gateway.client.get(url, headers={"Last-Event-ID": "3"}).status_code == 204


def test_children_of_a_fan_out_end_their_parent(gateway: Gateway) -> None:
    envelope_id = gateway.envelope()
    for number in (2, 0, 1):
        assert gateway.view(envelope_id)["status"] != "succeeded"
        gateway.final(f"{envelope_id}.0.{number}", parent_id=envelope_id, fanout=[3], result=number)
    view = gateway.view(envelope_id)
    assert (view["status"], view["result"]) == ("succeeded", [0, 1, 2])
    assert view["children"] == {"total": 3, "succeeded": 3, "failed": 0}
    children = gateway.client.get("/envelopes", params={"parent": envelope_id}).json()["envelopes"]
    assert len(children) == 3
    assert {child["tool"] for child in children} == {"text-processor"}


def test_child_that_is_reported_twice_counts_once(gateway: Gateway) -> None:
    envelope_id = gateway.envelope()
    for _ in range(2):
        gateway.final(f"{envelope_id}.0.0", parent_id=envelope_id, fanout=[2], result=0)
    assert gateway.view(envelope_id)["status"] == "pending"


def test_nested_fan_out_ends_upwards_and_a_failed_part_fails_the_whole(gateway: Gateway) -> None:
    envelope_id = gateway.envelope()
    gateway.final(f"{envelope_id}.0.0", parent_id=envelope_id, fanout=[2], result=0)
    inner = f"{envelope_id}.0.1"
    gateway.final(f"{inner}.1.0", parent_id=inner, fanout=[2, 2], result="a")
    gateway.final(f"{inner}.1.1", "failed", parent_id=inner, fanout=[2, 2], error={"code": "handler_error", "message": "m"})
    assert gateway.view(inner)["error"]["code"] == "children_failed"
    view = gateway.view(envelope_id)
    assert (view["status"], view["children"]) == ("failed", {"total": 2, "succeeded": 1, "failed": 1})


def test_envelope_published_by_hand_is_seen(gateway: Gateway) -> None:
    gateway.progress({"id": "by-hand-1", "actor": "text-processor", "hop": 0, "route": ["text-processor", "second"]})
    view = gateway.view("by-hand-1")
    assert (view["status"], view["route"]) == ("running", ["text-processor", "second"])


def test_list_is_newest_first_and_pages_without_gaps(gateway: Gateway) -> None:
    made = [gateway.envelope("text_flow", {"n": number}) for number in range(5)]
    seen: list[str] = []
    params: dict[str, Any] = {"tool": "text_flow", "limit": 2}
    while True:
        page = gateway.client.get("/envelopes", params=params).json()
        seen += [each["id"] for each in page["envelopes"]]
        if "next" not in page:
            break
        params["cursor"] = page["next"]
    assert [each for each in seen if each in made] == made[::-1]
    assert len(seen) == len(set(seen))


def test_actors_are_counted_by_status(gateway: Gateway) -> None:
    for status in ("running", "failed"):
        envelope_id = gateway.envelope()
        gateway.progress({"id": envelope_id, "actor": "counted", "state": "running", "hop": 0})
        if status == "failed":
            gateway.final(envelope_id, "failed", actor="counted", error={"code": "timeout", "message": "m"})
    told = gateway.client.get("/actors").json()["actors"]
    assert {"name": "counted", "running": 1, "failed": 1} in told


def test_flows_are_told_with_their_graph(gateway: Gateway) -> None:
    assert gateway.client.get("/flows/text_flow").json() == {
        "name": "text_flow",
        "entry": "start-text-flow",
        "graph": {"nodes": [], "edges": []},
    }
    assert gateway.client.get("/flows/none").json()["code"] == "no_such_flow"


@pytest.mark.behaviour("metrics:documented")
def test_metrics_that_the_process_prints_are_those_declared(gateway: Gateway) -> None:
    gateway.view(gateway.envelope())
    gateway.client.get("/envelopes/none")
    gateway.client.get("/tools", headers={"Host": "elsewhere.example.com"})
    text = gateway.mesh.get("/metrics").text
    assert differences(text, GatewayMetrics().registry) == []
    for line in ("tool_calls_total{tool=", "refusals_total{code=", "requests_total{listener="):
        assert f"asya_gateway_{line}" in text
    for each in ("store_read_seconds", "store_write_seconds", "request_seconds"):
        assert f"asya_gateway_{each}_count 0\n" not in text, each


def test_health_and_metrics_are_on_the_internal_socket_only(gateway: Gateway) -> None:
    ready = gateway.mesh.get("/readyz", headers={"Authorization": ""})
    assert (ready.status_code, ready.text) == (200, "store: ok\ntools: ok\nbroker: ok\n")
    assert "asya_gateway_tools 0" not in gateway.mesh.get("/metrics").text
    for path in ("/readyz", "/metrics", "/internal/v1/final"):
        assert gateway.client.get(path).status_code == 404
