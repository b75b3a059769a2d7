"""The front of the SQS servers, which contract and fault tests stand on, leaves nothing behind."""

import gc
import socket

from tests.sqs_front import Front

ROUNDS = 100
"""With the accepting connections forgotten, about one of ten rounds left something behind."""


def test_front_that_ends_takes_the_connections_with_it_that_it_just_accepted() -> None:
    for _ in range(ROUNDS):
        front = Front("http://127.0.0.1:1")
        callers = [socket.create_connection(("127.0.0.1", front.port)) for _ in range(3)]
        front.close()
        for caller in callers:
            with caller:
                caller.settimeout(30)
                try:
                    assert caller.recv(1) == b""
                except ConnectionResetError:
                    pass  # the same, told in another way
    gc.collect()  # a transport that was forgotten warns now, and warnings are errors
