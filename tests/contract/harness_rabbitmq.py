"""The contract suite's harness for RabbitMQ: a namespace per case on the node of `tests.broker`."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Final

from asya_core.testing.remote import RemoteTransport
from asya_core.transports.rabbitmq import QueueType, RabbitAdmin, RabbitSettings, RabbitTransport
from tests.broker import Node
from tests.contract.victims import DELAYS, MAX_MESSAGE_BYTES, rabbit_transport


class Restart:
    """One kill and start of a node for several cases at once: it comes when all have asked for it.

    Args:
        node: the broker.
        cases: how many ask.
    """

    def __init__(self, node: Node, cases: int) -> None:
        self._node = node
        self._all = asyncio.Barrier(cases)

    async def come(self) -> None:
        """Returns when the node serves again."""
        if await self._all.wait() == 0:
            await asyncio.to_thread(self._node.kill)
            await asyncio.to_thread(self._node.start)
        await self._all.wait()


class RabbitHarness:
    """A namespace of the case's own.

    Args:
        node: the broker.
        queue_type: of the actors' queues.
        restart: the one that the case shares with others; who made it renews the node afterwards.
    """

    visibility_seconds: Final = 0.0
    ack_seconds: float = 0.0
    exclusions: Mapping[int, str] = {
        17: "RabbitMQ has no visibility timeout: a receipt lives as long as its channel",
    }

    def __init__(self, node: Node, queue_type: QueueType = QueueType.QUORUM, *, restart: Restart | None = None) -> None:
        self._node = node
        self._restart = restart
        self.namespace: str = f"c{uuid.uuid4().hex[:12]}"
        self._queue_type = queue_type

    def transport(self) -> RabbitTransport:
        return rabbit_transport(self._node.url, self._queue_type.value)

    def victim(self) -> RemoteTransport:
        arguments = (self._node.url, self._queue_type.value)
        return RemoteTransport("tests.contract.victims:rabbit_transport", *arguments, max_message_bytes=MAX_MESSAGE_BYTES)

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
        assert self._restart is not None, "a start takes ten seconds: run this case in test_transport_keeps_its_contract_over_a_restart"
        await self._restart.come()

    async def block(self) -> None:
        await asyncio.to_thread(self._node.set_memory_limit, 0.00001)

    async def unblock(self) -> None:
        await asyncio.to_thread(self._node.set_memory_limit, 0.4)

    def close(self) -> None:
        """Take the namespace's queues away."""
        if self._restart is None:
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

    def __init__(self, node: Node, *, restart: Restart | None = None) -> None:
        super().__init__(node, QueueType.CLASSIC, restart=restart)
