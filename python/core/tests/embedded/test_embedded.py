"""What the contract suite does not know of the embedded transport: the file, its troubles, time, sockets; and a model test of the file."""

import asyncio
import os
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from asya_core.ops.clock import FakeClock
from asya_core.testing.peer import Peer, eventually
from asya_core.transports.base import Depth, Disconnected, PublishOutcome, QueueSpec
from asya_core.transports.embedded import EmbeddedAdmin, EmbeddedTransport, boot
from asya_core.transports.embedded.file import QueueFile, QueueRow, Sync
from asya_core.transports.embedded.statements import STATEMENTS, read_statements
from asya_core.transports.embedded.wake import Doorbells
from asya_core.wire.errors import Bug, Unavailable

QUEUE = "asya-ns-a"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    admin = EmbeddedAdmin(tmp_path / "queue.db")
    admin.ensure(QueueSpec(QUEUE))
    admin.close()
    return tmp_path / "queue.db"


def run(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(body())  # type: ignore[arg-type]


def depth(path: Path) -> Depth:
    admin = EmbeddedAdmin(path)
    try:
        return admin.depth(QUEUE)
    finally:
        admin.close()


def test_publishes_to_a_full_file_are_refused_until_there_is_room(path: Path) -> None:
    async def body() -> None:
        peer = await Peer(EmbeddedTransport(path, max_file_bytes=200_000)).open()
        outcomes = await peer.publish(QUEUE, *[b"x" * 50_000 for _ in range(10)])
        assert set(outcomes) == {PublishOutcome.REFUSED}
        assert await peer.publish(QUEUE, b"small") == [PublishOutcome.CONFIRMED]
        assert not any(isinstance(event, Disconnected) for event in peer.events)
        await peer.close()

    run(body)


def test_publish_waits_for_a_locked_file(path: Path) -> None:
    async def body() -> None:
        peer = await Peer(EmbeddedTransport(path)).open()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        token = peer.send(QUEUE, b"1")
        await asyncio.sleep(0.1)
        assert peer.outcomes == {}
        other.execute("COMMIT")
        other.close()
        await peer.all_answered()
        assert peer.outcomes == {token: [PublishOutcome.CONFIRMED]}
        await peer.close()

    run(body)


def test_file_of_another_program_is_told_and_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.db"
    db = sqlite3.connect(foreign)
    db.execute("CREATE TABLE theirs(x)")
    db.close()
    with pytest.raises(Unavailable, match="another program's database"):
        EmbeddedAdmin(foreign)

    async def body() -> None:
        peer = Peer(EmbeddedTransport(foreign))
        peer.transport.open(peer._sink)
        await peer.until(lambda: any(isinstance(event, Disconnected) for event in peer.events))
        peer.send(QUEUE, b"1")
        await peer.close()
        assert peer.outcomes == {1: [PublishOutcome.LOST]}

    run(body)


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"\0" * 4096])
def test_damaged_file_is_unavailable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.db").write_bytes(content)
    with pytest.raises(Unavailable, match=r"bad\.db"):
        EmbeddedAdmin(tmp_path / "bad.db")


def test_missing_folder_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="unable to open"):
        EmbeddedAdmin(tmp_path / "none" / "queue.db")


def test_close_with_a_retry_open_takes_no_new_message(path: Path) -> None:
    async def body() -> None:
        peer = await Peer(EmbeddedTransport(path)).open()
        peer.transport.subscribe(QUEUE, 1)
        await peer.publish(QUEUE, b"1", b"2")
        delivery = await peer.take_one()
        peer.transport.retry(delivery.receipt, 0)
        await peer.close()
        assert len(peer.delivered) == 1

    run(body)
    assert depth(path) == Depth(2, 0)


def test_socket_of_a_dead_process_is_removed(path: Path) -> None:
    async def body() -> None:
        peer = await Peer(EmbeddedTransport(path)).open()
        peer.transport.subscribe(QUEUE, 1)
        folder = path.with_name("queue.db.wake")
        (mine,) = os.listdir(folder)
        bells = Doorbells(folder)
        dead = bells.listen(QUEUE)
        assert dead is not None
        dead.close()
        bells.close()
        assert len(os.listdir(folder)) == 2
        await peer.publish(QUEUE, b"1")
        await eventually(lambda: os.listdir(folder), [mine])
        await peer.close()
        assert os.listdir(folder) == []

    run(body)


def test_second_queue_is_a_bug(path: Path) -> None:
    transport = EmbeddedTransport(path)
    with pytest.raises(Bug):
        transport.subscribe(QUEUE, 0)


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_setting_the_wall_clock_neither_hands_out_twice_nor_delays(tmp_path: Path, jump: float) -> None:
    clock = FakeClock()
    file = QueueFile(tmp_path / "queue.db", sync=Sync.NORMAL, clock=clock, busy_seconds=1)
    with file.transaction():
        file.ensure_queue(QUEUE, QueueRow(None, 200))
        file.insert(QUEUE, [b"1", b"2"])
        held, delayed = file.receive(QUEUE, limit=2, visibility_seconds=30)
        file.retry(delayed.seq, delayed.receipt, 10)
    clock.set_wall(clock.wall() + jump)
    with file.transaction():
        assert file.receive(QUEUE, limit=2, visibility_seconds=30) == []
    clock.advance(10)
    with file.transaction():
        assert [row.seq for row in file.receive(QUEUE, limit=2, visibility_seconds=30)] == [delayed.seq]
    clock.advance(20)
    with file.transaction():
        assert held.seq in [row.seq for row in file.receive(QUEUE, limit=2, visibility_seconds=30)]
    file.close()


def test_after_a_boot_held_messages_are_ready_and_delays_keep_their_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = FakeClock(monotonic=90_000, wall=1_000_000), FakeClock(monotonic=5, wall=1_000_020)
    file = QueueFile(tmp_path / "queue.db", sync=Sync.NORMAL, clock=before, busy_seconds=1)
    with file.transaction():
        file.ensure_queue(QUEUE, QueueRow(None, 200))
        file.insert(QUEUE, [b"held", b"delayed"])
        _, delayed = file.receive(QUEUE, limit=2, visibility_seconds=30)
        file.retry(delayed.seq, delayed.receipt, 100)
    file.close()
    monkeypatch.setattr("asya_core.transports.embedded.file.boot_id", lambda: "another")
    file = QueueFile(tmp_path / "queue.db", sync=Sync.NORMAL, clock=after, busy_seconds=1)
    with file.transaction():
        assert [row.body for row in file.receive(QUEUE, limit=2, visibility_seconds=30)] == [b"held"]
        assert file.depth(QUEUE) == (1, 1)
    after.advance(79)
    with file.transaction():
        assert [row.body for row in file.receive(QUEUE, limit=2, visibility_seconds=30)] == [b"held"]
    after.advance(1)
    with file.transaction():
        assert [row.body for row in file.receive(QUEUE, limit=2, visibility_seconds=30)] == [b"delayed"]
    file.close()


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [(("x", 5), ("x", 1), True), (("x", 5), ("y", 9), False), (("", 5), ("", 9), True), (("", 5), ("", 1), False)],
)
def test_boot_is_told_by_its_identity_or_a_clock_that_went_back(before: tuple[str, float], now: tuple[str, float], same: bool) -> None:
    assert boot.is_same_boot(before, now) is same


@pytest.mark.parametrize("text", ["\n-- name: a\nSELECT 1;", "\n-- name: a\n-- why\n", "\n-- name: a b\n-- why\nSELECT 1;"])
def test_statement_without_name_comment_or_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Statement"):
        read_statements(text)


@pytest.mark.parametrize("name", ["receive", "next_due"])
def test_hot_statements_use_the_index(tmp_path: Path, name: str) -> None:
    file = QueueFile(tmp_path / "queue.db", sync=Sync.NORMAL, clock=FakeClock(), busy_seconds=1)
    parameters = {"queue": QUEUE, "now": 1.0, "visibility": 1.0, "limit": 1}
    plan = [row[3] for row in file._db.execute("EXPLAIN QUERY PLAN " + STATEMENTS[name], parameters)]
    file.close()
    assert any("message_ready" in step for step in plan)
    assert not any("TEMP B-TREE FOR ORDER BY" in step or step == "SCAN message" for step in plan)


class FileAgainstList(RuleBasedStateMachine):
    """One queue with limit 3 and a dead-letter queue, against lists of Python."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.file = QueueFile(Path(":memory:"), sync=Sync.NORMAL, clock=self.clock, busy_seconds=1)
        self.model: dict[bytes, list[float]] = {}  # body: [visible at, deliveries]
        self.held: dict[bytes, tuple[int, str, float]] = {}
        self.dead: list[bytes] = []
        self.sent = 0
        with self.file.transaction():
            self.file.ensure_queue("dead", QueueRow(None, 200))
            self.file.ensure_queue(QUEUE, QueueRow("dead", 3))

    def teardown(self) -> None:
        self.file.close()

    @rule(count=st.integers(1, 3))
    def publish(self, count: int) -> None:
        bodies = [b"%d" % (self.sent + number) for number in range(count)]
        self.sent += count
        with self.file.transaction():
            self.file.insert(QUEUE, bodies)
            self.file.insert("nowhere", bodies)
        self.model |= {body: [0.0, 0] for body in bodies}

    @rule(limit=st.integers(1, 4))
    def receive(self, limit: int) -> None:
        now = self.clock.monotonic()
        with self.file.transaction():
            rows = self.file.receive(QUEUE, limit=limit, visibility_seconds=30)
        ready = [body for body, (visible_at, _) in self.model.items() if visible_at <= now]
        assert len(rows) == min(limit, len(ready))
        for row in rows:
            assert row.body in ready
            self.model[row.body] = [now + 30, self.model[row.body][1] + 1]
            assert row.deliveries == self.model[row.body][1]
            self.held[row.body] = (row.seq, row.receipt, now + 30)

    @rule(data=st.data(), what=st.sampled_from(["ack", "requeue", "release", "renew", "retry", "dead_letter"]))
    def settle(self, data: st.DataObject, what: str) -> None:
        if not self.held:
            return
        body = data.draw(st.sampled_from(sorted(self.held)))
        seq, receipt, _ = self.held[body]
        now = self.clock.monotonic()
        with self.file.transaction():
            match what:
                case "ack":
                    self.file.ack([(seq, receipt), (seq, "other")])
                    del self.model[body]
                case "requeue":
                    self.file.requeue([(seq, receipt)])
                    self.model[body] = [0.0, self.model[body][1] - 1]
                case "release":
                    self.file.release([(seq, receipt)])
                    self.model[body][0] = 0.0
                case "renew":
                    self.file.renew([(seq, receipt)], 30)
                    self.model[body][0] = now + 30
                case "retry":
                    assert self.file.retry(seq, receipt, 20)
                    self.model[body][0] = now + 20
                case "dead_letter":
                    assert self.file.dead_letter(seq, receipt) == "dead"
                    del self.model[body]
                    self.dead.append(body)
            if what != "renew":
                del self.held[body]
                self.file.ack([(seq, receipt)])
                assert not self.file.retry(seq, receipt, 0)

    @rule(seconds=st.sampled_from([0.0, 1.0, 15.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def other_receipts_do_nothing(self) -> None:
        with self.file.transaction():
            self.file.ack((seq, "other") for seq, *_ in self.held.values())
            self.file.requeue((seq, "other") for seq, *_ in self.held.values())

    @invariant()
    def file_and_list_agree(self) -> None:
        now = self.clock.monotonic()
        holding = [body for body in self.held if self.model[body][0] > now]
        with self.file.transaction():
            assert self.file.depth(QUEUE) == (len(self.model) - len(holding), len(holding))
            assert sorted(self.file.peek("dead", 1_000)) == sorted(self.dead)
            assert sorted(self.file.peek(QUEUE, 1_000)) == sorted(body for body in self.model if body not in holding)


FileAgainstList.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestFileAgainstList = FileAgainstList.TestCase
