"""Receives from one queue and settles: long polls into free places, renewals, deletes, give-backs, retries, rejections.

Called by the transport. Knows no publishes.

**Places.** A poll asks for no more than is free, so what is unsettled never exceeds the prefetch. With a large prefetch it waits a moment
for ten places, since every call costs the same.

**Polls** that nobody waits for any more (after `unsubscribe` or `close`) are left to end by themselves; what they still bring is given back
at once. Breaking the connection would be quicker and worse: the server may hand a message to the broken poll, which then hides it from
everybody for the visibility timeout.
"""

import asyncio
import math
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from asya_core.ops.backoff import Backoff
from asya_core.transports.base import Delivered, Receipt, Settled, SettledOutcome
from asya_core.transports.sqs.calls import ATTEMPT, NOT_BEFORE, ORIGIN, Answer, Calls, Message, Outgoing
from asya_core.transports.sqs.client import Fault
from asya_core.transports.sqs.codec import decode_body, encode_body
from asya_core.transports.sqs.held import Held, Holdings
from asya_core.transports.sqs.line import Line, Made
from asya_core.transports.sqs.settings import MAX_BATCH_ENTRIES, MAX_DELAY_SECONDS, MAX_VISIBILITY_SECONDS, SqsSettings
from asya_core.transports.sqs.workers import Workers

__all__ = ["Consumer"]

_POLLS: Final = 4
"""Receives at a time under load; one otherwise."""
_GATHER_SECONDS: Final = 0.01
"""How long a poll waits for ten places while there is load."""
_DELETE_SECONDS: Final = 0.05
"""How long a delete waits for nine others while more is held."""
_BOUNCE_SECONDS: Final = 0.3
"""How long a message that was given back may take to come to a poll of ours that is still waiting."""
_AGAIN: Final = Backoff(initial_seconds=0.1, max_seconds=10.0)
_MISSING: Final = Backoff(initial_seconds=1.0, max_seconds=30.0)


class Consumer:
    """One subscription.

    Args:
        settings: times.
        calls: the API.
        workers: threads for short calls.
        pollers: threads for polls.
        deliver: hands a message over.
        settled: tells the outcome of a retry or reject.
        on_answer: told of each answer, for the state of the link.
        on_refused: told why messages are refused to us, or None after a poll that was not.
    """

    def __init__(
        self,
        settings: SqsSettings,
        calls: Calls,
        workers: Workers,
        pollers: Workers,
        *,
        deliver: Callable[[Delivered], None],
        settled: Callable[[Settled], None],
        on_answer: Callable[[Answer], None],
        on_refused: Callable[[str | None], None],
    ) -> None:
        self._settings = settings
        self._calls = calls
        self._workers = workers
        self._pollers = pollers
        self._deliver = deliver
        self._settled = settled
        self._on_answer = on_answer
        self._on_refused = on_refused
        self._loop = asyncio.get_running_loop()
        self._queue: str | None = None
        self._prefetch = 0
        self._holdings = Holdings(settings.visibility_seconds)
        self._ready: deque[Receipt] = deque()
        self._settling = 0
        self._polls = 0
        self._asked = 0
        self._was_full = False
        self._failures = 0
        self._is_paused = False
        self._generation = 0
        self._poll_timer: asyncio.TimerHandle | None = None
        self._renew_timer: asyncio.TimerHandle | None = None
        self._gave_back_at = -math.inf
        self._on_polls_ended: Callable[[], None] | None = None
        self._open_settlings: dict[Receipt, None] = {}
        self._deletes: Line[str] = Line(calls.delete, workers, on_answer=on_answer, patience_seconds=settings.visibility_seconds)
        self._changes: Line[tuple[str, int]] = Line(calls.hide, workers, on_answer=on_answer, patience_seconds=settings.visibility_seconds)
        self._is_closed = False

    # ------------------------------------------------------------------------------------------------------------- calls

    def subscribe(self, queue: str, prefetch: int) -> None:
        """See `Transport.subscribe`."""
        if self._queue is None:
            self._generation += 1
            self._failures = 0
            self._is_paused = False
        self._queue, self._prefetch = queue, prefetch
        self._hand_over()
        self._poll_soon()

    def unsubscribe(self) -> None:
        """See `Transport.unsubscribe`. What was taken and not handed over is given back."""
        self._queue = None
        self._generation += 1
        if self._poll_timer is not None:
            self._poll_timer.cancel()
            self._poll_timer = None
        while self._ready:
            self.requeue(self._ready.popleft())

    def ack(self, receipt: Receipt) -> None:
        """See `Transport.ack`."""
        held = self._holdings.take(receipt)
        if held is not None:
            # Others will follow as long as more is held; alone it need not wait for them.
            self._deletes.add(held.queue, held.handle, linger_seconds=_DELETE_SECONDS if len(self._holdings) else 0.0)
            self._freed()

    def requeue(self, receipt: Receipt) -> None:
        """See `Transport.requeue`."""
        held = self._holdings.take(receipt)
        if held is not None:
            self._give_up(held)
            self._freed()

    def _give_up(self, held: Held) -> None:
        self._changes.add(held.queue, (held.handle, 0))
        self._gave_back_at = self._loop.time()

    def retry(self, receipt: Receipt, delay_seconds: float) -> None:
        """See `Transport.retry`. Hides the message for so long; if it has not as many seconds left here, a copy waits instead."""
        held = self._begin_settling(receipt)
        if held is None:
            return
        delay = math.ceil(max(0.0, delay_seconds))
        if delay <= min(held.seconds_left(self._loop.time()) - self._settings.read_timeout_seconds, MAX_VISIBILITY_SECONDS):
            self._changes.add(held.queue, (held.handle, delay), done=lambda made: self._end_settling(receipt, made is Made.YES))
            return
        attributes = {ATTEMPT: str(held.attempt), NOT_BEFORE: str(_now_ms() + delay * 1000)} | (
            {ORIGIN: held.origin} if held.origin else {}
        )
        copy = Outgoing(text=encode_body(held.body), attributes=attributes, delay_seconds=min(delay, MAX_DELAY_SECONDS))
        self._move(receipt, held, copy, lambda: held.queue)

    def reject(self, receipt: Receipt) -> None:
        """See `Transport.reject`. Without a dead-letter queue the message stays, comes again later, and the outcome is ``lost``."""
        held = self._begin_settling(receipt)
        if held is not None:
            copy = Outgoing(text=encode_body(held.body), attributes={ORIGIN: held.queue})
            self._move(receipt, held, copy, lambda: self._calls.dead_letter_queue(held.queue))

    def is_loaded(self) -> bool:
        """Whether so many messages are held that some will be settled in the next milliseconds."""
        return len(self._holdings) >= MAX_BATCH_ENTRIES

    def expired(self) -> bool:
        """Whether a message that is held may have been handed to another."""
        return bool(self._holdings.expired(self._loop.time()))

    def lose_all(self) -> None:
        """All receipts are dead. What may still be ours is given back."""
        now = self._loop.time()
        for held in self._holdings.take_all():
            if held.visible_at > now:
                self._changes.add(held.queue, (held.handle, 0))
        self._ready.clear()

    def resume(self) -> None:
        """The link is back: nothing waits any longer."""
        self._is_paused = False
        self._deletes.resume()
        self._changes.resume()
        self._renew()
        self._poll_soon()

    def close(self, done: Callable[[], None], *, seconds: float) -> None:
        """Give back what is held, let go of what was settled, then `done`, after `seconds` at the latest."""
        self.unsubscribe()
        for receipt in list(self._open_settlings):
            self._end_settling(receipt, False)
        for held in self._holdings.take_all():
            self._give_up(held)
        if self._renew_timer is not None:
            self._renew_timer.cancel()
        self._is_closed = True
        deadline: asyncio.TimerHandle | None = None

        def finish() -> None:
            nonlocal deadline
            if deadline is not None:
                deadline.cancel()
                deadline = None
                self._deletes.stop()
                self._changes.stop()
                done()

        def line_empty() -> None:
            if self._deletes.is_empty and self._changes.is_empty:
                # What was given back goes to our own poll first, if one is waiting; it must not go down with the process.
                if self._polls and self._loop.time() - self._gave_back_at < _BOUNCE_SECONDS:
                    self._on_polls_ended = finish
                    self._loop.call_later(_BOUNCE_SECONDS, finish)
                else:
                    self._loop.call_soon(finish)

        deadline = self._loop.call_later(seconds, finish)
        self._deletes.flush(line_empty)
        self._changes.flush(line_empty)

    # --------------------------------------------------------------------------------------------------------- receiving

    @property
    def _unsettled(self) -> int:
        return len(self._holdings) + self._settling

    @property
    def _free(self) -> int:
        return 0 if self._queue is None else self._prefetch - self._unsettled - self._asked

    def _freed(self) -> None:
        self._hand_over()
        if self._free >= min(MAX_BATCH_ENTRIES, self._prefetch) or self._prefetch < MAX_BATCH_ENTRIES or not self._unsettled:
            self._poll_soon()
        elif self._poll_timer is None and self._queue is not None:
            self._set_poll_timer(_GATHER_SECONDS)

    def _poll_due(self) -> None:
        self._poll_timer = None
        self._is_paused = False
        self._poll_soon()

    def _poll_soon(self) -> None:
        """Poll if there is room; one poll waits for messages, the others only under load and take what is there."""
        while self._queue is not None and not self._is_closed and not self._is_paused and self._free > 0:
            if self._polls and not (self._was_full and self._failures == 0 and self._polls < _POLLS):
                return
            # After a failure no long wait before the first answer tells that all is well.
            self._poll(wait_seconds=0 if self._polls or self._failures else self._settings.wait_seconds)

    def _poll(self, *, wait_seconds: int) -> None:
        assert self._queue is not None
        queue, count = self._queue, min(MAX_BATCH_ENTRIES, self._free)
        self._polls += 1
        self._asked += count
        self._pollers.run(
            partial(self._receive, queue, count, wait_seconds),
            partial(self._received, queue, count, self._generation),
        )

    def _receive(self, queue: str, count: int, wait_seconds: int) -> Answer:
        """In a thread that may outlive the loop."""
        answer = self._calls.receive(queue, count, wait_seconds=wait_seconds, visibility_seconds=self._settings.visibility_seconds)
        if self._is_closed and answer.messages:
            self._calls.hide(queue, [(each.handle, 0) for each in answer.messages])
            return Answer()  # given back
        return answer

    def _received(self, queue: str, asked: int, generation: int, answer: Answer) -> None:
        if not self._is_closed:
            self._on_answer(answer)  # with the places still taken: it may begin another poll
            if answer.fault in (None, Fault.DENIED):
                self._on_refused(answer.reason or None)
        self._polls -= 1
        self._asked -= asked
        if self._is_closed or generation != self._generation:
            self._give_back(queue, answer.messages)
            if self._on_polls_ended is not None and not self._polls:
                self._on_polls_ended()
            if not self._is_closed:
                self._poll_soon()
            return
        if answer.fault is not None:
            self._poll_later(answer.fault)
            return
        self._failures = 0
        self._was_full = len(answer.messages) == asked
        now = self._loop.time()
        for message in answer.messages:
            self._take(queue, message, now)
        self._hand_over()
        self._renew_later()
        self._poll_soon()

    def _take(self, queue: str, message: Message, now: float) -> None:
        wait = _number(message.attributes.get(NOT_BEFORE)) - _now_ms()
        if wait > 0:
            self._changes.add(queue, (message.handle, min(math.ceil(wait / 1000), MAX_VISIBILITY_SECONDS)))
            return
        receipt = self._holdings.add(
            Held(
                queue=queue,
                handle=message.handle,
                body=decode_body(message.text),
                attempt=message.receives + _number(message.attributes.get(ATTEMPT)),
                origin=message.attributes.get(ORIGIN) or message.source,
                received_at=now,
                visible_at=now + self._settings.visibility_seconds,
            )
        )
        self._ready.append(receipt)

    def _hand_over(self) -> None:
        """Hand over what is ready, as far as the prefetch, which may have been lowered meanwhile, allows."""
        while self._ready and self._queue is not None and self._unsettled - len(self._ready) < self._prefetch:
            receipt = self._ready.popleft()
            held = self._holdings.get(receipt)
            if held is not None:
                self._deliver(Delivered(receipt, held.body, held.attempt, held.origin))

    def _give_back(self, queue: str, messages: Sequence[Message]) -> None:
        if messages:
            self._workers.run(partial(self._calls.hide, queue, [(each.handle, 0) for each in messages]), None)

    def _poll_later(self, fault: Fault) -> None:
        self._failures += 1
        self._is_paused = True
        backoff = _MISSING if fault in (Fault.NO_QUEUE, Fault.DENIED, Fault.BAD_REQUEST) else _AGAIN
        self._set_poll_timer(backoff.delay_seconds(self._failures, random.random))

    def _set_poll_timer(self, seconds: float) -> None:
        if self._poll_timer is not None:
            self._poll_timer.cancel()
        self._poll_timer = self._loop.call_later(seconds, self._poll_due)

    # ---------------------------------------------------------------------------------------------------------- renewing

    def _renew_later(self) -> None:
        if self._renew_timer is None and len(self._holdings) and not self._is_closed:
            self._renew_timer = self._loop.call_later(self._settings.visibility_seconds / 6, self._renew_due)

    def _renew_due(self) -> None:
        self._renew_timer = None
        self._renew()
        self._renew_later()

    def _renew(self) -> None:
        now = self._loop.time()
        for receipt, held in self._holdings.due(now):
            seconds = min(self._settings.visibility_seconds, math.floor(held.seconds_left(now)))
            if seconds <= 0:  # twelve hours are over
                self._holdings.take(receipt)
                self._freed()
                continue
            held.is_renewing = True
            self._changes.add(held.queue, (held.handle, seconds), done=partial(self._renewed, receipt, held, now + seconds))

    def _renewed(self, receipt: Receipt, held: Held, visible_at: float, made: Made) -> None:
        held.is_renewing = False
        match made:
            case Made.YES:
                held.visible_at = visible_at
            case Made.NEVER if self._holdings.take(receipt) is not None:
                self._freed()  # it was deleted or is another's: there is nothing left to settle here
            case _:
                pass  # tried again at the next turn; see `expired`

    # ---------------------------------------------------------------------------------------------------------- settling

    def _begin_settling(self, receipt: Receipt) -> Held | None:
        held = self._holdings.take(receipt)
        if held is None:
            self._loop.call_soon(self._settled, Settled(receipt, SettledOutcome.LOST))
            return None
        self._settling += 1
        self._open_settlings[receipt] = None
        return held

    def _end_settling(self, receipt: Receipt, ok: bool) -> None:
        if receipt in self._open_settlings:
            del self._open_settlings[receipt]
            self._settling -= 1
            self._settled(Settled(receipt, SettledOutcome.OK if ok else SettledOutcome.LOST))
            if not self._is_closed:
                self._freed()

    def _move(self, receipt: Receipt, held: Held, copy: Outgoing, find_target: Callable[[], str | None]) -> None:
        def move() -> Answer:
            target = find_target()
            if target is None:
                return Answer(fault=Fault.BAD_REQUEST, reason="there is no dead-letter queue")
            return self._calls.move(held.queue, held.handle, target, copy)

        def moved(answer: Answer) -> None:
            self._on_answer(answer)
            ok = answer.fault is None and all(entry is None for entry in answer.entries)
            self._end_settling(receipt, ok)

        self._workers.run(move, moved)


def _number(text: str | None) -> int:
    """Of a message attribute that anybody may have written."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 16 else 0


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
