"""Envelopes as results of MCP tool calls. Called by `mcp` and `mcp_tasks`; decides what a model and its client see.

Structured content is always an object, as the older revisions demand: a payload that is none is put under ``result``.
"""

import json
from typing import Any, Final

import mcp_types as types
from pydantic import TypeAdapter, ValidationError

from asya_gateway.progress import sentence
from asya_gateway.service import ArgumentsRefused
from asya_gateway.status import Status
from asya_gateway.store.base import Row
from asya_gateway.tools import Tool

__all__ = ["final", "output_schema", "problem", "refused_arguments", "still_running", "told"]

ID_META: Final = "asya.sh/envelopeId"
ERROR_META: Final = "asya.sh/error"
_MAX_TEXT: Final = 64 * 1024
_BLOCKS: Final = TypeAdapter(list[types.ContentBlock])


def output_schema(tool: Tool) -> dict[str, Any] | None:
    """The tool's output schema as it is advertised: of an object."""
    if tool.output is None or tool.result == "mcp":
        return None
    schema = dict(tool.output.schema)
    if schema.get("type") == "object":
        return schema
    return {"type": "object", "properties": {"result": schema}, "required": ["result"]}


def final(row: Row, tool: Tool | None) -> types.CallToolResult:
    """The result of an envelope that has ended. `tool` is None if it is no longer there."""
    if row["status"] != Status.SUCCEEDED:
        return _failed(row)
    if row["result"] is None:
        ref = json.loads(row["result_ref"]) if row["result_ref"] else None
        where = f"; it is kept as {json.dumps(ref)}" if ref else ""
        return told(row, f"Envelope {row['id']} succeeded; its result is not kept here{where}", structured={"result_ref": ref})
    payload = json.loads(row["result"])
    if tool is not None and tool.output is not None:
        problems = tool.output.problems(payload)
        if problems:
            listed = "; ".join(f"{each.pointer or 'the result'} {each.message}" for each in problems)
            return told(row, f"The result is not what {tool.name} promises: {listed}", is_error=True)
    if tool is not None and tool.result == "mcp":
        # A handler that returns a list multiplies its envelope, so an object that holds the list is as good.
        is_object = isinstance(payload, dict)
        try:
            blocks = _BLOCKS.validate_python(payload.get("content") if is_object else payload)
        except ValidationError:
            return told(row, f"The result of {tool.name} is neither a list of MCP content blocks nor {{content: [...]}}", is_error=True)
        structured = payload.get("structuredContent") if is_object else None
        return types.CallToolResult(content=blocks, structured_content=structured, _meta=_meta(row))
    structured = payload if isinstance(payload, dict) else {"result": payload}
    return told(row, _text(payload, tool.result_text if tool is not None else ""), structured=structured)


def still_running(row: Row, tool: Tool | None, *, poll_tools: bool) -> types.CallToolResult:
    """The answer to one who waited long enough. An error only where the client would else check it against an output schema."""
    place = sentence(actor=row["actor"], hop=row["hop"], route=json.loads(row["route"])) if row["actor"] else "not begun yet"
    how = f'call asya_result with {{"id": "{row["id"]}"}}' if poll_tools else f"see GET /envelopes/{row['id']}"
    text = f"Envelope {row['id']} is still running: {place}, {row['progress']} %. To get its result, {how}."
    structured = {"id": row["id"], "status": row["status"], "progress": row["progress"]}
    is_checked = tool is not None and output_schema(tool) is not None
    return told(row, text, structured=None if is_checked else structured, is_error=is_checked)


def refused_arguments(refusal: ArgumentsRefused) -> types.CallToolResult:
    """Arguments that the schema refuses, in words that let a model correct itself."""
    lines = [f"Arguments of {refusal.tool} are refused:"]
    lines += [f"- {each.pointer or 'arguments'} {each.message}" for each in refusal.problems]
    return problem("\n".join(lines))


def problem(text: str) -> types.CallToolResult:
    """An error that made no envelope."""
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)


def told(row: Row, text: str, *, structured: Any = None, is_error: bool = False) -> types.CallToolResult:
    """One text block, with the envelope's id beside it."""
    if len(text) > _MAX_TEXT:
        text = f"{text[:_MAX_TEXT]}\n… cut after {_MAX_TEXT} of {len(text)} characters; envelope {row['id']} has all of it"
    content = types.TextContent(type="text", text=text)
    return types.CallToolResult(content=[content], structured_content=structured, is_error=is_error, _meta=_meta(row))


def _failed(row: Row) -> types.CallToolResult:
    error = json.loads(row["error"]) if row["error"] else {}
    error.pop("traceback", None)
    kind = error.get("type") or error.get("code") or row["status"]
    actor = error.get("actor")
    text = f"{kind}{f' in {actor}' if actor else ''}: {error.get('message', row['status'])} (envelope {row['id']})"
    meta = {**_meta(row), ERROR_META: error}
    return types.CallToolResult(content=[types.TextContent(type="text", text=text[:_MAX_TEXT])], is_error=True, _meta=meta)


def _meta(row: Row) -> dict[str, Any]:
    return {ID_META: row["id"]}


def _text(payload: Any, pointer: str) -> str:
    shown = payload
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(shown, dict) and key in shown:
            shown = shown[key]
        elif isinstance(shown, list) and key.isdigit() and int(key) < len(shown):
            shown = shown[int(key)]
        else:
            shown = payload
            break
    return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
