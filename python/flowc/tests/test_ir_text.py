"""The intermediate form as text: what is printed reads back equal, whatever pass made it."""

import pytest
from flow_grammar import flows
from hypothesis import given, settings

from asya_flowc import PASSES, Options, compile_source, print_form
from asya_flowc.ir import Flow, Program
from asya_flowc.ir_text import read_flow, read_program

ALL = '''\
import math
from m import Cls, a
from .near import b

LIMIT = (1, 2)
TEXT = f"""{LIMIT}

   | two"""


def flow(p):
    """Says "hello" \\u00e9.

    More."""
    obj = Cls()
    p["t"] = f"""{p["n"]!r:>4}

       x | y"""
    p["u"] = f"""{p.get('a\u00a0b')}

       x | y"""

    while True:
        p["n"] += 1
        if p["n"] > LIMIT[0] and TEXT:
            break
        elif math.floor(p["n"]) == 2:
            continue
        p = a(b(p))
    else:
        p = name(p)
    for (i, x) in [(1, 2) for k in "ab" if k in "a"]:
        p["x"] = x
        p = own(p)
    else:
        p = obj.m(p)
    if p["n"]:
        return p
    p = actor(p)


def own(p):
    return p
'''


def forms_of(text: str, options: Options) -> dict[str, Flow | Program]:
    forms: dict[str, Flow | Program] = {}
    done = compile_source(text, "flow.py", options, watch=forms.__setitem__)
    assert not isinstance(done, list), [one.message for one in done]
    assert tuple(forms) == PASSES
    return forms


def read_back(form: Flow | Program) -> Flow | Program:
    text = print_form(form).replace("\n  body", "\n\n  body")  # empty lines mean nothing
    return read_flow(text) if isinstance(form, Flow) else read_program(text)


@pytest.mark.parametrize("options", [Options(), Options(end_router="skip", max_iterations=0)], ids=["default", "skip"])
def test_every_node_reads_back_equal_after_every_pass(options: Options) -> None:
    for name, form in forms_of(ALL, options).items():
        assert read_back(form) == form, name


def test_shared_join_reads_back_equal() -> None:
    arms = "".join(f"    {'el' if index else ''}if p['k{index}']:\n        p = h{index}(p)\n" for index in range(3))
    forms = forms_of(f"def flow(p):\n{arms}" + "    p = z(p)\n" * 9 + "    return p\n", Options())
    last = forms["share_joins"]
    assert isinstance(last, Program)
    assert last.joins
    assert read_back(last) == last


@given(text=flows())
@settings(max_examples=15, deadline=None, derandomize=True, database=None)
def test_random_flow_reads_back_equal_after_every_pass(text: str) -> None:
    for form in forms_of(text, Options(infinite_loop_check=False)).values():
        assert read_back(form) == form


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: '' is no line of the intermediate form"),
        ("| more\n", "line 1: nothing goes on here"),
        ("    flow f(p) @1:1-1\n", "line 1: 'flow f(p) @1:1-1' is nested below nothing"),
        ("flow f(p) @1\n", "line 1: 'flow f(p) @1' is no line"),
        ("flow f(p) @1:1-1\n  tail x\n", "line 2: 'tail x' is no part of a flow"),
        ("flow f(p) @1:1-1\n  body\n    jump @1:1-1\n", "line 3: 'jump @1:1-1' is no line"),
        ("flow f(p) @1:1-1\n  body\nflow g(p) @1:1-1\n", "line 3: 'flow g(p) @1:1-1' stands behind the flow"),
    ],
)
def test_text_that_is_no_flow_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="line") as caught:
        read_flow(text)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("flow f(p) @1:1-1\n", "line 1: a program has a flow and routers"),
        ("flow f(p) @1:1-1\nprogram bound x\n", "line 2: 'program bound x' is no line"),
        ("flow f(p) @1:1-1\nprogram bound 1\nrouter 0 turn @1:1-1\n", "line 3: 'router 0 turn @1:1-1' is no line"),
        ("flow f(p) @1:1-1\nprogram bound 1\nrouter 0 seq @1:1-1\n  next -> h\n", "line 3: 'router 0 seq @1:1-1' is no line"),
    ],
)
def test_text_that_is_no_program_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="line") as caught:
        read_program(text)
    assert str(caught.value).startswith(said)
