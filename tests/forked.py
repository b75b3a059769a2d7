"""Our programs as processes that start at once: forks of a process that has imported them once. Called by tests that start many.

``start(["-m", "asya_sidecar"], …)`` is ``python -m asya_sidecar`` but for the time that imports take there, 0.1 to 1 s of CPU: arguments,
environment, folder, streams, signals and exit code are those of a process of its own. What starts an interpreter itself, and what it
imports, is tested by other tests. The sidecars of such an ``asya run`` are forks too.

The process that is forked is that of `tests.forker`, one per program and test process; it ends with the test process.
"""

import array
import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, TextIO

from tests import forker

__all__ = ["WAIT_SECONDS", "Fork", "run", "run_text", "start"]

WAIT_SECONDS: Final = 60.0


class Fork:
    """One process; the part of `subprocess.Popen` that tests use.

    Attributes:
        pid: of the process.
        stdout, stderr: what it writes, as text, where that is a pipe.
    """

    def __init__(self, pid: int, status: int, stdout: int | None, stderr: int | None) -> None:
        self.pid = pid
        self.stdout, self.stderr = _text(stdout), _text(stderr)
        self.returncode: int | None = None
        self._status = status
        self._lock = threading.Lock()

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # in this moment
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """All that is left of its output, once it has ended. Raises subprocess.TimeoutExpired."""
        parts: list[list[str]] = [[], []]
        readers = []
        for pipe, part in zip((self.stdout, self.stderr), parts, strict=True):
            if pipe is not None and not pipe.closed:
                readers.append(threading.Thread(target=_read_to_the_end, args=(pipe, part), daemon=True))
                readers[-1].start()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
            if reader.is_alive():
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return "".join(parts[0]), "".join(parts[1])

    def poll(self) -> int | None:
        """The exit code, or minus the signal's number; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """As `poll`, once it has ended. Raises subprocess.TimeoutExpired."""
        with self._lock:
            if self.returncode is None:
                if not select.select([self._status], [], [], timeout)[0]:
                    raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
                told = os.read(self._status, 16)
                os.close(self._status)
                assert told, "the process that is forked has ended"
                self.returncode = int(told)
            return self.returncode


class _Forker:
    """The process of one program that is forked, started at first use."""

    def __init__(self, program: str) -> None:
        self.program = program
        self._lock = threading.Lock()
        self._control: socket.socket | None = None

    def ask(self, request: Mapping[str, object], descriptors: Sequence[int]) -> int:
        """The pid of a new fork."""
        with self._lock:
            if self._control is None:
                self._control = self._begin()
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
            self._control.sendmsg([json.dumps(request).encode()], rights)
            pid = self._control.recv(16)
        assert pid, "the process that is forked has ended"
        return int(pid)

    def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, forker.MAX_REQUEST)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")}
        command = [sys.executable, forker.__file__, str(theirs.fileno()), self.program]
        process = subprocess.Popen(command, env=clean, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()

        def end() -> None:
            ours.close()
            process.wait(WAIT_SECONDS)

        atexit.register(end)
        return ours


_FORKERS: dict[str, _Forker] = {}
_FORKERS_LOCK = threading.Lock()


def start(
    words: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    program: str = "",
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.PIPE,
    pass_fds: Sequence[int] = (),
    imports: Sequence[str] = (),
    patches: Mapping[str, object] | None = None,
    new_session: bool = False,
) -> Fork:
    """Start ``python WORDS…``, which are ``-m MODULE ARGUMENT…`` or ``SCRIPT ARGUMENT…``, with `env` and nothing else in its environment.

    Args:
        words: of the command line.
        env: the environment.
        cwd: the folder; the test's own without it.
        program: the package whose process is forked; that of ``-m`` without it.
        stdout, stderr: a file's descriptor, or as in subprocess: PIPE, DEVNULL. Standard input is empty.
        pass_fds: descriptors that it shall have under the same numbers.
        imports: modules, and packages of ours with all that is in them, that the forked process shall have before it forks. An
            ``asya run --gateway`` that has ``asya_gateway`` forks its gateway too.
        patches: what ``MODULE.NAME`` shall be in the new process, as JSON.
        new_session: away from the test's own process group.
    """
    with _FORKERS_LOCK:
        forker = _FORKERS.setdefault(name := program or words[1], _Forker(name))
    status, status_end = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    read_out, read_err, closed = None, None, [status_end, null]
    if stdout == subprocess.PIPE:
        read_out, stdout = os.pipe()
        closed.append(stdout)
    if stderr == subprocess.PIPE:
        read_err, stderr = os.pipe()
        closed.append(stderr)
    places = {0: null, 1: null if stdout == subprocess.DEVNULL else stdout, 2: null if stderr == subprocess.DEVNULL else stderr}
    places |= {each: each for each in pass_fds}
    request = {
        "words": list(words),
        "environment": dict(env),
        "folder": str(cwd or Path.cwd()),
        "places": list(places),
        "imports": list(imports),
        "patches": dict(patches or {}),
        "new_session": new_session,
    }
    try:
        pid = forker.ask(request, [status_end, *places.values()])
    finally:
        for each in closed:
            os.close(each)
    return Fork(pid, status, read_out, read_err)


def run(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], imports: Sequence[str] = (), patches: Mapping[str, object] | None = None
) -> "subprocess.CompletedProcess[bytes]":
    """Run ``asya WORDS…`` to its end; see `start`.

    Raises subprocess.TimeoutExpired after `WAIT_SECONDS`; the process is killed then.
    """
    command = ["-m", "asya_cli", *words]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start(command, env=env, cwd=cwd, stdout=out.fileno(), stderr=err.fileno(), imports=imports, patches=patches)
        try:
            code = process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired as expired:
            process.kill()
            process.wait(WAIT_SECONDS)
            expired.cmd, expired.stdout, expired.stderr = ["asya", *words], _content(out), _content(err)
            raise
        return subprocess.CompletedProcess(["asya", *words], code, _content(out), _content(err))


def run_text(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], imports: Sequence[str] = (), patches: Mapping[str, object] | None = None
) -> "subprocess.CompletedProcess[str]":
    """`run` with its output as text."""
    done = run(words, cwd=cwd, env=env, imports=imports, patches=patches)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def _text(descriptor: int | None) -> TextIO | None:
    return None if descriptor is None else open(descriptor, encoding="utf-8", errors="replace")  # its reader closes it


def _read_to_the_end(pipe: TextIO, part: list[str]) -> None:
    with pipe:
        part.append(pipe.read())


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()
