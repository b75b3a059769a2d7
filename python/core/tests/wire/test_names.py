"""Names that are legal, and queue names that cannot collide."""

import pytest

from asya_core.wire import names
from asya_core.wire.errors import AsyaError, RemoteFault, Unavailable


@pytest.mark.parametrize("name", ["a", "a1", "text-processor", "a--b", "a" * 53])
def test_legal_actor_is_accepted(name: str) -> None:
    assert names.check_actor(name) == name


@pytest.mark.parametrize("name", ["", "1a", "A", "a_b", "a.b", "-a", "a-", "a" * 54, "a\n", "ä"])
def test_illegal_actor_is_refused(name: str) -> None:
    with pytest.raises(RemoteFault) as caught:
        names.check_actor(name)
    assert caught.value.code == "bad_name"


@pytest.mark.parametrize("name", ["a", "1", "team-a", "a" * 63])
def test_legal_namespace_is_accepted(name: str) -> None:
    assert names.check_namespace(name) == name


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "a" * 64, "a\n"])
def test_illegal_namespace_is_refused(name: str) -> None:
    with pytest.raises(RemoteFault):
        names.check_namespace(name)


@pytest.mark.parametrize(
    ("entry", "legal"),
    [("a", True), ("a:s", True), ("a:S_1.x-", True), ("a:" + "x" * 128, True), ("a:", False), ("a:" + "x" * 129, False), (":s", False)],
)
def test_route_entry_is_judged(entry: str, legal: bool) -> None:
    assert names.is_route_entry(entry) is legal


def test_entry_splits_into_actor_and_step() -> None:
    assert [names.split_entry(entry) for entry in ("a", "a:s", "a:s:t")] == [("a", ""), ("a", "s"), ("a", "s:t")]


def test_end_actors_are_two() -> None:
    assert [names.is_end_actor(name) for name in ("happy-end", "error-end", "a")] == [True, True, False]


def test_dead_letter_queue_is_no_actors_queue() -> None:
    assert names.queue_name("ns", "a") == "asya-ns-a"
    assert names.dead_letter_queue_name("ns") == "asya-ns_dlq"
    assert not names.is_actor(names.dead_letter_queue_name("ns").removeprefix("asya-"))


def test_error_says_problem_and_remedy() -> None:
    assert str(AsyaError("c", "Thing is bad", "mend it")) == "Thing is bad; mend it"
    assert str(AsyaError("c", "Thing is bad")) == "Thing is bad"
    assert Unavailable("c", "m", retry_after_seconds=2.0).retry_after_seconds == 2.0
