"""Threads for blocking calls: a job is run in one of them, what it gives comes back to the loop.

Called by the parts of the SQS transport. Knows no API.

The threads are daemons: a long poll that nobody waits for any more ends with the process and does not hold it up.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

__all__ = ["Workers"]

T = TypeVar("T")
Job = tuple[Callable[[], Any], Callable[[Any], None] | None]


class Workers:
    """At most `count` threads, started as they are needed.

    Args:
        loop: where results are handed over.
        count: threads at most; more jobs wait.
        name: of the threads.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, count: int, name: str) -> None:
        self._loop = loop
        self._count = count
        self._name = name
        self._jobs: Final[queue.SimpleQueue[Job | None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0

    def run(self, job: Callable[[], T], done: Callable[[T], None] | None) -> None:
        """Run `job`, which must not raise, in a thread; then `done` with what it gave on the loop, unless that is closed by then."""
        self._jobs.put((job, done))
        with self._lock:
            needed = self._idle < self._jobs.qsize() and self._threads < self._count
            self._threads += needed
        if needed:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def stop(self) -> None:
        """Let the threads end after what was given so far."""
        with self._lock:
            for _ in range(self._threads):
                self._jobs.put(None)

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            found = self._jobs.get()
            with self._lock:
                self._idle -= 1
            if found is None:
                return
            job, done = found
            result = job()
            if done is not None:
                try:
                    self._loop.call_soon_threadsafe(done, result)
                except RuntimeError:  # the loop is closed: nobody is left to hear it
                    pass
