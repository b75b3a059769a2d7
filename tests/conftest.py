"""What several tiers share: the brokers that tests may hurt."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.broker import Node, is_installed


@pytest.fixture(scope="session")
def broker() -> Iterator[Node]:
    """A node of `ci/services.sh`, empty and for this run alone; missing is a skip on a laptop, a failure where CI is set.

    Tests that use it carry the mark ``hurts_broker``: they run in one process, beside all others.
    """
    with _reserved(Node()) as node:
        yield node


@pytest.fixture(scope="session")
def broker4() -> Iterator[Node]:
    """The same with RabbitMQ 4; its tests carry the mark ``hurts_broker4``, and run beside the others."""
    with _reserved(Node("rabbitmq4-faults")) as node:
        yield node


@contextmanager
def _reserved(node: Node) -> Iterator[Node]:
    if not os.environ.get("CI") and not is_installed(node.name):
        pytest.skip(f"RabbitMQ is not there: ci/services.sh start {node.name}")
    with node.reserved():
        yield node
