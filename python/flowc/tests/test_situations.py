"""Situations of the language that need more than one line; the numbers are those of its list. One-liners: test_refused.py."""

# ruff: noqa: E501 (a flow is a line)

import itertools

import pytest
from oracle import agree, compiled, environment, load, refused, steps_of

from asya_flowc import Options


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
