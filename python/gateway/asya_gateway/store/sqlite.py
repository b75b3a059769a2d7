"""The store in one SQLite file: one process, one thread that writes, one that reads. The only sqlite3 of the gateway.

Made by `app`. Writes that wait at the same time share one commit: with ``synchronous=FULL`` the sync of the disk is what a write costs.
"""

import asyncio
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from asya_core.wire.errors import Bug, Refused, Unavailable
from asya_gateway.store.base import Row, Tx
from asya_gateway.store.queries import expand, for_sqlite, migrations

__all__ = ["SqliteStore"]

T = TypeVar("T")
_MAX_BATCH: Final = 64
"""Units of work in one commit: bounds how long the first one waits."""
_RETRY_AFTER_SECONDS: Final = 5.0


class _Tx:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._statements = for_sqlite()

    def all(self, statement: str, **parameters: Any) -> list[Row]:
        text = self._statements[statement]
        if "[]" in text:
            text, parameters = expand(text, parameters)
        cursor = self._connection.execute(text, parameters)
        if cursor.description is None:
            return []
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]

    def one(self, statement: str, **parameters: Any) -> Row | None:
        rows = self.all(statement, **parameters)
        return rows[0] if rows else None

    def each(self, statement: str, rows: list[dict[str, Any]]) -> list[Row | None]:
        return [self.one(statement, **row) for row in rows]

    def many(self, statement: str, rows: list[dict[str, Any]]) -> None:
        self._connection.executemany(self._statements[statement], rows)


class _Job:
    """One unit of work and where its outcome goes."""

    __slots__ = ("future", "loop", "outcome", "work")

    def __init__(self, work: Callable[[Tx], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.outcome: tuple[Any, BaseException | None] = (None, None)

    def tell(self) -> None:
        with suppress(RuntimeError):  # the loop has been closed: nobody is left to tell
            self.loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        if not self.future.done():
            value, error = self.outcome
            if error is None:
                self.future.set_result(value)
            else:
                self.future.set_exception(error)


class SqliteStore:
    """See `asya_gateway.store.base.Store`.

    Args:
        path: the file; its folder exists.
    """

    is_shared = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._reads: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock: int | None = None

    async def open(self) -> None:
        """See `Store.open`. Takes an exclusive lock on ``<path>.lock``: two processes would each miss the other's events."""
        await asyncio.to_thread(self._prepare)
        for name, work in (("store-write", self._write_loop), ("store-read", self._read_loop)):
            thread = threading.Thread(target=work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    async def close(self) -> None:
        """See `Store.close`."""
        if self._threads:
            self._jobs.put(None)
            self._reads.put(None)
            for thread in self._threads:
                await asyncio.to_thread(thread.join, 10.0)
            self._threads.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def write(self, work: Callable[[Tx], T]) -> T:
        """See `Store.write`."""
        return await self._submit(self._jobs, work)

    async def read(self, work: Callable[[Tx], T]) -> T:
        """See `Store.read`."""
        return await self._submit(self._reads, work)

    async def _submit(self, jobs: "queue.SimpleQueue[_Job | None]", work: Callable[[Tx], T]) -> T:
        if not self._threads:
            raise Unavailable(
                "store", "The store is closed", "wait until the gateway is up again", retry_after_seconds=_RETRY_AFTER_SECONDS
            )
        job = _Job(work, asyncio.get_running_loop())
        jobs.put(job)
        value: T = await asyncio.shield(job.future)
        return value

    # -------------------------------------------------------------------------------------------------------------- threads

    def _prepare(self) -> None:
        try:
            self._lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(
                "store_in_use", f"Store {self._path} is in use by another gateway", "stop that one; several replicas need PostgreSQL"
            ) from None
        except OSError as error:
            raise Refused("store_path", f"Store {self._path} cannot be opened: {error.strerror}", "make its folder writable") from error
        try:
            connection = _connect(self._path)
            try:
                _migrate(connection, self._path)
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise _translated(error) from error

    def _write_loop(self) -> None:
        connection: sqlite3.Connection | None = None
        is_over = False
        while not is_over:
            jobs, is_over = _gather(self._jobs)
            if jobs:
                try:
                    connection = connection or _connect(self._path)
                    _write_batch(connection, jobs)
                except sqlite3.Error as error:
                    _fail(jobs, error)
                    if connection is not None:
                        connection.close()
                    connection = None
                for job in jobs:
                    job.tell()
        if connection is not None:
            connection.close()

    def _read_loop(self) -> None:
        connection: sqlite3.Connection | None = None
        while (job := self._reads.get()) is not None:
            try:
                connection = connection or _connect(self._path)
                connection.execute("BEGIN")
                try:
                    job.outcome = (job.work(_Tx(connection)), None)
                finally:
                    connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                _fail([job], error)
                if connection is not None:
                    connection.close()
                connection = None
            except Exception as error:  # the caller's own
                job.outcome = (None, error)
            job.tell()
        if connection is not None:
            connection.close()


def _gather(jobs: "queue.SimpleQueue[_Job | None]") -> tuple[list[_Job], bool]:
    first = jobs.get()
    if first is None:
        return [], True
    batch = [first]
    while len(batch) < _MAX_BATCH:
        try:
            job = jobs.get_nowait()
        except queue.Empty:
            return batch, False
        if job is None:
            return batch, True
        batch.append(job)
    return batch, False


def _write_batch(connection: sqlite3.Connection, jobs: list[_Job]) -> None:
    """All of `jobs` in one transaction, each undone alone if it fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for job in jobs:
            connection.execute("SAVEPOINT job")
            try:
                job.outcome = (job.work(_Tx(connection)), None)
            except sqlite3.OperationalError:
                raise  # the database as a whole: disk full, read-only, locked
            except Exception as error:
                connection.execute("ROLLBACK TO job")
                job.outcome = (None, _translated(error) if isinstance(error, sqlite3.Error) else error)
            connection.execute("RELEASE job")
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _fail(jobs: list[_Job], error: sqlite3.Error) -> None:
    for job in jobs:
        job.outcome = (None, _translated(error))


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False, cached_statements=256)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -16000")
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    steps = migrations("sqlite")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > steps[-1][0]:
        raise Refused(
            "store_schema", f"Store {path} has schema {version}; this gateway knows up to {steps[-1][0]}", "use the newer gateway again"
        )
    for number, _, text in steps:
        if number > version:
            connection.executescript(f"BEGIN IMMEDIATE;\n{text}\nPRAGMA user_version = {number};\nCOMMIT;")


def _translated(error: Exception) -> Exception:
    if isinstance(error, sqlite3.OperationalError | sqlite3.DatabaseError) and not isinstance(
        error, sqlite3.ProgrammingError | sqlite3.IntegrityError
    ):
        return Unavailable("store", f"The store does not work now: {error}", "try again", retry_after_seconds=_RETRY_AFTER_SECONDS)
    return Bug("store_bug", f"The store refused a statement: {type(error).__name__}: {error}", "report it")
