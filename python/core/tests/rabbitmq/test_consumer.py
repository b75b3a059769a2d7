"""Subscriptions that the broker ends, refuses or does not know; how much is taken; how deliveries are settled on the wire."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from pika import frame, spec
from python.core.tests.rabbitmq.brokers import SERVICES, Server, connected, opened, settings_of, told, up
from python.core.tests.rabbitmq.fake_broker import Conversation, FakeBroker

from asya_core.testing.peer import Peer, eventually
from asya_core.transports.base import Delivered, Disconnected, Link, SettledOutcome
from asya_core.transports.rabbitmq import RabbitAdmin, consumer
from asya_core.transports.rabbitmq.topology import actor_spec

pytestmark = pytest.mark.unmeasured


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "AGAIN_SECONDS", (0.05,))


def run(test: Callable[[FakeBroker, Peer], Coroutine[Any, Any, None]], broker: FakeBroker | None = None, **settings: Any) -> None:
    async def inside() -> None:
        async with (broker or FakeBroker()).running() as serving, opened(settings_of(serving.port, **settings)) as peer:
            await connected(peer)
            await test(serving, peer)

    asyncio.run(inside())


async def consuming(broker: FakeBroker, count: int = 1) -> Conversation:
    """Wait for so many consumers to have begun; the connection."""
    await broker.until(lambda: len(broker.methods(spec.Basic.Consume)) >= count)
    return broker.named("consume")[-1]


def limits(broker: FakeBroker) -> list[int]:
    """The limit of each consumer, in the order in which they began."""
    found, last = [], 0
    for conversation in broker.connections:
        for each in conversation.frames:
            if isinstance(each, frame.Method) and isinstance(each.method, spec.Basic.Qos):
                last = each.method.prefetch_count
            if isinstance(each, frame.Method) and isinstance(each.method, spec.Basic.Consume):
                found.append(last)
    return found


def close(code: int, text: str) -> Callable[[Conversation, int, Any], None]:
    return lambda conversation, channel, _method: conversation.send(channel, spec.Channel.Close(code, text, 50, 10))


def test_consumer_timeout_follows_the_handlers_and_is_never_under_the_brokers_default() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        peer.transport.subscribe("q", 4)
        await consuming(broker)
        assert broker.methods(spec.Basic.Consume)[0].arguments == {"x-consumer-timeout": 4 * 1060 * 1000}

    run(test, handler_timeout_seconds=1000.0)


def test_missing_queue_is_asked_for_until_it_is_there_and_costs_no_channel() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        broker.answers[spec.Queue.Declare] = close(404, "NOT_FOUND - no queue 'q' in vhost '/'")
        peer.transport.subscribe("q", 1)
        await broker.until(lambda: len(broker.methods(spec.Queue.Declare)) >= 3)
        assert broker.methods(spec.Basic.Consume) == []
        broker.answers.clear()
        await consuming(broker)
        assert not any(isinstance(event, Disconnected) for event in peer.events)

    run(test)


def test_unsubscribe_ends_the_asking_for_a_missing_queue() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        broker.answers[spec.Queue.Declare] = close(404, "NOT_FOUND")
        peer.transport.subscribe("q", 1)
        await broker.until(lambda: len(broker.methods(spec.Queue.Declare)) >= 1)
        peer.transport.unsubscribe()
        broker.answers.clear()
        await asyncio.sleep(0.2)
        assert broker.methods(spec.Basic.Consume) == []

    run(test)


def test_refused_queue_is_told_and_the_link_begins_anew() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        broker.answers[spec.Queue.Declare] = close(403, "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'u'")
        peer.transport.subscribe("q", 1)
        reason = await told(peer, "refused queue q", Link.CONSUME)
        assert reason == "Broker refused queue q: 403 ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'u'"
        broker.answers.clear()
        await consuming(broker)
        await up(peer)

    run(test)


@pytest.mark.parametrize(
    ("code", "text"), [(404, "NOT_FOUND - no queue"), (403, "ACCESS_REFUSED"), (405, "RESOURCE_LOCKED"), (541, "INTERNAL")]
)
def test_consume_channel_that_the_broker_closes_loses_receipts_and_comes_back(code: int, text: str) -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        peer.transport.subscribe("q", 5)
        (await consuming(broker)).deliver(1, 1)
        delivery = await peer.take_one()
        broker.named("consume")[-1].send(1, spec.Channel.Close(code, text, 60, 20))
        assert await told(peer, "consume channel", Link.CONSUME) == f"Broker closed the consume channel: {code} {text}"
        again = await consuming(broker, 2)
        again.deliver(1, 1, redelivered=True, headers={"x-delivery-count": 1})
        second = await peer.take_one()
        assert (second.attempt, second.receipt == delivery.receipt) == (2, False)
        peer.transport.ack(delivery.receipt)  # dead: must not settle the new delivery with the same number
        peer.transport.ack(second.receipt)
        await broker.until(lambda: len(broker.methods(spec.Basic.Ack)) == 1)

    run(test)


def test_consumer_that_the_broker_cancels_begins_anew_and_keeps_its_receipts() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        peer.transport.subscribe("q", 2)
        link = await consuming(broker)
        link.deliver(1, 1)
        delivery = await peer.take_one()
        link.send(1, spec.Basic.Cancel("asya-1", nowait=True))
        await consuming(broker, 2)
        assert limits(broker) == [2, 1]  # one is still held
        peer.transport.ack(delivery.receipt)
        await consuming(broker, 3)
        assert limits(broker) == [2, 1, 1]
        assert not any(isinstance(event, Disconnected) for event in peer.events)

    run(test)


def test_consumers_that_the_broker_cancels_one_after_the_other_begin_anew_together() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        peer.transport.subscribe("q", 1)
        await consuming(broker)
        peer.transport.subscribe("q", 4)
        link = await consuming(broker, 2)
        for tag in ("asya-1", "asya-2"):
            link.send(1, spec.Basic.Cancel(tag, nowait=True))
        await consuming(broker, 3)
        await broker.until(lambda: limits(broker)[2:] == [4])
        link.deliver(1, 1)
        assert (await peer.take_one()).body == b"x"
        assert not any(isinstance(event, Disconnected) for event in peer.events)

    run(test)


def test_prefetch_that_changes_back_and_forth_settles_on_the_last() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        for prefetch in (5, 1, 9, 3, 7, 2, 6):
            peer.transport.subscribe("q", prefetch)
        await broker.until(lambda: given(broker) == 6)
        peer.transport.unsubscribe()
        peer.transport.subscribe("q", 3)
        await broker.until(lambda: given(broker) == 3)

    def given(broker: FakeBroker) -> int:
        """What the consumers that have begun and not ended may take, as the broker sees it."""
        begun = [each.consumer_tag for each in broker.methods(spec.Basic.Consume)]
        ended = {each.consumer_tag for each in broker.methods(spec.Basic.Cancel)}
        return sum(limit for tag, limit in zip(begun, limits(broker), strict=True) if tag not in ended)

    run(test)


def test_raised_prefetch_adds_a_consumer_for_the_difference() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        peer.transport.subscribe("q", 1)
        await consuming(broker)
        peer.transport.subscribe("q", 16)
        await consuming(broker, 2)
        assert limits(broker) == [1, 15]
        assert broker.methods(spec.Basic.Cancel) == []

    run(test)


def test_lowered_prefetch_takes_no_more_than_there_is_room_at_any_moment() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        peer.transport.subscribe("q", 16)
        link = await consuming(broker)
        for tag in range(1, 17):
            link.deliver(1, tag)
        held = await peer.take(16)
        peer.transport.subscribe("q", 8)
        await broker.until(lambda: len(broker.methods(spec.Basic.Cancel)) == 1)
        for number, delivery in enumerate(held, start=1):
            peer.transport.ack(delivery.receipt)
            await broker.until(lambda number=number: acked(broker) == number)
            assert sum(limits(broker)[1:]) + 16 - number <= max(8, 16 - number)
        await broker.until(lambda: sum(limits(broker)[1:]) == 8)
        assert limits(broker)[:2] == [16, 4]

    def acked(broker: FakeBroker) -> int:
        return len(broker.methods(spec.Basic.Ack))

    run(test)


def test_what_was_on_its_way_while_the_prefetch_fell_waits_for_room() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        peer.transport.subscribe("q", 4)
        link = await consuming(broker)
        for tag in (1, 2):
            link.deliver(1, tag)
        first, second = await peer.take(2)
        peer.transport.subscribe("q", 2)
        link.deliver(1, 3, b"third")
        await broker.until(lambda: len(broker.methods(spec.Basic.Cancel)) == 1)
        await asyncio.sleep(0.05)
        assert len(peer.delivered) == 2
        peer.transport.ack(first.receipt)
        assert (await peer.take_one()).body == b"third"
        peer.transport.ack(second.receipt)

    run(test)


def test_deliveries_after_unsubscribe_go_back_at_once() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        peer.transport.subscribe("q", 5)
        link = await consuming(broker)
        peer.transport.unsubscribe()
        link.deliver(1, 1)
        await broker.until(lambda: len(broker.methods(spec.Basic.Nack)) == 1)
        assert broker.methods(spec.Basic.Nack)[0].requeue
        assert peer.delivered == []

    run(test)


def test_contiguous_acks_go_as_one_and_others_alone() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        peer.transport.subscribe("q", 6)
        link = await consuming(broker)
        for tag in range(1, 7):
            link.deliver(1, tag)
        held = await peer.take(6)
        for index in (0, 1, 2, 4):  # the fourth is not done
            peer.transport.ack(held[index].receipt)
        await broker.until(lambda: len(broker.methods(spec.Basic.Ack)) == 2)
        assert [(each.delivery_tag, each.multiple) for each in broker.methods(spec.Basic.Ack)] == [(3, True), (5, False)]

    run(test)


def test_reject_is_settled_when_the_broker_has_answered_what_was_sent_after_it() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        peer.transport.subscribe("q", 1)
        (await consuming(broker)).deliver(1, 1)
        delivery = await peer.take_one()
        broker.answers[spec.Basic.Qos] = lambda *_: None
        peer.transport.reject(delivery.receipt)
        await broker.until(lambda: len(broker.methods(spec.Basic.Reject)) == 1)
        assert not broker.methods(spec.Basic.Reject)[0].requeue
        assert peer.settled == {}
        broker.named("consume")[-1].end()
        await peer.until(lambda: bool(peer.settled))
        assert peer.settled[delivery.receipt] == [SettledOutcome.LOST]

    run(test)


@pytest.mark.parametrize("table", [b"\x00\x00\x00\x05\x01aQ\x00\x00", b"\xff\xff\xff\xff", b"\x00\x00\x00\x04\x02\xff\xfeV"])
def test_headers_that_cannot_be_read_cost_nothing_but_themselves(table: bytes) -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        peer.transport.subscribe("q", 5)
        link = await consuming(broker)
        header = b"\x00\x3c\x00\x00" + (4).to_bytes(8, "big") + b"\x20\x00" + table
        link.writer.write(frame.Method(1, spec.Basic.Deliver("asya-1", 1, False, "", "q")).marshal())
        link.writer.write(b"\x02\x00\x01" + len(header).to_bytes(4, "big") + header + b"\xce" + frame.Body(1, b"body").marshal())
        link.deliver(1, 2, b"next")
        assert [(each.body, each.attempt) for each in await peer.take(2)] == [(b"body", 1), (b"next", 1)]

    run(test)


@pytest.mark.parametrize("step", [1, 3, 7, 8, 1000])
def test_deliveries_arrive_however_the_stream_is_cut(step: int) -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        peer.transport.subscribe("q", 10)
        link = await consuming(broker)
        body = bytes(range(256)) * 2
        whole = b""
        for tag, part in enumerate((body, b"", b"z"), start=1):
            whole += frame.Method(1, spec.Basic.Deliver("asya-1", tag, False, "", "q")).marshal()
            whole += frame.Header(1, len(part), spec.BasicProperties()).marshal()
            for start in range(0, len(part), 100):
                whole += frame.Body(1, part[start : start + 100]).marshal()
        link.writer.transport.get_extra_info("socket").setsockopt(6, 1, 1)  # no delay: a packet per piece
        for start in range(0, len(whole), step):
            link.writer.write(whole[start : start + step])
            await asyncio.sleep(0)
        assert [each.body for each in await peer.take(3)] == [body, b"", b"z"]

    run(test)


def test_frame_without_its_end_octet_ends_the_connection() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        peer.transport.subscribe("q", 5)
        link = await consuming(broker)
        raw = frame.Method(1, spec.Basic.Deliver("asya-1", 1, False, "", "q")).marshal()
        link.writer.write(raw[:-1] + b"\x00")
        await told(peer, "", Link.CONSUME)
        await consuming(broker, 2)
        assert not any(isinstance(event, Delivered) for event in peer.events)

    run(test)


# -- a real broker


@pytest.mark.rabbitmq
@pytest.mark.parametrize("name", SERVICES)
def test_queue_that_is_deleted_and_made_again_is_consumed_again(name: str, namespace: str) -> None:
    """RabbitMQ 3.10 may never tell the consumer if a quorum queue is made again within the same moment, so that is waited for here."""

    async def inside() -> None:
        settings = Server(name).settings(namespace=namespace)
        admin, wanted = RabbitAdmin(settings), actor_spec(namespace, "a")
        admin.ensure(wanted)
        async with opened(settings) as peer:
            await connected(peer)
            peer.transport.subscribe(wanted.name, 1)
            await peer.publish(wanted.name, b"1")
            peer.transport.ack((await peer.take_one()).receipt)
            admin.delete(wanted.name)
            await eventually(lambda: "asya-1" in peer.transport._consumer._limits, False)
            admin.ensure(wanted)
            await peer.publish(wanted.name, b"2")
            assert (await peer.take_one()).body == b"2"
            assert not any(isinstance(event, Disconnected) for event in peer.events)
        admin.close()

    asyncio.run(inside())


@pytest.mark.rabbitmq
def test_sidecars_user_needs_no_right_to_configure_and_a_missing_right_to_read_is_told(
    server: Server, namespace: str, admin: RabbitAdmin, user: str
) -> None:
    async def inside() -> None:
        wanted = actor_spec(namespace, "a")
        admin.ensure(wanted)
        server.set_user(user, "x", configure="^$", write=rf"^(amq\.default|asya-{namespace}_delay)$", read=f"^{wanted.name}$")
        async with opened(server.settings(namespace=namespace, username=user, password="x")) as peer:
            await connected(peer)
            peer.transport.subscribe(wanted.name, 1)
            await peer.publish(wanted.name, b"1")
            assert await peer.retry(await peer.take_one(), 0) is SettledOutcome.OK
            assert (await peer.take_one()).attempt == 2
        server.set_user(user, "x", configure="^$", write="^$", read="^$")
        async with opened(server.settings(namespace=namespace, username=user, password="x")) as peer:
            await connected(peer)
            peer.transport.subscribe(wanted.name, 1)
            await told(peer, "ACCESS_REFUSED", Link.CONSUME)

    asyncio.run(inside())
