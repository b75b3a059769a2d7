"""The generated files: resolve(), preflight, graph, diagram, values, determinism, and how the work grows with the flow."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from oracle import agree, compiled, environment, load, mesh

from asya_flowc import Image, Options, compile_source
from asya_flowc.emit.yaml import dump
from asya_flowc.names import variable_of_actor

FLOW = """\
from m1 import clean
from m2 import clean as other

def flow(p: dict) -> dict:
    '''Cleans a text.

    More.'''
    p = clean(p)
    p = other(p)
    for x in p.get("items", []):
        p["x"] = x
        if x == 1:
            p = third(p)
    return p
"""


def resolved(name: str, **variables: str) -> str:
    space = load(compiled(SMALL))
    with environment(variables):
        return str(space["resolve"](name))


def test_82_suffixes_match_by_whole_components() -> None:
    variables = {"ASYA_HANDLER_X": "full.module.Cls.method"}
    assert {resolved(name, **variables) for name in ("method", "Cls.method", "module.Cls.method", "full.module.Cls.method")} == {"x"}
    with pytest.raises(ValueError, match=r"No actor runs 'ls\.method'"):
        resolved("ls.method", **variables)


def test_83_ambiguous_name_lists_both_actors() -> None:
    with pytest.raises(ValueError, match=r"ambiguous: a \(m1.clean\), b \(m2.clean\); lengthen"):
        resolved("clean", ASYA_HANDLER_A="m1.clean", ASYA_HANDLER_B="m2.clean")


def test_84_exact_value_beats_suffix_and_suffix_beats_the_variable() -> None:
    assert resolved("clean", ASYA_HANDLER_A="clean", ASYA_HANDLER_B="m.clean") == "a"
    assert resolved("clean", ASYA_HANDLER_CLEAN="x.y", ASYA_HANDLER_B="m.clean") == "b"
    assert resolved("english_sentiment", ASYA_HANDLER_ENGLISH_SENTIMENT="sentiment.EnglishSentiment.process") == "english-sentiment"


def test_85_handler_under_two_variables_names_both_actors() -> None:
    with pytest.raises(ValueError, match=r"'m\.clean' is ambiguous: a \(m\.clean\), b \(m\.clean\); lengthen"):
        resolved("m.clean", ASYA_HANDLER_A="m.clean", ASYA_HANDLER_B="m.clean")


@pytest.mark.parametrize("actor", ["a", "x1-2b", "a--b", "very-" * 9 + "long", "r2-d2", "q" * 53])
def test_87_variable_and_actor_name_go_round(actor: str) -> None:
    assert resolved("f", **{variable_of_actor(actor): "m.f"}) == actor


def test_86_other_variables_are_skipped_and_blanks_trimmed() -> None:
    noise = {"ASYA_HANDLER": "m.f", "ASYA_HANDLER_MODE": "m.f", "ASYA_HANDLER_E": "  ", "ASYA_HANDLER_low": "m.f"}
    assert resolved("f", ASYA_HANDLER_G="  m.f ", **noise) == "g"


def test_unresolved_name_tells_which_variable_to_set() -> None:
    with pytest.raises(ValueError, match=r"set ASYA_HANDLER_THIRD to its full path; known handlers: m\.f"):
        resolved("third", ASYA_HANDLER_G="m.f")


def test_two_handlers_of_one_actor_name_are_told_apart_by_actors() -> None:
    found = compile_source(FLOW, "flow.py")
    assert isinstance(found, list)
    assert "E501" in [one.code for one in found]
    given = compiled(FLOW, Options(actors={"one": "m1.clean", "two": "m2.clean", "third": "m3.third"}))
    assert given.handlers == {"one": "m1.clean", "two": "m2.clean", "third": "m3.third"}
    assert [one.name for one in given.program.flow.handlers] == ["m1.clean", "m2.clean", "third"]


SMALL = FLOW.replace("from m2 import clean as other\n", "").replace("    p = other(p)\n", "")


def test_88_preflight_names_what_is_missing(tmp_path: Path) -> None:
    done = compiled(SMALL)
    (tmp_path / "routers.py").write_text(done.artifacts["routers.py"])
    good = subprocess.run(
        [sys.executable, "routers.py", "--check"], cwd=tmp_path, env=dict(done.environment), capture_output=True, text=True
    )
    assert good.returncode == 0
    assert "[+] clean -> clean\n" in good.stdout
    less = {name: value for name, value in done.environment.items() if name != "ASYA_HANDLER_THIRD"}
    bad = subprocess.run([sys.executable, "routers.py", "--check"], cwd=tmp_path, env=less, capture_output=True, text=True)
    assert bad.returncode == 1
    assert "[-] third: set ASYA_HANDLER_THIRD" in bad.stdout


def test_90_module_imports_only_the_standard_library_and_parses_at_3_9() -> None:
    tree = ast.parse(compiled(SMALL).artifacts["routers.py"], feature_version=(3, 9))
    modules = {one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names}
    assert modules == {"os", "sys", "json"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


def test_if_with_nothing_behind_it_and_no_router_at_the_end_has_no_empty_else() -> None:
    text = "from m import clean\n\n\ndef flow(p: dict) -> dict:\n    if p['a']:\n        p = clean(p)\n    return p\n"
    for options, has_else in ((Options(), True), (Options(end_router="skip"), False)):
        routers = compiled(text, options).artifacts["routers.py"]
        (decides,) = [part for part in routers.split("\n\n\n") if "if p['a']:" in part or 'if p["a"]:' in part]
        assert ("else:" in decides) is has_else, decides


def test_12_compiled_twice_gives_the_same_bytes() -> None:
    assert compiled(SMALL).artifacts == compiled(SMALL).artifacts


@pytest.mark.parametrize("text", [SMALL.replace("\n", "\r\n"), "\ufeff" + SMALL, SMALL.removesuffix("\n"), SMALL.replace("    ", "\t")])
def test_9_line_ends_tabs_and_byte_order_mark_change_nothing(text: str) -> None:
    found = compiled(text).artifacts["routers.py"]
    assert found == compiled(SMALL).artifacts["routers.py"]


@pytest.mark.parametrize("param", ["payload", "r", "c", "envelope", "resolve", "_next"])
def test_11_any_parameter_name_works(param: str) -> None:
    text = f"def flow({param}):\n    {param}['a'] = 1\n    if {param}['a']:\n        {param} = h({param})\n    return {param}\n"
    agree(text, {"a": 0})


@pytest.mark.parametrize("name", ["flow", "end", "start", "router", "resolve", "x1", "CamelCase"])
def test_48_any_flow_name_works(name: str) -> None:
    agree(f"def {name}(p):\n    p['a'] = 1\n    p = h(p)\n    return p\n", {})


@pytest.mark.parametrize("route", [{"actors": [], "current": 0}, {"actors": ["a"], "current": 1}, {"actors": ["a"], "current": -1}, {}])
def test_93_bad_route_is_a_value_error(route: dict[str, object]) -> None:
    done = compiled(SMALL)
    space = load(done)
    with environment(dict(done.environment)), pytest.raises(ValueError, match="route"):
        space["start_flow"]({"payload": {}, "route": route})


def test_while_loop_meets_its_bound_with_line_and_bound() -> None:
    text = "def flow(p):\n    while p['go']:\n        p = h(p)\n    return p\n"
    assert mesh(compiled(text, Options(max_iterations=3)), {"go": 1}).error == "RuntimeError"
    space = load(compiled(text))
    with pytest.raises(RuntimeError, match="line 7 passed its bound of 2"):
        space["_asya_turn"]({"l": 2}, "l", 7, 2)


@pytest.mark.parametrize(
    ("items", "error"),
    [
        ([(1, (2, 3))], TypeError),
        ([{1: 2}], TypeError),
        ([{1, 2}], TypeError),
        ([float("nan")], TypeError),
        ([0] * 10001, ValueError),
        (["x" * 70000], ValueError),
    ],
)
def test_items_that_json_would_change_are_refused(items: list[object], error: type[Exception]) -> None:
    with pytest.raises(error, match="line 5"):
        load(compiled(SMALL))["_asya_snapshot"](items, 5)


def test_values_files_are_yaml_and_carry_the_source_without_an_image() -> None:
    done = compiled(SMALL)
    for name, text in done.artifacts.items():
        if name.startswith("values/"):
            values = yaml.safe_load(text)
            assert values["source"]["files"]["routers.py"] == done.artifacts["routers.py"]
            assert values["env"] == done.environment
            assert values["handlerMode"] == "envelope"


def test_folded_is_one_values_file_with_its_own_name() -> None:
    done = compiled(SMALL, Options(routers="folded", image=Image.parse("host:5000/r:v1")))
    files = [name for name in done.artifacts if name.startswith("values/")]
    assert files == ["values/start-flow.yaml"]
    values = yaml.safe_load(done.artifacts[files[0]])
    assert values["handler"] == "routers.folded_flow"
    assert values["env"] == {"ASYA_FLOW_ACTOR": "start-flow", "ASYA_HANDLER_CLEAN": "m1.clean", "ASYA_HANDLER_THIRD": "third"}
    assert values["image"] == {"repository": "host:5000/r", "tag": "v1"}


def test_103_folded_takes_fewer_hops() -> None:
    payload = {"items": [1, 2, 1]}
    assert mesh(compiled(SMALL, Options(routers="folded")), payload).hops < mesh(compiled(SMALL), payload).hops


def test_folded_flow_may_be_the_end_of_a_route() -> None:
    payload = {"items": [1, 2, 1]}
    assert mesh(compiled(SMALL, Options(routers="folded")), payload, tail=()).final == mesh(compiled(SMALL), payload).final


@pytest.mark.parametrize("key", ["a: b", "yes", "", "#x", "ü", "1", "a b", "- a", "ASYA_X"])
@pytest.mark.parametrize(
    "value", ["", "x", "a\nb\n", "a\n", "a\nb", " a\nb\n", "\x00a\nb\n", "\u2028", "\U000f0000", '"', "\\", 1, True, ["a: b"], {"c: d": 1}]
)
def test_values_read_back_as_they_were(key: str, value: object) -> None:
    assert yaml.safe_load(dump({key: {key: value}})) == {key: {key: value}}


def test_text_of_several_lines_is_a_block_and_others_are_quoted() -> None:
    assert dump({"a": "b\nc\n"}) == "a: |\n  b\n  c\n"
    assert dump({"a": "b\n"}) == 'a: "b\\n"\n'


def test_stubs_are_starter_values_of_user_handlers() -> None:
    text = "from m import h\n\ndef flow(p):\n    p = h(p)\n    p = own(p)\n    return p\n\ndef own(p):\n    return p\n"
    done = compiled(text, Options(stubs=True))
    own = yaml.safe_load(done.artifacts["values/_handlers/own.yaml"])
    assert own["handler"] == "flow.own"
    assert own["source"]["files"]["flow.py"] == text
    assert yaml.safe_load(done.artifacts["values/_handlers/h.yaml"])["image"] == {"repository": "", "tag": ""}


def test_flow_json_describes_graph_and_files() -> None:
    done = compiled(SMALL)
    found = json.loads(done.artifacts["flow.json"])
    assert found["version"] == 1
    assert set(found["files"]) == set(done.artifacts) - {"flow.json"}
    assert {one["label"] for one in found["edges"]} == {"next", "true", "false", "body", "done"}
    assert any(one["back"] for one in found["edges"])
    ids = {one["id"] for one in found["nodes"]}
    assert all(one["from"] in ids and one["to"] in ids for one in found["edges"])


def test_tools_file_describes_the_flow_as_a_tool() -> None:
    tools = yaml.safe_load(compiled(SMALL).artifacts["tools/flow.yaml"])
    assert tools["tools"]["flow"] == {"description": "Cleans a text.", "flow": "flow", "inputSchema": {"type": "object"}}
    assert tools["flows"]["flow"]["entry"] == "start-flow"


def test_99_labels_with_odd_characters_are_legal_dot() -> None:
    text = "def flow(p):\n    p['a'] = '\"<>&{}|\\\\ \\n é'\n    p = a.b(p)\n    p = a_b(p)\n    return p\n"
    dot = compiled(text, Options(actors={"x": "a.b", "y": "m.a_b"}, plot_width=30)).artifacts["flow.dot"]
    if shutil.which("dot"):
        assert subprocess.run(["dot", "-Tsvg"], input=dot, capture_output=True, text=True).returncode == 0
    assert 'label="a.b"' in dot
    assert 'label="a_b"' in dot


def calls_of(text: str) -> int:
    """Python calls of one compilation: the same on every machine."""
    count = 0

    def note(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        done = compile_source(text, "flow.py", Options(image=Image.parse("x:1")))
    finally:
        sys.setprofile(None)
    assert not isinstance(done, list)
    return count


def long_flow(statements: int) -> str:
    lines = ["from m import a, b, c", "", "def flow(p):"]
    for index in range(statements // 20):
        lines += [f'    p["k{index}"] = {index}', f'    if p["n"] > {index}:', "        p = a(p)", '    p["x"] = 1']
        lines += ["    p = b(p)", "    p = c(p)"] * 8
    return "\n".join([*lines, "    return p", ""])


def test_3_work_per_statement_does_not_grow() -> None:
    compiled(long_flow(100))
    per = [calls_of(long_flow(size)) / size for size in (250, 1000)]
    assert max(per) / min(per) <= 1.3, per


def test_while_loop_may_take_exactly_as_many_turns_as_its_bound() -> None:
    text = "def flow(p):\n    while p['n'] < 3:\n        p['n'] += 1\n        p['m'] = p['n']\n    return p\n"
    agree(text, {"n": 0}, options=Options(max_iterations=3))
    assert mesh(compiled(text, Options(max_iterations=3)), {"n": 0}).error == ""
    assert mesh(compiled(text, Options(max_iterations=3)), {"n": -1}).error == "RuntimeError"
