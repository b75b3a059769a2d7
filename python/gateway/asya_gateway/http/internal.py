"""The internal edge: reports of sidecars, health, metrics. On a socket of its own; none of its paths exists on the public one.

Progress may be dropped, and is when too much of it waits. A final report is answered only once it is durable.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from asya_core.ops.metrics import CONTENT_TYPE
from asya_core.wire.errors import AsyaError, RemoteFault, Unavailable
from asya_core.wire.names import is_envelope_id, is_route_entry
from asya_gateway.http.auth import Authenticator, bearer_of
from asya_gateway.http.errors import HttpRefusal, json_response, refused, unexpected
from asya_gateway.http.limits import BodyGone, read_body
from asya_gateway.http.rest import not_found
from asya_gateway.metrics import GatewayMetrics
from asya_gateway.service import Service
from asya_gateway.store.envelopes import Finished, Progress, reported

__all__ = ["Internal", "Readiness", "internal_app"]

_MAX_REPORTS: Final = 1_000
_MAX_BODY: Final = 8 * 1024 * 1024
_BODY_SECONDS: Final = 30.0
_MAX_BATCHES: Final = 64
"""Progress batches in work; more are dropped."""
_STATES: Final = frozenset({"received", "running", "done", "retrying"})
_MAX_ROUTE: Final = 10_000
_MAX_ERROR_BYTES: Final = 64 * 1024


class _Report(msgspec.Struct):
    id: str
    actor: str
    state: str
    hop: int = 0
    attempt: int = 1
    parent_id: str | None = None
    route: list[str] | None = None
    at: datetime | None = None
    earlier: dict[str, datetime] = {}


class _Reports(msgspec.Struct):
    reports: list[_Report]
    cursor: int | None = None


class _Final(msgspec.Struct):
    id: str
    status: str
    parent_id: str | None = None
    fanout: list[int] = []
    result: msgspec.Raw = msgspec.Raw(b"")
    result_ref: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    actor: str | None = None
    attempt: int | None = None


_decode_reports: Final = msgspec.json.Decoder(_Reports).decode
_decode_final: Final = msgspec.json.Decoder(_Final).decode
_encode: Final = msgspec.json.encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """One check of ``/readyz``.

    Attributes:
        name: of the check.
        check: gives what is wrong, empty if nothing is.
        is_vital: whether a problem makes the gateway not ready, or is only told.
    """

    name: str
    check: Callable[[], Awaitable[str]]
    is_vital: bool = True


class Internal:
    """The handlers.

    Args:
        service: does the work.
        authenticator: of the mesh.
        metrics: counts, and printed.
        checks: of readiness.
        max_result_bytes: a larger result is not kept inline.
        refresh: brings gauges up to date before they are printed.
    """

    def __init__(
        self,
        service: Service,
        *,
        authenticator: Authenticator,
        metrics: GatewayMetrics,
        checks: tuple[Readiness, ...],
        max_result_bytes: int,
        refresh: Callable[[], Awaitable[None]],
    ) -> None:
        self._service = service
        self._authenticator = authenticator
        self._metrics = metrics
        self._checks = checks
        self._max_result_bytes = max_result_bytes
        self._refresh = refresh
        self._batches = 0

    async def progress(self, request: Request) -> Response:
        """``POST /internal/v1/progress``."""
        await self._authenticator.principal(bearer_of(request.headers))
        body = await _body(request)
        try:
            told = _decode_reports(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RemoteFault("bad_report", f"Progress is not as it should be: {error}", "see docs/reference/gateway.md") from error
        if len(told.reports) > _MAX_REPORTS:
            raise RemoteFault("bad_report", f"{len(told.reports)} reports at once; expected at most {_MAX_REPORTS}", "send fewer")
        reports = [_progress(each) for each in told.reports]
        if self._batches >= _MAX_BATCHES:
            self._metrics.reports_dropped.add(by=len(reports))
            raise Unavailable("overloaded", "Too much progress waits; these reports are dropped", "", retry_after_seconds=1.0)
        self._batches += 1
        try:
            cancelled, cursor = await self._service.progress(reports, told.cursor)
        except Unavailable:
            self._metrics.reports_dropped.add(by=len(reports))
            raise
        finally:
            self._batches -= 1
        return json_response({"cancelled": cancelled, "cursor": cursor})

    async def final(self, request: Request) -> Response:
        """``POST /internal/v1/final``."""
        await self._authenticator.principal(bearer_of(request.headers))
        body = await _body(request)
        try:
            told = _decode_final(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RemoteFault("bad_report", f"Final report is not as it should be: {error}", "see docs/reference/gateway.md") from error
        outcome = await self._service.final(self._finished(told))
        if outcome.recorded:
            return json_response({"recorded": True})
        return json_response({"recorded": False, "status": outcome.status.value})

    def _finished(self, told: _Final) -> Finished:
        if not is_envelope_id(told.id) or (told.parent_id is not None and not is_envelope_id(told.parent_id)):
            raise RemoteFault("bad_report", "Final report has no legal id", "see docs/reference/envelope.md")
        if told.status not in ("succeeded", "failed"):
            raise RemoteFault("bad_report", f"Final report has the status {told.status[:40]!r}; expected succeeded or failed", "")
        result = bytes(told.result).decode("utf-8", "replace") or None
        if result is not None and len(result) > self._max_result_bytes:
            result = None
        error = told.error
        if error is not None:
            error = {key: value for key, value in error.items() if key != "traceback"}
            if len(_encode(error)) > _MAX_ERROR_BYTES:
                error = {"code": str(error.get("code", ""))[:100], "message": str(error.get("message", ""))[:4096]}
        ref = told.result_ref
        return Finished(
            id=told.id,
            status=reported(told.status, error),
            actor=told.actor,
            attempt=told.attempt,
            result=result,
            result_ref=None if ref is None else _encode(ref).decode(),
            error=error,
            parent_id=told.parent_id,
            fanout=tuple(told.fanout),
        )

    async def live(self, request: Request) -> Response:
        """``GET /livez``: the loop turns, or there would be no answer."""
        return PlainTextResponse("ok\n")

    async def ready(self, request: Request) -> Response:
        """``GET /readyz``: each check with what is wrong."""
        lines, is_ready = [], True
        for each in self._checks:
            problem = await each.check()
            lines.append(f"{each.name}: {problem or 'ok'}")
            is_ready = is_ready and not (problem and each.is_vital)
        return PlainTextResponse("\n".join(lines) + "\n", 200 if is_ready else 503)

    async def metrics(self, request: Request) -> Response:
        """``GET /metrics``."""
        try:
            await self._refresh()
        except AsyaError:
            pass  # gauges of the store stay as they were
        return Response(self._metrics.registry.text(), media_type=CONTENT_TYPE)


def internal_app(internal: Internal) -> Starlette:
    """The application of the internal socket."""

    async def gone(request: Request, error: Exception) -> Response:
        return Response(status_code=400)

    return Starlette(
        routes=[
            Route("/internal/v1/progress", internal.progress, methods=["POST"]),
            Route("/internal/v1/final", internal.final, methods=["POST"]),
            Route("/livez", internal.live),
            Route("/readyz", internal.ready),
            Route("/metrics", internal.metrics),
        ],
        exception_handlers={HTTPException: not_found, AsyaError: refused, BodyGone: gone, Exception: unexpected},
    )


async def _body(request: Request) -> bytes:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HttpRefusal("unsupported_media_type", "Body is compressed", "send it as it is")
    return await read_body(request.receive, declared=request.headers.get("content-length"), limit_bytes=_MAX_BODY, seconds=_BODY_SECONDS)


def _progress(told: _Report) -> Progress:
    if not is_envelope_id(told.id) or (told.parent_id is not None and not is_envelope_id(told.parent_id)):
        raise RemoteFault("bad_report", "Progress has no legal id", "see docs/reference/envelope.md")
    if told.state not in _STATES or not 0 <= told.hop <= _MAX_ROUTE or len(told.actor) > 64:
        raise RemoteFault("bad_report", f"Progress of {told.id} has no legal state, hop or actor", "see docs/reference/gateway.md")
    route = told.route
    if route is not None and (len(route) > _MAX_ROUTE or not all(is_route_entry(entry) for entry in route)):
        raise RemoteFault("bad_report", f"Progress of {told.id} has no legal route", "see docs/reference/envelope.md")
    times = told.earlier if told.at is None else {**told.earlier, told.state: told.at}
    return Progress(
        id=told.id,
        actor=told.actor,
        hop=told.hop,
        attempt=told.attempt,
        state=told.state,
        route=tuple(route) if route else None,
        parent_id=told.parent_id,
        times={state: int(at.timestamp() * 1000) for state, at in times.items() if state in _STATES and at.tzinfo is not None},
    )
