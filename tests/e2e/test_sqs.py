"""The quick start's manifest on SQS, as it is printed, and an actor that follows its queue there from no pod to several and back.

Queues are those of moto's server on this machine. A recorder on the cluster's bridge stands before it: pods reach it, and it tells who
called what.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from asya_core.transports.base import Depth
from asya_core.transports.sqs import SqsAdmin
from asya_core.transports.sqs.attributes import OWNER_TAG
from asya_core.transports.sqs.client import connect
from tests.e2e.broker import Broker
from tests.e2e.conftest import OPERATOR_VALUES, SYSTEM, install_operator
from tests.e2e.helm import Helm
from tests.e2e.kube import Kube
from tests.e2e.stage import QUICK, RECORDING, STAGE_VOLUME, Stage
from tests.e2e.waiting import eventually
from tests.sqs_servers import KEYS, REGION, Recorder, endpoint, settings

pytestmark = [pytest.mark.timeout(900), pytest.mark.alone]

BRIDGE = "10.244.0.1"
QUICKSTART = Path(__file__).parents[1] / "contract" / "quickstart" / "text-processor.yaml"
SECRET = {"metadata": {"name": "asya-sqs"}, "stringData": KEYS}
PROMPT = {"pollingInterval": 1, "cooldownPeriod": 5}


class SqsSender:
    """`Broker.publish` for queues on SQS."""

    def __init__(self, where: str) -> None:
        self.admin = SqsAdmin(settings(where))
        self._api = connect(settings(where))

    def publish(self, queue: str, envelopes: list[dict[str, Any]]) -> None:
        for envelope in envelopes:
            self._api.call("send_message", QueueUrl=self.admin.url(queue), MessageBody=json.dumps(envelope))

    def close(self) -> None:
        self.admin.close()
        self._api.close()


@pytest.fixture
def server(kube: Kube, helms: dict[str, Helm], operator: str) -> Iterator[Recorder]:
    """The recorder, with the operator told of it; afterwards the operator is as it was."""
    made = Recorder(endpoint("moto"), host=BRIDGE)
    kube.core.create_namespaced_secret(SYSTEM, SECRET)
    sqs = {"enabled": True, "region": REGION, "endpoint": made.endpoint, "auth": "secret", "tags": {"team": "e2e"}}
    try:
        install_operator(kube, helms["helm4"], transports={**OPERATOR_VALUES["transports"], "sqs": sqs})
        yield made
    finally:
        install_operator(kube, helms["helm4"])
        kube.core.delete_namespaced_secret("asya-sqs", SYSTEM)
        made.close()


@pytest.fixture
def sender() -> Iterator[SqsSender]:
    made = SqsSender(endpoint("moto"))
    yield made
    made.close()


@pytest.mark.behaviour("operator:sqs")
def test_quick_starts_manifest_works_on_sqs_and_an_actor_follows_its_queue_there(
    server: Recorder, sender: SqsSender, stages: Callable[..., Stage]
) -> None:
    stage = dataclasses.replace(stages(), broker=cast(Broker, sender))
    stage.kube.core.create_namespaced_secret(stage.namespace, SECRET)
    end = {"resources": QUICK["resources"], "scaling": {"minReplicas": 1}, "transport": "sqs"}
    stage.install_crew(happyEnd=end, errorEnd=end)

    stage.kube.apply_actor(stage.namespace, yaml.safe_load(QUICKSTART.read_text()))
    stage.install_source(
        "work", "work.process", RECORDING, transport="sqs", scaling={**PROMPT, "maxReplicas": 3, "queueLength": 2}, **STAGE_VOLUME
    )
    for name in ("text-processor", "work"):
        stage.await_condition(name, "Ready", "True", "Napping")
        assert stage.kube.wanted(stage.namespace, name) == 0

    (first,) = stage.publish("text-processor", {"text": "hello world", "request_id": "123"})
    ids = stage.publish("work", *({"n": n, "until": "three"} for n in range(12)))
    stage.await_pods("work", 3)
    stage.let_go("three")
    assert stage.result(first)["payload"] == {"text": "hello world", "request_id": "123", "processed": "HELLO WORLD", "length": 11}
    eventually("all results are stored", lambda: stage.stored("results") >= {first, *ids})
    assert (stage.stored("results"), stage.stored("errors")) == ({first, *ids}, set())
    assert stage.run_counts() == {str(n): 1 for n in range(12)}

    # Five idle minutes are the default.
    stage.kube.change_actor(stage.namespace, "text-processor", {"spec": {"scaling": PROMPT}})
    for name in ("text-processor", "work"):
        stage.await_pods(name, 0)
        stage.await_condition(name, "Ready", "True", "Napping")
        assert sender.admin.depth(stage.queue(name)) == Depth(0, 0)
        assert sender.admin.owner(stage.queue(name)) == f"{stage.namespace}/{name}"
    assert OWNER_TAG == "asya.sh/owner"
    by_keda = {call for call, agent in zip(server.calls, server.agents, strict=True) if "aws-sdk-go" in agent}
    assert by_keda == {"sqs:GetQueueAttributes"}, "docs/how-to/run-on-aws.md says what KEDA calls"
