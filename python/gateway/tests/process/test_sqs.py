"""The gateway over a server of SQS: calls arrive in the actor's queue, large ones by reference, and a missing queue is waited for."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from asya_core.transports.sqs import SqsAdmin
from tests.sqs_servers import KEYS, REGION, endpoint, new_namespace, settings

Gateway = Any
LARGE = {"text": "x" * 1_200_000}
"""More than a message of SQS may have."""


@dataclass(frozen=True)
class Queues:
    namespace: str
    admin: SqsAdmin
    environment: dict[str, str] = field(default_factory=dict)

    def bodies(self, actor: str) -> list[Any]:
        return [json.loads(body) for body in self.admin.peek(f"asya-{self.namespace}-{actor}", 100)]


@pytest.fixture
def queues(tmp_path: Path) -> Iterator[Queues]:
    where, namespace = endpoint("sqs"), new_namespace()
    admin = SqsAdmin(settings(where))
    admin.ensure_namespace(namespace, ["text-processor"])
    claims = tmp_path / "claims"
    claims.mkdir()
    environment = {
        "ASYA_NAMESPACE": namespace,
        "ASYA_TRANSPORT": "sqs",
        "ASYA_SQS_ENDPOINT": where,
        "AWS_REGION": REGION,
        "ASYA_CLAIM_URL": f"file://{claims}",
        **KEYS,
    }
    yield Queues(namespace, admin, environment)
    for actor in ("error-end", "happy-end", "text-processor", "nowhere"):
        admin.delete(f"asya-{namespace}-{actor}")
    admin.delete(f"asya-{namespace}_dlq")
    admin.close()


def test_call_arrives_whole_or_by_reference_and_a_missing_queue_is_waited_for(
    make_gateway: Callable[..., Gateway], queues: Queues, eventually: Callable[[Callable[[], Any]], Any], tmp_path: Path
) -> None:
    gateway = make_gateway(**queues.environment).start()
    envelope_id = gateway.envelope()
    waiting = gateway.envelope("nowhere", {"n": 1})
    (body,) = eventually(lambda: queues.bodies("text-processor"))
    assert (body["id"], body["payload"]) == (envelope_id, {"text": "hi"})

    large = gateway.envelope(arguments=LARGE)
    found = eventually(lambda: {each["id"]: each for each in queues.bodies("text-processor")}.get(large))
    assert "payload" not in found
    assert json.loads((tmp_path / "claims" / found["asya_claim"]["key"]).read_text()) == LARGE
    told = gateway.client.get(f"/envelopes/{large}/arguments")
    assert (told.status_code, told.json()) == (200, {"arguments": LARGE})

    assert gateway.view(waiting)["status"] == "pending"
    eventually(lambda: 'publishes_total{outcome="returned"} 0\n' not in gateway.mesh.get("/metrics").text)
    queues.admin.ensure_namespace(queues.namespace, ["nowhere"])
    (late,) = eventually(lambda: queues.bodies("nowhere"))
    assert late["id"] == waiting
    assert gateway.mesh.get("/readyz").text == "store: ok\ntools: ok\nbroker: ok\n"


def test_arguments_that_no_message_takes_are_refused_without_a_storage(make_gateway: Callable[..., Gateway]) -> None:
    environment = {"ASYA_TRANSPORT": "sqs", "ASYA_SQS_ENDPOINT": "http://127.0.0.1:1", "AWS_REGION": REGION, **KEYS}
    answer = make_gateway(**environment).start().call(arguments=LARGE)
    assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
    assert "claim storage" in answer.json()["hint"]
