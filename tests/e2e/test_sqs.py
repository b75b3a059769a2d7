"""The quick start's manifest on SQS, as it is printed, and an actor that follows its queue there from no pod to several and back.

Queues are those of moto's server on this machine, results and large payloads are in its S3. A recorder on the cluster's bridge stands
before it: pods reach it, and it tells who called what.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import boto3
import pytest
import yaml

from asya_core.objects import S3Access, open_store, parse_location
from asya_core.transports.base import Depth
from asya_core.transports.sqs import SqsAdmin
from asya_core.transports.sqs.client import connect
from tests.e2e.broker import Broker
from tests.e2e.conftest import OPERATOR_VALUES, SYSTEM, install_operator
from tests.e2e.helm import Helm
from tests.e2e.kube import Kube
from tests.e2e.prometheus import ON_SQS, Prometheus, operator_monitors
from tests.e2e.stage import QUICK, RECORDING, STAGE_VOLUME, Stage
from tests.e2e.waiting import eventually
from tests.monitoring import dashboards, queries, used
from tests.sqs_servers import KEYS, REGION, Recorder, endpoint, new_namespace, settings

pytestmark = [pytest.mark.timeout(900), pytest.mark.alone]

BRIDGE = "10.244.0.1"
BUCKET = "e2e-" + new_namespace()
QUICKSTART = Path(__file__).parents[1] / "contract" / "quickstart" / "text-processor.yaml"
SECRET = {"metadata": {"name": "asya-sqs"}, "stringData": KEYS}
PROMPT = {"pollingInterval": 1, "cooldownPeriod": 5}


class Aws:
    """SQS and S3 as a caller of Asya sees them: publish an envelope, read what the end actors stored."""

    def __init__(self, where: str) -> None:
        self.admin = SqsAdmin(settings(where))
        self._api = connect(settings(where))
        self._store = open_store(parse_location(f"s3://{BUCKET}"), S3Access(region=REGION, endpoint=where, path_style=True))

    def publish(self, queue: str, envelopes: list[dict[str, Any]]) -> None:
        """As `Broker.publish`."""
        for envelope in envelopes:
            self._api.call("send_message", QueueUrl=self.admin.url(queue), MessageBody=json.dumps(envelope))

    def stored(self, kind: str) -> set[str]:
        """Ids of the envelopes that an end actor stored."""
        return {each.key.partition("/")[2].removesuffix(".json") for each in self._store.list(f"{kind}/")}

    def record(self, envelope_id: str) -> dict[str, Any]:
        """What happy-end stored."""
        return dict(json.loads(self._store.get(f"results/{envelope_id}.json")))

    def claims(self) -> int:
        """How many large payloads were stored."""
        return len(self._store.list("claims/"))

    def close(self) -> None:
        self.admin.close()
        self._api.close()
        self._store.close()


@pytest.fixture
def server(kube: Kube, helms: dict[str, Helm], operator: str) -> Iterator[Recorder]:
    """The recorder, with the operator told of it; afterwards the operator is as it was."""
    made = Recorder(endpoint("moto"), host=BRIDGE)
    kube.core.create_namespaced_secret(SYSTEM, SECRET)
    sqs = {"enabled": True, "region": REGION, "endpoint": made.endpoint, "auth": "secret", "tags": {"team": "e2e"}}
    try:
        claims = {"url": f"s3://{BUCKET}/claims", "region": REGION, "endpoint": made.endpoint}
        install_operator(kube, helms["helm4"], transports={**OPERATOR_VALUES["transports"], "sqs": sqs}, claims=claims)
        yield made
    finally:
        install_operator(kube, helms["helm4"])
        kube.core.delete_namespaced_secret("asya-sqs", SYSTEM)
        made.close()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    where = endpoint("moto")
    with closing(boto3.session.Session().client("s3", endpoint_url=where, region_name=REGION)) as client:
        client.create_bucket(Bucket=BUCKET)
    made = Aws(where)
    yield made
    made.close()


@pytest.mark.behaviour("operator:sqs")
@pytest.mark.behaviour("metrics:scraped")
@pytest.mark.behaviour("metrics:dashboards")
def test_quick_starts_manifest_works_on_sqs_and_an_actor_follows_its_queue_there(
    server: Recorder, aws: Aws, stages: Callable[..., Stage], operator: str, tmp_path: Path
) -> None:
    stage = dataclasses.replace(stages(), broker=cast(Broker, aws))
    stage.kube.core.create_namespaced_secret(stage.namespace, SECRET)
    end = {"resources": QUICK["resources"], "scaling": {"minReplicas": 1}, "transport": "sqs"}
    s3 = {"bucket": BUCKET, "region": REGION, "endpoint": server.endpoint, "pathStyle": True, "secretName": "asya-sqs"}
    stage.install_crew(storage={"s3": s3}, happyEnd=end, errorEnd=end)

    stage.kube.apply_actor(stage.namespace, yaml.safe_load(QUICKSTART.read_text()))
    stage.install_source(
        "work", "work.process", RECORDING, transport="sqs", scaling={**PROMPT, "maxReplicas": 3, "queueLength": 2}, **STAGE_VOLUME
    )
    for name in ("text-processor", "work"):
        stage.await_condition(name, "Ready", "True", "Napping")
        assert stage.kube.wanted(stage.namespace, name) == 0

    small, large = {"text": "hello world", "request_id": "123"}, {"text": "large " * 100_000}
    first, second = stage.publish("text-processor", small, large)
    ids = stage.publish("work", *({"n": n, "until": "three"} for n in range(12)))
    stage.await_pods("work", 3)
    stage.let_go("three")
    eventually("all results are stored", lambda: aws.stored("results") >= {first, second, *ids})
    assert (aws.stored("results"), aws.stored("errors")) == ({first, second, *ids}, set())
    assert aws.record(first)["payload"] == {**small, "processed": "HELLO WORLD", "length": 11}
    assert aws.record(second)["payload"] == {**large, "processed": large["text"].upper(), "length": 600_000}
    assert aws.claims() == 1, "the result, twice as large as a message may be, went to happy-end by reference"
    assert stage.run_counts() == {str(n): 1 for n in range(12)}

    with scraping(stage, operator, tmp_path) as prometheus:
        eventually("what only sidecars on SQS count is there", lambda: prometheus.names() >= ON_SQS)
        asked = [query for found in dashboards().values() for _, query in queries(found) if used(query) & ON_SQS]
        assert asked
        assert [query for query in asked if not prometheus.has_answer(query)] == []

    # Five idle minutes are the default.
    stage.kube.change_actor(stage.namespace, "text-processor", {"spec": {"scaling": PROMPT}})
    for name in ("text-processor", "work"):
        stage.await_pods(name, 0)
        stage.await_condition(name, "Ready", "True", "Napping")
        eventually(f"the queue of {name} is empty", partial(_is_empty, aws, stage.queue(name)))
        assert aws.admin.owner(stage.queue(name)) == f"{stage.namespace}/{name}"
    # It still calls, and a call's agent comes a moment after its name.
    by_keda = {call for agent, call in zip(tuple(server.agents), server.calls, strict=False) if "aws-sdk-go" in agent}
    assert by_keda == {"sqs:GetQueueAttributes"}, "docs/how-to/run-on-aws.md says what KEDA calls"


@contextmanager
def scraping(stage: Stage, operator: str, folder: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the operator and this namespace's actors."""
    made = Prometheus(folder, stage.kube, monitors=operator_monitors(operator, stage.namespace), rules=[])
    try:
        made.start()
        yield made
    finally:
        print(made.stop())


def _is_empty(aws: Aws, queue: str) -> bool:
    return aws.admin.depth(queue) == Depth(0, 0)
