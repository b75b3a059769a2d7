"""The queue file: every blocking operation on it, one transaction at a time. The only user of sqlite3 among the transports.

Called by the transport (in the loop's thread) and the administration. Knows no loop, no events and no prefetch.

Foreign exceptions end here: whatever SQLite raises becomes `FileTrouble`, whose kind says what to do.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from asya_core.ops.clock import Clock
from asya_core.transports.embedded.boot import boot_id, is_same_boot
from asya_core.transports.embedded.statements import SCHEMA, SCHEMA_VERSION, STATEMENTS

__all__ = ["FileTrouble", "QueueFile", "Row", "Sync", "Trouble"]


class Sync(StrEnum):
    """What a confirmed publish survives (SQLite's ``synchronous``)."""

    NORMAL = "normal"
    """Killed processes. A power loss may take the last transactions, never the file."""
    FULL = "full"
    """Power loss too: one fdatasync per transaction."""


class Trouble(StrEnum):
    """What went wrong with the file, by what helps."""

    BUSY = "busy"
    """Another process writes; try again in milliseconds. Nothing was changed."""
    FULL = "full"
    """No room on the disk or under the file's limit; try again later. Nothing was changed."""
    READ_ONLY = "read_only"
    """The file may not be written; open it again later. Nothing was changed."""
    BROKEN = "broken"
    """Anything else; open it again later. Whether the transaction took effect is not known."""


class FileTrouble(Exception):
    """An operation failed.

    Args:
        kind: what helps.
        reason: one sentence with the path.
    """

    def __init__(self, kind: Trouble, reason: str) -> None:
        super().__init__(kind, reason)
        self.kind = kind
        self.reason = reason


class Row(NamedTuple):
    """A message taken by `QueueFile.receive`, in the order of the statement's columns."""

    seq: int
    receipt: str
    body: bytes
    deliveries: int
    origin: str | None


@dataclass(frozen=True, slots=True)
class QueueRow:
    """What a queue is like; see `asya_core.transports.base.QueueSpec`."""

    dead_letter: str | None
    max_deliveries: int


_TROUBLES: Final = {
    sqlite3.SQLITE_BUSY: Trouble.BUSY,
    sqlite3.SQLITE_LOCKED: Trouble.BUSY,
    sqlite3.SQLITE_FULL: Trouble.FULL,
    sqlite3.SQLITE_READONLY: Trouble.READ_ONLY,
    sqlite3.SQLITE_PERM: Trouble.READ_ONLY,
}
_PAGE_BYTES: Final = 4096
_MAX_PAGES: Final = 1_073_741_823
"""SQLite's default before 3.45, 4 TiB."""


class QueueFile:
    """An open queue file, made if it is missing. One thread.

    Args:
        path: the file; its folder must exist.
        sync: what a commit survives.
        clock: for `visible_at`; see boot.py for which reading and why.
        busy_seconds: how long an operation may wait for another process's transaction before `Trouble.BUSY`.
        max_file_bytes: limit of the file's size, over which inserts are `Trouble.FULL`; None: the disk's.

    Raises FileTrouble, `Trouble.BROKEN` if the file is no queue file or one of another version.
    """

    def __init__(self, path: Path, *, sync: Sync, clock: Clock, busy_seconds: float, max_file_bytes: int | None = None) -> None:
        self.path = path
        self._clock = clock
        try:
            self._db = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        try:
            self._prepare(sync, max_file_bytes)
        except BaseException as error:
            self._db.close()
            if isinstance(error, sqlite3.Error):
                raise self._trouble(error) from error
            raise
        self._identity = self._stat()
        self._version: tuple[int] | None = None

    def _prepare(self, sync: Sync, max_file_bytes: int | None) -> None:
        execute = self._db.execute
        (found,) = execute("PRAGMA user_version").fetchone()
        if found not in (0, SCHEMA_VERSION):
            raise FileTrouble(Trouble.BROKEN, f"File {self.path} has schema version {found}; expected {SCHEMA_VERSION}")
        execute("PRAGMA journal_mode = WAL")
        execute(f"PRAGMA synchronous = {sync.value}")
        execute("PRAGMA foreign_keys = ON")
        if max_file_bytes is not None:
            self.limit(max_file_bytes)
        # A write transaction even if there is nothing to write: a file that may not be written shows itself now.
        execute("BEGIN IMMEDIATE")
        (found,) = execute("PRAGMA user_version").fetchone()
        if found == 0:
            if execute("SELECT 1 FROM sqlite_schema").fetchone():
                raise FileTrouble(Trouble.BROKEN, f"File {self.path} is another program's database; expected a queue file of Asya")
            for statement in "\n".join(line for line in SCHEMA.splitlines() if not line.startswith("--")).split(";"):
                execute(statement)
            execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._adopt_boot()
        execute("COMMIT")

    def _adopt_boot(self) -> None:
        now, identity = self._clock.monotonic(), boot_id()
        offset = self._clock.wall() - now
        row = self._db.execute(STATEMENTS["boot"]).fetchone()
        if row is not None and is_same_boot((row[0], row[2]), (identity, now)):
            return
        if row is not None:
            self._db.execute(STATEMENTS["release_all"])
            self._db.execute(STATEMENTS["shift_delays"], {"shift": row[1] - offset})
        self._db.execute(STATEMENTS["set_boot"], {"id": identity, "offset": offset, "now": now})

    def close(self) -> None:
        """Let go of the file. Idempotent; raises nothing."""
        try:
            self._db.close()
        except sqlite3.Error:  # closing checkpoints; what fails there is done by the next one to open the file
            pass

    def limit(self, max_file_bytes: int | None) -> None:
        """Change the limit of the file's size. What is over it stays; see https://www.sqlite.org/pragma.html#pragma_max_page_count."""
        pages = _MAX_PAGES if max_file_bytes is None else max(1, max_file_bytes // _PAGE_BYTES)
        self._db.execute(f"PRAGMA max_page_count = {pages}")

    def is_replaced(self) -> bool:
        """Whether the path no longer leads to the open file: removed, moved or another one put in its place."""
        return self._stat() != self._identity

    def has_changed(self) -> bool:
        """Whether another process has committed since the last time this was asked. Costs microseconds. Raises FileTrouble."""
        try:
            version: tuple[int] = self._db.execute(STATEMENTS["data_version"]).fetchone()
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        changed = version != self._version
        self._version = version
        return changed

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. Raises FileTrouble for whatever SQLite raises inside or at its ends; then nothing was changed, but see
        `Trouble`."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:  # SQLite has rolled back by itself
                pass
            if isinstance(error, sqlite3.Error):
                raise self._trouble(error) from error
            raise

    # Operations inside a transaction; sqlite3 errors pass through to it.

    def queue(self, name: str) -> QueueRow | None:
        """What the queue is like; None if there is none."""
        row = self._db.execute(STATEMENTS["queue"], {"queue": name}).fetchone()
        return None if row is None else QueueRow(*row)

    def insert(self, queue: str, bodies: Iterable[bytes]) -> None:
        """Append messages to a queue, if it exists."""
        self._db.executemany(STATEMENTS["insert"], ({"queue": queue, "body": body} for body in bodies))

    def receive(self, queue: str, *, limit: int, visibility_seconds: float) -> list[Row]:
        """Take at most `limit` ready messages; each is this caller's until it settles it or does not renew it in time."""
        parameters = {"queue": queue, "limit": limit, "now": self._clock.monotonic(), "visibility": visibility_seconds}
        # RETURNING gives rows in no promised order (https://www.sqlite.org/lang_returning.html)
        return sorted(map(Row._make, self._db.execute(STATEMENTS["receive"], parameters)))

    def next_due(self, queue: str) -> float | None:
        """Seconds until the next message that is not ready becomes so, if nobody touches it; None if there is none."""
        now = self._clock.monotonic()
        (due,) = self._db.execute(STATEMENTS["next_due"], {"queue": queue, "now": now}).fetchone()
        return None if due is None else due - now

    def ack(self, held: Iterable[tuple[int, str]]) -> None:
        """Drop messages, given as (seq, receipt) like everywhere below; what is not held so is left alone."""
        self._each("ack", held)

    def requeue(self, held: Iterable[tuple[int, str]]) -> None:
        """Make messages ready as if they had not been taken."""
        self._each("requeue", held)

    def release(self, held: Iterable[tuple[int, str]]) -> None:
        """Make messages ready; the delivery counts."""
        self._each("release", held)

    def renew(self, held: Iterable[tuple[int, str]], visibility_seconds: float) -> None:
        """Keep messages for `visibility_seconds` from now."""
        visible_at = self._clock.monotonic() + visibility_seconds
        rows = ({"seq": seq, "receipt": receipt, "visible_at": visible_at} for seq, receipt in held)
        self._db.executemany(STATEMENTS["renew"], rows)

    def retry(self, seq: int, receipt: str, delay_seconds: float) -> bool:
        """Make a message ready after `delay_seconds`. Whether it was held."""
        visible_at = self._clock.monotonic() + delay_seconds
        parameters = {"seq": seq, "receipt": receipt, "visible_at": visible_at}
        cursor = self._db.execute(STATEMENTS["retry"], parameters)
        return cursor.rowcount == 1

    def dead_letter(self, seq: int, receipt: str) -> str | None:
        """Move a message to its queue's dead-letter queue. That queue's name; None if it was not held or there is no such queue."""
        row = self._db.execute(STATEMENTS["dead_letter"], {"seq": seq, "receipt": receipt}).fetchone()
        return None if row is None else str(row[0])

    def ensure_queue(self, name: str, row: QueueRow) -> QueueRow:
        """Make a queue if it is missing; what it is like now."""
        parameters = {"queue": name, "dead_letter": row.dead_letter, "max_deliveries": row.max_deliveries}
        self._db.execute(STATEMENTS["insert_queue"], parameters)
        found = self.queue(name)
        assert found is not None
        return found

    def depth(self, queue: str) -> tuple[int, int]:
        """Ready and unsettled messages."""
        ready, unsettled = self._db.execute(STATEMENTS["depth"], {"queue": queue, "now": self._clock.monotonic()}).fetchone()
        return ready, unsettled

    def delete_queue(self, name: str) -> None:
        """Delete a queue unless it holds messages."""
        self._db.execute(STATEMENTS["delete_queue"], {"queue": name})

    def purge(self, queue: str) -> int:
        """Drop ready messages; how many."""
        return self._db.execute(STATEMENTS["purge"], {"queue": queue, "now": self._clock.monotonic()}).rowcount

    def peek(self, queue: str, limit: int) -> list[bytes]:
        """Bodies of at most `limit` ready messages, oldest first."""
        parameters = {"queue": queue, "now": self._clock.monotonic(), "limit": limit}
        return [row[0] for row in self._db.execute(STATEMENTS["peek"], parameters)]

    def _each(self, statement: str, held: Iterable[tuple[int, str]]) -> None:
        self._db.executemany(STATEMENTS[statement], ({"seq": seq, "receipt": receipt} for seq, receipt in held))

    def _stat(self) -> Sequence[int]:
        try:
            stat = os.stat(self.path)
        except OSError:
            return ()
        return (stat.st_dev, stat.st_ino)

    def _trouble(self, error: sqlite3.Error) -> FileTrouble:
        kind = _TROUBLES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, Trouble.BROKEN)
        return FileTrouble(kind, f"Queue file {self.path}: {error}")
