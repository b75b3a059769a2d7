"""A gateway that takes every report and answers after a set time, or never: a process, and what starts it. Called by systems.

python -m benchmarks.doubles PORT ANSWER_AFTER_SECONDS        (inf: never)
"""

import asyncio
import math
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

ABSENT = -1.0
"""In place of an answering time: nobody listens there."""
_ANSWER = b'{"cancelled":[],"cursor":0,"recorded":true}'
_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_ANSWER), _ANSWER)


class GatewayDouble:
    """A running double.

    Args:
        answers_after: seconds; `math.inf` never; `ABSENT` starts nothing.
    """

    def __init__(self, answers_after: float) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None
        if answers_after == ABSENT:
            return
        command = [sys.executable, "-m", "benchmarks.doubles", str(port), str(answers_after)]
        self._process = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdin=subprocess.DEVNULL)
        until = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def end(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)


class _Answering(asyncio.Protocol):
    def __init__(self, answers_after: float) -> None:
        self._answers_after = answers_after
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end]).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
            if len(self._buffer) < end + 4 + length:
                return
            del self._buffer[: end + 4 + length]
            if self._answers_after == 0:
                self._transport.write(_RESPONSE)
            elif not math.isinf(self._answers_after):
                asyncio.get_running_loop().call_later(self._answers_after, self._transport.write, _RESPONSE)


async def _serve(port: int, answers_after: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Answering(answers_after), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
