"""Fetches large payloads from claim storage and puts them there, in threads of its own.

Made by `app` if a storage is set; called by `perform`; answers go to `consume`. Decides nothing: a storage that stays away for a minute is
told to the core, which has the message delivered again later.
"""

import asyncio
import hashlib
import os
import queue
import threading
import time
from collections.abc import Callable
from random import Random
from typing import Final, TypeVar

from asya_core.objects.base import ObjectStore
from asya_core.ops.logs import Log
from asya_core.wire.errors import AsyaError, Refused, Unavailable
from asya_sidecar.effects import Fetch, FetchEnded, FetchOutcome, Store, StoreEnded

__all__ = ["ClaimStore"]

T = TypeVar("T")

_THREADS: Final = 8
_PATIENCE_SECONDS: Final = 60.0
_LONGEST_PAUSE_SECONDS: Final = 5.0
_FIRST_PAUSE_SECONDS: Final = 0.25
_INVALID: Final = ("no_such_object", "object_too_large")


class ClaimStore:
    """Keeps large payloads.

    Args:
        objects: the storage; calls block.
        sink: takes `FetchEnded` and `StoreEnded`, in the loop's thread.
        log: one line per change of the storage's health.
        moved: counts bytes by direction, ``fetch`` or ``store``.
        patience_seconds: how long a storage that is away is asked again.
    """

    def __init__(
        self,
        objects: ObjectStore,
        *,
        sink: Callable[[FetchEnded | StoreEnded], None],
        log: Log,
        moved: Callable[[str, int], None] = lambda op, count: None,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self._objects = objects
        self._sink = sink
        self._log = log
        self._moved = moved
        self._patience = patience_seconds
        self._random = Random(os.urandom(8))
        self._loop = asyncio.get_running_loop()
        self._closing = threading.Event()
        self._jobs: queue.SimpleQueue[Fetch | Store | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._open = 0
        self._is_away = False

    def fetch(self, fetch: Fetch) -> None:
        """Fetch a payload; answered by one `FetchEnded`."""
        self._start(fetch)

    def store(self, store: Store) -> None:
        """Put payloads there; answered by one `StoreEnded`."""
        self._start(store)

    def close(self) -> None:
        """Take no more; waits for nobody: a storage that swallows packets must not hold up the exit."""
        self._closing.set()
        for _ in self._threads:
            self._jobs.put(None)

    def _start(self, job: Fetch | Store) -> None:
        self._open += 1
        if len(self._threads) < min(self._open, _THREADS):
            thread = threading.Thread(target=self._work, name="claims", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._in_loop(self._ended, self._fetched(job) if isinstance(job, Fetch) else self._stored(job))

    def _in_loop(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:  # the loop has been closed: nobody is left to tell
            pass

    def _ended(self, event: FetchEnded | StoreEnded) -> None:
        self._open -= 1
        self._sink(event)

    def _fetched(self, job: Fetch) -> FetchEnded:
        claim = job.claim
        try:
            payload = self._patiently(lambda: self._objects.get(claim.key, limit_bytes=claim.bytes))
        except Refused as refusal:
            if refusal.code in _INVALID:
                return FetchEnded(job.token, FetchOutcome.INVALID, message=refusal.message)
            return FetchEnded(job.token, FetchOutcome.AWAY)
        except AsyaError:
            return FetchEnded(job.token, FetchOutcome.AWAY)
        if len(payload) != claim.bytes or hashlib.sha256(payload).hexdigest() != claim.sha256:
            message = f"Object {claim.key} has {len(payload)} bytes with another SHA-256 than the claim says"
            return FetchEnded(job.token, FetchOutcome.INVALID, message=message)
        self._in_loop(self._moved, "fetch", len(payload))
        return FetchEnded(job.token, FetchOutcome.FETCHED, payload)

    def _stored(self, job: Store) -> StoreEnded:
        try:
            for key, body in job.objects:
                if self._patiently(lambda key=key, body=body: self._objects.put_if_absent(key, body)):  # type: ignore[misc]
                    self._in_loop(self._moved, "store", len(body))
        except AsyaError:
            return StoreEnded(job.token, False)
        return StoreEnded(job.token, True)

    def _patiently(self, call: Callable[[], T]) -> T:
        """What `call` gives; one that is unavailable is asked again, with full jitter, until patience ends. Raises what it raised last."""
        until = time.monotonic() + self._patience
        bound = _FIRST_PAUSE_SECONDS
        while True:
            try:
                result = call()
            except AsyaError as error:
                pause = self._random.uniform(0, bound)
                if not isinstance(error, Unavailable) or time.monotonic() + pause > until or self._closing.wait(pause):
                    self._in_loop(self._tell, error)
                    raise
                bound = min(2 * bound, _LONGEST_PAUSE_SECONDS)
            else:
                self._in_loop(self._tell, None)
                return result

    def _tell(self, error: AsyaError | None) -> None:
        is_away = error is not None and error.code not in _INVALID
        if is_away == self._is_away:
            return
        self._is_away = is_away
        if is_away:
            self._log.warning("claim storage away", reason=str(error))
        else:
            self._log.info("claim storage back")
