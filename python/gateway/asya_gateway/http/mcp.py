"""MCP at ``/mcp``: the tools of the registry over streamable HTTP, stateless, for all revisions that the package speaks.

Called by `app`. Tools are data, so the package's low-level server is used. Who asks and whether the body is JSON was settled by `front`.
Tasks are in `mcp_tasks`, results in `mcp_results`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.routing import BaseRoute, Route

from asya_core import __version__
from asya_core.wire.errors import AsyaError, Refused, Unavailable
from asya_gateway.access import Principal
from asya_gateway.http import mcp_results as results
from asya_gateway.http.errors import HttpRefusal
from asya_gateway.http.front import Hosts, principal_of
from asya_gateway.http.limits import StreamSlots
from asya_gateway.http.mcp_plain import PlainOrStreaming
from asya_gateway.http.mcp_tasks import Tasks, declares_tasks
from asya_gateway.http.mcp_wire import OneMessage
from asya_gateway.http.rest import good_tracing, tracing_of
from asya_gateway.progress import DONE, hair, sentence
from asya_gateway.service import ArgumentsRefused, Service
from asya_gateway.status import FINAL, Status
from asya_gateway.store.base import Row
from asya_gateway.tools import Tool

__all__ = ["Mcp"]

_LIST_TTL_MS: Final = 60_000
_MAX_POLL_WAIT: Final = 50
_RESULT_TOOL: Final = "asya_result"
_CANCEL_TOOL: Final = "asya_cancel"
_ID_SCHEMA: Final[dict[str, Any]] = {"type": "string", "description": "The envelope's id, as the call told it"}
_INSTRUCTIONS: Final = (
    "Each tool runs a pipeline of actors. A call that takes long answers that it still runs and names its envelope id; "
    "ask for the result with asya_result, or give it up with asya_cancel."
)
_Context = Any  # mcp.server.context.ServerRequestContext: generic over types that say nothing here


class Mcp:
    """The MCP edge.

    Args:
        service: does the work.
        slots: open streams and held calls.
        hosts: accepted Host and Origin, given to the package too.
        max_body_bytes: of one request.
        poll_tools: offer `asya_result` and `asya_cancel`.
    """

    def __init__(self, service: Service, slots: StreamSlots, *, hosts: Hosts, max_body_bytes: int, poll_tools: bool) -> None:
        self._service = service
        self._slots = slots
        self._poll_tools = poll_tools
        self._bus = InMemorySubscriptionBus()
        self._listen = ListenHandler(self._bus)
        self._tasks = Tasks(service)
        self._announcing: set[asyncio.Task[None]] = set()
        server: Server[Any] = Server(
            "asya-gateway",
            version=__version__,
            title="Asya",
            instructions=_INSTRUCTIONS if poll_tools else None,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_subscriptions_listen=self._listen,
            get_tool_input_schema=self._input_schema,
        )
        self._tasks.register(server)
        names = [] if hosts.is_any else [each for name in sorted(hosts.names) for each in (_host(name), f"{_host(name)}:*")]
        security = TransportSecuritySettings(
            enable_dns_rebinding_protection=not hosts.is_any,
            allowed_hosts=names,
            allowed_origins=[f"{scheme}://{name}" for name in names for scheme in ("http", "https")],
        )
        server.middleware.clear()  # the package's spans, which nothing collects: calls have spans of ours, see `traces`
        self._plain, self._streaming = (
            StreamableHTTPSessionManager(
                server, stateless=True, json_response=is_plain, security_settings=security, max_request_body_size=max_body_bytes
            )
            for is_plain in (True, False)
        )

    def routes(self) -> list[BaseRoute]:
        """``POST /mcp``. There is no session to stream from or to delete, so GET and DELETE are 405, as the specification allows."""
        plain, streaming = StreamableHTTPASGIApp(self._plain), StreamableHTTPASGIApp(self._streaming)
        app = PlainOrStreaming(plain, streaming, tool=lambda name: self._service.tools_state.registry.tools.get(name))
        return [Route("/mcp", OneMessage(app), methods=["POST"])]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """What must be entered while requests are served."""
        async with self._streaming.run(), self._plain.run():
            yield

    def tools_changed(self) -> None:
        """Tell listening clients that the tools are others now. In the loop's thread."""
        task = asyncio.create_task(self._bus.publish(ToolsListChanged()))
        self._announcing.add(task)
        task.add_done_callback(self._announcing.discard)

    def drain(self) -> None:
        """End the streams of listening clients, gracefully."""
        self._listen.close()

    # --------------------------------------------------------------------------------------------------------------- handlers

    def _input_schema(self, name: str) -> Any | None:
        tool = self._service.tools_state.registry.tools.get(name)
        return None if tool is None else tool.input.schema

    async def _list_tools(self, ctx: _Context, params: Any) -> types.ListToolsResult:
        principal = _principal(ctx)
        tools = [_described(tool) for tool in self._service.visible_tools(principal)]
        if self._poll_tools:
            tools += _POLL_TOOLS
        return types.ListToolsResult(tools=tools, ttl_ms=_LIST_TTL_MS, cache_scope="private")

    async def _call_tool(self, ctx: _Context, params: types.CallToolRequestParams) -> Any:
        principal = _principal(ctx)
        arguments: Any = {} if params.arguments is None else params.arguments
        try:
            if self._poll_tools and params.name == _RESULT_TOOL:
                return await self._poll(ctx, principal, arguments)
            if self._poll_tools and params.name == _CANCEL_TOOL:
                return await self._cancel(principal, arguments)
            return await self._call(ctx, principal, params.name, arguments)
        except ArgumentsRefused as refusal:
            return results.refused_arguments(refusal)
        except Refused as refusal:
            raise MCPError(types.INVALID_PARAMS, f"{refusal.message}; {refusal.hint}") from refusal
        except (Unavailable, HttpRefusal) as error:
            after = error.retry_after_seconds if isinstance(error, Unavailable) else float(error.headers.get("Retry-After", 5))
            raise MCPError(types.INTERNAL_ERROR, error.message, {"code": error.code, "retryAfter": max(1, round(after))}) from error
        except AsyaError as error:
            raise MCPError(types.INVALID_PARAMS, str(error), {"code": error.code}) from error

    async def _call(self, ctx: _Context, principal: Principal, name: str, arguments: Any) -> Any:
        tool = self._service.tool(principal, name)
        is_task = tool.mode != "wait" and declares_tasks(ctx)
        if tool.mode == "task" and not is_task:
            raise self._tasks.required()
        if is_task:
            row, _, _ = await self._service.call(principal, name, arguments, headers=_tracing(ctx))
            return self._tasks.created(row)
        with self._slots.held(principal.name):  # before there is an envelope: a refusal must leave none behind
            row, tool, _ = await self._service.call(principal, name, arguments, headers=_tracing(ctx))
            cancels = tool.cancel_on_close and ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
            return await self._held(ctx, principal, row, seconds=tool.wait_seconds, cancels=cancels)

    async def _held(self, ctx: _Context, principal: Principal, row: Row, *, seconds: float, cancels: bool) -> types.CallToolResult:
        """Wait with progress, at most `seconds`; a client that closes its stream cancels the envelope if `cancels`."""
        report = _Reporter(ctx.session.report_progress)
        try:
            await report.accepted(row["id"])
            try:
                async with asyncio.timeout(seconds):
                    async for newer, events in self._service.follow(principal, row["id"], after=0):
                        row = newer
                        if Status(row["status"]) not in FINAL:
                            await report.moved(row, events)
            except TimeoutError:
                pass
            tool = self._service.tools_state.registry.tools.get(row["tool"] or "")
            if Status(row["status"]) in FINAL:
                await report.ended(row)
                return results.final(row, tool)
            return results.still_running(row, tool, poll_tools=self._poll_tools)
        except asyncio.CancelledError:
            if cancels:
                with anyio.CancelScope(shield=True):
                    await self._service.cancel(principal, row["id"], reason="cancelled: its caller closed the stream")
            raise

    async def _poll(self, ctx: _Context, principal: Principal, arguments: Any) -> types.CallToolResult:
        envelope_id, wait = arguments.get("id"), arguments.get("wait", 0)
        is_number = isinstance(wait, (int, float)) and not isinstance(wait, bool)
        if not isinstance(envelope_id, str) or not is_number or not 0 <= wait <= _MAX_POLL_WAIT:
            return results.problem(f"{_RESULT_TOOL} takes id, a string, and wait, 0 to {_MAX_POLL_WAIT} seconds")
        try:
            row = await self._service.envelope(principal, envelope_id)
        except Refused as refusal:
            return results.problem(refusal.message)
        if Status(row["status"]) in FINAL or not wait:
            tool = self._service.tools_state.registry.tools.get(row["tool"] or "")
            is_final = Status(row["status"]) in FINAL
            return results.final(row, tool) if is_final else results.still_running(row, None, poll_tools=True)
        with self._slots.held(principal.name):
            return await self._held(ctx, principal, row, seconds=float(wait), cancels=False)

    async def _cancel(self, principal: Principal, arguments: Any) -> types.CallToolResult:
        envelope_id = arguments.get("id")
        if not isinstance(envelope_id, str):
            return results.problem(f"{_CANCEL_TOOL} takes id, a string")
        try:
            row = await self._service.cancel(principal, envelope_id)
        except Refused as refusal:
            return results.problem(refusal.message)
        return results.told(row, f"Envelope {row['id']} is {row['status']}")


class _Reporter:
    """Progress of one held call: each number is over the one before, as the protocol wants it; a no-op without a token."""

    def __init__(self, report: Callable[[float, float | None, str | None], Awaitable[None]]) -> None:
        self._report = report
        self._percent = 0
        self._beats = 0
        self._message = ""

    async def accepted(self, envelope_id: str) -> None:
        self._message = f"envelope {envelope_id} accepted"
        await self._report(0, DONE, self._message)

    async def moved(self, row: Row, events: list[Row]) -> None:
        if events and all(event["kind"] != "progress" for event in events):
            return
        if row["progress"] > self._percent:
            self._percent, self._beats = row["progress"], 0
        else:
            self._beats += 1
        if events:
            route = json.loads(row["route"])
            self._message = sentence(actor=row["actor"], hop=row["hop"], route=route, state=_state(events[-1]))
        await self._report(self._percent + hair(self._beats), DONE, self._message)

    async def ended(self, row: Row) -> None:
        await self._report(DONE, DONE, f"envelope {row['id']} {row['status']}")


def _state(event: Row) -> str:
    return str(json.loads(event["data"] or "{}").get("state", ""))


def _principal(ctx: _Context) -> Principal:
    return principal_of(ctx.request.scope)


def _tracing(ctx: _Context) -> dict[str, str]:
    """Of the request's headers, else of its ``_meta``, where MCP's clients put it."""
    found = tracing_of(ctx.request)
    if found or not ctx.meta:
        return found
    traceparent, tracestate = (ctx.meta.get(name) for name in ("traceparent", "tracestate"))
    if not isinstance(traceparent, str):
        return {}
    return good_tracing(traceparent, tracestate if isinstance(tracestate, str) else "")


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def _described(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        title=tool.title or None,
        description=tool.description or None,
        input_schema=dict(tool.input.schema),
        output_schema=results.output_schema(tool),
    )


_POLL_TOOLS: Final = [
    types.Tool(
        name=_RESULT_TOOL,
        description="Get the result of a call that was still running, waiting for it if asked to",
        input_schema={
            "type": "object",
            "properties": {
                "id": _ID_SCHEMA,
                "wait": {"type": "number", "minimum": 0, "maximum": _MAX_POLL_WAIT, "description": "Seconds to wait for the end"},
            },
            "required": ["id"],
            "additionalProperties": False,
        },
    ),
    types.Tool(
        name=_CANCEL_TOOL,
        description="Give up a call that still runs",
        input_schema={"type": "object", "properties": {"id": _ID_SCHEMA}, "required": ["id"], "additionalProperties": False},
    ),
]
