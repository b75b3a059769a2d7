"""Writes that wait at the same moment share a transaction; each caller is told its own outcome after the commit.

Used by `service`, which says what is done for all of a group. A commit costs a sync of the disk and, on PostgreSQL, ways to the server:
while one group is written, the next one gathers; what comes alone is written alone, at once. Not for writes that may wait long for what
another transaction holds: one that did would hold up those beside it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from asya_core.wire.errors import Unavailable
from asya_gateway.store.base import Store, Tx

__all__ = ["Gathering"]

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
_MAX_ITEMS: Final = 64
"""In one transaction: bounds how long the first one waits."""
_RETRY_AFTER_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting(Generic[Item, Outcome]):
    item: Item
    told: Callable[[Outcome], None]
    future: "asyncio.Future[Outcome]"


class Gathering(Generic[Item, Outcome]):
    """See the module's text.

    Args:
        store: where it is written.
        together: writes the items of a group, in the order in which they came; gives their outcomes in the same order. A unit of work.
        weight: of one item.
        limit: of the weights of a group, unless one item alone is heavier: bounds a transaction's memory and time.
    """

    def __init__(
        self, store: Store, together: Callable[[Tx, Sequence[Item]], Sequence[Outcome]], *, weight: Callable[[Item], int], limit: int
    ) -> None:
        self._store = store
        self._together = together
        self._weight = weight
        self._limit = limit
        self._waiting: deque[_Waiting[Item, Outcome]] = deque()
        self._wanted = asyncio.Event()
        self._is_over = False

    async def write(self, item: Item, told: Callable[[Outcome], None] = lambda outcome: None) -> Outcome:
        """Write `item`; gives its outcome, which is durable.

        Args:
            item: see `together`.
            told: given the outcome as soon as it is durable, in the loop's thread, whether or not the caller still waits.

        Raises Unavailable ``store``; what `together` raises for this item alone. A cancelled caller does not undo what has begun.
        """
        if self._is_over:
            raise _closed()
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(item=item, told=told, future=future))
        self._wanted.set()
        return await asyncio.shield(future)

    async def run(self) -> None:
        """Write what waits, group by group, until cancelled; nothing is taken any more then."""
        group: list[_Waiting[Item, Outcome]] = []
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                while self._waiting:
                    group = self._group()
                    await self._write(group)
        finally:
            self._is_over = True
            for each in (*group, *self._waiting):
                _fail(each, _closed())
            self._waiting.clear()

    def _group(self) -> list[_Waiting[Item, Outcome]]:
        group = [self._waiting.popleft()]
        weight = self._weight(group[0].item)
        while self._waiting and len(group) < _MAX_ITEMS:
            weight += self._weight(self._waiting[0].item)
            if weight > self._limit:
                break
            group.append(self._waiting.popleft())
        return group

    async def _write(self, group: list[_Waiting[Item, Outcome]]) -> None:
        items = [each.item for each in group]
        try:
            outcomes = await self._store.write(lambda tx: self._together(tx, items))
        except Unavailable as error:
            for each in group:
                _fail(each, Unavailable(error.code, error.message, error.hint, retry_after_seconds=error.retry_after_seconds))
        except Exception as error:
            if len(group) == 1:
                _fail(group[0], error)
                return
            for each in group:  # nothing of the group was written: one item that the store refuses must not fail the others
                await self._write([each])
        else:
            for each, outcome in zip(group, outcomes, strict=True):
                _tell(each, outcome)


def _tell(waiting: _Waiting[Item, Outcome], outcome: Outcome) -> None:
    try:
        waiting.told(outcome)
    except Exception as error:
        _fail(waiting, error)
        return
    if not waiting.future.done():
        waiting.future.set_result(outcome)


def _fail(waiting: _Waiting[Item, Outcome], error: Exception) -> None:
    if not waiting.future.done():
        waiting.future.set_exception(error)
        waiting.future.exception()  # told to the caller, if it still waits


def _closed() -> Unavailable:
    return Unavailable("store", "The gateway is leaving", "try again", retry_after_seconds=_RETRY_AFTER_SECONDS)
