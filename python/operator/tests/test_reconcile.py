"""One actor over the fake API: what is made, what is left alone, what the status and the events say."""

from typing import Any

import pytest
from python.operator.tests.bench import bench
from python.operator.tests.fake_api import Answer, Call, FakeApi
from python.operator.tests.twins import MemoryQueues, actor, settings, spec

from asya_operator.conditions import Depth
from asya_operator.desired.labels import runtime_name
from asya_operator.kube import ApiError, ApiUnavailable, Conflict

pytestmark = pytest.mark.unmeasured

Json = dict[str, Any]


def conditions(api: FakeApi, name: str = "ocr", namespace: str = "demo") -> dict[str, Json]:
    found = api.get("asyncactors", namespace, name)
    assert found is not None
    return {each["type"]: each for each in (found.get("status") or {}).get("conditions", [])}


def ready(api: FakeApi, name: str = "ocr", namespace: str = "demo") -> tuple[str, str]:
    found = conditions(api, name, namespace)["Ready"]
    return found["status"], found["reason"]


def events(api: FakeApi) -> set[str]:
    return {found["reason"] for found in api.objects["events"].values()}


def test_new_actor_gets_children_queue_and_status(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor())
        async with bench(api, tmp_path) as one:
            await one.settle()
            assert one.queues.held.keys() == {"asya-demo-ocr"}
        for plural in ("deployments", "triggerauthentications", "scaledobjects"):
            assert api.get(plural, "demo", "ocr") is not None
        assert ready(api) == ("True", "Napping")
        status = api.get("asyncactors", "demo", "ocr")["status"]
        assert status["queue"] == {"name": "asya-demo-ocr", "transport": "rabbitmq", "waiting": 0, "inFlight": 0}
        assert status["sidecarVersion"] == "0.1.0"

    with_api(body)


@pytest.mark.behaviour("operator:no-idle-writes")
def test_new_actor_costs_at_most_five_writes_and_two_events(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        for name in ("happy-end", "error-end", "first"):
            api.put("asyncactors", actor(name))
        async with bench(api, tmp_path) as one:
            await one.settle("first")
            before = len(api.writes())
            api.put("asyncactors", actor())
            await one.settle()
            made = [call for call in api.writes()[before:] if call.name == "ocr" or (call.plural == "events")]
            objects = [call for call in made if call.plural != "events"]
            assert len(objects) <= 5, [(call.verb, call.plural, call.subresource) for call in objects]
            assert len(made) - len(objects) == 2
            assert {"QueueCreated", "Ready"} <= events(api)

    with_api(body)


@pytest.mark.behaviour("operator:no-idle-writes")
def test_nothing_is_written_after_a_restart_or_at_a_resync(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor())
        async with bench(api, tmp_path) as one:
            await one.settle()
            before = len(api.writes())
            one.reconciler.renew(("demo", "ocr"))
            one.reconciler.forget_runtime("demo")
            await one.settle()
            assert len(api.writes()) == before
            queues, clock = one.queues, one.clock
        async with bench(api, tmp_path, queues=queues, clock=clock) as other:
            await other.settle()
            assert [(call.verb, call.plural) for call in api.writes()[before:]] == []

    with_api(body)


def test_runtimes_file_is_shared_and_goes_with_the_last_actor(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor("one"))
        api.put("asyncactors", actor("two"))
        async with bench(api, tmp_path) as bed:
            await bed.settle("one")
            await bed.settle("two")
            assert len(api.objects["configmaps"]) == 1
            for name in ("one", "two"):
                api.remove("asyncactors", "demo", name)
                await bed.settle(name)
                assert len(api.objects["configmaps"]) == (1 if name == "one" else 0)

    with_api(body)


def test_older_runtimes_file_goes_when_nobody_uses_it(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor())
        async with bench(api, tmp_path, runtime=b"old") as one:
            await one.settle()
            queues, clock = one.queues, one.clock
        async with bench(api, tmp_path, queues=queues, clock=clock, runtime=b"new") as one:
            await one.settle()
        assert [name for _, name in api.objects["configmaps"]] == [runtime_name(b"new")]

    with_api(body)


def test_deleted_child_is_made_again_with_an_event(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor())
        async with bench(api, tmp_path) as one:
            await one.settle()
            api.remove("deployments", "demo", "ocr")
            api.edit("scaledobjects", "demo", "ocr", lambda found: found["spec"].update(maxReplicaCount=99))
            await one.settle()
        assert api.get("deployments", "demo", "ocr") is not None
        assert api.get("scaledobjects", "demo", "ocr")["spec"]["maxReplicaCount"] == 10
        assert "Drift" in events(api)

    with_api(body)


def test_removed_field_goes_from_the_workload(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        base = spec()
        base["workload"]["template"]["spec"]["priorityClassName"] = "high"
        api.put("asyncactors", {"metadata": {"name": "ocr"}, "spec": base})
        async with bench(api, tmp_path) as one:
            await one.settle()
            assert api.get("deployments", "demo", "ocr")["spec"]["template"]["spec"]["priorityClassName"] == "high"
            api.put("asyncactors", {"metadata": {"name": "ocr"}, "spec": spec()})
            await one.settle()
        assert "priorityClassName" not in api.get("deployments", "demo", "ocr")["spec"]["template"]["spec"]

    with_api(body)


def test_replicas_stay_kedas_when_the_spec_changes(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor())
        async with bench(api, tmp_path) as one:
            await one.settle()
            assert api.get("deployments", "demo", "ocr")["spec"]["replicas"] == 0
            api.edit("deployments", "demo", "ocr", lambda found: found["spec"].update(replicas=4), manager="keda")
            api.put("asyncactors", actor(timeout="10m"))
            await one.settle()
        found = api.get("deployments", "demo", "ocr")
        assert found["spec"]["replicas"] == 4
        assert found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 630

    with_api(body)


def test_scaling_in_the_very_moment_of_a_write_wins(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor())
        async with bench(api, tmp_path) as one:
            await one.settle()
            api.put("asyncactors", actor(timeout="10m"))

            async def scale_before_the_write(call: Call) -> None:
                if call.verb == "patch" and call.plural == "deployments":
                    api.hook = None
                    api.edit("deployments", "demo", "ocr", lambda found: found["spec"].update(replicas=7), manager="keda")

            api.hook = scale_before_the_write
            with pytest.raises(Conflict):
                await one.step()
            await one.settle()
        assert api.get("deployments", "demo", "ocr")["spec"]["replicas"] == 7

    with_api(body)


def test_foreign_workload_is_left_alone(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        foreign = {"metadata": {"name": "ocr", "labels": {"app": "theirs"}}, "spec": {"replicas": 3, "template": {}}}
        api.put("deployments", foreign)
        api.put("asyncactors", actor())
        async with bench(api, tmp_path) as one:
            await one.settle()
        assert ready(api) == ("False", "SpecInvalid")
        assert conditions(api)["Ready"]["message"].startswith("Deployment ocr exists and is not this actor's")
        assert api.get("deployments", "demo", "ocr")["spec"] == foreign["spec"]
        assert api.get("scaledobjects", "demo", "ocr") is None

    with_api(body)


def test_later_actor_of_a_queue_name_gets_no_workload_until_the_first_is_gone(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        first = actor("b-c", "a")
        first["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
        later = actor("c", "a-b")
        later["metadata"]["creationTimestamp"] = "2026-01-02T00:00:00Z"
        api.put("asyncactors", first)
        api.put("asyncactors", later)
        async with bench(api, tmp_path) as one:
            await one.settle("b-c", "a")
            await one.settle("c", "a-b")
            assert ready(api, "b-c", "a") == ("True", "Napping")
            assert ready(api, "c", "a-b") == ("False", "NameCollision")
            assert "a/b-c" in conditions(api, "c", "a-b")["Ready"]["message"]
            assert api.get("deployments", "a-b", "c") is None
            api.remove("asyncactors", "a", "b-c")
            await one.settle("c", "a-b")
            assert ready(api, "c", "a-b") == ("True", "Napping")

    with_api(body)


def test_new_workload_waits_for_its_queue_and_an_old_one_is_updated_without(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        queues = MemoryQueues()
        queues.down = True
        api.put("asyncactors", actor())
        async with bench(api, tmp_path, queues=queues) as one:
            result = await one.step()
            assert result.failed is not None
            assert ready(api) == ("False", "BrokerUnreachable")
            assert api.get("deployments", "demo", "ocr") is None
            queues.down = False
            await one.settle()
            queues.down = True
            api.put("asyncactors", actor(timeout="10m"))
            await one.step()
            assert api.get("deployments", "demo", "ocr")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 630
            one.clock.advance(5)
            await one.step()
            assert ready(api) == ("False", "BrokerUnreachable")

    with_api(body)


def test_queue_of_another_kind_is_told_and_left(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        queues = MemoryQueues()
        queues.types["asya-demo-ocr"] = "classic"
        api.put("asyncactors", actor())
        async with bench(api, tmp_path, queues=queues) as one:
            await one.settle()
        assert ready(api) == ("False", "QueueMismatch")
        assert conditions(api)["QueueReady"]["message"] == "x-queue-type is classic, wanted quorum; left as it is"
        assert api.get("deployments", "demo", "ocr") is not None

    with_api(body)


def test_transport_that_is_not_enabled_is_refused(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor(transport="sqs"))
        async with bench(api, tmp_path) as one:
            await one.settle()
        assert ready(api) == ("False", "TransportDisabled")
        assert api.get("deployments", "demo", "ocr") is None

    with_api(body)


def test_unset_transport_stays_what_it_was(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor())
        async with bench(api, tmp_path) as one:
            await one.settle()
            queues, clock = one.queues, one.clock
        both = {"default": "sqs", "rabbitmq": {"host": "r"}, "sqs": {"enabled": True, "region": "x"}}
        async with bench(api, tmp_path, queues=queues, clock=clock, chosen=settings(transports=both)) as one:
            await one.settle()
        assert api.get("asyncactors", "demo", "ocr")["status"]["queue"]["transport"] == "rabbitmq"
        assert ready(api)[0] == "True"

    with_api(body)


def test_without_keda_a_fixed_pod_runs_and_with_it_scaling_begins(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.missing = {"scaledobjects", "triggerauthentications"}
        api.put("asyncactors", actor())
        async with bench(api, tmp_path) as one:
            await one.settle()
            assert api.get("deployments", "demo", "ocr")["spec"]["replicas"] == 1
            assert ready(api) == ("False", "KedaMissing")
            api.missing = set()
            await one.settle()
        assert api.get("scaledobjects", "demo", "ocr") is not None
        assert ready(api) == ("True", "Running")
        assert "Drift" not in events(api)

    with_api(body)


def test_scaling_switched_off_removes_kedas_objects(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor())
        async with bench(api, tmp_path) as one:
            await one.settle()
            api.put("asyncactors", actor(scaling={"enabled": False}, workload={**spec()["workload"], "replicas": 2}))
            await one.settle()
        assert not api.objects["scaledobjects"]
        assert not api.objects["triggerauthentications"]
        assert api.get("deployments", "demo", "ocr")["spec"]["replicas"] == 2

    with_api(body)


@pytest.mark.parametrize(
    ("plural", "status", "message", "kind", "reason"),
    [
        ("deployments", 403, "exceeded quota", "WorkloadReady", "PodsRefused"),
        ("deployments", 422, "spec.template.spec.containers[0].image: Required value", "WorkloadReady", "PodTemplateRefused"),
        ("scaledobjects", 400, 'admission webhook "vscaledobject" denied the request', "ScalingReady", "ScalingRefused"),
        ("scaledobjects", 500, 'failed calling webhook "vscaledobject"', "ScalingReady", "KedaMissing"),
    ],
)
def test_refusal_of_a_child_is_told_in_the_api_servers_words(with_api, tmp_path, plural, status, message, kind, reason):
    async def body(api: FakeApi) -> None:
        async def refuse(call: Call) -> None:
            if call.plural == plural and call.verb == "patch":
                raise Answer(status, message)

        api.hook = refuse
        api.put("asyncactors", actor())
        async with bench(api, tmp_path) as one:
            await one.step()
            one.clock.advance(5)
            result = await one.step()
            assert result.failed
        found = conditions(api)[kind]
        assert found["reason"] == reason
        assert message in found["message"]

    with_api(body)


def test_ending_namespace_gets_nothing(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        async def refuse(call: Call) -> None:
            if call.verb == "patch" and not call.subresource:
                raise Answer(403, "because it is being terminated", "Forbidden", causes=[{"reason": "NamespaceTerminating"}])

        api.hook = refuse
        api.put("asyncactors", actor())
        async with bench(api, tmp_path) as one:
            with pytest.raises(ApiError):
                await one.step()
        assert not api.objects["deployments"]

    with_api(body)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_answers_that_pass_are_errors_to_try_again(with_api, tmp_path, status):
    async def body(api: FakeApi) -> None:
        async def refuse(call: Call) -> None:
            if call.plural == "deployments" and call.verb == "patch":
                api.hook = None
                raise Answer(status, "busy", headers={"Retry-After": "1"})

        api.hook = refuse
        api.put("asyncactors", actor())
        async with bench(api, tmp_path) as one:
            with pytest.raises(ApiUnavailable) as caught:
                await one.step()
            assert caught.value.retry_after_seconds == 1.0
            await one.settle()
        assert ready(api) == ("True", "Napping")

    with_api(body)


# ----------------------------------------------------------------------------------------------------------------------------- deletion


def _ending(policy: str, **more: Any) -> Json:
    return actor(queue={"deletionPolicy": policy}, **more)


def test_retained_queue_needs_no_finalizer(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor())
        async with bench(api, tmp_path) as one:
            await one.settle()
            assert not api.get("asyncactors", "demo", "ocr")["metadata"].get("finalizers")
            api.remove("asyncactors", "demo", "ocr")
            await one.settle()
            assert "asya-demo-ocr" in one.queues.held

    with_api(body)


@pytest.mark.parametrize("policy", ["DeleteIfEmpty", "Delete"])
def test_empty_queue_goes_after_the_workload(with_api, tmp_path, policy):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", _ending(policy))
        async with bench(api, tmp_path) as one:
            await one.settle()
            assert api.get("asyncactors", "demo", "ocr")["metadata"]["finalizers"] == ["asya.sh/queue"]
            api.remove("asyncactors", "demo", "ocr")
            await one.settle()
            assert api.get("asyncactors", "demo", "ocr") is None
            assert not one.queues.held
            assert "QueueDeleted" in events(api)
        assert not api.objects["deployments"]

    with_api(body)


def test_queue_with_messages_is_kept_until_it_is_empty(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", _ending("DeleteIfEmpty"))
        async with bench(api, tmp_path) as one:
            await one.settle()
            one.queues.held["asya-demo-ocr"] = Depth(waiting=3, in_flight=0)
            api.remove("asyncactors", "demo", "ocr")
            await one.step()
            result = await one.step()
            assert result.failed
            assert ready(api) == ("False", "QueueKept")
            assert "QueueKept" in events(api)
            one.queues.held["asya-demo-ocr"] = Depth(waiting=0, in_flight=0)
            await one.settle()
        assert api.get("asyncactors", "demo", "ocr") is None

    with_api(body)


def test_delete_takes_the_messages_too(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", _ending("Delete"))
        async with bench(api, tmp_path) as one:
            await one.settle()
            one.queues.held["asya-demo-ocr"] = Depth(waiting=3, in_flight=0)
            api.remove("asyncactors", "demo", "ocr")
            await one.settle()
            assert not one.queues.held

    with_api(body)


def test_annotation_leaves_a_queue_behind_that_cannot_be_deleted(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", _ending("Delete"))
        async with bench(api, tmp_path) as one:
            await one.settle()
            one.queues.down = True
            api.remove("asyncactors", "demo", "ocr")
            await one.step()
            result = await one.step()
            assert result.failed
            api.edit("asyncactors", "demo", "ocr", lambda found: found["metadata"].update(annotations={"asya.sh/abandon-queue": "true"}))
            await one.settle()
        assert api.get("asyncactors", "demo", "ocr") is None

    with_api(body)


def test_queue_waits_for_the_pods_to_be_gone(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", _ending("Delete"))
        async with bench(api, tmp_path) as one:
            await one.settle()
            api.put("pods", {"metadata": {"name": "ocr-1", "labels": {"asya.sh/actor": "ocr"}}, "spec": {}})
            api.remove("asyncactors", "demo", "ocr")
            for _ in range(3):
                await one.step()
            assert one.queues.held
            api.remove("pods", "demo", "ocr-1")
            await one.settle()
            assert not one.queues.held

    with_api(body)


def test_policy_changed_to_retain_takes_the_finalizer_away(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", _ending("Delete"))
        async with bench(api, tmp_path) as one:
            await one.settle()
            api.put("asyncactors", actor())
            await one.settle()
        assert not api.get("asyncactors", "demo", "ocr")["metadata"].get("finalizers")

    with_api(body)


# ------------------------------------------------------------------------------------------------------------------------------ upgrades


@pytest.mark.behaviour("operator:new-sidecar")
def test_new_sidecar_restarts_few_awake_actors_at_a_time_and_sleeping_ones_at_once(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        names = ["a", "b", "c", "asleep"]
        for name in names:
            api.put("asyncactors", actor(name, scaling={"minReplicas": 0 if name == "asleep" else 1}))
        async with bench(api, tmp_path) as one:
            for name in names:
                await one.settle(name)
            queues, clock = one.queues, one.clock
        # From here on no workload becomes Available by itself.
        api.listeners.clear()
        newer = settings(sidecar={"image": "asya/sidecar:0.2.0"}, rollout={"maxConcurrent": 1})
        async with bench(api, tmp_path, queues=queues, clock=clock, chosen=newer) as one:
            for name in names:
                await one.step(name)

            def new() -> set[str]:
                return {
                    name
                    for name in names
                    if api.get("deployments", "demo", name)["spec"]["template"]["spec"]["initContainers"][-1]["image"].endswith("0.2.0")
                }

            assert new() == {"a", "asleep"}
            clock.advance(60)
            assert (await one.step("b")).again_seconds is not None
            assert new() == {"a", "asleep"}

            def available(found: Json) -> None:
                found["status"] |= {"observedGeneration": found["metadata"]["generation"]}

            api.edit("deployments", "demo", "a", available)
            await one.step("b")
            assert new() == {"a", "b", "asleep"}
            api.put("asyncactors", actor("c", scaling={"minReplicas": 1}, timeout="10m"))
            await one.step("c")
            assert new() == set(names)

    with_api(body)
