"""The broker that the experiments may kill."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asya_core.transports.rabbitmq import QueueType
from tests.faults.harness import ActorSpec, Broker, Mesh


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """A running node of `ci/services.sh`; missing is a skip on a laptop, a failure where CI is set."""
    node = Broker()
    if not os.environ.get("CI") and not shutil.which("rabbitmq-server") and not Path("/usr/sbin/rabbitmq-server").exists():
        pytest.skip("RabbitMQ is not installed: ci/services.sh start rabbitmq-faults")
    with node.reserve():
        node.wipe()
        node.start()
        yield node


@pytest.fixture
def make_mesh(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Mesh]]:
    """Makes meshes and stops them at the end."""
    made: list[Mesh] = []

    def make(*actors: ActorSpec, queue_type: QueueType = QueueType.QUORUM) -> Mesh:
        mesh = Mesh(broker.url, tmp_path_factory.mktemp("m"), actors, queue_type)
        made.append(mesh)
        return mesh

    yield make
    for mesh in made:
        mesh.stop()
