"""The JSON of reports to the gateway."""

import json
from typing import Any

import pytest

from asya_sidecar.effects import ProgressStatus, Report
from asya_sidecar.reports import final_body, final_without_result, is_recorded, progress_bodies, told_cancelled

REFERENCE = {"key": "results/7.json", "bytes": 3, "sha256": "a" * 64}


def report(envelope_id: str, route: tuple[str, ...] = ("a",), parent_id: str | None = None) -> tuple[Report, str, dict[str, str]]:
    return Report(envelope_id, ProgressStatus.RUNNING, 0, 1, route, parent_id), "T", {}


def final(actor: str = "happy-end", **members: Any) -> dict[str, Any]:
    return json.loads(final_body(json.dumps({"id": "7", "payload": 1, **members}).encode(), actor, "T"))  # type: ignore[no-any-return]


def test_a_cursor_goes_with_the_reports() -> None:
    [(body, count)] = progress_bodies([report("1"), report("2", parent_id="1")], actor="a", cursor={"n": [1]})

    assert (json.loads(body)["cursor"], count) == ({"n": [1]}, 2)
    assert [each.get("parent_id") for each in json.loads(body)["reports"]] == [None, "1"]


def test_times_of_states_that_were_not_told_go_with_the_one_that_is() -> None:
    first, second = report("1"), report("2")

    [(body, _)] = progress_bodies([(*first[:2], {"received": "R"}), second], actor="a", cursor=None)

    assert [each.get("earlier") for each in json.loads(body)["reports"]] == [{"received": "R"}, None]


@pytest.mark.parametrize("parent_id", ["", "a b", '"', "x" * 129, "\\u0000"])
def test_a_parent_that_is_no_id_is_left_out_of_progress(parent_id: str) -> None:
    [(body, _)] = progress_bodies([report("1", parent_id=parent_id)], actor="a", cursor=None)
    assert json.loads(body) == {
        "reports": [{"id": "1", "actor": "a", "hop": 0, "attempt": 1, "state": "running", "route": ["a"], "at": "T"}]
    }


def test_nothing_to_report_is_no_request() -> None:
    assert list(progress_bodies([], actor="a", cursor=None)) == []


def test_reports_over_1_mib_are_several_requests() -> None:
    route = tuple(f"{number:0>40}" for number in range(256))

    bodies = list(progress_bodies((report(str(number), route) for number in range(500)), actor="a", cursor=1))

    assert sum(count for _, count in bodies) == 500
    assert [each["id"] for body, _ in bodies for each in json.loads(body)["reports"]] == [str(number) for number in range(500)]
    assert all(len(body) < 1_100_000 for body, _ in bodies)
    assert len(bodies) == 6


def test_a_route_over_256_entries_is_left_out() -> None:
    [(body, _)] = progress_bodies([report("1", ("a",) * 256), report("2", ("a",) * 257)], actor="a", cursor=None)

    assert [len(each.get("route", [])) for each in json.loads(body)["reports"]] == [256, 0]


@pytest.mark.parametrize("answer", [b"[]", b'{"cancelled": 3}', b'{"cancelled": null}', b'"x"', b"", b"<html>", b"\xff"])
def test_an_answer_that_is_not_as_it_should_be_tells_nothing(answer: bytes) -> None:
    assert told_cancelled(answer, 5) == ((), 5)


def test_cancelled_ids_and_the_new_cursor_are_read() -> None:
    assert told_cancelled(b'{"cancelled": ["x", 3], "cursor": {"a": 1}}', 5) == (("x",), {"a": 1})
    assert told_cancelled(b'{"cancelled": []}', 5) == ((), 5)


def test_a_final_report_holds_result_parent_and_fan_out() -> None:
    assert final(parent_id="p", headers={"asya-fanout": [3, 2], "x": 1}, asya_stored=REFERENCE) == {
        "id": "7",
        "parent_id": "p",
        "fanout": [3, 2],
        "status": "succeeded",
        "result": 1,
        "actor": "happy-end",
        "attempt": 1,
        "at": "T",
    }


@pytest.mark.parametrize(("length", "is_inline"), [(1_048_574, True), (1_048_575, False)])
def test_a_result_over_1_mib_is_told_by_reference(length: int, is_inline: bool) -> None:
    body = final(payload="x" * length, asya_stored=REFERENCE)

    assert ("result" in body, body.get("result_ref")) == (is_inline, None if is_inline else REFERENCE)


def test_a_payload_null_is_a_result() -> None:
    assert final(payload=None)["result"] is None


def test_a_failed_envelope_is_told_with_its_error_and_without_traceback() -> None:
    error = {"code": "handler_error", "message": "m", "traceback": "secret", "actor": "b", "attempt": 3}

    body = final("error-end", error=error, asya_stored=REFERENCE)

    assert body == {
        "id": "7",
        "status": "failed",
        "result_ref": REFERENCE,
        "error": {"code": "handler_error", "message": "m", "actor": "b", "attempt": 3},
        "actor": "b",
        "attempt": 3,
        "at": "T",
    }


@pytest.mark.parametrize("members", [{}, {"error": "text"}, {"error": None}])
def test_what_reaches_error_end_without_an_error_has_failed(members: dict[str, Any]) -> None:
    body = final("error-end", **members)

    assert (body["status"], body["actor"], "error" in body, "result" in body) == ("failed", "error-end", False, False)


@pytest.mark.parametrize(
    "members",
    [
        {"parent_id": 3},
        {"parent_id": "a b"},
        {"headers": []},
        {"headers": {"asya-fanout": "3"}},
        {"headers": {"asya-fanout": [True]}},
        {"headers": {"asya-fanout": [1.5]}},
        {"error": {"actor": 3, "attempt": "x"}},
    ],
)
def test_what_is_wrong_in_an_envelope_does_not_spoil_its_report(members: dict[str, Any]) -> None:
    body = final("error-end", **members)

    assert (body["actor"], body["attempt"]) == ("error-end", 1)
    assert not {"parent_id", "fanout"} & body.keys()


def test_an_error_that_was_caught_on_the_way_is_no_failure() -> None:
    body = final("happy-end", error={"code": "handler_error", "actor": "b"})

    assert (body["status"], body["result"], body["actor"]) == ("succeeded", 1, "happy-end")


def test_a_result_is_replaced_by_the_reference_only_where_there_is_one() -> None:
    envelope = json.dumps({"id": "7", "payload": 1, "asya_stored": REFERENCE}).encode()
    body = final_body(envelope, "happy-end", "T")

    smaller = final_without_result(body, envelope)

    assert smaller is not None
    assert json.loads(smaller) == {"id": "7", "status": "succeeded", "result_ref": REFERENCE, "actor": "happy-end", "attempt": 1, "at": "T"}
    assert final_without_result(smaller, envelope) is None
    assert final_without_result(body, b'{"id": "7", "payload": 1}') is None


@pytest.mark.parametrize(
    ("answer", "is_one"),
    [
        (b'{"recorded": true}', True),
        (b'{"recorded": false, "status": "failed"}', True),
        (b"{}", False),
        (b"[]", False),
        (b"", False),
        (b"\xff", False),
    ],
)
def test_only_a_word_about_recording_is_a_gateways_answer(answer: bytes, is_one: bool) -> None:
    assert is_recorded(answer) is is_one
