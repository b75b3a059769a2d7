"""What the package lets pass of a JSON-RPC message and the protocol does not: looked at before the package sees the request.

Called by `mcp` for every request to ``/mcp``. Sources: JSON-RPC 2.0 and MCP's base protocol (one message per request, an id is never null);
revision 2026-07-28, streamable HTTP (header and body name the same revision).
"""

from typing import Any, Final

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["OneMessage", "problem_of"]

_INVALID_REQUEST: Final = -32600
_HEADER_MISMATCH: Final = -32020
_VERSION: Final = "io.modelcontextprotocol/protocolVersion"


class OneMessage:
    """Hands on to `app` what is one message.

    Args:
        app: the package's.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = scope.get("asya.json", {})  # absent: no body, which the package tells
        problem = problem_of(body, Headers(scope=scope).get("mcp-protocol-version"))
        if problem is None:
            await self._app(scope, receive, send)
            return
        code, message = problem
        number = body.get("id") if isinstance(body, dict) else None
        answer = {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}}
        await JSONResponse(answer, status_code=400)(scope, receive, send)


def problem_of(body: Any, version: str | None) -> tuple[int, str] | None:
    """JSON-RPC code and sentence of what is wrong with a message; None if nothing is that the package would not see.

    Args:
        body: parsed JSON.
        version: header MCP-Protocol-Version.
    """
    if isinstance(body, list):
        return _INVALID_REQUEST, "Body is a batch; expected one message"
    if not isinstance(body, dict):
        return _INVALID_REQUEST, "Body is no JSON-RPC message"
    if "id" in body and (body["id"] is None or not isinstance(body["id"], str | int | float) or isinstance(body["id"], bool)):
        return _INVALID_REQUEST, "Member id is no string and no number"
    params = body.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    told = meta.get(_VERSION) if isinstance(meta, dict) else None
    if version is not None and told is not None and told != version:
        return _HEADER_MISMATCH, "Header MCP-Protocol-Version does not match the protocol version of the body"
    return None
