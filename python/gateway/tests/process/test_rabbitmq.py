"""The gateway over a real RabbitMQ: calls arrive in the actor's queue, and wait for a queue that is not there yet."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from asya_core.transports.rabbitmq import RabbitAdmin, RabbitSettings
from asya_core.wire.errors import Refused

pytestmark = pytest.mark.rabbitmq
Gateway = Any


@dataclass(frozen=True)
class Broker:
    namespace: str
    admin: RabbitAdmin
    environment: dict[str, str]

    def bodies(self, actor: str) -> list[Any]:
        return [json.loads(body) for body in self.admin.peek(f"asya-{self.namespace}-{actor}", 100)]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    url = os.environ.get("ASYA_TEST_RABBITMQ_URL")
    if not url:
        if os.environ.get("CI"):
            pytest.fail("ASYA_TEST_RABBITMQ_URL is not set; run ci/services.sh start")
        pytest.skip("ASYA_TEST_RABBITMQ_URL is not set")
    namespace = f"gw-{os.urandom(4).hex()}"
    settings = RabbitSettings.from_url(url, namespace=namespace)
    admin = RabbitAdmin(settings)
    admin.ensure_namespace(["happy-end", "text-processor"])
    credentials = settings.credentials()
    for name, value in (("username", credentials.username), ("password", credentials.password)):
        (tmp_path / name).write_text(value)
    yield Broker(
        namespace,
        admin,
        {
            "ASYA_NAMESPACE": namespace,
            "ASYA_TRANSPORT": "rabbitmq",
            "ASYA_RABBITMQ_ADDRESS": f"{settings.host}:{settings.port}",
            "ASYA_RABBITMQ_VHOST": settings.vhost,
            "ASYA_RABBITMQ_CREDENTIALS_DIR": str(tmp_path),
        },
    )
    for actor in ("happy-end", "text-processor", "nowhere"):
        with suppress(Refused):  # a queue that this test never had
            admin.purge(f"asya-{namespace}-{actor}")
    admin.remove_namespace(["happy-end", "text-processor", "nowhere"])
    admin.close()


def test_call_arrives_in_the_queue_and_a_missing_queue_is_waited_for(
    make_gateway: Callable[..., Gateway], broker: Broker, eventually: Callable[[Callable[[], Any]], Any]
) -> None:
    gateway = make_gateway(**broker.environment).start()
    envelope_id = gateway.envelope()
    waiting = gateway.envelope("nowhere", {"n": 1})
    (body,) = eventually(lambda: broker.bodies("text-processor"))
    assert (body["id"], body["payload"]) == (envelope_id, {"text": "hi"})
    assert gateway.view(waiting)["status"] == "pending"
    eventually(lambda: 'publishes_total{outcome="returned"} 0\n' not in gateway.mesh.get("/metrics").text)
    broker.admin.ensure_namespace(["nowhere"])
    (late,) = eventually(lambda: broker.bodies("nowhere"))
    assert late["id"] == waiting
    assert gateway.mesh.get("/readyz").text == "store: ok\ntools: ok\nbroker: ok\n"
