"""Replays from a storage: once each, nothing lost, whatever is interrupted. The storage is a real folder, the broker a twin."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from asya_cli.dlq.failures import Wanted
from asya_cli.dlq.journal import Journal
from asya_cli.dlq.replaying import Account, replay_all
from asya_cli.dlq.source import Outcome, Sent
from asya_cli.dlq.storage_source import StorageSource
from asya_core.objects import DirectoryLocation, ObjectStore, open_store
from asya_core.wire.errors import AsyaError, Refused, Unavailable


class Broker:
    """Takes what is sent; may fail at the n-th, before or after it took it."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.fails_at: int | None = None
        self.takes_it = False

    def send(self, queue: str, body: bytes) -> None:
        fails = self.fails_at is not None and len(self.sent) == self.fails_at
        if not fails or self.takes_it:
            self.sent.append((queue, json.loads(body)))
        if fails:
            self.fails_at = None
            raise Unavailable("broker", "Broker cannot be used", "start it")

    def close(self) -> None:
        pass

    @property
    def ids(self) -> list[str]:
        return [envelope["id"] for _, envelope in self.sent]


class Clock:
    """Time that passes only while it is waited."""

    def __init__(self) -> None:
        self.now = 0.0
        self.number: int | None = None
        self.stops_after: float | None = None

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.now += max(0.0, seconds)
        if self.stops_after is not None and self.now >= self.stops_after:
            self.number = 2
        return self.number is not None


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return open_store(DirectoryLocation(path=tmp_path))


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def source(objects: ObjectStore, broker: Broker) -> StorageSource:
    return StorageSource(objects, lambda: broker, "ns")  # type: ignore[arg-type, return-value]


def keep(objects: ObjectStore, count: int, **changes: Any) -> None:
    for number in range(count):
        error = {"code": "handler_error", "type": "KeyError", "mro": ["KeyError"], "actor": "b", "at": f"2026-01-01T12:00:{number:02}Z"}
        record = {"id": f"E{number:02}", "route": {"actors": ["a", "b"], "current": 1}, "payload": {"n": number}, "error": error} | changes
        objects.put_if_absent(f"errors/{record['id']}.json", json.dumps(record).encode())


def replay(source: StorageSource, *, clock: Clock | None = None, **more: Any) -> Account:
    time = clock or Clock()
    told: list[Any] = []
    wanted = Wanted(replayed=more.get("again", False))
    options: dict[str, Any] = {"actor": None, "again": False, "per_second": None} | more
    account = replay_all(
        source,
        list(reversed(source.failures(wanted))),
        stop=time,  # type: ignore[arg-type]
        tell=lambda failure, what: told.append(failure),
        clock=time,
        **options,
    )
    assert len(told) == account.selected - account.left
    return account


def test_it_goes_on_in_the_failed_actor_oldest_first(objects: ObjectStore, broker: Broker, source: StorageSource) -> None:
    keep(objects, 3)
    account = replay(source)
    assert [queue for queue, _ in broker.sent] == ["asya-ns-b"] * 3
    assert [envelope["payload"]["n"] for _, envelope in broker.sent] == [0, 1, 2]
    assert broker.sent[0][1]["route"] == {"actors": ["a", "b"], "current": 1}
    assert broker.ids == [sent.new_id for _, sent in account.sent]
    assert not set(broker.ids) & {"E00", "E01", "E02"}


def test_a_second_run_finds_nothing(objects: ObjectStore, broker: Broker, source: StorageSource) -> None:
    keep(objects, 3)
    replay(source)
    assert source.failures(Wanted()) == []
    assert replay(source).selected == 0
    assert {each.replayed_as for each in source.failures(Wanted(replayed=True))} == set(broker.ids)


def test_again_replays_once_more_under_another_id(objects: ObjectStore, broker: Broker, source: StorageSource) -> None:
    keep(objects, 1)
    replay(source)
    assert len(replay(source, again=True).sent) == 1
    assert len(set(broker.ids)) == 2
    assert source.failures(Wanted(replayed=True))[0].replayed_as == broker.ids[1]


@pytest.mark.behaviour("dlq:once")
@pytest.mark.parametrize("takes_it", [False, True], ids=["before-the-broker-had-it", "after"])
def test_interrupted_run_is_finished_by_the_next_under_the_same_ids(
    objects: ObjectStore, broker: Broker, source: StorageSource, takes_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(objects, 5)
    broker.fails_at, broker.takes_it = 2, takes_it
    account = replay(source)
    assert (len(account.sent), account.left) == (2, 3)
    assert account.problem is not None
    monkeypatch.setattr("asya_cli.dlq.storage_source._STALE_SECONDS", 0.0)  # its owner is gone for long
    assert len(replay(source).sent) == 3
    assert sorted(envelope["payload"]["n"] for _, envelope in broker.sent) == ([0, 1, 2, 2, 3, 4] if takes_it else [0, 1, 2, 3, 4])
    assert len(set(broker.ids)) == 5


def test_what_another_run_is_sending_is_waited_for_and_not_sent(objects: ObjectStore, broker: Broker) -> None:
    keep(objects, 1)
    journal = Journal(objects)
    theirs = journal.claim("E00", "NEW", number=1)
    source = StorageSource(objects, lambda: broker, "ns", sleep=lambda seconds: journal.settle("E00", theirs))  # type: ignore[arg-type, return-value]
    (failure,) = source.failures(Wanted())
    assert source.replay(failure, actor=None, again=False) == Sent(outcome=Outcome.BEFORE, new_id="NEW")
    assert broker.sent == []


def test_what_another_run_left_is_sent_under_its_id(objects: ObjectStore, broker: Broker, source: StorageSource) -> None:
    keep(objects, 1)
    Journal(objects, now=lambda: datetime.now(UTC) - timedelta(minutes=1)).claim("E00", "NEW", number=1)
    (failure,) = source.failures(Wanted())
    assert source.replay(failure, actor=None, again=False) == Sent(outcome=Outcome.SENT, new_id="NEW")
    assert broker.ids == ["NEW"]


def test_claim_from_the_future_is_not_waited_for(objects: ObjectStore, broker: Broker, source: StorageSource) -> None:
    keep(objects, 1)
    Journal(objects, now=lambda: datetime.now(UTC) + timedelta(hours=1)).claim("E00", "NEW", number=1)
    (failure,) = source.failures(Wanted())
    assert source.replay(failure, actor=None, again=False).new_id == "NEW"


def test_rate_spreads_them(objects: ObjectStore, source: StorageSource) -> None:
    keep(objects, 21)
    clock = Clock()
    assert len(replay(source, clock=clock, per_second=20.0).sent) == 21
    assert clock.now == pytest.approx(1.0)


def test_signal_ends_it_between_two(objects: ObjectStore, broker: Broker, source: StorageSource) -> None:
    keep(objects, 10)
    clock = Clock()
    clock.stops_after = 1.9
    account = replay(source, clock=clock, per_second=2.0)
    assert (account.stopped, len(account.sent), account.left) == (2, 4, 6)
    assert account.as_json()["left"] == 6


def test_what_cannot_be_replayed_is_told_and_the_rest_goes_on(objects: ObjectStore, broker: Broker, source: StorageSource) -> None:
    keep(objects, 3)
    keep(objects, 1, id="unreadable-1")
    account = replay(source)
    assert (len(account.sent), [error.code for _, error in account.refused]) == (3, ["not_replayable"])
    assert [each.id for each in source.failures(Wanted())] == ["unreadable-1"]


def test_no_right_to_remember_ends_it_before_anything_is_sent(objects: ObjectStore, broker: Broker, source: StorageSource) -> None:
    keep(objects, 3)

    def refuse(key: str, body: bytes) -> bool:
        raise Refused("access_denied", "no right to write", "give it")

    objects.put_if_absent = refuse  # type: ignore[method-assign]
    account = replay(source)
    assert (account.left, broker.sent) == (3, [])
    assert account.problem is not None


def test_newest_come_first_and_what_is_no_record_is_left_out(objects: ObjectStore, source: StorageSource) -> None:
    keep(objects, 3)
    objects.put_if_absent("errors/other.json", b"[]")
    objects.put_if_absent("errors/note.txt", b"hello")
    assert [each.id for each in source.failures(Wanted(), 2)] == ["E02", "E01"]


def test_since_is_when_it_failed(objects: ObjectStore, source: StorageSource) -> None:
    keep(objects, 3)
    assert source.failures(Wanted(since=datetime.now(UTC) + timedelta(hours=1))) == []
    since = datetime(2026, 1, 1, 12, 0, 1, tzinfo=UTC)
    assert [each.id for each in source.failures(Wanted(since=since))] == ["E02", "E01"]


@pytest.mark.parametrize(("key", "asked"), [("errors/E1.json", "E1"), ("results/E1.json", "E1"), ("errors/h_1.json", "h:1")])
def test_record_is_found_by_id(objects: ObjectStore, source: StorageSource, key: str, asked: str) -> None:
    objects.put_if_absent(key, b'{"id": "E1"}')
    assert source.show(asked) == {"id": "E1"}


def test_record_that_is_not_there_has_a_code(source: StorageSource) -> None:
    with pytest.raises(AsyaError) as refusal:
        source.show("E1")
    assert refusal.value.code == "no_such_record"


@pytest.mark.parametrize("body", [b"x", b"{}", b'{"id": "N", "at": "soon"}'])
def test_claim_that_is_none_is_refused(objects: ObjectStore, body: bytes) -> None:
    objects.put_if_absent("replays/id=E00/0001.json", body)
    with pytest.raises(Refused, match="is no claim of a replay"):
        Journal(objects).claim("E00", "N", number=1)


def test_many_replays_are_read_page_by_page(objects: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asya_cli.dlq.journal._PAGE", 3)
    journal = Journal(objects)
    for number in range(4):
        journal.settle(f"E{number}", journal.claim(f"E{number}", "N", number=1))
    assert journal.sent() == {f"E{number}": 1 for number in range(4)}
