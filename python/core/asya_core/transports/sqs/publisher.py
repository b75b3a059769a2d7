"""Publishes: a lane per queue, each with what waits and what is under way; what each answer means for each message.

Called by the transport. Knows the port's outcomes, no deliveries.

A call leaves at once if none is under way for that queue; what comes meanwhile gathers, so that batches grow with the load and nothing
waits without it. With ten gathered, more calls go side by side. While many messages are held, more is sure to come in a moment: then a
call waits for ten, or for 10 ms.
"""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Final

from asya_core.ops.backoff import Backoff
from asya_core.transports.base import PublishOutcome
from asya_core.transports.sqs.batches import Gathering
from asya_core.transports.sqs.calls import Answer, Calls, Outgoing
from asya_core.transports.sqs.client import Fault
from asya_core.transports.sqs.codec import encode_body
from asya_core.transports.sqs.settings import MAX_BATCH_ENTRIES, MAX_MESSAGE_BYTES, is_queue_name
from asya_core.transports.sqs.workers import Workers

__all__ = ["Publisher"]

_SIDE_BY_SIDE: Final = 4
"""Calls for one queue at a time; 4 batches of 10 within a round trip of 20 ms are 2,000 messages a second."""
_GATHER_SECONDS: Final = 0.01
_AGAIN: Final = Backoff(initial_seconds=0.05, max_seconds=10.0)
_TOO_LONG: Final = ("must be shorter than", "too long", "MessageTooLong")
"""Words of the answer about a message over the queue's own limit (MaximumMessageSize); its code, InvalidParameterValue, says less."""


class _Item:
    __slots__ = ("is_alone", "message", "size", "token")

    def __init__(self, token: int, message: Outgoing, size: int) -> None:
        self.token = token
        self.message = message
        self.size = size
        self.is_alone = False


class _Lane:
    def __init__(self, queue: str) -> None:
        self.queue: Final = queue
        self.waiting: Final = Gathering[_Item](lambda item: item.size, lambda item: item.is_alone)
        self.under_way = 0
        self.failures = 0
        self.pause: asyncio.TimerHandle | None = None
        self.gathering: asyncio.TimerHandle | None = None


class Publisher:
    """Sends.

    Args:
        calls: the API.
        workers: threads.
        on_outcome: told once per token.
        on_answer: told of each answer, for the state of the link.
        on_throttled: told whether the server takes no publishes; each change once.
        more_will_come: whether publishes are likely in the next milliseconds.
    """

    def __init__(
        self,
        calls: Calls,
        workers: Workers,
        *,
        on_outcome: Callable[[int, PublishOutcome], None],
        on_answer: Callable[[Answer], None],
        on_throttled: Callable[[bool], None],
        more_will_come: Callable[[], bool],
    ) -> None:
        self._calls = calls
        self._workers = workers
        self._on_outcome = on_outcome
        self._on_answer = on_answer
        self._on_throttled = on_throttled
        self._more_will_come = more_will_come
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[str, _Lane] = {}
        self._open: dict[int, None] = {}
        self._is_throttled = False
        self._is_closed = False
        self._pump_handles: dict[str, asyncio.Handle] = {}

    def publish(self, token: int, queue: str, body: bytes) -> None:
        """See `Transport.publish`; the outcome is never told within this call."""
        self._open[token] = None
        if not is_queue_name(queue):
            self._loop.call_soon(self._tell, token, PublishOutcome.RETURNED)
            return
        text = encode_body(body)
        size = len(body) if len(text) <= len(body) else len(text.encode())
        if size > MAX_MESSAGE_BYTES:
            self._loop.call_soon(self._tell, token, PublishOutcome.TOO_LARGE)
            return
        lane = self._lanes.get(queue)
        if lane is None:
            lane = self._lanes[queue] = _Lane(queue)
        lane.waiting.add(_Item(token, Outgoing(text=text), size))
        if queue not in self._pump_handles:  # at the end of this turn of the loop, with all that it publishes
            self._pump_handles[queue] = self._loop.call_soon(self._pump_soon, queue)

    def too_large(self, token: int) -> None:
        """Answer a publish that is over the transport's own limit."""
        self._open[token] = None
        self._loop.call_soon(self._tell, token, PublishOutcome.TOO_LARGE)

    def resume(self) -> None:
        """The link is back: no lane waits any longer."""
        for lane in list(self._lanes.values()):
            if lane.pause is not None:
                lane.pause.cancel()
                lane.pause = None
            self._pump(lane, now=True)

    def give_up(self) -> None:
        """Answer everything that has no outcome with ``lost``; nothing is sent any more."""
        for token in list(self._open):
            self._tell(token, PublishOutcome.LOST)
        self._is_closed = True
        for lane in self._lanes.values():
            lane.waiting.take_all()
            for timer in (lane.pause, lane.gathering):
                if timer is not None:
                    timer.cancel()

    # -------------------------------------------------------------------------------------------------------------- inside

    def _tell(self, token: int, outcome: PublishOutcome) -> None:
        if token in self._open:
            del self._open[token]
            self._on_outcome(token, outcome)

    def _pump_soon(self, queue: str) -> None:
        del self._pump_handles[queue]
        lane = self._lanes.get(queue)
        if lane is not None:
            self._pump(lane)

    def _pump(self, lane: _Lane, *, now: bool = False) -> None:
        """Send what may leave; `now`: also what would wait for more."""
        if self._is_closed or lane.pause is not None:
            return
        while lane.waiting and self._may_leave(lane, now=now):
            batch = lane.waiting.take()
            lane.under_way += 1
            messages = [item.message for item in batch]
            self._workers.run(partial(self._calls.send, lane.queue, messages), partial(self._answered, lane, batch))
        if lane.waiting and lane.under_way == 0:
            if lane.gathering is None:
                lane.gathering = self._loop.call_later(_GATHER_SECONDS, self._gathered, lane)
        elif lane.gathering is not None:
            lane.gathering.cancel()
            lane.gathering = None
        if not lane.waiting and lane.under_way == 0 and lane.failures == 0:
            self._lanes.pop(lane.queue, None)

    def _may_leave(self, lane: _Lane, *, now: bool) -> bool:
        if len(lane.waiting) >= MAX_BATCH_ENTRIES:
            return lane.under_way == 0 or (lane.failures == 0 and lane.under_way < _SIDE_BY_SIDE)
        return lane.under_way == 0 and (now or not self._more_will_come())

    def _gathered(self, lane: _Lane) -> None:
        lane.gathering = None
        self._pump(lane, now=True)

    def _answered(self, lane: _Lane, batch: list[_Item], answer: Answer) -> None:
        lane.under_way -= 1
        if self._is_closed:
            return
        self._on_answer(answer)
        again: list[_Item] = []
        slow = False
        is_throttled = answer.fault is Fault.THROTTLED
        for number, item in enumerate(batch):
            fault, reason = (answer.fault, answer.reason) if answer.fault is not None else answer.entries[number] or (None, "")
            outcome = _outcome(fault, reason, is_its_own=answer.fault is None or len(batch) == 1)
            is_throttled |= fault is Fault.THROTTLED
            slow |= fault not in (None, Fault.NO_QUEUE, Fault.BAD_REQUEST)
            if outcome is None:
                item.is_alone |= fault is Fault.BAD_REQUEST
                again.append(item)
            else:
                self._tell(item.token, outcome)
        lane.waiting.put_back(again)
        self._throttle(is_throttled)
        if slow:
            lane.failures += 1
            self._wait(lane)
        else:
            lane.failures = 0
            self._pump(lane)

    def _wait(self, lane: _Lane) -> None:
        if lane.pause is None:
            delay = _AGAIN.delay_seconds(lane.failures, random.random)
            lane.pause = self._loop.call_later(delay, self._pause_over, lane)

    def _pause_over(self, lane: _Lane) -> None:
        lane.pause = None
        self._pump(lane)

    def _throttle(self, is_throttled: bool) -> None:
        if is_throttled is not self._is_throttled:
            self._is_throttled = is_throttled
            self._on_throttled(is_throttled)


def _outcome(fault: Fault | None, reason: str, *, is_its_own: bool) -> PublishOutcome | None:
    """What a message's share of an answer means for it; None: send it again.

    Args:
        fault: of the message or of the call that carried it.
        reason: its sentence.
        is_its_own: the fault is this message's and not perhaps a neighbour's.
    """
    match fault:
        case None:
            return PublishOutcome.CONFIRMED
        case Fault.NO_QUEUE:
            return PublishOutcome.RETURNED
        case Fault.NOT_SENT | Fault.THROTTLED:
            return None
        case Fault.UNCERTAIN:
            return PublishOutcome.LOST
        case Fault.DENIED:
            return PublishOutcome.REFUSED
        case Fault.BAD_REQUEST:
            if not is_its_own:
                return None  # alone next time
            return PublishOutcome.TOO_LARGE if any(words in reason for words in _TOO_LONG) else PublishOutcome.REFUSED
