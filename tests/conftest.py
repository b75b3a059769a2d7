"""What several tiers share: the broker that tests may hurt."""

import os
from collections.abc import Iterator

import pytest

from tests.broker import Node, is_installed


@pytest.fixture(scope="session")
def broker() -> Iterator[Node]:
    """A node of `ci/services.sh`, empty and for this run alone; missing is a skip on a laptop, a failure where CI is set.

    Tests that use it carry the mark ``hurts_broker``: they run in one process, beside all others.
    """
    if not os.environ.get("CI") and not is_installed():
        pytest.skip("RabbitMQ is not installed: ci/services.sh start")
    with Node().reserved() as node:
        yield node
