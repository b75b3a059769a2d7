"""Route arithmetic, and the rules of change against a naive model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asya_core.wire.names import is_route_entry
from asya_core.wire.route import MAX_ENTRIES, Route, check_change


def test_route_goes_actor_by_actor_to_happy_end() -> None:
    route = Route(("a", "b:step"), 0)
    seen = []
    while not route.is_done:
        seen.append(route.actor)
        route = route.advanced()
    assert seen == ["a", "b"]
    assert (route.current, route.actor) == (2, "happy-end")


@pytest.mark.parametrize(
    ("actors", "current", "code"),
    [
        (["x", "a", "b"], 2, None),
        (["x", "a"], 2, None),
        (["x", "a", "c:go", "b"], 2, None),
        (["x", "a", "a:1", "a:2", "b"], 4, None),
        (["x", "a", "a:1", "b"], 4, "route_current_invalid"),
        (["y", "a", "b"], 2, "route_past_changed"),
        (["x"], 1, "route_past_changed"),
        (["x", "a", "b"], 1, "route_current_invalid"),
        (["x", "a", "b"], 3, "route_current_invalid"),
        (["x", "a", "b"], 4, "route_current_invalid"),
        (["x", "a", "error-end"], 2, "route_entry_invalid"),
        (["x", "a", "happy-end:x"], 2, "route_entry_invalid"),
        (["x", "a", "B"], 2, "route_entry_invalid"),
        (["x", "a", *["b"] * (MAX_ENTRIES - 1)], 2, "route_entry_invalid"),
        (["x", "a", *["b"] * (MAX_ENTRIES - 2)], 2, None),
    ],
)
def test_change_is_judged(actors: list[str], current: int, code: str | None) -> None:
    change = check_change(Route(("x", "a", "b"), 1), Route(tuple(actors), current))
    assert (change.code if change else None) == code
    assert change is None or len(change.message) < 300


entries = st.sampled_from(["a", "a:1", "b", "b:2", "error-end", "Bad"])


@st.composite
def changes(draw: st.DrawFn) -> tuple[Route, Route]:
    actors = draw(st.lists(st.sampled_from(["a", "a:1", "b"]), min_size=1, max_size=4))
    before = Route(tuple(actors), draw(st.integers(0, len(actors) - 1)))
    kept = list(before.actors[: before.current + 1])
    if draw(st.integers(0, 4)) == 0:
        kept = draw(st.lists(entries, max_size=3))
    after = kept + draw(st.lists(entries, max_size=4))
    return before, Route(tuple(after), draw(st.integers(-1, len(after) + 1)))


@given(changes())
def test_change_agrees_with_a_naive_model(change: tuple[Route, Route]) -> None:
    before, after = change
    past = [index for index in range(before.current + 1) if index >= len(after.actors) or after.actors[index] != before.actors[index]]
    skipped = range(before.current + 1, after.current)
    current_is_right = after.current in range(before.current + 1, len(after.actors) + 1) and all(
        after.actors[index].split(":")[0] == before.actors[before.current].split(":")[0] for index in skipped
    )
    future = after.actors[before.current + 1 :]
    future_is_right = all(is_route_entry(entry) and entry.split(":")[0] not in ("happy-end", "error-end") for entry in future)
    expected = (
        "route_past_changed"
        if past
        else "route_current_invalid"
        if not current_is_right
        else "route_entry_invalid"
        if not future_is_right
        else None
    )
    found = check_change(before, after)
    assert (found.code if found else None) == expected
