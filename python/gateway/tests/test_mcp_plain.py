"""Which calls of MCP are answered by one document without a stream: those that become tasks, and no other."""

import asyncio
from typing import Any, cast

import pytest
from mcp.server.lowlevel import Server
from starlette.types import Receive, Scope, Send

from asya_gateway.http.mcp_plain import PlainOrStreaming
from asya_gateway.tools import read_tools

TOOLS = read_tools(
    {"tools.yaml": {"tools": {mode: {"actor": "a", "mode": mode, "inputSchema": {"type": "object"}} for mode in ("auto", "wait", "task")}}}
).tools
TASKS: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
ACCEPT = "application/json, text/event-stream"


def body(name: Any = "auto", capabilities: Any = None, method: str = "tools/call") -> dict[str, Any]:
    return {"method": method, "params": {"name": name, "_meta": {CAPABILITIES: TASKS if capabilities is None else capabilities}}}


def taken(asked: Any, *, version: str = "2026-07-28", accept: str = ACCEPT) -> str:
    seen: list[str] = []

    def app(name: str) -> Any:
        async def called(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(name)

        return called

    chosen = PlainOrStreaming(app("plain"), app("streaming"), tool=lambda name: TOOLS.get(name))
    headers = [(b"mcp-protocol-version", version.encode()), (b"accept", accept.encode())]
    scope = {"type": "http", "headers": headers, "asya.json": asked}
    asyncio.run(chosen(scope, cast(Any, None), cast(Any, None)))
    return seen[0]


@pytest.mark.parametrize("mode", ["auto", "task"])
def test_call_that_becomes_a_task_needs_no_stream(mode: str) -> None:
    assert taken(body(mode)) == "plain"


@pytest.mark.parametrize(
    "asked",
    [
        body("wait"),
        body("asya_result"),
        body("nobody"),
        body(["auto"]),
        body(capabilities={}),
        body(capabilities={"extensions": {}}),
        body(capabilities=TASKS | {"sampling": 5}),  # as a whole no capabilities: the package takes none of it
        body(capabilities=["extensions"]),
        body(method="tools/list"),
        {"method": "tools/call"},
        {"method": "tools/call", "params": ["auto"]},
        {"method": "tools/call", "params": {"name": "auto", "_meta": []}},
        [body()],
        None,
    ],
)
def test_what_may_be_held_or_is_no_good_call_keeps_its_stream(asked: Any) -> None:
    assert taken(asked) == "streaming"


def test_nothing_but_its_spans_is_taken_from_the_package() -> None:
    """`Mcp` clears this list."""
    assert [type(each).__name__ for each in Server("any").middleware] == ["OpenTelemetryMiddleware"]


@pytest.mark.parametrize("more", [{"version": "2025-06-18"}, {"version": "tomorrow"}, {"accept": "application/json"}])
def test_older_revision_and_client_without_streams_are_left_to_the_package(more: dict[str, str]) -> None:
    assert taken(body(), **more) == "streaming"
