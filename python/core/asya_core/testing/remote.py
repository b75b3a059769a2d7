"""A transport in a process of its own, which a test may kill: the port's calls go through a pipe, its events come back.

Used by the contract suite. The child runs this module: ``python -m asya_core.testing.remote MODULE:FUNCTION ARGUMENT…``; the function gets
the arguments as strings and gives an unopened transport.

Lines of JSON both ways: ``["publish", [1, "queue", {"bytes": "…base64…"}]]`` to the child, ``["Published", {"token": 1, …}]`` from it.
"""

import asyncio
import base64
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, cast

from asya_core.transports import base
from asya_core.transports.base import Receipt, Sink, Transport, TransportEvent

__all__ = ["RemoteTransport"]

_ENUMS: Final[dict[str, type[StrEnum]]] = {"link": base.Link}
_OUTCOMES: Final[dict[str, type[StrEnum]]] = {"Published": base.PublishOutcome, "Settled": base.SettledOutcome}


class RemoteTransport:
    """A `Transport` whose work is done by a child process.

    Args:
        factory: ``module:function``.
        arguments: given to the function.
        max_message_bytes: of the transport that the factory makes.
    """

    def __init__(self, factory: str, *arguments: str, max_message_bytes: int = 16 * 1024 * 1024) -> None:
        self._argv = [sys.executable, "-m", "asya_core.testing.remote", factory, *arguments]
        self._max_message_bytes = max_message_bytes
        self._buffer = b""
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def max_message_bytes(self) -> int:
        """See `Transport.max_message_bytes`."""
        return self._max_message_bytes

    def open(self, sink: Sink) -> None:
        """Start the child and open its transport."""
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._child = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._loop.add_reader(self._out, self._on_output)

    def kill(self) -> None:
        """SIGKILL the child and wait for its end. Events that are still in the pipe are dropped. Idempotent."""
        if self._child is not None:
            self._loop.remove_reader(self._out)
            self._child.kill()
            self._child.wait()
            for pipe in (self._child.stdin, self._child.stdout):
                assert pipe is not None
                pipe.close()
            self._child = None

    def close(self) -> None:
        """See `Transport.close`."""
        self._call("close")

    def subscribe(self, queue: str, prefetch: int) -> None:
        """See `Transport.subscribe`."""
        self._call("subscribe", queue, prefetch)

    def unsubscribe(self) -> None:
        """See `Transport.unsubscribe`."""
        self._call("unsubscribe")

    def publish(self, token: int, queue: str, body: bytes) -> None:
        """See `Transport.publish`."""
        self._call("publish", token, queue, body)

    def ack(self, receipt: Receipt) -> None:
        """See `Transport.ack`."""
        self._call("ack", receipt)

    def requeue(self, receipt: Receipt) -> None:
        """See `Transport.requeue`."""
        self._call("requeue", receipt)

    def retry(self, receipt: Receipt, delay_seconds: float) -> None:
        """See `Transport.retry`."""
        self._call("retry", receipt, delay_seconds)

    def reject(self, receipt: Receipt) -> None:
        """See `Transport.reject`."""
        self._call("reject", receipt)

    @property
    def _out(self) -> int:
        assert self._child is not None
        assert self._child.stdout is not None
        return self._child.stdout.fileno()

    def _call(self, name: str, *arguments: object) -> None:
        if self._child is not None:
            assert self._child.stdin is not None
            self._child.stdin.write(_line([name, [_packed(argument) for argument in arguments]]))
            self._child.stdin.flush()

    def _on_output(self) -> None:
        chunk = os.read(self._out, 1 << 20)
        if not chunk:
            self.kill()
            return
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        for line in lines:
            self._sink(_event(json.loads(line)))


def _line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _packed(value: object) -> object:
    return {"bytes": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _unpacked(value: Any) -> Any:
    return base64.b64decode(value["bytes"]) if isinstance(value, dict) else value


def _event(line: list[Any]) -> TransportEvent:
    name, values = line
    arguments = {key: _unpacked(value) for key, value in values.items()}
    for key in arguments:
        enum = _OUTCOMES.get(name) if key == "outcome" else _ENUMS.get(key)
        if enum is not None:
            arguments[key] = enum(arguments[key])
    return cast(TransportEvent, getattr(base, name)(**arguments))


async def _serve(transport: Transport) -> None:
    closed = asyncio.Event()

    def tell(event: TransportEvent) -> None:
        values = {name: _packed(getattr(event, name)) for name in event.__struct_fields__}
        sys.stdout.buffer.write(_line([type(event).__name__, values]))
        sys.stdout.buffer.flush()
        if isinstance(event, base.Closed):
            closed.set()

    transport.open(tell)
    reader = asyncio.StreamReader(limit=1 << 26)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        name, arguments = json.loads(line)
        getattr(transport, name)(*map(_unpacked, arguments))
    await closed.wait()


def _main() -> None:
    module, _, function = sys.argv[1].partition(":")
    make: Callable[..., Transport] = getattr(importlib.import_module(module), function)
    asyncio.run(_serve(make(*sys.argv[2:])))


if __name__ == "__main__":
    _main()
