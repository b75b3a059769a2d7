"""The contract suite's harness for RabbitMQ: a namespace per case on the node of `tests.broker`."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Final

from asya_core.testing.remote import RemoteTransport
from asya_core.transports.rabbitmq import QueueType, RabbitAdmin, RabbitSettings, RabbitTransport
from tests.broker import Node

MAX_MESSAGE_BYTES: Final = 100_000
DELAYS: Final = "contract"
"""Namespace of the delay exchange that all cases share: a retry goes by its routing key, and making twelve queues per case takes time."""


def rabbit_transport(url: str, queue_type: str) -> RabbitTransport:
    """The transport that contract cases use: small limit."""
    settings = RabbitSettings.from_url(url, namespace=DELAYS, queue_type=QueueType(queue_type), max_message_bytes=MAX_MESSAGE_BYTES)
    return RabbitTransport(settings)


class RabbitHarness:
    """A namespace of the case's own.

    Args:
        node: the broker.
        queue_type: of the actors' queues.
    """

    visibility_seconds: Final = 0.0
    ack_seconds: float = 0.0
    exclusions: Mapping[int, str] = {
        17: "RabbitMQ has no visibility timeout: a receipt lives as long as its channel",
    }

    def __init__(self, node: Node, queue_type: QueueType = QueueType.QUORUM) -> None:
        self._node = node
        self.namespace: str = f"c{uuid.uuid4().hex[:12]}"
        self._queue_type = queue_type
        self._was_killed = False

    def transport(self) -> RabbitTransport:
        return rabbit_transport(self._node.url, self._queue_type.value)

    def victim(self) -> RemoteTransport:
        arguments = (self._node.url, self._queue_type.value)
        return RemoteTransport("tests.contract.harness_rabbitmq:rabbit_transport", *arguments, max_message_bytes=MAX_MESSAGE_BYTES)

    def admin(self) -> RabbitAdmin:
        return RabbitAdmin(
            RabbitSettings.from_url(
                self._node.url,
                namespace=DELAYS,
                queue_type=self._queue_type,
                management_url=self._node.management_url,
                statistics_seconds=0.6,
            )
        )

    async def cut_links(self) -> None:
        await asyncio.to_thread(self._node.close_all_connections)

    async def restart_broker(self) -> None:
        self._was_killed = True
        await asyncio.to_thread(self._node.kill)
        await asyncio.to_thread(self._node.start)

    async def block(self) -> None:
        await asyncio.to_thread(self._node.set_memory_limit, 0.00001)

    async def unblock(self) -> None:
        await asyncio.to_thread(self._node.set_memory_limit, 0.4)

    def close(self) -> None:
        """Take the namespace's queues away; a node that was killed begins anew."""
        if self._was_killed:
            self._node.renew()
            return
        self._node.clear(f"asya-{self.namespace}")


class ClassicHarness(RabbitHarness):
    """The same with classic queues."""

    # The index of a classic queue of version 1, RabbitMQ 3's default, gathers acknowledgements before it writes them. Measured with 20
    # acknowledged messages and a SIGKILL: at once, all come again, 2 of 2 times; after 0.3 s, 1 s and 3 s none. Version 2: none at once.
    ack_seconds = 1.0
    exclusions: Mapping[int, str] = {
        **RabbitHarness.exclusions,
        29: "classic queues have no delivery limit; the sidecar's own one ends such messages",
    }

    def __init__(self, node: Node) -> None:
        super().__init__(node, QueueType.CLASSIC)
