"""Accepted calls are written in groups, over both stores: durable before they are told, each on its own in what can go wrong."""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from asya_core.wire.errors import Bug, Unavailable
from asya_gateway.gathering import Gathering
from asya_gateway.store.base import Row, Store, Tx
from asya_gateway.store.envelopes import NewEnvelope, create_all
from asya_gateway.store.sqlite import SqliteStore

NOW = 1_700_000_000_000
WAIT = 30
Make = Callable[[], Store]


def new(envelope_id: str, **more: Any) -> NewEnvelope:
    fields: dict[str, Any] = {
        "id": envelope_id,
        "tool": "t",
        "flow": "f",
        "owner": "caller",
        "route": ["ä", "b"],
        "message": json.dumps({"id": envelope_id, "payload": 'ü"\\\u0000'}, ensure_ascii=False),
        "now": NOW,
        "lease_until": NOW + 30_000,
        "deadline_at": NOW + 60_000,
    }
    return NewEnvelope(**(fields | more))


def gathering(store: Store) -> Gathering[NewEnvelope, Row]:
    """As `service` makes it for calls."""
    return Gathering(store, create_all, weight=lambda call: len(call.message), limit=4 * 1024 * 1024)


class Stage:
    """A gathering of calls over a store whose writes can be held back, counted and made to fail."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.is_shared = store.is_shared
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.began = asyncio.Event()
        self.writes = 0
        self.after: Callable[[], None] = lambda: None
        self.accepted: list[str] = []
        self.gathering = gathering(self)

    async def open(self) -> None:
        await self.store.open()

    async def close(self) -> None:
        await self.store.close()

    async def write(self, work: Callable[[Tx], Any]) -> Any:
        self.writes += 1
        self.began.set()
        await self.may_write.wait()

        def worked(tx: Tx) -> Any:
            made = work(tx)
            self.after()
            return made

        return await self.store.write(worked)

    async def read(self, work: Callable[[Tx], Any]) -> Any:
        return await self.store.read(work)

    async def call(self, call: NewEnvelope) -> Row:
        return await self.gathering.write(call, lambda row: self.accepted.append(row["id"]))

    async def calls(self, *calls: NewEnvelope) -> list[Any]:
        return await asyncio.gather(*map(self.call, calls), return_exceptions=True)

    async def stored(self) -> list[str]:
        """Ids of all rows that have their first event, in order."""

        def work(tx: Tx) -> list[str]:
            return [each["id"] for each in all_rows(tx) if [event["seq"] for event in events_of(tx, each["id"])] == [1]]

        return sorted(await self.store.read(work))


def all_rows(tx: Tx) -> list[Row]:
    filters = ("owner", "status", "tool", "flow", "actor", "parent", "code", "text", "since", "until", "before_at", "before_id")
    return tx.all("list_envelopes", **dict.fromkeys(filters), brief=0, window=200, limit=200)


def events_of(tx: Tx, envelope_id: str) -> list[Row]:
    return tx.all("read_events", id=envelope_id, after=0, limit=10)


def run(make_store: Make, work: Callable[[Stage], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        stage = Stage(make_store())
        await stage.open()
        running = asyncio.create_task(stage.gathering.run())
        try:
            return await asyncio.wait_for(work(stage), WAIT)
        finally:
            running.cancel()
            await asyncio.wait([running])
            await stage.close()

    return asyncio.run(main())


def names(count: int) -> list[str]:
    return [f"e{number:02}" for number in range(count)]


def test_calls_that_wait_share_one_transaction_and_each_is_told_its_row(make_store: Make) -> None:
    async def work(stage: Stage) -> None:
        stage.may_write.clear()
        first = asyncio.create_task(stage.call(new("first")))
        await stage.began.wait()
        rest = [asyncio.create_task(stage.call(new(each))) for each in names(40)]
        await asyncio.sleep(0)
        stage.may_write.set()
        told = [await first, *await asyncio.gather(*rest)]
        assert stage.writes == 2
        assert [row["id"] for row in told] == ["first", *names(40)]
        assert sorted(stage.accepted) == sorted(["first", *names(40)])
        found = await stage.read(lambda tx: {row["id"]: {**row, **message_of(tx, row["id"])} for row in all_rows(tx)})
        assert {row["id"]: row for row in told} == found
        assert await stage.stored() == sorted(["first", *names(40)])

    run(make_store, work)


def message_of(tx: Tx, envelope_id: str) -> Row:
    found = tx.one("read_message", id=envelope_id)
    assert found is not None
    return found


def test_row_that_the_store_refuses_fails_alone(make_store: Make) -> None:
    async def work(stage: Stage) -> None:
        told = await stage.calls(new("e1"), new("e2", message="half a pair \ud800"), new("e1", message="{}"), new("e3"))
        assert isinstance(told[0], dict)
        assert isinstance(told[1], UnicodeEncodeError)
        assert isinstance(told[2], Bug)  # an id that is there
        assert isinstance(told[3], dict)
        assert stage.accepted == ["e1", "e3"] == await stage.stored()
        assert await stage.call(new("e4"))

    run(make_store, work)


def test_caller_that_leaves_while_its_group_is_written_undoes_nothing(make_store: Make) -> None:
    async def work(stage: Stage) -> None:
        stage.may_write.clear()
        leaving, staying = (asyncio.create_task(stage.call(new(each))) for each in ("leaves", "stays"))
        await stage.began.wait()
        leaving.cancel()
        await asyncio.wait([leaving])
        assert stage.accepted == []
        stage.may_write.set()
        assert (await staying)["id"] == "stays"
        assert stage.accepted == ["leaves", "stays"] == await stage.stored()

    run(make_store, work)


def test_nobody_is_told_before_the_commit(make_store: Make) -> None:
    async def work(stage: Stage) -> None:
        seen: list[list[str]] = []
        stage.after = lambda: seen.append(list(stage.accepted))
        await stage.calls(*map(new, names(10)))
        assert seen == [[]]
        assert stage.accepted == names(10)

    run(make_store, work)


@contextmanager
def lost(stage: Stage, request: pytest.FixtureRequest) -> Iterator[None]:
    """While inside, the database goes away after the rows of a transaction were sent, before its commit."""
    if isinstance(stage.store, SqliteStore):

        def fail() -> None:
            raise sqlite3.OperationalError("disk I/O error")

        stage.after = fail
        yield
    else:
        url = request.getfixturevalue("migrated_url").read_text()
        with psycopg.connect(url, autocommit=True) as other:
            ending = (
                b"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                b"WHERE datname = current_database() AND application_name = 'asya-gateway'"
            )
            stage.after = lambda: other.execute(ending) and None
            yield
    stage.after = lambda: None


def test_database_that_goes_in_the_middle_of_a_group_loses_nothing_and_makes_none_twice(
    make_store: Make, request: pytest.FixtureRequest
) -> None:
    async def work(stage: Stage) -> None:
        with lost(stage, request):
            told = await stage.calls(*map(new, names(5)))
        assert [type(each) for each in told] == [Unavailable] * 5
        assert {each.code for each in told} == {"store"}
        assert all(each.retry_after_seconds > 0 for each in told)
        assert len(set(map(id, told))) == 5
        assert stage.accepted == [] == await stage.stored()
        assert [row["id"] for row in await stage.calls(*map(new, names(5)))] == names(5)
        assert stage.accepted == names(5) == await stage.stored()

    run(make_store, work)


def test_large_messages_are_not_written_together(make_store: Make) -> None:
    async def work(stage: Stage) -> None:
        large = "x" * (3 * 1024 * 1024)
        await stage.calls(*(new(each, message=large) for each in ("a", "b")), new("c"), new("d"))
        assert stage.writes == 2  # a; b, c, d

    run(make_store, work)


def test_calls_are_refused_when_the_gateway_leaves(make_store: Make) -> None:
    async def work(stage: Stage) -> None:
        leaving = gathering(stage)
        running = asyncio.create_task(leaving.run())
        stage.may_write.clear()
        waiting = [asyncio.create_task(leaving.write(new(each), lambda row: None)) for each in ("a", "b")]
        await stage.began.wait()
        waiting.append(asyncio.create_task(leaving.write(new("c"), lambda row: None)))
        await asyncio.sleep(0)
        running.cancel()
        told = await asyncio.gather(*waiting, leaving.write(new("d"), lambda row: None), return_exceptions=True)
        assert [type(each) for each in told] == [Unavailable] * 4

    run(make_store, work)
