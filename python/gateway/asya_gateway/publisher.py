"""The outbox: accepted envelopes reach their first queue, whatever ends in between. Called by `service` (hurry) and `app` (run).

A row is written first, then published with a confirm, then marked. The process that made the row has a lease on it; when that ends anybody
takes it over. Published twice at worst, with the same id and the same bytes.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

from asya_core.ops.clock import Clock
from asya_core.ops.logs import Log
from asya_core.transports.base import (
    Blocked,
    Closed,
    Connected,
    Disconnected,
    Published,
    PublishOutcome,
    Transport,
    TransportEvent,
    Unblocked,
)
from asya_core.wire.errors import AsyaError, Unavailable
from asya_core.wire.names import queue_name, split_entry
from asya_gateway.status import Status
from asya_gateway.store.base import Row, Store, Tx
from asya_gateway.store.envelopes import Finished, finish

__all__ = ["LEASE_MS", "Publisher"]

LEASE_MS: Final = 30_000
"""How long the process that wrote a row has to publish it, in milliseconds."""
_UNROUTABLE_MS: Final = 300_000
"""How long a queue may be missing before the envelope fails."""
_FIRST_PAUSE_MS: Final = 1_000
_LAST_PAUSE_MS: Final = 30_000
_CLAIM: Final = 200
_MAX_WAITING: Final = 10_000
_LOOK_SECONDS: Final = 1.0


class Publisher:
    """One transport, used for publishing only.

    Args:
        transport: not open yet.
        namespace: of the queues.
        store: the rows.
        clock: for leases.
        log: one line per change.
        changed: told the ids of envelopes that failed here.
        published: counts publishes by outcome.
        settled: told each outcome of an envelope's publish as it comes, by its id.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        namespace: str,
        store: Store,
        clock: Clock,
        log: Log,
        changed: Callable[[list[str]], None],
        published: Callable[[str], None] = lambda outcome: None,
        settled: Callable[[str, PublishOutcome], None] | None = None,
    ) -> None:
        self._transport = transport
        self._namespace = namespace
        self._store = store
        self._clock = clock
        self._log = log
        self._changed = changed
        self._count = published
        self._tell = settled
        self._open: dict[int, Row] = {}
        self._ids: set[str] = set()
        self._token = 0
        self._settled: asyncio.Queue[tuple[Row, PublishOutcome]] = asyncio.Queue()
        self._closed = asyncio.Event()
        self.problem = "not connected yet"
        """Why the broker cannot be reached; empty if it can."""

    @property
    def is_full(self) -> bool:
        """Whether so many envelopes wait for the broker that no more are taken."""
        return len(self._open) >= _MAX_WAITING

    @property
    def max_message_bytes(self) -> int:
        """See `Transport.max_message_bytes`."""
        return self._transport.max_message_bytes

    def hurry(self, row: Row) -> None:
        """Publish a row that this process just wrote and holds the lease of."""
        if row["id"] in self._ids:
            return
        self._token += 1
        self._open[self._token] = row
        self._ids.add(row["id"])
        self._transport.publish(self._token, queue_name(self._namespace, _actor(row)), row["message"].encode())

    async def run(self) -> None:
        """Publish what was left behind, mark what was published; until cancelled."""
        self._transport.open(self._take)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._mark_loop())
            group.create_task(self._claim_loop())

    async def close(self, timeout_seconds: float) -> None:
        """Let go of the broker; what is unconfirmed is published again after its lease."""
        self._transport.close()
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._closed.wait()
        except TimeoutError:
            self._log.warning("broker did not let go in time")

    def _take(self, event: TransportEvent) -> None:
        match event:
            case Published():
                row = self._open.pop(event.token, None)
                if row is not None:
                    self._settled.put_nowait((row, event.outcome))
                    if self._tell is not None:
                        self._tell(row["id"], event.outcome)
            case Connected():
                self.problem = ""
            case Disconnected():
                if not self.problem:
                    self._log.warning("broker lost", reason=event.reason)
                self.problem = event.reason
            case Blocked():
                self.problem = "the broker takes no messages for now"
            case Unblocked():
                self.problem = ""
            case Closed():
                self._closed.set()
            case _:
                pass

    async def _mark_loop(self) -> None:
        while True:
            batch = [await self._settled.get()]
            while not self._settled.empty() and len(batch) < _CLAIM:
                batch.append(self._settled.get_nowait())
            try:
                failed = await self._store.write(lambda tx, batch=batch: self._mark(tx, batch))  # type: ignore[misc]
            except AsyaError as error:
                # Left unmarked: published again after the lease, with the same id and bytes.
                self._log.warning("publishes could not be marked", reason=error.message, count=len(batch))
                failed = []
            for row, outcome in batch:
                self._ids.discard(row["id"])
                self._count(outcome.value)
            self._changed(failed)

    def _mark(self, tx: Tx, batch: list[tuple[Row, PublishOutcome]]) -> list[str]:
        now = int(self._clock.wall() * 1000)
        failed = []
        confirmed = [row["id"] for row, outcome in batch if outcome is PublishOutcome.CONFIRMED]
        if confirmed:
            tx.all("mark_published", ids=confirmed, now=now)
        for row, outcome in batch:
            match outcome:
                case PublishOutcome.CONFIRMED:
                    continue
                case PublishOutcome.RETURNED if now - row["created_at"] >= _UNROUTABLE_MS:
                    error = _error("unroutable", f"The queue of {_actor(row)} does not exist")
                case PublishOutcome.TOO_LARGE:
                    error = _error("payload_too_large", "The envelope is larger than the broker takes")
                case _:
                    pause = min(_LAST_PAUSE_MS, _FIRST_PAUSE_MS * 2 ** min(10, row["publish_attempts"]))
                    tx.all("postpone", id=row["id"], at=now + pause)
                    continue
            if finish(tx, Finished(id=row["id"], status=Status.FAILED, error=error), now) is not None:
                failed.append(row["id"])
        return failed

    async def _claim_loop(self) -> None:
        while True:
            try:
                rows = await self._store.write(self._claim)
            except Unavailable as error:
                self._log.debug("outbox cannot be read", reason=error.message)
                rows = []
            for row in rows:
                self.hurry(row)
            if len(rows) < _CLAIM or self.is_full:
                await asyncio.sleep(_LOOK_SECONDS)

    def _claim(self, tx: Tx) -> list[Row]:
        now = int(self._clock.wall() * 1000)
        return tx.all("claim_unpublished", now=now, lease_until=now + LEASE_MS, limit=_CLAIM)


def _actor(row: Row) -> str:
    return split_entry(json.loads(row["route"])[row["hop"]])[0]


def _error(code: str, message: str) -> dict[str, Any]:
    return {"code": code, "type": None, "mro": [], "message": message}
