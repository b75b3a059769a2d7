"""Batches: what has gathered, cut to what one call may carry. Pure.

Called by the publisher and the consumer. Source of the limits: settings.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from asya_core.transports.sqs.settings import MAX_BATCH_BYTES, MAX_BATCH_ENTRIES

__all__ = ["Gathering"]

T = TypeVar("T")


class Gathering(Generic[T]):
    """Items in line.

    Args:
        size: bytes of an item; None: they weigh nothing.
        is_alone: whether an item must not share a call.
    """

    def __init__(self, size: Callable[[T], int] | None = None, is_alone: Callable[[T], bool] = lambda _item: False) -> None:
        self._size: Final = size
        self._is_alone = is_alone
        self._line: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._line)

    def add(self, item: T) -> None:
        """At the end."""
        self._line.append(item)

    def put_back(self, items: Iterable[T]) -> None:
        """At the front, in their order."""
        self._line.extendleft(reversed(list(items)))

    def take(self) -> list[T]:
        """The first items: at most ten and at most 1 MiB together, at least one if there is one."""
        batch: list[T] = []
        total = 0
        while self._line and len(batch) < MAX_BATCH_ENTRIES:
            first = self._line[0]
            total += self._size(first) if self._size is not None else 0
            if batch and (total > MAX_BATCH_BYTES or self._is_alone(first)):
                break
            batch.append(self._line.popleft())
            if self._is_alone(first):
                break
        return batch

    def take_all(self) -> list[T]:
        """Everything."""
        items = list(self._line)
        self._line.clear()
        return items
