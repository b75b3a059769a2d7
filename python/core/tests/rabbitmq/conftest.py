"""Fixtures of the RabbitMQ transport's tests."""

import uuid
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from python.core.tests.rabbitmq.brokers import SERVICES, Server

from asya_core.transports.rabbitmq import RabbitAdmin


@pytest.fixture
def server() -> Server:
    return Server("rabbitmq")


@pytest.fixture
def rabbitmq4() -> Server:
    return Server("rabbitmq4")


@pytest.fixture
def namespace() -> Iterator[str]:
    """Of this test alone; its queues and exchange go at the end, from each server."""
    name = f"u{uuid.uuid4().hex[:12]}"
    yield name
    for server in map(Server, SERVICES):
        for queue in server.api("GET", "queues/%2F?disable_stats=true"):
            if queue["name"].startswith(f"asya-{name}"):
                server.api("DELETE", f"queues/%2F/{quote(queue['name'], safe='')}")
        server.api("DELETE", f"exchanges/%2F/asya-{name}_delay")


@pytest.fixture
def admin(server: Server, namespace: str) -> Iterator[RabbitAdmin]:
    admin = RabbitAdmin(server.settings(namespace=namespace))
    yield admin
    admin.close()


@pytest.fixture
def user(server: Server) -> Iterator[str]:
    """A name for a user of this test alone, removed at the end."""
    name = f"u{uuid.uuid4().hex[:12]}"
    yield name
    server.api("DELETE", f"users/{name}")
