"""The embedded transport on a disk that is full, read-only or slow to let go of its lock, and what `sync` asks of the disk."""

import asyncio
import os
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from asya_core.ops.clock import FakeClock, SystemClock
from asya_core.testing.peer import Peer
from asya_core.transports.base import Connected, Disconnected, Link, Published, PublishOutcome, QueueSpec
from asya_core.transports.embedded import EmbeddedAdmin, EmbeddedTransport
from asya_core.transports.embedded.file import QueueFile, Sync
from asya_core.wire.errors import Unavailable

QUEUE = "asya-ns-a"


def run(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(body())  # type: ignore[arg-type]


def declared(path: Path) -> Path:
    admin = EmbeddedAdmin(path)
    admin.ensure(QueueSpec(QUEUE))
    admin.close()
    return path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB. Only root may mount one: a skip elsewhere, a failure where CI runs as root and cannot."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        message = f"cannot mount a small disk: {mounted.stderr.strip()}"
        pytest.fail(message) if os.environ.get("CI") and os.geteuid() == 0 else pytest.skip(message)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True)


def test_full_disk_refuses_publishes_loses_nothing_and_recovers(small_disk: Path) -> None:
    path = declared(small_disk / "queue.db")

    async def body() -> None:
        peer = await Peer(EmbeddedTransport(path)).open()
        accepted = 0
        outcome = PublishOutcome.CONFIRMED
        while outcome is PublishOutcome.CONFIRMED:
            (outcome,) = await peer.publish(QUEUE, accepted.to_bytes(2, "big") + b"x" * 50_000)
            accepted += outcome is PublishOutcome.CONFIRMED
            assert accepted < 30
        assert outcome is PublishOutcome.REFUSED
        assert accepted > 3
        assert not any(isinstance(event, Disconnected) for event in peer.events)
        peer.transport.subscribe(QUEUE, 100)
        remount(small_disk, "size=8m")
        taken = await peer.take(accepted)
        assert sorted(int.from_bytes(delivery.body[:2], "big") for delivery in taken) == list(range(accepted))
        assert await peer.publish(QUEUE, b"after") == [PublishOutcome.CONFIRMED]
        await peer.close()

    run(body)


def test_publish_to_a_read_only_disk_waits_and_is_confirmed_once_it_may_be_written(small_disk: Path) -> None:
    path = declared(small_disk / "queue.db")

    async def body() -> None:
        # A file that is open for writing would keep the disk from being remounted, so the transport is opened on a disk that is read-only.
        remount(small_disk, "ro")
        peer = Peer(EmbeddedTransport(path))
        peer.transport.open(peer._sink)
        await peer.until(lambda: {event.link for event in peer.events if isinstance(event, Disconnected)} == set(Link))
        token = peer.send(QUEUE, b"1")
        remount(small_disk, "rw")
        await peer.all_answered()
        assert peer.outcomes == {token: [PublishOutcome.CONFIRMED]}
        assert {event.link for event in peer.events if isinstance(event, Connected)} == set(Link)
        await peer.close()

    run(body)


def test_administration_of_a_read_only_file_is_unavailable(small_disk: Path) -> None:
    path = declared(small_disk / "queue.db")
    remount(small_disk, "ro")
    with pytest.raises(Unavailable, match=r"queue\.db"):
        EmbeddedAdmin(path)


def test_connection_that_may_not_write_refuses_publishes_and_is_opened_anew(tmp_path: Path) -> None:
    path = declared(tmp_path / "queue.db")

    async def body() -> None:
        transport = EmbeddedTransport(path)
        peer = await Peer(transport).open()
        assert transport._file is not None
        transport._file._db.execute("PRAGMA query_only = ON")
        assert await peer.publish(QUEUE, b"1") == [PublishOutcome.REFUSED]
        assert {event.link for event in peer.events if isinstance(event, Disconnected)} == set(Link)
        assert await peer.publish(QUEUE, b"2") == [PublishOutcome.CONFIRMED]
        await peer.close()

    run(body)


def test_publish_to_a_file_locked_for_over_five_seconds_is_refused(tmp_path: Path) -> None:
    path = declared(tmp_path / "queue.db")
    clock = FakeClock()

    async def body() -> None:
        peer = await Peer(EmbeddedTransport(path, clock=clock)).open()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        first = peer.send(QUEUE, b"1")
        await asyncio.sleep(0.1)
        clock.advance(4.0)
        second = peer.send(QUEUE, b"2")
        await asyncio.sleep(0.1)
        assert peer.outcomes == {}
        clock.advance(1.1)
        await peer.until(lambda: first in peer.outcomes)
        assert peer.outcomes == {first: [PublishOutcome.REFUSED]}
        other.execute("COMMIT")
        other.close()
        await peer.all_answered()
        assert peer.outcomes == {first: [PublishOutcome.REFUSED], second: [PublishOutcome.CONFIRMED]}
        assert not any(isinstance(event, Disconnected) for event in peer.events)
        peer.transport.subscribe(QUEUE, 10)
        assert (await peer.take_one()).body == b"2"
        await peer.close()
        assert sum(isinstance(event, Published) for event in peer.events) == 2

    run(body)


@pytest.mark.parametrize(("sync", "level"), [("normal", 1), ("full", 2)])
def test_sync_is_what_the_file_is_opened_with(tmp_path: Path, sync: str, level: int) -> None:
    file = QueueFile(declared(tmp_path / "queue.db"), sync=Sync(sync), clock=SystemClock(), busy_seconds=1.0)
    assert file._db.execute("PRAGMA synchronous").fetchone() == (level,)
    assert file._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    file.close()


def test_transport_with_full_sync_moves_messages_and_an_unknown_sync_is_refused(tmp_path: Path) -> None:
    path = declared(tmp_path / "queue.db")

    async def body() -> None:
        transport = EmbeddedTransport(path, sync="full")
        peer = await Peer(transport).open()
        assert transport._file is not None
        assert transport._file._db.execute("PRAGMA synchronous").fetchone() == (2,)
        peer.transport.subscribe(QUEUE, 1)
        assert await peer.publish(QUEUE, b"1") == [PublishOutcome.CONFIRMED]
        assert (await peer.take_one()).body == b"1"
        await peer.close()

    run(body)
    with pytest.raises(ValueError, match="sometimes"):
        EmbeddedTransport(path, sync="sometimes")
