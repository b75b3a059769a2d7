"""A replay: what of the old envelope it takes along, and what it refuses."""

from typing import Any

import pytest

from asya_core.wire.errors import AsyaError
from asya_core.wire.replay import replayed


def record(**changes: Any) -> dict[str, Any]:
    whole = {
        "id": "OLD",
        "route": {"actors": ["a", "b:one", "c"], "current": 1},
        "headers": {"team": "blue", "asya-hops": 3, "asya-fanout": [2], "asya-catch": ["c"]},
        "parent_id": "PARENT",
        "deadline": "2026-01-01T00:00:00Z",
        "payload": {"half": "done"},
        "extra": 1,
        "error": {"code": "handler_error"},
        "asya_stored": {"key": "x"},
    }
    return {key: value for key, value in (whole | changes).items() if value is not None}


def again(old: dict[str, Any], *, start: str = "failed", actor: str | None = None, deadline: str | None = None) -> dict[str, Any]:
    envelope, index = replayed(old, new_id="NEW", deadline=deadline, start=start, actor=actor)
    assert index == envelope["route"]["current"]
    return envelope


def test_it_goes_on_where_it_failed_under_a_new_id() -> None:
    assert again(record()) == {
        "id": "NEW",
        "route": {"actors": ["a", "b:one", "c"], "current": 1},
        "headers": {"team": "blue", "asya-catch": ["c"]},
        "payload": {"half": "done"},
        "extra": 1,
    }


def test_from_the_start_nobody_catches() -> None:
    envelope = again(record(), start="start", deadline="2027-01-01T00:00:00Z")
    assert envelope["route"]["current"] == 0
    assert (envelope["headers"], envelope["deadline"]) == ({"team": "blue"}, "2027-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("actor", "route"),
    [
        ("b", {"actors": ["a", "b:one", "c"], "current": 1}),
        ("c", {"actors": ["a", "b:one", "c"], "current": 2}),
        ("other", {"actors": ["other"], "current": 0}),
    ],
)
def test_an_actor_is_looked_for_in_the_route(actor: str, route: dict[str, Any]) -> None:
    envelope = again(record(headers=None), actor=actor)
    assert (envelope["route"], envelope["headers"]) == (route, {})


def test_a_claim_stands_for_the_payload() -> None:
    assert again(record(payload=None, asya_claim={"key": "k"}))["asya_claim"] == {"key": "k"}


@pytest.mark.parametrize(
    "old",
    [
        record(route=None),
        record(route={"actors": [], "current": 0}),
        record(route={"actors": ["a", 5], "current": 0}),
        record(route={"actors": ["a"], "current": "1"}),
        record(payload=None),
        record(route={"actors": ["a"], "current": 1}),
        record(id="unreadable-00112233445566778899aabbccddeeff"),
    ],
)
def test_what_cannot_be_sent_again_is_refused(old: dict[str, Any]) -> None:
    with pytest.raises(AsyaError) as refusal:
        again(old)
    assert refusal.value.code == "not_replayable"
    assert refusal.value.hint


@pytest.mark.parametrize("actor", ["happy-end", "Not A Name"])
def test_an_end_actor_or_no_name_is_refused(actor: str) -> None:
    with pytest.raises(AsyaError) as refusal:
        again(record(), actor=actor)
    assert refusal.value.code == "bad_request"
