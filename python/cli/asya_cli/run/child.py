"""One process that this command started: its lines, its end. Called by `pair`; knows nothing of actors."""

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["Child"]

TAIL_LINES: Final = 400
_CHUNK_BYTES: Final = 65_536


class Child:
    """A running process in a session of its own, so that Ctrl-C reaches it through us only.

    Args:
        process: started by `start`.
        on_line: called with (line, is_stderr) for each line, in the loop's thread.
    """

    def __init__(self, process: asyncio.subprocess.Process, on_line: Callable[[str, bool], None]) -> None:
        self._process = process
        self._on_line = on_line
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        """The last lines of its stderr."""
        self._pumps = [
            asyncio.create_task(self._pump(stream, is_stderr))
            for stream, is_stderr in ((process.stdout, False), (process.stderr, True))
            if stream is not None
        ]

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        inherited: Sequence[int],
        on_line: Callable[[str, bool], None],
    ) -> "Child":
        """Start `command`. Raises OSError if it cannot be."""
        process = await asyncio.create_subprocess_exec(
            *command,
            env=dict(environment),
            cwd=directory,
            pass_fds=tuple(inherited),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        return cls(process, on_line)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def wait(self) -> int:
        """The exit code, once the process has ended and all its lines were handed over; negative for a signal."""
        code = await self._process.wait()
        # A grandchild that the handler left behind may hold the pipes open: do not wait for it.
        _, late = await asyncio.wait(self._pumps, timeout=1.0)
        for pump in late:
            pump.cancel()
        return code

    def terminate(self) -> None:
        """Ask the process to finish what it does and end."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End the process and what it started."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _pump(self, stream: asyncio.StreamReader, is_stderr: bool) -> None:
        rest = b""
        while chunk := await stream.read(_CHUNK_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(line, is_stderr)
            if len(rest) > _CHUNK_BYTES:
                self._take(rest, is_stderr)
                rest = b""
        if rest:
            self._take(rest, is_stderr)

    def _take(self, raw_line: bytes, is_stderr: bool) -> None:
        line = raw_line.decode("utf-8", "backslashreplace").rstrip("\r")
        if is_stderr:
            self.tail.append(line)
        self._on_line(line, is_stderr)
