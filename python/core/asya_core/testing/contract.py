"""The contract of every transport: thirty cases, one body each, run over all implementations (docs/reference/transports.md lists them).

Run by tests/contract/test_transports.py with a `Harness` per implementation. Where an implementation cannot keep a case, its harness says
so with a reason; nothing here asks which implementation it is.

A case is a coroutine over a `Room`; it raises AssertionError if the contract is broken.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeVar

from asya_core.testing.harness import Harness, Killable
from asya_core.testing.peer import Peer, eventually
from asya_core.transports.base import (
    Connected,
    Delivered,
    Depth,
    Disconnected,
    Link,
    Mismatch,
    PublishOutcome,
    QueueAdmin,
    QueueSpec,
    Receipt,
    ReceiptsLost,
    SettledOutcome,
)
from asya_core.wire.errors import Refused
from asya_core.wire.names import dead_letter_queue_name, queue_name

__all__ = ["CASES", "Case", "Room", "play", "run_case"]

E = TypeVar("E", bound=Exception)
CONFIRMED: Final = PublishOutcome.CONFIRMED
NOTHING: Final = Depth(0, 0)
DELAY_SECONDS: Final = 0.25
"""The shortest delay that all implementations keep exactly (RabbitMQ rounds up to its steps)."""


class Room:
    """What a case works with; closes and removes it all at the end.

    Attributes:
        harness: the implementation.
        admin: an administration.
        queue: an actor's queue, made, with `dead_letters` behind it.
        other: another actor's queue, made.
        dead_letters: error-end's queue, made.
    """

    def __init__(self, harness: Harness) -> None:
        self.harness: Final = harness
        self.queue: Final = queue_name(harness.namespace, "a")
        self.other: Final = queue_name(harness.namespace, "b")
        self.dead_letters: Final = queue_name(harness.namespace, "error-end")
        self.admin: Final[QueueAdmin] = harness.admin()
        self._changed = asyncio.Event()
        self._peers: list[Peer] = []
        self._victims: list[Killable] = []

    def spec(self, queue: str, *, max_deliveries: int = 200) -> QueueSpec:
        """How a queue of this room is made."""
        if queue == self.dead_letters:
            return QueueSpec(queue, dead_letter_queue_name(self.harness.namespace), max_deliveries)
        return QueueSpec(queue, self.dead_letters, max_deliveries)

    async def peer(self, *, automatic: Callable[[Peer, Delivered], None] | None = None, subscribe: int = 0) -> Peer:
        """An open peer; `subscribe`: the prefetch with which it consumes `queue`."""
        return await self._enter(Peer(self.harness.transport(), automatic, self._changed), subscribe)

    async def victim(self, *, subscribe: int = 0) -> "tuple[Peer, Killable]":
        """An open peer that can be killed."""
        transport = self.harness.victim()
        self._victims.append(transport)
        peer = Peer(transport, changed=self._changed)
        transport_peer = await self._enter(peer, subscribe, owned=False)
        return transport_peer, transport

    async def _enter(self, peer: Peer, subscribe: int, *, owned: bool = True) -> Peer:
        if owned:
            self._peers.append(peer)
        await peer.open()
        if subscribe:
            peer.transport.subscribe(self.queue, subscribe)
        return peer

    async def leave(self, peer: Peer) -> None:
        """Close one peer now."""
        self._peers.remove(peer)
        await peer.close()

    async def __aenter__(self) -> Self:
        self.admin.ensure(QueueSpec(dead_letter_queue_name(self.harness.namespace)))
        for queue in (self.dead_letters, self.queue, self.other):
            self.admin.ensure(self.spec(queue))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        for victim in self._victims:
            victim.kill()
        for peer in tuple(self._peers):
            await self.leave(peer)
        self.admin.close()
        self.harness.close()


@dataclass(frozen=True, slots=True)
class Case:
    """One promise of the contract.

    Attributes:
        number: as in docs/reference/transports.md.
        name: the outcome.
        body: proves it.
    """

    number: int
    name: str
    body: Callable[[Room], Awaitable[None]]


CASES: Final[list[Case]] = []


def run_case(case: Case, harness: Harness) -> None:
    """Run a case in a loop of its own. Raises AssertionError."""
    asyncio.run(play(case, harness))


async def play(case: Case, harness: Harness) -> None:
    """Run a case beside others. Raises AssertionError."""
    async with Room(harness) as room:
        await case.body(room)


def _case(number: int) -> Callable[[Callable[[Room], Awaitable[None]]], Callable[[Room], Awaitable[None]]]:
    def register(body: Callable[[Room], Awaitable[None]]) -> Callable[[Room], Awaitable[None]]:
        CASES.append(Case(number, body.__name__.removeprefix("_"), body))
        return body

    return register


def _ack(peer: Peer, delivery: Delivered) -> None:
    peer.transport.ack(delivery.receipt)


def _numbered(count: int, size: int = 0) -> list[bytes]:
    return [str(number).encode().ljust(size) for number in range(count)]


def _bodies(deliveries: list[Delivered]) -> list[bytes]:
    return sorted(delivery.body for delivery in deliveries)


def _raised(kind: type[E], call: Callable[[], object]) -> E:
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"Expected {kind.__name__}; nothing was raised")


@_case(1)
async def _bytes_arrive_unchanged_as_attempt_1(room: Room) -> None:
    peer = await room.peer(subscribe=1)
    body = b'{"id":"1","payload":"\xc3\xa4 \\u0000"}' + bytes(range(9, 127))
    assert await peer.publish(room.queue, body) == [CONFIRMED]
    delivery = await peer.take_one()
    assert (delivery.body, delivery.attempt, delivery.origin) == (body, 1, None)


@_case(2)
async def _ten_thousand_messages_reach_four_consumers_each(room: Room) -> None:
    consumers = [await room.peer(automatic=_ack, subscribe=50) for _ in range(4)]
    sender = await room.peer()
    sent = _numbered(10_000, size=100)
    for start in range(0, len(sent), 200):
        assert set(await sender.publish(room.queue, *sent[start : start + 200])) == {CONFIRMED}
    await consumers[0].until(lambda: sum(len(consumer.delivered) for consumer in consumers) >= len(sent))
    got = [delivery.body for consumer in consumers for delivery in consumer.delivered]
    assert sorted(got) == sorted(sent)
    assert all(delivery.attempt == 1 for consumer in consumers for delivery in consumer.delivered)


@_case(3)
async def _every_publish_has_exactly_one_outcome(room: Room) -> None:
    peer = await room.peer()
    large = b"x" * (peer.transport.max_message_bytes + 1)
    for number in range(300):
        peer.send(room.queue if number % 3 else queue_name(room.harness.namespace, "nobody"), large if number % 50 == 7 else b"x")
    await peer.all_answered()
    await room.leave(peer)
    assert sorted(peer.outcomes) == list(range(1, 301))
    assert {len(outcomes) for outcomes in peer.outcomes.values()} == {1}


@_case(4)
async def _publish_to_a_missing_queue_is_returned_and_the_link_stays_usable(room: Room) -> None:
    peer = await room.peer()
    missing = queue_name(room.harness.namespace, "nobody")
    assert await peer.publish(missing, b"1") == [PublishOutcome.RETURNED]
    assert await peer.publish(room.queue, b"2") == [CONFIRMED]
    assert not any(isinstance(event, Disconnected) for event in peer.events)


@_case(5)
async def _size_limit_is_exact_and_spares_the_siblings(room: Room) -> None:
    peer = await room.peer(automatic=_ack, subscribe=10)
    limit = peer.transport.max_message_bytes
    outcomes = await peer.publish(room.queue, b"a", b"x" * (limit - 1), b"x" * limit, b"x" * (limit + 1), b"b")
    assert outcomes == [CONFIRMED, CONFIRMED, CONFIRMED, PublishOutcome.TOO_LARGE, CONFIRMED]
    assert sorted(len(delivery.body) for delivery in await peer.take(4)) == [1, 1, limit - 1, limit]


@_case(6)
async def _confirmed_messages_are_there_after_the_sender_was_killed_and_the_broker_restarted(room: Room) -> None:
    sender, process = await room.victim()
    sent = _numbered(50)
    assert set(await sender.publish(room.queue, *sent)) == {CONFIRMED}
    process.kill()
    await room.harness.restart_broker()
    receiver = await room.peer(subscribe=100)
    assert _bodies(await receiver.take(50)) == sorted(sent)


@_case(7)
async def _acknowledged_messages_are_gone_after_a_restart(room: Room) -> None:
    peer = await room.peer(automatic=_ack, subscribe=10)
    await peer.publish(room.queue, *_numbered(20))
    await peer.take(20)
    await room.leave(peer)
    await asyncio.sleep(room.harness.ack_seconds)
    await room.harness.restart_broker()
    await eventually(lambda: room.admin.depth(room.queue), NOTHING)
    later = await room.peer(subscribe=10)
    await later.publish(room.queue, b"after the restart")
    assert (await later.take_one()).body == b"after the restart"
    await eventually(lambda: room.admin.depth(room.queue), Depth(0, 1))
    assert len(later.delivered) == 1


@_case(8)
async def _message_of_a_killed_consumer_comes_again_as_attempt_2(room: Room) -> None:
    consumer, process = await room.victim(subscribe=1)
    other = await room.peer()
    await other.publish(room.queue, b"1")
    assert (await consumer.take_one()).attempt == 1
    process.kill()
    other.transport.subscribe(room.queue, 1)
    delivery = await other.take_one()
    assert (delivery.body, delivery.attempt) == (b"1", 2)


@_case(9)
async def _requeued_message_reaches_another_consumer(room: Room) -> None:
    first = await room.peer(subscribe=1)
    await first.publish(room.queue, b"1")
    delivery = await first.take_one()
    other = await room.peer(subscribe=1)
    first.transport.unsubscribe()
    first.transport.requeue(delivery.receipt)
    again = await other.take_one()
    assert again.body == b"1"
    assert again.attempt >= delivery.attempt


@_case(10)
async def _retry_comes_not_early_with_the_same_bytes_and_one_attempt_more(room: Room) -> None:
    peer = await room.peer(subscribe=1)
    await peer.publish(room.queue, b"\x00\xff body")
    delivery = await peer.take_one()
    started = time.monotonic()
    assert await peer.retry(delivery, DELAY_SECONDS) is SettledOutcome.OK
    again = await peer.take_one()
    assert time.monotonic() - started >= DELAY_SECONDS
    assert (again.body, again.attempt) == (b"\x00\xff body", 2)
    assert again.receipt != delivery.receipt


@_case(11)
async def _retry_survives_a_kill_right_after_it_settled(room: Room) -> None:
    consumer, process = await room.victim(subscribe=1)
    await consumer.publish(room.queue, b"1")
    assert await consumer.retry(await consumer.take_one(), DELAY_SECONDS) is SettledOutcome.OK
    process.kill()
    other = await room.peer(subscribe=1)
    delivery = await other.take_one()
    assert (delivery.body, delivery.attempt) == (b"1", 2)


@_case(12)
async def _attempts_never_fall_over_retries_and_kills(room: Room) -> None:
    attempts = []
    sender = await room.peer()
    await sender.publish(room.queue, b"1")
    for round_retries in (2, 2, 1):
        consumer, process = await room.victim(subscribe=1)
        for _ in range(round_retries):
            delivery = await consumer.take_one()
            attempts.append(delivery.attempt)
            assert await consumer.retry(delivery, 0) is SettledOutcome.OK
        attempts.append((await consumer.take_one()).attempt)
        process.kill()
    assert len(attempts) == 8
    assert attempts == sorted(attempts)
    assert attempts[-1] >= 6


@_case(13)
async def _rejected_message_is_in_the_dead_letter_queue_with_its_origin(room: Room) -> None:
    peer = await room.peer(subscribe=1)
    await peer.publish(room.queue, b"1")
    assert await peer.reject(await peer.take_one()) is SettledOutcome.OK
    watcher = await room.peer()
    watcher.transport.subscribe(room.dead_letters, 1)
    delivery = await watcher.take_one()
    assert (delivery.body, delivery.attempt, delivery.origin) == (b"1", 1, room.queue)
    await eventually(lambda: room.admin.depth(room.queue), NOTHING)


@_case(14)
async def _unsettled_messages_never_exceed_the_prefetch(room: Room) -> None:
    peer = await room.peer(subscribe=7)
    await peer.publish(room.queue, *_numbered(30))
    for _ in range(4):
        await peer.take(7)
        await eventually(lambda: room.admin.depth(room.queue).unsettled, 7)
        unsettled = peer.delivered[-7:]
        for delivery in unsettled:
            peer.transport.ack(delivery.receipt)
    await peer.take(2)
    assert len(peer.delivered) == 30


@_case(15)
async def _prefetch_1_is_serial(room: Room) -> None:
    held: set[Receipt] = set()
    most = 0

    def work(peer: Peer, delivery: Delivered) -> None:
        nonlocal most
        held.add(delivery.receipt)
        most = max(most, len(held))
        asyncio.get_running_loop().call_later(0.002, done, peer, delivery)

    def done(peer: Peer, delivery: Delivered) -> None:
        held.discard(delivery.receipt)
        peer.transport.ack(delivery.receipt)

    peer = await room.peer(automatic=work, subscribe=1)
    await peer.publish(room.queue, *_numbered(20))
    await peer.take(20)
    assert most == 1


@_case(16)
async def _prefetch_changes_while_messages_are_held(room: Room) -> None:
    peer = await room.peer(subscribe=1)
    await peer.publish(room.queue, *_numbered(10))
    held = await peer.take(1)
    peer.transport.subscribe(room.queue, 4)
    held += await peer.take(3)
    await eventually(lambda: room.admin.depth(room.queue), Depth(6, 4))
    peer.transport.subscribe(room.queue, 2)
    for delivery in held[:2]:  # two are left, as many as may be
        peer.transport.ack(delivery.receipt)
    await eventually(lambda: room.admin.depth(room.queue), Depth(6, 2))
    for delivery in held[2:]:
        peer.transport.ack(delivery.receipt)
    await peer.take(2)
    # Not only does the transport hand out no more: it takes no more from the broker, where others could have it.
    await eventually(lambda: room.admin.depth(room.queue), Depth(4, 2))
    assert len(peer.delivered) == 6
    assert sorted({delivery.body for delivery in peer.delivered}) == _bodies(peer.delivered)


@_case(17)
async def _message_held_for_three_visibility_timeouts_is_not_given_to_another(room: Room) -> None:
    peer = await room.peer(subscribe=1)
    other = await room.peer(subscribe=1)
    await peer.publish(room.queue, b"1")
    await eventually(lambda: len(peer.delivered) + len(other.delivered), 1)
    await asyncio.sleep(3 * room.harness.visibility_seconds)
    assert len(peer.delivered) + len(other.delivered) == 1
    assert room.admin.depth(room.queue) == Depth(0, 1)


@_case(18)
async def _settled_and_unknown_receipts_are_harmless(room: Room) -> None:
    peer = await room.peer(subscribe=1)
    await peer.publish(room.queue, *_numbered(2))
    delivery = await peer.take_one()
    peer.transport.ack(delivery.receipt)
    for receipt in (delivery.receipt, Receipt("0"), Receipt("never given")):
        peer.transport.ack(receipt)
        peer.transport.requeue(receipt)
        peer.transport.retry(receipt, 0)
        peer.transport.reject(receipt)
    await peer.until(lambda: sum(map(len, peer.settled.values())) == 6)
    assert {outcome for outcomes in peer.settled.values() for outcome in outcomes} == {SettledOutcome.LOST}
    assert {(await peer.take_one()).body, delivery.body} == {b"0", b"1"}
    assert await peer.publish(room.queue, b"2") == [CONFIRMED]


@_case(19)
async def _lost_receipts_are_told_before_the_link_is_up_again(room: Room) -> None:
    peer = await room.peer(subscribe=1)
    await peer.publish(room.queue, b"1")
    delivery = await peer.take_one()
    before = len(peer.events)
    await room.harness.cut_links()
    await peer.until(lambda: Connected(Link.CONSUME) in peer.events[before:])
    after = peer.events[before:]
    assert ReceiptsLost() in after[: after.index(Connected(Link.CONSUME))]
    assert any(isinstance(event, Disconnected) and event.link is Link.CONSUME for event in after)
    peer.transport.ack(delivery.receipt)
    assert (await peer.take_one()).body == b"1"


@_case(20)
async def _five_cuts_under_load_lose_nothing(room: Room) -> None:
    consumer = await room.peer(automatic=_ack, subscribe=20)
    sender = await room.peer()
    sent = _numbered(2_000)
    waiting = dict(enumerate(sent))
    for cut in range(5):
        tokens = {sender.send(room.queue, body): number for number, body in list(waiting.items())[: 400 if cut < 4 else None]}
        await sender.until(lambda: len(sender.outcomes) > 0)
        await room.harness.cut_links()
        await sender.all_answered()
        for token, number in tokens.items():
            if sender.outcomes[token] == [CONFIRMED]:
                del waiting[number]
    while waiting:
        outcomes = await sender.publish(room.queue, *waiting.values())
        waiting = {number: waiting[number] for number, outcome in zip(tuple(waiting), outcomes, strict=True) if outcome is not CONFIRMED}
    await consumer.until(lambda: {delivery.body for delivery in consumer.delivered} >= set(sent))
    await eventually(lambda: room.admin.depth(room.queue), NOTHING)
    assert {delivery.body for delivery in consumer.delivered} == set(sent)


@_case(21)
async def _close_interrupts_a_long_poll_within_a_second(room: Room) -> None:
    peer = await room.peer(subscribe=10)
    started = time.monotonic()
    await room.leave(peer)
    assert time.monotonic() - started < 1 + 1  # the port's bound, and a second for a machine under load


@_case(22)
async def _empty_bodies_and_odd_characters_arrive(room: Room) -> None:
    bodies = [b"", "\ufffe\uffff\u0001".encode(), "𐍈😀".encode(), b"\x00", b"\xff\xfe"]
    peer = await room.peer(automatic=_ack, subscribe=10)
    assert set(await peer.publish(room.queue, *bodies)) == {CONFIRMED}
    assert _bodies(await peer.take(len(bodies))) == sorted(bodies)


@_case(23)
async def _many_large_messages_at_once_all_arrive(room: Room) -> None:
    peer = await room.peer(automatic=_ack, subscribe=5)
    size = min(peer.transport.max_message_bytes, 300_000)
    bodies = _numbered(30, size=size)
    assert set(await peer.publish(room.queue, *bodies)) == {CONFIRMED}
    assert _bodies(await peer.take(30)) == sorted(bodies)


@_case(24)
async def _queues_are_isolated(room: Room) -> None:
    first = await room.peer(automatic=_ack, subscribe=10)
    second = await room.peer(automatic=_ack)
    second.transport.subscribe(room.other, 10)
    sender = await room.peer()
    for number in range(50):
        sender.send(room.queue, b"a%d" % number)
        sender.send(room.other, b"b%d" % number)
    assert {delivery.body[:1] for delivery in await first.take(50)} == {b"a"}
    assert {delivery.body[:1] for delivery in await second.take(50)} == {b"b"}


@_case(25)
async def _depth_tells_ready_and_unsettled(room: Room) -> None:
    peer = await room.peer()
    await peer.publish(room.queue, *_numbered(10))
    await eventually(lambda: room.admin.depth(room.queue), Depth(10, 0))
    peer.transport.subscribe(room.queue, 4)
    await peer.take(4)
    await eventually(lambda: room.admin.depth(room.queue), Depth(6, 4))
    for delivery in peer.delivered:
        peer.transport.ack(delivery.receipt)
    await eventually(lambda: room.admin.depth(room.queue), Depth(2, 4))
    missing = queue_name(room.harness.namespace, "nobody")
    assert _raised(Refused, lambda: room.admin.depth(missing)).code == "no_such_queue"


@_case(26)
async def _ensure_twice_changes_nothing_and_a_mismatch_keeps_the_messages(room: Room) -> None:
    peer = await room.peer()
    await peer.publish(room.queue, b"1")
    room.admin.ensure(room.spec(room.queue))
    assert _raised(Mismatch, lambda: room.admin.ensure(QueueSpec(room.queue, room.other))).queue == room.queue
    await eventually(lambda: room.admin.depth(room.queue), Depth(1, 0))


@_case(27)
async def _delete_if_empty_refuses_while_there_are_messages(room: Room) -> None:
    peer = await room.peer()
    await peer.publish(room.queue, b"1")
    await eventually(lambda: room.admin.depth(room.queue), Depth(1, 0))
    assert not room.admin.delete_if_empty(room.queue)
    peer.transport.subscribe(room.queue, 1)
    delivery = await peer.take_one()
    await eventually(lambda: room.admin.depth(room.queue), Depth(0, 1))
    assert not room.admin.delete_if_empty(room.queue)
    peer.transport.ack(delivery.receipt)
    await room.leave(peer)
    await eventually(lambda: room.admin.delete_if_empty(room.queue), True)
    assert room.admin.delete_if_empty(room.queue)


@_case(28)
async def _acks_work_while_the_broker_takes_no_publishes(room: Room) -> None:
    peer = await room.peer(subscribe=5)
    await peer.publish(room.queue, *_numbered(5))
    await peer.take(5)
    await room.harness.block()
    tokens = [peer.send(room.other, b"x" * 90_000) for _ in range(5)]
    for delivery in peer.delivered:
        peer.transport.ack(delivery.receipt)
    await eventually(lambda: room.admin.depth(room.queue), NOTHING)
    assert room.admin.depth(room.other) == NOTHING
    await room.harness.unblock()
    await peer.all_answered()
    refused = [token for token in tokens if peer.outcomes[token] != [CONFIRMED]]
    assert {peer.outcomes[token][0] for token in refused} <= {PublishOutcome.REFUSED}
    assert set(await peer.publish(room.other, *[b"x" * 90_000 for _ in refused], b"last")) == {CONFIRMED}
    await eventually(lambda: room.admin.depth(room.other), Depth(6, 0))


def _given_or_given_up(room: Room, consumer: Peer) -> bool:
    return bool(consumer.delivered) or room.admin.depth(room.dead_letters).ready == 1


@_case(29)
async def _message_over_the_brokers_limit_lands_in_the_dead_letter_queue(room: Room) -> None:
    short = queue_name(room.harness.namespace, "short")
    room.admin.ensure(room.spec(short, max_deliveries=3))
    sender = await room.peer()
    await sender.publish(short, b"1")
    deliveries = 0
    while room.admin.depth(room.dead_letters).ready == 0:
        assert deliveries <= 4
        consumer, process = await room.victim()
        consumer.transport.subscribe(short, 1)
        await eventually(partial(_given_or_given_up, room, consumer), True)
        deliveries += bool(consumer.delivered)
        process.kill()
    watcher = await room.peer()
    watcher.transport.subscribe(room.dead_letters, 1)
    delivery = await watcher.take_one()
    assert (delivery.body, delivery.origin) == (b"1", short)
    assert deliveries >= 3


@_case(30)
async def _no_foreign_exception_escapes(room: Room) -> None:
    escaped: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: escaped.append(context))
    peer = await room.peer(subscribe=3)
    for queue in ("", "no such queue", "ü" * 300, "a" * 300, "asya_\x00", room.queue):
        assert await peer.publish(queue, b"1") in ([PublishOutcome.RETURNED], [CONFIRMED], [PublishOutcome.REFUSED])
    delivery = await peer.take_one()
    await room.harness.cut_links()
    peer.transport.retry(delivery.receipt, -1.0)
    peer.transport.reject(Receipt(""))
    await peer.until(lambda: sum(isinstance(event, Connected) for event in peer.events) >= 4)
    for queue in ("", "ü" * 300, "no such queue"):
        _raised(Refused, partial(room.admin.depth, queue))
    assert await peer.publish(room.queue, b"2") == [CONFIRMED]
    for milliseconds in range(12):  # closed at some moment of connecting, mostly in the middle of it
        opening = Peer(room.harness.transport())
        opening.begin()
        await asyncio.sleep(milliseconds / 1000)
        await opening.close()
    assert not escaped, escaped
