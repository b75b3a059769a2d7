"""Our programs as processes that start at once: forks of a process that has imported them once. Called by tests that start many.

``start(["-m", "asya_sidecar"], …)`` is ``python -m asya_sidecar`` but for the time that imports take there, 0.1 to 1 s of CPU: arguments,
environment, folder, streams, signals and exit code are those of a process of its own. What starts an interpreter itself, and what it
imports, is tested by other tests.

As a program (``forked.py FD PROGRAM``) this is the process that is forked, one per program and test process; it has one thread, and ends
with whoever started it.
"""

import array
import atexit
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

__all__ = ["WAIT_SECONDS", "Fork", "run", "run_text", "start"]

WAIT_SECONDS: Final = 60.0
PRELOADED: Final = {
    "asya_cli": ("asya_flowc", "httpx", "httpcore", "encodings.idna", "rich.console", "rich.progress", "rich.syntax", "rich.traceback"),
    "asya_sidecar": ("uvloop", "asya_core.transports.rabbitmq", "asya_core.transports.embedded"),
}
"""Beside all modules of the program itself: what it imports only when it needs it, and most tests need."""
_MAX_REQUEST: Final = 1 << 20
_MAX_DESCRIPTORS: Final = 16
_OUT_OF_THE_WAY: Final = 512
"""Descriptors of a child wait from this number on for their own."""


class Fork:
    """One process; the part of `subprocess.Popen` that tests use.

    Attributes:
        pid: of the process.
        stderr: its standard error as text, if that is a pipe.
    """

    def __init__(self, pid: int, status: int, stderr: int | None) -> None:
        self.pid = pid
        self.stderr = None if stderr is None else open(stderr, encoding="utf-8", errors="replace")  # noqa: SIM115  # its reader closes it
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
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MAX_REQUEST)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")}
        command = [sys.executable, __file__, str(theirs.fileno()), self.program]
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
        stdout, stderr: a file's descriptor, or as in subprocess. Standard input is empty.
        pass_fds: descriptors that it shall have under the same numbers.
        imports: modules that the forked process shall have before it forks.
        patches: what ``MODULE.NAME`` shall be in the new process, as JSON.
        new_session: away from the test's own process group.
    """
    with _FORKERS_LOCK:
        forker = _FORKERS.setdefault(name := program or words[1], _Forker(name))
    status, status_end = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    read_end, closed = None, [status_end, null]
    if stderr == subprocess.PIPE:
        read_end, stderr = os.pipe()
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
    return Fork(pid, status, read_end)


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


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


# --------------------------------------------------------------------------------------------------------- the process that is forked


def main(control: socket.socket, program: str) -> None:
    """Fork on request, tell of ends, until the other end of `control` is closed; what still runs then is killed."""
    path = importlib.import_module(program).__path__
    for name in (*(each.name for each in pkgutil.walk_packages(path, f"{program}.")), *PRELOADED.get(program, ())):
        importlib.import_module(name)
    gc.freeze()
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
        message, descriptors, _, _ = socket.recv_fds(control, _MAX_REQUEST, _MAX_DESCRIPTORS)
        if not message:
            break
        request = json.loads(message)
        for name in request["imports"]:
            importlib.import_module(name)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            _become(request, descriptors[1:])
        for descriptor in descriptors[1:]:
            os.close(descriptor)
        statuses[pid] = descriptors[0]
        control.send(str(pid).encode())
    for pid in statuses:
        os.kill(pid, signal.SIGKILL)


def _tell_ends(statuses: dict[int, int]) -> None:
    while statuses:
        pid, code = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        status = statuses.pop(pid)
        with suppress(BrokenPipeError):  # nobody asked
            os.write(status, str(os.waitstatus_to_exitcode(code)).encode())
        os.close(status)


def _become(request: dict[str, Any], descriptors: list[int]) -> NoReturn:
    code = 1
    try:
        _take_places(descriptors, request["places"])
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if request["new_session"]:
            os.setsid()
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        sys.stdin, sys.stdout = _text(0, "rb", "strict"), _text(1, "wb", "strict")
        sys.stderr = _text(2, "wb", "backslashreplace")
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        for place, value in request["patches"].items():
            module, _, name = place.rpartition(".")
            setattr(importlib.import_module(module), name, value)
        _run_words(request["words"])
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 0xFF)


def _take_places(descriptors: list[int], places: list[int]) -> None:
    """Give each descriptor the number that the new process knows it by; all others of the forked process are closed."""
    waiting = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _OUT_OF_THE_WAY) for descriptor in descriptors]
    os.closerange(3, _OUT_OF_THE_WAY)
    for descriptor, place in zip(waiting, places, strict=True):
        os.dup2(descriptor, place)
    os.closerange(_OUT_OF_THE_WAY, _OUT_OF_THE_WAY + 2 * _MAX_DESCRIPTORS)


def _text(number: int, mode: str, errors: str) -> TextIOWrapper:
    return TextIOWrapper(open(number, mode, closefd=False), encoding="utf-8", errors=errors, line_buffering=number == 2)


def _run_words(words: list[str]) -> None:
    """What ``python WORDS…`` does once it has started."""
    if words[0] == "-m":
        sys.argv, sys.path[0] = ["asya" if words[1] == "asya_cli" else words[1], *words[2:]], os.getcwd()
        sys.modules.pop(f"{words[1]}.__main__", None)
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = words, str(Path(words[0]).parent)
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
