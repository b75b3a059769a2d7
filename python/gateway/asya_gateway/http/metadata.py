"""Documents about the gateway itself: the protected-resource metadata of RFC 9728. They hold no data and need no credential.

Called by `app`.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from asya_gateway.access import ROLE_SCOPES
from asya_gateway.http.errors import HttpRefusal, json_response

__all__ = ["Metadata"]

_PATH = "/.well-known/oauth-protected-resource"


class Metadata:
    """The handlers.

    Args:
        resource: public address of this gateway, or None if it is no OAuth resource.
        issuer: of the access tokens.
    """

    def __init__(self, resource: str | None, issuer: str | None) -> None:
        self._resource = resource
        self._issuer = issuer

    def routes(self) -> list[BaseRoute]:
        """The document, for the gateway as a whole and for ``/mcp``."""
        return [Route(_PATH, self._whole, methods=["GET"]), Route(f"{_PATH}/mcp", self._mcp, methods=["GET"])]

    async def _whole(self, request: Request) -> Response:
        return self._document("")

    async def _mcp(self, request: Request) -> Response:
        return self._document("/mcp")

    def _document(self, path: str) -> Response:
        if self._resource is None:
            raise HttpRefusal("not_found", "This gateway takes no OAuth tokens", "ask who runs it for an API key")
        return json_response(
            {
                "resource": self._resource + path,
                "authorization_servers": [self._issuer],
                "scopes_supported": list(ROLE_SCOPES),
                "bearer_methods_supported": ["header"],
                "resource_name": "Asya gateway",
            }
        )
