"""Every diagnostic code has a file that triggers it, and a row in the reference."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from constructs import FILES, REFUSED, WARNED, module

from asya_flowc import CODES, Compilation, Options, Source, compile_source, pipeline, render
from asya_flowc.ir import Program, RouterUse
from asya_flowc.passes import ROUTER_PASSES

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "flow-language.md"
FINE = module("p = h(p)\nreturn p")
TWO_FLOWS = "def main(p):\n    p = part(p)\n    return p\ndef part(p):\n    p = h(p)\n    return p\n"
TRIGGERS: dict[str, tuple[str, Options]] = {
    "E102": (FINE, Options(flow="nowhere")),
    "E413": (FINE, Options(subflows={"x": "inline"})),
    "E507": (FINE, Options(actors={"other": "m.g"})),
    "E601": (module(f'p["x"] = "{"x" * 1_000_000}"\np = h(p)\nreturn p'), Options()),
    "E602": ("def f(p):\n    p = h(p)\n    return p\n", Options(stubs=True)),
    "E604": ("def f(p):\n" + "".join(f"    p = h{index}(p)\n" for index in range(460)) + "    return p\n", Options()),
    "W111": (TWO_FLOWS, Options()),
    "W506": (f"def {'f' * 200}(p):\n    p = h(p)\n    return p\n", Options()),
}
"""Codes that need more than a construct. `E505` and `E901` are defects of the compiler and need a broken one: below."""
BY_TABLE = {code: module(body) for _, body, code in (*REFUSED, *WARNED)} | {code: text for _, text, code in FILES}


def codes_of(text: str, options: Options | None = None) -> set[str]:
    done = compile_source(text, "flow.py", options)
    return {one.code for one in (done.warnings if isinstance(done, Compilation) else done)}


@pytest.mark.parametrize("code", TRIGGERS)
def test_code_is_triggered_by_its_file_and_options(code: str) -> None:
    assert code in codes_of(*TRIGGERS[code])


@pytest.mark.parametrize("code", BY_TABLE)
def test_code_is_triggered_by_a_construct(code: str) -> None:
    assert code in codes_of(BY_TABLE[code])


def test_no_code_is_without_a_trigger() -> None:
    assert set(CODES) - set(BY_TABLE) - set(TRIGGERS) == {"E505", "E901"}


def test_every_code_has_a_row_in_the_reference() -> None:
    rows = re.findall(r"^\| `([EW]\d{3})` \| (.+?) \|", PAGE.read_text(encoding="utf-8"), flags=re.M)
    assert dict(rows) == {code: rule.title for code, rule in CODES.items()}


def tied(program: Program, options: Options, report: object) -> Program:
    """A broken pass: the last router but the end goes back to the first behind start."""
    *first, last, end = program.routers
    arms = tuple(replace(arm, chain=replace(arm.chain, steps=(RouterUse(router=1),))) for arm in last.arms)
    return replace(program, routers=(*first, replace(last, arms=arms), end))


CIRCLE = module("p['a'] = 1\np = h(p)\nif p['a']:\n    p = h(p)\n    p['b'] = 2\np = h(p)\np['c'] = 1\nreturn p")


def test_circle_of_routers_without_a_loop_is_e505_unless_the_check_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "E505" not in codes_of(CIRCLE)
    monkeypatch.setattr(pipeline, "ROUTER_PASSES", {**ROUTER_PASSES, "tied": tied})
    assert "E505" in codes_of(CIRCLE)
    assert "E505" not in codes_of(CIRCLE, Options(infinite_loop_check=False))


def test_broken_pass_is_e901_with_the_form_that_it_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(program: Program, options: Options, report: object) -> Program:
        return replace(program, routers=program.routers[:-1])

    monkeypatch.setattr(pipeline, "ROUTER_PASSES", {"cut": cut, **ROUTER_PASSES})
    (found,) = [one for one in failed(CIRCLE) if one.code == "E901"]
    assert found.message == "the output failed its check: start or end is misplaced"
    assert "\nflow flow(p) @8:1-" in render(found, Source.of(CIRCLE, "flow.py"))
    assert "\nrouter 0 start @8:1-1\n" in found.write


def test_output_that_differs_when_made_twice_is_e901(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def random(*_: object, **__: object) -> str:
        made.append("")
        return f"x = {len(made)}\n"

    monkeypatch.setattr(pipeline, "routers_text", random)
    assert [one.message for one in failed(FINE) if one.code == "E901"] == [
        "the output failed its check: routers.py differs when it is made twice"
    ]


def failed(text: str) -> list[pipeline.Diagnostic]:
    done = compile_source(text, "flow.py")
    assert isinstance(done, list)
    return done


@pytest.mark.parametrize(
    ("text", "options", "wanted"),
    [
        ("def flow(p):\n    p['x'] = 1\n    return p\n", Options(), True),
        ("def flow(p):\n    p['x'] = 1\n    return p\n", Options(flow="flow"), False),
        ("def main(argv):\n    print(argv)\n", Options(), True),
        ("def flow(p):\n    p = h(q)\n    return p\n", Options(), False),
        ("def flow(p):\n    p['r'] = [a(x) for x in p['xs']]\n    return p\n", Options(), False),
        ("def flow(p):\n    p = h(p)\n    return p\n", Options(), False),
    ],
    ids=["guessed", "named", "main", "handler of another value", "fan-out", "handler"],
)
def test_flow_without_handlers_is_warned_of_where_that_helps(text: str, options: Options, wanted: bool) -> None:
    assert ("W110" in codes_of(text, options)) is wanted


def test_45_w504_names_the_line_of_the_first_use_and_can_be_switched_off() -> None:
    text = (
        "from m import h\ndef flow(p):\n    p = h(p)\n    while p['n']:\n        p = h(p)\n    if p['n']:\n        p = h(p)\n    return p\n"
    )
    done = compile_source(text, "flow.py")
    assert isinstance(done, Compilation)
    said = [(one.span.line, one.message) for one in done.warnings if one.code == "W504"]
    assert said == [(5, "handler 'm.h' is used in line 3 already"), (7, "handler 'm.h' is used in line 3 already")]
    assert "W504" not in codes_of(text, Options(infinite_loop_check=False))


def test_e604_allows_exactly_450_names() -> None:
    def flow(count: int) -> str:
        return "def f(p):\n" + "".join(f"    p = h{index}(p)\n" for index in range(count)) + "    return p\n"

    assert "E604" not in codes_of(flow(449))  # and the end router
    assert "E604" in codes_of(flow(450))


def test_shortened_names_are_told_once_for_the_flow() -> None:
    done = compile_source("def " + "f" * 60 + "(p):\n    p = h(p)\n    p['a'] = 1\n    return p\n", "flow.py")
    assert isinstance(done, Compilation)
    assert [one.code for one in done.warnings if one.code == "W506"] == ["W506"]


def test_name_like_those_of_the_runtime_is_refused_even_behind_a_constant() -> None:
    assert "E501" in codes_of("_asya_a = 1\nB = _asya_a + 1\ndef f(p):\n    p['x'] = B\n    p = h(p)\n    return p\n")
