"""Refused constructs with code and place, and the accepted neighbours. Numbers: situations of the language."""

from typing import Literal

import pytest
from constructs import ACCEPTED, FILES, PAYLOADS, REFUSED, WARNED, module
from oracle import agree, compiled, refused

from asya_flowc import Options, Source, render


@pytest.mark.parametrize(("situation", "body", "code"), REFUSED, ids=[f"{one[0]}-{one[1][:30]!r}" for one in REFUSED])
def test_construct_is_refused_with_its_code(situation: str, body: str, code: str) -> None:
    text = module(body)
    found = refused(text)
    errors = [one for one in found if one.code[0] == "E"]
    assert code in {one.code for one in errors}, [(one.code, one.message) for one in errors]
    for one in errors:
        printed = render(one, Source.of(text, "flow.py"))
        assert f"flow.py:{one.span.line}:{one.span.column}: FLOW{one.code[1:]} " in printed
        assert "^" in printed


@pytest.mark.parametrize(("situation", "body", "code"), REFUSED, ids=[f"{one[0]}-{one[1][:30]!r}" for one in REFUSED])
def test_one_mistake_gives_one_error(situation: str, body: str, code: str) -> None:
    errors = [one.code for one in refused(module(body)) if one.code[0] == "E"]
    assert len(errors) == 1, errors


@pytest.mark.parametrize("end_router", ["route", pytest.param("skip", marks=pytest.mark.unmeasured)])
@pytest.mark.parametrize(("situation", "body"), ACCEPTED, ids=[f"{one[0]}-{one[1][:30]!r}" for one in ACCEPTED])
def test_accepted_form_runs_as_plain_python(situation: str, body: str, end_router: Literal["route", "skip"]) -> None:
    agree(module(body), *PAYLOADS, options=Options(end_router=end_router))


@pytest.mark.parametrize(("situation", "body", "code"), WARNED, ids=[f"{one[0]}-{one[2]}" for one in WARNED])
def test_doubtful_form_is_warned_of(situation: str, body: str, code: str) -> None:
    assert code in {one.code for one in compiled(module(body)).warnings}


def test_plain_copy_of_a_key_is_not_warned_of() -> None:
    assert "W311" not in {one.code for one in compiled(module('p["b"] = p["a"]\np = h(p)\nreturn p')).warnings}


@pytest.mark.parametrize(("situation", "text", "code"), FILES, ids=[f"{one[0]}-{one[2]}-{one[1][:25]!r}" for one in FILES])
def test_file_is_refused_with_its_code(situation: str, text: str, code: str) -> None:
    assert code in [one.code for one in refused(text)]


def test_several_errors_are_reported_in_order_of_position() -> None:
    found = refused(module('p = h(p["a"])\nx = h(p)\nq["z"] = 1\nassert p\nreturn 3'))
    assert [one.code for one in found if one.code[0] == "E"] == ["E202", "E203", "E301", "E401", "E306"]


def test_diagnostic_prints_excerpt_caret_reason_and_replacement() -> None:
    text = 'def f(p):\n    p = clean(p["text"])\n    return p\n'
    found = [one for one in refused(text) if one.code == "E202"]
    assert render(found[0], Source.of(text, "flow.py")) == (
        "[-] flow.py:2:15: FLOW202 the argument of handler 'clean' is not the payload\n"
        '  2 |     p = clean(p["text"])\n'
        "    |               ^^^^^^^^^\n"
        "  why:   an actor receives the whole payload, never a part of it\n"
        '  write: p = clean(p)   and read p["text"] in the handler'
    )


def test_48_long_flow_name_is_shortened() -> None:
    done = compiled(f"def {'f' * 200}(p):\n    p = h(p)\n    return p\n")
    assert all(len(one.actor) <= 53 for one in done.routers)
    assert len({one.actor for one in done.routers}) == 2


@pytest.mark.parametrize(
    ("constant", "statements", "warned"),
    [
        ("[1]", "p['l'] = EMPTY\n    p['l'].append(2)", True),
        ("{}", "p['l'] = [EMPTY]\n    p['l'][0]['k'] = 1", True),
        ("[1]", "p['l'] = EMPTY", False),
        ("[1]", "p['l'] = list(EMPTY)\n    p['l'].append(2)", False),
        ("(1,)", "p['l'] = EMPTY\n    p['l'] += (2,)", False),
    ],
)
def test_68_container_of_the_module_changed_in_place_is_warned_of(constant: str, statements: str, warned: bool) -> None:
    text = f"EMPTY = {constant}\ndef flow(p):\n    {statements}\n    p = h(p)\n    return p\n"
    assert ("W311" in {one.code for one in compiled(text).warnings}) is warned
