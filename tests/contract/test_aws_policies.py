"""The policies of docs/how-to/run-on-aws.md against the calls that the parts make: nothing is missing, nothing is granted in vain.

Each part does all that it can do, through a recorder that refuses what the part's policy does not allow. Servers do not check policies;
KEDA's calls are recorded by the story on the cluster (tests/e2e/test_sqs.py).
"""

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from asya_core.objects import S3Access, open_store, parse_location
from asya_core.testing.peer import Peer, eventually
from asya_core.transports.base import PublishOutcome, SettledOutcome
from asya_core.transports.sqs import SqsAdmin, SqsTransport
from asya_core.transports.sqs.attributes import OWNER_TAG
from asya_core.transports.sqs.client import connect
from asya_core.wire.errors import Unavailable
from asya_crew.record import Kind
from asya_crew.storing import store
from asya_gateway.app import make_claims, make_records, make_transport
from asya_gateway.settings import read_gateway_settings
from asya_operator.sqs_queues import SqsQueues
from tests.sqs_servers import KEYS, REGION, Recorder, Refusal, endpoint, new_namespace, recorder, settings

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-on-aws.md"
NOT_CALLED = {"s3:ListBucket": "no call: with it S3 answers 404 for a missing object, without it 403"}
Pairs = list[tuple[str, str]]


def policy(heading: str) -> Pairs:
    """Actions and resources that a section's policy allows."""
    section = re.split(r"(?m)^## ", PAGE.read_text(encoding="utf-8"))
    text = next(each for each in section if each.startswith(f"{heading}\n"))
    found = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert found is not None, heading
    document = json.loads(found[1])
    assert document["Version"] == "2012-10-17"
    pairs: Pairs = []
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow"
        actions, resources = (statement[key] if isinstance(statement[key], list) else [statement[key]] for key in ("Action", "Resource"))
        pairs += [(action, resource) for action in actions for resource in resources]
    return pairs


class Bed:
    """A namespace with queues and buckets, made as an administrator would, and a recorder that enforces a policy."""

    def __init__(self, server: Recorder) -> None:
        self.server = server
        self.namespace = new_namespace()
        self.claims, self.results = f"c-{self.namespace}", f"r-{self.namespace}"
        self.admin = SqsAdmin(settings(endpoint("moto")))
        self.admin.ensure_namespace(self.namespace, ["ocr", "next"])
        import boto3

        self.s3 = boto3.session.Session().client("s3", endpoint_url=endpoint("moto"), region_name=REGION)
        for bucket in (self.claims, self.results):
            self.s3.create_bucket(Bucket=bucket)

    def enforce(self, heading: str) -> Pairs:
        allowed = [(action, self.real(resource)) for action, resource in policy(heading)]

        def refuse(action: str, resource: str) -> None:
            if not any(action == each and fnmatchcase(resource, pattern) for each, pattern in allowed):
                raise Refusal("AccessDeniedException", 403, f"{action} on {resource}")

        self.server.calls.clear()
        self.server.resources.clear()
        self.server.refuse = refuse
        return allowed

    def real(self, resource: str) -> str:
        for name, value in (("asya-demo", f"asya-{self.namespace}"), ("my-claims", self.claims), ("my-results", self.results)):
            resource = resource.replace(name, value)
        return resource

    def check(self, allowed: Pairs) -> None:
        """Every action that is granted was used, each on something that it is granted for."""
        calls = set(zip(self.server.calls, self.server.resources, strict=True))
        unused = {
            f"{action} on {pattern}"
            for action, pattern in allowed
            if action not in NOT_CALLED and not any(action == each and fnmatchcase(resource, pattern) for each, resource in calls)
        }
        assert not unused

    def queue(self, actor: str) -> str:
        return f"asya-{self.namespace}-{actor}"

    def admin_count(self, queue: str) -> int:
        depth = self.admin.depth(queue)
        return depth.ready + depth.unsettled

    def store(self, bucket: str) -> Any:
        return open_store(parse_location(f"s3://{bucket}"), S3Access(region=REGION, endpoint=self.server.endpoint, path_style=True))

    def close(self) -> None:
        for actor in ("error-end", "happy-end", "ocr", "next", "new"):
            self.admin.delete(self.queue(actor))
        self.admin.delete(f"asya-{self.namespace}_dlq")
        for bucket in (self.claims, self.results):
            for each in self.s3.list_objects_v2(Bucket=bucket).get("Contents", ()):
                self.s3.delete_object(Bucket=bucket, Key=each["Key"])
            self.s3.delete_bucket(Bucket=bucket)
        self.admin.close()
        self.s3.close()


@pytest.fixture
def bed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bed]:
    for name, value in {**KEYS, "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    with recorder() as server:
        made = Bed(server)
        yield made
        made.close()


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(60):
            await body()

    asyncio.run(whole())


@pytest.mark.behaviour("aws:least-rights")
def test_operator_needs_its_policy_and_no_more(bed: Bed) -> None:
    namespace, ocr = bed.namespace, bed.queue("ocr")
    api = connect(settings(endpoint("moto")))
    api.call("set_queue_attributes", QueueUrl=bed.admin.url(ocr), Attributes={"VisibilityTimeout": "30"})
    api.call("untag_queue", QueueUrl=bed.admin.url(ocr), TagKeys=[OWNER_TAG])
    api.close()
    allowed = bed.enforce("The operator")

    async def body() -> None:
        queues = SqsQueues(settings(bed.server.endpoint), tags={"team": "ml"}, counts_lag_seconds=0)
        assert (await queues.ensure(namespace, "ocr", None)).changed
        await queues.ensure(namespace, "new", None)
        assert set(await queues.depths(namespace, [ocr, bed.queue("absent")])) == {ocr}
        assert await queues.delete_if_empty(bed.queue("new"), owner=f"{namespace}/new")
        await queues.delete(bed.queue("next"), owner=f"{namespace}/next")
        await queues.close()

    run(body)
    bed.check(allowed)


async def _work(bed: Bed, actor: str, targets: dict[str, PublishOutcome]) -> None:
    """What a sidecar does with its queue: consume, ack, give back, retry, give up; and publish to `targets`."""
    queue = bed.queue(actor)
    peer = await Peer(SqsTransport(settings(bed.server.endpoint, wait_seconds=1), probe_queue=queue)).open()
    for name, outcome in targets.items():
        assert await peer.publish(name, b"x") == [outcome], name
    sender = connect(settings(endpoint("moto")))  # somebody else, who may
    for text in ("ack", "requeue", "retry", "reject"):
        sender.call("send_message", QueueUrl=bed.admin.url(queue), MessageBody=text)
    sender.close()
    peer.transport.subscribe(queue, 4)
    held = {each.body: each for each in await peer.take(4)}
    assert await peer.reject(held[b"reject"]) is SettledOutcome.OK
    assert await peer.retry(held[b"retry"], 0.1) is SettledOutcome.OK
    peer.transport.requeue(held[b"requeue"].receipt)
    peer.transport.ack(held[b"ack"].receipt)
    for each in await peer.take(2):
        peer.transport.ack(each.receipt)
    await eventually(lambda: bed.admin_count(queue), 0)
    await peer.close()


@pytest.mark.behaviour("aws:least-rights")
def test_actor_needs_its_policy_and_no_more(bed: Bed) -> None:
    allowed = bed.enforce("An actor")

    async def body() -> None:
        await _work(bed, "ocr", {bed.queue("next"): PublishOutcome.CONFIRMED, bed.queue("absent"): PublishOutcome.RETURNED})
        claims = bed.store(bed.claims)
        assert claims.put_if_absent("e1/0-0123456789abcdef", b"{}")
        assert not claims.put_if_absent("e1/0-0123456789abcdef", b"{}")
        assert claims.get("e1/0-0123456789abcdef") == b"{}"
        claims.close()

    run(body)
    bed.check(allowed)


@pytest.mark.behaviour("aws:least-rights")
def test_end_actors_need_their_policy_and_no_more(bed: Bed) -> None:
    bed.s3.put_object(Bucket=bed.claims, Key="e1/0-0123456789abcdef", Body=b"{}")
    allowed = bed.enforce("The end actors")

    async def body() -> None:
        for actor in ("error-end", "happy-end"):
            await _work(bed, actor, {})
        claims, results = bed.store(bed.claims), bed.store(bed.results)
        assert claims.get("e1/0-0123456789abcdef") == b"{}"
        for kind in Kind:
            envelope = {"id": "e1", "route": {"actors": ["ocr"], "current": 1}, "payload": {}}
            assert store(kind, envelope, results) == store(kind, {**envelope, "payload": 2}, results)
        claims.close()
        results.close()

    run(body)
    bed.check(allowed)


@pytest.mark.behaviour("aws:least-rights")
def test_gateway_needs_its_policy_and_no_more(bed: Bed, tmp_path: Path) -> None:
    for key in ("results/e1.json", "errors/e2.json"):
        bed.s3.put_object(Bucket=bed.results, Key=key, Body=b"{}")
    allowed = bed.enforce("The gateway")
    given = {
        "ASYA_NAMESPACE": bed.namespace,
        "ASYA_TRANSPORT": "sqs",
        "ASYA_SQS_ENDPOINT": bed.server.endpoint,
        "AWS_REGION": REGION,
        "ASYA_CLAIM_URL": f"s3://{bed.claims}",
        "ASYA_CLAIM_ENDPOINT": bed.server.endpoint,
        "ASYA_GATEWAY_RESULTS_URL": f"s3://{bed.results}",
        "ASYA_GATEWAY_RESULTS_S3_ENDPOINT": bed.server.endpoint,
        "ASYA_GATEWAY_RESULTS_S3_REGION": REGION,
        "ASYA_GATEWAY_RESULTS_S3_PATH_STYLE": "true",
    }
    chosen = read_gateway_settings(given)

    async def body() -> None:
        from asya_core.ops.logs import Level, LineWriter, Log

        peer = await Peer(make_transport(chosen)).open()
        assert await peer.publish(bed.queue("ocr"), b"x") == [PublishOutcome.CONFIRMED]
        assert await peer.publish(bed.queue("absent"), b"x") == [PublishOutcome.RETURNED]
        await peer.close()
        claims = make_claims(chosen, 2**20, Log(LineWriter(), Level.ERROR))
        envelope = {"id": "e1", "route": {"actors": ["ocr"], "current": 0}, "payload": "x" * 300_000}
        message = await claims.message(envelope, 0)
        assert len(message) < 1_000
        assert json.loads(await claims.whole(message)) == envelope
        records = make_records(chosen)
        assert records is not None
        assert records.get("results/e1.json") == records.get("errors/e2.json") == b"{}"
        records.close()

    run(body)
    bed.check(allowed)


def test_keda_may_read_counts_and_nothing_else() -> None:
    assert policy("KEDA") == [("sqs:GetQueueAttributes", "arn:aws:sqs:REGION:ACCOUNT:asya-*")]


SQS, S3 = "arn:aws:sqs:REGION:ACCOUNT:", "arn:aws:s3:::"
FORBIDDEN: dict[str, Pairs] = {
    "An actor": [
        ("sqs:ReceiveMessage", f"{SQS}asya-demo-next"),
        ("sqs:DeleteMessage", f"{SQS}asya-demo-next"),
        ("sqs:SendMessage", f"{SQS}asya-other-ocr"),
        ("sqs:CreateQueue", f"{SQS}asya-demo-ocr"),
        ("sqs:DeleteQueue", f"{SQS}asya-demo-ocr"),
        ("sqs:PurgeQueue", f"{SQS}asya-demo-ocr"),
        ("sqs:SetQueueAttributes", f"{SQS}asya-demo-ocr"),
        ("s3:DeleteObject", f"{S3}my-claims/e1/0-0123456789abcdef"),
        ("s3:GetObject", f"{S3}my-results/results/e1.json"),
    ],
    "The operator": [
        (f"sqs:{action}", f"{SQS}asya-demo-ocr") for action in ("SendMessage", "ReceiveMessage", "DeleteMessage", "PurgeQueue")
    ],
    "The gateway": [
        ("sqs:ReceiveMessage", f"{SQS}asya-demo-happy-end"),
        ("sqs:DeleteQueue", f"{SQS}asya-demo-ocr"),
        ("s3:PutObject", f"{S3}my-results/results/e1.json"),
    ],
    "The end actors": [
        ("sqs:SendMessage", f"{SQS}asya-demo-ocr"),
        ("s3:DeleteObject", f"{S3}my-results/results/e1.json"),
        ("s3:PutObject", f"{S3}my-results/other"),
        ("s3:PutObject", f"{S3}my-claims/e1/0-0123456789abcdef"),
    ],
}


@pytest.mark.behaviour("aws:least-rights")
@pytest.mark.parametrize(("heading", "action", "resource"), [(each, *pair) for each, pairs in FORBIDDEN.items() for pair in pairs])
def test_right_that_nobody_needs_is_not_granted(heading: str, action: str, resource: str) -> None:
    assert not any(action == each and fnmatchcase(resource, pattern) for each, pattern in policy(heading))


def test_recorder_refuses_what_a_policy_lacks(bed: Bed) -> None:
    bed.enforce("KEDA")
    queues = SqsAdmin(settings(bed.server.endpoint))
    with pytest.raises(Exception, match="sqs:GetQueueUrl on") as caught:
        queues.depth(bed.queue("ocr"))
    assert not isinstance(caught.value, Unavailable)
    queues.close()
    assert os.environ["AWS_ACCESS_KEY_ID"] == KEYS["AWS_ACCESS_KEY_ID"]
