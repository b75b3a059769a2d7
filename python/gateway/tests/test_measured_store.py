"""The timed store passes everything on and tells how long it took."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from asya_core.wire.errors import Unavailable
from asya_gateway.store.base import Tx
from asya_gateway.store.measured import MeasuredStore


class Echo:
    is_shared = True

    def __init__(self) -> None:
        self.said: list[str] = []

    async def open(self) -> None:
        self.said.append("open")

    async def close(self) -> None:
        self.said.append("close")

    async def write(self, work: Callable[[Tx], Any]) -> Any:
        raise Unavailable("store", "away", "wait")

    async def read(self, work: Callable[[Tx], Any]) -> Any:
        return work(None)  # type: ignore[arg-type]


def test_reads_and_failed_writes_are_passed_on_and_timed() -> None:
    async def story() -> None:
        echo, reads, writes = Echo(), list[float](), list[float]()
        store = MeasuredStore(echo, read=reads.append, written=writes.append)
        await store.open()
        assert store.is_shared
        assert await store.read(lambda tx: 7) == 7
        with pytest.raises(Unavailable):
            await store.write(lambda tx: 8)
        await store.close()
        assert echo.said == ["open", "close"]
        assert (len(reads), len(writes)) == (1, 1)
        assert min(reads + writes) >= 0

    asyncio.run(story())
