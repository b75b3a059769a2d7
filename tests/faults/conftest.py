"""Meshes of real actors."""

from collections.abc import Callable, Iterator

import pytest

from asya_core.transports.rabbitmq import QueueType
from tests.broker import Node
from tests.faults.harness import ActorSpec, Mesh


@pytest.fixture
def make_mesh(broker: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Mesh]]:
    """Makes meshes and stops them at the end."""
    made: list[Mesh] = []

    def make(*actors: ActorSpec, queue_type: QueueType = QueueType.QUORUM) -> Mesh:
        mesh = Mesh(broker.url, tmp_path_factory.mktemp("m"), actors, queue_type)
        made.append(mesh)
        return mesh

    yield make
    for mesh in made:
        mesh.stop()
