"""The description of the public REST API, OpenAPI 3.1, as ``/openapi.json`` gives it. Called by `page`.

Tests compare it with the routes, the query parameters and the codes of errors, and real answers with its schemas.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Final

from asya_gateway.http.errors import STATUS
from asya_gateway.status import Status

__all__ = ["OPERATIONS", "SCHEMAS", "Operation", "document"]

_Schema = Mapping[str, Any]


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: str, *, more: bool = False, **properties: _Schema) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties, "additionalProperties": more}


_TEXT: Final = {"type": "string"}
_TIME: Final = {"type": "string", "format": "date-time"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_ID: Final = {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"}
_ANY_OBJECT: Final = {"type": "object"}
_STATUS: Final = {"type": "string", "enum": [status.value for status in Status]}
_FLAG: Final = {"type": "boolean"}

SCHEMAS: Final[dict[str, _Schema]] = {
    "Envelope": {
        **_object(
            "id status progress route created_at updated_at deadline",
            id=_ID,
            parent_id=_ID,
            tool=_TEXT,
            flow=_TEXT,
            status=_STATUS,
            progress={"type": "integer", "minimum": 0, "maximum": 100, "description": "Per cent; never falls"},
            actor={**_TEXT, "description": "Heard of last; of a failed one, where it failed"},
            route={"type": "array", "items": _TEXT},
            created_at=_TIME,
            updated_at=_TIME,
            deadline=_TIME,
            finished_at=_TIME,
            result={"description": "The final payload, any JSON"},
            result_ref={**_ANY_OBJECT, "description": "Where a result is that is too large to be kept here, or a failed one's record"},
            error=_ref("Error"),
            children=_object("total succeeded failed", total=_COUNT, succeeded=_COUNT, failed=_COUNT),
            replay_of=_ID,
            replayed_as=_ID,
        ),
        "description": "What is absent is absent, never null.",
    },
    "Error": _object(
        "code",
        more=True,
        code=_TEXT,
        type={"type": ["string", "null"]},
        mro={"type": "array", "items": _TEXT},
        message=_TEXT,
        actor=_TEXT,
        attempt=_COUNT,
        at=_TIME,
        children={"type": "array", "items": _ID},
    ),
    "Event": _object(
        "seq at kind",
        seq={**_COUNT, "description": "The envelope's own number, without gaps"},
        at=_TIME,
        kind={"type": "string", "enum": ["status", "progress", "final", "late"]},
        actor=_TEXT,
        hop={**_COUNT, "description": "Index in the route"},
        attempt=_COUNT,
        status=_STATUS,
        state={"type": "string", "enum": ["received", "running", "retrying", "done"]},
        progress=_COUNT,
        of={**_COUNT, "description": "Entries of the route"},
        late={**_FLAG, "description": "Came after the end, and changed nothing"},
        times={
            "type": "object",
            "additionalProperties": _TIME,
            "description": "When this attempt came into each state, by the actor's clock",
        },
    ),
    "Tool": _object(
        "name description inputSchema route timeout_seconds",
        name=_TEXT,
        title=_TEXT,
        description=_TEXT,
        inputSchema=_ANY_OBJECT,
        outputSchema=_ANY_OBJECT,
        flow=_TEXT,
        route={"type": "array", "items": _TEXT},
        timeout_seconds={"type": "number"},
    ),
    "Flow": _object(
        "name entry graph",
        name=_TEXT,
        entry=_TEXT,
        graph={
            **_ANY_OBJECT,
            "description": "nodes: {id, kind, name, actor, handler, line, end_line, code}; edges: {from, to, label, back}",
        },
    ),
    "Actor": {
        "type": "object",
        "required": ["name"],
        "properties": {"name": _TEXT, **{status.value: _COUNT for status in Status}},
        "additionalProperties": False,
    },
    "Session": _object(
        "auth",
        auth={"type": "string", "enum": ["apiKey", "oauth", "none"]},
        principal=_object(
            "name roles", name=_TEXT, roles={"type": "array", "items": {"type": "string", "enum": ["call", "read", "operate"]}}
        ),
        namespace=_TEXT,
        records={**_FLAG, "description": "Whether records can be read, and envelopes replayed"},
    ),
    "Problem": {
        **_object(
            "type title status code detail",
            type=_TEXT,
            title=_TEXT,
            status={"type": "integer"},
            code={**_TEXT, "description": "Stable"},
            detail=_TEXT,
            hint=_TEXT,
            errors={"type": "array", "items": _object("pointer message", pointer=_TEXT, message=_TEXT)},
            envelope_id=_ID,
        ),
        "description": "RFC 9457",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation.

    Attributes:
        summary: what it does, one sentence.
        answers: schema, or media type and schema, of each good status; None: no body.
        query: schema of each query parameter.
        headers: the same of headers that are read.
        body: schema of the body, or None.
        codes: of errors, beside those that every operation has.
        is_open: needs no credential.
    """

    summary: str
    answers: Mapping[int, tuple[str, _Schema] | _Schema | None]
    query: Mapping[str, _Schema] = field(default_factory=dict)
    headers: Mapping[str, _Schema] = field(default_factory=dict)
    body: _Schema | None = None
    codes: tuple[str, ...] = ()
    is_open: bool = False


_COMMON: Final = ("unauthenticated", "insufficient_scope", "wrong_origin", "wrong_host", "rate_limited", "headers_too_large")
_COMMON_OPEN: Final = ("wrong_origin", "wrong_host", "headers_too_large")
_COMMON_BODY: Final = ("bad_json", "body_timeout", "payload_too_large", "unsupported_media_type")
_STORE: Final = "store"
_FILTERS: Final[dict[str, _Schema]] = {
    "status": _STATUS,
    "tool": _TEXT,
    "flow": _TEXT,
    "actor": {**_TEXT, "description": "Heard of last"},
    "parent": _ID,
    "code": {**_TEXT, "description": "The error's"},
    "text": {**_TEXT, "maxLength": 200, "description": "Is in id, actor or error; of the newest 20,000 that pass the other filters"},
    "since": _TIME,
    "until": _TIME,
    "brief": {**_FLAG, "default": False, "description": "Leave out results"},
    "limit": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50},
    "cursor": {**_TEXT, "description": "`next` of the page before"},
}
_REPLAY: Final = {
    "type": "object",
    "properties": {
        "from": {"type": "string", "enum": ["failed", "start"], "default": "failed"},
        "actor": {**_TEXT, "description": "Begin there instead"},
        "if_replayed_as": {"type": ["string", "null"], "description": "Only if this was its last replay; null: only if there was none"},
        "dry_run": {**_FLAG, "default": False},
    },
    "additionalProperties": False,
}
_AFTER: Final = {"after": {**_COUNT, "description": "Number of the last event that one has"}}
_STREAM: Final = {**_TEXT, "description": "Events status, progress and final, with the event's number as id"}

OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("GET", "/tools"): Operation(
        summary="Tools that one may call; `problem` tells why changed files are not in force",
        answers={200: _object("tools", tools={"type": "array", "items": _ref("Tool")}, problem=_TEXT)},
        codes=("bad_request",),
    ),
    ("GET", "/tools/{name}"): Operation(summary="One tool", answers={200: _ref("Tool")}, codes=("bad_request", "no_such_tool")),
    ("POST", "/tools/{name}"): Operation(
        summary="Call a tool: 202 once the call is durable, 200 if it is final within the time waited",
        answers={200: _ref("Envelope"), 202: _ref("Envelope")},
        headers={
            "Idempotency-Key": {
                **_TEXT,
                "pattern": "^[!-~]{1,255}$",
                "description": "The same key, tool and body give the first call again",
            },
            "Prefer": {**_TEXT, "description": "wait=N, at most 50 seconds"},
            "traceparent": {**_TEXT, "description": "W3C trace context, carried through all actors"},
        },
        body={**_ANY_OBJECT, "description": "The arguments, as the tool's inputSchema wants them"},
        codes=("bad_request", "no_such_tool", "idempotency_conflict", "bad_arguments", _STORE, "outbox_full", "claim_storage"),
    ),
    ("GET", "/envelopes"): Operation(
        summary="Envelopes, newest first: one's own, or all with role read",
        answers={200: _object("envelopes", envelopes={"type": "array", "items": _ref("Envelope")}, next=_TEXT)},
        query=_FILTERS,
        codes=("bad_request", _STORE),
    ),
    ("GET", "/envelopes/{id}"): Operation(
        summary="One envelope", answers={200: _ref("Envelope")}, codes=("bad_request", "no_such_envelope", _STORE)
    ),
    ("GET", "/envelopes/{id}/arguments"): Operation(
        summary="The payload as it was first sent; absent if the envelope was made elsewhere",
        answers={200: _object("", arguments={"description": "Any JSON"})},
        codes=("bad_request", "no_such_envelope", "no_such_record", _STORE, "claim_storage"),
    ),
    ("GET", "/envelopes/{id}/events"): Operation(
        summary="What happened, at most 500 events",
        answers={200: _object("events", events={"type": "array", "items": _ref("Event")})},
        query=_AFTER,
        codes=("bad_request", "no_such_envelope", _STORE),
    ),
    ("GET", "/envelopes/{id}/stream"): Operation(
        summary="What happens, as server-sent events, until the end; 204 for who has had it",
        answers={200: ("text/event-stream", _STREAM), 204: None},
        query=_AFTER,
        headers={"Last-Event-ID": _COUNT},
        codes=("bad_request", "no_such_envelope", "too_many_streams", "streams_full", _STORE),
    ),
    ("POST", "/envelopes/{id}/cancel"): Operation(
        summary="Give an envelope up; one that is final stays what it is",
        answers={200: _ref("Envelope")},
        codes=("bad_request", "no_such_envelope", _STORE),
    ),
    ("GET", "/envelopes/{id}/record"): Operation(
        summary="What an end actor stored: last payload, traceback; role operate",
        answers={200: {**_ANY_OBJECT, "description": "The whole envelope"}},
        codes=("bad_request", "forbidden", "no_such_envelope", "no_such_record", "not_configured", _STORE),
    ),
    ("POST", "/envelopes/{id}/replay"): Operation(
        summary="Send a final envelope again, as a new one of the same owner; role operate",
        answers={200: _object("dry_run envelope", dry_run=_FLAG, envelope=_ANY_OBJECT), 201: _ref("Envelope")},
        body=_REPLAY,
        codes=(
            "bad_request",
            "forbidden",
            "no_such_envelope",
            "no_such_record",
            "not_final",
            "already_replayed",
            "not_replayable",
            "not_configured",
            _STORE,
        ),
    ),
    ("GET", "/actors"): Operation(
        summary="Envelopes of the last day by the actor that was heard of last, and by status",
        answers={200: _object("actors", actors={"type": "array", "items": _ref("Actor")})},
        codes=("bad_request", _STORE),
    ),
    ("GET", "/flows"): Operation(
        summary="Flows with their graphs",
        answers={200: _object("flows", flows={"type": "array", "items": _ref("Flow")})},
        codes=("bad_request",),
    ),
    ("GET", "/flows/{name}"): Operation(summary="One flow", answers={200: _ref("Flow")}, codes=("bad_request", "no_such_flow")),
    ("GET", "/login"): Operation(summary="How one signs in here, and who is signed in", answers={200: _ref("Session")}, is_open=True),
    ("POST", "/login"): Operation(
        summary="Sign in with an API key or access token: sets the page's cookie",
        answers={200: _ref("Session")},
        body=_object("key", key=_TEXT),
        codes=("bad_request", "unauthenticated", "insufficient_scope"),
        is_open=True,
    ),
    ("DELETE", "/login"): Operation(summary="Sign out: takes the cookie back", answers={204: None}, is_open=True),
    ("GET", "/openapi.json"): Operation(summary="This description", answers={200: _ANY_OBJECT}, is_open=True),
    ("GET", "/.well-known/oauth-protected-resource"): Operation(
        summary="Protected-resource metadata, RFC 9728", answers={200: _ANY_OBJECT}, codes=("not_found",), is_open=True
    ),
}
"""By method and path."""


def document() -> dict[str, Any]:
    """The description."""
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in OPERATIONS.items():
        paths.setdefault(path, {})[method.lower()] = _described(method, path, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Asya gateway",
            "version": version("asya"),
            "description": "Call tools, follow their envelopes. Errors are RFC 9457 problems with a stable code.",
        },
        "security": [{"bearer": []}, {"page": []}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or an OAuth 2.1 access token"},
                "page": {"type": "apiKey", "in": "cookie", "name": "__Host-asya", "description": "Set by POST /login, from the page only"},
            },
        },
    }


def _described(method: str, path: str, operation: Operation) -> dict[str, Any]:
    parameters = [_parameter(name, "path", _ID if name == "id" else _TEXT) for name in _places(path)]
    parameters += [_parameter(name, "query", schema) for name, schema in operation.query.items()]
    parameters += [_parameter(name, "header", schema) for name, schema in operation.headers.items()]
    described: dict[str, Any] = {
        "operationId": "_".join([method.lower(), *(part.strip("{}") for part in path.replace(".", "").split("/") if part)]),
        "summary": operation.summary,
        "parameters": parameters,
        "responses": {
            **{str(status): _answer(answer) for status, answer in operation.answers.items()},
            **_problems(method, operation),
        },
    }
    if operation.body is not None:
        described["requestBody"] = {
            "required": bool(operation.body.get("required")) or path == "/tools/{name}",
            "content": {"application/json": {"schema": operation.body}},
        }
    if operation.is_open:
        described["security"] = []
    return described


def _places(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _parameter(name: str, place: str, schema: _Schema) -> dict[str, Any]:
    described: dict[str, Any] = {"name": name, "in": place, "required": place == "path", "schema": schema}
    if "description" in schema:
        described["description"] = schema["description"]
    return described


def _answer(answer: tuple[str, _Schema] | _Schema | None) -> dict[str, Any]:
    if answer is None:
        return {"description": "Done; no body"}
    media_type, schema = answer if isinstance(answer, tuple) else ("application/json", answer)
    return {"description": "Done", "content": {media_type: {"schema": schema}}}


def _problems(method: str, operation: Operation) -> dict[str, Any]:
    codes = [*operation.codes, *(_COMMON_OPEN if operation.is_open else _COMMON)]
    if method == "POST":
        codes += _COMMON_BODY
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(STATUS.get(code, 503), []).append(code)
    return {
        str(status): {
            "description": ", ".join(f"`{code}`" for code in codes),
            "content": {"application/problem+json": {"schema": _ref("Problem")}},
        }
        for status, codes in sorted(by_status.items())
    }
