"""Actors as real processes over the embedded transport: a sidecar and a runtime each, fed and looked at from outside.

Used by the bad-input tests. Everything lives in one folder; the processes end with the test process that started them.
"""

import asyncio
import base64
import hashlib
import itertools
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from asya_core.testing.peer import Peer
from asya_core.transports.base import Depth, PublishOutcome, QueueSpec
from asya_core.transports.embedded import EmbeddedAdmin, EmbeddedTransport
from asya_core.wire.names import ERROR_END, HAPPY_END, queue_name
from tests import forked
from tests.runtimes import runtime_command

Process = forked.Fork | subprocess.Popen[bytes]
HANDLERS: Final = Path(__file__).parent / "handlers"
WAIT_SECONDS: Final = 30.0
CANARY: Final = "canary-5d1c7e"
"""Stands in every payload, and may be in no log."""


def until(condition: Callable[[], Any], what: Callable[[], str]) -> Any:
    """The first true value of `condition`; AssertionError with `what` after the one bound."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {WAIT_SECONDS:g} s: {what()}"
        time.sleep(0.01)
    return found


def load(record: bytes) -> Any:
    """The JSON value of a record that may hold bytes that are not UTF-8."""
    return json.loads(record.decode("utf-8", "surrogateescape"))


def original(record: Any) -> bytes:
    """The bytes of the unreadable message that is in an error record; checks that their number and hash are told rightly."""
    payload = record["payload"]
    assert ("text" in payload) != ("base64" in payload)
    body: bytes = payload["text"].encode() if "text" in payload else base64.b64decode(payload["base64"], validate=True)
    assert (payload["bytes"], payload["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    return body


class Actor:
    """A sidecar and a runtime.

    Args:
        mesh: where it lives.
        name: of the actor.
        settings: more environment of the sidecar.
        runtime: environment of the runtime; None if a test plays the runtime itself.
    """

    def __init__(self, mesh: "Actors", name: str, settings: dict[str, str], runtime: dict[str, str] | None) -> None:
        self.name = name
        self.mesh = mesh
        self.runs_file = mesh.folder / f"{name}.runs"
        self.runs_file.touch()
        self.socket = mesh.folder / f"{name}.s"
        mesh.admin.ensure(QueueSpec(name=mesh.queue(name)))
        if runtime is not None:
            mesh.start_runtime(name, self.socket, runtime)
        environment = {
            "ASYA_ACTOR": name,
            "ASYA_NAMESPACE": mesh.namespace,
            "ASYA_TRANSPORT": "embedded",
            "ASYA_EMBEDDED_PATH": str(mesh.path),
            "ASYA_SOCKET": str(self.socket),
            "ASYA_HEALTH_LISTEN": "off",
            "ASYA_LOG_LEVEL": "debug",
            **settings,
        }
        self.sidecar = mesh.start_process(["-m", "asya_sidecar"], environment, f"{name}.sidecar")

    def runs(self) -> list[Any]:
        """What each run of the handler wrote down: pid and what came."""
        return [json.loads(line) for line in self.runs_file.read_text().splitlines()]


class Actors:
    """A queue file, its actors, and the two end queues that nobody consumes."""

    namespace: Final = "t"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "queues.db"
        self.admin = EmbeddedAdmin(self.path)
        self.processes: list[Process] = []
        self.life, self._life_end = os.pipe()
        self._numbers = itertools.count()
        for end in (HAPPY_END, ERROR_END):
            self.admin.ensure(QueueSpec(name=self.queue(end)))

    def queue(self, actor: str) -> str:
        """The queue of an actor."""
        return queue_name(self.namespace, actor)

    def start(self, name: str, runtime: dict[str, str] | None, **settings: str) -> Actor:
        """A new actor with these settings of its runtime and its sidecar."""
        return Actor(self, name, settings, runtime)

    def start_runtime(self, name: str, path: Path, settings: dict[str, str]) -> Process:
        """A runtime of its own, served at `path`; its handler writes its runs to ``<name>.runs``."""
        environment = {"ASYA_SOURCE_PATH": str(HANDLERS), "ASYA_SOCKET": str(path), "RUNS_FILE": str(self.folder / f"{name}.runs")}
        command, inherited = runtime_command(settings)
        return self.start_process(command, environment | settings, f"{name}.runtime", inherited)

    def start_process(self, command: list[str], environment: dict[str, str], log_name: str, inherited: tuple[int, ...] = ()) -> Process:
        """A Python process that ends with this one; its standard error goes to ``<log_name>.log``."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")}
        variables = clean | environment | {"ASYA_PARENT_FD": str(self.life)}
        process: Process
        with (self.folder / f"{log_name}.log").open("ab") as log:
            if command == ["-m", "asya_sidecar"]:
                process = forked.start(command, env=variables, stderr=log.fileno(), pass_fds=(self.life,))
            else:
                null = subprocess.DEVNULL
                process = subprocess.Popen(command, env=variables, stdin=null, stdout=null, stderr=log, pass_fds=(self.life, *inherited))
        self.processes.append(process)
        return process

    def publish(self, actor: str, *bodies: bytes) -> None:
        """Put messages into an actor's queue; returns once they are durable."""

        async def send() -> None:
            peer = await Peer(EmbeddedTransport(self.path)).open()
            assert set(await peer.publish(self.queue(actor), *bodies)) == {PublishOutcome.CONFIRMED}
            await peer.close()

        asyncio.run(send())

    def good(self, route: list[str]) -> tuple[str, bytes]:
        """A new good envelope: its id and its bytes."""
        identity = f"good-{next(self._numbers)}"
        body = {"id": identity, "route": {"actors": route, "current": 0}, "payload": {"ok": CANARY}}
        return identity, json.dumps(body).encode()

    def exchange(self, actor: str, *bodies: bytes, route: list[str] | None = None) -> tuple[list[bytes], list[bytes]]:
        """Send bad messages, then a good one; what is in error-end and in happy-end once all is done, the good one left out.

        Asserts that the good one arrives and that nothing is left in the actors' queues. Empties the end queues.
        """
        actors = route or [actor]
        self.publish(actor, *bodies)
        self.settle(actors)
        identity, good = self.good(actors)
        self.publish(actor, good)
        until(
            lambda: any(load(body)["id"] == identity for body in self._peek(HAPPY_END)), lambda: f"{identity} at happy-end; {self.logs()}"
        )
        self.settle(actors)
        errors, results = self._peek(ERROR_END), self._peek(HAPPY_END)
        for end in (ERROR_END, HAPPY_END):
            self.admin.purge(self.queue(end))
        assert CANARY not in self.logs(), "a payload is in a log"
        return errors, [body for body in results if load(body)["id"] != identity]

    def settle(self, actors: list[str]) -> None:
        """Wait until nothing is in the queues of these actors, in work or not."""
        for actor in actors:
            self._settle(self.queue(actor))

    def _settle(self, queue: str) -> None:
        until(lambda: self.admin.depth(queue) == Depth(0, 0), lambda: f"{queue} empty; {self.admin.depth(queue)}")

    def _peek(self, actor: str) -> list[bytes]:
        return self.admin.peek(self.queue(actor), 100_000)

    def logs(self) -> str:
        """All that all processes wrote to standard error."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def close(self) -> None:
        """End all processes."""
        os.close(self._life_end)
        for process in self.processes:
            process.kill()
            process.wait(WAIT_SECONDS)
        os.close(self.life)
        self.admin.close()
