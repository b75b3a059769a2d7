"""Starlette's own streaming response as server-sent events: each stream waits for the next event of one list. ``starlette_sse.py PORT``."""

import asyncio
import sys
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

waiting: set[asyncio.Future[bytes]] = set()


async def stream(request: Request) -> StreamingResponse:
    async def events() -> AsyncIterator[bytes]:
        yield b"event: status\ndata: {}\n\n"
        while True:
            future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            waiting.add(future)
            try:
                yield await future
            finally:
                waiting.discard(future)

    return StreamingResponse(events(), media_type="text/event-stream")


async def fire(request: Request) -> Response:
    event = b"event: progress\ndata: " + await request.body() + b"\n\n"
    for future in list(waiting):
        if not future.done():
            future.set_result(event)
    return Response(status_code=200)


app = Starlette(routes=[Route("/stream", stream), Route("/fire", fire, methods=["POST"])])

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, limit_concurrency=12_000)
