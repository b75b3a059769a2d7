"""A real RabbitMQ of ci/services.sh as the tests of the transport use it, and ways to wait for what a transport tells."""

import base64
import contextlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from asya_core.testing.peer import Peer
from asya_core.transports.base import Connected, Disconnected, Link
from asya_core.transports.rabbitmq import RabbitSettings, RabbitTransport

SERVICES = ("rabbitmq", "rabbitmq4")
"""RabbitMQ 3.10 and 4."""


class Server:
    """A RabbitMQ of ci/services.sh, shared with other tests: nothing here may hurt it."""

    def __init__(self, name: str) -> None:
        prefix = f"ASYA_TEST_{name.upper()}_"
        url = os.environ.get(prefix + "URL")
        if url is None:
            if os.environ.get("CI"):
                pytest.fail(f"{prefix}URL is not set: ci/services.sh start {name}, then eval its env")
            pytest.skip(f"{prefix}URL is not set: ci/services.sh start {name}, then eval its env")
        self.url = url
        self.management_url = os.environ[prefix + "MANAGEMENT_URL"]
        parts = urlsplit(url)
        self.host, self.port = str(parts.hostname), int(parts.port or 0)
        self._basic = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Call the management API; a missing thing to delete is fine."""
        request = urllib.request.Request(
            f"{self.management_url}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {self._basic}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            if method == "DELETE" and error.code == 404:
                return None
            raise
        return json.loads(text) if text else None

    def set_user(self, name: str, password: str, *, configure: str = ".*", write: str = ".*", read: str = ".*") -> None:
        """Make a user, or change its password and rights. Rights hold for channels that are opened afterwards."""
        self.api("PUT", f"users/{name}", {"password": password, "tags": ""})
        self.api("PUT", f"permissions/%2F/{name}", {"configure": configure, "write": write, "read": read})

    def settings(self, **more: Any) -> RabbitSettings:
        return RabbitSettings.from_url(self.url, management_url=self.management_url, statistics_seconds=1.0, **more)


def never_waits() -> float:
    """Jitter for tests: reconnects come at once."""
    return 0.0


@contextlib.asynccontextmanager
async def opened(settings: RabbitSettings) -> AsyncIterator[Peer]:
    """A transport that is opening; closed at the end."""
    peer = Peer(RabbitTransport(settings, random=never_waits))
    peer.begin()
    try:
        yield peer
    finally:
        await peer.close()


async def connected(peer: Peer, since: int = 0) -> None:
    """Wait until both links are up."""
    await peer.until(lambda: all(Connected(link) in peer.events[since:] for link in Link))


async def up(peer: Peer) -> None:
    """Wait until the last that was told of each link is that it is up."""

    def last(link: Link) -> object:
        return next((event for event in reversed(peer.events) if isinstance(event, Connected | Disconnected) and event.link is link), None)

    await peer.until(lambda: all(isinstance(last(link), Connected) for link in Link))


async def told(peer: Peer, words: str, link: Link | None = None, since: int = 0) -> str:
    """Wait for a `Disconnected` whose reason has these words; the reason."""

    def found() -> list[str]:
        events = [event for event in peer.events[since:] if isinstance(event, Disconnected)]
        return [event.reason for event in events if words in event.reason and link in (None, event.link)]

    await peer.until(lambda: bool(found()))
    return found()[0]


def settings_of(port: int, **more: Any) -> RabbitSettings:
    """Settings for a server on a loopback port."""
    return RabbitSettings(host="127.0.0.1", port=port, **more)
