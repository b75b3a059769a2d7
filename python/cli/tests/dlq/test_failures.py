"""Which failed envelopes are meant, and what is told of them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from asya_cli.dlq.failures import Failure, Group, Wanted, groups, parse_rate, parse_since
from asya_core.wire.errors import RemoteFault

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ERROR = {
    "code": "handler_error",
    "type": "shop.errors.NoStock",
    "mro": ["shop.errors.NoStock", "LookupError", "Exception"],
    "message": "none left",
    "actor": "b",
    "attempt": 3,
    "at": "2026-01-01T12:00:00.000Z",
}


def record(**changes: Any) -> dict[str, Any]:
    whole = {"id": "1", "route": {"actors": ["start-buy-flow", "b:two"], "current": 1}, "payload": 1, "error": ERROR}
    return whole | changes


def failure(**changes: Any) -> Failure:
    return Failure.of_record(record(**changes))


def test_record_and_view_tell_the_same() -> None:
    of_record = failure()
    view = {"id": "1", "error": ERROR, "flow": "buy-flow", "finished_at": "2026-01-01T12:00:01Z", "actor": "error-end"}
    assert Failure.of_view(view) == of_record
    assert of_record.as_json() == {
        "id": "1",
        "at": "2026-01-01T12:00:00.000Z",
        "actor": "b",
        "attempt": 3,
        "flow": "buy-flow",
        "code": "handler_error",
        "type": "shop.errors.NoStock",
        "message": "none left",
    }


def test_what_the_broker_gave_up_on_is_placed_by_its_route() -> None:
    given_up = Failure.of_record(record(error=None), at=NOON, replayed_as="N", key="errors/1.json")
    assert (given_up.code, given_up.actor, given_up.at, given_up.error) == ("too_many_deliveries", "b", NOON, "too_many_deliveries")
    assert (given_up.as_json()["replayed_as"], given_up.key) == ("N", "errors/1.json")


@pytest.mark.parametrize("route", [None, {"actors": "b"}, {"actors": ["b"], "current": 1}, {"actors": ["b"], "current": "0"}])
def test_route_that_is_none_tells_no_actor(route: Any) -> None:
    odd = failure(route=route, error={"at": 5, "mro": "x", "attempt": "2"})
    assert (odd.actor, odd.at, odd.mro, odd.attempt) == ("", None, (), 1)
    assert "at" not in odd.as_json()


@pytest.mark.parametrize("at", ["yesterday", "2026-01-01T12:00:00"])
def test_time_without_zone_is_not_known(at: str) -> None:
    assert failure(error={**ERROR, "at": at}).at is None


@pytest.mark.parametrize("name", ["handler_error", "shop.errors.NoStock", "NoStock", "LookupError", "Exception"])
def test_error_is_its_code_or_any_class_of_it(name: str) -> None:
    assert Wanted(error=name).takes(failure())


@pytest.mark.parametrize("name", ["KeyError", "Stock", "errors.NoStock", "timeout"])
def test_error_is_nothing_else(name: str) -> None:
    assert not Wanted(error=name).takes(failure())


@pytest.mark.parametrize(
    ("wanted", "is_taken"),
    [
        (Wanted(), True),
        (Wanted(code="handler_error", actor="b", flow="buy_flow", since=NOON, ids=frozenset({"1"})), True),
        (Wanted(code="timeout"), False),
        (Wanted(actor="a"), False),
        (Wanted(flow="sell_flow"), False),
        (Wanted(tool="buy"), False),
        (Wanted(since=datetime(2026, 1, 1, 12, 0, 1, tzinfo=UTC)), False),
        (Wanted(ids=frozenset({"2"})), False),
    ],
)
def test_all_filters_hold_at_once(wanted: Wanted, is_taken: bool) -> None:
    assert wanted.takes(failure()) is is_taken


def test_time_that_is_not_known_is_not_since() -> None:
    assert not Wanted(since=NOON).takes(failure(error={**ERROR, "at": None}))


def test_replayed_ones_are_left_out_unless_asked_for() -> None:
    done = Failure.of_record(record(), replayed_as="N")
    assert (Wanted().takes(done), Wanted(replayed=True).takes(done)) == (False, True)


@pytest.mark.parametrize("code", ["cancelled", "deadline_exceeded"])
def test_what_nobody_waits_for_is_meant_by_name_only(code: str) -> None:
    late = failure(error={**ERROR, "code": code})
    assert not Wanted().takes(late)
    assert Wanted(code=code).takes(late)
    assert Wanted(error=code).takes(late)
    assert Wanted(ids=frozenset({"1"})).takes(late)


def test_groups_are_counted_most_first() -> None:
    timeout = failure(error={"code": "timeout", "actor": "a"})
    assert groups([failure(), timeout, timeout]) == [
        Group(error="timeout", actor="a", count=2),
        Group(error="shop.errors.NoStock", actor="b", count=1),
    ]
    assert groups([timeout])[0].as_json() == {"error": "timeout", "actor": "a", "count": 1}


@pytest.mark.parametrize(("text", "per_second"), [("20/s", 20), ("90/m", 1.5), ("1800/h", 0.5), ("0.5/s", 0.5)])
def test_rate_is_per_second(text: str, per_second: float) -> None:
    assert parse_rate(text) == per_second


@pytest.mark.parametrize("text", ["20", "0/s", "-1/s", "x/s", "nan/s", "20/d", "inf/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(RemoteFault, match="is no rate"):
        parse_rate(text)


def test_since_is_an_age_or_a_time() -> None:
    assert parse_since("2h", NOON) == datetime(2026, 1, 1, 10, tzinfo=UTC)
    assert parse_since("2026-01-01T13:00:00+01:00", NOON) == NOON


@pytest.mark.parametrize("text", ["yesterday", "2026-01-01", "99999999999h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(RemoteFault, match="is no time"):
        parse_since(text, NOON)
