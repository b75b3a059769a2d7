"""A real runtime process and the sidecar's side of its socket, as fixtures."""

import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

RUNTIME = Path(__file__).parents[2] / "asya_runtime.py"
WAIT = 30.0
"""Seconds: the one bound of every wait. Generous, as machines are shared; nothing here measures speed."""
OLDEST_PYTHON = os.environ.get("ASYA_TEST_OLDEST_PYTHON")
"""Path of a Python 3.9, for a run by hand: nothing is skipped where there is none."""
HELLO, DRAIN, FAULT, CALL, PAYLOADS, ENVELOPES, ERROR = 1, 2, 3, 0x10, 0x20, 0x21, 0x22


def newest_python() -> str | None:
    """The interpreter that ci/pythons.sh unpacked, if it did."""
    cache = Path(os.environ.get("ASYA_CACHE") or Path.home() / ".cache" / "asya")
    pointer = cache / "python-newest" / "interpreter"
    return pointer.read_text().strip() if pointer.is_file() else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Modules with ``EVERY_PYTHON = True`` run with the newest Python too, and with an old one that is named by hand."""
    if "python" in metafunc.fixturenames:
        others = ["newest", *(["oldest"] if OLDEST_PYTHON else [])]
        every = getattr(metafunc.module, "EVERY_PYTHON", False)
        metafunc.parametrize("python", ["this", *(others if every else [])], indirect=True)


@pytest.fixture
def python(request: pytest.FixtureRequest) -> str:
    """An interpreter: this one, the newest of Debian's archive, or the one that ``ASYA_TEST_OLDEST_PYTHON`` names."""
    if request.param == "this":
        return sys.executable
    if request.param == "oldest":
        return str(OLDEST_PYTHON)
    path = newest_python()
    if path is None:
        message = "no newest Python: run ci/pythons.sh"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return path


class Client:
    """The sidecar's side of one connection."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(WAIT)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.number = 0
        self.hello: dict[str, Any] = {}

    def read_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self.socket.recv(min(size - len(data), 1 << 20))
            if not chunk:
                raise EOFError(f"connection closed after {len(data)} of {size} bytes")
            data += chunk
        return data

    def read(self) -> tuple[int, int, bytes]:
        (length,) = struct.unpack(">I", self.read_exactly(4))
        body = self.read_exactly(length)
        kind, call = struct.unpack_from(">BI", body)
        return kind, call, body[5:]

    def send(self, kind: int, call: int, body: bytes = b"") -> None:
        self.socket.sendall(struct.pack(">IBI", len(body) + 5, kind, call) + body)

    def greet(self, *, actor: str = "a", max_frame: int = 67108864, protocol: int = 1) -> dict[str, Any]:
        kind, call, body = self.read()
        assert (kind, call) == (HELLO, 0)
        self.hello = json.loads(body)
        self.send(HELLO, 0, json.dumps({"protocol": protocol, "sidecar": "0.1.0", "actor": actor, "max_frame": max_frame}).encode())
        return self.hello

    def start_call(self, body: bytes, limit_ms: int = 0) -> int:
        self.number += 1
        self.send(CALL, self.number, struct.pack(">I", limit_ms) + body)
        return self.number

    def call(self, body: bytes | dict[str, Any], limit_ms: int = 0) -> tuple[int, Any]:
        """Kind and decoded body of the reply to one message."""
        number = self.start_call(body if isinstance(body, bytes) else json.dumps(body).encode(), limit_ms)
        kind, call, reply = self.read()
        assert call == number, (kind, call, reply)
        return kind, decode_reply(kind, reply)

    def payload(self, payload: Any, limit_ms: int = 0) -> tuple[int, Any]:
        return self.call({"id": "7", "route": {"actors": ["a", "b"], "current": 0}, "payload": payload}, limit_ms)

    def is_closed(self) -> bool:
        """Wait for the end of file; anything else is returned as False."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.socket.close()


def decode_reply(kind: int, body: bytes) -> Any:
    """ERROR: the object. Others: ``(fan_out, items)`` with the items' JSON values."""
    if kind == ERROR:
        return json.loads(body)
    flags, count = struct.unpack_from(">BI", body)
    items, at = [], 5
    for _ in range(count):
        (size,) = struct.unpack_from(">I", body, at)
        items.append(json.loads(body[at + 4 : at + 4 + size]))
        at += 4 + size
    assert at == len(body)
    return bool(flags), items


class Runtime:
    """One runtime process with its folder, log files and clients."""

    def __init__(self, python: str, folder: Path, environ: dict[str, str], pass_fds: tuple[int, ...] = ()) -> None:
        self.python = python
        self.folder = folder
        self.short = tempfile.mkdtemp(prefix="asya-")  # socket paths are short
        self.socket_path = environ.get("ASYA_SOCKET") or os.path.join(self.short, "runtime.sock")
        self.stdout_path, self.stderr_path = folder / "stdout.log", folder / "stderr.log"
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("ASYA_", "PYTHON", "COV_"))}
        self.environ = {**clean, "ASYA_SOCKET": self.socket_path, **environ}
        with open(self.stdout_path, "ab") as out, open(self.stderr_path, "ab") as err:
            self.process = subprocess.Popen(
                [python, str(RUNTIME)], cwd=folder, env=self.environ, stdin=subprocess.DEVNULL, stdout=out, stderr=err, pass_fds=pass_fds
            )
        self.clients: list[Client] = []

    def connect(self, *, greet: bool = True, actor: str = "a", max_frame: int = 67108864) -> Client:
        deadline = time.monotonic() + WAIT
        while True:
            try:
                client = Client(self.socket_path)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"runtime does not listen: {self.process.poll()} {self.stderr()}") from None
                select.select([], [], [], 0.01)
        self.clients.append(client)
        if greet:
            client.greet(actor=actor, max_frame=max_frame)
        return client

    def wait(self) -> int:
        return self.process.wait(WAIT)

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Until something is so that no event tells, such as a line on stderr; fails at the bound."""
        deadline = time.monotonic() + WAIT
        while not is_so():
            assert time.monotonic() < deadline, self.stderr()
            select.select([], [], [], 0.01)

    def stderr(self) -> str:
        return self.stderr_path.read_text(errors="replace")

    def stdout(self) -> str:
        return self.stdout_path.read_text(errors="replace")

    def last_line(self) -> str:
        return self.stderr().rstrip("\n").rpartition("\n")[2]

    def state(self) -> list[float]:
        with open(os.path.splitext(self.socket_path)[0] + ".state", "rb") as file:
            return list(memoryview(file.read()).cast("d"))

    @property
    def worker_pid(self) -> int:
        return int(self.state()[1])

    def probe(self, kind: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, str(RUNTIME), "--probe", kind], env=self.environ, capture_output=True, text=True, timeout=WAIT, check=False
        )

    def close(self) -> None:
        for client in self.clients:
            client.close()
        if self.process.poll() is None:
            worker = self.worker_pid if os.path.exists(self.socket_path) else 0
            self.process.kill()
            self.process.wait(WAIT)
            if worker:
                try:
                    os.killpg(worker, signal.SIGKILL)
                except OSError:
                    pass
        shutil.rmtree(self.short, ignore_errors=True)


@pytest.fixture
def start(python: str, tmp_path: Path) -> Iterator[Callable[..., Runtime]]:
    """Starts runtimes: ``start(handler, source=..., **environment)``. The source becomes ``handlers.py`` in the working directory."""
    started: list[Runtime] = []

    def begin(
        handler: str, source: str = "", *, files: dict[str, str] | None = None, pass_fds: tuple[int, ...] = (), **environ: str
    ) -> Runtime:
        folder = tmp_path / f"app{len(started)}"
        folder.mkdir()
        for name, text in {"handlers.py": source, **(files or {})}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        runtime = Runtime(python, folder, {"ASYA_HANDLER": handler, **environ}, pass_fds)
        started.append(runtime)
        return runtime

    yield begin
    for runtime in started:
        runtime.close()
