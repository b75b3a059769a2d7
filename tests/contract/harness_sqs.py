"""The contract suite's harness for SQS: a namespace per case on a server of `ci/services.sh`, behind `tests.sqs_front`."""

import asyncio
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import pytest

from asya_core.testing.remote import RemoteTransport
from asya_core.transports.sqs import SqsAdmin, SqsTransport
from tests.contract.victims import MAX_MESSAGE_BYTES, sqs_settings, sqs_transport
from tests.sqs_front import Front, Json, Reply, error

NOTICE_SECONDS: Final = 10.0


class SqsHarness:
    """A namespace of the case's own.

    Args:
        visibility_seconds: of messages taken and not deleted; the default leaves a loaded machine time to renew and to delete. SQS knows
            whole seconds only.
    """

    service = "sqs"
    ack_seconds: Final = 0.0
    exclusions: Mapping[int, str] = {}

    def __init__(self, visibility_seconds: float = 4.0) -> None:
        self.visibility_seconds = visibility_seconds
        self._front = front_of(self.service)
        self.namespace: str = f"c{uuid.uuid4().hex[:12]}"
        self._transports: list[SqsTransport] = []

    def transport(self) -> SqsTransport:
        transport = sqs_transport(self._front.endpoint, f"{self.visibility_seconds:.0f}")
        self._transports.append(transport)
        return transport

    def victim(self) -> RemoteTransport:
        arguments = (self._front.endpoint, f"{self.visibility_seconds:.0f}")
        return RemoteTransport("tests.contract.victims:sqs_transport", *arguments, max_message_bytes=MAX_MESSAGE_BYTES)

    def admin(self) -> SqsAdmin:
        return SqsAdmin(sqs_settings(self._front.endpoint), counts_lag_seconds=0)

    async def cut_links(self) -> None:
        """An outage that outlasts the visibility timeout: a shorter one breaks nothing, there is no connection that anything hangs on.

        And that every transport has noticed; one that sends nothing meanwhile does not, which the bound is for.
        """
        await asyncio.to_thread(self._front.cut)
        await asyncio.sleep(self.visibility_seconds + 0.2)
        with suppress(TimeoutError):
            async with asyncio.timeout(NOTICE_SECONDS):
                while any(transport.is_connected for transport in self._transports):  # noqa: ASYNC110  # the events are the case's
                    await asyncio.sleep(0.05)
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
    """The same against moto's server, which answers one call at a time: a deletion may wait behind thousands of other calls."""

    service = "moto"

    def __init__(self, visibility_seconds: float = 8.0) -> None:
        super().__init__(visibility_seconds)


def front_of(service: str) -> Front:
    """In front of a service of `ci/services.sh`; skips the test without it, on a laptop."""
    endpoint = os.environ.get(f"ASYA_TEST_{service.upper()}_ENDPOINT")
    if endpoint is None:
        message = f'{service} does not run; start it with: ci/services.sh start {service}; then: eval "$(ci/services.sh env)"'
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return Front(endpoint, one_by_one=service == "moto")
