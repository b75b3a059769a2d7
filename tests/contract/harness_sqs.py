"""The contract suite's harness for SQS: a namespace per case on a server of `ci/services.sh`, behind `tests.sqs_front`."""

import asyncio
import os
import uuid
from collections.abc import Mapping
from typing import Final

import pytest

from asya_core.testing.remote import RemoteTransport
from asya_core.transports.sqs import SqsAdmin, SqsSettings, SqsTransport
from tests.sqs_front import Front, Json, Reply, error

MAX_MESSAGE_BYTES: Final = 100_000
VISIBILITY_SECONDS: Final = 2
"""The least that leaves a loaded machine time to renew; SQS knows whole seconds only."""


def settings_for(endpoint: str) -> SqsSettings:
    """What contract cases use: small limit, short visibility."""
    return SqsSettings(
        endpoint=endpoint,
        access_key_id="test",
        secret_access_key="test",
        visibility_seconds=VISIBILITY_SECONDS,
        max_message_bytes=MAX_MESSAGE_BYTES,
    )


def sqs_transport(endpoint: str) -> SqsTransport:
    """See `settings_for`."""
    return SqsTransport(settings_for(endpoint))


class SqsHarness:
    """A namespace of the case's own."""

    service = "sqs"
    visibility_seconds: Final = float(VISIBILITY_SECONDS)
    ack_seconds: Final = 0.0
    exclusions: Mapping[int, str] = {}

    def __init__(self) -> None:
        self._front = front_of(self.service)
        self.namespace: str = f"c{uuid.uuid4().hex[:12]}"

    def transport(self) -> SqsTransport:
        return sqs_transport(self._front.endpoint)

    def victim(self) -> RemoteTransport:
        return RemoteTransport("tests.contract.harness_sqs:sqs_transport", self._front.endpoint, max_message_bytes=MAX_MESSAGE_BYTES)

    def admin(self) -> SqsAdmin:
        return SqsAdmin(settings_for(self._front.endpoint), counts_lag_seconds=0)

    async def cut_links(self) -> None:
        """An outage that outlasts the visibility timeout: a shorter one breaks nothing, there is no connection that anything hangs on."""
        await asyncio.to_thread(self._front.cut)
        await asyncio.sleep(VISIBILITY_SECONDS + 0.5)
        await asyncio.to_thread(self._front.heal)

    async def restart_broker(self) -> None:
        """The endpoint goes away and comes back. That confirmed messages survive is AWS's promise; the servers here keep all in memory."""
        await asyncio.to_thread(self._front.cut)
        await asyncio.to_thread(self._front.heal)

    async def block(self) -> None:
        async def throttle(action: str, asked: Json, forward: object) -> Reply:
            return error(400, "RequestThrottled") if action.startswith("SendMessage") else await forward(asked)  # type: ignore[operator]

        self._front.rule = throttle

    async def unblock(self) -> None:
        self._front.rule = None

    def close(self) -> None:
        """Queues stay, empty or not; they are in the server's memory and no other case has their names."""
        self._front.close()


class MotoHarness(SqsHarness):
    """The same against moto's server."""

    service = "moto"


def front_of(service: str) -> Front:
    """In front of a service of `ci/services.sh`; skips the test without it, on a laptop."""
    endpoint = os.environ.get(f"ASYA_TEST_{service.upper()}_ENDPOINT")
    if endpoint is None:
        message = f'{service} does not run; start it with: ci/services.sh start {service}; then: eval "$(ci/services.sh env)"'
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return Front(endpoint, one_by_one=service == "moto")
