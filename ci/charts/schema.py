"""Makes a chart's values.schema.json from its values.yaml. JSON Schema draft 07, and no newer keyword: older Helms ignore those silently.

What is required is checked by the charts' templates, so that the defaults validate. Regular expressions are those of Go (RE2).
Called by `generate`. Knows no template.
"""

from typing import Any

from values_file import Key

__all__ = ["schema"]

NO_TRUTH = {"^(true|false)$": {"enum": ["quote the name: YAML reads an unquoted on, off, yes, no, y or n as true or false"]}}
"""An unquoted `on` in YAML is `true`, which Helm makes a key of; the user meant another name. No value satisfies this: Helm prints it."""
SEGMENT = r"([^/.]|\.[^/.]|\.\.[^/])[^/]*"
ENV_NAME = {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}


def _map(entry: Any, **names: Any) -> dict[str, Any]:
    made = {"type": ["object", "null"], "additionalProperties": entry, "patternProperties": NO_TRUTH}
    return made | ({"propertyNames": names} if names else {})


def _ref(name: str) -> dict[str, Any]:
    return {"allOf": [{"$ref": f"#/definitions/{name}"}]}


_TEXT = {"type": ["string", "null"]}
_OBJECT = {"type": ["object", "null"]}
_TRUTH = {"type": ["boolean", "null"]}
_DURATION = {"anyOf": [{"$ref": "#/definitions/duration"}, {"type": "null"}]}
_TOOL = {
    "type": ["object", "null"],
    "additionalProperties": False,
    "properties": {
        **dict.fromkeys(("description", "title", "actor", "flow", "resultText"), _TEXT),
        "route": {"type": ["array", "null"], "items": {"type": "string"}},
        "inputSchema": {**_OBJECT, "allOf": [{"properties": {"properties": {"type": "object", "patternProperties": NO_TRUTH}}}]},
        **dict.fromkeys(("outputSchema", "defaults", "headers"), _OBJECT),
        **dict.fromkeys(("timeout", "wait"), _DURATION),
        **dict.fromkeys(("cancelOnClose", "progress"), _TRUTH),
        "mode": {"enum": ["auto", "wait", "task", None]},
        "result": {"enum": ["json", "mcp", None]},
        "allow": {"type": ["array", "object", "string", "null"]},
    },
}
"""A tool as `asya_gateway.tools` reads it; a test compares the keys."""
_FLOW = {
    "type": ["object", "null"],
    "additionalProperties": False,
    "required": ["entry"],
    "properties": {"entry": {"type": "string"}, "graph": _OBJECT},
}
_SECRET = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "optional": {"type": "boolean"}},
}
DEFINITIONS: dict[str, Any] = {
    "duration": {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"},
    "envValue": {
        "anyOf": [
            {"type": ["string", "number", "boolean", "null"]},
            {
                "type": "object",
                "additionalProperties": False,
                "required": ["valueFrom"],
                "properties": {"valueFrom": {"type": "object", "minProperties": 1}},
            },
        ]
    },
    "envFromEntry": {
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": {
            "prefix": {"type": "string"},
            "secretRef": {"$ref": "#/definitions/nameRef"},
            "configMapRef": {"$ref": "#/definitions/nameRef"},
        },
    },
    "nameRef": _SECRET,
    "quantities": {"type": ["object", "null"], "additionalProperties": {"type": ["string", "number", "null"]}},
}
KINDS: dict[str, dict[str, Any]] = {
    "duration": _ref("duration"),
    "quantities": _ref("quantities"),
    "actor": _ref("actor"),
    "library": {"allOf": [{"$ref": "#/definitions/actor"}, {"properties": {"libraryOnly": {"enum": [True]}}}]},
    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "flags": _map({"type": ["boolean", "null"]}),
    "strings": _map({"type": ["string", "null"]}),
    "objects": _map({"type": ["object", "null"]}),
    "env": _map({"$ref": "#/definitions/envValue"}, **ENV_NAME),
    "envFrom": _map({"$ref": "#/definitions/envFromEntry"}),
    "free": {"type": ["object", "null"]},
    "open": {"type": ["object", "null"], "additionalProperties": True},
    "files": _map({"type": ["string", "null"]}, pattern=f"^{SEGMENT}(/{SEGMENT})*$"),
    "lists": _map({"type": ["array", "null"], "items": {"type": "string"}}),
    "tools": _map(_TOOL, pattern="^[A-Za-z0-9._-]{1,128}$"),
    "flows": _map(_FLOW),
    "ingressHosts": _map(
        {"type": ["object", "null"], "additionalProperties": False, "properties": {"path": {"type": "string", "pattern": "^/"}}}
    ),
    "hostAliases": _map({"type": ["array", "null"], "items": {"type": "string"}}),
    "extraObjects": _map({"type": ["object", "string", "null"]}),
    "mounts": _map(
        {
            "type": ["object", "null"],
            "required": ["mountPath"],
            "properties": {"mountPath": {"type": "string", "minLength": 1}, "name": {"type": "string"}},
        }
    ),
    "prewarm": _map(
        {
            "type": ["object", "null"],
            "additionalProperties": False,
            "properties": {"percent": {"type": "integer", "minimum": 1, "maximum": 100}},
        }
    ),
    "triggers": _map(
        {
            "type": ["object", "null"],
            "additionalProperties": False,
            "properties": {
                "type": {"type": "string"},
                "metadata": {"type": "object"},
                "metricType": {"enum": ["AverageValue", "Value", "Utilization"]},
                "authenticationRef": {"type": "object"},
                "useCachedMetrics": {"type": "boolean"},
            },
        }
    ),
}
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array"}


def schema(chart: str, description: str, keys: list[Key], *, actor: dict[str, Any] | None = None) -> dict[str, Any]:
    """The schema of one chart.

    Args:
        chart: its name.
        description: of its values, one sentence.
        keys: from `values_file.read`.
        actor: the schema of asya-actor, for values of kind ``actor``.
    """
    properties = {key.path[-1]: _property(key) for key in keys}
    made: dict[str, Any] = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"Values of the chart {chart}",
        "description": description,
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }
    definitions = dict(DEFINITIONS)
    if actor is not None:
        definitions["actor"] = {key: actor[key] for key in ("type", "additionalProperties", "properties")}
        definitions["actor"]["type"] = ["object", "null"]
    made["definitions"] = {name: definitions[name] for name in definitions if name in _used(properties, definitions)}
    return made


def _property(key: Key) -> dict[str, Any]:
    described = {"description": key.prose}
    if key.inner and key.hint not in ("actor", "library"):
        inner = {"type": ["object", "null"], "additionalProperties": False, **(key.hint if isinstance(key.hint, dict) else {})}
        return described | inner | {"properties": {below.path[-1]: _property(below) for below in key.inner}}
    if isinstance(key.hint, str):
        if key.hint not in KINDS:
            raise SystemExit(f"{key.dotted}: kind {key.hint} is not known; known are {', '.join(KINDS)}")
        return described | KINDS[key.hint]
    hint = key.hint or {}
    if "enum" in hint or "anyOf" in hint or "type" in hint:
        return described | hint
    if type(key.default) not in _TYPES:
        raise SystemExit(f"{key.dotted}: the default {key.default!r} does not tell the type; add # @schema")
    return described | {"type": _TYPES[type(key.default)]} | hint


def _used(tree: Any, definitions: dict[str, Any]) -> set[str]:
    if isinstance(tree, list):
        return set().union(*(_used(item, definitions) for item in tree)) if tree else set()
    if not isinstance(tree, dict):
        return set()
    found: set[str] = set()
    for name, value in tree.items():
        if name == "$ref":
            target = value.rpartition("/")[2]
            found |= {target} | _used(definitions[target], definitions)
        else:
            found |= _used(value, definitions)
    return found
