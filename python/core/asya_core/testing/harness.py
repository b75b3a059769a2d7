"""What the contract suite needs of an implementation besides the port: brokers that stop, links that break, processes that die.

Implemented here for the twin and the embedded transport; for RabbitMQ beside its tests. A new transport is under contract once it has one.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from asya_core.testing.remote import RemoteTransport
from asya_core.testing.twin import TwinAdmin, TwinBroker, TwinTransport
from asya_core.transports.base import QueueAdmin, Transport
from asya_core.transports.embedded import EmbeddedAdmin, EmbeddedTransport

__all__ = ["EmbeddedHarness", "Harness", "Killable", "TwinHarness", "embedded_transport"]


class Killable(Transport, Protocol):
    """A transport that may die without a word."""

    def kill(self) -> None:
        """Die as a process does by SIGKILL. Idempotent."""
        ...


class Harness(Protocol):
    """One implementation under test. Made anew for each case, used in one loop."""

    @property
    def exclusions(self) -> Mapping[int, str]:
        """Cases that cannot hold for this implementation, by number, each with the reason. They are not run; the list is documentation."""
        ...

    @property
    def visibility_seconds(self) -> float:
        """After which the broker hands a dead holder's message to another; 0 if a broken link alone does that."""
        ...

    @property
    def ack_seconds(self) -> float:
        """After which an acknowledgement survives a broker that dies without warning; before, the message may come again."""
        ...

    @property
    def namespace(self) -> str:
        """A namespace of this case alone: queues are ``asya-{namespace}-{actor}`` and cannot meet those of another case."""
        ...

    def transport(self) -> Transport:
        """A new transport, not opened."""
        ...

    def victim(self) -> Killable:
        """A new transport that can be killed: in a process of its own where the implementation has processes."""
        ...

    def admin(self) -> QueueAdmin:
        """A new administration. Whatever a namespace needs besides its queues is there."""
        ...

    async def cut_links(self) -> None:
        """Break every link of every open transport, as a failing network would; they may reconnect at once."""
        ...

    async def restart_broker(self) -> None:
        """Stop the broker without warning and start it again. All transports of the case are closed or will reconnect."""
        ...

    async def block(self) -> None:
        """Make the broker take no publishes."""
        ...

    async def unblock(self) -> None:
        """End `block`."""
        ...

    def close(self) -> None:
        """Remove what the case made. Called once, after its transports were closed."""
        ...


class TwinHarness:
    """The broker in memory, in real time."""

    visibility_seconds: Final = 0.0
    ack_seconds: Final = 0.0
    namespace: Final = "twin"
    exclusions: Final[Mapping[int, str]] = {
        17: "the twin has no visibility timeout: a receipt lives as long as its link",
    }

    def __init__(self) -> None:
        self._broker = TwinBroker(max_message_bytes=100_000)
        self._transports: list[TwinTransport] = []

    def transport(self) -> TwinTransport:
        """See `Harness.transport`."""
        transport = TwinTransport(self._broker)
        self._transports.append(transport)
        return transport

    def victim(self) -> TwinTransport:
        """See `Harness.victim`."""
        return self.transport()

    def admin(self) -> TwinAdmin:
        """See `Harness.admin`."""
        return TwinAdmin(self._broker)

    async def cut_links(self) -> None:
        """See `Harness.cut_links`."""
        for transport in self._transports:
            self._broker.cut(transport)

    async def restart_broker(self) -> None:
        """See `Harness.restart_broker`."""
        self._broker.stop()
        self._broker.start()

    async def block(self) -> None:
        """See `Harness.block`."""
        self._broker.block()

    async def unblock(self) -> None:
        """See `Harness.unblock`."""
        self._broker.unblock()

    def close(self) -> None:
        """See `Harness.close`."""


class EmbeddedHarness:
    """A queue file in a folder of its own.

    Args:
        folder: empty, for this case alone.
        visibility_seconds: of messages taken and not settled; more of it leaves a loaded machine time to renew and to acknowledge.
    """

    ack_seconds: Final = 0.0
    namespace: Final = "embedded"
    exclusions: Final[Mapping[int, str]] = {}

    def __init__(self, folder: Path, visibility_seconds: float = 0.6) -> None:
        self.visibility_seconds = visibility_seconds
        self._folder = folder / "queues"
        self._folder.mkdir()
        self._away = folder / "away"
        self._path = self._folder / "queue.db"
        self._transports: list[EmbeddedTransport] = []

    def transport(self) -> EmbeddedTransport:
        """See `Harness.transport`."""
        transport = embedded_transport(str(self._path), self.visibility_seconds)
        self._transports.append(transport)
        return transport

    def victim(self) -> RemoteTransport:
        """See `Harness.victim`."""
        arguments = (str(self._path), str(self.visibility_seconds))
        return RemoteTransport("asya_core.testing.harness:embedded_transport", *arguments, max_message_bytes=100_000)

    def admin(self) -> EmbeddedAdmin:
        """See `Harness.admin`."""
        return EmbeddedAdmin(self._path)

    async def cut_links(self) -> None:
        """Take the folder away until every transport has noticed (they look every 50 ms), and put it back.

        The folder as a whole: moving the file alone would part it from its write-ahead log.
        """
        self._folder.rename(self._away)
        await asyncio.sleep(0.2)
        self._away.rename(self._folder)

    async def restart_broker(self) -> None:
        """There is no broker: what could forget is the file's write-ahead log, so it is folded into the file by the last one to close."""
        self.admin().close()

    async def block(self) -> None:
        """Leave the file no room to grow."""
        for transport in self._transports:
            transport.limit_file(0)

    async def unblock(self) -> None:
        """Give the file room again."""
        for transport in self._transports:
            transport.limit_file(None)

    def close(self) -> None:
        """See `Harness.close`."""


def embedded_transport(path: str, visibility_seconds: float | str) -> EmbeddedTransport:
    """The transport that contract cases use: short times, small limit."""
    return EmbeddedTransport(path, max_message_bytes=100_000, visibility_seconds=float(visibility_seconds), poll_seconds=0.05)
