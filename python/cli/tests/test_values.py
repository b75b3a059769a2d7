"""Values files: read as Helm reads them, checked by the chart's schema."""

import json
from pathlib import Path

import pytest

from asya_cli.run import values
from asya_cli.run.yaml_text import parse
from asya_core.wire.errors import RemoteFault

ROOT = Path(__file__).parents[3]


def test_shipped_schema_is_that_of_the_chart():
    chart = ROOT / "charts" / "asya-actor" / "values.schema.json"
    shipped = ROOT / "python" / "cli" / "asya_cli" / "run" / "values.schema.json"
    assert shipped.read_bytes() == chart.read_bytes(), "copy charts/asya-actor/values.schema.json over the shipped one"


def test_every_fixed_object_of_the_schema_is_closed_and_described():
    def walk(node, path):
        if "properties" in node and path != "global":
            assert node.get("additionalProperties") is False, path
        for key, inner in node.get("properties", {}).items():
            if not path.startswith("#"):
                assert inner.get("description") or path.count(".") > 1 or "extraTriggers" in path, f"{path}.{key} has no description"
            walk(inner, f"{path}.{key}" if path else key)

    walk(values.schema(), "")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 2020-01-01", "2020-01-01"),
        ("a: 1:30", "1:30"),
        ("a: 1e3", 1000.0),
        ('a: "1e3"', "1e3"),
        ("a: 0755", 493),
        ("a: 0x10", 16),
        ("a: yes", True),
        ("a: ~", None),
        ("a: .5", 0.5),
        ("a: 1_000", 1000),
        ("1: x", None),
    ],
)
def test_scalars_are_read_as_helm_reads_them(text, value):
    read = parse(text, file="f").value
    assert read.get("a") == value
    assert type(read.get("a")) is type(value)


def test_merge_keys_and_anchors_work():
    assert parse("x: &x {b: 1}\na: {<<: *x, c: 2}", file="f").value["a"] == {"b": 1, "c": 2}


def test_number_as_key_becomes_a_text():
    assert parse("1: x", file="f").value == {"1": "x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: {c: 1, c: 2}", r"f:2:11: key c is given twice, first in line 2"),
        ("on: 1", r"f:1:1: YAML reads the key on as a truth value"),
        ("a: .nan", r"f:1:4: \.nan is no JSON number"),
        ("a: !!python/object:os.system {}", r"f:1:4: could not determine a constructor"),
        ("a: 1\n---\nb: 2", r"f:2:1: but found another document"),
        ("[a, b]: 1", r"f:1:1: a key must be a plain text"),
    ],
)
def test_bad_yaml_names_its_place(text, message):
    with pytest.raises(RemoteFault, match=message):
        parse(text, file="f")


def test_aliases_cannot_blow_up():
    text = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "\n".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]" for n in range(6)
    )
    with pytest.raises(RemoteFault, match="over 100000 entries"):
        parse(text, file="f")


ACCEPTED = [
    {},
    {"env": {"A": 1, "B": True, "C": "x", "D": None, "E": {"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}}},
    {"image": {"repository": "r", "tag": "v1"}, "resources": {"limits": {"nvidia.com/gpu": 1, "memory": "2Gi"}}},
    {"retry": None, "scaling": {"pausedReplicas": None, "prewarm": {"clean-text": {"percent": 100}}}},
    {"tolerations": {"gpu": {"key": "nvidia.com/gpu", "operator": "Exists"}}, "sidecar": {"prefetch": "auto"}},
    {"deploy": {"anything": [1, {"goes": True}]}, "global": {"mine": 1}, "timeout": "500ms"},
]
REFUSED = [
    ({"handlerMod": "payload"}, "unknown key handlerMod"),
    ({"image": {"tags": "x"}}, "unknown key image.tags"),
    ({"concurrency": 65}, "concurrency is 65; expected at most 64"),
    ({"concurrency": "2"}, 'concurrency is the text "2"; expected a whole number'),
    ({"handlerMode": "raw"}, 'handlerMode is "raw"; expected one of "payload", "envelope"'),
    ({"env": {"A": [1]}}, "env.A is a list"),
    ({"env": {"true": 1}}, "env.true is not a legal name"),
    ({"env": {"1A": 1}}, "env.1A is not a legal name"),
    ({"source": {"files": {"../x.py": ""}}}, "not a legal name"),
    ({"volumeMounts": {"data": {}}}, "volumeMounts.data lacks mountPath"),
    ({"sidecar": {"prefetch": 0}}, "sidecar.prefetch"),
    ({"timeout": "5x", "concurrency": 0}, "(and 1 more)"),
]


@pytest.mark.parametrize("accepted", ACCEPTED, ids=json.dumps)
def test_good_values_pass(accepted):
    values.read(json.dumps(accepted), file="f")


@pytest.mark.parametrize(("refused", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_bad_values_are_named(refused, message):
    with pytest.raises(RemoteFault) as caught:
        values.read(json.dumps(refused), file="f")
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("key", "text", "result"),
    [
        ("env.A", "0.5", {"env": {"A": 0.5, "B": "x"}}),
        ("env.B", "null", {"env": {}}),
        ("env.B", "plain", {"env": {"B": "plain"}}),
        (r"source.files.a\.py", "pass", {"env": {"B": "x"}, "source": {"files": {"a.py": "pass"}}}),
    ],
)
def test_set_changes_one_value(key, text, result):
    before = {"env": {"B": "x"}}
    assert values.assign(before, key, text) == result
    assert before == {"env": {"B": "x"}}


def test_set_below_a_scalar_is_refused():
    with pytest.raises(RemoteFault, match="handler is the text"):
        values.assign({"handler": "a.b"}, "handler.x", "1")
