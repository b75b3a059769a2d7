"""MCP through the official client, at the newest revision and at the handshake ones, against the real process."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

Gateway = Any
MODES = ("auto", "legacy")
WAIT = 60.0


def run(gateway: Gateway, mode: str, work: Callable[[Any], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with (
            asyncio.timeout(WAIT),
            httpx2.AsyncClient(verify=False, timeout=WAIT) as http,
            Client(streamable_http_client(f"{gateway.public}/mcp", http_client=http), mode=mode) as client,
        ):
            return await work(client)

    return asyncio.run(main())


async def finished(gateway: Gateway, tool: str, how: Callable[[str], None]) -> str:
    """Wait for a pending envelope of `tool`, then end it with `how`, as the mesh would."""
    while True:
        listed = await asyncio.to_thread(gateway.client.get, "/envelopes", params={"tool": tool, "status": "pending"})
        found = listed.json()["envelopes"]
        if found:
            await asyncio.to_thread(how, found[0]["id"])
            return str(found[0]["id"])
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("mode", MODES)
def test_tools_are_listed_with_their_schema(gateway: Gateway, mode: str) -> None:
    listed = run(gateway, mode, lambda client: client.list_tools())
    tools = {tool.name: tool for tool in listed.tools}
    assert {"text-processor", "text_flow", "asya_result", "asya_cancel"} <= set(tools)
    assert tools["text-processor"].input_schema["required"] == ["text"]
    assert tools["text-processor"].description == "Upper-cases a text and counts its characters"


@pytest.mark.parametrize("mode", MODES)
def test_call_waits_with_rising_progress_and_gives_the_structured_result(gateway: Gateway, mode: str) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    def mesh(envelope_id: str) -> None:
        gateway.progress({"id": envelope_id, "state": "running", "hop": 0})
        gateway.progress({"id": envelope_id, "state": "done", "hop": 0})
        gateway.final(envelope_id, result={"processed": "HI"})

    async def work(client: Any) -> Any:
        async with asyncio.TaskGroup() as group:
            ending = group.create_task(finished(gateway, "two-hops", mesh))
            result = await client.call_tool("two-hops", {"text": "hi"}, progress_callback=heard)
        return ending.result(), result

    envelope_id, result = run(gateway, mode, work)
    assert not result.is_error
    assert result.structured_content == {"processed": "HI"}
    assert json.loads(result.content[0].text) == {"processed": "HI"}
    assert result.meta["asya.sh/envelopeId"] == envelope_id
    numbers = [number for number, _, _ in told]
    assert numbers == sorted(set(numbers))
    assert (numbers[0], numbers[-1]) == (0, 100)
    assert told[0][2] == f"envelope {envelope_id} accepted"


@pytest.mark.parametrize("mode", MODES)
def test_failure_names_type_actor_and_envelope_and_no_traceback(gateway: Gateway, mode: str) -> None:
    error = {
        "code": "handler_error",
        "type": "ValueError",
        "message": "Missing required_field",
        "actor": "text-processor",
        "traceback": "T",
    }

    async def work(client: Any) -> Any:
        async with asyncio.TaskGroup() as group:
            ending = group.create_task(finished(gateway, "two-hops", lambda each: gateway.final(each, "failed", error=error)))
            result = await client.call_tool("two-hops", {"text": "hi"})
        return ending.result(), result

    envelope_id, result = run(gateway, mode, work)
    assert result.is_error
    assert result.content[0].text == f"ValueError in text-processor: Missing required_field (envelope {envelope_id})"
    assert "traceback" not in result.meta["asya.sh/error"]


@pytest.mark.parametrize("mode", MODES)
def test_bad_arguments_are_told_as_pointers_and_make_no_envelope(gateway: Gateway, mode: str) -> None:
    before = gateway.client.get("/envelopes", params={"tool": "text-processor", "limit": 200}).json()["envelopes"]
    result = run(gateway, mode, lambda client: client.call_tool("text-processor", {"text": 5, "other": 1}))
    assert result.is_error
    assert "/text is integer; expected string" in result.content[0].text
    assert "/other is not known" in result.content[0].text
    assert gateway.client.get("/envelopes", params={"tool": "text-processor", "limit": 200}).json()["envelopes"] == before


@pytest.mark.parametrize("mode", MODES)
def test_unknown_tool_is_invalid_params(gateway: Gateway, mode: str) -> None:
    async def work(client: Any) -> MCPError:
        with pytest.raises(MCPError) as caught:
            await client.session.call_tool("text-procesor", {})
        return caught.value

    error = run(gateway, mode, work)
    assert error.code == -32602
    assert "did you mean text-processor?" in error.message


def test_call_that_takes_long_is_answered_and_asked_for_later(gateway: Gateway) -> None:
    async def work(client: Any) -> Any:
        first = await client.call_tool("slow", {})
        envelope_id = first.meta["asya.sh/envelopeId"]
        await asyncio.to_thread(gateway.final, envelope_id, result="late")
        return envelope_id, first, await client.call_tool("asya_result", {"id": envelope_id, "wait": 5})

    envelope_id, first, second = run(gateway, "legacy", work)
    assert not first.is_error
    assert f"Envelope {envelope_id} is still running" in first.content[0].text
    assert second.structured_content == {"result": "late"}
    assert second.content[0].text == "late"


def test_cancel_tool_gives_the_envelope_up(gateway: Gateway) -> None:
    envelope_id = gateway.envelope()
    result = run(gateway, "auto", lambda client: client.call_tool("asya_cancel", {"id": envelope_id}))
    assert "cancelled" in result.content[0].text
    assert gateway.view(envelope_id)["status"] == "cancelled"


@pytest.mark.parametrize(("mode", "status"), [("auto", "cancelled"), ("legacy", "pending")])
def test_closed_stream_cancels_at_the_newest_revision_only(gateway: Gateway, mode: str, status: str) -> None:
    async def work(client: Any) -> str:
        call = asyncio.create_task(client.call_tool("text_flow", {"mode": mode}))
        envelope_id = await finished(gateway, "text_flow", lambda each: None)
        call.cancel()
        return envelope_id

    envelope_id = run(gateway, mode, work)
    if status == "cancelled":
        with gateway.client.stream("GET", f"/envelopes/{envelope_id}/stream") as answer:
            "".join(answer.iter_text())
    assert gateway.view(envelope_id)["status"] == status
    gateway.client.post(f"/envelopes/{envelope_id}/cancel")


# ---------------------------------------------------------------------------------------------------- the wire, without a client

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {"extensions": {"io.modelcontextprotocol/tasks": {}}},
}
NEWEST = {"MCP-Protocol-Version": "2026-07-28", "Accept": "application/json, text/event-stream"}


def rpc(gateway: Gateway, method: str, params: dict[str, Any], **headers: str) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}}
    return gateway.client.post("/mcp", json=body, headers={**NEWEST, "Mcp-Method": method, **headers})


def test_task_lives_from_handle_to_result(gateway: Gateway) -> None:
    created = rpc(gateway, "tools/call", {"name": "text-processor", "arguments": {"text": "x"}}, **{"Mcp-Name": "text-processor"}).json()[
        "result"
    ]
    assert (created["resultType"], created["status"]) == ("task", "working")
    task = {"taskId": created["taskId"]}
    assert gateway.view(created["taskId"])["status"] == "pending"
    working = rpc(gateway, "tasks/get", task, **{"Mcp-Name": created["taskId"]}).json()["result"]
    assert (working["resultType"], working["status"]) == ("complete", "working")
    gateway.final(created["taskId"], result={"a": 1})
    done = rpc(gateway, "tasks/get", task, **{"Mcp-Name": created["taskId"]}).json()["result"]
    assert done["status"] == "completed"
    assert done["result"]["structuredContent"] == {"a": 1}


def test_task_is_cancelled_by_its_method(gateway: Gateway) -> None:
    created = rpc(gateway, "tools/call", {"name": "text_flow", "arguments": {}}, **{"Mcp-Name": "text_flow"}).json()["result"]
    name = {"Mcp-Name": created["taskId"]}
    rpc(gateway, "tasks/cancel", {"taskId": created["taskId"]}, **name)
    assert rpc(gateway, "tasks/get", {"taskId": created["taskId"]}, **name).json()["result"]["status"] == "cancelled"


def test_unknown_task_and_wrong_header_have_their_codes(gateway: Gateway) -> None:
    assert rpc(gateway, "tasks/get", {"taskId": "01NOPE"}, **{"Mcp-Name": "01NOPE"}).json()["error"]["code"] == -32602
    envelope_id = gateway.envelope()
    assert rpc(gateway, "tasks/get", {"taskId": envelope_id}, **{"Mcp-Name": "other"}).json()["error"]["code"] == -32020


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"a":1,"a":2}}', 400),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"a":NaN}}', 400),
        (b"[" * 100_000, 400),
        (b'{"jsonrpc":"2.0","id":1,"method":"nothing/such"}', 200),
    ],
)
def test_bad_message_is_refused_before_the_package_sees_it(gateway: Gateway, body: bytes, status: int) -> None:
    headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json", "MCP-Protocol-Version": "2025-06-18"}
    answer = gateway.client.post("/mcp", content=body, headers=headers)
    assert answer.status_code == status, answer.text


HANDSHAKE = {"MCP-Protocol-Version": "2025-11-25", "Mcp-Method": "", "Mcp-Name": ""}
AT = "io.modelcontextprotocol/protocolVersion"
NO_MESSAGES: dict[str, tuple[dict[str, Any] | bytes, dict[str, str], int, int | str]] = {
    # what of a good call is changed, headers that are, HTTP status, JSON-RPC code or problem code
    "unknown version": ({"meta": {AT: "1999-01-01"}}, {"MCP-Protocol-Version": "1999-01-01"}, 400, -32022),
    "version in the header is another": ({}, {"MCP-Protocol-Version": "1999-01-01"}, 400, -32020),
    "version in the header is an older one": ({}, {"MCP-Protocol-Version": "2025-11-25"}, 400, -32020),
    "method in the header is another": ({}, {"Mcp-Method": "tools/list"}, 400, -32020),
    "method is not in the header": ({}, {"Mcp-Method": ""}, 400, -32020),
    "tool in the header is another": ({}, {"Mcp-Name": "two-hops"}, 400, -32020),
    "batch": (b"[%s]", {}, 400, -32600),
    "batch, handshake": (b"[%s]", HANDSHAKE, 400, -32600),
    "string": (b'"%s"', {}, 400, "bad_json"),
    "number": (b"5", {}, 400, -32600),
    "null": (b"null", HANDSHAKE, 400, -32600),
    "unknown method": ({"method": "no/such"}, {"Mcp-Method": "no/such"}, 404, -32601),
    "null id": ({"id": None}, {}, 400, -32600),
    "null id, handshake": ({"id": None}, HANDSHAKE, 400, -32600),
    "object as id": ({"id": {}}, HANDSHAKE, 400, -32600),
    "true as id": ({"id": True}, {}, 400, -32600),
    "other jsonrpc": ({"jsonrpc": "1.0"}, {}, 400, -32600),
    "list as arguments": ({"arguments": [1]}, {}, 400, -32602),
    "unknown tool": ({"name": "nope"}, {"Mcp-Name": "nope"}, 400, -32602),
    "__proto__ beside": ({"__proto__": {"method": "x"}, "name": "nope"}, {"Mcp-Name": "nope"}, 400, -32602),
    "ten megabytes": ({"arguments": {"text": "x" * 10_000_000}}, {}, 413, "payload_too_large"),
    "ten megabytes, handshake": ({"arguments": {"text": "x" * 10_000_000}}, HANDSHAKE, 413, "payload_too_large"),
}


@pytest.mark.behaviour("gateway:mcp:bad-input")
@pytest.mark.parametrize("name", NO_MESSAGES)
def test_what_is_no_good_message_has_its_code_and_makes_no_envelope(gateway: Gateway, name: str) -> None:
    change, headers, status, code = NO_MESSAGES[name]
    given = dict(change) if isinstance(change, dict) else {}
    meta = {**META, "io.modelcontextprotocol/clientCapabilities": {}} | given.pop("meta", {})
    if headers is HANDSHAKE:
        meta = {}
    call = {"name": "text-processor", "arguments": {"text": "x"}} | {key: given.pop(key) for key in ("name", "arguments") if key in given}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {**call, "_meta": meta}} | given).encode()
    if isinstance(change, bytes):
        body = change % body if b"%s" in change else change
    sent = {**NEWEST, "Content-Type": "application/json", "Mcp-Method": "tools/call", "Mcp-Name": "text-processor", **headers}
    newest = {"tool": "text-processor", "limit": 1}
    before = gateway.client.get("/envelopes", params=newest).json()

    answer = gateway.client.post("/mcp", content=body, headers={key: value for key, value in sent.items() if value})

    told = answer.json()
    assert (answer.status_code, told["error"]["code"] if "error" in told else told["code"]) == (status, code), answer.text
    assert gateway.client.get("/envelopes", params=newest).json() == before


def test_proto_is_a_key_like_any_other(gateway: Gateway) -> None:
    hostile = {"text": "x", "__proto__": {"admin": True}, "constructor": {"prototype": {"admin": True}}}
    meta = {**META, "io.modelcontextprotocol/clientCapabilities": {}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "text-processor", "arguments": hostile, "_meta": meta}}
    answer = gateway.client.post("/mcp", json=body, headers={**NEWEST, "Mcp-Method": "tools/call", "Mcp-Name": "text-processor"})
    result = answer.json()["result"]
    assert result["isError"]
    assert "/__proto__ is not known" in result["content"][0]["text"]
    envelope_id = gateway.envelope("two-hops", hostile)
    assert gateway.message(envelope_id)["payload"] == {"greeting": "hello", **hostile}
