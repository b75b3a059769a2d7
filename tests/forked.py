"""The `asya` command as a process of its own that starts at once: a fork of the test's process, which has imported it once.

Called by tests that run the command many times. It differs from ``python -m asya_cli`` in the 0.2 s that its imports take there:
arguments, environment, folder, streams and exit code are those of a process.
"""

import os
import select
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, NoReturn

import asya_cli.__main__
import asya_cli.commands.flow
import asya_cli.commands.mcp
import asya_cli.commands.run
import asya_cli.run.one_shot

__all__ = ["WAIT_SECONDS", "run", "run_text"]

WAIT_SECONDS = 60.0


def run(words: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> "subprocess.CompletedProcess[bytes]":
    """Run ``asya WORDS…`` in `cwd` with `env` and nothing else in its environment; standard input is empty.

    Raises subprocess.TimeoutExpired after `WAIT_SECONDS`; the process is killed then.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12 warns of pytest-xdist's thread; the child does not need it
            pid = os.fork()
        if pid == 0:
            _become(words, cwd, env, out, err)
        try:
            status = _wait(pid)
        except subprocess.TimeoutExpired as expired:
            expired.cmd = ["asya", *words]
            expired.stdout, expired.stderr = _content(out), _content(err)
            raise
        return subprocess.CompletedProcess(["asya", *words], os.waitstatus_to_exitcode(status), _content(out), _content(err))


def run_text(words: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """`run` with its output as text."""
    done = run(words, cwd=cwd, env=env)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def _wait(pid: int) -> int:
    end = os.pidfd_open(pid)
    try:
        if not select.select([end], [], [], WAIT_SECONDS)[0]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise subprocess.TimeoutExpired([], WAIT_SECONDS)
        return os.waitpid(pid, 0)[1]
    finally:
        os.close(end)


def _content(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _text(number: int, mode: str, errors: str) -> TextIOWrapper:
    return TextIOWrapper(open(number, mode, closefd=False), encoding="utf-8", errors=errors, line_buffering=number == 2)


def _become(words: Sequence[str], cwd: Path, env: Mapping[str, str], out: BinaryIO, err: BinaryIO) -> NoReturn:
    code = 1
    try:
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        null = os.open(os.devnull, os.O_RDONLY)
        for number, descriptor in enumerate((null, out.fileno(), err.fileno())):
            os.dup2(descriptor, number)
        os.closerange(3, 1024)
        sys.stdin, sys.stdout = _text(0, "rb", "strict"), _text(1, "wb", "strict")
        sys.stderr = _text(2, "wb", "backslashreplace")
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["asya", *words]
        sys.path.insert(0, str(cwd))  # as -m has it
        asya_cli.__main__.main()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
