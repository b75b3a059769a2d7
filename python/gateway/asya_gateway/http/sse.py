"""One envelope's events as server-sent events: status, progress, final; numbered, so that a cut stream goes on where it was.

Called by `rest`. Events are read from the store, so a slow reader costs no memory; when it is far behind, only the newest progress is sent.
"""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from typing import Final

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from asya_core.wire.errors import AsyaError
from asya_gateway.access import Principal
from asya_gateway.http.errors import encode
from asya_gateway.service import Service
from asya_gateway.status import FINAL, Status
from asya_gateway.store.base import Row
from asya_gateway.views import event_view, view

__all__ = ["SSE_HEADERS", "stream_response"]

SSE_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_RETRY_MS: Final = 2_000
_COLLAPSE: Final = 256
"""More events than this at once: progress among them is shown by its newest."""
_KINDS: Final = ("status", "progress", "final")
_RECENT: Final = 256


class _HeldResponse(StreamingResponse):
    """A stream that gives its slot back however it ends, also if its client left before the first byte."""

    slot: ExitStack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.slot:
            await super().__call__(scope, receive, send)


def stream_response(
    service: Service, principal: Principal, envelope_id: str, after: int, *, slot: ExitStack, wall: Callable[[], float] = time.time
) -> StreamingResponse:
    """The stream from event `after` + 1 on; `slot` is closed when it ends."""
    body = _stream(service, principal, envelope_id, after, wall)
    response = _HeldResponse(body, media_type="text/event-stream", headers=SSE_HEADERS)
    response.slot = slot
    return response


async def _stream(service: Service, principal: Principal, envelope_id: str, after: int, wall: Callable[[], float]) -> AsyncIterator[bytes]:
    try:
        yield f"retry: {_RETRY_MS}\n\n".encode()
        async for row, events in service.follow(principal, envelope_id, after):
            if principal.expires_at is not None and wall() >= principal.expires_at:
                return
            if not events:
                yield b": still here\n\n"
                continue
            is_final = Status(row["status"]) in FINAL
            for event in _shown(events):
                yield frame(event, row, is_final=event["kind"] == "final" and is_final)
                if event["kind"] == "final":
                    return
    except AsyaError:
        return  # the client comes back and is told then


_recent: "OrderedDict[tuple[str, int], bytes]" = OrderedDict()
"""Frames that other streams of the same envelope are about to send too; an event never changes."""


def frame(event: Row, row: Row, *, is_final: bool) -> bytes:
    """One event of `row`; the final one carries the whole view. An event for thousands of streams is encoded once."""
    if is_final:
        return _frame(event, row)
    key = (row["id"], event["seq"])
    made = _recent.get(key)
    if made is None:
        made = _recent[key] = _frame(event, None)
        if len(_recent) > _RECENT:
            _recent.popitem(last=False)
    return made


def _frame(event: Row, final_row: Row | None) -> bytes:
    data = view(final_row) if final_row is not None else event_view(event)
    kind: str = event["kind"]
    return b"event: " + kind.encode() + b"\nid: " + str(event["seq"]).encode() + b"\ndata: " + encode(data) + b"\n\n"


def _shown(events: list[Row]) -> list[Row]:
    shown = [event for event in events if event["kind"] in _KINDS]
    if len(shown) <= _COLLAPSE:
        return shown
    newest = max((event["seq"] for event in shown if event["kind"] == "progress"), default=0)
    return [event for event in shown if event["kind"] != "progress" or event["seq"] == newest]
