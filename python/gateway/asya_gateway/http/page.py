"""The web page at ``/``, its files below ``/static/``, and the description of the API. They hold no data and need no credential.

Made by `app`. The files are read once, at start.
"""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from asya_gateway.http.errors import HttpRefusal, encode
from asya_gateway.http.openapi import document
from asya_gateway.web import Asset, read_assets

__all__ = ["Page"]


class Page:
    """The handlers."""

    def __init__(self) -> None:
        self._assets = read_assets()
        self._description = encode(document())

    def routes(self) -> list[BaseRoute]:
        """Page, files, icon, description."""
        return [
            Route("/", self.index, methods=["GET"]),
            Route("/static/{path:path}", self.file, methods=["GET"]),
            Route("/favicon.ico", self.icon, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
        ]

    async def index(self, request: Request) -> Response:
        """The page: one document, whose views are in the fragment of its address."""
        return _served(self._assets["index.html"], request)

    async def file(self, request: Request) -> Response:
        """A file of the page."""
        asset = self._assets.get(request.path_params["path"])
        if asset is None:
            raise HttpRefusal("not_found", "There is no such file", "open /")
        return _served(asset, request)

    async def icon(self, request: Request) -> Response:
        """Where browsers look on their own."""
        return RedirectResponse("/static/icon.svg", 308)

    async def openapi(self, request: Request) -> Response:
        """OpenAPI 3.1."""
        return Response(self._description, media_type="application/json")


def _served(asset: Asset, request: Request) -> Response:
    """The file, or 304: browsers ask each time, so a new gateway never runs with files of an older one."""
    headers = {"Cache-Control": "no-cache", "ETag": asset.etag, "Vary": "Accept-Encoding"}
    if asset.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    body = asset.body
    if "gzip" in request.headers.get("accept-encoding", ""):
        body = asset.compressed
        headers["Content-Encoding"] = "gzip"
    return Response(body, media_type=asset.media_type, headers=headers)
