"""What changes between two sets of actors."""

from typing import Any

import pytest

from asya_cli.plan.compare import EFFECTS, ActorValues, Change, Comparison, Effect, compare
from asya_cli.run.values import schema

FLOW = {"start": ["one"], "one": ["two", "three"], "two": ["end"], "three": ["end"]}


def actor(name: str, code: tuple[str, ...] = (), **values: Any) -> tuple[str, ActorValues]:
    return name, ActorValues(name=name, values={"handler": f"shop.{name}", **values}, file=f"{name}.yaml", code=code)


def actors(*each: tuple[str, ActorValues]) -> dict[str, ActorValues]:
    return dict(each)


def test_same_actors_are_no_difference() -> None:
    both = actors(actor("a"), actor("b"))
    comparison = compare(both, both)
    assert comparison.is_empty
    assert comparison.unchanged == ("a", "b")
    assert comparison.gone == ()


def test_added_and_removed_are_named() -> None:
    comparison = compare(actors(actor("a"), actor("b")), actors(actor("b"), actor("c")))
    assert (comparison.added, comparison.removed, comparison.gone) == (("c",), ("a",), ("a",))


def test_same_handler_and_image_under_another_name_is_renamed() -> None:
    image = {"image": {"repository": "r", "tag": "1"}, "source": {"files": {"a.py": "pass"}}}
    comparison = compare(actors(actor("a", handler="m.f", timeout="1m", **image)), actors(actor("b", handler="m.f", timeout="2m", **image)))
    (renamed,) = comparison.renamed
    assert (renamed.old, renamed.new, comparison.added, comparison.removed, comparison.gone) == ("a", "b", (), (), ("a",))
    assert renamed.changes == (Change(key="timeout", old="1m", new="2m", effect=Effect.RESTARTS),)


@pytest.mark.parametrize("other", [{"handler": "m.g"}, {"image": {"tag": "2"}}, {"handlerMode": "envelope"}, {"handler": ""}])
def test_another_handler_image_or_mode_is_another_actor(other: dict[str, Any]) -> None:
    old = {"handler": "m.f", "image": {"tag": "1"}}
    assert compare(actors(actor("a", **old)), actors(actor("b", **{**old, **other}))).renamed == ()


def test_two_that_are_alike_are_not_guessed_at() -> None:
    old, new = actors(actor("a", handler="m.f")), actors(actor("b", handler="m.f"), actor("c", handler="m.f"))
    assert compare(old, new).renamed == ()
    assert compare(new, old).renamed == ()


def test_router_is_known_by_its_code_not_by_its_line() -> None:
    code = ("if", "if p['x']")
    comparison = compare(actors(actor("line-1", code, handler="routers.l1")), actors(actor("line-2", code, handler="routers.l2")))
    assert [(each.old, each.new) for each in comparison.renamed] == [("line-1", "line-2")]


@pytest.mark.parametrize(
    ("old", "new", "effect"),
    [
        ({"env": {"A": "1"}}, {"env": {"A": 1}}, Effect.RESTARTS),
        ({"env": {"A": True}}, {"env": {"A": 1}}, Effect.RESTARTS),
        ({"retry": {"include": ["A"]}}, {"retry": {"include": ["B"]}}, Effect.RESTARTS),
        ({}, {"scaling": {"maxReplicas": 3}}, Effect.SCALES),
        ({"labels": {"team": "a"}}, {}, Effect.NONE),
        ({"queue": {"deletionPolicy": "Retain"}}, {}, Effect.NONE),
        ({"queue": {"type": "classic"}}, {}, Effect.REPLACES),
        ({"workload": {"kind": "Deployment"}}, {"workload": {"kind": "StatefulSet"}}, Effect.REPLACES),
        ({"transport": "rabbitmq"}, {"transport": "sqs"}, Effect.MOVES),
    ],
)
def test_value_has_its_effect(old: dict[str, Any], new: dict[str, Any], effect: Effect) -> None:
    (changed,) = compare(actors(actor("a", **old)), actors(actor("a", **new))).changed
    assert [change.effect for change in changed.changes] == [effect]


def test_worst_effect_of_several_counts() -> None:
    (changed,) = compare(actors(actor("a")), actors(actor("a", labels={"x": "y"}, timeout="1m", scaling={"enabled": True}))).changed
    assert (changed.effect, len(changed.changes)) == (Effect.RESTARTS, 3)


@pytest.mark.parametrize("nothing", [{"env": {}}, {"env": None}, {"scaling": {"behavior": {}}}])
def test_empty_and_null_say_the_same_as_nothing(nothing: dict[str, Any]) -> None:
    assert compare(actors(actor("a", **nothing)), actors(actor("a"))).is_empty


def test_every_key_of_the_chart_has_an_effect_and_no_other() -> None:
    known = set(schema()["properties"])
    assert {key.partition(".")[0] for key in EFFECTS} <= known


def test_upstream_is_what_the_flow_says() -> None:
    old = actors(*(actor(name) for name in ("start", "one", "two", "three", "end", "alone")))
    new = {name: each for name, each in old.items() if name not in ("two", "start")}
    comparison = compare(old, new, edges=FLOW)
    assert comparison.upstream == {"start": frozenset(), "two": frozenset({"start", "one"})}


def test_in_a_loop_an_actor_is_not_its_own_upstream() -> None:
    edges = {"a": ["b"], "b": ["a"]}
    comparison = compare(actors(actor("a"), actor("b")), actors(actor("b")), edges=edges)
    assert comparison.upstream == {"a": frozenset({"b"})}


def test_any_may_be_upstream_of_one_that_no_flow_names() -> None:
    old = actors(actor("a"), actor("b"), actor("start"))
    comparison = compare(old, {name: each for name, each in old.items() if name != "a"}, edges=FLOW)
    assert comparison.upstream == {"a": frozenset({"b", "start"})}


def test_one_that_moves_leaves_a_queue_behind() -> None:
    comparison = compare(actors(actor("a")), actors(actor("a", transport="sqs")))
    assert (comparison.gone, comparison.is_empty) == (("a",), False)


def test_what_goes_works_on_unless_it_has_no_time_or_moves() -> None:
    old = actors(actor("a"), actor("b", drainTimeout="0s"), actor("c", drainTimeout="10m"), actor("d"), actor("e", drainTimeout=""))
    comparison = compare(old, actors(actor("d", transport="sqs")))
    assert comparison.gone == ("a", "b", "c", "d", "e")
    assert comparison.drains == {"a", "c", "e"}


def test_change_tells_only_what_there_is() -> None:
    assert Change(key="k", old=None, new=1, effect=Effect.NONE).as_json() == {"key": "k", "new": 1, "effect": "no restart"}
    assert Comparison().is_empty
