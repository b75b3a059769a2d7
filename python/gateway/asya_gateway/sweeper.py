"""Ends what is past its deadline, forgets what is final for long. Called by `app`. Nothing lives in a timer: it looks at the store.

Several replicas may sweep at once; the guard of the statements lets one win.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from asya_core.ops.clock import Clock
from asya_core.ops.logs import Log
from asya_core.wire.errors import AsyaError
from asya_gateway.store.base import Store
from asya_gateway.store.envelopes import expire, forget

__all__ = ["Sweeper"]

_PERIOD_SECONDS: Final = 1.0
_FORGET_EVERY: Final = 60
"""Sweeps between two looks for what may be forgotten."""
_SLACK_MS: Final = 5_000
"""The mesh tells an expired deadline itself, with the actor that had it; it gets this long to do so."""
_EXPIRE_BATCH: Final = 500
_FORGET_BATCH: Final = 1_000


class Sweeper:
    """See the module's text.

    Args:
        store: the rows.
        clock: what time it is.
        log: one line per batch that was forgotten.
        changed: told the ids that expired.
        retention_seconds: how long a final envelope is kept.
        retention_failed_seconds: how long a failed one is.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        log: Log,
        changed: Callable[[list[str]], None],
        retention_seconds: float,
        retention_failed_seconds: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._log = log
        self._changed = changed
        self._retention_ms = int(retention_seconds * 1000)
        self._retention_failed_ms = int(retention_failed_seconds * 1000)

    async def run(self) -> None:
        """Sweep every second until cancelled."""
        count = 0
        while True:
            try:
                await self.sweep()
                if count % _FORGET_EVERY == 0:
                    await self.forget()
            except AsyaError as error:
                self._log.debug("sweep failed", reason=error.message)
            count += 1
            await asyncio.sleep(_PERIOD_SECONDS)

    async def sweep(self) -> list[str]:
        """Expire what is overdue, in one go; gives the ids."""
        now = int(self._clock.wall() * 1000)
        ids = await self._store.write(lambda tx: expire(tx, now - _SLACK_MS, now, _EXPIRE_BATCH))
        self._changed(ids)
        return ids

    async def forget(self) -> int:
        """Delete what is past its retention; gives how many envelopes."""
        now = int(self._clock.wall() * 1000)
        total = 0
        while True:
            count = await self._store.write(
                lambda tx: forget(
                    tx, final_before=now - self._retention_ms, failed_before=now - self._retention_failed_ms, limit=_FORGET_BATCH
                )
            )
            total += count
            if count < _FORGET_BATCH:
                if total:
                    self._log.info("envelopes forgotten", count=total)
                return total
            await asyncio.sleep(0)
