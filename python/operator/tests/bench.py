"""A reconciler over real HTTP without leadership and workers: one step at a time, killed and started anew at will. For tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from python.operator.tests.fake_api import FakeApi
from python.operator.tests.twins import MemoryQueues, settings

from asya_core.ops.clock import FakeClock
from asya_core.ops.logs import Level, LineWriter, Log
from asya_core.wire.errors import AsyaError
from asya_operator import resources
from asya_operator.events import Events
from asya_operator.gather import World
from asya_operator.kube import Kube, NotFound, configure
from asya_operator.observed import cut_actor, cut_child, cut_pod
from asya_operator.reconcile import Reconciler, Result
from asya_operator.settings import OperatorSettings

RUNTIME = b"# the runtime\n"
CHILDREN = (resources.DEPLOYMENTS, resources.STATEFUL_SETS, resources.SCALED_OBJECTS, resources.TRIGGER_AUTHENTICATIONS)


class Bench:
    """One operator's process, as far as reconciles go."""

    def __init__(self, api: FakeApi, queues: MemoryQueues, chosen: OperatorSettings, clock: FakeClock, kube: Kube, runtime: bytes) -> None:
        self.api, self.queues, self.clock, self.kube = api, queues, clock, kube
        self.world = World()
        self.log = Log(LineWriter(), Level.ERROR)
        self.events = Events(kube, instance="test", wall=clock.wall, log=self.log, per_second=1e6)
        self.reconciler = Reconciler(
            kube=kube,
            world=self.world,
            settings=chosen,
            queues={name: queues for name in ("rabbitmq", "sqs") if chosen.is_enabled(name)},
            events=self.events,
            clock=clock,
            log=self.log,
            runtime=runtime,
        )

    async def look(self) -> None:
        """Fill the caches by lists."""
        await self._fill(resources.ACTORS, self.world.actors, cut_actor, self.world.index_actor)
        await self._fill(resources.PODS, self.world.pods, cut_pod, self.world.index_pod)
        self.world.has_keda = True
        for resource in CHILDREN:
            await self._fill(resource, self.world.children[resource.kind], partial(cut_child, kind=resource.kind), lambda *_: None)

    async def _fill(self, resource: resources.Resource, cache: Any, cut: Any, index: Any) -> None:
        seen = set()
        after = ""
        try:
            while True:
                page = await self.kube.list_page(resource, None, after)
                for raw in page.items:
                    new = cut(raw)
                    seen.add(new.key)
                    old = cache.get(new.key)
                    if cache.put(new):
                        index(old, new)
                after = page.next
                if not after:
                    break
        except NotFound:
            if resource.group != "keda.sh":
                raise
            self.world.has_keda = False
        for each in list(cache):
            if each.key not in seen:
                index(cache.drop(each.key), None)

    async def step(self, name: str = "ocr", namespace: str = "demo") -> Result:
        """Look, reconcile once, send events."""
        await self.look()
        result = await self.reconciler.reconcile((namespace, name))
        await self._tell()
        return result

    async def settle(self, name: str = "ocr", namespace: str = "demo", *, steps: int = 12) -> Result:
        """Reconcile until nothing more is to be done at once; the clock goes on in between."""
        for _ in range(steps):
            before = self.api.version
            result = await self.step(name, namespace)
            await asyncio.sleep(0)
            self.clock.advance(2.0)
            if self.api.version == before and result.again_seconds is None:
                return result
        return result

    async def _tell(self) -> None:
        task = asyncio.create_task(self.events.run())
        try:
            await asyncio.wait_for(self.events.flushed(), 5)
        except AsyaError:
            pass
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def connect(api: FakeApi, tmp_path: Path) -> Kube:
    """Connections to the fake API, by a kubeconfig."""
    file = tmp_path / "kubeconfig"
    file.write_text(api.kubeconfig())
    return Kube(await configure(file))


@asynccontextmanager
async def bench(
    api: FakeApi,
    tmp_path: Path,
    *,
    queues: MemoryQueues | None = None,
    chosen: OperatorSettings | None = None,
    clock: FakeClock | None = None,
    runtime: bytes = RUNTIME,
    kube: Kube | None = None,
) -> AsyncIterator[Bench]:
    """A fresh one; `queues` and `clock` may be those of an earlier one, as broker and time outlive a process.

    `kube`: connections to use, which remember nothing; making new ones takes longer than all the rest.
    """
    if kube is not None:
        yield Bench(api, queues or MemoryQueues(), chosen or settings(), clock or FakeClock(), kube, runtime)
        return
    kube = await connect(api, tmp_path)
    try:
        yield Bench(api, queues or MemoryQueues(), chosen or settings(), clock or FakeClock(), kube, runtime)
    finally:
        await kube.close()
