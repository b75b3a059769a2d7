"""Envelope mode: what a handler may change and what it may not."""

from typing import Any

import pytest

import asya_runtime


def envelope(**members: Any) -> dict[str, Any]:
    return {"id": "7", "route": {"actors": ["a", "b", "c"], "current": 0}, "payload": {"x": 1}, **members}


def route(*actors: Any, current: Any = 1) -> dict[str, Any]:
    return {"actors": list(actors), "current": current}


def check(output: Any, *, before: dict[str, Any] | None = None, single: bool = True, is_end: bool = False) -> dict[str, Any]:
    head, _ = asya_runtime.check_output(output, asya_runtime.Before(before or envelope(), is_end=is_end), single=single)
    return head


@pytest.mark.parametrize(
    ("returned", "actors", "current"),
    [
        (route("a", "b", "c", current=0), ["a", "b", "c"], 1),
        (route("a", "b", "c", current=1), ["a", "b", "c"], 1),
        (route("a", "x", "b", "c"), ["a", "x", "b", "c"], 1),
        (route("a"), ["a"], 1),
        (route("a", "x:step_1.b-2"), ["a", "x:step_1.b-2"], 1),
        (route("a", "a:one", "a:two", "c", current=3), ["a", "a:one", "a:two", "c"], 3),
        ({"actors": ["a", "b"]}, ["a", "b"], 1),
        (route("a", "z" * 53), ["a", "z" * 53], 1),
    ],
)
def test_legal_route_is_passed_on(returned: dict[str, Any], actors: list[str], current: int) -> None:
    assert check(envelope(route=returned))["route"] == {"actors": actors, "current": current}


@pytest.mark.parametrize(
    ("returned", "code"),
    [
        (route("x", "b", "c"), "route_past_changed"),
        (route(current=0), "route_past_changed"),
        (route("a", "b", "c", current=2), "route_current_invalid"),
        (route("a", "b", "c", current=-1), "route_current_invalid"),
        (route("a", "b", "c", current=4), "route_current_invalid"),
        (route("a", "b", "c", current=True), "route_current_invalid"),
        (route("a", "b", "c", current=1.0), "route_current_invalid"),
        (route("a", "b", "c", current=None), "route_current_invalid"),
        (route("a", "a:one", "c", current=3), "route_current_invalid"),
        (route("a", "B"), "route_entry_invalid"),
        (route("a", "x.y"), "route_entry_invalid"),
        (route("a", ""), "route_entry_invalid"),
        (route("a", "x:"), "route_entry_invalid"),
        (route("a", "x\n"), "route_entry_invalid"),
        (route("a", "b-"), "route_entry_invalid"),
        (route("a", 5), "route_entry_invalid"),
        (route("a", "z" * 54), "route_entry_invalid"),
        (route("a", "happy-end"), "route_entry_invalid"),
        (route("a", "error-end"), "route_entry_invalid"),
        (route("a", *["x"] * 10_000), "route_entry_invalid"),
        ({"actors": "ab", "current": 1}, "route_entry_invalid"),
    ],
)
def test_illegal_route_is_refused(returned: dict[str, Any], code: str) -> None:
    with pytest.raises(asya_runtime.CallError) as caught:
        check(envelope(route=returned))
    assert caught.value.code == code


@pytest.mark.parametrize("output", [1, "x", [], {}, {"payload": 1}, {"route": {}}, {"route": [], "payload": 1}, {"x": 1}])
def test_output_without_route_and_payload_is_no_envelope(output: Any) -> None:
    with pytest.raises(asya_runtime.CallError, match="not_an_envelope"):
        check(output)


@pytest.mark.parametrize(
    "members",
    [
        {"id": "8"},
        {"parent_id": "1"},
        {"deadline": "2030-01-01T00:00:00Z"},
        {"asya_claim": {}},
        {"headers": []},
    ],
)
def test_reserved_member_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(asya_runtime.CallError, match="envelope_key_reserved"):
        check(envelope(**members))


def test_removed_parent_and_id_are_refused() -> None:
    before = envelope(parent_id="1")
    for key in ("parent_id", "id"):
        output = {name: value for name, value in before.items() if name != key}
        with pytest.raises(asya_runtime.CallError, match="envelope_key_reserved"):
            check(output, before=before)


def test_item_of_a_list_may_have_its_own_id() -> None:
    assert check(envelope(id="mine"), single=False)["id"] == "mine"


def test_item_of_a_list_without_id_gets_the_inputs() -> None:
    output = envelope()
    del output["id"]
    assert check(output, single=False)["id"] == "7"


@pytest.mark.parametrize("value", ["", "a/b", "x" * 129, 5, None, "a\n"])
def test_illegal_id_of_an_item_is_refused(value: Any) -> None:
    with pytest.raises(asya_runtime.CallError, match="envelope_key_reserved"):
        check(envelope(id=value), single=False)


def test_output_with_error_is_passed_on_as_it_is() -> None:
    output = envelope(error={"code": "mine"}, route=route("a", "b", "c", current=0))
    assert check(output) == {key: value for key, value in output.items() if key != "payload"}


def test_end_actor_returns_what_it_likes() -> None:
    done = envelope(route=route("a", "b", current=2))
    assert check({**done, "asya_stored": {"key": "k"}}, before=done, is_end=True)["route"]["current"] == 2


def test_unknown_members_and_headers_are_kept() -> None:
    head = check(envelope(headers={"trace_id": "t"}, other={"deep": [1]}))
    assert (head["headers"], head["other"]) == ({"trace_id": "t"}, {"deep": [1]})


def test_change_of_the_input_in_place_is_seen() -> None:
    message = envelope()
    before = asya_runtime.Before(message, is_end=False)
    message["route"]["actors"][0] = "x"
    with pytest.raises(asya_runtime.CallError, match="route_past_changed"):
        asya_runtime.check_output(message, before, single=True)


@pytest.mark.parametrize(
    "route",
    [None, [], {}, {"actors": "a"}, {"actors": ["a"], "current": 2}, {"actors": ["a"], "current": -1}, {"actors": ["a"], "current": True}],
)
def test_message_without_a_route_is_bad(route: Any) -> None:
    with pytest.raises(asya_runtime.CallError, match="bad_message"):
        asya_runtime.Before({"route": route, "payload": 1}, is_end=False)
