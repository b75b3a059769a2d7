"""Values of the chart asya-actor: check a file's content by the chart's schema, name what is wrong in one sentence.

Called by `project`. Pure but for reading the schema, which is shipped with the package and compared with the chart's by a test.
"""

import copy
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import jsonschema

from asya_cli.errors import nearest
from asya_cli.run.yaml_text import Document, KeyPath, parse
from asya_core.wire.errors import RemoteFault

__all__ = ["assign", "check", "read", "schema"]


@cache
def schema() -> dict[str, Any]:
    """The chart's values.schema.json."""
    text = resources.files("asya_cli.run").joinpath("values.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


@cache
def _validator() -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(schema())


def read(text: str, *, file: str) -> Document:
    """The values in `text`, checked. Raises RemoteFault ``bad_yaml`` or ``bad_values`` naming `file`, line and column."""
    document = parse(text, file=file)
    check(document, file=file)
    return document


def check(document: Document, *, file: str) -> None:
    """Raise RemoteFault ``bad_values`` for the first thing that the schema does not allow, with the count of the others."""
    if not isinstance(document.value, dict):
        raise RemoteFault("bad_values", f"{file}: values are {_kind(document.value)}; expected a mapping", "write KEY: VALUE lines")
    errors = list(_validator().iter_errors(document.value))
    if not errors:
        return
    places = [_sentence(error) for error in errors]
    places.sort(key=lambda found: document.lines.get(found[0], (1 << 30, 0)))
    path, message, hint = places[0]
    more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
    raise RemoteFault("bad_values", f"{file}{document.place(path)}: {message}{more}", hint)


def assign(values: Mapping[str, Any], key: str, text: str) -> dict[str, Any]:
    """A copy of `values` with the dotted `key` set to `text`, as ``helm --set`` does: a dot in a name is written ``\\.``.

    `text` that is JSON is taken as such, anything else is a text; ``null`` takes the entry away. Raises RemoteFault ``bad_set``.
    """
    names = [name.replace("\0", ".") for name in key.replace("\\.", "\0").split(".")]
    if not all(names):
        raise RemoteFault("bad_set", f"--set key {key!r} has an empty part", "write ACTOR.KEY=VALUE, for instance judge.env.THRESHOLD=0.9")
    changed = copy.deepcopy(dict(values))
    inner = changed
    for name in names[:-1]:
        below = inner.get(name)
        if below is None:
            below = inner[name] = {}
        if not isinstance(below, dict):
            raise RemoteFault("bad_set", f"--set {key}: {name} is {_kind(below)}, not a mapping", "leave the rest of the key away")
        inner = below
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if value is None:
        inner.pop(names[-1], None)
    else:
        inner[names[-1]] = value
    return changed


def _sentence(error: jsonschema.ValidationError) -> tuple[KeyPath, str, str]:
    path: KeyPath = tuple(error.absolute_path)
    name = _dotted(path)
    limit: Any = error.validator_value
    if "propertyNames" in error.absolute_schema_path and isinstance(error.instance, str):
        inner = (*path, error.instance)
        return inner, f"{_dotted(inner)} is not a legal name here", "rename it; true and false need another name"
    if "patternProperties" in error.absolute_schema_path:
        return path, f"{name} is not a legal name here", "rename it; true and false need another name"
    match error.validator:
        case "additionalProperties" if isinstance(error.instance, dict):
            known: dict[str, Any] = dict(error.schema.get("properties", {})) if isinstance(error.schema, dict) else {}
            unknown = next(key for key in error.instance if key not in known)
            hint = nearest(unknown, known)
            if hint.startswith("did you mean"):
                hint = f"did you mean {_dotted((*path, hint[13:-1]))}?"
            return (*path, unknown), f"unknown key {_dotted((*path, unknown))}", hint
        case "type":
            expected = limit if isinstance(limit, list) else [limit]
            wanted = " or ".join(_KINDS[kind] for kind in expected if kind != "null")
            return path, f"{name} is {_kind(error.instance)}; expected {wanted}", _describe(error)
        case "enum":
            options = ", ".join(json.dumps(option) for option in limit)
            return path, f"{name} is {_short(error.instance)}; expected one of {options}", _describe(error)
        case "pattern" if limit == schema()["definitions"]["duration"]["pattern"]:
            return path, f"{name} is {_short(error.instance)}; expected a duration", "write a whole number with ms, s, m or h, such as 30s"
        case "minimum" | "maximum" as bound:
            word = "at least" if bound == "minimum" else "at most"
            return path, f"{name} is {_short(error.instance)}; expected {word} {limit}", _describe(error)
        case "required":
            missing = next(key for key in limit if isinstance(error.instance, dict) and key not in error.instance)
            return path, f"{name} lacks {missing}", _describe(error)
        case "anyOf":
            if len(path) >= 2 and path[-2] == "env":
                return (
                    path,
                    f"{name} is {_kind(error.instance)}; expected a text, number, truth value or {{valueFrom: …}}",
                    "quote JSON: '[1, 2]'",
                )
            return path, f"{name} is {_short(error.instance)}, which is not allowed here", _describe(error)
        case _:
            return path, f"{name or 'values'}: {' '.join(error.message.split())[:200]}", _describe(error)


def _describe(error: jsonschema.ValidationError) -> str:
    text = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
    if not text:
        node: Any = schema()
        for part in error.absolute_path:
            node = node.get("properties", {}).get(part, {}) if isinstance(node, dict) else {}
        text = node.get("description", "") if isinstance(node, dict) else ""
    return text or "see the chart's values.yaml"


_KINDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}


def _kind(value: Any) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return "true" if value else "false"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str():
            return f"the text {_short(value)}"
        case _:
            return f"the number {_short(value)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part).replace(".", "\\.") for part in path)
