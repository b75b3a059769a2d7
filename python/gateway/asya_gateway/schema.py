"""Checks arguments against a tool's JSON Schema (2020-12), and tells what is wrong as JSON Pointers.

Called by `tools` at load, by `service` per call. Fetches nothing: a reference that leaves the schema is refused at load.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jsonschema
import referencing
from jsonschema.validators import Draft202012Validator

from asya_core.wire.errors import RemoteFault

__all__ = ["MAX_PROBLEMS", "Checker", "Problem", "compile_schema", "pointer"]

MAX_PROBLEMS: Final = 20
_MAX_MESSAGE: Final = 200
_MAX_SCHEMA_NODES: Final = 20_000
_REFERENCES: Final = ("$ref", "$dynamicRef")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a value.

    Attributes:
        pointer: where, as a JSON Pointer (RFC 6901); empty for the whole value.
        message: one sentence, at most 200 characters.
    """

    pointer: str
    message: str


class Checker:
    """A compiled schema."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema
        # An empty registry: whatever is not in the schema itself cannot be found, and is never fetched.
        self._validator = Draft202012Validator(dict(schema), registry=referencing.Registry())

    def problems(self, value: Any) -> list[Problem]:
        """What is wrong with `value`, at most 20, none if it is as the schema wants."""
        found: list[Problem] = []
        try:
            for error in self._validator.iter_errors(value):
                found.extend(_problems_of(error))
                if len(found) >= MAX_PROBLEMS:
                    break
        except RecursionError:
            found.append(Problem(pointer="", message="is nested too deep for this schema"))
        return found[:MAX_PROBLEMS]


def compile_schema(schema: Any, *, where: str) -> Checker:
    """A checker of `schema`. Raises RemoteFault ``bad_tools`` naming `where` if it is no JSON Schema or refers outside itself."""
    if not isinstance(schema, dict):
        raise _refused(where, "is no mapping", "write {type: object, properties: …}")
    for node in _nodes(schema, where):
        for key in _REFERENCES:
            reference = node.get(key) if isinstance(node, dict) else None
            if isinstance(reference, str) and not reference.startswith("#"):
                raise _refused(where, f"refers to {reference!r} outside itself", "put it under $defs and refer to #/$defs/NAME")
    try:
        Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        place = pointer(error.absolute_path)
        raise _refused(where, f"is no JSON Schema at {place or 'its top'}: {_cut(error.message)}", "see JSON Schema 2020-12") from error
    checker = Checker(schema)
    try:
        checker.problems({})
    except referencing.exceptions.Unresolvable as error:
        raise _refused(where, f"refers to {error.ref!r}, which it does not have", "define it under $defs") from error
    return checker


def pointer(path: Any) -> str:
    """The JSON Pointer of a path of keys and indices."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def _problems_of(error: jsonschema.ValidationError) -> Iterator[Problem]:
    place = pointer(error.absolute_path)
    instance: Any = error.instance
    match error.validator:
        case "required" if isinstance(instance, dict):
            missing = error.message.split("'")[1] if "'" in error.message else "a property"
            yield Problem(pointer=f"{place}{pointer([missing])}", message="is required")
        case "additionalProperties" if isinstance(instance, dict) and isinstance(error.schema, dict):
            known = error.schema.get("properties", {})
            unknown = [key for key in instance if key not in known]
            expected = f"expected some of {', '.join(sorted(known))}" if known else "expected no arguments"
            for key in unknown[:MAX_PROBLEMS]:
                yield Problem(pointer=f"{place}{pointer([key])}", message=_cut(f"is not known; {expected}"))
        case "type":
            wanted = error.validator_value
            names = " or ".join(wanted) if isinstance(wanted, list) else str(wanted)
            yield Problem(pointer=place, message=f"is {_kind(instance)}; expected {names}")
        case _:
            yield Problem(pointer=place, message=_cut(error.message))


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "string"
        case int():
            return "integer"
        case float():
            return "number"
        case list():
            return "array"
        case _:
            return "object"


def _nodes(schema: Any, where: str) -> Iterator[Any]:
    waiting: list[tuple[int, Any]] = [(0, schema)]
    seen = 0
    while waiting:
        depth, node = waiting.pop()
        seen += 1
        if seen > _MAX_SCHEMA_NODES or depth > 100:
            raise _refused(where, "is too large", "at most 20,000 entries, 100 levels")
        yield node
        if isinstance(node, dict):
            waiting.extend((depth + 1, inner) for inner in node.values())
        elif isinstance(node, list):
            waiting.extend((depth + 1, inner) for inner in node)


def _cut(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= _MAX_MESSAGE else line[: _MAX_MESSAGE - 1] + "…"


def _refused(where: str, problem: str, hint: str) -> RemoteFault:
    return RemoteFault("bad_tools", f"{where} {problem}", hint)
