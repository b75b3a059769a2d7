"""Situations of the language that need more than one line; the numbers are those of its list. One-liners: test_refused.py."""

# ruff: noqa: E501 (a flow is a line)

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from oracle import agree, compiled, edit, environment, json_copy, load, mesh, refused, steps_of

from asya_flowc import Compilation, Options


def test_3_any_number_of_handlers_is_one_start_router() -> None:
    for count in (1, 20, 2000):
        done = compiled("from m import h\ndef flow(p):\n" + "    p = h(p)\n" * count + "    return p\n")
        assert len(done.routers) == 2
        assert len(done.program.routers[0].arms[0].chain.steps) == count + 1


def test_4_mutations_alone_are_one_router_named_by_the_first_line() -> None:
    for count in (1, 3, 500):
        done = compiled("def flow(p):\n" + "".join(f"    p['k{index}'] = {index}\n" for index in range(count)) + "    return p\n")
        assert [one.name for one in done.routers] == ["start_flow", "router_flow_line_2_seq", "end_flow"]


def test_13_handlers_before_a_common_one_join_once() -> None:
    text = "def flow(p):\n    if p['x']:\n        p = a(p)\n    else:\n        p = b(p)\n    p = c(p)\n    return p\n"
    agree(text, {"x": 0}, {"x": 1})
    assert steps_of(compiled(text), {"x": 1}) == ["a", "c"]


def test_15_elif_chain_tests_lazily_by_one_router_each() -> None:
    arms = "".join(f"    {'el' if index else ''}if p['k{index}']:\n        p = h{index}(p)\n" for index in range(6))
    text = f"def flow(p):\n{arms}    return p\n"
    assert (
        sum(one.kind == "if" for one in agree(text, *({f"k{index}": index == hit for index in range(6)} for hit in range(7))).routers) == 6
    )
    agree(text, {"k0": 1}, {"k0": 0, "k1": 1}, {"k0": 0})


def test_16_all_paths_of_three_levels() -> None:
    text = "def flow(p):\n    if p['a']:\n        if p['b']:\n            if p['c']:\n                p = x(p)\n            p = y(p)\n        p = z(p)\n    p = last(p)\n    return p\n"
    agree(text, *({"a": a, "b": b, "c": c} for a, b, c in itertools.product((0, 1), repeat=3)))


def test_17_three_ifs_in_a_row_are_three_routers() -> None:
    text = "def flow(p):\n" + "".join(f"    if p['{key}']:\n        p = h{key}(p)\n" for key in "abc") + "    return p\n"
    done = agree(text, *({"a": a, "b": b, "c": c} for a, b, c in itertools.product((0, 1), repeat=3)))
    assert sum(one.kind == "if" for one in done.routers) == 3


def test_31_return_in_a_nested_arm_leaves_the_other_side_its_join() -> None:
    text = "def flow(p):\n    if p['a']:\n        if p['b']:\n            return p\n        p = x(p)\n    p = last(p)\n    return p\n"
    agree(text, *({"a": a, "b": b} for a, b in itertools.product((0, 1), repeat=2)))


def test_46_all_spellings_of_a_handler_are_one() -> None:
    text = "import handlers as hs\nimport handlers\nfrom handlers import h as g\ndef flow(p):\n    p = hs.h(p)\n    p = handlers.h(p)\n    p = g(p)\n    return p\n"
    assert compiled(text).handlers == {"h": "handlers.h"}


@pytest.mark.parametrize(
    ("head", "call", "path"),
    [
        ("class C:\n    def m(self, p): return p\n", "C()", "flow.C.m"), ("from models import C\n", "C()", "models.C.m"),
        ("from models import C as D\n", "D()", "models.C.m"), ("import models\n", "models.C()", "models.C.m"),
        ("import pkg.models as ms\n", "ms.C()", "pkg.models.C.m"), ("", "C()", "C.m"),
    ],
)  # fmt: skip
def test_53_54_class_is_known_by_its_defining_module(head: str, call: str, path: str) -> None:
    assert compiled(f"{head}def flow(p):\n    o = {call}\n    p = o.m(p)\n    return p\n").handlers == {"c-m": path}


def test_55_two_instances_of_a_class_are_one_handler() -> None:
    done = compiled(
        "from m import C, D\ndef flow(p):\n    a = C()\n    b = C()\n    d = D()\n    p = a.run(p)\n    p = b.run(p)\n    p = d.run(p)\n    return p\n"
    )
    assert done.handlers == {"c-run": "m.C.run", "d-run": "m.D.run"}
    assert "W504" in {one.code for one in done.warnings}


def test_60_constructor_with_defaults_alone_is_fine() -> None:
    text = "class C:\n    def __init__(self, a=1, *, b=2):\n        pass\n    def run(self, p):\n        return p\ndef flow(p):\n    p = C().run(p)\n    return p\n"
    assert compiled(text).handlers == {"c-run": "flow.C.run"}


def test_77_caller_of_handlers_is_the_flow_wherever_it_stands() -> None:
    flow, handler, main = "def flow(p):\n    p = h(p)\n    return p\n", "def h(p):\n    return p\n", "def demo():\n    print(flow({}))\n"
    for order in itertools.permutations((flow, handler, main)):
        assert compiled("".join(order)).flow == "flow"


def test_78_one_of_two_flows_is_chosen_by_name() -> None:
    text = "def f(p):\n    p = h(p)\n    return p\ndef g(p):\n    p = h(p)\n    return p\n"
    assert [one.code for one in refused(text)] == ["E103"]
    assert compiled(text, Options(flow="g")).flow == "g"


def test_92_flow_started_inside_itself_keeps_its_states_apart() -> None:
    done = compiled("def flow(p):\n    for x in p['xs']:\n        p['x'] = x\n        p = h(p)\n    return p\n")
    space = load(done)
    routers = {one.actor: space[one.name] for one in done.routers}
    envelope = {"payload": {"xs": [1, 2]}, "route": {"actors": ["start-flow", "tail"], "current": 0}}
    seen, nested = [], 0
    with environment(dict(done.environment)):
        while (actor := envelope["route"]["actors"][envelope["route"]["current"]]) != "tail":  # type: ignore[index,call-overload]
            if actor == "h":
                seen.append(envelope["payload"]["x"])  # type: ignore[index,call-overload]
                route = envelope["route"]
                if nested < 1:  # the handler of the first turn starts the flow again, behind itself
                    nested += 1
                    route["actors"].insert(route["current"] + 1, "start-flow")  # type: ignore[index,call-overload,attr-defined,operator]
                route["current"] += 1  # type: ignore[index,call-overload,operator]
            else:
                envelope = routers[actor](envelope)
    assert seen == [1, 1, 2, 2]
    assert not envelope.get("headers")


def test_95_every_way_out_passes_the_end_router_unless_skipped() -> None:
    text = "def flow(p):\n    if p['x']:\n        return p\n    p = h(p)\n    return p\n"
    last = [one.chain.steps[-1] for router in compiled(text).program.routers[1:-1] for one in router.arms]
    assert {str(one) for one in last} == {"RouterUse(router=2)"}
    skipped = compiled(text, Options(end_router="skip"))
    assert 'resolve("end_flow")' not in skipped.artifacts["routers.py"]
    assert skipped.routers[-1].kind == "end"


def test_8_comments_docstring_and_blank_lines_change_nothing_but_numbers() -> None:
    bare = "def flow(p):\n    p['a'] = 1\n    p = h(p)\n    if p['a']:\n        p['b'] = 2\n    return p\n"
    dressed = (
        '# head\n\ndef flow(p):\n    """Says."""\n\n    p[\'a\'] = 1  # type: int\n    # between\n    p = h(p)\n\n'
        "    if p['a']:  # why\n\n        p['b'] = 2\n\n    return p\n"
    )
    agree(dressed, {})
    kinds = [[(one.kind, [each.code for each in one.body]) for one in compiled(text).program.routers] for text in (bare, dressed)]
    assert kinds[0] == kinds[1]
    assert [one.name for one in compiled(dressed).routers if one.kind == "seq"] == ["router_flow_line_6_seq", "router_flow_line_12_seq"]


def test_10_parameter_may_be_called_payload() -> None:
    text = "def flow(payload):\n    payload['a'] = payload['n'] + 1\n    if payload['a'] > 2:\n        payload = h(payload)\n    payload['z'] = 1\n    return payload\n"
    agree(text, {"n": 0}, {"n": 5})


def test_19_mutation_after_the_join_runs_once_after_both_arms() -> None:
    text = "def flow(p):\n    if p['x']:\n        p = a(p)\n    else:\n        p = b(p)\n    p['count'] = p.get('count', 0) + 1\n    return p\n"
    done = agree(text, {"x": 0}, {"x": 1})
    assert [one.name for one in done.routers if one.kind == "seq"] == ["router_flow_line_6_seq"]
    assert [mesh(done, {"x": x}).final["count"] for x in (0, 1)] == [1, 1]


def test_20_mutation_in_one_arm_alone_is_not_seen_in_the_other() -> None:
    for arms in ("    if p['x']:\n        p['y'] = 1\n", "    if p['x']:\n        pass\n    else:\n        p['y'] = 1\n"):
        text = f"def flow(p):\n{arms}    p = h(p)\n    return p\n"
        agree(text, {"x": 0}, {"x": 1})
        assert ["y" in mesh(compiled(text), {"x": x}).final for x in (0, 1)] in ([False, True], [True, False])


def test_21_arm_may_hold_mutations_handlers_and_ifs_in_any_order() -> None:
    arm = "        p['m'] = 1\n        p = h(p)\n        p['m'] += 1\n        if p['y']:\n            p = g(p)\n        p['m'] *= 5\n"
    text = f"def flow(p):\n    if p['x']:\n{arm}    p = last(p)\n    return p\n"
    agree(text, *({"x": x, "y": y} for x, y in itertools.product((0, 1), repeat=2)))
    assert mesh(compiled(text), {"x": 1, "y": 1}).final["m"] == 10


def test_22_test_reads_what_was_set_just_above() -> None:
    mutated = "def flow(p):\n    p['k'] = p['n'] * 2\n    if p['k'] > 2:\n        p = h(p)\n    return p\n"
    done = agree(mutated, {"n": 1}, {"n": 2})
    assert [len(steps_of(done, {"n": n})) for n in (1, 2)] == [0, 1]
    handled = "def flow(p):\n    p = h(p)\n    if p['calls'] == 1:\n        p = g(p)\n    return p\n"
    assert steps_of(agree(handled, {}, {"calls": 5}), {}) == ["h", "g"]


def test_29_return_in_the_true_arm_skips_the_rest_only_there() -> None:
    text = "def flow(p):\n    if p['x']:\n        return p\n    p = h(p)\n    return p\n"
    done = agree(text, {"x": 0}, {"x": 1})
    assert [steps_of(done, {"x": x}) for x in (0, 1)] == [["h"], []]


def test_30_return_in_the_false_arm_and_amid_an_elif_chain() -> None:
    false = "def flow(p):\n    if p['x']:\n        p = a(p)\n    else:\n        return p\n    p = h(p)\n    return p\n"
    assert [steps_of(agree(false, {"x": x}), {"x": x}) for x in (0, 1)] == [[], ["a", "h"]]
    amid = "def flow(p):\n    if p['x'] == 0:\n        p = a(p)\n    elif p['x'] == 1:\n        p = b(p)\n        return p\n    elif p['x'] == 2:\n        p = c(p)\n    p = h(p)\n    return p\n"
    done = agree(amid, *({"x": x} for x in range(4)))
    assert [steps_of(done, {"x": x}) for x in range(4)] == [["a", "h"], ["b"], ["c", "h"], ["h"]]


def test_33_34_what_stands_before_a_return_in_an_arm_is_done_then_only_the_end_router() -> None:
    for first, chain in (("p['e'] = 1", []), ("p = g(p)", ["g"])):
        text = f"def flow(p):\n    if p['x']:\n        {first}\n        return p\n    p = h(p)\n    return p\n"
        done = agree(text, {"x": 0}, {"x": 1})
        assert steps_of(done, {"x": 1}) == chain
        entries = route_of(done, {"x": 1})
        assert entries[-1] == "end-flow"
        assert "h" not in entries


def test_35_tail_of_the_caller_runs_after_an_early_return() -> None:
    text = "def flow(p):\n    if p['x']:\n        return p\n    p = h(p)\n    return p\n"
    assert route_of(compiled(text), {"x": 1}, tail=("t-1", "t-2")) == ["start-flow", "router-flow-line-2-if", "end-flow", "t-1", "t-2"]


def route_of(done: Compilation, payload: dict[str, Any], *, tail: tuple[str, ...] = ()) -> list[str]:
    """The whole route after a run through the flow's own actors."""
    envelope: dict[str, Any] = {"payload": payload, "route": {"actors": [done.entry, *tail], "current": 0}}
    *_, last = hops_of(done, envelope)
    return list(last["route"]["actors"])


def hops_of(done: Compilation, envelope: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The envelope after each hop, until it is in front of an actor that is not the flow's or the route ends."""
    space = load(done)
    routers = {one.actor: space[one.name] for one in done.routers}
    with environment(dict(done.environment)):
        while envelope["route"]["current"] < len(envelope["route"]["actors"]):
            actor = envelope["route"]["actors"][envelope["route"]["current"]]
            if actor in routers:
                envelope = routers[actor](json_copy(envelope))
            elif actor in done.handlers:
                envelope = json_copy(envelope)
                envelope["payload"] = edit(actor, envelope["payload"])
                envelope["route"]["current"] += 1
            else:
                return
            yield envelope


LOOPING = "def flow(p):\n    while p['n'] < 3:\n        p['n'] += 1\n        for x in p['xs']:\n            p['x'] = x\n            p = h(p)\n    return p\n"


def test_91_everything_else_in_the_envelope_is_left_as_it_is() -> None:
    known = {"id": "e", "parent_id": None, "headers": {"trace": [1]}, "deadline": "2030-01-01T00:00:00Z", "x-other": {"a": [1.5]}}
    start = {**known, "payload": {"n": 0, "xs": [1]}, "route": {"actors": ["before", "start-flow"], "current": 1, "hops": 7}}
    for envelope in hops_of(compiled(LOOPING), start):
        headers = {key: value for key, value in envelope["headers"].items() if key != "asya-flow"}
        assert {**{key: envelope[key] for key in known}, "headers": headers} == known
        assert envelope["route"]["hops"] == 7
        assert set(envelope) == set(start)
    assert envelope["headers"] == known["headers"]


def test_94_104_replay_from_any_hop_comes_to_the_same_end() -> None:
    done = compiled(LOOPING)
    seen = list(hops_of(done, {"payload": {"n": 0, "xs": [1, 2]}, "route": {"actors": ["start-flow", "tail"], "current": 0}}))
    assert len(seen) > 10
    for index, envelope in enumerate(seen[:-1]):
        assert list(hops_of(done, json_copy(envelope))) == seen[index + 1 :]


def test_102_output_is_stable_under_import_again(tmp_path: Path) -> None:
    done = compiled(LOOPING)
    text = done.artifacts["routers.py"]
    first, second = load(done), load(done)
    names = {name for name in first if callable(first[name])}
    assert names == {name for name in second if callable(second[name])}
    assert {one.name for one in done.routers} <= names
    (tmp_path / "routers.py").write_text(text, encoding="utf-8")
    again = "import importlib, routers; before = vars(routers).copy(); importlib.reload(routers); assert set(before) == set(vars(routers))"
    subprocess.run([sys.executable, "-B", "-W", "error", "-c", again], cwd=tmp_path, check=True)


def test_89_import_needs_no_variables(tmp_path: Path) -> None:
    (tmp_path / "routers.py").write_text(compiled(LOOPING).artifacts["routers.py"], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", "import sys; sys.path.insert(0, '.'); import routers"], cwd=tmp_path, env={}, check=False
    )
    assert done.returncode == 0


@pytest.mark.parametrize(("names", "joins"), [(8, 0), (9, 1)])
def test_join_of_more_than_eight_names_is_emitted_once(names: int, joins: int) -> None:
    arms = "    if p['x'] == 0:\n        p = a(p)\n    elif p['x'] == 1:\n        p = b(p)\n"
    done = agree(
        f"def flow(p):\n{arms}{'    p = h(p)' + chr(10)}{'    p = g(p)' + chr(10)}" + "    p = k(p)\n" * (names - 3) + "    return p\n",
        {"x": 0},
        {"x": 1},
        {"x": 2},
    )
    assert len(done.program.joins) == joins
    assert done.artifacts["routers.py"].count('resolve("h")') == (1 if joins else 3)


def test_long_join_of_one_arm_alone_stands_in_that_arm() -> None:
    rest = "    p = h(p)\n" * 12
    done = agree(f"def flow(p):\n    if p['x']:\n        p = a(p)\n        return p\n{rest}    return p\n", {"x": 0}, {"x": 1})
    assert done.program.joins == ()


@pytest.mark.parametrize(
    ("body", "warned"),
    [
        ("    p = h(p)\n    return p\n", []),
        ("    p = h(p)\n", [("W312", 2)]),
        ("    p = h(p)\n    return p\n    p['a'] = 1\n    p['b'] = 1\n", [("W420", 4)]),
        ("    p = h(p)\n    return p\n    return p\n", [("W420", 4)]),
        ("    if p['a']:\n        return p\n    else:\n        p = h(p)\n        return p\n", []),
        ("    if p['a']:\n        return p\n    else:\n        p = h(p)\n", [("W312", 2)]),
        ("    p = h(p)\n    while True:\n        p['n'] += 1\n        if p['n'] > 3:\n            break\n    return p\n", []),
        ("    p = h(p)\n    while True:\n        p['n'] += 1\n        if p['n'] > 3:\n            return p\n    p['z'] = 1\n    return p\n", [("W420", 7)]),
        ("    p = h(p)\n    while True:\n        for x in p['xs']:\n            break\n        else:\n            break\n    return p\n", []),
        ("    p = h(p)\n    while True:\n        for x in p['xs']:\n            break\n        if p['n']:\n            return p\n    p['z'] = 1\n", [("W420", 8)]),
        ("    for x in p['xs']:\n        p = h(p)\n        continue\n        p['a'] = 1\n    return p\n", [("W420", 5)]),
        ("    for x in p['xs']:\n        p = h(p)\n    else:\n        return p\n    p['a'] = 1\n    return p\n", [("W420", 6)]),
        ("    while p['n']:\n        p = h(p)\n        return p\n    p['a'] = 1\n    return p\n", []),
        ("    while 0:\n        p = h(p)\n    p['a'] = 1\n    return p\n", []),
    ],
)  # fmt: skip
def test_2_32_37_end_without_return_and_unreachable_code_are_warned_of_where_they_are(body: str, warned: list[tuple[str, int]]) -> None:
    found = compiled("from m import h\ndef flow(p):\n" + body).warnings
    assert [(one.code, one.span.line - 1) for one in found if one.code in ("W312", "W420")] == warned


def test_27_annotations_of_keys_are_left_out() -> None:
    done = compiled("from m import h\ndef flow(p):\n    p['e']: Strange = 3\n    p: Strange = {**p, 'f': 1}\n    p = h(p)\n    return p\n")
    assert [one.code for one in done.program.routers[1].body] == ["p['e'] = 3", "p = {**p, 'f': 1}"]


def test_67_what_is_used_is_carried_and_nothing_else() -> None:
    text = (
        "import math as m\nimport os.path\nimport json\nfrom textwrap import dedent, indent as ind\nONE = 1\nTWO = ONE + 1\nTHREE = TWO + 1\nLOCAL = 4\np = 5\n"
        "def flow(p):\n    LOCAL = 0\n    p['a'] = m.floor(TWO) + LOCAL + len(os.path.sep) + len(ind('x', ' '))\n    p = h(p)\n    return p\n"
    )
    carried = compiled(text).program.flow.carried
    assert carried == ("import math as m", "import os.path", "from textwrap import indent as ind", "ONE = 1", "TWO = ONE + 1")


def test_95_skipped_end_router_is_drawn_once_for_each_way_out() -> None:
    text = "def flow(p):\n    if p['a']:\n        p = h(p)\n        return p\n    p['b'] = 1\n    return p\n"
    done = compiled(text, Options(end_router="skip"))
    edges = [(one["from"], one["to"], one["label"]) for one in json.loads(done.artifacts["flow.json"])["edges"]]
    assert [one for one in edges if "end_flow" in one[:2]] == [("h", "end_flow", "next"), ("router_flow_line_5_seq", "end_flow", "next")]
    assert len(edges) == len(set(edges)) == 5
    shared = "def flow(p):\n    if p['a']:\n        p = g(p)\n    p = h(p)\n    return p\n"
    found = json.loads(compiled(shared, Options(end_router="skip")).artifacts["flow.json"])["edges"]
    assert [(one["from"], one["to"]) for one in found].count(("h", "end_flow")) == 1
