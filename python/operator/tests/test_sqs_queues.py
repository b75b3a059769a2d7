"""Queues on SQS servers, by the operator's own calls."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from asya_core.transports.sqs import SqsAdmin, SqsSettings, client
from asya_core.transports.sqs.attributes import OWNER_TAG, found_redrive, namespace_queues
from asya_core.transports.sqs.client import connect
from asya_core.wire.errors import Refused, Unavailable
from asya_operator.conditions import Depth
from asya_operator.sqs_queues import SqsQueues
from tests.sqs_servers import KEYS, REGION, SERVERS, Recorder, Refusal, endpoint, new_namespace, recorder, settings

pytestmark = pytest.mark.unmeasured

ACTORS = ("ocr", "one", "two")


@pytest.fixture
def namespace() -> str:
    return new_namespace()


@pytest.fixture(params=SERVERS)
def where(request: pytest.FixtureRequest, namespace: str) -> Iterator[str]:
    found = endpoint(request.param)
    yield found
    remove(found, namespace)


@pytest.fixture
def watched(namespace: str) -> Iterator[Recorder]:
    with recorder() as made:
        yield made
        made.refuse = lambda action, resource: None
        remove(made.endpoint, namespace)


def remove(where: str, namespace: str) -> None:
    admin = SqsAdmin(settings(where))
    for queue in namespace_queues(namespace, ACTORS):
        admin.delete(queue.name)
    admin.close()


def run(where: str, body: Callable[[SqsQueues], Awaitable[None]], **more: Any) -> None:
    async def whole() -> None:
        queues = SqsQueues(settings(where), **more)
        try:
            async with asyncio.timeout(60):
                await body(queues)
        finally:
            await queues.close()

    asyncio.run(whole())


def call(where: str, action: str, **arguments: Any) -> Any:
    api = connect(settings(where))
    try:
        return api.call(action, **arguments)
    finally:
        api.close()


@pytest.mark.behaviour("operator:sqs-queues")
def test_ensure_makes_the_queue_and_first_what_the_namespace_shares(where, namespace):
    seen: list[tuple[str, str]] = []

    async def body(queues: SqsQueues) -> None:
        found = await queues.ensure(namespace, "ocr", None, max_attempts=300)
        assert (found.mismatch, found.changed, found.owner, found.depth) == ("", "", None, Depth(waiting=0, in_flight=0))
        told = call(where, "get_queue_attributes", QueueUrl=found.address, AttributeNames=["All"])["Attributes"]
        redrive = found_redrive(told)
        assert redrive is not None
        assert (redrive[0].rpartition(":")[2], redrive[1]) == (f"asya-{namespace}-error-end", 320)
        tags = call(where, "list_queue_tags", QueueUrl=found.address)["Tags"]
        assert tags == {OWNER_TAG: f"{namespace}/ocr", "team": "ml"}
        assert await queues.ensure(namespace, "ocr", None, max_attempts=300, renew=True) == found
        changed = await queues.ensure(namespace, "ocr", None)
        assert changed.changed.endswith("after 200 receives")

    run(where, body, tags={"team": "ml"}, observe=lambda name, outcome: seen.append((name, outcome)))
    assert seen == [("ensure", "ok"), ("ensure", "ok"), ("ensure", "corrected")]
    listed = call(where, "list_queues", QueueNamePrefix=f"asya-{namespace}")["QueueUrls"]
    assert {url.rpartition("/")[2] for url in listed} == {f"asya-{namespace}{rest}" for rest in ("_dlq", "-error-end", "-ocr")}


def test_resync_costs_two_calls_for_each_actor(watched, namespace):
    async def body(queues: SqsQueues) -> None:
        for name in ("one", "two"):
            await queues.ensure(namespace, name, None)
        before = len(watched.calls)
        for name in ("one", "two"):
            await queues.ensure(namespace, name, None, renew=True)
        assert sorted(watched.calls[before:]) == ["sqs:GetQueueAttributes"] * 2 + ["sqs:ListQueueTags"] * 2

    run(watched.endpoint, body, threads=1)


def test_missing_queue_of_dead_letters_is_made_again_for_the_next_actor(where, namespace):
    async def body(queues: SqsQueues) -> None:
        found = await queues.ensure(namespace, "one", None)
        call(where, "delete_queue", QueueUrl=found.address.replace("-one", "-error-end"))
        assert (await queues.ensure(namespace, "two", None)).owner is None
        assert f"asya-{namespace}-error-end" in await queues.depths(namespace, [f"asya-{namespace}-error-end"])

    run(where, body, threads=1)


def test_actors_of_one_namespace_may_all_come_at_once(where, namespace):
    async def body(queues: SqsQueues) -> None:
        found = await asyncio.gather(*(queues.ensure(namespace, name, None) for name in (*ACTORS, "error-end", *ACTORS)))
        assert all(each.owner is None for each in found)

    run(where, body)


def test_depths_leave_out_what_is_missing(where, namespace):
    async def body(queues: SqsQueues) -> None:
        found = await queues.ensure(namespace, "one", None)
        for _ in range(3):
            call(where, "send_message", QueueUrl=found.address, MessageBody="x")
        assert call(where, "receive_message", QueueUrl=found.address, VisibilityTimeout=60)["Messages"]
        queue = f"asya-{namespace}-one"
        await queues.ensure(namespace, "ocr", None)
        missing = [f"asya-{namespace}-missing-{n}" for n in range(9)]
        assert await queues.depths(namespace, [queue, *missing, f"asya-{namespace}-ocr"]) == {
            queue: Depth(waiting=2, in_flight=1),
            f"asya-{namespace}-ocr": Depth(waiting=0, in_flight=0),
        }
        assert await queues.depths(namespace, []) == {}

    run(where, body)


@pytest.mark.behaviour("operator:sqs-queues")
def test_empty_queue_is_deleted_once_it_has_seemed_so_for_long_enough(where, namespace):
    queue, owner = f"asya-{namespace}-ocr", f"{namespace}/ocr"

    async def body(queues: SqsQueues) -> None:
        found = await queues.ensure(namespace, "ocr", None)
        with pytest.raises(Unavailable) as caught:
            await queues.delete_if_empty(queue, owner=owner)
        assert caught.value.code == "queue_settling"
        assert 0 < caught.value.retry_after_seconds <= 0.15
        call(where, "send_message", QueueUrl=found.address, MessageBody="late")
        assert not await queues.delete_if_empty(queue, owner=owner)
        call(where, "purge_queue", QueueUrl=found.address)
        async with asyncio.timeout(30):
            while True:
                try:
                    assert await queues.delete_if_empty(queue, owner=owner)
                    break
                except Unavailable as error:
                    await asyncio.sleep(error.retry_after_seconds)
        assert await queues.depths(namespace, [queue]) == {}
        assert await queues.delete_if_empty(queue, owner=owner)

    run(where, body, counts_lag_seconds=0.6)


def test_policy_delete_drops_the_messages_too(where, namespace):
    queue, owner = f"asya-{namespace}-ocr", f"{namespace}/ocr"

    async def body(queues: SqsQueues) -> None:
        found = await queues.ensure(namespace, "ocr", None)
        call(where, "send_message", QueueUrl=found.address, MessageBody="x")
        await queues.delete(queue, owner=owner)
        await queues.delete(queue, owner=owner)
        assert await queues.depths(namespace, [queue]) == {}

    run(where, body)


@pytest.mark.behaviour("operator:sqs-queues")
def test_queue_with_anothers_tag_is_neither_changed_nor_deleted(where, namespace):
    queue, owner = f"asya-{namespace}-ocr", f"{namespace}/ocr"

    async def body(queues: SqsQueues) -> None:
        found = await queues.ensure(namespace, "ocr", None)
        call(where, "tag_queue", QueueUrl=found.address, Tags={OWNER_TAG: "other/ocr"})
        assert (await queues.ensure(namespace, "ocr", None, max_attempts=900)).owner == "other/ocr"
        for work in (queues.delete, queues.delete_if_empty):
            with pytest.raises(Refused) as caught:
                await work(queue, owner=owner)
            assert caught.value.code == "name_collision"
        assert queue in await queues.depths(namespace, [queue])
        call(where, "tag_queue", QueueUrl=found.address.replace("-ocr", "-error-end"), Tags={OWNER_TAG: "other/error-end"})

    async def restarted(queues: SqsQueues) -> None:
        with pytest.raises(Refused) as caught:
            await queues.ensure(namespace, "one", None)
        assert caught.value.code == "name_collision"
        assert "error-end" in caught.value.message

    run(where, body)
    run(where, restarted)


def test_server_that_is_away_is_left_alone_for_a_moment(namespace):
    seen: list[str] = []

    async def body(queues: SqsQueues) -> None:
        for _ in range(10):
            with pytest.raises(Unavailable) as caught:
                await queues.depths(namespace, ["x"])
            assert "127.0.0.1:1" in caught.value.message

    run("http://127.0.0.1:1", body, observe=lambda call, outcome: seen.append(outcome))
    assert seen == ["unavailable"]


def test_minute_of_one_deleted_queue_does_not_keep_others_waiting(watched, namespace):
    def refuse(action: str, resource: str) -> None:
        if action == "sqs:CreateQueue":
            raise Refusal("QueueDeletedRecently")

    async def body(queues: SqsQueues) -> None:
        await queues.ensure(namespace, "one", None)
        watched.refuse = refuse
        with pytest.raises(Unavailable) as caught:
            await queues.ensure(namespace, "ocr", None)
        assert caught.value.code == "queue_deleted_recently"
        assert (await queues.ensure(namespace, "one", None)).owner is None

    run(watched.endpoint, body)


def test_credentials_that_are_missing_are_told_with_the_remedy_and_found_once_they_are_there(namespace, monkeypatch):
    client._session.cache_clear()  # what earlier tests had in their environment
    for name, value in {"AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nonexistent"}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    async def whole() -> None:
        queues = SqsQueues(SqsSettings(region=REGION, endpoint=endpoint("moto")), threads=1)
        with pytest.raises(Refused) as caught:
            await queues.ensure(namespace, "ocr", None)
        assert caught.value.code == "no_credentials"
        assert "give the service account a role" in str(caught.value)
        for name, value in KEYS.items():
            monkeypatch.setenv(name, value)
        assert await queues.depths(namespace, [f"asya-{namespace}-ocr"]) == {}
        await queues.close()

    asyncio.run(whole())


@pytest.mark.parametrize(
    ("region", "kind", "sentence"),
    [
        ("eu-centrl-1", Unavailable, "SQS has no region eu-centrl-1, did you mean eu-central-1?"),
        ("eu central 1", Refused, "SQS client cannot be made"),
    ],
)
def test_region_that_is_mistyped_is_told(namespace, monkeypatch, region, kind, sentence):
    # A proxy that is not there stands for a host name that does not exist: nothing leaves this machine.
    for name, value in {**KEYS, "HTTPS_PROXY": "http://127.0.0.1:1", "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)

    async def whole() -> None:
        queues = SqsQueues(SqsSettings(region=region))
        with pytest.raises(kind) as caught:
            await queues.depths(namespace, ["x"])
        assert sentence in caught.value.message
        await queues.close()

    asyncio.run(whole())
