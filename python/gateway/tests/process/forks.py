"""Starts gateways as forks of one process that has imported them: an import costs a second of CPU, a fork nothing. Called by conftest.

Each is a process of its own with its own environment, standard error, signals and exit code, as `python -m asya_gateway` would be; that
command itself is run by tests/contract. As a program (``forks.py FD``) this is the process that is forked; it ends with whoever started it.
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
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn

_MAX_REQUEST = 1 << 20


class Fork:
    """One gateway; the part of `subprocess.Popen` that tests use.

    Attributes:
        pid: of the process.
        stderr: its standard error as text.
    """

    def __init__(self, pid: int, stderr: int, status: int) -> None:
        self.pid = pid
        self.stderr = open(stderr, encoding="utf-8")  # noqa: SIM115  # closed by whoever reads it
        self._status: int | None = status
        self._code = 0

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process is known to have ended."""
        if self._status is not None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout_seconds: float) -> int:
        """The exit code, or minus the signal's number. Raises subprocess.TimeoutExpired."""
        if self._status is not None:
            if not select.select([self._status], [], [], timeout_seconds)[0]:
                raise subprocess.TimeoutExpired("asya_gateway", timeout_seconds)
            told = os.read(self._status, 16)
            os.close(self._status)
            self._status = None
            assert told, "the process that forks gateways has ended"
            self._code = int(told)
        return self._code


class Forks:
    """The process that is forked, started at first use."""

    def __init__(self) -> None:
        self._control: socket.socket | None = None

    def start(self, environment: Mapping[str, str]) -> Fork:
        """``python -m asya_gateway`` with this environment."""
        if self._control is None:
            self._control = self._begin()
        stderr, stderr_end = os.pipe()
        status, status_end = os.pipe()
        request = json.dumps(dict(environment)).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [stderr_end, status_end]))]
        self._control.sendmsg([request], rights)
        for descriptor in (stderr_end, status_end):
            os.close(descriptor)
        pid = self._control.recv(16)
        assert pid, "the process that forks gateways has ended"
        return Fork(int(pid), stderr, status)

    def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MAX_REQUEST)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")}
        command = [sys.executable, __file__, str(theirs.fileno())]
        process = subprocess.Popen(command, env=clean, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()

        def end() -> None:
            ours.close()
            process.wait(60)

        atexit.register(end)
        return ours


FORKS = Forks()


def main(control: socket.socket) -> None:
    """Fork on request, tell of ends, until the other end of `control` is closed; what still runs then is killed."""
    import asya_gateway.__main__ as gateway

    woken, wake = os.pipe()
    for descriptor in (woken, wake):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    statuses: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _tell_ends(statuses)
        if control not in ready:
            continue
        request, descriptors, _, _ = socket.recv_fds(control, _MAX_REQUEST, 2)
        if not request:
            break
        stderr, status = descriptors
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for descriptor in (control.fileno(), woken, wake, status, *statuses.values()):
                os.close(descriptor)
            _become(gateway, json.loads(request), stderr)
        os.close(stderr)
        statuses[pid] = status
        control.send(str(pid).encode())
    for pid in statuses:
        os.kill(pid, signal.SIGKILL)


def _tell_ends(statuses: dict[int, int]) -> None:
    while statuses:
        pid, code = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        status = statuses.pop(pid)
        try:
            os.write(status, str(os.waitstatus_to_exitcode(code)).encode())
        except BrokenPipeError:
            pass  # nobody asked
        os.close(status)


def _become(gateway: Any, environment: dict[str, str], stderr: int) -> NoReturn:
    code = 70
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor, place in ((null, 0), (null, 1), (stderr, 2)):
            os.dup2(descriptor, place)
        for descriptor in (null, stderr):
            os.close(descriptor)
        os.environ.clear()
        os.environ.update(environment)
        code = gateway.main([], environment)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
