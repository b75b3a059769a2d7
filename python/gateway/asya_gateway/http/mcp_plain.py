"""Which requests to ``/mcp`` are answered at once, and by which of the package's two ways. Called by `mcp` for every request.

The package makes a task that handles, one that watches for the client's leaving, and a stream between them for each request that might
tell progress. A call that becomes a task of the protocol's is answered when its row is durable: for that one plain answer is enough, and
costs half. What is answered is the same JSON either way.
"""

from collections.abc import Callable
from typing import Any

from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from asya_gateway.http.mcp_tasks import body_declares_tasks
from asya_gateway.tools import Tool

__all__ = ["PlainOrStreaming"]


class PlainOrStreaming:
    """Hands each request on to one of two apps of the package.

    Args:
        plain: answers with one JSON document.
        streaming: may answer with a stream of events; ends what it runs when its client leaves.
        tool: the tool of a name, or None.
    """

    def __init__(self, plain: ASGIApp, streaming: ASGIApp, *, tool: Callable[[str], Tool | None]) -> None:
        self._plain = plain
        self._streaming = streaming
        self._tool = tool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._plain if self._is_plain(Headers(scope=scope), scope.get("asya.json")) else self._streaming
        await app(scope, receive, send)

    def _is_plain(self, headers: Headers, body: Any) -> bool:
        if headers.get("mcp-protocol-version") not in MODERN_PROTOCOL_VERSIONS or "text/event-stream" not in headers.get("accept", ""):
            return False  # the package tells one who takes no stream that it must
        if not isinstance(body, dict) or body.get("method") != "tools/call":
            return False
        params = body.get("params")
        name = params.get("name") if isinstance(params, dict) else None
        tool = self._tool(name) if isinstance(name, str) else None
        return tool is not None and tool.mode != "wait" and body_declares_tasks(params)
