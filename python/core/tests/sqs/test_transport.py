"""What the transport says of its link, against a server behind a front that can be cut."""

import asyncio
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from asya_core.testing.peer import Peer, eventually
from asya_core.transports.base import Connected, Depth, Disconnected, Link, QueueSpec, ReceiptsLost
from asya_core.transports.sqs import SqsAdmin, SqsSettings, SqsTransport, client
from tests.sqs_front import Forward, Front, Json, Reply, error
from tests.sqs_servers import endpoint, new_namespace, settings


class Bed:
    """A queue behind a front."""

    def __init__(self) -> None:
        self.front = Front(endpoint("sqs"))
        self.queue = f"asya-{new_namespace()}-a"
        self.admin = SqsAdmin(settings(self.front.endpoint), counts_lag_seconds=0)
        self.admin.ensure(QueueSpec(self.queue))
        self.counted: list[str] = []

    def peer(self, **more: Any) -> Peer:
        return Peer(SqsTransport(settings(self.front.endpoint, **more), counted=self.counted.append))

    def close(self) -> None:
        self.admin.delete(self.queue)
        self.admin.close()
        self.front.close()


@pytest.fixture
def bed() -> Iterator[Bed]:
    made = Bed()
    yield made
    made.close()


def test_outage_shorter_than_the_visibility_timeout_costs_no_receipt(bed: Bed) -> None:
    async def work() -> None:
        peer = await bed.peer(visibility_seconds=60).open()
        peer.transport.subscribe(bed.queue, 5)
        await peer.publish(bed.queue, b"1")
        delivery = await peer.take_one()
        await asyncio.to_thread(bed.front.cut)
        await peer.until(lambda: any(isinstance(event, Disconnected) for event in peer.events))
        await asyncio.to_thread(bed.front.heal)
        await peer.until(lambda: sum(isinstance(event, Connected) for event in peer.events) == 4)
        assert ReceiptsLost() not in peer.events
        peer.transport.ack(delivery.receipt)
        await eventually(lambda: bed.admin.depth(bed.queue), Depth(0, 0))
        assert len(peer.delivered) == 1
        await peer.close()

    asyncio.run(work())


def test_wrong_credentials_are_said_and_tried_again(bed: Bed) -> None:
    async def refuse(action: str, asked: Json, forward: Forward) -> Reply:
        return error(403, "InvalidClientTokenId", "The security token is not valid")

    async def work() -> None:
        peer = bed.peer()
        bed.front.rule = refuse
        peer.begin()
        await peer.until(lambda: any(isinstance(event, Disconnected) for event in peer.events))
        told = [event for event in peer.events if isinstance(event, Disconnected)]
        assert {event.link for event in told} == set(Link)
        assert "403 InvalidClientTokenId: The security token is not valid" in told[0].reason
        bed.front.rule = None
        await peer.until(lambda: Connected(Link.CONSUME) in peer.events)
        await peer.close()

    asyncio.run(work())


def test_each_call_is_counted_by_its_name(bed: Bed) -> None:
    async def work() -> None:
        peer = await bed.peer().open()
        peer.transport.subscribe(bed.queue, 1)
        await peer.publish(bed.queue, b"1")
        peer.transport.ack((await peer.take_one()).receipt)
        await eventually(lambda: bed.admin.depth(bed.queue), Depth(0, 0))
        await eventually(lambda: "delete_message_batch" in bed.counted, True)
        assert {"get_queue_url", "receive_message", "send_message_batch", "delete_message_batch"} == set(bed.counted)
        await peer.close()

    asyncio.run(work())


def test_credentials_that_come_after_the_start_are_found(bed: Bed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setattr(client, "_session", functools.cache(botocore.session.Session))  # the process's own may have found some before

    async def work() -> None:
        peer = Peer(SqsTransport(SqsSettings(endpoint=bed.front.endpoint)))
        peer.begin()
        await peer.until(lambda: any(isinstance(event, Disconnected) for event in peer.events))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "late")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "late")
        await peer.until(lambda: Connected(Link.PUBLISH) in peer.events)
        await peer.publish(bed.queue, b"1")
        await peer.close()

    asyncio.run(work())
