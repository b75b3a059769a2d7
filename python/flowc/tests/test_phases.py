"""The phases by themselves: what reaches them from no file, or only from odd ones."""

# ruff: noqa: E501 (a flow is a line)

import ast
from dataclasses import replace

import pytest
import yaml
from oracle import agree, compiled, refused

from asya_flowc import Diagnostic, Image, Options, Source, Span, UnreadableSource, decode, render
from asya_flowc.diagnostics import Reporter
from asya_flowc.emit.dot import cut, dot_text
from asya_flowc.emit.graph import graph_of
from asya_flowc.emit.yaml import dump, quoted
from asya_flowc.ir import Program
from asya_flowc.ir_text import print_program, read_program
from asya_flowc.scope import module_scope
from asya_flowc.selfcheck import check_routers
from asya_flowc.verify import BrokenInvariant, verify

# Options and text


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("r:v1", Image(repository="r", tag="v1")),
        ("host:5000/a/r:v1", Image(repository="host:5000/a/r", tag="v1")),
        ("r@sha256:" + "0a" * 32, Image(repository="r", digest="sha256:" + "0a" * 32)),
    ],
)
def test_image_is_split_into_repository_and_tag_or_digest(text: str, image: Image) -> None:
    assert Image.parse(text) == image


@pytest.mark.parametrize("text", ["r", ":v1", "host:5000/r", "r:", "r:a b", "@sha256:" + "0" * 64, "r@sha256:0", "r@md5:" + "0" * 64])
def test_image_without_tag_or_digest_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected REPO"):
        Image.parse(text)


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="max iterations -1 is negative"):
        Options(max_iterations=-1)
    with pytest.raises(ValueError, match="plot width 0 is too small"):
        Options(plot_width=0)


def test_9_80_bytes_are_read_by_cookie_mark_or_as_utf_8() -> None:
    assert decode("é".encode()) == "é"
    assert decode(b"\xef\xbb\xbfx") == "x"
    assert decode("# -*- coding: latin-1 -*-\n# é\n".encode("latin-1")).endswith("# é\n")
    with pytest.raises(UnreadableSource, match="byte 0xe9 in line 4 is not valid utf-8"):
        decode(b"#\n#\n\n\xe9")
    with pytest.raises(UnreadableSource, match="unknown encoding: nonsense"):
        decode(b"# coding: nonsense\n")


def test_finding_is_noted_once_per_place() -> None:
    report = Reporter(Source.of("x = 1\n", "f.py"))
    for column in (1, 1, 2):
        report.add("W420", Span(1, column, 1, column), "m")
    assert [one.span.column for one in report.found] == [1, 2]


def test_diagnostic_of_an_empty_line_prints_no_excerpt() -> None:
    found = Diagnostic(code="W420", path="f.py", span=Span(2, 1, 2, 1), message="m", why="", write="")
    assert render(found, Source.of("x = 1\n\n", "f.py")) == "[!] f.py:2:1: FLOW420 m"


@pytest.mark.parametrize(
    ("line", "quoted_as"),
    [
        ('p = h(p["a"])', 'p["a"]'),
        ("p = h(p['a'] )", "p['a']"),
        ('p = h(p[\n    "a"\n])', "p['a']"),
        ('p = h("é" + p["é"])', '"é" + p["é"]'),
        (f'p = h(p["{"k" * 80}"])', f'p["{"k" * 56}…'),
    ],
)
def test_message_quotes_the_source_as_written(line: str, quoted_as: str) -> None:
    body = line.replace("\n", "\n    ")
    found = [one for one in refused(f"def flow(p):\n    {body}\n    return p\n") if one.code == "E202"]
    assert found[0].write == f"p = h(p)   and read {quoted_as} in the handler"


def test_statement_of_several_lines_is_quoted_by_its_first() -> None:
    (found,) = [one for one in refused("def flow(p):\n    with  a:\n        p = h(p)\n    return p\n") if one.code == "E401"]
    assert found.message == "'with' cannot stand in a flow: with  a:"


# Names of the module


def test_67_names_of_the_module_are_sorted_into_what_can_be_carried() -> None:
    scope = module_scope(
        ast.parse(
            "from __future__ import annotations\nfrom math import *\nimport os.path\nfrom . import near\nLATER: int\nONE: int = 1\nTWO = ONE + 1\n"
            "a, *b = 1, 2\n[c, d.e] = 1, 2\nTWICE = 1\nTWICE = 2\nMORE = 1\nMORE += 1\nGLOBAL = 1\nCALLED = f()\nfor i, j in []:\n    k = 1\n"
            "try:\n    import json\nexcept ImportError:\n    json = None\nfinally:\n    m = n = 2\n"
            "if a:\n    def inner():\n        pass\n\n\ndef f():\n    global GLOBAL\n    GLOBAL = 2\nclass C:\n    x = 1\nimport re\nimport re\n"
        )
    )
    assert set(scope.constants) == {"ONE", "TWO"}
    assert scope.objects == {"a", "b", "c", "TWICE", "MORE", "GLOBAL", "CALLED", "i", "j", "k", "json", "m", "n", "re"}
    assert {name for name in scope.imports if scope.carries_import(name)} == {"os"}
    assert (set(scope.functions), set(scope.classes)) == ({"f"}, {"C"})


@pytest.mark.parametrize("head", ["from datetime import datetime", "import datetime as dt\ndatetime = 0"])
def test_67_datetime_now_is_unsteady(head: str) -> None:
    name = "datetime" if "from" in head else "dt.datetime"
    text = (
        f"{head}\n\ndef flow(p):\n    p['t'] = str({name}.now())\n    p['u'] = [now.now() for now in p['xs']]\n    p = h(p)\n    return p\n"
    )
    assert [one.span.line for one in compiled(text).warnings if one.code == "W310"] == [text.count("\n", 0, text.index("p['t']")) + 1]


def test_75_loop_on_the_clock_can_end() -> None:
    text = "from datetime import datetime\n\ndef flow(p):\n    while datetime.now().year < 1:\n        p = h(p)\n    return p\n"
    agree(text, {})


def test_78_79_named_flow_that_cannot_be_one_is_e102_with_the_reason() -> None:
    text = "def outer(a, b):\n    def inner(p):\n        return p\ndef flow(p):\n    p = h(p)\n    return p\n"
    said = {name: refused(text, Options(flow=name))[0].message for name in ("outer", "inner", "none")}
    assert said == {
        "outer": "'outer' has 2 parameters",
        "inner": "'inner' is not at the top level of the file",
        "none": "there is no function 'none' in this file; functions at its top level: flow, outer",
    }


def test_handlers_found_in_values_files() -> None:
    text = "from m import h\ndef flow(p):\n    p = h(p)\n    return p\n"
    assert compiled(text, Options(actors={"h": "other.run"})).handlers == {"h": "other.run"}
    (found,) = refused(text, Options(actors={"x": "a.m.h", "y": "b.m.h"}))
    assert (found.code, found.message) == ("E507", "several actors run 'h': x (a.m.h), y (b.m.h)")
    (found,) = refused(text, Options(actors={"x": "a.g"}))
    assert (found.code, found.message) == ("E507", "no values file runs 'm.h' or is called 'h'")
    (found,) = refused("def flow(p):\n    p = h(p)\n    return p\n", Options(actors={"x": "a.g"}))
    assert found.message == "no values file runs 'h' or is called 'h'"
    twins = "from m import C, D\ndef flow(p):\n    p = C.run(p)\n    p = D.run(p)\n    return p\n"
    assert "no name tells handler" in refused(twins, Options(actors={"c-run": "q.z", "d-run": "q.z"}))[0].message


# The form between


MADE = "def flow(p):\n    while p['a']:\n        p['a'] -= 1\n    p = h(p)\n    if p['b']:\n        p = h(p)\n    p = h(p)\n    return p\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("router 0 start", "router 0 seq", "start or end is misplaced"),
        ("router 1 while", "router 7 while", "router 1 is numbered 7"),
        ("next -> #1\n", "next -> #1 #2\n", "router 0: a chain goes on behind a router"),
        ("next -> #1\n", "next -> #9\n", "router 0: router 9 is unknown"),
        ("next -> #1\n", "next -> #3\n", "router 1 (while, line 2) is never reached"),
        ("done -> h:", "done -> g:", "router 1: handler g is unknown"),
        ("  name router_flow_line_3_seq\n", "  name start_flow\n", "two routers have one name"),
        ("  name router_flow_line_3_seq\n", "  name router-3\n", "a router's name is no name of a function"),
        (" leave\n", "\n", "the flow's frame is popped wrongly"),
        ("done -> h:3@4:5-13 #3 drop 1", "done -> h:3@4:5-13 #3", "the state of a loop is left behind or lost"),
    ],
)
def test_verifier_says_which_rule_is_broken(old: str, new: str, said: str) -> None:
    text = print_program(compiled(MADE).program)
    assert old in text
    with pytest.raises(BrokenInvariant) as caught:
        verify(read_program(text.replace(old, new, 1)))
    assert said in str(caught.value)


def test_verifier_wants_joins_in_order() -> None:
    arms = "".join(f"    {'el' if index else ''}if p['k{index}']:\n        p = h{index}(p)\n" for index in range(3))
    program = compiled(f"def flow(p):\n{arms}" + "    p = z(p)\n" * 9 + "    return p\n").program
    joins = (replace(program.joins[0], steps=program.joins[0].steps[:-1], join=0),)
    with pytest.raises(BrokenInvariant, match="join 0 ends in a later one"):
        verify(replace(program, joins=joins))


def checked(change: object = None, **more: str) -> Reporter:
    done = compiled(MADE)
    text = done.artifacts["routers.py"]
    for old, new in more.values() if more else ():  # type: ignore[misc]
        assert old in text
        text = text.replace(old, new)
    program = done.program if change is None else change(done.program)  # type: ignore[operator]
    assert isinstance(program, Program)
    report = Reporter(Source.of(MADE, "flow.py"))
    check_routers(text, program, report)
    return report


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("return envelope", "return (", "routers.py does not parse"),
        ("return envelope", "return envelop", "routers.py uses undefined names: envelop"),
        ('_next.append(resolve("h"))', "pass", "inserts"),
    ],
)
def test_selfcheck_finds_what_is_wrong_with_the_module(old: str, new: str, said: str) -> None:
    with pytest.raises(BrokenInvariant, match=said):
        checked(change=None, edit=(old, new))  # type: ignore[arg-type]


def test_selfcheck_finds_a_name_that_resolves_to_another_actor() -> None:
    def renamed(program: Program) -> Program:
        (handler,) = program.flow.handlers
        return replace(program, flow=replace(program.flow, handlers=(replace(handler, name="g"),)))

    with pytest.raises(BrokenInvariant, match=r"resolve\('g'\) gives \[\], expected h"):
        checked(change=renamed)


def test_90_syntax_that_3_9_has_not_is_warned_of() -> None:
    assert checked().found == []
    newer = checked(change=None, edit=("_ASYA_STEPS = {}", "_ASYA_STEPS = {}\nmatch _ASYA_STEPS:\n    case _:\n        pass\n"))  # type: ignore[arg-type]
    assert [one.code for one in newer.found] == ["W603"]


# What is emitted


def test_header_names_source_and_command() -> None:
    done = compiled(MADE, Options(source_name="../a\nb.py", command="asya flow compile x"))
    lines = done.artifacts["routers.py"].splitlines()
    assert lines[:2] == ["# Generated by asya flow compile from ../a?b.py. Do not edit: compile again.", "# asya flow compile x"]


def test_yaml_reads_back_whatever_a_string_holds() -> None:
    value = {
        "yes": "no", "a b": "", "ctrl": "\x00\x85\u2028\U000e0001", "block": "a\n\n  b: #c\n", "tab": "a\tb\n", "lead": " a\nb\n", "n": 1,
        "f": 1.5, "t": True, "l": ["x", False, {}, {"b": 1, "a": []}], "empty": {}, "no end": "a\nb", "quote": '"\\',
    }  # fmt: skip
    assert yaml.safe_load(dump(value)) == value  # type: ignore[arg-type]
    assert quoted("é\n") == '"é\\n"'


def test_labels_are_cut_in_the_middle() -> None:
    assert [cut("abcdef", width) for width in (1, 2, 3, 4, 5, 6)] == ["a", "ab", "a…f", "ab…f", "ab…ef", "abcdef"]
    done = compiled("def flow(p):\n    p['a'] = '" + "x" * 90 + "'\n    p = h(p)\n    return p\n")
    wide, narrow = (dot_text(graph_of(done.program), title="t", width=width) for width in (200, 9))
    assert f"p['a'] = '{'x' * 90}'\\n" in wide
    assert "p['a…xxx'\\n" in narrow


def test_stubs_leave_out_what_has_an_actor_and_carry_the_transport() -> None:
    text = "from m import g, h\ndef flow(p):\n    p = g(p)\n    p = h(p)\n    return p\n"
    done = compiled(text, Options(actors={"g": "m.g", "h": "m.h"}, stubs=True))
    assert not [name for name in done.artifacts if name.startswith("values/_handlers/")]
    done = compiled(text, Options(stubs=True, transport="sqs"))
    assert yaml.safe_load(done.artifacts["values/_handlers/g.yaml"]) == {
        "handler": "m.g", "handlerMode": "payload", "image": {"repository": "", "tag": ""},
        "labels": {"asya.sh/flow": "flow", "asya.sh/role": "handler"}, "transport": "sqs",
    }  # fmt: skip


def schema(head: str, annotation: str) -> object:
    text = f"from dataclasses import dataclass\nfrom typing import TypedDict\nfrom h import h\n{head}\ndef flow(p: {annotation}):\n    p = h(p)\n    return p\n"
    return yaml.safe_load(compiled(text).artifacts["tools/flow.yaml"])["tools"]["flow"]["inputSchema"]


FIELDS = "    a: str\n    b: list[int]\n    c: dict[str, int] = {}\n    d: float | None = None\n    e: 'Other' = 1\n    f: Other | None\n    def g(self): pass\n"
PROPERTIES = {
    "a": {"type": "string"}, "b": {"type": "array", "items": {"type": "integer"}}, "c": {"type": "object"},
    "d": {"type": ["number", "null"]}, "e": {}, "f": {},
}  # fmt: skip


@pytest.mark.parametrize(
    "head", ["class In(TypedDict):\n", "@dataclass\nclass In:\n", "@dataclass(frozen=True)\nclass In:\n", "class In(pydantic.BaseModel):\n"]
)
@pytest.mark.parametrize("annotation", ["In", "'In'"])
def test_input_schema_comes_from_the_parameters_class(head: str, annotation: str) -> None:
    assert schema(head + FIELDS, annotation) == {"type": "object", "properties": PROPERTIES, "required": ["a", "b", "f"]}


@pytest.mark.parametrize(
    ("head", "annotation", "wanted"),
    [
        ("class In(TypedDict, total=False):\n    a: str\n", "In", {"type": "object", "properties": {"a": {"type": "string"}}}),
        (
            "class In(TypedDict, total=True):\n    a: str\n",
            "In",
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
        ),
        *(
            (f"{line}\n    a: str\n", "In", {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]})
            for line in (
                "class In(TypedDict, closed=False):",
                "class In(TypedDict, total=IS_TOTAL):",
                "class In(Generic[T], TypedDict):",
                "class In(TypedDict):\n    other.b: int",
            )
        ),
        ("class In:\n    a: str\n", "In", {"type": "object"}),
        ("", "dict[str, int]", {"type": "object"}),
        ("", "Unknown", {"type": "object"}),
    ],
)
def test_input_schema_is_open_where_nothing_describes_it(head: str, annotation: str, wanted: object) -> None:
    assert schema(head, annotation) == wanted


@pytest.mark.parametrize(
    ("imports", "first", "second", "shown"),
    [
        ("import h\nfrom h import f", "h.f", "f", "f"),
        ("import h\nfrom h import f", "f", "h.f", "f"),
    ],
)
def test_a_handler_of_two_spellings_is_shown_by_the_shorter(imports: str, first: str, second: str, shown: str) -> None:
    done = compiled(f"{imports}\ndef flow(p: dict) -> dict:\n    p = {first}(p)\n    p = {second}(p)\n    return p\n")
    assert [".".join(handler.text) for handler in done.program.flow.handlers] == [shown]
