"""Events: equal ones are counted up, a lost one does not matter."""

import asyncio

from python.operator.tests.bench import bench
from python.operator.tests.fake_api import Answer, Call, FakeApi
from python.operator.tests.twins import actor

from asya_operator.events import Events
from asya_operator.observed import cut_actor


async def sent(events: Events) -> None:
    task = asyncio.create_task(events.run())
    await events.flushed()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_equal_events_are_counted_also_over_a_restart(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        about = cut_actor(api.put("asyncactors", actor()))
        for _ in range(2):
            async with bench(api, tmp_path) as one:
                for _ in range(2):
                    one.events.tell(about, "Drift", "x")
                one.events.tell(about, "Ready", "y")
                await sent(one.events)
        found = {each["reason"]: (each["count"], each["type"]) for each in api.objects["events"].values()}
        assert found == {"Drift": (3, "Warning"), "Ready": (2, "Normal")}

    with_api(body)


def test_event_that_the_api_server_has_forgotten_is_made_anew(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        about = cut_actor(api.put("asyncactors", actor()))
        async with bench(api, tmp_path) as one:
            one.events.tell(about, "Drift", "x")
            await sent(one.events)
            api.objects["events"].clear()
            one.events.tell(about, "Drift", "x")
            await sent(one.events)
        assert [each["count"] for each in api.objects["events"].values()] == [1]

    with_api(body)


def test_refused_event_hurts_nothing_and_tells_that_a_namespace_ends(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        about = cut_actor(api.put("asyncactors", actor()))
        ended: list[str] = []

        async def refuse(call: Call) -> None:
            if call.plural == "events":
                raise Answer(403, "because it is being terminated", "Forbidden")

        api.hook = refuse
        async with bench(api, tmp_path) as one:
            events = Events(one.kube, instance="i", wall=one.clock.wall, log=one.log, on_namespace_end=ended.append, per_second=1e6)
            events.tell(about, "Drift", "x")
            await sent(events)
        assert ended == ["demo"]

    with_api(body)
