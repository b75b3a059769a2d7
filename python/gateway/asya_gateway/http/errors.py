"""Errors as callers see them: RFC 9457 problem JSON with a stable code. One table from error to status.

Called by the middleware and by REST, SSE and the internal edge.
"""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from asya_core.wire.errors import AsyaError, Bug, Refused, RemoteFault, Unavailable
from asya_gateway.service import ArgumentsRefused

__all__ = ["STATUS", "HttpRefusal", "encode", "json_response", "problem_response", "refused", "status_of", "unexpected"]

STATUS: Final[dict[str, int]] = {
    "bad_json": 400,
    "bad_request": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "wrong_origin": 403,
    "insufficient_scope": 403,
    "not_found": 404,
    "no_such_tool": 404,
    "no_such_envelope": 404,
    "no_such_flow": 404,
    "method_not_allowed": 405,
    "body_timeout": 408,
    "idempotency_conflict": 409,
    "no_such_record": 404,
    "not_final": 409,
    "not_replayable": 409,
    "already_replayed": 409,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    "wrong_host": 421,
    "bad_arguments": 422,
    "bad_report": 422,
    "rate_limited": 429,
    "too_many_streams": 429,
    "headers_too_large": 431,
    "not_configured": 501,
    "claim_storage": 503,
    "streams_full": 503,
    "overloaded": 503,
}
"""HTTP status by code; a code that is not here has the status of its class: 503 for Unavailable, 400 for RemoteFault, 403 for Refused."""

encode: Final = msgspec.json.Encoder().encode


class HttpRefusal(AsyaError):
    """A request that is refused by the edge itself.

    Args:
        headers: of the answer.
    """

    def __init__(self, code: str, message: str, hint: str = "", *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(code, message, hint)
        self.headers = dict(headers or {})


def status_of(error: AsyaError) -> int:
    """The HTTP status for `error`."""
    known = STATUS.get(error.code)
    if known is not None:
        return known
    match error:
        case Unavailable():
            return 503
        case RemoteFault():
            return 400
        case Refused():
            return 403
        case _:
            return 500


def problem_response(error: AsyaError, *, envelope_id: str | None = None) -> Response:
    """`error` as problem JSON."""
    status = status_of(error)
    is_ours = status == 500
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": "internal" if is_ours else error.code,
        "detail": "The gateway has a fault of its own; its log has the details" if is_ours else error.message,
    }
    if error.hint and not is_ours:
        problem["hint"] = error.hint
    if isinstance(error, ArgumentsRefused):
        problem["errors"] = [{"pointer": each.pointer, "message": each.message} for each in error.problems]
    if envelope_id is not None:
        problem["envelope_id"] = envelope_id
    headers = dict(error.headers) if isinstance(error, HttpRefusal) else {}
    if isinstance(error, Unavailable):
        headers.setdefault("Retry-After", str(max(1, math.ceil(error.retry_after_seconds or 1))))
    return Response(encode(problem), status_code=status, media_type="application/problem+json", headers=headers)


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """`value` as JSON; `msgspec.Raw` inside is spliced."""
    return Response(encode(value), status_code=status, media_type="application/json", headers=dict(headers or {}))


async def refused(request: Request, error: Exception) -> Response:
    """Starlette's handler for `AsyaError`."""
    assert isinstance(error, AsyaError)
    return problem_response(error)


async def unexpected(request: Request, error: Exception) -> Response:
    """Starlette's handler for everything else; the server logs the stack."""
    return problem_response(Bug("internal", str(error)))
