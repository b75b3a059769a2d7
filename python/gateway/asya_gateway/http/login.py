"""Signing in on the page: a pasted key or token becomes a cookie that no script can read. ``/login``, and what `front` reads of the cookie.

The cookie is the credential itself: whatever ends the credential ends the session, on every replica, and nothing is stored here (decision
0021). A cookie travels by itself, so what comes with one is taken from the gateway's own page only.
"""

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from asya_core.ops.logs import Log
from asya_core.wire.errors import RemoteFault
from asya_gateway.access import Principal, Role
from asya_gateway.http.auth import Authenticator, bearer_of
from asya_gateway.http.errors import HttpRefusal, json_response

__all__ = ["COOKIE", "Login", "check_own_page", "cookie_token"]

COOKIE: Final = "__Host-asya"
"""The prefix makes browsers insist on Secure, on ``Path=/`` and on no Domain."""
_MAX_TOKEN: Final = 2_900
"""In base64 and with its attributes it must stay below the 4,096 bytes that browsers take."""
_SECONDS: Final = 43_200
"""Of a session by API key: a working day."""
_SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
_OWN_SITES: Final = ("same-origin", "none")


class Login:
    """The handlers.

    Args:
        authenticator: checks what is pasted.
        kind: ``apiKey``, ``oauth`` or ``none``: what the page asks for.
        namespace: told to who is signed in.
        has_records: whether this gateway reads the end actors' storage.
        log: audit lines.
        wall: clock, in seconds.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        *,
        kind: str,
        namespace: str,
        has_records: bool,
        log: Log,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._authenticator = authenticator
        self._kind = kind
        self._namespace = namespace
        self._has_records = has_records
        self._log = log
        self._wall = wall

    def routes(self) -> list[BaseRoute]:
        """``/login``."""
        return [
            Route("/login", self.look, methods=["GET"]),
            Route("/login", self.sign_in, methods=["POST"]),
            Route("/login", self.sign_out, methods=["DELETE"]),
        ]

    async def look(self, request: Request) -> Response:
        """How one signs in here, and who is signed in."""
        token = bearer_of(request.headers) or cookie_token(request.headers)
        try:
            principal = await self._authenticator.principal(token)
        except HttpRefusal:
            return self._told(None)
        return self._told(principal)

    async def sign_in(self, request: Request) -> Response:
        """Check ``{"key"}`` and set the cookie."""
        check_own_page(request.headers, request.method)
        asked = request.scope.get("asya.json")
        if not isinstance(asked, dict) or set(asked) != {"key"} or not isinstance(asked["key"], str):
            raise RemoteFault("bad_request", 'Body is not {"key": "…"}', "send the API key or access token")
        token = asked["key"].strip()
        if len(token.encode("utf-8", "surrogateescape")) > _MAX_TOKEN:
            raise RemoteFault(
                "bad_request", f"The token is over {_MAX_TOKEN} bytes, more than a cookie holds", "send it as a header instead"
            )
        try:
            principal = await self._authenticator.principal(token)
        except HttpRefusal as refusal:
            self._log.info("audit", action="sign-in", principal="-", outcome=refusal.code)
            raise
        self._log.info("audit", action="sign-in", principal=principal.name, outcome="accepted")
        answer = self._told(principal)
        if self._kind != "none":
            left = _SECONDS if principal.expires_at is None else min(_SECONDS, max(1, int(principal.expires_at - self._wall())))
            answer.headers["Set-Cookie"] = _cookie(urlsafe_b64encode(token.encode()).decode().rstrip("="), left)
        return answer

    async def sign_out(self, request: Request) -> Response:
        """Take the cookie back."""
        check_own_page(request.headers, request.method)
        return Response(status_code=204, headers={"Set-Cookie": _cookie("", 0), "Cache-Control": "no-store"})

    def _told(self, principal: Principal | None) -> Response:
        told: dict[str, Any] = {"auth": self._kind}
        if principal is not None:
            told["principal"] = {"name": principal.name, "roles": [role for role in Role if principal.may(role)]}
            told |= {"namespace": self._namespace, "records": self._has_records}
        return json_response(told, headers={"Cache-Control": "no-store"})


def _cookie(value: str, seconds: int) -> str:
    return f"{COOKIE}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict"


def cookie_token(headers: Mapping[str, str]) -> str | None:
    """The credential in the page's cookie, or None: there is none, or it is not one that was set here."""
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE and value:
            try:
                return urlsafe_b64decode(value + "=" * (-len(value) % 4)).decode()
            except ValueError:
                return None
    return None


def check_own_page(headers: Mapping[str, str], method: str) -> None:
    """Raise HttpRefusal ``wrong_origin`` for a request that a page other than this gateway's may have made.

    SameSite alone does not do: another port of the same host is the same site.
    """
    site = headers.get("sec-fetch-site")
    origin = headers.get("origin")
    is_own = site is None or site in _OWN_SITES
    if origin is not None:
        is_own = is_own and _place(origin) == headers.get("host", "").strip().lower()
    elif method not in _SAFE_METHODS and headers.get("cookie"):
        is_own = False  # browsers tell it with each such request
    if not is_own:
        raise HttpRefusal(
            "wrong_origin", "The request does not come from this gateway's own page", "use the page, or send the key as a header"
        )


def _place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
