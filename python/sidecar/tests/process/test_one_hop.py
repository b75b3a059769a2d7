"""One actor, real runtime, real sidecar, each real transport: what comes out for what goes in."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def mesh(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_mesh")


def envelope(payload: Any, *actors: str, envelope_id: str = "7", **more: Any) -> dict[str, Any]:
    return {"id": envelope_id, "route": {"actors": list(actors), "current": 0}, "payload": payload, **more}


def test_a_result_is_in_the_next_actors_queue(mesh: Any) -> None:
    mesh.declare("b")
    mesh.actor("a", "sample.greet")

    mesh.send("a", envelope({"name": "x"}, "a", "b", headers={"trace": "1"}, extra=[1]))

    assert mesh.receive("b") == {
        "id": "7",
        "route": {"actors": ["a", "b"], "current": 1},
        "payload": {"name": "x", "greeting": "hello x"},
        "headers": {"trace": "1", "asya-hops": 1},
        "extra": [1],
    }


def test_a_result_after_the_last_actor_is_in_happy_ends_queue(mesh: Any) -> None:
    mesh.actor("a", "sample.identity")

    mesh.send("a", envelope({"x": [1, None]}, "a"))

    assert mesh.receive("happy-end")["payload"] == {"x": [1, None]}


def test_none_ends_the_envelope_with_the_payload_it_came_with(mesh: Any) -> None:
    mesh.actor("a", "sample.end")

    mesh.send("a", envelope({"x": 1}, "a", "b"))

    ended = mesh.receive("happy-end")
    assert (ended["payload"], ended["route"]["current"]) == ({"x": 1}, 0)


def test_an_exception_is_one_record_in_error_ends_queue(mesh: Any) -> None:
    mesh.actor("a", "sample.fail")

    mesh.send("a", envelope(5, "a", "b"))

    record = mesh.receive("error-end")
    error = record["error"]
    assert (record["id"], record["payload"], record["route"]) == ("7", 5, {"actors": ["a", "b"], "current": 0})
    assert (error["code"], error["type"], error["message"], error["actor"], error["attempt"]) == (
        "handler_error",
        "ValueError",
        "no 5",
        "a",
        1,
    )
    assert "no {payload}" in error["traceback"]


def test_a_list_makes_one_envelope_per_item(mesh: Any) -> None:
    mesh.declare("b")
    mesh.actor("a", "sample.split")

    mesh.send("a", envelope({"count": 3}, "a", "b"))

    received = sorted((mesh.receive("b") for _ in range(3)), key=lambda each: str(each["id"]))
    assert [(each["id"], each["parent_id"], each["payload"]) for each in received] == [
        ("7.0.0", "7", {"n": 0}),
        ("7.0.1", "7", {"n": 1}),
        ("7.0.2", "7", {"n": 2}),
    ]


def test_a_retried_exception_runs_again_until_it_succeeds(mesh: Any, folder: Path) -> None:
    retry = '{"maxAttempts": 3, "backoff": {"initial": "10ms"}, "include": ["TimeoutError"]}'
    actor = mesh.actor("a", "sample.fail_at_first", ASYA_RETRY=retry)

    mesh.send("a", envelope({"path": str(folder / "runs"), "runs": 3}, "a"))

    mesh.receive("happy-end")
    assert (folder / "runs").read_text() == "xxx"
    actor.sidecar.event("delivery", outcome="ok")
    assert [line["outcome"] for line in actor.sidecar.events("delivery")][:2] == ["retry", "retry"]


def test_a_call_past_its_limit_is_one_error_record_and_the_next_message_is_served_by_the_same_sidecar(mesh: Any) -> None:
    actor = mesh.actor("a", "sample.hang", ASYA_TIMEOUT="500ms")
    pid = actor.ready().sidecar.pid

    mesh.send("a", envelope("hang", "a", envelope_id="h"))
    mesh.send("a", envelope("fine", "a", envelope_id="f"))

    record = mesh.receive("error-end")
    assert (record["id"], record["error"]["code"]) == ("h", "timeout")
    assert mesh.receive("happy-end")["id"] == "f"
    assert actor.sidecar.is_alive
    assert actor.sidecar.pid == pid
    assert mesh.is_quiet("error-end")


@pytest.mark.slow
def test_a_worker_killed_in_every_call_is_runtime_crashed_after_three_attempts(mesh: Any) -> None:
    mesh.actor("a", "sample.die")

    mesh.send("a", envelope("die", "a"))

    error = mesh.receive("error-end")["error"]
    assert (error["code"], error["attempt"]) == ("runtime_crashed", 3)
    assert "signal 9 (SIGKILL)" in error["message"]


def test_bytes_that_are_no_envelope_are_one_record_that_holds_them(mesh: Any) -> None:
    mesh.actor("a", "sample.identity")

    mesh.send("a", b"\x00\xff")
    mesh.send("a", envelope(1, "a"))

    record = mesh.receive("error-end")
    assert (record["error"]["code"], record["payload"]["base64"], record["payload"]["bytes"]) == ("bad_envelope", "AP8=", 2)
    assert record["id"].startswith("unreadable-")
    assert mesh.receive("happy-end")["payload"] == 1


def test_a_missing_next_queue_is_unroutable_without_another_run(mesh: Any, folder: Path) -> None:
    mesh.actor("a", "sample.fail_at_first", ASYA_UNROUTABLE_TRIES="1")

    mesh.send("a", envelope({"path": str(folder / "runs"), "runs": 1}, "a", "nowhere"))

    record = mesh.receive("error-end")
    assert (record["error"]["code"], record["route"]["current"]) == ("unroutable", 1)
    assert (folder / "runs").read_text() == "x"


def test_the_line_of_a_delivery_has_every_documented_key(mesh: Any) -> None:
    mesh.declare("b")
    actor = mesh.actor("a", "sample.identity")

    mesh.send("a", envelope({"canary": "s3cret"}, "a", "b"))

    line = actor.sidecar.event("delivery")
    timing = ["wait_ms", "handler_ms", "publish_ms", "total_ms"]
    told = ["envelope_id", "attempt", "outcome", "code", "next", "items", "bytes_in", "bytes_out"]
    assert list(line) == ["ts", "level", "event", "actor", *told, *timing]
    assert (line["actor"], line["envelope_id"], line["attempt"], line["outcome"], line["code"], line["next"], line["items"]) == (
        "a",
        "7",
        1,
        "ok",
        None,
        ["b"],
        1,
    )
    assert not any("s3cret" in text for text in actor.sidecar.lines)


def test_lines_of_deliveries_that_went_well_can_be_left_out(mesh: Any) -> None:
    actor = mesh.actor("a", "sample.die", ASYA_LOG_DELIVERIES="failures")

    mesh.send("a", envelope("fine", "a", envelope_id="f"))
    mesh.receive("happy-end")
    actor.get_until("/metrics", lambda status, text: 'deliveries_total{actor="a",outcome="ok"} 1\n' in text)
    mesh.send("a", b"bad")

    actor.sidecar.event("delivery")
    assert [line["outcome"] for line in actor.sidecar.events("delivery")] == ["error"]


def test_a_new_sidecar_takes_up_what_a_killed_one_left(mesh: Any, folder: Path) -> None:
    actor = mesh.actor("a", "sample.identity").ready()
    actor.sidecar.signal(signal.SIGKILL)
    assert actor.sidecar.exit_code() == -signal.SIGKILL
    mesh.send("a", envelope(1, "a"))

    actor.start_sidecar()

    assert mesh.receive("happy-end")["payload"] == 1


def test_a_runtime_that_comes_late_is_waited_for(mesh: Any) -> None:
    actor = mesh.actor("a", "sample.identity")
    actor.ready().runtime.signal(signal.SIGKILL)
    actor.runtime.exit_code()
    mesh.send("a", envelope(1, "a"))

    actor.start_runtime()

    assert mesh.receive("happy-end")["payload"] == 1


def test_a_descriptor_number_that_is_not_open_is_refused(mesh: Any) -> None:
    actor = mesh.actor("a", "sample.identity", ASYA_PARENT_FD="999")

    assert actor.sidecar.exit_code() == 78
    assert "ASYA_PARENT_FD 999 cannot be read" in actor.sidecar.lines[-1]


def test_the_end_of_the_parents_descriptor_drains_the_sidecar(mesh: Any, folder: Path) -> None:
    read_end, write_end = os.pipe()
    environment = {
        "ASYA_ACTOR": "a",
        "ASYA_NAMESPACE": mesh.broker.namespace,
        "ASYA_HEALTH_LISTEN": "off",
        "ASYA_SOCKET": str(folder / "none.sock"),
        "ASYA_PARENT_FD": str(read_end),
        **mesh.broker.environment,
    }
    sidecar = mesh.process(["-m", "asya_sidecar"], environment, descriptors=(read_end,))
    os.close(read_end)
    sidecar.event("link up")

    os.close(write_end)

    assert sidecar.exit_code() == 0
    assert sidecar.event("draining")["reason"] == "the parent has ended"


FAILING_CALLBACK = """
import os, sys
from asya_sidecar import runtime_client
from asya_sidecar.__main__ import main

def broken(frame):
    raise ValueError("made to fail")

runtime_client.read_reply = broken
sys.exit(main([], os.environ))
"""


def test_an_exception_in_a_callback_ends_the_process_and_the_message_comes_again(mesh: Any) -> None:
    """A sidecar that lived on would wait for an answer that it has thrown away."""
    actor = mesh.actor("a", "sample.identity").ready()
    actor.sidecar.signal(signal.SIGTERM)
    assert actor.sidecar.exit_code() == 0, actor.sidecar.lines
    broken = actor.start_sidecar(["-c", FAILING_CALLBACK])
    broken.event("runtime ready")

    mesh.send("a", envelope(1, "a"))

    assert broken.exit_code() == 70
    assert "made to fail" in broken.event("bug")["reason"]
    actor.start_sidecar()
    assert mesh.receive("happy-end")["payload"] == 1
