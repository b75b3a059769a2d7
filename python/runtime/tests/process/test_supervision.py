"""The supervisor: limits, deaths, restarts, signals, the way out."""

import os
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest

PAYLOADS, ERROR, DRAIN = 0x20, 0x22, 2
ECHO = "def process(p): return p\n"


def test_endless_loop_is_killed_and_the_next_call_served(start: Callable[..., Any]) -> None:
    runtime = start("handlers.process", "def process(p):\n    while p == 'hang': pass\n    return p\n")
    client, worker = runtime.connect(), runtime.worker_pid
    client.start_call(b'{"payload":"hang"}', 100)
    assert client.is_closed()
    assert runtime.connect().payload("next") == (PAYLOADS, (False, ["next"]))
    assert runtime.worker_pid != worker


def test_async_handler_that_swallows_its_cancellation_is_killed(start: Callable[..., Any]) -> None:
    source = """
import asyncio
async def process(p):
    while p == "hang":
        try: await asyncio.Event().wait()
        except asyncio.CancelledError: pass
    return p
"""
    runtime = start("handlers.process", source)
    client = runtime.connect()
    client.start_call(b'{"payload":"hang"}', 100)
    assert client.is_closed()
    assert runtime.connect().payload("next") == (PAYLOADS, (False, ["next"]))


def test_killed_worker_takes_what_it_started_along(start: Callable[..., Any]) -> None:
    source = "import subprocess\ndef process(p):\n    child = subprocess.Popen(['sleep', '1000'])\n    return child.pid\n"
    runtime = start("handlers.process", source)
    client = runtime.connect()
    _, (_, (child,)) = client.payload(0)
    os.kill(runtime.worker_pid, signal.SIGKILL)
    assert client.is_closed()
    runtime.connect()
    runtime.wait_until(lambda: is_gone(child))


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has reaped yet has."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before the file was opened, or before it was read
        return True


def test_fourth_quick_death_is_followed_by_a_pause(start: Callable[..., Any]) -> None:
    runtime = start("handlers.process", ECHO)
    for _ in range(4):
        client = runtime.connect()
        os.kill(runtime.worker_pid, signal.SIGKILL)
        assert client.is_closed()
    assert runtime.connect().hello["last_exit"] == {"signal": 9}
    told = [line for line in runtime.stderr().splitlines() if "starting another" in line]
    assert [line.endswith("starting another") for line in told] == [True, True, True, False]
    assert told[3].endswith("starting another in 1 s")


def test_worker_that_exits_by_itself_is_replaced(start: Callable[..., Any]) -> None:
    runtime = start("handlers.process", "import os\ndef process(p): os._exit(5)\n")
    client = runtime.connect()
    client.start_call(b'{"payload":1}')
    assert client.is_closed()
    assert runtime.connect().hello["last_exit"] == {"code": 5}


def test_load_that_is_killed_by_a_signal_ends_with_128_and_its_number(start: Callable[..., Any]) -> None:
    runtime = start("handlers.process", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    assert runtime.wait() == 137
    assert "killed by signal 9 while it loaded the handler" in runtime.last_line()


def test_exit_code_of_a_load_that_exits_by_itself_is_passed_on(start: Callable[..., Any]) -> None:
    assert start("handlers.process", "import os\nos._exit(9)\n").wait() == 9


def test_sigterm_while_loading_ends_with_0(start: Callable[..., Any]) -> None:
    runtime = start("handlers.process", "open('loading', 'w').close()\nimport time\ntime.sleep(1000)\n")
    runtime.wait_until((runtime.folder / "loading").exists)
    assert "not loaded" in runtime.probe("ready").stderr
    runtime.process.send_signal(signal.SIGTERM)
    assert runtime.wait() == 0


@pytest.mark.parametrize("supervise", ["1", "0"])
def test_sigterm_that_was_held_back_since_before_the_start_ends_with_0(start: Callable[..., Any], supervise: str) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        runtime = start("handlers.process", "open('loading', 'w').close()\n" + ECHO, ASYA_SUPERVISE=supervise)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    runtime.process.send_signal(signal.SIGTERM)
    assert runtime.wait() == 0
    if supervise == "1":
        assert not (runtime.folder / "loading").exists()  # no worker was started for it


def test_sigterm_without_a_peer_ends_with_0_and_takes_the_files_away(start: Callable[..., Any]) -> None:
    for source in (ECHO, "async " + ECHO):
        runtime = start("handlers.process", source)
        runtime.connect().close()
        runtime.process.send_signal(signal.SIGTERM)
        assert runtime.wait() == 0
        assert not os.path.exists(runtime.socket_path)
        assert "has made" in runtime.probe("live").stderr


@pytest.mark.parametrize("kind", ["", "async "])
def test_sigterm_after_a_peer_that_left_before_it_was_greeted_ends_with_0(start: Callable[..., Any], kind: str) -> None:
    """As a sidecar does that gets its own SIGTERM while the handler is still being loaded."""
    loading = "import os, time\nopen('loading', 'w').close()\nwhile not os.path.exists('go'): time.sleep(0.01)\n"
    runtime = start("handlers.process", loading + kind + ECHO)
    runtime.wait_until((runtime.folder / "loading").exists)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(runtime.socket_path)
    (runtime.folder / "go").touch()
    runtime.wait_until(lambda: runtime.probe("ready").returncode == 0)
    runtime.process.send_signal(signal.SIGTERM)
    assert runtime.wait() == 0


def test_second_interrupt_ends_at_once_with_130(start: Callable[..., Any]) -> None:
    runtime = start("handlers.process", "import time\ndef process(p): time.sleep(1000)\n")
    client = runtime.connect()
    client.start_call(b'{"payload":1}')
    runtime.process.send_signal(signal.SIGINT)
    assert client.read()[0] == DRAIN
    runtime.process.send_signal(signal.SIGINT)
    assert client.is_closed()
    assert runtime.wait() == 130


def test_drain_answers_all_running_async_calls(start: Callable[..., Any]) -> None:
    source = """
import asyncio
barrier = []
async def process(p):
    barrier.append(p)
    if p == "go": event.set()
    await event.wait()
    return p
event = asyncio.Event()
"""
    runtime = start("handlers.process", source, ASYA_CONCURRENCY="3")
    client = runtime.connect()
    numbers = {client.start_call(b'{"payload":"%d"}' % number) for number in range(2)}
    runtime.process.send_signal(signal.SIGTERM)
    assert client.read()[0] == DRAIN
    numbers.add(client.start_call(b'{"payload":"go"}'))  # sent before the sidecar has seen DRAIN
    assert {client.read()[:2] for _ in range(3)} == {(PAYLOADS, number) for number in numbers}
    assert client.is_closed()
    assert runtime.wait() == 0


def test_death_of_the_worker_while_draining_ends_with_1(start: Callable[..., Any]) -> None:
    runtime = start("handlers.process", "import time\ndef process(p): time.sleep(1000)\n")
    client = runtime.connect()
    client.start_call(b'{"payload":1}')
    runtime.process.send_signal(signal.SIGTERM)
    assert client.read()[0] == DRAIN
    os.kill(runtime.worker_pid, signal.SIGKILL)
    assert runtime.wait() == 1


def test_end_of_the_parents_pipe_ends_supervisor_and_worker(start: Callable[..., Any]) -> None:
    read_end, write_end = os.pipe()
    runtime = start("handlers.process", ECHO, pass_fds=(read_end,), ASYA_PARENT_FD=str(read_end))
    os.close(read_end)
    client = runtime.connect()
    os.close(write_end)
    assert client.is_closed()
    assert runtime.wait() == 0


def test_worker_ends_when_its_supervisor_is_killed(start: Callable[..., Any]) -> None:
    runtime = start("handlers.process", ECHO)
    client, worker = runtime.connect(), runtime.worker_pid
    runtime.process.kill()
    assert client.is_closed()
    runtime.wait_until(lambda: is_gone(worker))


def test_unsupervised_runtime_answers_and_drains(start: Callable[..., Any]) -> None:
    runtime = start("handlers.process", ECHO, ASYA_SUPERVISE="0")
    client = runtime.connect()
    assert client.payload({}) == (PAYLOADS, (False, [{}]))
    assert runtime.probe("live").returncode == 0
    runtime.process.send_signal(signal.SIGTERM)
    assert client.read()[0] == DRAIN
    assert runtime.wait() == 0


def test_unknown_argument_ends_with_64(python: str) -> None:
    import subprocess
    from pathlib import Path

    runtime = Path(__file__).parents[2] / "asya_runtime.py"
    done = subprocess.run([python, str(runtime), "--prob"], capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == 64
    assert "--prob' are not known" in done.stderr
    done = subprocess.run([python, str(runtime), "--version"], capture_output=True, text=True, check=False, timeout=10)
    assert done.stdout.startswith("asya-runtime ")
