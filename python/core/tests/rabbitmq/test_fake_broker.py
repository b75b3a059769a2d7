"""The fake broker, which the tests of the transport stand on, leaves nothing behind."""

import asyncio
import gc
import socket

import pytest
from python.core.tests.rabbitmq.fake_broker import FakeBroker

pytestmark = pytest.mark.unmeasured

ROUNDS = 100
"""Of them a tenth each ends 0 to 9 turns of the loop after the callers came; accepting takes some of those."""


def test_broker_that_ends_takes_the_connections_with_it_that_it_just_accepted() -> None:
    async def inside(turns: int) -> None:
        async with FakeBroker().running() as broker:
            callers = [socket.create_connection(("127.0.0.1", broker.port)) for _ in range(3)]
            for _ in range(turns):
                await asyncio.sleep(0)
        for caller in callers:
            with caller:
                caller.settimeout(30)
                try:
                    while caller.recv(4096):
                        pass
                except ConnectionResetError:
                    pass  # the same, told in another way

    for each in range(ROUNDS):
        asyncio.run(inside(each % 10))
    gc.collect()  # a transport that was forgotten warns now, and warnings are errors
