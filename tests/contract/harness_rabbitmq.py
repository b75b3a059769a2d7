"""The contract suite's harness for RabbitMQ: a node for tests that hurt their broker, and a virtual host per case.

The node is started by ci/services.sh; a lock makes test runs take turns with it, since cases kill it and raise its memory alarm.
"""

import asyncio
import base64
import fcntl
import json
import os
import signal
import subprocess
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

import pytest

from asya_core.testing.remote import RemoteTransport
from asya_core.transports.rabbitmq import QueueType, RabbitAdmin, RabbitSettings, RabbitTransport

SERVICES: Final = Path(__file__).parents[2] / "ci" / "services.sh"
MAX_MESSAGE_BYTES: Final = 100_000


def rabbit_transport(url: str, namespace: str, queue_type: str) -> RabbitTransport:
    """The transport that contract cases use: small limit."""
    settings = RabbitSettings.from_url(url, namespace=namespace, queue_type=QueueType(queue_type), max_message_bytes=MAX_MESSAGE_BYTES)
    return RabbitTransport(settings)


class Node:
    """A node of ci/services.sh. Skips the test if it cannot be had, fails it when CI is set.

    Args:
        name: of the service.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        lock = Path(os.environ.get("ASYA_CACHE", Path.home() / ".cache" / "asya")) / "services" / f"{name}.tests.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        self._lock: IO[str] = lock.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.start()

    def start(self) -> None:
        run = subprocess.run([SERVICES, "start", self.name], capture_output=True, text=True)
        if run.returncode:
            self.release()
            message = f"{self.name} of ci/services.sh does not start: {run.stderr.strip().splitlines()[-1:]}"
            pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
        prefix = f"ASYA_TEST_{self.name.upper().replace('-', '_')}_"
        lines = subprocess.run([SERVICES, "env", self.name], capture_output=True, text=True, check=True).stdout.splitlines()
        values = dict(line.removeprefix("export " + prefix).split("=", 1) for line in lines)
        self.url, self.management_url, self.pid = values["URL"], values["MANAGEMENT_URL"], int(values["PID"])
        self._basic = base64.b64encode(f"asya:{Path(values['PASSWORD_FILE']).read_text()}".encode()).decode()

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def release(self) -> None:
        self._lock.close()

    def ctl(self, *arguments: str) -> None:
        subprocess.run([SERVICES, "ctl", self.name, *arguments], check=True, capture_output=True)

    def api(self, method: str, path: str, body: object = None) -> None:
        request = urllib.request.Request(
            f"{self.management_url}/api/{path}",
            method=method,
            data=json.dumps(body or {}).encode(),
            headers={"Authorization": f"Basic {self._basic}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30):
            pass


class RabbitHarness:
    """A virtual host on a node of its own.

    Args:
        service: of ci/services.sh.
        queue_type: of the actors' queues.
    """

    visibility_seconds: Final = 0.0
    exclusions: Mapping[int, str] = {
        17: "RabbitMQ has no visibility timeout: a receipt lives as long as its channel",
    }

    def __init__(self, service: str = "rabbitmq-faults", queue_type: QueueType = QueueType.QUORUM) -> None:
        self._node = Node(service)
        self._vhost = f"contract-{uuid.uuid4().hex[:12]}"
        self.namespace: str = self._vhost
        self._queue_type = queue_type
        self._node.api("PUT", f"vhosts/{self._vhost}")

    @property
    def _url(self) -> str:
        return self._node.url.removesuffix("%2F") + self._vhost

    def transport(self) -> RabbitTransport:
        return rabbit_transport(self._url, self.namespace, self._queue_type.value)

    def victim(self) -> RemoteTransport:
        arguments = (self._url, self.namespace, self._queue_type.value)
        return RemoteTransport(f"{__name__}:rabbit_transport", *arguments, max_message_bytes=MAX_MESSAGE_BYTES)

    def admin(self) -> RabbitAdmin:
        return RabbitAdmin(
            RabbitSettings.from_url(
                self._url,
                namespace=self.namespace,
                queue_type=self._queue_type,
                management_url=self._node.management_url,
                statistics_seconds=1.5,
            )
        )

    async def cut_links(self) -> None:
        await asyncio.to_thread(self._node.ctl, "close_all_connections", "--vhost", self._vhost, "cut by a test")

    async def restart_broker(self) -> None:
        self._node.kill()
        await asyncio.to_thread(self._node.start)

    async def block(self) -> None:
        await asyncio.to_thread(self._node.ctl, "set_vm_memory_high_watermark", "0")

    async def unblock(self) -> None:
        await asyncio.to_thread(self._node.ctl, "set_vm_memory_high_watermark", "0.4")

    def close(self) -> None:
        try:
            self._node.api("DELETE", f"vhosts/{self._vhost}")
        finally:
            self._node.release()


class ClassicHarness(RabbitHarness):
    """The same with classic queues."""

    exclusions: Mapping[int, str] = {
        **RabbitHarness.exclusions,
        29: "classic queues have no delivery limit; the sidecar's own one ends such messages",
    }

    def __init__(self, service: str = "rabbitmq-faults") -> None:
        super().__init__(service, QueueType.CLASSIC)
