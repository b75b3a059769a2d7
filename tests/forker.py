"""The process that `tests.forked` forks: it has imported one of our programs, and becomes it once per request.

As a program: ``forker.py FD PROGRAM``. It has one thread, and ends with whoever started it. An ``asya run`` that it becomes has its
sidecars forked the same way, by a nursery: a fork of this process, made before the command begins, and waited for at its end.
"""

import array
import asyncio
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
import sys
import traceback
import warnings
from asyncio.subprocess import PIPE
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, NoReturn

__all__ = ["MAX_REQUEST"]

PRELOADED: Final = {
    "asya_cli": (
        *("asya_flowc", "httpx", "httpcore", "encodings.idna", "anyio", "certifi", "rich.console", "rich.progress", "rich.table"),
        *("asya_sidecar", "uvloop", "asya_core.transports.rabbitmq"),
    ),
    "asya_sidecar": ("uvloop", "asya_core.transports.rabbitmq", "asya_core.transports.embedded"),
}
"""Beside all modules of the program itself: what it imports only when it needs it, and most tests need; a package with all its modules."""
_IMPORTED: Final[set[str]] = set()
MAX_REQUEST: Final = 1 << 20
_MAX_DESCRIPTORS: Final = 16
_OUT_OF_THE_WAY: Final = 512
"""Descriptors of a child wait from this number on for their own."""


def main(control: socket.socket, program: str) -> None:
    """Import `program` and serve; what still runs at the end is killed."""
    for name in (program, *PRELOADED.get(program, ())):
        _import(name)
    gc.freeze()
    for pid in _serve(control):
        os.kill(pid, signal.SIGKILL)


def _import(name: str) -> None:
    """Import a module, and a package of ours with all that is in it."""
    if name in _IMPORTED:
        return
    _IMPORTED.add(name)
    module = importlib.import_module(name)
    if name.startswith("asya_") and "." not in name:
        for each in pkgutil.walk_packages(module.__path__, f"{name}."):
            importlib.import_module(each.name)


def _serve(control: socket.socket) -> list[int]:
    """Fork on request, tell of ends, until the other end of `control` is closed; gives who still runs then."""
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
        message, descriptors, _, _ = socket.recv_fds(control, MAX_REQUEST, _MAX_DESCRIPTORS)
        if not message:
            break
        request = json.loads(message)
        if not _IMPORTED.issuperset(request["imports"]):
            for name in request["imports"]:
                _import(name)
            gc.freeze()  # a child that collects garbage would copy them all
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            _become(request, descriptors[1:])
        for descriptor in descriptors[1:]:
            os.close(descriptor)
        statuses[pid] = descriptors[0]
        control.send(str(pid).encode())
    _tell_ends(statuses)
    return list(statuses)


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
    end_nursery: Callable[[], None] | None = None
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
        if request["words"][:3] == ["-m", "asya_cli", "run"]:
            end_nursery = _begin_nursery()
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
        if end_nursery is not None:
            end_nursery()
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
    if words[0] == "-P":
        words = words[1:]
        del sys.path[0]
    elif words[0] == "-m":
        sys.path[0] = os.getcwd()
    else:
        sys.path[0] = str(Path(words[0]).parent)
    if words[0] == "-m":
        sys.argv = ["asya" if words[1] == "asya_cli" else words[1], *words[2:]]
        sys.modules.pop(f"{words[1]}.__main__", None)
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


# ------------------------------------------------------------------------------------------- programs of ours that a command starts


def _begin_nursery() -> Callable[[], None]:
    """From now on ``python -P -m PROGRAM`` that this process starts is a fork, if the forked process had imported that program.

    Gives what ends the nursery; whoever still runs then goes on, as after an end of the command.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_REQUEST)
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()  # what is sent to the command's group is not for it
            null = os.open(os.devnull, os.O_RDWR)
            _take_places([null, null, null, theirs.fileno()], [0, 1, 2, 3])
            theirs.detach()
            _serve(socket.socket(fileno=3))
        finally:
            os._exit(0)
    theirs.close()
    start = asyncio.create_subprocess_exec

    async def start_forked(program: str, *words: str, **options: Any) -> Any:
        if program != sys.executable or words[:2] != ("-P", "-m") or f"{words[2]}.__main__" not in sys.modules:
            return await start(program, *words, **options)
        assert (options["stdin"], options["stdout"], options["stderr"]) == (asyncio.subprocess.DEVNULL, PIPE, PIPE)
        return await _Nursling.start(ours, words, options)

    asyncio.create_subprocess_exec = start_forked

    def end_nursery() -> None:
        ours.close()
        os.waitpid(pid, 0)

    return end_nursery


class _Nursling:
    """The part of `asyncio.subprocess.Process` that the command uses.

    Attributes:
        pid: of the process.
        stdout, stderr: what it writes.
        returncode: once it has ended, as there.
    """

    def __init__(self, pid: int, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader, status: asyncio.StreamReader) -> None:
        self.pid, self.stdout, self.stderr = pid, stdout, stderr
        self.returncode: int | None = None
        self._end = asyncio.create_task(self._until_end(status))

    @classmethod
    async def start(cls, nursery: socket.socket, words: tuple[str, ...], options: dict[str, Any]) -> "_Nursling":
        (status, status_end), (out, out_end), (err, err_end) = os.pipe(), os.pipe(), os.pipe()
        null = os.open(os.devnull, os.O_RDWR)
        places = {0: null, 1: out_end, 2: err_end} | {each: each for each in options["pass_fds"]}
        request = {
            "words": words,
            "environment": options["env"],
            "folder": str(options["cwd"]),
            "places": list(places),
            "imports": [],
            "patches": {},
            "new_session": options["start_new_session"],
        }
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [status_end, *places.values()]))]
        nursery.sendmsg([json.dumps(request).encode()], rights)
        pid = nursery.recv(16)
        for each in (status_end, out_end, err_end, null):
            os.close(each)
        assert pid, "the nursery has ended"
        return cls(int(pid), *[await _reader(each) for each in (out, err, status)])

    async def wait(self) -> int:
        return await asyncio.shield(self._end)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    async def _until_end(self, status: asyncio.StreamReader) -> int:
        told = await status.read()
        assert told, "the nursery has ended"
        self.returncode = int(told)
        return self.returncode


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    pipe = open(descriptor, "rb", buffering=0)  # noqa: ASYNC230, SIM115  # a pipe that is open; the loop closes it
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    return reader


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
