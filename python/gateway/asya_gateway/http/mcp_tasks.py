"""The MCP extension ``io.modelcontextprotocol/tasks``: a call answered by a handle, an envelope asked for by it.

Source: the extension's specification for revision 2026-07-28. Called by `mcp`. The package has the seams but no implementation; ours to
enforce: no task for a request that does not declare the extension, and the header ``Mcp-Name`` equal to ``taskId``.
"""

import json
from typing import Any, Final

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from asya_core.wire.errors import Refused, Unavailable
from asya_gateway.http import mcp_results as results
from asya_gateway.http.front import principal_of
from asya_gateway.progress import sentence
from asya_gateway.service import Service
from asya_gateway.status import FINAL, Status
from asya_gateway.store.base import Row
from asya_gateway.views import time_text

__all__ = ["EXTENSION", "Tasks", "body_declares_tasks", "declares_tasks"]

EXTENSION: Final = "io.modelcontextprotocol/tasks"
_FIRST_POLL_MS: Final = 1_000
_LATER_POLL_MS: Final = 5_000
_YOUNG_MS: Final = 30_000
_RETENTION_MS: Final = 604_800_000
_Context = Any


class _TaskParams(types.RequestParams):
    task_id: str


class Tasks:
    """The three methods.

    Args:
        service: does the work.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def register(self, server: Server[Any]) -> None:
        """Add extension and methods to `server`."""
        server.extensions[EXTENSION] = {}
        server.add_request_handler("tasks/get", _TaskParams, self._get)
        server.add_request_handler("tasks/update", _TaskParams, self._update)
        server.add_request_handler("tasks/cancel", _TaskParams, self._cancel)

    def created(self, row: Row) -> dict[str, Any]:
        """The answer to a call that became a task; its row is committed."""
        return {"resultType": "task", **_task(row)}

    def required(self) -> MCPError:
        """What a client without the extension is told by a tool that only makes tasks."""
        data: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
        return MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "This tool answers by tasks only", data)

    async def _get(self, ctx: _Context, params: _TaskParams) -> dict[str, Any]:
        row = await self._row(ctx, params)
        shown = _task(row)
        if shown["status"] == "completed":
            tool = self._service.tools_state.registry.tools.get(row["tool"] or "")
            result = results.final(row, tool)
            shown["result"] = result.model_dump(by_alias=True, mode="json", exclude_none=True)
        return {"resultType": "complete", **shown}

    async def _update(self, ctx: _Context, params: _TaskParams) -> dict[str, Any]:
        await self._row(ctx, params)
        return {"resultType": "complete"}

    async def _cancel(self, ctx: _Context, params: _TaskParams) -> dict[str, Any]:
        await self._row(ctx, params)
        try:
            await self._service.cancel(principal_of(ctx.request.scope), params.task_id)
        except Refused:
            raise _unknown() from None
        except Unavailable as error:
            raise _later(error) from error
        return {"resultType": "complete"}

    async def _row(self, ctx: _Context, params: _TaskParams) -> Row:
        if not declares_tasks(ctx):
            raise self.required()
        header = ctx.request.headers.get("mcp-name")
        if header is not None and header != params.task_id:
            raise MCPError(types.HEADER_MISMATCH, "Header Mcp-Name is not the taskId of the body")
        try:
            return await self._service.envelope(principal_of(ctx.request.scope), params.task_id)
        except Refused:
            raise _unknown() from None
        except Unavailable as error:
            raise _later(error) from error


def declares_tasks(ctx: _Context) -> bool:
    """Whether this very request declares the extension."""
    return _has_tasks(ctx.session.client_capabilities)


def body_declares_tasks(params: Any) -> bool:
    """The same of a request's parsed ``params``, before the package has seen them; read as the package reads them."""
    meta = params.get("_meta") if isinstance(params, dict) else None
    raw = meta.get(types.CLIENT_CAPABILITIES_META_KEY) if isinstance(meta, dict) else None
    try:
        return _has_tasks(types.ClientCapabilities.model_validate(raw, by_name=False))
    except ValidationError:
        return False


def _has_tasks(capabilities: types.ClientCapabilities | None) -> bool:
    return capabilities is not None and EXTENSION in (capabilities.extensions or {})


def _task(row: Row) -> dict[str, Any]:
    status = Status(row["status"])
    match status:
        case Status.CANCELLED:
            shown = "cancelled"
        case _ if status in FINAL:
            shown = "completed"  # failed and expired too: their result says so; `failed` is for faults of the protocol
        case _:
            shown = "working"
    age = row["updated_at"] - row["created_at"]
    task: dict[str, Any] = {
        "taskId": row["id"],
        "status": shown,
        "createdAt": time_text(row["created_at"]),
        "lastUpdatedAt": time_text(row["updated_at"]),
        "ttlMs": row["deadline_at"] - row["created_at"] + _RETENTION_MS,
        "pollIntervalMs": _FIRST_POLL_MS if age < _YOUNG_MS else _LATER_POLL_MS,
    }
    if shown == "working":
        route = json.loads(row["route"])
        task["statusMessage"] = sentence(actor=row["actor"], hop=row["hop"], route=route) if row["actor"] else "accepted"
    return task


def _unknown() -> MCPError:
    return MCPError(types.INVALID_PARAMS, "There is no such task")


def _later(error: Unavailable) -> MCPError:
    return MCPError(types.INTERNAL_ERROR, error.message, {"code": error.code, "retryAfter": max(1, round(error.retry_after_seconds))})
