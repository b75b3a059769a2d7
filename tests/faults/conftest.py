"""Meshes of real actors."""

import os
from collections.abc import Callable, Iterator

import pytest

from asya_core.transports.rabbitmq import QueueType
from tests.faults.harness import ActorSpec, Mesh


@pytest.fixture
def broker_url(request: pytest.FixtureRequest) -> str:
    """Of the node that tests marked ``hurts_broker`` have alone; the others share one with everybody, unless FAULTS_NODE names another."""
    if request.node.get_closest_marker("hurts_broker") or "FAULTS_NODE" in os.environ:
        return str(request.getfixturevalue("broker").url)
    url = os.environ.get("ASYA_TEST_RABBITMQ_URL")
    if url is None:
        message = "no RabbitMQ: ci/services.sh start; eval $(ci/services.sh env)"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return url


@pytest.fixture
def make_mesh(broker_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Mesh]]:
    """Makes meshes and stops them at the end."""
    made: list[Mesh] = []

    def make(*actors: ActorSpec, queue_type: QueueType = QueueType.QUORUM) -> Mesh:
        mesh = Mesh(broker_url, tmp_path_factory.mktemp("m"), actors, queue_type)
        made.append(mesh)
        return mesh

    yield make
    for mesh in made:
        mesh.stop()
