"""The socket: its file, its peers, and bytes that break the format."""

import os
import socket
import stat
from collections.abc import Callable
from typing import Any

import pytest

PAYLOADS, FAULT = 0x20, 3
ECHO = "def process(p): return p\n"


def mode_of(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_socket_is_0660_in_a_folder_of_0770(start: Callable[..., Any]) -> None:
    short = start("handlers.process", ECHO)  # its folder is short enough
    short.connect()
    path = os.path.join(short.short, "new", "runtime.sock")
    runtime = start("handlers.process", ECHO, ASYA_SOCKET=path)
    runtime.connect()
    assert (mode_of(path), mode_of(os.path.dirname(path))) == (0o660, 0o770)
    assert mode_of(path[:-5] + ".state") == 0o600


def test_another_user_may_not_connect(start: Callable[..., Any]) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may become another user") if not os.environ.get("CI") else pytest.fail("run as root")
    runtime = start("handlers.process", ECHO)
    runtime.connect()
    os.chmod(runtime.short, 0o755)
    groups, client = os.getgroups(), socket.socket(socket.AF_UNIX)
    try:
        os.setgroups([])
        os.setegid(65534)
        os.seteuid(65534)
        with pytest.raises(PermissionError):
            client.connect(runtime.socket_path)
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
        client.close()


def test_path_that_is_too_long_is_refused(start: Callable[..., Any]) -> None:
    runtime = start("handlers.process", ECHO, ASYA_SOCKET="/tmp/" + "x" * 103)
    assert runtime.wait() == 78
    assert "over 107 bytes; choose a shorter path" in runtime.last_line()


def test_folder_that_cannot_be_made_is_refused(start: Callable[..., Any]) -> None:
    runtime = start("handlers.process", ECHO, ASYA_SOCKET="/dev/null/folder/runtime.sock")
    assert runtime.wait() == 78
    assert "cannot be served: Not a directory" in runtime.last_line()


def test_stale_files_of_a_killed_runtime_are_replaced(start: Callable[..., Any]) -> None:
    first = start("handlers.process", ECHO)
    client = first.connect()
    first.process.kill()
    assert client.is_closed()
    first.process.wait()
    assert os.path.exists(first.socket_path)
    second = start("handlers.process", ECHO, ASYA_SOCKET=first.socket_path)
    assert second.connect().payload(1) == (PAYLOADS, (False, [1]))


def test_second_runtime_on_the_same_socket_is_refused_and_disturbs_nobody(start: Callable[..., Any]) -> None:
    first = start("handlers.process", ECHO)
    client = first.connect()
    second = start("handlers.process", ECHO, ASYA_SOCKET=first.socket_path)
    assert second.wait() == 78
    assert "is served by another runtime" in second.last_line()
    assert client.payload(1) == (PAYLOADS, (False, [1]))
    assert first.probe("ready").returncode == 0


def peak_kib(pid: int) -> int:
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


@pytest.mark.parametrize("prefix", ["", "async "], ids=["plain", "async"])
def test_broken_frames_get_a_fault_no_memory_and_the_next_peer_is_served(start: Callable[..., Any], prefix: str) -> None:
    runtime = start("handlers.process", prefix + ECHO)
    runtime.connect().close()
    worker = runtime.worker_pid
    before = peak_kib(worker)
    for raw, code in [
        (b"\0\0\0\0", b"bad_frame"),
        (b"\xff\xff\xff\xff", b"frame_too_large"),
        (b"\4\0\0\1", b"frame_too_large"),
        (b"\0\0\0\5\x7f\0\0\0\0", b"bad_frame"),
        (b"\0\0\0\5\x10\0\0\0\1", b"bad_frame"),
        (b"\0\0\0\7\x03\0\0\0\0{}", b""),
        (b"\0\0\0\7\x20\0\0\0\0{}", b"bad_frame"),
    ]:
        client = runtime.connect()
        client.socket.sendall(raw)
        if code:
            kind, _, body = client.read()
            assert (kind, code in body) == (FAULT, True)
        assert client.is_closed()
    client = runtime.connect()
    client.socket.sendall(b"\3\xff\xff\xff\x10\0\0\0\1")  # announces 64 MiB, sends nothing of it
    client.close()
    assert runtime.connect().payload(1) == (PAYLOADS, (False, [1]))
    assert runtime.worker_pid == worker
    assert peak_kib(worker) - before < 8 * 1024


def test_protocol_mismatch_is_a_fault(start: Callable[..., Any]) -> None:
    client = start("handlers.process", ECHO).connect(greet=False)
    client.greet(protocol=2)
    kind, _, body = client.read()
    assert (kind, b"protocol_mismatch" in body) == (FAULT, True)


def test_second_peer_waits_and_disturbs_nobody(start: Callable[..., Any]) -> None:
    runtime = start("handlers.process", ECHO)
    first = runtime.connect()
    second = runtime.connect(greet=False)
    second.socket.sendall(b"\0\0\0\0")
    assert first.payload({}) == (PAYLOADS, (False, [{}]))


def test_async_calls_of_a_peer_that_leaves_are_cancelled_and_the_next_is_served(start: Callable[..., Any]) -> None:
    runtime = start("handlers.process", "import asyncio\nasync def process(p):\n    if p: await asyncio.Event().wait()\n    return p\n")
    client = runtime.connect()
    client.start_call(b'{"payload":1}')
    client.close()
    assert runtime.connect().payload(0) == (PAYLOADS, (False, [0]))
