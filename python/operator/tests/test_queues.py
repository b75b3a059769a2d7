"""Queues on a real RabbitMQ, by the operator's own calls."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from urllib.parse import quote

import msgspec
import pika
import pytest
from python.core.tests.rabbitmq.brokers import Server

from asya_core.transports.rabbitmq.settings import QueueType, RabbitSettings
from asya_core.wire.errors import Refused, Unavailable
from asya_operator.conditions import Depth
from asya_operator.queues import RabbitQueues

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def server() -> Server:
    return Server("rabbitmq")


@pytest.fixture
def namespace(server: Server) -> Iterator[str]:
    name = f"u{uuid.uuid4().hex[:12]}"
    yield name
    for queue in server.api("GET", "queues?columns=name"):
        if queue["name"].startswith(f"asya-{name}"):
            server.api("DELETE", f"queues/%2F/{quote(queue['name'], safe='')}")
    server.api("DELETE", f"exchanges/%2F/asya-{name}_delay")


def run(settings: RabbitSettings, body: Callable[[RabbitQueues], Awaitable[None]]) -> None:
    async def whole() -> None:
        queues = RabbitQueues(settings)
        try:
            async with asyncio.timeout(60):
                await body(queues)
        finally:
            await queues.close()

    asyncio.run(whole())


def names(server: Server, namespace: str) -> set[str]:
    return {queue["name"] for queue in server.api("GET", "queues?columns=name") if queue["name"].startswith(f"asya-{namespace}")}


def publish(server: Server, queue: str, count: int) -> None:
    with pika.BlockingConnection(pika.URLParameters(server.url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for _ in range(count):
            channel.basic_publish("", queue, b"x", mandatory=True)


def test_ensure_declares_the_queue_and_what_the_namespace_shares(server, namespace):
    async def body(queues: RabbitQueues) -> None:
        found = await queues.ensure(namespace, "ocr", None)
        assert (found.mismatch, found.depth) == ("", Depth(waiting=0, in_flight=0))
        assert await queues.ensure(namespace, "ocr", None, renew=True) == found

    run(server.settings(), body)
    found = names(server, namespace)
    assert {f"asya-{namespace}-ocr", f"asya-{namespace}_dlq", f"asya-{namespace}_delay-250", f"asya-{namespace}_delay-512000"} <= found
    assert len(found) == 14


def test_another_kind_of_queue_is_told_and_left_with_its_messages(server, namespace):
    async def body(queues: RabbitQueues) -> None:
        await queues.ensure(namespace, "ocr", QueueType.CLASSIC.value)
        publish(server, f"asya-{namespace}-ocr", 2)
        found = await queues.ensure(namespace, "ocr", QueueType.QUORUM.value)
        assert "x-queue-type" in found.mismatch
        assert found.depth == Depth(waiting=2, in_flight=0)

    run(server.settings(), body)


@pytest.mark.parametrize("by", ["management", "amqp"])
def test_depths_come_in_one_go_and_leave_out_what_is_missing(server, namespace, by):
    settings = server.settings()
    if by == "amqp":
        settings = msgspec.structs.replace(settings, management_url=None)
    one, other = f"asya-{namespace}-one", f"asya-{namespace}-missing"

    async def body(queues: RabbitQueues) -> None:
        await queues.ensure(namespace, "one", None)
        publish(server, one, 3)
        found = {}
        for _ in range(200):  # the management API's numbers are as old as its statistics
            found = await queues.depths(namespace, [one, other])
            if found.get(one) == Depth(waiting=3, in_flight=0):
                break
            await asyncio.sleep(0.1)
        assert found == {one: Depth(waiting=3, in_flight=0)}

    run(settings, body)


def test_queue_is_deleted_only_if_empty_unless_asked(server, namespace):
    queue = f"asya-{namespace}-ocr"

    async def body(queues: RabbitQueues) -> None:
        await queues.ensure(namespace, "ocr", None)
        publish(server, queue, 1)
        assert not await queues.delete_if_empty(queue, owner=f"{namespace}/ocr")
        assert queue in names(server, namespace)
        await queues.delete(queue, owner=f"{namespace}/ocr")
        assert queue not in names(server, namespace)
        await queues.delete(queue, owner=f"{namespace}/ocr")
        assert await queues.delete_if_empty(queue, owner=f"{namespace}/ocr")

    run(server.settings(), body)


def test_broker_that_is_away_is_left_alone_for_a_moment(namespace):
    seen: list[str] = []

    async def whole() -> None:
        queues = RabbitQueues(RabbitSettings(host="127.0.0.1", port=1), observe=lambda call, outcome: seen.append(outcome))
        for _ in range(20):
            with pytest.raises(Unavailable):
                await queues.ensure(namespace, "ocr", None)
        await queues.close()

    asyncio.run(whole())
    assert seen == ["unavailable"]


def test_user_without_rights_is_refused(server, namespace):
    user = f"u{uuid.uuid4().hex[:12]}"
    server.set_user(user, "secret", configure="^$")

    async def body(queues: RabbitQueues) -> None:
        with pytest.raises(Refused) as caught:
            await queues.ensure(namespace, "ocr", None)
        assert caught.value.code == "broker_refused"

    try:
        run(msgspec.structs.replace(server.settings(), username=user, password="secret"), body)
    finally:
        server.api("DELETE", f"users/{user}")


@pytest.mark.parametrize(("name", "knows"), [("rabbitmq", False), ("rabbitmq4", True)])
def test_broker_says_whether_consumers_have_timeouts_of_their_own(name, knows):
    server = Server(name)
    namespace = f"u{uuid.uuid4().hex[:12]}"

    async def body(queues: RabbitQueues) -> None:
        assert (await queues.ensure(namespace, "ocr", None)).knows_consumer_timeout is knows

    try:
        run(server.settings(), body)
    finally:
        for queue in server.api("GET", "queues?columns=name"):
            if queue["name"].startswith(f"asya-{namespace}"):
                server.api("DELETE", f"queues/%2F/{quote(queue['name'], safe='')}")
        server.api("DELETE", f"exchanges/%2F/asya-{namespace}_delay")
