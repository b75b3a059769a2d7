"""The pure modules: status table, percentages, strict JSON, schemas, tools, access, ids, settings."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asya_core.wire.errors import RemoteFault
from asya_gateway.access import ANONYMOUS, Principal, Role
from asya_gateway.progress import hair, percent, sentence
from asya_gateway.schema import MAX_PROBLEMS, compile_schema, pointer
from asya_gateway.settings import read_gateway_settings
from asya_gateway.status import FINAL, OPEN, TRANSITIONS, Status, final_status, may_become
from asya_gateway.store.queries import expand, for_postgres, for_sqlite, migrations
from asya_gateway.strict_json import parse
from asya_gateway.tools import read_tools
from asya_gateway.ulid import new_ulid

# ------------------------------------------------------------------------------------------------------------------ status


def test_every_pair_of_statuses_is_decided_and_finals_absorb():
    assert set(TRANSITIONS) == set(Status)
    for now, wanted in itertools.product(Status, Status):
        expected = now in OPEN and wanted is not Status.PENDING
        assert may_become(now, wanted) is expected, (now, wanted)
    assert set(Status) == FINAL | OPEN


def test_guard_of_the_statements_is_the_table():
    guard = "status IN ('pending', 'running')"
    assert {status.value for status in OPEN} == {"pending", "running"}
    for name in ("move_on", "finish", "overdue"):
        assert guard in for_sqlite()[name]


@pytest.mark.parametrize(
    ("reported", "code", "status"),
    [
        ("succeeded", None, "succeeded"),
        ("succeeded", "cancelled", "succeeded"),
        ("failed", None, "failed"),
        ("failed", "timeout", "failed"),
        ("failed", "deadline_exceeded", "expired"),
        ("failed", "cancelled", "cancelled"),
    ],
)
def test_final_report_has_its_status(reported, code, status):
    assert final_status(reported, code) == status


# ---------------------------------------------------------------------------------------------------------------- progress


@pytest.mark.parametrize(
    ("hop", "state", "length", "expected"),
    [
        (0, "received", 4, 0),
        (0, "done", 4, 25),
        (1, "running", 4, 25),
        (3, "done", 4, 99),
        (9, "done", 4, 99),
        (0, "done", 0, 0),
        (2, "running", 3, 66),
    ],
)
def test_percentage_counts_finished_hops(hop, state, length, expected):
    assert percent(hop=hop, state=state, route_length=length) == expected


@given(st.integers(0, 10_000), st.sampled_from(["received", "running", "done", "retrying"]), st.integers(1, 10_000))
def test_only_the_end_is_100(hop, state, length):
    assert 0 <= percent(hop=hop, state=state, route_length=length) < 100


def test_keep_alive_rises_for_ever_and_never_reaches_the_next_per_cent():
    values = [hair(beats) for beats in range(10_000)]
    assert values[0] == 0
    assert all(left < right for left, right in itertools.pairwise(values))
    assert values[-1] < 1


def test_sentence_tells_actor_and_place():
    assert sentence(actor="tokenize", hop=1, route=["a", "tokenize", "c"]) == "tokenize (2 of 3)"
    assert sentence(actor="a", hop=0, route=["a"], state="retrying") == "a (1 of 1), retrying"
    assert sentence(actor=None, hop=0, route=[]) == "envelope"


# ------------------------------------------------------------------------------------------------------------- strict JSON

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
@settings(max_examples=200, deadline=None)
def test_what_is_json_is_read_as_it_is(value):
    text = json.dumps(value, ensure_ascii=False)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    assert parse(data) == value


@pytest.mark.parametrize("depth", [64, 65])
def test_depth_is_64_at_most(depth):
    body = b"[" * depth + b"]" * depth
    if depth <= 64:
        parse(body)
    else:
        with pytest.raises(RemoteFault, match="deeper than 64"):
            parse(body)


@pytest.mark.parametrize("inner", [b'"' + b"[" * 100 + b'"', b",".join([b"[]"] * 100), b",".join([b'{"a":{}}'] * 100)])
def test_depth_is_not_the_count_of_brackets(inner):
    assert len(parse(b"[" * 62 + inner + b"]" * 62)) == 1
    assert parse(b'"' + b"[" * 100 + b'"') == "[" * 100
    with pytest.raises(RemoteFault, match="deeper than 64"):
        parse(b"[" * 65 + inner + b"]" * 65)


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'"\xff"', "not UTF-8 at byte 1"),
        (b"", "no JSON"),
        (b"{} x", "no JSON"),
        (b'{"a": 1, "a": 2}', "key 'a' twice"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b"1e400", "beyond a double"),
        (b"9" * 5000, "too many digits"),
        (b'["\\ud800"]', "surrogate"),
        (b'{"\\udc00": 1}', "surrogate"),
        (b"[" * 100_000, "deeper than 64"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "deeper than 64"),
    ],
)
def test_what_a_lenient_parser_takes_is_refused(body, part):
    with pytest.raises(RemoteFault) as caught:
        parse(body)
    assert caught.value.code == "bad_json"
    assert part in caught.value.message


@pytest.mark.parametrize(
    "body", [b"-0.0", b"1e308", b'"\\ud83d\\ude00"', b'"\\\\ud800"', b" \n{}\t", b'{"a": {"a": 1}}', b"18446744073709551616"]
)
def test_odd_but_legal_json_is_taken(body):
    parse(body)


# ----------------------------------------------------------------------------------------------------------------- schemas


def problems(schema: Any, value: Any) -> list[tuple[str, str]]:
    return [(each.pointer, each.message) for each in compile_schema(schema, where="t").problems(value)]


def test_problems_are_pointers_and_sentences():
    schema = {
        "type": "object",
        "properties": {"a/b": {"type": "integer"}, "list": {"type": "array", "items": {"enum": [1, 2]}}},
        "required": ["x~y"],
        "additionalProperties": False,
    }
    found = dict(problems(schema, {"a/b": "1", "list": [1, 3], "zzz": 0}))
    assert found["/a~1b"] == "is string; expected integer"
    assert found["/x~0y"] == "is required"
    assert found["/list/1"] == "3 is not one of [1, 2]"
    assert found["/zzz"] == "is not known; expected some of a/b, list"


def test_problems_are_twenty_at_most_and_short():
    schema = {"type": "array", "items": {"type": "string", "maxLength": 1}}
    found = problems(schema, ["x" * 10_000] * 100)
    assert len(found) == MAX_PROBLEMS
    assert max(len(message) for _, message in found) <= 200


def test_every_missing_property_is_told():
    assert [place for place, _ in problems({"required": ["a", "b"]}, {})] == ["/a", "/b"]


@pytest.mark.parametrize(
    ("value", "kind"), [(None, "null"), (True, "boolean"), ("x", "string"), (1, "integer"), (1.5, "number"), ([], "array"), ({}, "object")]
)
def test_kind_of_a_wrong_value_is_told(value, kind):
    wanted = "string" if kind != "string" else "null"
    assert problems({"type": [wanted]}, value) == [("", f"is {kind}; expected {wanted}")]


def test_schema_without_an_end_is_no_danger():
    assert problems({"$ref": "#"}, {})[0][1].startswith("is nested too deep")
    with pytest.raises(RemoteFault, match="too large"):
        compile_schema({"enum": [list(range(30_000))]}, where="t")


@pytest.mark.parametrize("value", [1, 1.0, True, "1"])
def test_integer_is_2020_12s(value):
    assert bool(problems({"type": "integer"}, value)) is (isinstance(value, (bool, str)))


@pytest.mark.parametrize(
    ("schema", "sentence_part"),
    [
        ([], "is no mapping"),
        ({"type": "objekt"}, "is no JSON Schema"),
        ({"properties": []}, "is no JSON Schema"),
        ({"$ref": "http://evil.example/x"}, "outside itself"),
        ({"$defs": {"a": {"$ref": "file:///etc/passwd"}}}, "outside itself"),
        ({"$ref": "#/$defs/none"}, "which it does not have"),
    ],
)
def test_schema_that_is_none_is_refused_at_load(schema, sentence_part):
    with pytest.raises(RemoteFault, match="t ") as caught:
        compile_schema(schema, where="t")
    assert sentence_part in caught.value.message


def test_pointer_escapes():
    assert pointer(["a/b", 0, "c~d"]) == "/a~1b/0/c~0d"


# ------------------------------------------------------------------------------------------------------------------- tools

TOOL = {"actor": "a"}


def tools(**definitions: Any) -> Any:
    return read_tools({"f.yaml": {"tools": definitions}})


def test_tool_has_defaults():
    tool = tools(t=TOOL).tools["t"]
    assert (tool.route, tool.timeout_seconds, tool.mode, tool.wait_seconds) == (("a",), 3600.0, "auto", 25.0)
    assert (tool.cancel_on_close, tool.progress, tool.allow, tool.flow) == (True, True, None, None)


def test_flow_and_tool_may_be_in_two_files():
    registry = read_tools(
        {"a.yaml": {"tools": {"t": {"flow": "f"}}}, "b.yaml": {"flows": {"f": {"entry": "start-f", "graph": {}}}}, "c.yaml": None}
    )
    assert registry.tools["t"].route == ("start-f",)
    assert registry.tools["t"].flow == "f"


@pytest.mark.parametrize(
    ("definition", "part"),
    [
        ({}, "names none of actor, flow and route"),
        ({"actor": "a", "route": ["b"]}, "names actor and route"),
        ({"actor": "A"}, "expected an actor's name"),
        ({"actor": "happy-end"}, "expected an actor's name"),
        ({"route": []}, "expected an actor's name"),
        ({"route": ["a", "error-end"]}, "t.route[1]"),
        ({"flow": "none"}, "which is none of flows"),
        ({**TOOL, "descripton": "x"}, "t.descripton is no key here"),
        ({**TOOL, "timeout": "25h"}, "up to 24h"),
        ({**TOOL, "timeout": 5}, "expected a duration"),
        ({**TOOL, "mode": "later"}, "expected auto, wait, task"),
        ({**TOOL, "progress": "yes"}, "expected true or false"),
        ({**TOOL, "headers": {"asya-hops": 1}}, "begins with asya-"),
        ({**TOOL, "inputSchema": {"type": "string"}}, "no type object"),
        ({**TOOL, "resultText": "answer"}, "expected a JSON Pointer"),
        ({**TOOL, "headers": {"team": "a", "asya-x": 1}}, "headers.asya-x"),
        ({**TOOL, "allow": "caller"}, "no list of principals"),
        ({**TOOL, "description": 5}, "is no text"),
        ({**TOOL, "timeout": "soon"}, "expected a duration"),
        ("actor: a", "is no mapping"),
    ],
)
def test_tool_that_is_not_right_is_refused_with_file_and_key(definition, part):
    with pytest.raises(RemoteFault) as caught:
        tools(t=definition)
    assert caught.value.code == "bad_tools"
    assert caught.value.message.startswith("f.yaml: tools.t")
    assert part in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("document", "part"),
    [
        ({"flows": {"f": {"entry": "start-f"}, "g": {"entry": "Bad"}}}, "flows.g.entry"),
        ({"flows": {"f": {"entry": "a", "grph": {}}}}, "did you mean graph"),
        ({"tool": {}}, "did you mean tools"),
        ([], "is no mapping"),
        ({"tools": {1: {}}}, "is no mapping"),
    ],
)
def test_document_that_is_not_right_is_refused(document, part):
    with pytest.raises(RemoteFault) as caught:
        read_tools({"f.yaml": document})
    assert part in str(caught.value)


def test_flow_in_two_files_is_refused_and_everything_given_is_kept():
    flows = {"flows": {"f": {"entry": "a"}}}
    with pytest.raises(RemoteFault, match="given twice"):
        read_tools({"a.yaml": flows, "b.yaml": flows})
    tool = tools(
        t={
            **TOOL,
            "headers": {"team": "a"},
            "allow": {"caller": True, "stranger": False},
            "resultText": "/a",
            "outputSchema": {"type": "object"},
            "title": " T ",
        }
    ).tools["t"]
    assert (tool.allow, tool.result_text, tool.title, tool.output is not None) == (frozenset({"caller"}), "/a", "T", True)


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "asya_result", "ü"])
def test_name_that_is_not_legal_is_refused(name):
    with pytest.raises(RemoteFault):
        tools(**{name: TOOL})


def test_route_may_name_steps():
    assert tools(t={"route": ["a", "b:step"]}).tools["t"].route == ("a", "b:step")


def test_name_in_two_files_is_refused():
    with pytest.raises(RemoteFault, match=r"is also in a\.yaml"):
        read_tools({"a.yaml": {"tools": {"t": TOOL}}, "b.yaml": {"tools": {"t": TOOL}}})


# ------------------------------------------------------------------------------------------------------------------ access


def who(*roles: str, tools: frozenset[str] | None = None) -> Principal:
    return Principal(name="caller", roles=frozenset(Role(role) for role in roles), tools=tools)


@pytest.mark.parametrize(
    ("principal", "calls", "sees_others", "changes_others"),
    [
        (who("call"), True, False, False),
        (who("read"), True, True, False),
        (who("operate"), True, True, True),
        (who(), False, False, False),
        (ANONYMOUS, True, True, True),
    ],
)
def test_roles_include_what_stands_above_them(principal, calls, sees_others, changes_others):
    assert principal.may_call("t", None) is calls
    assert principal.may_see("stranger") is sees_others
    assert principal.may_change("stranger") is changes_others


def test_own_envelopes_are_seen_and_changed():
    assert who("call").may_see("caller")
    assert who("call").may_change("caller")


def test_tool_list_of_key_and_allow_of_tool_both_count():
    assert who("call", tools=frozenset({"t"})).may_call("t", None)
    assert not who("call", tools=frozenset({"t"})).may_call("u", None)
    assert who("call").may_call("t", {"caller"})
    assert who("operate").may_call("t", {"asya:operate"})
    assert not who("call").may_call("t", {"stranger", "asya:operate"})


# ------------------------------------------------------------------------------------------------------------ the small ones


@given(st.integers(0, 2**48 - 2), st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_ids_sort_by_time(milliseconds, one, other):
    first, second = new_ulid(milliseconds, one), new_ulid(milliseconds + 1, other)
    assert len(first) == 26
    assert first < second


def test_id_is_time_and_randomness_in_base_32():
    assert new_ulid(0, b"\xff" * 10) == "0000000000ZZZZZZZZZZZZZZZZ"
    assert new_ulid(2**48 - 1, bytes(10)) == "7ZZZZZZZZZ0000000000000000"


def test_statements_are_the_same_for_both_databases():
    assert set(for_sqlite()) == set(for_postgres())
    assert "SKIP LOCKED" in for_postgres()["claim_unpublished"]
    assert [number for number, _, _ in migrations("sqlite")] == [number for number, _, _ in migrations("postgres")]


def test_list_is_one_place_per_item_and_nothing_if_empty():
    assert expand("x IN (:ids[]) AND y = :y", {"ids": ["a", "b"], "y": 1}) == (
        "x IN (:ids_0, :ids_1) AND y = :y",
        {"y": 1, "ids_0": "a", "ids_1": "b"},
    )
    assert expand("x IN (:ids[])", {"ids": []})[0] == "x IN (NULL)"


def test_list_is_one_array_and_rows_are_one_document_on_postgres():
    assert "id = ANY(%(ids)s)" in for_postgres()["find_states"]
    assert "[]" not in "".join(for_postgres().values())
    assert {name for name, text in for_postgres().items() if "%(rows)s" in text} == {"insert_calls", "insert_events"}
    assert "rows" not in for_sqlite()["insert_calls"]


def test_no_statement_is_built_anywhere_else():
    from pathlib import Path

    import asya_gateway

    folder = Path(asya_gateway.__file__).parent
    for file in folder.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        if file.parent.name != "store":
            assert "SELECT " not in text, file
            assert "INSERT " not in text, file


@pytest.mark.parametrize(("given_text", "seconds"), [("7d", 604_800.0), ("168h", 604_800.0), ("90m", 5_400.0)])
def test_retention_is_days_or_hours(given_text, seconds):
    environment = {
        "ASYA_NAMESPACE": "n",
        "ASYA_TRANSPORT": "embedded",
        "ASYA_EMBEDDED_PATH": "q.db",
        "ASYA_GATEWAY_INTERNAL_AUTH": "key",
        "ASYA_GATEWAY_RETENTION": given_text,
    }
    assert read_gateway_settings(environment).retention_seconds == seconds
