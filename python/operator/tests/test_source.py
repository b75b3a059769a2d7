"""The source files of an actor that drains: kept while it lives, made again where a pod waits for them, gone with it."""

from typing import Any

import pytest
from python.operator.tests.bench import bench
from python.operator.tests.fake_api import Answer, Call, FakeApi
from python.operator.tests.twins import actor, settings

from asya_operator.conditions import Depth
from asya_operator.kube import ApiError, Conflict

pytestmark = pytest.mark.unmeasured

Json = dict[str, Any]
DRAINING = settings(drain={"timeout": "1h", "quietPeriod": "10s"})


def with_source(text: str, **more: Any) -> Json:
    """What the chart renders of `source.files`."""
    made = actor(annotations={"a": "b"}, **more)
    made["spec"]["workload"]["template"] |= {"metadata": {"annotations": {"checksum/source": text}}}
    made["spec"]["workload"]["template"]["spec"]["volumes"] = [{"name": "source", "configMap": {"name": "ocr-source"}}]
    return made


def put_source(api: FakeApi, text: str) -> None:
    api.put("configmaps", {"metadata": {"name": "ocr-source"}, "data": {"ocr.py": text}})


def copied(api: FakeApi) -> str | None:
    found = api.get("configmaps", "demo", "ocr.source")
    return found["data"]["ocr.py"] if found else None


def waiting_pod() -> Json:
    conditions = [{"type": "PodReadyToStartContainers", "status": "False"}]
    return {"metadata": {"name": "ocr-1", "labels": {"asya.sh/actor": "ocr"}}, "spec": {}, "status": {"conditions": conditions}}


def test_pod_that_is_woken_in_a_drain_finds_its_source_though_the_release_is_gone(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        put_source(api, "one")
        api.put("asyncactors", with_source("1"))
        async with bench(api, tmp_path, chosen=DRAINING) as one:
            await one.settle()
            assert copied(api) == "one"
            assert "ownerReferences" not in api.get("configmaps", "demo", "ocr.source")["metadata"], "foreground would take it"
            put_source(api, "two")
            api.put("asyncactors", with_source("2"))
            await one.settle()
            assert copied(api) == "two"
            one.queues.held["asya-demo-ocr"] = Depth(waiting=1, in_flight=0)
            api.remove("asyncactors", "demo", "ocr")
            await one.step()
            api.remove("configmaps", "demo", "ocr-source")
            await one.step()
            assert api.get("configmaps", "demo", "ocr-source") is None, "nobody waits for it"
            api.put("pods", waiting_pod())
            await one.step()
            restored = api.get("configmaps", "demo", "ocr-source")
            assert restored["data"] == {"ocr.py": "two"}
            assert restored["metadata"]["ownerReferences"][0]["uid"] == api.get("asyncactors", "demo", "ocr")["metadata"]["uid"]
            before = len(api.writes())
            await one.step()
            assert len(api.writes()) == before
            one.queues.held["asya-demo-ocr"] = Depth(waiting=0, in_flight=0)
            for _ in range(4):
                one.clock.advance(6)
                await one.step()
            assert api.get("asyncactors", "demo", "ocr") is None
            assert copied(api) is None

    with_api(body)


@pytest.mark.behaviour("operator:no-idle-writes")
def test_copy_costs_no_write_at_a_resync_and_is_corrected_there(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", with_source("1"))
        async with bench(api, tmp_path, chosen=DRAINING) as one:
            await one.settle()
            assert copied(api) is None, "there is no source yet"
            put_source(api, "one")
            await one.settle()
            assert copied(api) == "one"
            before = len(api.writes())
            one.reconciler.renew(("demo", "ocr"))
            await one.settle()
            assert len(api.writes()) == before
            put_source(api, "two")
            one.reconciler.renew(("demo", "ocr"))
            await one.settle()
            assert copied(api) == "two"

    with_api(body)


def test_without_a_copy_there_is_nothing_to_restore(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", with_source("1"))
        async with bench(api, tmp_path, chosen=DRAINING) as one:
            await one.settle()
            one.queues.held["asya-demo-ocr"] = Depth(waiting=1, in_flight=0)
            api.remove("asyncactors", "demo", "ocr")
            api.put("pods", waiting_pod())
            await one.step()
            assert api.get("configmaps", "demo", "ocr-source") is None

    with_api(body)


def test_no_copy_is_kept_where_actors_do_not_drain(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        put_source(api, "one")
        api.put("asyncactors", with_source("1", drainTimeout="1m"))
        async with bench(api, tmp_path) as one:
            await one.settle()
            assert copied(api) == "one"
            api.put("asyncactors", with_source("1", drainTimeout="0s"))
            await one.settle()
            assert copied(api) is None

    with_api(body)


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (Answer(403, "exceeded quota: configmaps=10"), None),
        (Answer(409, "the object has been modified"), Conflict),
        (Answer(403, "because it is being terminated", "Forbidden", causes=[{"reason": "NamespaceTerminating"}]), ApiError),
    ],
    ids=["quota", "conflict", "ending"],
)
def test_refused_copy_keeps_no_actor_from_working(with_api, tmp_path, answer, raised):
    async def body(api: FakeApi) -> None:
        async def refuse(call: Call) -> None:
            if call.plural == "configmaps" and call.name == "ocr.source" and call.writes:
                raise answer

        put_source(api, "one")
        api.put("asyncactors", with_source("1"))
        api.hook = refuse
        async with bench(api, tmp_path, chosen=DRAINING) as one:
            if raised is not None:
                with pytest.raises(raised):
                    await one.step()
                return
            await one.settle()
            assert copied(api) is None
        assert api.get("deployments", "demo", "ocr") is not None

    with_api(body)
