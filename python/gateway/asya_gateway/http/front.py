"""The one middleware before everything public: who asks, from where, how much, and is the body JSON. REST and MCP come behind it.

Sets ``scope["asya.principal"]``, ``scope["asya.json"]`` (the parsed body) and counts the request. Writes one log line per request. The
bodies of both REST and MCP are parsed here, strictly, before any lenient parser sees them.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from asya_core.ops.logs import Log
from asya_core.wire.errors import AsyaError, Bug
from asya_gateway.access import Principal
from asya_gateway.http.auth import Authenticator, bearer_of
from asya_gateway.http.errors import HttpRefusal, problem_response
from asya_gateway.http.limits import BodyGone, Limits, RateLimiter, read_body
from asya_gateway.http.login import check_own_page, cookie_token
from asya_gateway.strict_json import parse

__all__ = ["Front", "Hosts", "principal_of"]

_OPEN_PATHS: Final = ("/", "/favicon.ico", "/openapi.json", "/login")
_OPEN_PREFIXES: Final = ("/static/", "/.well-known/")
"""Hold no data, need no credential; ``/login`` looks at it itself."""
_MAX_HEADERS_BYTES: Final = 16 * 1024
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
        b"base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    ),
)
"""The page runs its own files alone, and no text of it can become markup or script."""


class Hosts:
    """Names under which this gateway may be called.

    Args:
        names: beside loopback; ``*`` is any.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = frozenset(name.lower() for name in (*_LOOPBACK, *names))
        self.is_any = "*" in names

    def allows(self, host: str) -> bool:
        """Whether a Host header, or the host of an Origin, is one of ours; its port does not matter."""
        if self.is_any:
            return True
        name = host.strip().lower()
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        return name in self.names


class Front:
    """See the module's text.

    Args:
        app: what comes behind.
        authenticator: tells who asks.
        hosts: accepted Host and Origin.
        limits: how much.
        log: a line per request.
        counted: route, status, seconds of each request.
        refused: code of each refusal of this middleware.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticator: Authenticator,
        hosts: Hosts,
        limits: Limits,
        log: Log,
        counted: Callable[[str, int, float], None] = lambda route, status, seconds: None,
        refused: Callable[[str], None] = lambda code: None,
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._hosts = hosts
        self._limits = limits
        self._rate = RateLimiter(limits, time.monotonic)
        self._log = log
        self._counted = counted
        self._refused = refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_SECURITY_HEADERS]
            await send(message)

        try:
            try:
                receiving = await self._admit(scope, receive)
                await self._app(scope, receiving, sending)
            except BodyGone:
                status = 499
            except AsyaError as error:
                if status:
                    raise
                if isinstance(error, Bug):
                    self._log.error("bug", reason=error.message)
                self._refused(error.code)
                if error.code in ("unauthenticated", "wrong_origin", "wrong_host"):
                    self._log.info("audit", action="refuse", principal=_name(scope), outcome=error.code, path=scope["path"][:200])
                await problem_response(error)(scope, receive, sending)
        finally:
            seconds = time.monotonic() - began
            route = getattr(scope.get("route"), "path", "/mcp" if scope["path"] == "/mcp" else "other")
            self._counted(route, status, seconds)
            self._log.info(
                "request",
                method=scope["method"],
                path=scope["path"][:200],
                status=status,
                principal=_name(scope),
                ms=round(seconds * 1000, 1),
            )

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        if sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > _MAX_HEADERS_BYTES:
            raise HttpRefusal("headers_too_large", f"Headers are over {_MAX_HEADERS_BYTES} bytes", "send fewer")
        headers = Headers(scope=scope)
        self._check_place(headers)
        if not is_open(scope["path"]):
            principal = await self._principal(headers, scope["method"])
            scope["asya.principal"] = principal
            self._rate.take(principal.name)
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return receive
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise HttpRefusal("unsupported_media_type", "Body is compressed", "send it as it is")
        body = await read_body(
            receive, declared=headers.get("content-length"), limit_bytes=self._limits.body_bytes, seconds=self._limits.body_seconds
        )
        if body:
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                raise HttpRefusal(
                    "unsupported_media_type", f"Body is {kind or 'of no type'}; expected application/json", "set Content-Type"
                )
            scope["asya.json"] = parse(body)
        return _replayed(body, receive)

    async def _principal(self, headers: Headers, method: str) -> Principal:
        token = bearer_of(headers)
        if token is not None or (kept := cookie_token(headers)) is None:
            return await self._authenticator.principal(token)
        check_own_page(headers, method)
        return replace(await self._authenticator.principal(kept), is_session=True)

    def _check_place(self, headers: Headers) -> None:
        host = headers.get("host", "")
        if not self._hosts.allows(host):
            raise HttpRefusal("wrong_host", f"Host {host[:100]!r} is none of this gateway's", "add it to ASYA_GATEWAY_HOSTS")
        origin = headers.get("origin")
        if origin is None:
            return
        try:
            name = urlsplit(origin).netloc
        except ValueError:
            name = ""
        if not name or not self._hosts.allows(name):
            raise HttpRefusal("wrong_origin", f"Origin {origin[:100]!r} is none of this gateway's", "call it from its own page")


def is_open(path: str) -> bool:
    """Whether `path` holds no data and needs no credential."""
    return path in _OPEN_PATHS or path.startswith(_OPEN_PREFIXES)


def principal_of(scope: Mapping[str, Any]) -> Principal:
    """Who asks; set by the middleware for all but open paths."""
    principal: Principal = scope["asya.principal"]
    return principal


def _name(scope: Scope) -> str:
    principal = scope.get("asya.principal")
    return principal.name if isinstance(principal, Principal) else "-"


def _replayed(body: bytes, receive: Receive) -> Receive:
    is_sent = False

    async def replay() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
