"""An operator that is killed at any API call, or whose calls fail in any way, ends where one ends that is left in peace."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from python.operator.tests.bench import Bench, bench, connect
from python.operator.tests.fake_api import Answer, Call, Controllers, Cut, FakeApi, copied
from python.operator.tests.twins import MemoryQueues, actor

from asya_core.ops.clock import FakeClock
from asya_core.wire.errors import AsyaError
from asya_operator.kube import Kube

pytestmark = pytest.mark.unmeasured
Json = dict[str, Any]
Story = Callable[[FakeApi], None]
MOST_CALLS = 40
FEWEST_CALLS = {"create": 11, "update": 7, "switch off": 8, "delete": 5}
"""Of a reconcile that is left in peace: as many times at least is each story disturbed."""


def _create(api: FakeApi) -> None:
    api.put("asyncactors", actor(queue={"deletionPolicy": "DeleteIfEmpty"}))


def _update(api: FakeApi) -> None:
    api.put("asyncactors", actor(queue={"deletionPolicy": "DeleteIfEmpty"}, timeout="10m", scaling={"maxReplicas": 3, "paused": True}))


def _switch_off(api: FakeApi) -> None:
    api.put("asyncactors", actor(queue={"deletionPolicy": "Retain"}, scaling={"enabled": False}))


def _delete(api: FakeApi) -> None:
    api.remove("asyncactors", "demo", "ocr")


STORIES: dict[str, tuple[Story, ...]] = {
    "create": (_create,),
    "update": (_create, _update),
    "switch off": (_create, _switch_off),
    "delete": (_create, _delete),
}


def _essence(api: FakeApi) -> Json:
    """Everything but what differs between two runs by nature: uids, versions, times, events, managedFields."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            dropped = {
                "uid",
                "resourceVersion",
                "managedFields",
                "lastTransitionTime",
                "generation",
                "observedGeneration",
                "creationTimestamp",
                "asya.sh/desired",
            }
            return {key: clean(each) for key, each in value.items() if key not in dropped}
        return [clean(each) for each in value] if isinstance(value, list) else value

    kinds = sorted(set(api.objects) - {"events", "leases"})
    return {
        plural: {"/".join(key): clean(found) for key, found in sorted(api.objects[plural].items())}
        for plural in kinds
        if api.objects[plural]
    }


async def _live(api: FakeApi, kube: Kube, queues: MemoryQueues, clock: FakeClock, hook: Any = None) -> None:
    """One process, from start until it settles or dies."""
    api.hook = None
    async with bench(api, Path(), queues=queues, clock=clock, kube=kube) as one:
        await one.look()
        api.hook = hook
        try:
            await _settle(one)
        finally:
            api.hook = None


async def _settle(one: Bench) -> None:
    for _ in range(20):
        before = one.api.version
        result = await one.step()
        await asyncio.sleep(0)
        one.clock.advance(2.0)
        if one.api.version == before and result.again_seconds is None and result.failed is None:
            return
    raise AssertionError("does not settle")


class Stage:
    """A story up to its last chapter, played in peace; the last may then be played again and again from there."""

    def __init__(self, api: FakeApi, kube: Kube, last: Story) -> None:
        self.api, self.kube, self.last = api, kube, last
        self.queues = MemoryQueues()
        self.objects = {plural: copied(found) for plural, found in api.objects.items()}

    @classmethod
    async def of(cls, api: FakeApi, kube: Kube, story: tuple[Story, ...]) -> "Stage":
        api.reset()
        queues = MemoryQueues()
        for chapter in story[:-1]:
            chapter(api)
            await _live(api, kube, queues, FakeClock())
        made = cls(api, kube, story[-1])
        made.queues = queues
        return made

    async def play(self, hook: Any) -> tuple[str, dict[str, Any], int]:
        """The last chapter, disturbed by `hook` in a first process and finished by a second: what is there then, and calls of the first.

        Those of its looks, which are lists, do not count.
        """
        self.api.reset()
        self.api.objects.update(copied(self.objects))
        queues, clock = MemoryQueues(), FakeClock(monotonic=2_000.0)
        queues.held, queues.types = dict(self.queues.held), dict(self.queues.types)
        self.last(self.api)
        before = len(self.api.calls)
        try:
            await _live(self.api, self.kube, queues, clock, hook)
        except AsyaError:
            pass
        used = sum(call.verb != "list" for call in self.api.calls[before:])
        clock.advance(30)
        await _live(self.api, self.kube, queues, clock)
        return json.dumps(_essence(self.api), sort_keys=True), {name: str(depth) for name, depth in queues.held.items()}, used


def _run(tmp_path: Path, body: Callable[[FakeApi, Kube], Awaitable[None]]) -> None:
    async def whole() -> None:
        api = FakeApi()
        Controllers(api)
        await api.start()
        kube = await connect(api, tmp_path)
        try:
            async with asyncio.timeout(100):
                await body(api, kube)
        finally:
            await kube.close()
            await api.stop()

    asyncio.run(whole())


def dies_at(number: int, *, after: bool) -> Any:
    """From the k-th call of a reconcile on nothing gets through: the process is dead. `after`: the k-th is done, but its answer is lost.

    The looks in between, six lists each, are the bench's own and change nothing: who dies there leaves what he leaves at the next call.
    """
    seen = 0

    async def hook(call: Call) -> None:
        nonlocal seen
        seen += call.verb != "list"
        if seen == number and call.verb != "list":
            raise Cut(after=after)
        if seen >= number:
            raise Cut(after=False)

    return hook


def fails_at(number: int, status: int) -> Any:
    """The k-th call of a reconcile is answered so; one that tells an event may fail at any time anyway."""
    seen = 0

    async def hook(call: Call) -> None:
        nonlocal seen
        seen += call.verb != "list"
        if seen == number and call.verb != "list" and not call.plural.startswith("events"):
            raise Answer(status, "disturbed")

    return hook


@pytest.mark.behaviour("operator:converges")
@pytest.mark.parametrize("after", [False, True], ids=["before the call", "after the call"])
@pytest.mark.parametrize("name", ["create", "update", "delete"])
def test_killed_at_each_call_the_next_process_ends_where_one_ends_in_peace(tmp_path, name, after):
    async def body(api: FakeApi, kube: Kube) -> None:
        stage = await Stage.of(api, kube, STORIES[name])
        wanted, wanted_queues, _ = await stage.play(None)
        for number in range(1, MOST_CALLS):
            essence, queues, used = await stage.play(dies_at(number, after=after))
            assert essence == wanted, f"call {number}"
            assert queues == wanted_queues, f"call {number}"
            if used < number:
                break
        assert FEWEST_CALLS[name] < number < MOST_CALLS - 1

    _run(tmp_path, body)


@pytest.mark.parametrize(("status", "name"), [(409, "update"), (500, "delete"), (500, "switch off")])
def test_each_call_may_fail_once(tmp_path, status, name):
    async def body(api: FakeApi, kube: Kube) -> None:
        stage = await Stage.of(api, kube, STORIES[name])
        wanted, wanted_queues, _ = await stage.play(None)
        for number in range(1, MOST_CALLS):
            essence, queues, used = await stage.play(fails_at(number, status))
            assert essence == wanted, f"call {number}"
            assert queues == wanted_queues, f"call {number}"
            if used < number:
                break
        assert FEWEST_CALLS[name] < number < MOST_CALLS - 1

    _run(tmp_path, body)


def test_essence_tells_different_clusters_apart(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        _create(api)
        async with bench(api, tmp_path) as one:
            await one.settle()
        before = copied(_essence(api))
        api.edit("deployments", "demo", "ocr", lambda found: found["spec"].update(replicas=9))
        assert _essence(api) != before

    with_api(body)
