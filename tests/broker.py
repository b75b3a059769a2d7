"""A RabbitMQ node of `ci/services.sh` that tests may kill, stop and starve. Used by the contract suite and by the fault experiments.

One test run at a time has it; each begins with an empty one, so that no run inherits what an earlier one broke. See `Node.kill` for the
one thing that a killed RabbitMQ 3.10 does lose.
"""

import base64
import fcntl
import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SERVICES = Path(__file__).parents[1] / "ci" / "services.sh"


class Node:
    """One node.

    Args:
        name: of the service; the variable FAULTS_NODE chooses another for a whole run.
    """

    def __init__(self, name: str = os.environ.get("FAULTS_NODE", "rabbitmq-faults")) -> None:
        self.name = name

    @contextmanager
    def reserved(self) -> Iterator["Node"]:
        """Have it alone, empty and serving."""
        cache = Path(os.environ.get("ASYA_CACHE", Path.home() / ".cache" / "asya"))
        lock = cache / "services" / f"{self.name}.tests.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.renew()
            yield self

    def renew(self) -> None:
        """Start it with nothing on it. After a kill too: what it could not recover makes it answer 541 for other queues."""
        self._services("wipe", self.name)
        self.start()

    def start(self) -> None:
        """Start it, or do nothing if it serves."""
        self._services("start", self.name)

    def kill(self) -> None:
        """SIGKILL the server and wait until it is gone.

        Before that, RabbitMQ's tables are written to disk. A quorum queue of RabbitMQ 3.10 that is killed within moments of its declaration
        cannot be read after the restart (seen 3 of 3 times; 4 of 4 were whole after this call or 3 s). Most likely its name was not yet in
        the dets table of names, which is written late. Actors' queues are older; those of tests are not.
        """
        self.ctl("eval", "[ok = dets:sync(Table) || Table <- dets:all()].")
        pid = int(self._told("PID"))
        os.kill(pid, signal.SIGKILL)
        while _is_alive(pid):
            os.sched_yield()

    @property
    def url(self) -> str:
        """AMQP URL with user and password."""
        return self._told("URL")

    @property
    def management_url(self) -> str:
        """Of the management API."""
        return self._told("MANAGEMENT_URL")

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl; gives what it prints."""
        return self._services("ctl", self.name, *arguments)

    def close_all_connections(self) -> None:
        """Close every client's connection."""
        self.ctl("close_all_connections", "cut by a test")

    def api(self, method: str, path: str, body: object = None) -> Any:
        """Call the management API; gives the parsed answer, None if it is empty."""
        password = Path(self._told("PASSWORD_FILE")).read_text()
        request = urllib.request.Request(
            f"{self.management_url}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": "Basic " + base64.b64encode(f"asya:{password}".encode()).decode(),
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def _told(self, what: str) -> str:
        prefix = f"export ASYA_TEST_{self.name.upper().replace('-', '_')}_"
        lines = self._services("env", self.name).splitlines()
        return dict(line.removeprefix(prefix).split("=", 1) for line in lines if line.startswith(prefix))[what]

    def _services(self, *arguments: str) -> str:
        run = subprocess.run([SERVICES, *arguments], capture_output=True, text=True, timeout=180)
        assert run.returncode == 0, run.stderr[-2000:]
        return run.stdout


def is_installed() -> bool:
    """Whether RabbitMQ is on this machine; tests that need it are skipped without it on a laptop."""
    return Path("/usr/sbin/rabbitmq-server").exists()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
