"""One actor over the fake API: what is made, what is left alone, what the status says."""

from python.operator.tests.bench import bench
from python.operator.tests.fake_api import FakeApi
from python.operator.tests.twins import actor


def condition(api: FakeApi, kind: str, name: str = "ocr"):
    found = api.get("asyncactors", "demo", name)
    return {each["type"]: each for each in found["status"]["conditions"]}.get(kind)


def test_new_actor_gets_children_queue_and_status(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor())
        async with bench(api, tmp_path) as one:
            await one.settle()
            assert one.queues.held.keys() == {"asya-demo-ocr"}
        for plural in ("deployments", "triggerauthentications", "scaledobjects"):
            assert api.get(plural, "demo", "ocr") is not None
        ready = condition(api, "Ready")
        assert (ready["status"], ready["reason"]) == ("True", "Napping")
        assert api.get("asyncactors", "demo", "ocr")["status"]["queue"] == {
            "name": "asya-demo-ocr",
            "transport": "rabbitmq",
            "waiting": 0,
            "inFlight": 0,
        }

    with_api(body)
