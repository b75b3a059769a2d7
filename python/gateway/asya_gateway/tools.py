"""The tools: read from the values that `asya flow compile` and people write, checked as a whole.

Called by `reload` (which reads the files) and asked by `service` and the HTTP edges. A registry never changes; a new one replaces it.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from asya_core.ops.settings import parse_duration
from asya_core.wire.errors import RemoteFault
from asya_core.wire.names import is_actor, is_end_actor, is_route_entry, split_entry
from asya_gateway.schema import Checker, compile_schema

__all__ = ["MAX_TIMEOUT_SECONDS", "TOOL_KEYS", "Flow", "Registry", "Tool", "read_tools"]

MAX_TIMEOUT_SECONDS: Final = 86_400.0
_DEFAULT_TIMEOUT: Final = "1h"
_DEFAULT_WAIT: Final = "25s"
_MAX_WAIT_SECONDS: Final = 600.0
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_RESERVED_PREFIX: Final = "asya_"
TOOL_KEYS: Final = (
    "description",
    "actor",
    "flow",
    "route",
    "inputSchema",
    "outputSchema",
    "timeout",
    "mode",
    "wait",
    "cancelOnClose",
    "progress",
    "defaults",
    "headers",
    "resultText",
    "result",
    "allow",
    "title",
)
_OPEN_SCHEMA: Final[dict[str, Any]] = {"type": "object"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A compiled flow.

    Attributes:
        name: of the flow.
        entry: route entry that begins it.
        graph: nodes and edges for the page, as the compiler wrote them.
    """

    name: str
    entry: str
    graph: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool, its definition checked.

    Attributes:
        name: 1–128 of ``[A-Za-z0-9._-]``.
        description: what it does, for people and models.
        title: a name for display; empty: none.
        route: entries of a new envelope's route.
        flow: the flow that it calls, or None.
        input: checks the arguments.
        output: checks the final payload, or None.
        timeout_seconds: from the call to the envelope's deadline.
        mode: ``auto``, ``wait`` or ``task``.
        wait_seconds: how long a waiting call is held.
        cancel_on_close: whether a closed stream of a 2026-07-28 client cancels.
        progress: whether progress is stored.
        defaults: merged under the arguments.
        headers: of the envelope.
        result_text: JSON Pointer to the part shown as text; empty: all.
        result: ``json`` or ``mcp`` (the final payload is a list of content blocks).
        allow: principals and scopes that may call it; None: all.
    """

    name: str
    description: str
    title: str = ""
    route: tuple[str, ...]
    flow: str | None = None
    input: Checker
    output: Checker | None = None
    timeout_seconds: float = 3600.0
    mode: str = "auto"
    wait_seconds: float = 25.0
    cancel_on_close: bool = True
    progress: bool = True
    defaults: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, Any] = field(default_factory=dict)
    result_text: str = ""
    result: str = "json"
    allow: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """All tools and flows at a time.

    Attributes:
        tools: by name, sorted.
        flows: by name, sorted.
    """

    tools: Mapping[str, Tool]
    flows: Mapping[str, Flow]


def read_tools(documents: Mapping[str, Any]) -> Registry:
    """The registry of `documents`, parsed YAML by file name. Raises RemoteFault ``bad_tools`` naming file and key."""
    flows: dict[str, Flow] = {}
    raw_tools: dict[str, tuple[str, Any]] = {}
    for file, document in documents.items():
        if document is None:
            continue
        top = _mapping(document, file)
        _known(top, ("tools", "flows"), file)
        for name, raw in _mapping(top.get("flows") or {}, f"{file}: flows").items():
            flows[str(name)] = _flow(str(name), raw, f"{file}: flows.{name}", flows)
        for name, raw in _mapping(top.get("tools") or {}, f"{file}: tools").items():
            if name in raw_tools:
                raise _bad(f"{file}: tools.{name}", f"is also in {raw_tools[name][0]}", "keep one of the two")
            raw_tools[str(name)] = (file, raw)
    tools = {name: _tool(name, raw, f"{file}: tools.{name}", flows) for name, (file, raw) in sorted(raw_tools.items())}
    return Registry(tools=tools, flows=dict(sorted(flows.items())))


def _flow(name: str, raw: Any, where: str, known: Mapping[str, Flow]) -> Flow:
    if name in known:
        raise _bad(where, "is given twice", "keep one of the two")
    values = _mapping(raw, where)
    _known(values, ("entry", "graph"), where)
    entry = values.get("entry")
    if not isinstance(entry, str) or not is_route_entry(entry):
        raise _bad(f"{where}.entry", f"is {entry!r}; expected an actor's name", "compile the flow again")
    return Flow(name=name, entry=entry, graph=_mapping(values.get("graph") or {}, f"{where}.graph"))


def _tool(name: str, raw: Any, where: str, flows: Mapping[str, Flow]) -> Tool:
    if not _NAME.fullmatch(name):
        raise _bad(where, "has no legal name", "use 1 to 128 of A–Z, a–z, 0–9, dot, dash and underscore")
    if name.startswith(_RESERVED_PREFIX):
        raise _bad(where, f"begins with {_RESERVED_PREFIX}, which is for the gateway's own tools", "rename the tool")
    values = _mapping(raw, where)
    _known(values, TOOL_KEYS, where)
    route, flow = _target(values, where, flows)
    output = values.get("outputSchema")
    schema = values.get("inputSchema", _OPEN_SCHEMA)
    checker = compile_schema(schema, where=f"{where}.inputSchema")
    if schema.get("type") != "object":
        raise _bad(f"{where}.inputSchema", "has no type object at its top", "arguments are an object: write type: object")
    return Tool(
        name=name,
        description=_text(values, "description", where),
        title=_text(values, "title", where),
        route=route,
        flow=flow,
        input=checker,
        output=None if output is None else compile_schema(output, where=f"{where}.outputSchema"),
        timeout_seconds=_seconds(values, "timeout", _DEFAULT_TIMEOUT, where, most=MAX_TIMEOUT_SECONDS),
        mode=_choice(values, "mode", ("auto", "wait", "task"), where),
        wait_seconds=_seconds(values, "wait", _DEFAULT_WAIT, where, most=_MAX_WAIT_SECONDS),
        cancel_on_close=_flag(values, "cancelOnClose", where),
        progress=_flag(values, "progress", where),
        defaults=_mapping(values.get("defaults") or {}, f"{where}.defaults"),
        headers=_headers(values.get("headers") or {}, f"{where}.headers"),
        result_text=_pointer(values, where),
        result=_choice(values, "result", ("json", "mcp"), where),
        allow=_allow(values, where),
    )


def _target(values: Mapping[str, Any], where: str, flows: Mapping[str, Flow]) -> tuple[tuple[str, ...], str | None]:
    given = [key for key in ("actor", "flow", "route") if values.get(key) is not None]
    if len(given) != 1:
        named = " and ".join(given) if given else "none"
        raise _bad(where, f"names {named} of actor, flow and route", "name exactly one")
    target = values[given[0]]
    match given[0]:
        case "flow":
            if not isinstance(target, str) or target not in flows:
                raise _bad(f"{where}.flow", f"is {target!r}, which is none of flows", _nearest(str(target), flows))
            return (flows[target].entry,), target
        case "actor":
            if not isinstance(target, str) or not is_actor(target) or is_end_actor(target):
                raise _bad(f"{where}.actor", f"is {target!r}; expected an actor's name", "lower-case letters, digits and dashes")
            return (target,), None
        case _:
            entries = target if isinstance(target, list) and target else [None]
            for index, entry in enumerate(entries):
                if not isinstance(entry, str) or not is_route_entry(entry) or is_end_actor(split_entry(entry)[0]):
                    raise _bad(f"{where}.route[{index}]", f"is {entry!r}; expected an actor's name", "write a list of actors")
            return tuple(entries), None


def _headers(raw: Any, where: str) -> Mapping[str, Any]:
    headers = _mapping(raw, where)
    for name in headers:
        if name.startswith("asya-"):
            raise _bad(f"{where}.{name}", "begins with asya-, which is for Asya itself", "rename the header")
    return headers


def _allow(values: Mapping[str, Any], where: str) -> frozenset[str] | None:
    raw = values.get("allow")
    if raw is None or raw == "all":
        return None
    if isinstance(raw, dict):  # a map merges in overlays: NAME: true
        raw = [name for name, is_allowed in raw.items() if is_allowed is True]
    if not isinstance(raw, list) or not all(isinstance(name, str) for name in raw):
        raise _bad(f"{where}.allow", "is no list of principals and scopes", "write [NAME, 'asya:operate']")
    return frozenset(raw)


def _pointer(values: Mapping[str, Any], where: str) -> str:
    text = _text(values, "resultText", where)
    if text and not text.startswith("/"):
        raise _bad(f"{where}.resultText", f"is {text!r}; expected a JSON Pointer", "begin with a slash, such as /answer")
    return text


def _text(values: Mapping[str, Any], key: str, where: str) -> str:
    value = values.get(key, "")
    if not isinstance(value, str):
        raise _bad(f"{where}.{key}", "is no text", "quote it")
    return value.strip()


def _flag(values: Mapping[str, Any], key: str, where: str) -> bool:
    value = values.get(key, True)
    if not isinstance(value, bool):
        raise _bad(f"{where}.{key}", f"is {value!r}; expected true or false", "do not quote it")
    return value


def _choice(values: Mapping[str, Any], key: str, options: tuple[str, ...], where: str) -> str:
    value = values.get(key, options[0])
    if value not in options:
        raise _bad(f"{where}.{key}", f"is {value!r}; expected {', '.join(options)}", _nearest(str(value), options))
    return str(value)


def _seconds(values: Mapping[str, Any], key: str, default: str, where: str, *, most: float) -> float:
    value = values.get(key, default)
    try:
        seconds = parse_duration(value) if isinstance(value, str) else -1.0
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= most:
        raise _bad(f"{where}.{key}", f"is {value!r}; expected a duration up to {most / 3600:g}h", "write a number with ms, s, m or h")
    return seconds


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _bad(where, "is no mapping", "write KEY: VALUE lines")
    return value


def _known(values: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in values:
        if key not in known:
            raise _bad(f"{where}.{key}", "is no key here", _nearest(key, known))


def _nearest(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"known are: {', '.join(names[:20]) or 'none'}"


def _bad(where: str, problem: str, hint: str) -> RemoteFault:
    return RemoteFault("bad_tools", f"{where} {problem}", hint)
