"""Claim storage in threads: what is told of a payload that is there, absent, another one, or in a storage that is away."""

import asyncio
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asya_core.objects.directory import DirectoryStore
from asya_core.ops.logs import Log
from asya_core.wire.envelope import Claim
from asya_core.wire.errors import AsyaError, Refused, Unavailable
from asya_sidecar.claim_store import ClaimStore
from asya_sidecar.effects import Fetch, FetchEnded, FetchOutcome, Store, StoreEnded

WAIT = 30.0
BODY = b'"payload"'


def claim(body: bytes = BODY, key: str = "7/0-0123456789abcdef") -> Claim:
    return Claim(key=key, bytes=len(body), sha256=hashlib.sha256(body).hexdigest())


class Troubled(DirectoryStore):
    """A folder whose next calls raise what is in `troubles`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.troubles: list[AsyaError] = []
        self.calls = 0

    def _stumble(self) -> None:
        self.calls += 1
        if self.troubles:
            raise self.troubles.pop(0)

    def get(self, key: str, *, limit_bytes: int | None = None) -> bytes:
        self._stumble()
        return super().get(key, limit_bytes=limit_bytes)

    def put_if_absent(self, key: str, body: bytes) -> bool:
        self._stumble()
        return super().put_if_absent(key, body)


class Stage:
    def __init__(self, folder: Path, events: Any, log: Log, patience: float) -> None:
        self.objects = Troubled(folder)
        self.events = events
        self.moved: list[tuple[str, int]] = []
        self.store = ClaimStore(self.objects, sink=events, log=log, moved=lambda *each: self.moved.append(each), patience_seconds=patience)


Play = Callable[..., None]


@pytest.fixture
def play(run: Any, new_events: Any, log: Log, folder: Path) -> Play:
    def play(scene: Callable[[Stage], Any], patience: float = 30.0) -> None:
        async def body() -> None:
            stage = Stage(folder, new_events(), log, patience)
            try:
                await scene(stage)
            finally:
                stage.store.close()

        run(body())

    return play


def away() -> AsyaError:
    return Unavailable("storage_unavailable", "away")


def test_what_was_stored_is_fetched(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.store.store(Store(1, ((claim().key, BODY), ("7/1-0123456789abcdef", b"2"))))
        assert await stage.events.next() == StoreEnded(1, True)

        stage.store.fetch(Fetch(2, claim()))

        assert await stage.events.next() == FetchEnded(2, FetchOutcome.FETCHED, BODY)
        assert stage.moved == [("store", 9), ("store", 1), ("fetch", 9)]

    play(scene)


def test_storing_what_is_there_is_done_and_counts_nothing(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.objects.put_if_absent(claim().key, BODY)

        stage.store.store(Store(1, ((claim().key, BODY),)))

        assert await stage.events.next() == StoreEnded(1, True)
        assert stage.moved == []

    play(scene)


@pytest.mark.parametrize(
    ("kept", "sentence"),
    [
        (None, "There is no object"),
        (b'"paylXad"', "another SHA-256"),
        (BODY + b"x", "10 bytes; at most 9"),
        (b"1", "has 1 bytes with another"),
    ],
)
def test_a_payload_that_is_absent_or_another_one_is_invalid(play: Play, kept: bytes | None, sentence: str) -> None:
    async def scene(stage: Stage) -> None:
        if kept is not None:
            stage.objects.put_if_absent(claim().key, kept)

        stage.store.fetch(Fetch(1, claim()))

        told = await stage.events.next()
        assert (told.token, told.outcome, told.payload) == (1, FetchOutcome.INVALID, b"")
        assert sentence in told.message

    play(scene)


def test_a_blink_of_the_storage_is_bridged(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.objects.troubles = [away(), away()]
        stage.store.store(Store(1, ((claim().key, BODY),)))
        assert await stage.events.next() == StoreEnded(1, True)

        stage.objects.troubles = [away()]
        stage.store.fetch(Fetch(2, claim()))
        assert await stage.events.next() == FetchEnded(2, FetchOutcome.FETCHED, BODY)

    play(scene)


@pytest.mark.parametrize("trouble", [away, lambda: Refused("access_denied", "no"), lambda: Refused("no_such_storage", "no")])
def test_a_storage_that_cannot_be_used_is_away(play: Play, trouble: Callable[[], AsyaError]) -> None:
    async def scene(stage: Stage) -> None:
        stage.objects.troubles = [trouble() for _ in range(1000)]

        stage.store.fetch(Fetch(1, claim()))
        stage.store.store(Store(2, ((claim().key, BODY),)))

        told = [await stage.events.next(), await stage.events.next()]
        assert sorted(told, key=lambda each: int(each.token)) == [FetchEnded(1, FetchOutcome.AWAY), StoreEnded(2, False)]

    play(scene, patience=0.05)


def test_a_refusal_is_not_waited_out(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.objects.troubles = [Refused("access_denied", "no")]

        stage.store.fetch(Fetch(1, claim()))

        assert (await stage.events.next()).outcome is FetchOutcome.AWAY
        assert stage.objects.calls == 1

    play(scene)


def test_many_at_a_time_are_all_answered(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        for number in range(50):
            stage.store.store(Store(number, ((f"7/{number}-0123456789abcdef", b"%d" % number),)))

        assert sorted([(await stage.events.next()).token for _ in range(50)]) == list(range(50))
        assert sum(thread.name == "claims" for thread in threading.enumerate()) <= 8

    play(scene)


def test_closing_ends_the_waiting_for_a_storage_that_is_away(play: Play) -> None:
    async def scene(stage: Stage) -> None:
        stage.objects.troubles = [away() for _ in range(1000)]
        stage.store.fetch(Fetch(1, claim()))
        stage.store.close()

        assert await asyncio.wait_for(stage.events.next(), WAIT) == FetchEnded(1, FetchOutcome.AWAY)

    play(scene)
