"""One outcome per publish whatever the broker answers, and retries through delay queues that are missing, full or refused."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from pika import frame, spec
from python.core.tests.rabbitmq.brokers import Server, connected, opened, settings_of, told, up
from python.core.tests.rabbitmq.fake_broker import Conversation, FakeBroker

from asya_core.testing.peer import Peer
from asya_core.transports.base import Connected, Disconnected, Link, PublishOutcome, SettledOutcome
from asya_core.transports.rabbitmq import publisher

pytestmark = pytest.mark.unmeasured

CONFIRMED, REFUSED, RETURNED, LOST, TOO_LARGE = (
    PublishOutcome.CONFIRMED,
    PublishOutcome.REFUSED,
    PublishOutcome.RETURNED,
    PublishOutcome.LOST,
    PublishOutcome.TOO_LARGE,
)
CLOSED_FOR_SIZE = (406, "PRECONDITION_FAILED - message size 20 is larger than configured max size 10")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "AGAIN_SECONDS", (0.05,))


def run(test: Callable[[FakeBroker, Peer], Coroutine[Any, Any, None]], broker: FakeBroker | None = None, **settings: Any) -> None:
    async def inside() -> None:
        async with (broker or FakeBroker()).running() as serving, opened(settings_of(serving.port, **settings)) as peer:
            await connected(peer)
            await test(serving, peer)

    asyncio.run(inside())


async def received(broker: FakeBroker, count: int) -> list[Any]:
    """Wait for so many publishes, bodies included."""
    await broker.until(lambda: len(headers(broker)) >= count)
    return broker.methods(spec.Basic.Publish)


def headers(broker: FakeBroker) -> list[Any]:
    return [each for conversation in broker.connections for each in conversation.frames if isinstance(each, frame.Header)]


def publishing(broker: FakeBroker) -> Conversation:
    return broker.named("publish")[-1]


def test_publish_is_mandatory_persistent_and_names_the_queue() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        peer.send("asya-shop-a", b"body")
        (method,) = await received(broker, 1)
        assert (method.exchange, method.routing_key, method.mandatory) == ("", "asya-shop-a", True)
        (header,) = headers(broker)
        assert (header.properties.delivery_mode, header.body_size, header.properties.correlation_id) == (2, 4, "1")

    run(test)


def test_nack_is_refused_and_a_multiple_ack_confirms_all_before_it() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        for _ in range(5):
            peer.send("q", b"x")
        await received(broker, 5)
        publishing(broker).send(1, spec.Basic.Nack(2, multiple=False))
        publishing(broker).send(1, spec.Basic.Ack(4, multiple=True))
        publishing(broker).send(1, spec.Basic.Nack(5, multiple=True))
        await peer.all_answered()
        assert peer.outcomes == {1: [CONFIRMED], 2: [REFUSED], 3: [CONFIRMED], 4: [CONFIRMED], 5: [REFUSED]}

    run(test)


def test_confirm_of_a_number_that_is_not_open_is_ignored() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        peer.send("q", b"x")
        await received(broker, 1)
        for tag in (7, 1, 1):
            publishing(broker).send(1, spec.Basic.Ack(tag))
        await peer.all_answered()
        token = peer.send("q", b"y")
        await received(broker, 2)
        publishing(broker).send(1, spec.Basic.Ack(2))
        await peer.until(lambda: token in peer.outcomes)
        assert peer.outcomes == {1: [CONFIRMED], 2: [CONFIRMED]}

    run(test)


def test_return_makes_its_confirm_a_return_and_no_other() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        for _ in range(3):
            peer.send("q", b"x")
        await received(broker, 3)
        back = publishing(broker)
        back.send(1, spec.Basic.Return(312, "NO_ROUTE", "", "q"), spec.BasicProperties(correlation_id="2"), b"x")
        back.send(1, spec.Basic.Return(312, "NO_ROUTE", "", "q"), spec.BasicProperties(correlation_id="not ours"), b"x")
        back.send(1, spec.Basic.Ack(3, multiple=True))
        await peer.all_answered()
        assert peer.outcomes == {1: [CONFIRMED], 2: [RETURNED], 3: [CONFIRMED]}

    run(test)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (404, "NOT_FOUND - no exchange"),
        (406, "PRECONDITION_FAILED - x"),
        (403, "ACCESS_REFUSED - write access refused"),
        (541, "INTERNAL_ERROR"),
    ],
)
def test_closed_publish_channel_loses_what_is_open_and_comes_back(code: int, text: str) -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        tokens = [peer.send("q", b"x") for _ in range(3)]
        await received(broker, 3)
        publishing(broker).send(1, spec.Basic.Ack(1))
        publishing(broker).send(1, spec.Channel.Close(code, text, 60, 40))
        assert await told(peer, "publish channel", Link.PUBLISH) == f"Broker closed the publish channel: {code} {text}"
        await up(peer)
        assert [peer.outcomes[token] for token in tokens] == [[CONFIRMED], [LOST], [LOST]]
        assert sum(event == Connected(Link.CONSUME) for event in peer.events) == 1

    run(test)


def test_closed_connection_loses_what_is_open_and_comes_back() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        token = peer.send("q", b"x")
        await received(broker, 1)
        publishing(broker).send(0, spec.Connection.Close(541, "INTERNAL_ERROR", 60, 40))
        await told(peer, "closed the connection: 541 INTERNAL_ERROR", Link.PUBLISH)
        await up(peer)
        assert peer.outcomes[token] == [LOST]

    run(test)


def test_brokers_own_limit_is_learnt_from_the_channel_it_closed() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        small, large = peer.send("q", b"x" * 10), peer.send("q", b"x" * 20)
        await received(broker, 2)
        publishing(broker).send(1, spec.Channel.Close(*CLOSED_FOR_SIZE, 60, 40))
        await told(peer, "larger than configured max size 10", Link.PUBLISH)
        await up(peer)
        assert (peer.outcomes[small], peer.outcomes[large]) == ([LOST], [LOST])
        assert peer.transport.max_message_bytes == 10
        assert await peer.publish("q", b"x" * 11) == [TOO_LARGE]
        again = peer.send("q", b"x" * 10)
        await received(broker, 3)
        publishing(broker).send(1, spec.Basic.Ack(1))
        await peer.until(lambda: again in peer.outcomes)
        assert peer.outcomes[again] == [CONFIRMED]

    run(test)


@pytest.mark.rabbitmq
def test_message_over_a_real_brokers_own_limit_ends_as_too_large(rabbitmq4: Server) -> None:
    async def inside() -> None:
        async with opened(rabbitmq4.settings(max_message_bytes=64 * 1024 * 1024)) as peer:
            await connected(peer)
            body = b"x" * (16 * 1024 * 1024 + 1)
            assert await peer.publish("asya-none-a", body) == [LOST]
            await told(peer, "larger than configured max size", Link.PUBLISH)
            await up(peer)
            assert await peer.publish("asya-none-a", body, b"small") == [TOO_LARGE, RETURNED]

    asyncio.run(inside())


def test_publish_while_the_link_is_down_waits_for_it() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        publishing(broker).end()
        await peer.until(lambda: any(isinstance(event, Disconnected) for event in peer.events))
        token = peer.send("q", b"late")
        await received(broker, 1)
        publishing(broker).send(1, spec.Basic.Ack(1))
        await peer.until(lambda: token in peer.outcomes)
        assert peer.outcomes[token] == [CONFIRMED]

    run(test)


def test_large_body_comes_in_frames_as_small_as_the_broker_wants() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        body = bytes(range(256)) * 40
        peer.send("q", body)
        await received(broker, 1)
        await broker.until(lambda: sum(len(each.fragment) for each in bodies()) == len(body))
        assert b"".join(each.fragment for each in bodies()) == body
        assert {len(each.fragment) for each in bodies()[:-1]} == {4096 - 8}

    def bodies() -> list[Any]:
        return [each for each in publishing(broker).frames if isinstance(each, frame.Body)]

    broker = FakeBroker(frame_max=4096)
    run(test, broker)


# -- retries


async def held(broker: FakeBroker, peer: Peer) -> Any:
    """A delivery that the peer holds."""
    peer.transport.subscribe("asya-shop-a", 1)
    await broker.until(lambda: len(broker.methods(spec.Basic.Consume)) > 0)
    broker.named("consume")[-1].deliver(1, 1, b"body", redelivered=True, headers={"x-delivery-count": 1})
    return await peer.take_one()


def test_retry_is_published_with_its_step_and_attempt_and_acked_when_confirmed() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        peer.transport.retry((await held(broker, peer)).receipt, 3.0)
        (method,) = await received(broker, 1)
        assert (method.exchange, method.routing_key, method.mandatory) == ("asya-shop_delay", "asya-shop-a", True)
        assert headers(broker)[0].properties.headers == {"asya-delay": "4000", "asya-attempt": 2}
        assert broker.methods(spec.Basic.Ack) == []
        publishing(broker).send(headers(broker)[0].channel_number, spec.Basic.Ack(1))
        await peer.until(lambda: bool(peer.settled))
        await broker.until(lambda: len(broker.methods(spec.Basic.Ack)) == 1)
        assert list(peer.settled.values()) == [[SettledOutcome.OK]]

    run(test, namespace="shop")


def test_retry_waits_for_a_delay_exchange_that_is_missing() -> None:
    async def inside() -> None:
        missing = FakeBroker()
        missing.answers[spec.Exchange.Declare] = lambda conversation, channel, _method: conversation.send(
            channel, spec.Channel.Close(404, "NOT_FOUND - no exchange 'asya-shop_delay'", 40, 10)
        )
        async with missing.running() as broker, opened(settings_of(broker.port, namespace="shop")) as peer:
            await connected(peer)
            peer.transport.retry((await held(broker, peer)).receipt, 0)
            await broker.until(lambda: len(broker.methods(spec.Exchange.Declare)) > 2)
            assert broker.methods(spec.Basic.Publish) == []
            del broker.answers[spec.Exchange.Declare]
            await received(broker, 1)
            assert not any(isinstance(event, Disconnected) for event in peer.events)

    asyncio.run(inside())


@pytest.mark.parametrize("answer", ["return", "nack", "close"])
def test_retry_that_found_no_delay_queue_is_published_again(answer: str) -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        peer.transport.retry((await held(broker, peer)).receipt, 0)
        await received(broker, 1)
        (header,) = headers(broker)
        channel = header.channel_number
        if answer == "return":
            back = spec.BasicProperties(correlation_id=header.properties.correlation_id)
            publishing(broker).send(channel, spec.Basic.Return(312, "NO_ROUTE", "", "q"), back, b"body")
            publishing(broker).send(channel, spec.Basic.Ack(1))
        elif answer == "nack":
            publishing(broker).send(channel, spec.Basic.Nack(1, multiple=False))
        else:
            publishing(broker).send(channel, spec.Channel.Close(404, "NOT_FOUND - no exchange", 60, 40))
        if answer == "close":  # in doubt: the message is still held, who asked decides
            await peer.until(lambda: bool(peer.settled))
            assert list(peer.settled.values()) == [[SettledOutcome.LOST]]
        else:
            await received(broker, 2)
            publishing(broker).send(headers(broker)[-1].channel_number, spec.Basic.Ack(2))
            await peer.until(lambda: bool(peer.settled))
            assert list(peer.settled.values()) == [[SettledOutcome.OK]]
        assert not any(isinstance(event, Disconnected) for event in peer.events)

    run(test, namespace="shop")


def test_retry_whose_receipt_died_meanwhile_is_not_published() -> None:
    async def test(broker: FakeBroker, peer: Peer) -> None:
        delivery = await held(broker, peer)
        publishing(broker).send(0, spec.Connection.Blocked("low on memory"))
        await peer.until(lambda: peer.transport._delayed.blocked)
        peer.transport.retry(delivery.receipt, 0)
        broker.named("consume")[-1].end()
        await told(peer, "", Link.CONSUME)
        publishing(broker).send(0, spec.Connection.Unblocked())
        await peer.until(lambda: bool(peer.settled))
        assert peer.settled[delivery.receipt] == [SettledOutcome.LOST]
        assert broker.methods(spec.Basic.Publish) == []

    run(test, namespace="shop")
