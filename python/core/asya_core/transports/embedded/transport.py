"""The transport over one SQLite file, for laptops and tests; several processes share the file. See docs/reference/transports.md.

Implements `asya_core.transports.base.Transport`. Called by the sidecar, `asya run` and tests.

**One transaction per turn of the loop.** Calls only note what is wanted; the next turn does all of it and receives into the slots that
became free. Batches of 32 move nine times the messages of single ones (17,000/s against 1,930/s, two processes on two cores).

**In the loop's thread.** A transaction takes 30–100 µs; handing it to a thread would cost as much and add a switch to every hop. What
could take long is bounded: a file locked by another process is waited for 20 ms, then tried again by a timer while the loop runs on.

**Idle** costs four looks a second at the file's version counter; a consumer is woken by a socket (wake.py) and by a timer for the next
delayed message.
"""

import asyncio
import random
import socket
from collections import deque
from collections.abc import Callable
from enum import Enum
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

from asya_core.ops.backoff import Backoff
from asya_core.ops.clock import Clock, SystemClock
from asya_core.transports.base import (
    Closed,
    Connected,
    Delivered,
    Disconnected,
    Link,
    Published,
    PublishOutcome,
    Receipt,
    ReceiptsLost,
    Settled,
    SettledOutcome,
    Sink,
    TransportEvent,
)
from asya_core.transports.embedded.file import FileTrouble, QueueFile, Sync, Trouble
from asya_core.transports.embedded.wake import Doorbells
from asya_core.wire.errors import Bug

__all__ = ["EmbeddedTransport"]

_BUSY_SECONDS: Final = 0.02
"""SQLite's own wait for another process's transaction, in which the loop stands still."""
_PATIENCE_SECONDS: Final = 5.0
"""How long a publish waits for a locked file before it is refused."""
_CLOSE_SECONDS: Final = 0.8
"""How long `close` tries to give back what is unsettled; the port allows 1 s."""
_REOPEN: Final = Backoff(initial_seconds=0.1, max_seconds=10.0)
_AGAIN: Final = Backoff(initial_seconds=0.005, max_seconds=1.0)
_TIMER_SLACK_SECONDS: Final = 0.002
"""Timers of uvloop count whole milliseconds; without slack one for a delayed message may come too early and find nothing."""


class _State(Enum):
    NEW = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


class _Publish(NamedTuple):
    queue: str
    token: int
    body: bytes
    since: float


class _Retry(NamedTuple):
    receipt: Receipt
    seq: int
    delay_seconds: float | None
    """None: reject."""


class EmbeddedTransport:
    """A `Transport` over one file.

    Args:
        path: the file, made if missing; its folder must exist and be on a local disk. ``<path>.wake/`` is made beside it.
        sync: ``normal`` (confirmed survives killed processes) or ``full`` (power loss too).
        max_message_bytes: larger publishes are ``too_large``.
        max_file_bytes: size of the file over which publishes are ``refused``; None: the disk's.
        visibility_seconds: after which a message of a dead consumer is handed to another; renewed every third of it.
        poll_seconds: how often an idle transport looks for what no socket told it.
        clock: see boot.py for which reading is used and why.

    Raises ValueError for an unknown `sync`.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        sync: str = "normal",
        max_message_bytes: int = 16 * 1024 * 1024,
        max_file_bytes: int | None = None,
        visibility_seconds: float = 30.0,
        poll_seconds: float = 0.25,
        clock: Clock | None = None,
    ) -> None:
        self._path = Path(path)
        self._sync = Sync(sync)
        self._max_message_bytes = max_message_bytes
        self._max_file_bytes = max_file_bytes
        self._visibility_seconds = visibility_seconds
        self._poll_seconds = poll_seconds
        self._clock = clock or SystemClock()
        self._state = _State.NEW
        self._file: QueueFile | None = None
        self._bells: Doorbells | None = None
        self._bell: socket.socket | None = None
        self._queue: str | None = None
        self._prefetch = 0
        self._held: dict[Receipt, int] = {}
        self._gave_receipts = False
        # What the next transaction is to do.
        self._publishes: deque[_Publish] = deque()
        self._acks: list[tuple[int, str]] = []
        self._requeues: list[tuple[int, str]] = []
        self._retries: list[_Retry] = []
        self._unknown: list[Receipt] = []
        self._orphans: dict[Receipt, int] = {}
        self._renew_due = False
        # Timers.
        self._tick_handle: asyncio.Handle | None = None
        self._due_handle: asyncio.Handle | None = None
        self._poll_handle: asyncio.Handle | None = None
        self._renew_handle: asyncio.Handle | None = None
        self._failures = 0
        self._close_by = 0.0
        self._told: str | None = None

    @property
    def max_message_bytes(self) -> int:
        """See `Transport.max_message_bytes`."""
        return self._max_message_bytes

    def limit_file(self, max_file_bytes: int | None) -> None:
        """Change `max_file_bytes`; what is over it already stays."""
        self._max_file_bytes = max_file_bytes
        if self._file is not None:
            self._file.limit(max_file_bytes)

    # ------------------------------------------------------------------------------------------------------------ calls

    def open(self, sink: Sink) -> None:
        """See `Transport.open`. Raises Bug if called twice."""
        if self._state is not _State.NEW:
            raise Bug("opened_twice", "Transport was opened before; expected one call of open")
        self._loop = asyncio.get_running_loop()
        self._sink = sink
        self._state = _State.OPEN
        self._tick_handle = self._loop.call_soon(self._connect)

    def close(self) -> None:
        """See `Transport.close`."""
        match self._state:
            case _State.NEW:
                self._state = _State.CLOSED
            case _State.OPEN:
                self._state = _State.CLOSING
                self._close_by = self._loop.time() + _CLOSE_SECONDS
                self._failures = 0
                self._tick_soon(replace=True)
            case _State.CLOSING | _State.CLOSED:
                pass

    def subscribe(self, queue: str, prefetch: int) -> None:
        """See `Transport.subscribe`. Raises Bug for a second queue or a prefetch under 1."""
        if prefetch < 1 or self._queue not in (None, queue):
            raise Bug(
                "bad_subscribe", f"Subscribe to {queue!r} with prefetch {prefetch}; expected 1 or more, and {self._queue or 'any queue'!r}"
            )
        self._queue, self._prefetch = queue, prefetch
        self._listen()
        self._tick_soon()

    def unsubscribe(self) -> None:
        """See `Transport.unsubscribe`."""
        self._queue = None
        self._stop_listening()

    def publish(self, token: int, queue: str, body: bytes) -> None:
        """See `Transport.publish`."""
        self._publishes.append(_Publish(queue, token, body, self._clock.monotonic()))
        self._tick_soon()

    def ack(self, receipt: Receipt) -> None:
        """See `Transport.ack`."""
        seq = self._held.pop(receipt, None)
        if seq is not None:
            self._acks.append((seq, receipt))
            self._tick_soon()

    def requeue(self, receipt: Receipt) -> None:
        """See `Transport.requeue`."""
        seq = self._held.pop(receipt, None)
        if seq is not None:
            self._requeues.append((seq, receipt))
            self._tick_soon()

    def retry(self, receipt: Receipt, delay_seconds: float) -> None:
        """See `Transport.retry`."""
        self._settle(receipt, max(0.0, delay_seconds))

    def reject(self, receipt: Receipt) -> None:
        """See `Transport.reject`. Without a dead-letter queue the message stays, comes again later, and the outcome is ``lost``."""
        self._settle(receipt, None)

    def _settle(self, receipt: Receipt, delay_seconds: float | None) -> None:
        seq = self._held.pop(receipt, None)
        if seq is None:
            self._unknown.append(receipt)
        else:
            self._retries.append(_Retry(receipt, seq, delay_seconds))
        self._tick_soon()

    # ------------------------------------------------------------------------------------------------------------ the link

    def _connect(self) -> None:
        self._tick_handle = None
        try:
            self._file = QueueFile(
                self._path, sync=self._sync, clock=self._clock, busy_seconds=_BUSY_SECONDS, max_file_bytes=self._max_file_bytes
            )
        except FileTrouble as trouble:
            self._tell_disconnected(trouble.reason)
            self._reconnect_later()
            return
        self._failures, self._told = 0, None
        self._bells = Doorbells(self._path.with_name(self._path.name + ".wake"))
        self._listen()
        self._poll_handle = self._loop.call_later(self._poll_seconds, self._poll)
        self._renew_handle = self._loop.call_later(self._visibility_seconds / 3, self._renew)
        self._tick_soon()
        if self._gave_receipts:
            self._gave_receipts = False
            self._sink(ReceiptsLost())
        for link in Link:
            self._sink(Connected(link))

    def _reconnect_later(self) -> None:
        self._failures += 1
        delay = _REOPEN.delay_seconds(self._failures, random.random)
        self._tick_handle = self._loop.call_later(delay, self._connect)

    def _lose_link(self, reason: str) -> None:
        self._release_file()
        self._orphans.update(self._held)
        self._orphans.update((retry.receipt, retry.seq) for retry in self._retries)
        lost = [retry.receipt for retry in self._retries]
        self._held.clear()
        self._retries.clear()
        self._failures = 0
        self._reconnect_later()
        self._tell_disconnected(reason)
        for receipt in lost:
            self._sink(Settled(receipt, SettledOutcome.LOST))

    def _release_file(self) -> None:
        for handle in (self._tick_handle, self._due_handle, self._poll_handle, self._renew_handle):
            if handle is not None:
                handle.cancel()
        self._tick_handle = self._due_handle = self._poll_handle = self._renew_handle = None
        self._stop_listening()
        if self._bells is not None:
            self._bells.close()
            self._bells = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def _tell_disconnected(self, reason: str) -> None:
        if reason != self._told:
            self._told = reason
            for link in Link:
                self._sink(Disconnected(link, reason))

    # ------------------------------------------------------------------------------------------------------------ waking up

    def _listen(self) -> None:
        if self._bell is None and self._queue is not None and self._bells is not None:
            self._bell = self._bells.listen(self._queue)
            if self._bell is not None:
                self._loop.add_reader(self._bell, self._on_bell, self._bell)

    def _stop_listening(self) -> None:
        if self._bell is not None:
            self._loop.remove_reader(self._bell)
            if self._bells is not None:
                self._bells.silence(self._bell)
            self._bell = None

    def _on_bell(self, bell: socket.socket) -> None:
        try:
            while bell.recv(1):
                pass
        except OSError:  # BlockingIOError: all bytes are taken
            pass
        if self._free_slots > 0:
            self._tick_soon()

    def _poll(self) -> None:
        assert self._file is not None
        self._poll_handle = self._loop.call_later(self._poll_seconds, self._poll)
        if self._file.is_replaced():
            self._lose_link(f"Queue file {self._path} was moved or removed")
            return
        try:
            if self._file.has_changed() and self._free_slots > 0:
                self._tick_soon()
        except FileTrouble as trouble:
            if trouble.kind is not Trouble.BUSY:
                self._lose_link(trouble.reason)

    def _renew(self) -> None:
        self._renew_handle = self._loop.call_later(self._visibility_seconds / 3, self._renew)
        self._renew_due = True
        self._tick_soon()

    def _tick_soon(self, *, replace: bool = False) -> None:
        if self._tick_handle is not None:
            if not replace:
                return
            self._tick_handle.cancel()
        elif self._file is None and not replace:
            return
        self._tick_handle = self._loop.call_soon(self._tick)

    @property
    def _free_slots(self) -> int:
        return 0 if self._queue is None or self._state is not _State.OPEN else self._prefetch - len(self._held) - len(self._retries)

    # ------------------------------------------------------------------------------------------------------------ one transaction

    def _tick(self) -> None:
        self._tick_handle = None
        if self._file is None:
            self._finish_closing()
            return
        publishes, self._publishes = self._publishes, deque()
        turn = _Turn(self._max_message_bytes)
        try:
            self._transact(turn, self._file, publishes)
        except FileTrouble as trouble:
            self._on_trouble(trouble, publishes)
            return
        self._failures = 0
        self._after(turn, self._bells)

    def _transact(self, turn: "_Turn", file: QueueFile, publishes: "deque[_Publish]") -> None:
        """Everything that is wanted, in one transaction; `turn` notes what came of it."""
        with file.transaction():
            file.ack(self._acks)
            file.requeue(self._requeues)
            turn.settle(file, self._retries, self._visibility_seconds)
            file.release((seq, receipt) for receipt, seq in self._orphans.items())
            turn.publish(file, publishes)
            if self._state is _State.CLOSING:
                file.release((seq, receipt) for receipt, seq in self._held.items())
            elif self._renew_due:
                file.renew(((seq, receipt) for receipt, seq in self._held.items()), self._visibility_seconds)
            limit = self._free_slots + len(self._retries)  # their slots are free now
            if self._state is _State.OPEN and self._queue is not None and limit > 0:
                turn.receive(file, self._queue, limit=limit, visibility_seconds=self._visibility_seconds)

    def _after(self, turn: "_Turn", bells: Doorbells | None) -> None:
        if self._queue is not None and (self._requeues or self._orphans):
            turn.rung.add(self._queue)
        self._acks.clear()
        self._requeues.clear()
        self._retries.clear()
        self._orphans.clear()
        self._renew_due = False
        self._held.update(turn.taken)
        self._gave_receipts = self._gave_receipts or bool(turn.taken)
        if bells is not None:
            for queue in turn.rung:
                bells.ring(queue)
        if self._due_handle is not None:
            self._due_handle.cancel()
            self._due_handle = None
        if turn.next_due is not None:
            self._due_handle = self._loop.call_later(turn.next_due + _TIMER_SLACK_SECONDS, self._tick_soon)
        for receipt in self._take_unknown():
            self._sink(Settled(receipt, SettledOutcome.LOST))
        for event in turn.events:
            self._sink(event)
        if self._state is _State.CLOSING:
            self._finish_closing()

    def _take_unknown(self) -> list[Receipt]:
        unknown, self._unknown = self._unknown, []
        return unknown

    def _on_trouble(self, trouble: FileTrouble, publishes: "deque[_Publish]") -> None:
        now = self._clock.monotonic()
        match trouble.kind:
            case Trouble.BUSY:
                refused = [publish for publish in publishes if now - publish.since > _PATIENCE_SECONDS]
                waiting = [publish for publish in publishes if now - publish.since <= _PATIENCE_SECONDS]
                self._publishes.extendleft(reversed(waiting))
            case Trouble.FULL | Trouble.READ_ONLY | Trouble.BROKEN:
                refused = list(publishes)
        outcome = PublishOutcome.LOST if trouble.kind is Trouble.BROKEN else PublishOutcome.REFUSED
        if self._state is _State.CLOSING and (trouble.kind is not Trouble.BUSY or self._loop.time() >= self._close_by):
            for publish in refused:
                self._sink(Published(publish.token, outcome))
            self._finish_closing()
            return
        if trouble.kind in (Trouble.READ_ONLY, Trouble.BROKEN):
            self._lose_link(trouble.reason)
        else:
            # Without its publishes a transaction may fit on a full disk, so the first try after a refusal comes at once.
            self._failures += 1
            delay = 0.0 if trouble.kind is Trouble.FULL and refused else _AGAIN.delay_seconds(self._failures, random.random)
            self._tick_handle = self._loop.call_later(delay, self._tick)
        for publish in refused:
            self._sink(Published(publish.token, outcome))

    def _finish_closing(self) -> None:
        self._state = _State.CLOSED
        if self._bells is not None and self._queue is not None:
            self._bells.ring(self._queue)
        self._release_file()
        for retry in self._retries:
            self._sink(Settled(retry.receipt, SettledOutcome.LOST))
        for receipt in self._take_unknown():
            self._sink(Settled(receipt, SettledOutcome.LOST))
        for publish in self._publishes:
            self._sink(Published(publish.token, PublishOutcome.LOST))
        self._sink(Closed())


class _Turn:
    """What one transaction did: events to tell, receipts taken, queues to ring at, and when to look again."""

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self.events: list[TransportEvent] = []
        self.taken: dict[Receipt, int] = {}
        self.rung: set[str] = set()
        self.next_due: float | None = None

    def settle(self, file: QueueFile, retries: list[_Retry], visibility_seconds: float) -> None:
        for receipt, seq, delay_seconds in retries:
            if delay_seconds is not None:
                settled = file.retry(seq, receipt, delay_seconds)
            else:
                target = file.dead_letter(seq, receipt)
                settled = target is not None
                if target is not None:
                    self.rung.add(target)
                else:
                    file.retry(seq, receipt, visibility_seconds)
            self.events.append(Settled(receipt, SettledOutcome.OK if settled else SettledOutcome.LOST))

    def publish(self, file: QueueFile, publishes: "deque[_Publish]") -> None:
        by_queue: Callable[[_Publish], str] = lambda publish: publish.queue  # noqa: E731
        for queue, group in groupby(sorted(publishes, key=by_queue), key=by_queue):
            outcome = PublishOutcome.CONFIRMED if file.queue(queue) is not None else PublishOutcome.RETURNED
            bodies = []
            for _, token, body, _ in group:
                too_large = len(body) > self._max_message_bytes
                self.events.append(Published(token, PublishOutcome.TOO_LARGE if too_large else outcome))
                if not too_large:
                    bodies.append(body)
            if bodies and outcome is PublishOutcome.CONFIRMED:
                file.insert(queue, bodies)
                self.rung.add(queue)

    def receive(self, file: QueueFile, queue: str, *, limit: int, visibility_seconds: float) -> None:
        found = file.queue(queue)
        if found is None:  # looked for again as soon as anything in the file changes
            return
        rows = file.receive(queue, limit=limit, visibility_seconds=visibility_seconds)
        given_up = 0
        for seq, raw_receipt, body, deliveries, origin in rows:
            if deliveries > found.max_deliveries and (target := file.dead_letter(seq, raw_receipt)) is not None:
                given_up += 1
                self.rung.add(target)
                continue
            receipt = Receipt(raw_receipt)
            self.taken[receipt] = seq
            self.events.append(Delivered(receipt, body, deliveries, origin))
        if given_up:
            self.next_due = 0.0
        elif len(rows) < limit:
            self.next_due = file.next_due(queue)
