"""Records and replays, from a directory that the end actors would have written."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Gateway = Any


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, gateway_of: Callable[..., Gateway]) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("stored")
    (folder / "objects").mkdir()
    made = gateway_of(folder / "state", ASYA_GATEWAY_RESULTS_URL=f"file://{folder / 'objects'}").start()
    made.objects = folder / "objects"
    yield made
    made.stop()


def failed(gateway: Gateway, tool: str = "two-hops") -> str:
    """An envelope that failed at its second actor, and its record."""
    envelope_id: str = gateway.envelope(tool)
    error = {"code": "handler_error", "type": "KeyError", "message": "text", "traceback": "Traceback …", "actor": "second", "attempt": 1}
    record = {
        "id": envelope_id,
        "route": {"actors": ["text-processor", "second"], "current": 1},
        "headers": {"team": "blue", "asya-hops": 2, "asya-fanout": [3]},
        "parent_id": "someone",
        "payload": {"half": "done"},
        "error": error,
        "asya_stored": {"key": "x"},
    }
    folder: Path = gateway.objects / "errors"
    folder.mkdir(exist_ok=True)
    (folder / f"{envelope_id}.json").write_text(json.dumps(record))
    gateway.final(envelope_id, "failed", error=error)
    return envelope_id


def test_record_holds_the_traceback_that_the_view_does_not(stored: Gateway) -> None:
    envelope_id = failed(stored)
    record = stored.client.get(f"/envelopes/{envelope_id}/record")
    assert (record.status_code, record.json()["error"]["traceback"]) == (200, "Traceback …")
    assert "traceback" not in stored.client.get(f"/envelopes/{envelope_id}").text.lower()


def test_replay_begins_where_it_failed_under_a_new_id(stored: Gateway) -> None:
    envelope_id = failed(stored)
    answer = stored.client.post(f"/envelopes/{envelope_id}/replay", json={"from": "failed"})
    assert answer.status_code == 201, answer.text
    again = answer.json()
    assert (again["replay_of"], again["status"], again["tool"]) == (envelope_id, "pending", "two-hops")
    message = stored.message(again["id"], "second")
    assert message["payload"] == {"half": "done"}
    assert message["route"] == {"actors": ["text-processor", "second"], "current": 1}
    assert message["headers"] == {"team": "blue"}
    assert not set(message) & {"error", "asya_stored", "parent_id"}
    assert stored.view(envelope_id)["replayed_as"] == again["id"]


def test_replay_from_the_start_sends_the_first_message_again(stored: Gateway) -> None:
    envelope_id = failed(stored)
    again = stored.client.post(f"/envelopes/{envelope_id}/replay", json={"from": "start"}).json()
    message = stored.message(again["id"])
    assert (message["payload"], message["route"]["current"]) == ({"greeting": "hello", "text": "hi"}, 0)


def test_what_never_left_is_replayed_from_its_first_message(stored: Gateway) -> None:
    lost = stored.envelope("nowhere")
    stored.final(lost, "failed", error={"code": "unroutable", "type": None, "mro": [], "message": "The queue does not exist"})
    told = stored.client.post(f"/envelopes/{lost}/replay", json={"dry_run": True, "actor": "second"})
    assert told.status_code == 200, told.text
    assert (told.json()["envelope"]["payload"], told.json()["envelope"]["route"]["current"]) == ({"text": "hi"}, 0)


def test_one_of_two_replays_that_expect_none_is_refused(stored: Gateway) -> None:
    envelope_id = failed(stored)
    ask = {"from": "failed", "if_replayed_as": None}
    first = stored.client.post(f"/envelopes/{envelope_id}/replay", json=ask)
    second = stored.client.post(f"/envelopes/{envelope_id}/replay", json=ask)
    assert (first.status_code, second.status_code, second.json()["code"]) == (201, 409, "already_replayed")
    assert first.json()["id"] in second.json()["detail"]
    third = stored.client.post(f"/envelopes/{envelope_id}/replay", json={"if_replayed_as": first.json()["id"]})
    assert (third.status_code, stored.view(envelope_id)["replayed_as"]) == (201, third.json()["id"])


def test_dry_run_tells_and_sends_nothing(stored: Gateway) -> None:
    envelope_id = failed(stored)
    told = stored.client.post(f"/envelopes/{envelope_id}/replay", json={"dry_run": True, "actor": "text-processor"})
    assert told.status_code == 200
    assert told.json()["envelope"]["route"] == {"actors": ["text-processor", "second"], "current": 0}
    assert "replayed_as" not in stored.view(envelope_id)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"from": "middle"}, 400, "bad_request"),
        ({"form": "start"}, 400, "bad_request"),
        ({"actor": "happy-end"}, 400, "bad_request"),
        ({"actor": 5}, 400, "bad_request"),
        ({"if_replayed_as": 5}, 400, "bad_request"),
    ],
)
def test_bad_replay_has_its_code(stored: Gateway, body: dict[str, Any], status: int, code: str) -> None:
    answer = stored.client.post(f"/envelopes/{failed(stored)}/replay", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_what_runs_or_has_no_record_is_not_replayed(stored: Gateway, gateway: Gateway) -> None:
    running = stored.envelope()
    assert stored.client.post(f"/envelopes/{running}/replay", json={}).json()["code"] == "not_final"
    stored.final(running, "failed", error={"code": "timeout", "message": "m"})
    assert stored.client.post(f"/envelopes/{running}/replay", json={}).json()["code"] == "no_such_record"
    elsewhere = gateway.envelope()
    answer = gateway.client.get(f"/envelopes/{elsewhere}/record")
    assert (answer.status_code, answer.json()["code"]) == (501, "not_configured")
