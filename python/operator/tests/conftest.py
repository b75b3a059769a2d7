"""Fixtures of the operator's tests: each async test body runs in a loop of its own, with a fake API server."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from python.operator.tests.fake_api import Controllers, FakeApi

WAIT = 100


@pytest.fixture
def with_api() -> Callable[[Callable[[FakeApi], Awaitable[None]]], None]:
    """Runs an async body with a started API server whose controllers work."""

    def run(body: Callable[[FakeApi], Awaitable[None]]) -> None:
        async def whole() -> None:
            api = FakeApi()
            Controllers(api)
            await api.start()
            try:
                async with asyncio.timeout(WAIT):
                    await body(api)
            except TimeoutError:
                for task in asyncio.all_tasks():  # what hangs?
                    task.print_stack()
                raise
            finally:
                await api.stop()

        asyncio.run(whole())

    return run
