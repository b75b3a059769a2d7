"""An actor on SQS over the fake API: the queue's address, corrections, owners by tag, SQS's minute, what the conditions say."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from python.operator.tests.bench import bench
from python.operator.tests.fake_api import FakeApi
from python.operator.tests.test_reconcile import conditions, events, ready
from python.operator.tests.twins import MemoryQueues, actor, settings

from asya_core.wire.errors import Refused, Unavailable

pytestmark = pytest.mark.unmeasured

QUICKSTART = Path(__file__).parents[3] / "tests" / "contract" / "quickstart"
ADDRESS = "https://sqs.eu-central-1.amazonaws.com/1/"
SQS = settings(transports={"default": "sqs", "rabbitmq": {"enabled": False}, "sqs": {"enabled": True, "region": "eu-central-1"}})


def sqs_queues() -> MemoryQueues:
    queues = MemoryQueues()
    queues.address = ADDRESS
    return queues


def trigger(api: FakeApi) -> dict[str, Any]:
    found: dict[str, Any] = api.get("scaledobjects", "demo", "ocr")["spec"]["triggers"][0]["metadata"]
    return found


def test_scaler_and_status_get_the_queues_address(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor(transport="sqs"))
        async with bench(api, tmp_path, queues=sqs_queues(), chosen=SQS) as one:
            await one.settle()
        assert ready(api) == ("True", "Napping")
        assert trigger(api)["queueURL"] == f"{ADDRESS}asya-demo-ocr"
        assert api.get("asyncactors", "demo", "ocr")["status"]["queue"] == {
            "name": "asya-demo-ocr",
            "transport": "sqs",
            "waiting": 0,
            "inFlight": 0,
            "url": f"{ADDRESS}asya-demo-ocr",
        }

    with_api(body)


def test_broker_away_at_a_restart_changes_nothing_but_the_condition(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor(transport="sqs"))
        queues = sqs_queues()
        async with bench(api, tmp_path, queues=queues, chosen=SQS) as one:
            await one.settle()
            clock, before = one.clock, len(api.writes())
        queues.down = True
        async with bench(api, tmp_path, queues=queues, chosen=SQS, clock=clock) as one:
            await one.settle()
        assert ready(api) == ("False", "BrokerUnreachable")
        assert trigger(api)["queueURL"] == f"{ADDRESS}asya-demo-ocr"
        written = {call.plural for call in api.writes()[before:]}
        assert written <= {"asyncactors", "events"}

    with_api(body)


def test_correction_in_place_is_told_by_an_event(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor(transport="sqs"))
        queues = sqs_queues()
        queues.changed = "VisibilityTimeout is 30, wanted 120"
        async with bench(api, tmp_path, queues=queues, chosen=SQS) as one:
            await one.settle()
        assert "QueueChanged" in events(api)
        assert ready(api) == ("True", "Napping")

    with_api(body)


def test_queue_with_anothers_tag_is_a_collision_until_the_tag_is_corrected(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor(transport="sqs"))
        queues = sqs_queues()
        queues.owners["asya-demo-ocr"] = "other/ocr"
        async with bench(api, tmp_path, queues=queues, chosen=SQS) as one:
            await one.settle()
            assert ready(api) == ("False", "NameCollision")
            assert conditions(api)["QueueReady"]["message"] == "Queue asya-demo-ocr belongs to AsyncActor other/ocr; rename this actor"
            assert conditions(api)["Stalled"]["status"] == "True"
            assert api.get("deployments", "demo", "ocr") is None
            queues.owners.clear()
            await one.settle()
        assert ready(api) == ("True", "Napping")

    with_api(body)


@pytest.mark.parametrize(
    ("trouble", "reason", "message"),
    [
        (
            Unavailable("queue_deleted_recently", "SQS in eu-central-1: create_queue asya-demo-ocr: …"),
            "QueueDeletedRecently",
            "Queue asya-demo-ocr was deleted less than a minute ago; SQS takes its name again after that",
        ),
        (
            Refused("no_credentials", "SQS in eu-central-1: no credentials", "give the service account a role"),
            "QueueRefused",
            "SQS in eu-central-1: no credentials; give the service account a role",
        ),
        (Refused("broker_refused", "SQS in eu-central-1: AccessDenied"), "QueueRefused", "SQS in eu-central-1: AccessDenied"),
        (
            Refused("name_collision", "Queue asya-demo-error-end belongs to a/b"),
            "NameCollision",
            "Queue asya-demo-error-end belongs to a/b",
        ),
        (
            Unavailable("broker_unavailable", "SQS in eu-centrl-1: could not connect"),
            "BrokerUnreachable",
            "SQS in eu-centrl-1: could not connect; running pods are not affected",
        ),
    ],
)
def test_trouble_has_its_reason_and_goes_with_its_cause(with_api, tmp_path, trouble, reason, message):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor(transport="sqs"))
        queues = sqs_queues()
        queues.trouble = trouble
        async with bench(api, tmp_path, queues=queues, chosen=SQS) as one:
            await one.settle()
            found = conditions(api)["QueueReady"]
            assert (found["status"], found["reason"], found["message"]) == ("False", reason, message)
            assert api.get("deployments", "demo", "ocr") is None
            queues.trouble = None
            await one.settle()
        assert ready(api) == ("True", "Napping")

    with_api(body)


def test_actor_waits_without_a_word_while_its_queue_only_seems_empty(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        queues = sqs_queues()
        api.put("asyncactors", actor(transport="sqs", queue={"deletionPolicy": "DeleteIfEmpty"}))
        async with bench(api, tmp_path, queues=queues, chosen=SQS) as one:
            await one.settle()
            queues.trouble = Unavailable("queue_settling", "seems empty", retry_after_seconds=15.0)
            api.remove("asyncactors", "demo", "ocr")
            await one.step()
            result = await one.step()
            assert (result.again_seconds, result.failed) == (15.0, None)
            assert "QueueKept" not in events(api)
            queues.trouble = None
            await one.settle()
        assert api.get("asyncactors", "demo", "ocr") is None
        assert "QueueDeleted" in events(api)

    with_api(body)


@pytest.mark.parametrize("policy", ["DeleteIfEmpty", "Delete"])
def test_deleted_actor_leaves_anothers_queue_behind(with_api, tmp_path, policy):
    async def body(api: FakeApi) -> None:
        queues = sqs_queues()
        api.put("asyncactors", actor(transport="sqs", queue={"deletionPolicy": policy}))
        async with bench(api, tmp_path, queues=queues, chosen=SQS) as one:
            await one.settle()
            queues.trouble = Refused("name_collision", "Queue asya-demo-ocr belongs to AsyncActor other/ocr")
            api.remove("asyncactors", "demo", "ocr")
            await one.settle()
        assert api.get("asyncactors", "demo", "ocr") is None
        assert "QueueKept" in events(api)
        assert "asya-demo-ocr" in queues.held

    with_api(body)


def test_timeout_beyond_what_sqs_allows_is_refused_for_the_default_transport_too(with_api, tmp_path):
    async def body(api: FakeApi) -> None:
        api.put("asyncactors", actor(timeout="12h"))
        async with bench(api, tmp_path, queues=sqs_queues(), chosen=SQS) as one:
            await one.settle()
            assert ready(api) == ("False", "SpecInvalid")
            assert conditions(api)["Ready"]["message"].startswith("spec.timeout 12h is above 11h; on sqs ")
            api.put("asyncactors", actor(timeout="11h"))
            await one.settle()
        assert ready(api) == ("True", "Napping")

    with_api(body)


@pytest.mark.parametrize("file", ["text-processor", "image-classifier", "llm-inference", "routers"])
def test_manifests_of_the_quick_start_come_to_rest_on_sqs(with_api, tmp_path, file):
    async def body(api: FakeApi) -> None:
        manifests = [each for each in yaml.safe_load_all((QUICKSTART / f"{file}.yaml").read_text()) if each]
        queues = sqs_queues()
        async with bench(api, tmp_path, queues=queues, chosen=SQS) as one:
            for manifest in manifests:
                manifest["metadata"]["namespace"] = "demo"
                api.put("asyncactors", manifest)
                name = manifest["metadata"]["name"]
                await one.settle(name)
                assert ready(api, name) == ("True", "Napping")
                assert api.get("deployments", "demo", name)["spec"]["replicas"] == 0
                scaled = api.get("scaledobjects", "demo", name)["spec"]
                assert scaled["triggers"][0]["type"] == "aws-sqs-queue"
                assert scaled["triggers"][0]["metadata"]["queueURL"] == f"{ADDRESS}asya-demo-{name}"
        assert manifests

    with_api(body)
