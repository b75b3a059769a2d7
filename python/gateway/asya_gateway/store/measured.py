"""A store whose reads and writes are timed. Made by `app` around the real one; knows no database and no metric."""

import time
from collections.abc import Callable
from typing import TypeVar

from asya_gateway.store.base import Store, Tx

__all__ = ["MeasuredStore"]

T = TypeVar("T")


class MeasuredStore:
    """See `asya_gateway.store.base.Store`; what failed is timed too.

    Args:
        store: does the work.
        read: takes the seconds of each read.
        written: takes those of each transaction.
    """

    def __init__(self, store: Store, *, read: Callable[[float], None], written: Callable[[float], None]) -> None:
        self._store = store
        self._read = read
        self._written = written
        self.is_shared = store.is_shared

    async def open(self) -> None:
        """See `Store.open`."""
        await self._store.open()

    async def close(self) -> None:
        """See `Store.close`."""
        await self._store.close()

    async def write(self, work: Callable[[Tx], T]) -> T:
        """See `Store.write`."""
        began = time.monotonic()
        try:
            return await self._store.write(work)
        finally:
            self._written(time.monotonic() - began)

    async def read(self, work: Callable[[Tx], T]) -> T:
        """See `Store.read`."""
        began = time.monotonic()
        try:
            return await self._store.read(work)
        finally:
            self._read(time.monotonic() - began)
