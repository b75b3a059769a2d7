"""CPU time and memory of process trees, read from /proc; starting, pausing and ending what is measured.

Called by adapters, workloads and guards.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
END_SECONDS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a set of processes has used.

    Attributes:
        cpu_seconds: user and system time, ended children that were waited for included.
        rss_mb: resident memory now, in 1,000,000 bytes; pages shared between processes count in each.
    """

    cpu_seconds: float
    rss_mb: float


@dataclass(slots=True)
class ProcessGroup:
    """The processes of one system under test, each started in a session of its own."""

    log: Path
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _afterwards: list[Callable[[], None]] = field(default_factory=list)

    def afterwards(self, work: Callable[[], None]) -> None:
        """Do this at the end too: end what runs beside them and is not measured."""
        self._afterwards.append(work)

    def start(self, command: list[str], environment: dict[str, str], cwd: Path | None = None) -> subprocess.Popen[bytes]:
        """Start one; output goes to the log. Nothing of this process's environment is inherited but PATH, HOME and the like."""
        base = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, env=base | environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._started.append(process)
        return process

    def forget(self) -> None:
        """What was started has ended, as it should: from now on it is none of the group."""
        self._started.clear()

    def roots(self) -> list[int]:
        """Those that were started, in order, without what they started."""
        return [process.pid for process in self._started]

    def pids(self) -> list[int]:
        """All living processes of the trees that were started."""
        return descendants([process.pid for process in self._started])

    def failed(self) -> str | None:
        """A sentence about a process that has ended, or None."""
        for process in self._started:
            if process.poll() is not None:
                tail = self.log.read_text(errors="replace")[-3000:]
                return f"{process.args!r} ended with {process.returncode}:\n{tail}"
        return None

    def usage(self) -> Usage:
        """What all of them have used so far."""
        return usage(self.pids())

    def send(self, number: signal.Signals) -> None:
        """Send a signal to every process."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def end(self) -> None:
        """SIGTERM to each that was started, in reverse order; what is left after 15 s is killed."""
        everything = {pid: _started_at(pid) for pid in self.pids()}
        for process in reversed(self._started):
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid, started_at in everything.items():
            if started_at is not None and _started_at(pid) == started_at:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._started.clear()
        for work in self._afterwards:
            work()
        self._afterwards.clear()


def descendants(roots: list[int]) -> list[int]:
    """These processes and all below them."""
    found: list[int] = []
    todo = list(roots)
    while todo:
        pid = todo.pop()
        if pid in found or not Path(f"/proc/{pid}").exists():
            continue
        found.append(pid)
        for task in _children_files(pid):
            with contextlib.suppress(OSError):
                todo.extend(int(child) for child in task.read_text().split())
    return found


def _started_at(pid: int) -> str | None:
    """The kernel's start time of a process, which tells it from a later one with the same number; None if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _children_files(pid: int) -> list[Path]:
    with contextlib.suppress(OSError):
        return [entry / "children" for entry in Path(f"/proc/{pid}/task").iterdir()]
    return []


def usage(pids: list[int]) -> Usage:
    """CPU time and resident memory of these processes together; one that is gone counts nothing."""
    ticks = 0
    pages = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        fields = text.rpartition(")")[2].split()
        ticks += sum(int(value) for value in fields[11:15])
        pages += int(fields[21])
    return Usage(cpu_seconds=ticks / _TICK, rss_mb=pages * _PAGE / 1e6)
