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
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

SERVICES = Path(__file__).parents[1] / "ci" / "services.sh"

PROBED = {
    "x-queue-type": "quorum",
    "x-overflow": "reject-publish",
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": "nobody",
    "x-dead-letter-strategy": "at-least-once",
}
"""What tests' queues are, as far as it may be broken: the supervisor of RabbitMQ 3.10's dead-letter workers gives up, and all such queues
answer 541, if queues are deleted while a restarted node begins to serve them (seen once; plain quorum queues went on)."""


class Node:
    """One node.

    Args:
        name: of the service; the variable FAULTS_NODE chooses another for a whole run.
    """

    def __init__(self, name: str = os.environ.get("FAULTS_NODE", "rabbitmq-faults")) -> None:
        self.name = name
        self._facts: dict[str, str] = {}

    @contextmanager
    def reserved(self) -> Iterator["Node"]:
        """Have it alone, empty and serving."""
        cache = _cache()
        lock = cache / "services" / f"{self.name}.tests.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.renew()
            yield self

    def renew(self) -> None:
        """Make it serve with nothing on it. After a kill too: what it could not recover makes it answer 541 for other queues.

        Queues and exchanges are taken away and a quorum queue is tried; only if one of these fails the node is wiped and started anew,
        which takes ten times as long.
        """
        if not (self._is_running() and self._is_cleared()):
            self._services("wipe", self.name)
            self.start()

    def _is_running(self) -> bool:
        return "\trunning\t" in self._services("status", self.name)

    def _is_cleared(self) -> bool:
        """Take everything away, and try whether it works as a new one does."""
        probe = f"probe-{uuid.uuid4().hex}"
        try:
            self.set_memory_limit(0.4)
            self.clear()
            self.api("PUT", f"queues/%2F/{probe}", {"durable": True, "arguments": PROBED})
            message = {"properties": {}, "routing_key": probe, "payload": "1", "payload_encoding": "string"}
            self.api("POST", "exchanges/%2F/amq.default/publish", message)
            got = self.api("POST", f"queues/%2F/{probe}/get", {"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"})
            self.api("DELETE", f"queues/%2F/{probe}")
            return len(got) == 1 and self.api("GET", "queues/%2F?columns=name") == []
        except (OSError, AssertionError):  # HTTPError is an OSError; AssertionError is what the script says
            return False

    def clear(self, prefix: str = "") -> None:
        """Take away every queue whose name begins so, and every exchange but RabbitMQ's own."""
        for kind in ("queues", "exchanges"):
            for each in self.api("GET", f"{kind}/%2F?disable_stats=true"):
                name = each["name"]
                if name.startswith(prefix) and name and not name.startswith("amq."):
                    self.api("DELETE", f"{kind}/%2F/{quote(name, safe='')}")

    def start(self) -> None:
        """Start it, or do nothing if it serves."""
        self._services("start", self.name)

    def kill(self) -> None:
        """SIGKILL the server and wait until it is gone.

        Before that, RabbitMQ's tables are written to disk. A quorum queue of RabbitMQ 3.10 that is killed within moments of its declaration
        cannot be read after the restart (seen 3 of 3 times; 4 of 4 were whole after this call or 3 s). Most likely its name was not yet in
        the dets table of names, which is written late. Actors' queues are older; those of tests are not.
        """
        self.evaluate("[ok = dets:sync(Table) || Table <- dets:all()].")
        pid = int(self._told("PID"))
        os.kill(pid, signal.SIGKILL)
        self._facts = {}
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

    def evaluate(self, expressions: str) -> str:
        """Evaluate Erlang on the node; gives what it prints. Much quicker than `ctl`."""
        return self._services("eval", self.name, expressions)

    def close_all_connections(self) -> None:
        """Close every client's connection."""
        self.evaluate('rabbit_networking:close_connections(rabbit_networking:connections(), <<"cut by a test">>).')

    def set_memory_limit(self, fraction: float) -> None:
        """Take no publishes if more memory than this part of the machine's is used; 0.4 is RabbitMQ's own choice."""
        self.evaluate(f"vm_memory_monitor:set_vm_memory_high_watermark({fraction:f}).")

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
        """What `ci/services.sh env` says, asked anew after each start and end."""
        if what not in self._facts:
            prefix = f"export ASYA_TEST_{self.name.upper().replace('-', '_')}_"
            lines = self._services("env", self.name).splitlines()
            self._facts = dict(line.removeprefix(prefix).split("=", 1) for line in lines if line.startswith(prefix))
        return self._facts[what]

    def _services(self, verb: str, *arguments: str) -> str:
        if verb in ("start", "wipe"):
            self._facts = {}
        arguments = (verb, *arguments)
        run = subprocess.run([SERVICES, *arguments], capture_output=True, text=True, timeout=180)
        assert run.returncode == 0, run.stderr[-2000:]
        return run.stdout


def is_installed(name: str) -> bool:
    """Whether the service's RabbitMQ is on this machine; tests that need it are skipped without it on a laptop."""
    if name.startswith("rabbitmq4"):
        return any(_cache().glob("rabbitmq4-*/complete"))
    return Path("/usr/sbin/rabbitmq-server").exists()


def _cache() -> Path:
    return Path(os.environ.get("ASYA_CACHE", Path.home() / ".cache" / "asya"))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before the file was opened, or before it was read
        return False
