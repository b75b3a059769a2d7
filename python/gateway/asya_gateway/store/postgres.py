"""The store in PostgreSQL, shared by any number of replicas. The only psycopg.

Made by `app`. A few threads, each with a connection of its own; a unit of work runs in one transaction (READ COMMITTED: every change is
guarded in its own statement). A connection that turns out dead before anything was committed is replaced, once, unseen by the caller.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import psycopg
from psycopg.rows import dict_row

from asya_core.wire.errors import Bug, Refused, Unavailable
from asya_gateway.store.base import Row, Tx
from asya_gateway.store.queries import for_postgres, migrations

__all__ = ["PostgresStore"]

T = TypeVar("T")
_THREADS: Final = 8
_TRIES: Final = 4
_CONNECT_SECONDS: Final = 5
_STATEMENT_MS: Final = 10_000
_LOCK_MS: Final = 5_000
_RETRY_AFTER_SECONDS: Final = 5.0
_MIGRATION_LOCK: Final = 0x61737961
"""Number of the advisory lock under which one process at a time migrates."""
_ALL_ROWS: Final = "%(rows)s"
"""In a statement that takes all its rows at once."""
_AGAIN: Final = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
_GONE: Final = (psycopg.OperationalError, psycopg.InterfaceError)
_Connection = psycopg.Connection[dict[str, Any]]
_Job = tuple[Callable[[Tx], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


class _Tx:
    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._statements = for_postgres()

    def all(self, statement: str, **parameters: Any) -> list[Row]:
        cursor = self._connection.execute(self._statements[statement].encode(), parameters)
        return list(cursor.fetchall()) if cursor.description is not None else []

    def one(self, statement: str, **parameters: Any) -> Row | None:
        rows = self.all(statement, **parameters)
        return rows[0] if rows else None

    def each(self, statement: str, rows: list[dict[str, Any]]) -> list[Row | None]:
        if not rows:
            return []
        with self._connection.cursor() as cursor:
            cursor.executemany(self._statements[statement].encode(), rows, returning=True)  # in a pipeline
            return [cursor.fetchone() for _ in cursor.results()]

    def many(self, statement: str, rows: list[dict[str, Any]]) -> None:
        text = self._statements[statement]
        if not rows:
            return
        if _ALL_ROWS in text:
            self._connection.execute(text.encode(), {"rows": msgspec.json.encode(rows).decode()})
            return
        with self._connection.cursor() as cursor:
            cursor.executemany(text.encode(), rows)


class _Kept:
    """The connection of one thread, if it has one."""

    def __init__(self) -> None:
        self.connection: _Connection | None = None

    def drop(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()


class PostgresStore:
    """See `asya_gateway.store.base.Store`.

    Args:
        url_file: holds the address with user and password; read at each connect, so that a rotated password needs no restart.
        migrating: bring the schema up to this version at `open`; else an older one is refused.
    """

    is_shared = True

    def __init__(self, url_file: Path, *, migrating: bool = False) -> None:
        self._url_file = url_file
        self._migrating = migrating
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    async def open(self) -> None:
        """See `Store.open`. An absent database is no reason to refuse, unless to migrate: the gateway answers 503 until it is there."""
        try:
            await asyncio.to_thread(self._prepare)
        except Unavailable:
            if self._migrating:
                raise
        for number in range(_THREADS):
            thread = threading.Thread(target=self._work, name=f"store-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    async def close(self) -> None:
        """See `Store.close`."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join, 10.0)
        self._threads.clear()

    async def write(self, work: Callable[[Tx], T]) -> T:
        """See `Store.write`."""
        if not self._threads:
            raise _unavailable("the store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((work, loop, future))
        return await asyncio.shield(future)

    async def read(self, work: Callable[[Tx], T]) -> T:
        """See `Store.read`."""
        return await self.write(work)

    # -------------------------------------------------------------------------------------------------------------- threads

    def _work(self) -> None:
        kept = _Kept()
        while (job := self._jobs.get()) is not None:
            work, loop, future = job
            value: Any = None
            error: BaseException | None = None
            try:
                value = self._run(work, kept)
            except Exception as caught:
                error = _translated(caught)
                if isinstance(error, Unavailable):
                    kept.drop()
            with suppress(RuntimeError):  # the loop has been closed: nobody is left to tell
                loop.call_soon_threadsafe(_settle, future, value, error)
        kept.drop()

    def _run(self, work: Callable[[Tx], Any], kept: "_Kept") -> Any:
        for attempt in range(_TRIES):
            was_kept = kept.connection is not None
            connection = kept.connection = kept.connection or self._connect()
            try:
                value = work(_Tx(connection))
            except _AGAIN:
                connection.rollback()
                if attempt == _TRIES - 1:
                    raise
                continue
            except _GONE:
                kept.drop()
                if not was_kept:
                    raise
                continue  # it died while it was idle; nothing was committed
            except BaseException:
                connection.rollback()
                raise
            connection.commit()
            return value
        raise _unavailable("it closes every connection")

    def _connect(self) -> _Connection:
        try:
            url = self._url_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise _unavailable(f"the file {self._url_file} with its address cannot be read") from error
        return psycopg.connect(
            url,
            row_factory=dict_row,
            connect_timeout=_CONNECT_SECONDS,
            application_name="asya-gateway",
            options=f"-c statement_timeout={_STATEMENT_MS} -c lock_timeout={_LOCK_MS}",
            keepalives_idle=15,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=30_000,
        )

    def _prepare(self) -> None:
        steps = migrations("postgres")
        try:
            with self._connect() as connection:
                if self._migrating:
                    _migrate(connection, steps)
                version = _version(connection)
        except _GONE as error:
            raise _translated(error) from error
        if version != steps[-1][0]:
            hint = "run python -m asya_gateway migrate first" if version < steps[-1][0] else "use the newer gateway again"
            raise Refused("store_schema", f"The database has schema {version}; this gateway needs {steps[-1][0]}", hint)


def _migrate(connection: _Connection, steps: list[tuple[int, str, str]]) -> None:
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL DEFAULT now())"
    )
    version = _version(connection)
    for number, _, text in steps:
        if number > version:
            connection.execute(text.encode())
            connection.execute("INSERT INTO schema_version (version) VALUES (%s)", (number,))


def _version(connection: _Connection) -> int:
    found = connection.execute("SELECT to_regclass('schema_version') IS NOT NULL AS there").fetchone()
    if found is None or not found["there"]:
        return 0
    row = connection.execute("SELECT COALESCE(MAX(version), 0) AS version FROM schema_version").fetchone()
    return int(row["version"]) if row else 0


def _settle(future: "asyncio.Future[Any]", value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(error)


def _unavailable(reason: str) -> Unavailable:
    return Unavailable("store", f"The store does not work now: {reason}", "try again", retry_after_seconds=_RETRY_AFTER_SECONDS)


def _translated(error: Exception) -> Exception:
    match error:
        case psycopg.errors.InsufficientPrivilege() | psycopg.errors.UndefinedTable() | psycopg.errors.UndefinedColumn():
            return Bug("store_bug", f"The store refused a statement: {type(error).__name__}", "check the role and run migrate")
        case psycopg.OperationalError() | psycopg.InterfaceError():
            # The text of a failed connect names host and user, never the password.
            return _unavailable(" ".join(str(error).split())[:200] or type(error).__name__)
        case psycopg.Error():
            return Bug("store_bug", f"The store refused a statement: {type(error).__name__}: {error}", "report it")
        case _:
            return error
