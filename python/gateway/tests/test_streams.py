"""Who waits for news: nothing is missed, and thousands who are woken by the same news look once."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from asya_core.ops.clock import SystemClock
from asya_core.ops.logs import Log
from asya_core.wire.errors import Refused
from asya_gateway.access import Principal, Role
from asya_gateway.service import Service
from asya_gateway.status import Status
from asya_gateway.store.base import Tx
from asya_gateway.store.envelopes import Finished, NewEnvelope, Progress, create, finish, record_progress
from asya_gateway.store.sqlite import SqliteStore
from asya_gateway.streams import Streams, Subscription

NOW = 1_700_000_000_000
T = TypeVar("T")


def test_news_before_the_wait_is_not_missed() -> None:
    async def work() -> tuple[bool, bool]:
        subscription = Subscription()
        subscription.wake()
        return await subscription.wait(60), await subscription.wait(0.001)

    assert asyncio.run(work()) == (True, False)


def test_news_in_the_wait_ends_it() -> None:
    async def work() -> bool:
        subscription = Subscription()
        waiting = asyncio.create_task(subscription.wait(60))
        await asyncio.sleep(0)
        subscription.wake()
        return await waiting

    assert asyncio.run(work())


def test_news_counts_only_while_somebody_waits() -> None:
    streams = Streams()
    streams.notify(["e1"])
    with streams.subscribed("e1"):
        assert streams.generation("e1") == 0
        streams.notify(["e1", "e2"])
        assert streams.generation("e1") == 1
    assert (streams.generation("e1"), streams.generation("e2")) == (0, 0)


class Counting(SqliteStore):
    """Counts looks."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.looks = 0

    async def read(self, work: Callable[[Tx], T]) -> T:
        self.looks += 1
        return await super().read(work)


def stage(path: Path) -> tuple[Counting, Streams, Service]:
    store, streams = Counting(path), Streams()
    nothing = cast(Any, None)
    service = Service(
        store=store, tools=nothing, publisher=nothing, streams=streams, clock=SystemClock(), log=cast(Log, None), claims=cast(Any, object())
    )
    return store, streams, service


def new() -> NewEnvelope:
    return NewEnvelope(
        id="e1", tool="t", flow=None, owner="caller", route=["a"], message="{}", now=NOW, lease_until=NOW, deadline_at=NOW + 1_000
    )


CALLER = Principal(name="caller", roles=frozenset({Role.CALL}))


def test_five_hundred_who_follow_hear_every_event_once_with_few_looks(tmp_path: Path) -> None:
    followers, events = 500, 5

    async def work() -> tuple[int, list[list[int]]]:
        store, streams, service = stage(tmp_path / "gateway.db")
        await store.open()
        await store.write(lambda tx: create(tx, new()))
        heard: list[list[int]] = [[] for _ in range(followers)]
        reached = {seq: asyncio.Barrier(followers + 1) for seq in range(1, events + 2)}

        async def follow(mine: list[int]) -> None:
            async for _, news in service.follow(CALLER, "e1"):
                mine += [event["seq"] for event in news]
                if mine[-1] in reached:
                    await reached[mine[-1]].wait()

        tasks = [asyncio.create_task(follow(mine)) for mine in heard]
        await reached[1].wait()
        for number in range(events):
            progress = Progress(id="e1", actor="a", hop=0, attempt=1, state="running")
            await store.write(lambda tx, progress=progress: record_progress(tx, [progress], NOW))
            streams.notify(["e1"])
            await reached[number + 2].wait()
        await store.write(lambda tx: finish(tx, Finished(id="e1", status=Status.SUCCEEDED), NOW))
        streams.notify(["e1"])
        await asyncio.wait_for(asyncio.gather(*tasks), 60)
        await store.close()
        return store.looks, heard

    looks, heard = asyncio.run(work())
    assert heard == [list(range(1, events + 3))] * followers
    assert looks <= 3 * (events + 2)


def test_shared_look_shows_nothing_to_who_may_not_see(tmp_path: Path) -> None:
    async def work() -> None:
        store, _, service = stage(tmp_path / "gateway.db")
        await store.open()
        await store.write(lambda tx: create(tx, new()))

        async def first(principal: Principal) -> Any:
            async for row, _ in service.follow(principal, "e1"):
                return row["id"]
            return None

        stranger = Principal(name="stranger", roles=frozenset({Role.CALL}))
        seen, refused = await asyncio.gather(first(CALLER), first(stranger), return_exceptions=True)
        assert seen == "e1"
        assert isinstance(refused, Refused)
        await store.close()

    asyncio.run(work())


def test_look_that_fails_fails_for_all_who_share_it(tmp_path: Path) -> None:
    async def work() -> list[Any]:
        _, _, service = stage(tmp_path / "gateway.db")  # never opened

        async def first() -> None:
            async for _ in service.follow(CALLER, "e1"):
                pass

        return await asyncio.gather(first(), first(), return_exceptions=True)

    first, second = asyncio.run(work())
    assert (first.code, second.code) == ("store", "store")
