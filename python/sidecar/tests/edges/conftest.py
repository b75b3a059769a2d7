"""One loop per test, one bound for every wait."""

import asyncio
import os
import shutil
import uuid
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from asya_core.ops.logs import LineWriter, Log

WAIT = 30.0


class Events:
    """A sink whose events can be awaited."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    def __call__(self, event: Any) -> None:
        self._queue.put_nowait(event)

    async def next(self) -> Any:
        return await asyncio.wait_for(self._queue.get(), WAIT)

    @property
    def is_empty(self) -> bool:
        return self._queue.empty()


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Runs a test's coroutine in a loop of its own, within three times the bound."""

    def run(body: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(asyncio.wait_for(body, 3 * WAIT))

    return run


@pytest.fixture
def new_events() -> type[Events]:
    return Events


@pytest.fixture
def log() -> Iterator[Log]:
    descriptor = os.open(os.devnull, os.O_WRONLY)
    yield Log(LineWriter(descriptor))
    os.close(descriptor)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: a Unix socket's is at most 107 bytes."""
    path = Path("/tmp") / f"asya-{uuid.uuid4().hex[:8]}"
    path.mkdir()
    yield path
    shutil.rmtree(path, ignore_errors=True)
