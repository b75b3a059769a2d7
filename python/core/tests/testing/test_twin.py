"""The broker in memory: its faults on demand and its fake time. What it shares with the real ones is in tests/contract."""

from collections.abc import Callable

import pytest

from asya_core.ops.clock import FakeClock
from asya_core.testing.twin import TwinAdmin, TwinBroker, TwinTransport
from asya_core.transports.base import (
    Closed,
    Connected,
    Delivered,
    Depth,
    Disconnected,
    Link,
    Published,
    PublishOutcome,
    QueueSpec,
    Receipt,
    ReceiptsLost,
    Settled,
    SettledOutcome,
    TransportEvent,
)
from asya_core.wire.errors import Bug, Refused

CONFIRMED, REFUSED, LOST = PublishOutcome.CONFIRMED, PublishOutcome.REFUSED, PublishOutcome.LOST


class Stage:
    """A twin with queues a and b, one open transport, time and turns in the test's hand."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self._turns: list[Callable[[], None]] = []
        self.broker = TwinBroker(clock=self.clock, schedule=self._turns.append)
        self.admin = TwinAdmin(self.broker)
        for name in ("a", "b"):
            self.admin.ensure(QueueSpec(name))
        self.events: list[TransportEvent] = []
        self.transport = self.open()
        self.events.clear()

    def open(self) -> TwinTransport:
        transport = TwinTransport(self.broker)
        transport.open(self.events.append)
        self.turn()
        return transport

    def turn(self) -> list[TransportEvent]:
        """Run turns until none is asked for; the events so far, which are forgotten."""
        while self._turns:
            self._turns.pop(0)()
        events = list(self.events)
        self.events.clear()
        return events

    def take(self) -> Delivered:
        """The one delivery that comes next."""
        (delivery,) = self.turn()
        assert isinstance(delivery, Delivered)
        return delivery


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_no_event_comes_from_inside_a_call(stage: Stage) -> None:
    stage.transport.publish(1, "a", b"1")
    stage.transport.subscribe("a", 1)
    stage.transport.reject(Receipt("unknown"))
    assert stage.events == []
    assert {type(event) for event in stage.turn()} == {Published, Settled, Delivered}


def test_held_confirms_are_told_once_when_released_although_the_message_is_there(stage: Stage) -> None:
    stage.broker.hold_confirms()
    stage.transport.publish(1, "a", b"1")
    stage.transport.publish(2, "missing", b"2")
    assert stage.turn() == []
    assert stage.broker.bodies("a") == [b"1"]
    stage.broker.release_confirms()
    assert stage.turn() == [Published(1, CONFIRMED), Published(2, PublishOutcome.RETURNED)]
    assert stage.turn() == []


def test_held_message_is_consumed_before_its_confirm(stage: Stage) -> None:
    stage.transport.subscribe("a", 1)
    stage.broker.hold_confirms()
    stage.transport.publish(1, "a", b"1")
    assert stage.take().body == b"1"


def test_link_cut_while_confirms_are_held_makes_them_lost_and_keeps_the_message(stage: Stage) -> None:
    stage.broker.hold_confirms()
    stage.transport.publish(1, "a", b"1")
    stage.turn()
    stage.broker.cut(stage.transport, Link.PUBLISH)
    events = stage.turn()
    assert [type(event) for event in events] == [Disconnected, Published, Connected]
    assert events[1] == Published(1, LOST)
    stage.broker.release_confirms()
    assert stage.turn() == []
    assert stage.broker.bodies("a") == [b"1"]


def test_close_while_confirms_are_held_answers_lost_before_closed(stage: Stage) -> None:
    stage.broker.hold_confirms()
    stage.transport.publish(1, "a", b"1")
    stage.transport.close()
    assert stage.turn() == [Published(1, LOST), Closed()]


def test_refusing_queue_takes_nothing_and_others_are_unhurt(stage: Stage) -> None:
    stage.broker.refusing.add("a")
    stage.transport.publish(1, "a", b"1")
    stage.transport.publish(2, "b", b"2")
    assert stage.turn() == [Published(1, REFUSED), Published(2, CONFIRMED)]
    assert stage.broker.bodies("a") == []
    stage.broker.refusing.discard("a")
    stage.transport.publish(3, "a", b"3")
    assert stage.turn() == [Published(3, CONFIRMED)]


def test_retry_comes_when_the_fake_clock_reaches_its_time_and_not_before(stage: Stage) -> None:
    stage.transport.subscribe("a", 1)
    stage.transport.publish(1, "a", b"1")
    first = next(event for event in stage.turn() if isinstance(event, Delivered))
    stage.transport.retry(first.receipt, 10.0)
    assert stage.turn() == [Settled(first.receipt, SettledOutcome.OK)]
    stage.clock.advance(9.99)
    assert stage.turn() == []
    assert stage.admin.depth("a") == Depth(1, 0)
    stage.clock.set_wall(0.0)
    assert stage.turn() == []
    stage.clock.advance(0.01)
    again = stage.take()
    assert (again.body, again.attempt) == (b"1", 2)


def test_requeue_counts_no_attempt_and_a_killed_holder_does(stage: Stage) -> None:
    stage.transport.subscribe("a", 1)
    stage.transport.publish(1, "a", b"1")
    first = next(event for event in stage.turn() if isinstance(event, Delivered))
    stage.transport.requeue(first.receipt)
    second = stage.take()
    assert second.attempt == 1
    stage.transport.kill()
    assert stage.turn() == []
    stage.open()
    other = stage.open()
    other.subscribe("a", 1)
    assert stage.take().attempt == 2


def test_reject_without_a_dead_letter_queue_is_lost_and_comes_again_after_a_second(stage: Stage) -> None:
    stage.transport.subscribe("a", 1)
    stage.transport.publish(1, "a", b"1")
    first = next(event for event in stage.turn() if isinstance(event, Delivered))
    stage.transport.reject(first.receipt)
    assert stage.turn() == [Settled(first.receipt, SettledOutcome.LOST)]
    stage.clock.advance(1.0)
    assert stage.take().attempt == 2


def test_stopped_broker_keeps_messages_and_tells_lost_receipts_before_connected(stage: Stage) -> None:
    stage.transport.subscribe("a", 1)
    stage.transport.publish(1, "a", b"1")
    stage.turn()
    stage.broker.stop()
    stage.transport.publish(2, "b", b"2")
    assert [type(event) for event in stage.turn()] == [Disconnected, ReceiptsLost, Disconnected]
    stage.broker.start()
    events = stage.turn()
    assert events[:2] == [Connected(Link.CONSUME), Connected(Link.PUBLISH)]
    assert Published(2, CONFIRMED) in events
    assert [event.attempt for event in events if isinstance(event, Delivered)] == [2]


def test_publishes_wait_while_blocked(stage: Stage) -> None:
    stage.broker.block()
    stage.turn()
    stage.transport.publish(1, "a", b"1")
    assert stage.turn() == []
    assert stage.broker.bodies("a") == []
    stage.broker.unblock()
    assert Published(1, CONFIRMED) in stage.turn()


def test_misuse_is_a_bug_or_refused(stage: Stage) -> None:
    with pytest.raises(Bug, match="opened before"):
        stage.transport.open(stage.events.append)
    with pytest.raises(Bug, match="prefetch 0"):
        stage.transport.subscribe("a", 0)
    with pytest.raises(Refused, match="'missing' does not exist"):
        stage.admin.depth("missing")
