"""Accepted calls become rows: all that wait at the moment in one transaction, each caller told after its commit.

Called by `service` (written) and `app` (run). A commit costs a sync of the disk and, on PostgreSQL, ways to the server: while one group is
written, the next one gathers. A call with an idempotency key is not for here: it may have to wait for another replica's transaction, and
those beside it would wait with it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from asya_core.wire.errors import Unavailable
from asya_gateway.store.base import Row, Store
from asya_gateway.store.envelopes import NewEnvelope, create_all

__all__ = ["Intake"]

_MAX_GROUP: Final = 64
"""Rows in one transaction: bounds how long the first one waits."""
_MAX_GROUP_CHARACTERS: Final = 4 * 1024 * 1024
"""Of messages in one transaction, unless one alone is larger: bounds its memory."""
_RETRY_AFTER_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    new: NewEnvelope
    accepted: Callable[[Row], None]
    future: "asyncio.Future[Row]"


class Intake:
    """See the module's text.

    Args:
        store: the rows.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[_Waiting] = deque()
        self._wanted = asyncio.Event()
        self._is_over = False

    async def written(self, new: NewEnvelope, accepted: Callable[[Row], None]) -> Row:
        """Write `new`, which has no idempotency key and replays nothing; gives its row, which is durable.

        Args:
            new: the call.
            accepted: given the row as soon as it is durable, in the loop's thread, whether or not the caller still waits.

        Raises Unavailable ``store``, Bug. A caller that is cancelled does not undo what has begun.
        """
        if self._is_over:
            raise _closed()
        future: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(new=new, accepted=accepted, future=future))
        self._wanted.set()
        return await asyncio.shield(future)

    async def run(self) -> None:
        """Write what waits, group by group, until cancelled; nothing is taken any more then."""
        group: list[_Waiting] = []
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

    def _group(self) -> list[_Waiting]:
        group = [self._waiting.popleft()]
        characters = len(group[0].new.message)
        while self._waiting and len(group) < _MAX_GROUP:
            characters += len(self._waiting[0].new.message)
            if characters > _MAX_GROUP_CHARACTERS:
                break
            group.append(self._waiting.popleft())
        return group

    async def _write(self, group: list[_Waiting]) -> None:
        calls = [each.new for each in group]
        try:
            rows = await self._store.write(lambda tx: create_all(tx, calls))
        except Unavailable as error:
            for each in group:
                _fail(each, Unavailable(error.code, error.message, error.hint, retry_after_seconds=error.retry_after_seconds))
        except Exception as error:
            if len(group) == 1:
                _fail(group[0], error)
                return
            for each in group:  # nothing of the group was written: one row that the store refuses must not fail the others
                await self._write([each])
        else:
            for each, row in zip(group, rows, strict=True):
                _settle(each, row)


def _settle(waiting: _Waiting, row: Row) -> None:
    try:
        waiting.accepted(row)
    except Exception as error:
        _fail(waiting, error)
        return
    if not waiting.future.done():
        waiting.future.set_result(row)


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.future.done():
        waiting.future.set_exception(error)
        waiting.future.exception()  # told to the caller, if it still waits


def _closed() -> Unavailable:
    return Unavailable("store", "The gateway is leaving", "try again", retry_after_seconds=_RETRY_AFTER_SECONDS)
