"""A deleted actor goes on until nothing is on its way to it: the rule, and what becomes of an actor over the fake API."""

import asyncio
import dataclasses
from functools import partial
from typing import Any

import pytest
from python.operator.tests.bench import Bench, bench
from python.operator.tests.fake_api import Answer, Call, FakeApi
from python.operator.tests.test_killed import Stage, dies_at, fails_at
from python.operator.tests.test_killed import _run as run_killed
from python.operator.tests.twins import actor, settings, spec

from asya_core.transports.rabbitmq import topology
from asya_core.transports.rabbitmq.settings import RabbitSettings
from asya_core.transports.sqs.settings import SqsSettings
from asya_core.wire.errors import Refused
from asya_operator.conditions import Depth
from asya_operator.drain import Finding, Neighbour, Why, find, is_before, limit_seconds, stuck
from asya_operator.kube import Kube
from asya_operator.observed import Actor, Child, Progress, cut_actor
from asya_operator.queues import RabbitQueues
from asya_operator.settings import OperatorSettings
from asya_operator.sqs_queues import SqsQueues

pytestmark = pytest.mark.unmeasured

Json = dict[str, Any]
NOTHING = Depth(waiting=0, in_flight=0)
DELETED = "2026-01-01T00:00:00Z"
"""When the clock of a bench begins."""


# ------------------------------------------------------------------------------------------------------------------------------ the rule


def seen(name: str = "ocr", *, flow: str | None = None, status: Json | None = None, env: Json | None = None, **more: Any) -> Actor:
    """An actor as the operator sees it. `env`: of its container; `more`: of the spec, or `deleted`, and whether it `drains` then."""
    deleted, drains = more.pop("deleted", None), more.pop("drains", True)
    raw = actor(name, labels={"asya.sh/flow": flow} if flow else {}, **more)
    container = raw["spec"]["workload"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": key, "value": value} for key, value in (env or {}).items()]
    raw["metadata"] |= {"uid": f"uid-{name}", "resourceVersion": "1", "generation": 2}
    if deleted:
        raw["metadata"] |= {"deletionTimestamp": DELETED, "finalizers": ["asya.sh/drain"] if drains else ["asya.sh/queue"]}
    return cut_actor(raw | {"status": {"observedGeneration": 2, **(status or {})}})


def workload(*, ready: int = 0, replicas: int = 0, updated: int | None = None, observed: bool = True) -> Child:
    progress = Progress(
        observed=2 if observed else 1,
        is_observed=observed,
        replicas=replicas,
        updated=replicas if updated is None else updated,
        ready=ready,
        available=ready,
        refusal="",
    )
    return Child(
        kind="Deployment",
        namespace="demo",
        name="ocr",
        uid="w",
        resource_version="1",
        owner="uid-ocr",
        desired="",
        user_part="",
        replicas=replicas,
        progress=progress,
    )


def found(
    *others: Actor | Neighbour,
    depths: dict[str, Depth | None] | None = None,
    me: Actor | None = None,
    age: float = 0.0,
    quiet: float = 30.0,
) -> Finding:
    """The finding for `ocr`; `depths` by name of the actor."""
    neighbours = [each if isinstance(each, Neighbour) else Neighbour(actor=each, workload=workload()) for each in others]
    by_queue = {name if name.startswith("asya-") else f"asya-demo-{name}": depth for name, depth in (depths or {}).items()}
    return find(
        me or seen(deleted=True),
        neighbours,
        by_queue,
        ["asya-demo_delay"],
        age_seconds=age,
        quiet_seconds=quiet,
        default_transport="rabbitmq",
    )


@pytest.mark.parametrize("depth", [Depth(waiting=1, in_flight=0), Depth(waiting=0, in_flight=1), Depth(waiting=1), None])
def test_messages_in_its_own_queue_keep_an_actor(depth):
    assert found(depths={"ocr": depth}).why is Why.OWN


def test_an_empty_namespace_is_quiet():
    finding = found(seen("first"), depths={"ocr": NOTHING, "first": NOTHING})
    assert (finding.why, finding.quiet_seconds) == (Why.QUIET, 30.0)
    assert found().why is Why.QUIET, "queues that are not there hold nothing"


def test_queues_before_it_keep_an_actor_and_are_named():
    depths = {name: Depth(waiting=1) for name in "abcde"}
    finding = found(*(seen(name) for name in "abcde"), depths=depths)
    assert finding.why is Why.BEFORE
    assert finding.text == "messages for a, b, c and 2 more may be on their way to it"


def test_messages_that_wait_for_their_next_try_keep_an_actor():
    assert found(depths={"asya-demo_delay": Depth(waiting=2, in_flight=0)}).why is Why.DELAYED


@pytest.mark.parametrize(
    ("mine", "other", "counts"),
    [(None, None, True), (None, "f", True), ("f", None, True), ("f", "f", True), ("f", "g", False)],
)
def test_queues_of_another_flow_do_not_count(mine, other, counts):
    assert is_before(seen(flow=mine), seen("first", flow=other), default_transport="rabbitmq") is counts


def test_itself_end_actors_other_transports_and_drained_actors_are_not_before_an_actor():
    drained = seen("first", deleted=True, drains=False)
    for other in (seen(), seen("happy-end"), seen("error-end"), seen("first", transport="sqs"), drained):
        assert not is_before(seen(), other, default_transport="rabbitmq")
    assert is_before(seen(), seen("first", transport="rabbitmq"), default_transport="rabbitmq")
    assert is_before(seen(), seen("first", deleted=True), default_transport="rabbitmq")


def test_a_router_that_still_names_it_keeps_an_actor_for_the_rest_of_the_change():
    router = seen("router", flow="other", env={"ASYA_HANDLER_OCR": "m.ocr"})
    finding = found(router)
    assert (finding.why, finding.text) == (Why.NAMED, "router still names it (ASYA_HANDLER_OCR)")
    assert found(router, seen("start", env={"ASYA_HANDLER_OCR": "m.ocr"})).text == "router, start still name it (ASYA_HANDLER_OCR)"
    assert found(router, age=300.0).why is Why.QUIET
    assert found(seen("router", env={"ASYA_HANDLER_OCR": "m.ocr"}, deleted=True)).why is Why.QUIET, "it goes too"


ROUTER = {"ASYA_HANDLER_MODE": "envelope"}


@pytest.mark.parametrize(
    ("other", "child", "why"),
    [
        (seen("router", env=ROUTER), workload(replicas=2, updated=1), Why.ROLLING),
        (seen("router", env=ROUTER), workload(replicas=2, observed=False), Why.ROLLING),
        (seen("router", env=ROUTER, status={"observedGeneration": 1}), workload(), Why.ROLLING),
        (seen("router", env=ROUTER), workload(replicas=2), Why.QUIET),
        (seen("router", env=ROUTER), None, Why.QUIET),
        (seen("router", env=ROUTER), dataclasses.replace(workload(), progress=None), Why.QUIET),
        (seen("handler"), workload(replicas=2, updated=1), Why.QUIET),
        (seen("router", env=ROUTER, deleted=True), workload(replicas=2, updated=1), Why.QUIET),
        (seen("error-end", env=ROUTER), workload(replicas=2, updated=1), Why.QUIET),
    ],
)
def test_pods_of_a_routers_older_template_keep_an_actor(other, child, why):
    assert found(Neighbour(actor=other, workload=child)).why is why


def test_where_running_messages_are_not_counted_it_must_be_quiet_for_the_longest_call():
    blind = {"ocr": NOTHING, "first": Depth(waiting=0)}
    assert found(seen("first", timeout="20m"), depths=blind).quiet_seconds == 1260.0
    assert found(seen("first", timeout="20 m"), depths=blind).quiet_seconds == 360.0, "a timeout that no rule lets through"
    assert found(seen("first", timeout="20m"), depths={"ocr": NOTHING, "first": NOTHING}).quiet_seconds == 30.0


def test_a_container_of_another_name_names_nobody():
    raw = actor("first")
    raw["metadata"] |= {"uid": "u", "resourceVersion": "1"}
    raw["spec"]["workload"]["template"]["spec"]["containers"] = [
        {"name": "helper", "env": [{"name": "ASYA_HANDLER_OCR", "value": "m.ocr"}]},
    ]
    assert found(Neighbour(actor=cut_actor(raw | {"status": {"observedGeneration": 1}}), workload=None)).why is Why.QUIET


@pytest.mark.parametrize(("given", "wanted"), [({}, 60.0), ({"drainTimeout": "0s"}, 0.0), ({"drainTimeout": "2h"}, 7200.0)])
def test_time_out_is_the_actors_else_the_operators(given, wanted):
    assert limit_seconds(given, 60.0) == wanted


def test_time_out_that_is_none_counts_as_absent():
    assert limit_seconds({"drainTimeout": "soon"}, 60.0) == 60.0


STALLED = {
    "conditions": [
        {"type": "Stalled", "status": "True", "reason": "HandlerInvalid"},
        {"type": "WorkloadReady", "status": "False", "reason": "HandlerInvalid"},
    ]
}


def test_what_cannot_work_is_stuck():
    assert stuck(seen(status=STALLED), workload(replicas=1)) == "its pods cannot run (HandlerInvalid)"
    assert stuck(seen(status=STALLED), workload(replicas=2, ready=1)) == ""
    assert stuck(seen(status={"conditions": STALLED["conditions"][:1]}), workload()) == ""
    assert stuck(seen(scaling={"paused": True}), workload()) == "it is held at no pods"
    assert stuck(seen(scaling={"enabled": False}), workload(replicas=1)) == ""
    assert stuck(seen(scaling={"enabled": False}), None) == ""
    assert stuck(seen(), workload()) == ""


# ----------------------------------------------------------------------------------------------------------------------- over the API


def draining(**more: Any) -> OperatorSettings:
    return settings(drain={"timeout": "1h", "quietPeriod": "20s"}, **more)


def delete(api: FakeApi, name: str = "ocr") -> None:
    api.remove("asyncactors", "demo", name)
    if api.get("asyncactors", "demo", name) is not None:
        api.edit("asyncactors", "demo", name, lambda raw: raw["metadata"].update(deletionTimestamp=DELETED))


def ready(api: FakeApi, name: str = "ocr") -> tuple[str, str, str]:
    status = api.get("asyncactors", "demo", name)["status"]
    return next((each["status"], each["reason"], each["message"]) for each in status["conditions"] if each["type"] == "Ready")


def events(api: FakeApi) -> dict[str, str]:
    return {each["reason"]: each["message"] for each in api.objects["events"].values()}


async def pass_time(one: Bench, seconds: float, *, name: str = "ocr") -> None:
    """Look every six seconds."""
    for _ in range(round(seconds / 6)):
        await one.step(name)
        one.clock.advance(6)


def test_deleted_actor_works_on_until_nothing_is_on_its_way_to_it(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        for name in ("first", "ocr"):
            api.put("asyncactors", actor(name))
        async with bench(api, tmp_path, chosen=draining()) as one:
            for name in ("first", "ocr"):
                await one.settle(name)
            assert api.get("asyncactors", "demo", "ocr")["metadata"]["finalizers"] == ["asya.sh/drain"]
            one.queues.held["asya-demo-ocr"] = Depth(waiting=2, in_flight=1)
            one.queues.held["asya-demo-first"] = Depth(waiting=1, in_flight=0)
            delete(api)
            await pass_time(one, 60)
            assert ready(api)[:2] == ("True", "Draining")
            assert "its queue holds messages" in ready(api)[2]
            assert "It ends by 2026-01-01T01:00:00Z" in ready(api)[2]
            assert api.get("asyncactors", "demo", "ocr")["status"]["queue"]["waiting"] == 2
            one.queues.held["asya-demo-ocr"] = NOTHING
            await pass_time(one, 60)
            assert "messages for first may be on their way to it" in ready(api)[2]
            for plural in ("deployments", "scaledobjects", "triggerauthentications"):
                assert api.get(plural, "demo", "ocr") is not None
            one.queues.held["asya-demo-first"] = NOTHING
            await pass_time(one, 18)
            assert "when that has been so for 20 s" in ready(api)[2]
            await pass_time(one, 12)
            assert api.get("asyncactors", "demo", "ocr") is None
            assert "asya-demo-ocr" in one.queues.held, "the queue is retained"
            assert events(api).keys() >= {"Draining", "Drained"}
        assert api.get("deployments", "demo", "ocr") is None
        assert api.get("deployments", "demo", "first") is not None

    with_api(body)


def test_a_message_that_comes_late_begins_the_quiet_anew(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor())
        async with bench(api, tmp_path, chosen=draining()) as one:
            await one.settle()
            delete(api)
            await pass_time(one, 18)
            one.queues.held["asya-demo-ocr"] = Depth(waiting=1, in_flight=0)
            await pass_time(one, 6)
            one.queues.held["asya-demo-ocr"] = NOTHING
            await pass_time(one, 18)
            assert ready(api)[1] == "Draining"
            await pass_time(one, 12)
            assert api.get("asyncactors", "demo", "ocr") is None

    with_api(body)


@pytest.mark.behaviour("operator:no-idle-writes")
def test_new_actor_that_would_drain_costs_five_writes_and_waiting_costs_none(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        for name in ("happy-end", "ocr"):
            api.put("asyncactors", actor(name))
        async with bench(api, tmp_path, chosen=draining()) as one:
            await one.settle("happy-end")
            before = len(api.writes())
            await one.settle()
            assert len([call for call in api.writes()[before:] if call.plural != "events"]) == 5
            one.queues.held["asya-demo-ocr"] = Depth(waiting=2, in_flight=1)
            delete(api)
            await pass_time(one, 12)
            before = len(api.writes())
            await pass_time(one, 90)
            assert len(api.writes()) == before
            queues, clock = one.queues, one.clock
        async with bench(api, tmp_path, queues=queues, clock=clock, chosen=draining()) as other:
            await pass_time(other, 60)
            assert [(call.verb, call.plural) for call in api.writes()[before:]] == []

    with_api(body)


@pytest.mark.behaviour("operator:no-idle-writes")
def test_first_status_waits_for_kedas_report_for_a_minute(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        reports = list(api.listeners)
        api.listeners.clear()
        api.put("asyncactors", actor("late"))
        api.put("asyncactors", actor("never"))
        async with bench(api, tmp_path, chosen=draining()) as one:
            for name in ("late", "never"):
                await one.step(name)
                api.edit("deployments", "demo", name, lambda raw: raw.update(status={"observedGeneration": 1}))
            one.clock.advance(30)
            for name in ("late", "never"):
                assert 0 < (await one.step(name)).again_seconds < 31
                assert "status" not in api.get("asyncactors", "demo", name)
            api.listeners.extend(reports)
            api.edit("scaledobjects", "demo", "late", lambda raw: raw["metadata"].setdefault("labels", {}).update(keda="saw-it"))
            await asyncio.sleep(0)
            before = len(api.writes())
            await one.step("late")
            assert ready(api, "late")[1] == "Napping"
            assert len([call for call in api.writes()[before:] if call.plural != "events"]) == 1
            one.clock.advance(31)
            await one.step("never")
            assert ready(api, "never")[1] == "ScalerPending"

    with_api(body)


@pytest.mark.behaviour("operator:no-idle-writes")
def test_last_of_many_new_actors_keeps_its_time_when_it_is_looked_at_again(with_api, tmp_path):
    names = [f"actor-{number:02}" for number in range(20)]

    async def body(api: FakeApi) -> None:
        reports = list(api.listeners)
        api.listeners.clear()
        for name in names:
            api.put("asyncactors", actor(name))
        async with bench(api, tmp_path, chosen=draining()) as one:
            for name in names:
                await one.step(name)
                api.edit("deployments", "demo", name, lambda raw: raw.update(status={"observedGeneration": 1}))
            one.clock.advance(2)
            for name in names:
                await one.step(name)
            api.listeners.extend(reports)
            for name in names[:-1]:
                api.edit("scaledobjects", "demo", name, lambda raw: raw["metadata"].setdefault("labels", {}).update(keda="saw-it"))
                await asyncio.sleep(0)
                await one.step(name)
                assert ready(api, name)[1] == "Napping"
            one.clock.advance(63)  # over the minute, and less than twenty need
            for _ in range(2):
                assert (await one.step(names[-1])).again_seconds > 0
                assert "status" not in api.get("asyncactors", "demo", names[-1])

    with_api(body)


def test_actors_that_drain_together_look_once_and_go_together(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        names = ["a", "b", "c"]
        for name in names:
            env = [{"name": f"ASYA_HANDLER_{each.upper()}", "value": f"m.{each}"} for each in names]
            made = actor(name)
            made["spec"]["workload"]["template"]["spec"]["containers"][0]["env"] += env
            api.put("asyncactors", made)
        async with bench(api, tmp_path, chosen=draining()) as one:
            for name in names:
                await one.settle(name)
            for name in names:
                delete(api, name)
            before = len(one.queues.calls)
            for _ in range(5):
                for name in names:
                    await one.step(name)
                one.clock.advance(6)
            assert one.queues.calls[before:].count(("depth", "demo")) <= 5
        assert not api.objects["asyncactors"]

    with_api(body)


def test_queue_that_is_to_go_goes_after_the_drain(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor(queue={"deletionPolicy": "Delete"}, drainTimeout="10m"))
        async with bench(api, tmp_path) as one:
            await one.settle()
            assert set(api.get("asyncactors", "demo", "ocr")["metadata"]["finalizers"]) == {"asya.sh/drain", "asya.sh/queue"}
            one.queues.held["asya-demo-ocr"] = Depth(waiting=3, in_flight=0)
            delete(api)
            await pass_time(one, 60)
            assert one.queues.held
            assert api.get("deployments", "demo", "ocr") is not None
            one.queues.held["asya-demo-ocr"] = NOTHING
            await pass_time(one, 36)
            assert api.get("asyncactors", "demo", "ocr") is None
            assert "asya-demo-ocr" not in one.queues.held

    with_api(body)


def test_time_out_and_annotation_end_it_whatever_is_left(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        for name in ("late", "skipped", "changed", "seen-late"):
            api.put("asyncactors", actor(name, drainTimeout="5m", labels={"asya.sh/flow": name}))
        async with bench(api, tmp_path) as one:
            for name in ("late", "skipped", "changed", "seen-late"):
                await one.settle(name)
                one.queues.held[f"asya-demo-{name}"] = Depth(waiting=3, in_flight=0)
                delete(api, name)
                await one.step(name)
            api.edit("asyncactors", "demo", "skipped", lambda raw: raw["metadata"].update(annotations={"asya.sh/skip-drain": "true"}))
            api.edit("asyncactors", "demo", "changed", lambda raw: raw["spec"].update(drainTimeout="0s"))
            for name in ("late", "skipped", "changed"):
                await one.step(name)
            assert {key[1] for key in api.objects["asyncactors"]} == {"late", "seen-late"}
            one.clock.advance(300)
            one.queues.held["asya-demo-seen-late"] = NOTHING
            await one.step("late")
            await one.step("seen-late")
            assert not api.objects["asyncactors"]
        told = {(each["involvedObject"]["name"], each["reason"], each["message"]) for each in api.objects["events"].values()}
        assert told >= {
            ("late", "DrainGivenUp", "Goes after drainTimeout, 300 s, though its queue holds messages"),
            ("skipped", "DrainGivenUp", "Goes without draining, as the annotation asks"),
            ("seen-late", "Drained", "Nothing is on its way to it any more"),
        }

    with_api(body)


def test_actor_that_cannot_work_does_not_hold_its_messages(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor(scaling={"enabled": False}, workload={**spec()["workload"], "replicas": 0}))
        async with bench(api, tmp_path, chosen=draining()) as one:
            await one.settle()
            one.queues.held["asya-demo-ocr"] = Depth(waiting=3, in_flight=0)
            delete(api)
            await one.step()
            assert api.get("asyncactors", "demo", "ocr") is None
            assert events(api)["DrainGivenUp"] == "Its queue holds messages and it is held at no pods; queue asya-demo-ocr has them"

    with_api(body)


def test_broker_that_is_away_or_refuses_is_waited_for(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor())
        async with bench(api, tmp_path, chosen=draining()) as one:
            await one.settle()
            delete(api)
            await pass_time(one, 18)
            one.queues.trouble = Refused("access_refused", "memory:1 refused read")
            await pass_time(one, 30)
            assert api.get("asyncactors", "demo", "ocr") is not None
            one.queues.trouble = None
            await pass_time(one, 18)
            assert "when that has been so" in ready(api)[2]
            await pass_time(one, 12)
            assert api.get("asyncactors", "demo", "ocr") is None

    with_api(body)


def _foreground(raw: Json) -> None:
    raw["metadata"]["finalizers"].append("foregroundDeletion")


def _no_foreground(raw: Json) -> None:
    raw["metadata"]["finalizers"].remove("foregroundDeletion")


def test_after_a_deletion_in_the_foreground_the_workload_is_made_again(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor())
        async with bench(api, tmp_path, chosen=draining()) as one:
            await one.settle()
            one.queues.held["asya-demo-ocr"] = Depth(waiting=3, in_flight=0)
            delete(api)
            api.edit("asyncactors", "demo", "ocr", _foreground)
            for plural in ("deployments", "scaledobjects", "triggerauthentications"):
                api.remove(plural, "demo", "ocr")
            await pass_time(one, 12)
            assert api.get("deployments", "demo", "ocr") is None, "the garbage collector would delete it again"
            api.edit("asyncactors", "demo", "ocr", _no_foreground)
            await pass_time(one, 12)
            for plural in ("deployments", "scaledobjects", "triggerauthentications"):
                assert api.get(plural, "demo", "ocr") is not None

    with_api(body)


def _orphan(raw: Json) -> None:
    raw["metadata"]["finalizers"].append("orphan")


def _undeclared(raw: Json) -> None:
    raw["status"].pop("queue")


@pytest.mark.parametrize("change", [_orphan, _undeclared], ids=["its workload stays", "it never had a queue"])
def test_actor_with_nothing_to_drain_goes_at_once(with_api, tmp_path, change):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor())
        async with bench(api, tmp_path, chosen=draining()) as one:
            await one.settle()
            one.queues.held["asya-demo-ocr"] = Depth(waiting=3, in_flight=0)
            delete(api)
            api.edit("asyncactors", "demo", "ocr", change)
            await one.step()
            found = api.get("asyncactors", "demo", "ocr")
            assert found is None or "asya.sh/drain" not in found["metadata"]["finalizers"]

    with_api(body)


def test_namespace_that_is_deleted_takes_its_actors_along(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor())
        async with bench(api, tmp_path, chosen=draining()) as one:
            await one.settle()
            one.queues.held["asya-demo-ocr"] = Depth(waiting=3, in_flight=0)
            delete(api)
            api.remove("deployments", "demo", "ocr")

            async def refuse(call: Call) -> None:
                is_new = call.verb == "create" or (call.verb == "patch" and api.get(call.plural, call.namespace, call.name) is None)
                if is_new:
                    raise Answer(403, "because it is being terminated", "Forbidden", causes=[{"reason": "NamespaceTerminating"}])

            api.hook = refuse
            await pass_time(one, 12)
            assert api.get("asyncactors", "demo", "ocr") is None

    with_api(body)


def test_switched_on_and_off_the_finalizer_follows(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor())
        async with bench(api, tmp_path, chosen=draining()) as one:
            await one.settle()
            queues, clock = one.queues, one.clock
        async with bench(api, tmp_path, queues=queues, clock=clock, chosen=settings()) as one:
            await one.settle()
            assert not api.get("asyncactors", "demo", "ocr")["metadata"].get("finalizers")
            api.put("asyncactors", actor(drainTimeout="1m"))
            await one.settle()
        assert api.get("asyncactors", "demo", "ocr")["metadata"]["finalizers"] == ["asya.sh/drain"]

    with_api(body)


def test_spec_that_became_invalid_is_told_and_drains_on(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor())
        async with bench(api, tmp_path, chosen=draining()) as one:
            await one.settle()
            one.queues.held["asya-demo-ocr"] = Depth(waiting=3, in_flight=0)
            api.edit("deployments", "demo", "ocr", lambda raw: raw["spec"].update(replicas=1), manager="keda")
            delete(api)
            api.edit("asyncactors", "demo", "ocr", lambda raw: raw["spec"].update(sidecar={"env": [{"name": "ASYA_ACTOR"}]}))
            await pass_time(one, 12)
            assert ready(api)[1] == "SpecInvalid"
            one.queues.held["asya-demo-ocr"] = NOTHING
            await pass_time(one, 36)
            assert api.get("asyncactors", "demo", "ocr") is None

    with_api(body)


@pytest.mark.behaviour("operator:converges")
@pytest.mark.parametrize(
    "disturbed",
    [partial(dies_at, after=False), partial(dies_at, after=True), partial(fails_at, status=500)],
    ids=["before", "after", "500"],
)
def test_killed_or_failed_at_each_call_of_a_drain_it_ends_where_an_undisturbed_one_ends(tmp_path, disturbed):
    def create(api: FakeApi) -> None:
        api.put("asyncactors", actor(queue={"deletionPolicy": "DeleteIfEmpty"}, drainTimeout="10m"))

    async def body(api: FakeApi, kube: Kube) -> None:
        stage = await Stage.of(api, kube, (create, delete))
        wanted, wanted_queues, _ = await stage.play(None)
        assert wanted_queues == {}
        for number in range(1, 40):
            essence, queues, used = await stage.play(disturbed(number))
            assert essence == wanted, f"call {number}"
            assert queues == wanted_queues, f"call {number}"
            if used < number:
                break
        assert 8 <= number < 39

    run_killed(tmp_path, body)


def test_messages_that_wait_for_their_next_try_are_in_queues_of_the_namespace_or_in_the_actors_own():
    rabbit = RabbitQueues(RabbitSettings(host="rabbitmq.mq.svc", credentials_dir="/none"))
    assert set(rabbit.delayed("demo")) == {queue.name for queue in topology.delays("demo").queues}
    sqs = SqsQueues(SqsSettings(region="eu-central-1"))
    assert sqs.delayed("demo") == ()
