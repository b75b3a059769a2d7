"""The public REST edge: tools, envelopes, flows. Requests → `Service` → views. Behind `front`, which knows who asks.

Unknown query parameters are refused: a filter that is misspelt would show too much.
"""

import asyncio
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import datetime
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from asya_core.wire.errors import Refused, RemoteFault
from asya_core.wire.names import is_envelope_id
from asya_core.wire.trace import TRACEPARENT, TRACESTATE, read_traceparent, read_tracestate
from asya_gateway.access import Principal
from asya_gateway.http.errors import HttpRefusal, json_response, problem_response
from asya_gateway.http.front import principal_of
from asya_gateway.http.limits import StreamSlots
from asya_gateway.http.sse import stream_response
from asya_gateway.service import Listing, Service
from asya_gateway.status import FINAL, Status
from asya_gateway.store.base import Row
from asya_gateway.views import event_view, tool_view, view

__all__ = ["Rest", "not_found", "tracing_of"]

_MAX_WAIT_SECONDS: Final = 50
_MAX_LIMIT: Final = 200
_DEFAULT_LIMIT: Final = 50
_MAX_TEXT: Final = 200
_PREFER_WAIT: Final = re.compile(r"(?:^|[,;\s])wait=(\d{1,6})(?:$|[,;\s])")
_IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_FILTERS: Final = ("status", "tool", "flow", "actor", "parent", "code", "text", "since", "until", "brief", "limit", "cursor")
_Handler = Callable[[Request], Awaitable[Response]]


class _Message(msgspec.Struct):
    payload: msgspec.Raw = msgspec.Raw(b"")


class Rest:
    """The handlers.

    Args:
        service: does the work.
        slots: open streams and held calls.
    """

    def __init__(self, service: Service, slots: StreamSlots) -> None:
        self._service = service
        self._slots = slots

    def routes(self) -> list[BaseRoute]:
        """The routes of docs/reference/gateway.md."""
        return [
            Route("/tools", self.list_tools, methods=["GET"]),
            Route("/tools/{name}", self.show_tool, methods=["GET"]),
            Route("/tools/{name}", self.call_tool, methods=["POST"]),
            Route("/envelopes", self.list_envelopes, methods=["GET"]),
            Route("/envelopes/{id}", self.show_envelope, methods=["GET"]),
            Route("/envelopes/{id}/arguments", self.show_arguments, methods=["GET"]),
            Route("/envelopes/{id}/events", self.list_events, methods=["GET"]),
            Route("/envelopes/{id}/stream", self.stream, methods=["GET"]),
            Route("/envelopes/{id}/cancel", self.cancel, methods=["POST"]),
            Route("/envelopes/{id}/record", self.record, methods=["GET"]),
            Route("/envelopes/{id}/replay", self.replay, methods=["POST"]),
            Route("/actors", self.list_actors, methods=["GET"]),
            Route("/flows", self.list_flows, methods=["GET"]),
            Route("/flows/{name}", self.show_flow, methods=["GET"]),
        ]

    # ------------------------------------------------------------------------------------------------------------------ tools

    async def list_tools(self, request: Request) -> Response:
        """``{"tools": […]}``, those that the caller may call."""
        _query(request)
        tools = self._service.visible_tools(principal_of(request.scope))
        told: dict[str, Any] = {"tools": [tool_view(tool) for tool in tools]}
        if self._service.tools_state.problem:
            told["problem"] = self._service.tools_state.problem
        return json_response(told)

    async def show_tool(self, request: Request) -> Response:
        """One tool."""
        _query(request)
        return json_response(tool_view(self._service.tool(principal_of(request.scope), request.path_params["name"])))

    async def call_tool(self, request: Request) -> Response:
        """202 and the view once the call is durable; 200 if it is final within ``Prefer: wait=N``."""
        _query(request)
        if "asya.json" not in request.scope:
            raise RemoteFault("bad_json", "Body is empty; expected the arguments, a JSON object", "send {} for none")
        principal = principal_of(request.scope)
        key = request.headers.get("idempotency-key")
        if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
            raise RemoteFault("bad_request", "Idempotency-Key is not 1 to 255 visible ASCII characters", "use a UUID")
        wait = _wait_seconds(request)
        row, _, _ = await self._service.call(
            principal,
            request.path_params["name"],
            request.scope["asya.json"],
            idempotency_key=key,
            headers=tracing_of(request),
        )
        if wait and Status(row["status"]) not in FINAL and self._slots.has_room(principal.name):
            row = await self._wait(principal, row, wait)
        headers = {"Location": f"/envelopes/{row['id']}"}
        return json_response(view(row), 200 if Status(row["status"]) in FINAL else 202, headers)

    async def _wait(self, principal: Principal, row: Row, seconds: float) -> Row:
        with self._slots.held(principal.name):
            try:
                async with asyncio.timeout(seconds):
                    async for newer, _ in self._service.follow(principal, row["id"]):
                        row = newer
            except TimeoutError:
                pass
        return row

    # -------------------------------------------------------------------------------------------------------------- envelopes

    async def list_envelopes(self, request: Request) -> Response:
        """``{"envelopes": […], "next"?}``, newest first."""
        query = _query(request, *_FILTERS)
        limit = _limit(query.get("limit"))
        status = query.get("status")
        if status is not None and status not in set(Status):
            raise RemoteFault("bad_request", f"status is {status[:40]!r}; expected one of {', '.join(Status)}", "correct the filter")
        wanted = Listing(
            status=status,
            tool=query.get("tool"),
            flow=query.get("flow"),
            actor=query.get("actor"),
            parent=query.get("parent"),
            code=query.get("code"),
            text=_text(query.get("text")),
            since=_time(query, "since"),
            until=_time(query, "until"),
            brief=_flag(query, "brief"),
            before=_cursor(query.get("cursor")),
            limit=limit + 1,
        )
        rows = await self._service.listing(principal_of(request.scope), wanted)
        told: dict[str, Any] = {"envelopes": [view(row) for row in rows[:limit]]}
        if len(rows) > limit:
            last = rows[limit - 1]
            told["next"] = urlsafe_b64encode(f"{last['created_at']} {last['id']}".encode()).decode().rstrip("=")
        return json_response(told)

    async def show_envelope(self, request: Request) -> Response:
        """The view."""
        _query(request)
        return json_response(view(await self._service.envelope(principal_of(request.scope), _id(request))))

    async def show_arguments(self, request: Request) -> Response:
        """``{"arguments"?}``: the payload as it was first sent; absent if the envelope was made elsewhere."""
        _query(request)
        message = await self._service.first_message(principal_of(request.scope), _id(request))
        payload = msgspec.json.decode(message, type=_Message).payload if message is not None else b""
        return json_response({"arguments": msgspec.Raw(payload)} if payload else {})

    async def list_events(self, request: Request) -> Response:
        """``{"events": […]}`` with numbers over ``after``."""
        after = _number(_query(request, "after").get("after"), "after")
        events = await self._service.events(principal_of(request.scope), _id(request), after)
        return json_response({"events": [event_view(event) for event in events]})

    async def stream(self, request: Request) -> Response:
        """Server-sent events; 204 for one that has had them all, which stops a browser."""
        query = _query(request, "after")
        principal, envelope_id = principal_of(request.scope), _id(request)
        after = _number(request.headers.get("last-event-id") or query.get("after"), "Last-Event-ID")
        row = await self._service.envelope(principal, envelope_id)
        if Status(row["status"]) in FINAL and after:
            left = await self._service.events(principal, envelope_id, after)
            if not any(event["kind"] == "final" for event in left):
                return Response(status_code=204)
        with ExitStack() as stack:
            stack.enter_context(self._slots.held(principal.name))
            slot = stack.pop_all()
        return stream_response(self._service, principal, envelope_id, after, slot=slot)

    async def cancel(self, request: Request) -> Response:
        """The view afterwards; a final envelope stays what it is."""
        _query(request)
        return json_response(view(await self._service.cancel(principal_of(request.scope), _id(request))))

    async def record(self, request: Request) -> Response:
        """What an end actor stored, as it stored it; role operate."""
        _query(request)
        return Response(await self._service.record(principal_of(request.scope), _id(request)), media_type="application/json")

    async def replay(self, request: Request) -> Response:
        """201 and the view of a new envelope; 200 and what would be sent with ``dry_run``; role operate."""
        _query(request)
        asked = request.scope.get("asya.json", {})
        if not isinstance(asked, dict) or set(asked) - {"from", "actor", "dry_run", "if_replayed_as"}:
            raise RemoteFault("bad_request", "Body is not {from?, actor?, dry_run?, if_replayed_as?}", "see docs/reference/gateway.md")
        start, actor, dry_run = asked.get("from", "failed"), asked.get("actor"), asked.get("dry_run", False)
        if start not in ("failed", "start") or not isinstance(dry_run, bool) or not (actor is None or isinstance(actor, str)):
            raise RemoteFault("bad_request", "from is failed or start, actor a name, dry_run true or false", "correct it")
        expected = (asked["if_replayed_as"] or "") if "if_replayed_as" in asked else None
        if not (expected is None or isinstance(expected, str)):
            raise RemoteFault("bad_request", "if_replayed_as is neither null nor an id", "correct it")
        made = await self._service.replay(
            principal_of(request.scope), _id(request), start=start, actor=actor, dry_run=dry_run, expected=expected
        )
        if dry_run:
            return json_response(made)
        return json_response(view(made), 201, {"Location": f"/envelopes/{made['id']}"})

    async def list_actors(self, request: Request) -> Response:
        """``{"actors": [{name, STATUS: count…}]}`` of the last day."""
        _query(request)
        counts = await self._service.actors(principal_of(request.scope))
        return json_response({"actors": [{"name": name, **by_status} for name, by_status in counts.items()]})

    # ------------------------------------------------------------------------------------------------------------------ flows

    async def list_flows(self, request: Request) -> Response:
        """``{"flows": [{name, entry, graph}]}``."""
        _query(request)
        flows = self._service.tools_state.registry.flows.values()
        return json_response({"flows": [{"name": flow.name, "entry": flow.entry, "graph": flow.graph} for flow in flows]})

    async def show_flow(self, request: Request) -> Response:
        """One flow."""
        _query(request)
        flow = self._service.tools_state.registry.flows.get(request.path_params["name"])
        if flow is None:
            raise Refused("no_such_flow", "There is no such flow", "see GET /flows")
        return json_response({"name": flow.name, "entry": flow.entry, "graph": flow.graph})


async def not_found(request: Request, error: Exception) -> Response:
    """404 and 405 of the router, as problem JSON."""
    status = getattr(error, "status_code", 404)
    headers = getattr(error, "headers", None) or {}
    if status == 405:
        return problem_response(
            HttpRefusal("method_not_allowed", f"{request.method} is not taken here", "see docs/reference/gateway.md", headers=headers)
        )
    return problem_response(HttpRefusal("not_found", "There is nothing here", "see docs/reference/gateway.md"))


def _query(request: Request, *known: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            expected = f"expected some of {', '.join(known)}" if known else "expected none"
            raise RemoteFault("bad_request", f"Parameter {name[:40]!r} is not known; {expected}", "correct it")
        if name in found:
            raise RemoteFault("bad_request", f"Parameter {name} is given twice", "give it once")
        found[name] = value
    return found


def _id(request: Request) -> str:
    envelope_id: str = request.path_params["id"]
    if not is_envelope_id(envelope_id):
        raise Refused("no_such_envelope", "There is no such envelope", "check the id; finished envelopes are kept for a limited time")
    return envelope_id


def tracing_of(request: Request) -> dict[str, str]:
    """Headers of tracing that a request may add to its envelope: see `good_tracing`. One of two traceparents is no better than none."""
    given = request.headers.getlist("traceparent")
    return good_tracing(given[0] if len(given) == 1 else "", ",".join(request.headers.getlist("tracestate")))


def good_tracing(traceparent: str, tracestate: str) -> dict[str, str]:
    """A W3C trace context as headers of an envelope; empty if the ``traceparent`` is none, without a ``tracestate`` that is none."""
    context = read_traceparent(traceparent)
    if context is None:
        return {}
    state = read_tracestate(tracestate)
    return {TRACEPARENT: context.traceparent, **({TRACESTATE: state} if state else {})}


def _wait_seconds(request: Request) -> float:
    match = _PREFER_WAIT.search(request.headers.get("prefer", ""))
    return float(min(int(match[1]), _MAX_WAIT_SECONDS)) if match else 0.0


def _text(text: str | None) -> str | None:
    if text is not None and not 0 < len(text) <= _MAX_TEXT:
        raise RemoteFault("bad_request", f"text has {len(text)} characters; expected 1 to {_MAX_TEXT}", "shorten it")
    return text


def _flag(query: dict[str, str], name: str) -> bool:
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise RemoteFault("bad_request", f"{name} is {text[:40]!r}; expected true or false", "correct it")
    return text == "true"


def _limit(text: str | None) -> int:
    limit = _number(text, "limit") if text is not None else _DEFAULT_LIMIT
    if not 1 <= limit <= _MAX_LIMIT:
        raise RemoteFault("bad_request", f"limit is {limit}; expected 1 to {_MAX_LIMIT}", "use next for more")
    return limit


def _number(text: str | None, name: str) -> int:
    if text is None:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise RemoteFault("bad_request", f"{name} is {text[:40]!r}; expected a whole number", "correct it")
    return int(text)


def _time(query: dict[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise RemoteFault("bad_request", f"{name} is {text[:40]!r}; expected a time such as 2026-01-01T00:00:00Z", "give it with its zone")
    return int(moment.timestamp() * 1000)


def _cursor(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    try:
        at, _, envelope_id = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii").partition(" ")
        if not is_envelope_id(envelope_id):
            raise ValueError(text)
        return int(at), envelope_id
    except ValueError:
        raise RemoteFault("bad_request", "cursor is not one that this gateway gave", "use next of the page before") from None
