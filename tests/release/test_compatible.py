"""This tree's resource definition and values beside those of the previous release: what was there still is, and means the same."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ci.release import charts, parts, source
from ci.release.refusal import Refused
from tests.release.conftest import ROOT, absent

DEFINITION = "charts/asya-operator/templates/crd-asyncactors.yaml"
NARROWING = ("enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties", "format")
Schema = dict[str, Any]


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The previous release's files."""
    tree = tmp_path_factory.mktemp("previous") / "tree"
    try:
        source.export(ROOT, parts.previous_commit(ROOT), tree)
    except Refused as refused:
        absent(str(refused))
    return tree


def definition(tree: Path) -> Schema:
    """The schema of v1alpha1; the definition is a template only around it."""
    lines = [line for line in (tree / DEFINITION).read_text().splitlines() if not re.match(r"\s*\{\{-?", line)]
    text = re.sub(r"\{\{.*?\}\}", "x", "\n".join(lines))
    (version,) = [each for each in yaml.safe_load(text)["spec"]["versions"] if each["name"] == "v1alpha1"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema


def broken(old: Schema, new: Schema, path: str = "") -> Iterator[str]:
    """What an object that was valid by `old` may meet in `new`."""
    if old.get("type") != new.get("type"):
        yield f"{path}: type {old.get('type')} is {new.get('type')} now"
    for name in set(new.get("required", [])) - set(old.get("required", [])):
        yield f"{path}.{name}: is required now"
    if old.get("default") != new.get("default"):
        yield f"{path}: default {old.get('default')!r} is {new.get('default')!r} now"
    for key in NARROWING:
        if key in new and not _is_as_wide(key, old.get(key), new[key]):
            yield f"{path}: {key} {old.get(key)!r} is {new[key]!r} now"
    if old.get("x-kubernetes-preserve-unknown-fields") and not new.get("x-kubernetes-preserve-unknown-fields"):
        yield f"{path}: unknown fields are dropped now"
    rules = {rule["rule"] for rule in old.get("x-kubernetes-validations", [])}
    for rule in new.get("x-kubernetes-validations", []):
        if rule["rule"] not in rules:
            yield f"{path}: rule {rule['rule']} is new"
    for name, inner in old.get("properties", {}).items():
        if name not in new.get("properties", {}):
            if not new.get("x-kubernetes-preserve-unknown-fields"):
                yield f"{path}.{name}: is gone"
            continue
        yield from broken(inner, new["properties"][name], f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
            yield from broken(old[key], new[key], f"{path}[]")


def _is_as_wide(key: str, old: Any, new: Any) -> bool:
    if old is None:
        return False
    if key == "enum":
        return set(old) <= set(new)
    if key.startswith("min"):
        return bool(new <= old)
    if key.startswith("max"):
        return bool(new >= old)
    return bool(old == new)


@pytest.mark.point(57)
@pytest.mark.behaviour("release:compatible")
def test_the_resource_takes_everything_that_the_previous_release_took_and_means_the_same(previous: Path) -> None:
    assert list(broken(definition(previous), definition(ROOT))) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"properties": {"a": {}}}, {"properties": {}}, [".a: is gone"]),
        ({"properties": {"a": {}}}, {"properties": {}, "x-kubernetes-preserve-unknown-fields": True}, []),
        ({"type": "string"}, {"type": "integer"}, [": type string is integer now"]),
        ({}, {"required": ["a"]}, [".a: is required now"]),
        ({"default": 1}, {"default": 2}, [": default 1 is 2 now"]),
        ({"maximum": 9}, {"maximum": 8}, [": maximum 9 is 8 now"]),
        ({"maximum": 9}, {"maximum": 10}, []),
        ({"maximum": 9}, {}, []),
        ({}, {"pattern": "a"}, [": pattern None is 'a' now"]),
        ({"enum": ["a"]}, {"enum": ["a", "b"]}, []),
        ({"enum": ["a", "b"]}, {"enum": ["a"]}, [": enum ['a', 'b'] is ['a'] now"]),
        ({"items": {"minLength": 1}}, {"items": {"minLength": 2}}, ["[]: minLength 1 is 2 now"]),
        ({}, {"x-kubernetes-validations": [{"rule": "x"}]}, [": rule x is new"]),
        ({"properties": {"a": {}}}, {"properties": {"a": {}, "b": {"default": 1}}}, []),
    ],
)
def test_what_breaks_a_user_is_told_and_what_does_not_is_not(old: Schema, new: Schema, told: list[str]) -> None:
    assert list(broken(old, new)) == told


@pytest.mark.point(24)
@pytest.mark.parametrize("chart", charts.CHARTS)
def test_every_value_of_the_previous_release_is_still_taken(previous: Path, chart: str) -> None:
    file = f"charts/{chart}/values.schema.json"
    old, new = (json.loads((tree / file).read_text()) for tree in (previous, ROOT))
    gone = [problem for problem in broken(old, new) if problem.endswith("is gone")]
    assert gone == []
