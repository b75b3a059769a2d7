"""Small changes to messages (deletes, visibility) in batches per queue, repeated until done or pointless.

Called by the consumer. One call at a time per queue, so that two changes of one message are made in their order.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import Final, Generic, TypeVar

from asya_core.ops.backoff import Backoff
from asya_core.transports.sqs.batches import Gathering
from asya_core.transports.sqs.calls import Answer
from asya_core.transports.sqs.client import Fault
from asya_core.transports.sqs.settings import MAX_BATCH_ENTRIES
from asya_core.transports.sqs.workers import Workers

__all__ = ["Line", "Made"]

T = TypeVar("T")
_AGAIN: Final = Backoff(initial_seconds=0.05, max_seconds=5.0)


class Made(Enum):
    """Whether a change was made."""

    YES = 0
    NEVER = 1
    """The server refused it, and would again."""
    UNKNOWN = 2
    """Given up without an answer that counts."""


class _Change(Generic[T]):
    __slots__ = ("done", "entry", "until")

    def __init__(self, entry: T, until: float, done: Callable[[Made], None] | None) -> None:
        self.entry = entry
        self.until = until
        self.done = done


class _Lane(Generic[T]):
    def __init__(self) -> None:
        self.waiting: Final = Gathering[_Change[T]]()
        self.is_under_way = False
        self.failures = 0
        self.timer: asyncio.Handle | None = None
        self.timer_at = 0.0
        self.leave_at = 0.0


class Line(Generic[T]):
    """Changes of one kind.

    Args:
        call: makes at most ten changes; gives the answer.
        workers: threads.
        on_answer: told of each answer, for the state of the link.
        patience_seconds: how long a change is tried; afterwards the message may be another's.
    """

    def __init__(
        self,
        call: Callable[[str, Sequence[T]], Answer],
        workers: Workers,
        *,
        on_answer: Callable[[Answer], None],
        patience_seconds: float,
    ) -> None:
        self._call = call
        self._workers = workers
        self._on_answer = on_answer
        self._patience = patience_seconds
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[str, _Lane[T]] = {}
        self._on_empty: Callable[[], None] | None = None
        self._is_stopped = False

    @property
    def is_empty(self) -> bool:
        """Nothing waits and nothing is under way."""
        return not self._lanes

    def add(self, queue: str, entry: T, *, linger_seconds: float = 0.0, done: Callable[[Made], None] | None = None) -> None:
        """Make a change, at the end of this turn of the loop, or with nine others within `linger_seconds`; then tell `done`."""
        lane = self._lanes.get(queue)
        if lane is None:
            lane = self._lanes[queue] = _Lane()
        now = self._loop.time()
        lane.waiting.add(_Change(entry, now + self._patience, done))
        leave_at = now + linger_seconds
        if len(lane.waiting) == 1 or leave_at < lane.leave_at:
            lane.leave_at = leave_at
        if lane.failures == 0:
            self._set_timer(queue, lane)

    def resume(self) -> None:
        """Nothing waits any longer."""
        for queue, lane in list(self._lanes.items()):
            lane.failures = 0
            lane.leave_at = 0.0
            self._set_timer(queue, lane)

    def flush(self, on_empty: Callable[[], None]) -> None:
        """Send what is there now; call `on_empty` when nothing is left."""
        self._on_empty = on_empty
        self.resume()
        if self.is_empty:
            on_empty()

    def stop(self) -> None:
        """Give up what is left."""
        self._is_stopped = True
        for lane in self._lanes.values():
            if lane.timer is not None:
                lane.timer.cancel()
        self._lanes.clear()

    # -------------------------------------------------------------------------------------------------------------- inside

    def _set_timer(self, queue: str, lane: _Lane[T]) -> None:
        if lane.timer is not None:
            if lane.failures == 0 and (len(lane.waiting) >= MAX_BATCH_ENTRIES or lane.timer_at > lane.leave_at):
                lane.timer.cancel()
            else:
                return
        if not lane.is_under_way and lane.waiting:
            now = self._loop.time()
            lane.timer_at = now if len(lane.waiting) >= MAX_BATCH_ENTRIES else max(now, lane.leave_at)
            if lane.timer_at == now:
                lane.timer = self._loop.call_soon(self._leave, queue, lane)
            else:
                lane.timer = self._loop.call_at(lane.timer_at, self._leave, queue, lane)
        else:
            lane.timer = None

    def _leave(self, queue: str, lane: _Lane[T]) -> None:
        lane.timer = None
        if lane.is_under_way or self._is_stopped:
            return
        batch = lane.waiting.take()
        lane.leave_at = 0.0
        lane.is_under_way = True
        self._workers.run(partial(self._call, queue, [change.entry for change in batch]), partial(self._answered, queue, lane, batch))

    def _answered(self, queue: str, lane: _Lane[T], batch: list[_Change[T]], answer: Answer) -> None:
        lane.is_under_way = False
        if self._is_stopped:
            return
        self._on_answer(answer)
        now = self._loop.time()
        again: list[_Change[T]] = []
        finished: list[tuple[_Change[T], Made]] = []
        for number, change in enumerate(batch):
            fault = answer.fault if answer.fault is not None else (answer.entries[number] or (None,))[0]
            if fault is None:
                finished.append((change, Made.YES))
            elif fault in (Fault.NO_QUEUE, Fault.BAD_REQUEST):
                finished.append((change, Made.NEVER))
            elif now < change.until:
                again.append(change)
            else:
                finished.append((change, Made.UNKNOWN))
        lane.waiting.put_back(again)
        if again:
            lane.failures += 1
            delay = _AGAIN.delay_seconds(lane.failures, random.random)
            if lane.timer is not None:
                lane.timer.cancel()
            lane.timer = self._loop.call_later(delay, self._leave, queue, lane)
        else:
            lane.failures = 0
            if lane.waiting:
                self._set_timer(queue, lane)
            elif self._lanes.get(queue) is lane:
                del self._lanes[queue]
        for change, made in finished:
            if change.done is not None:
                change.done(made)
        if self.is_empty and self._on_empty is not None:
            self._on_empty()
