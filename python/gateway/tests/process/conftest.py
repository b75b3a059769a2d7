"""The real gateway as a process, on an embedded queue file of its own, and the mesh's side of it: consume, report."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from asya_core.transports.base import QueueSpec
from asya_core.transports.embedded import EmbeddedAdmin
from tests import forked

WAIT = 60.0
"""Seconds; a process of ours begins in two, and in forty on a machine that has twelve times its load."""
NAMESPACE = "test"
TOOLS = """
flows:
  text_flow: {entry: start-text-flow, graph: {nodes: [], edges: []}}
tools:
  text-processor:
    description: Upper-cases a text and counts its characters
    actor: text-processor
    inputSchema:
      type: object
      properties: {text: {type: string, description: The text}, times: {type: integer, minimum: 1}}
      required: [text]
      additionalProperties: false
  text_flow:
    description: A flow
    flow: text_flow
    inputSchema: {type: object}
  two-hops:
    description: Two actors
    route: [text-processor, second]
    defaults: {greeting: hello}
    headers: {team: blue}
  quick:
    description: Ends soon
    actor: text-processor
    timeout: 500ms
  slow:
    description: Takes longer than one waits
    actor: text-processor
    wait: 100ms
  silent:
    description: Tells its end only
    actor: text-processor
    progress: false
  nowhere:
    description: Its queue does not exist
    actor: nowhere
  operators-only:
    description: Not for everybody
    actor: text-processor
    allow: [asya:operate]
"""
QUEUES = ("text-processor", "second", "start-text-flow")


def ids(bodies: list[bytes]) -> list[str]:
    return [json.loads(body)["id"] for body in bodies]


@dataclass
class Gateway:
    """A process, its folder, its two addresses."""

    folder: Path
    environment: dict[str, str]
    lines: list[dict[str, Any]] = field(default_factory=list)
    process: forked.Fork | None = None
    public: str = ""
    internal: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    objects: Path = Path()

    def start(self) -> "Gateway":
        return self.launch().serving()

    def launch(self) -> "Gateway":
        self.process = forked.start(["-m", "asya_gateway"], env=self.environment)
        self._news = threading.Condition()
        self.pump = threading.Thread(target=self._pump, args=(self.process,), daemon=True)
        self.pump.start()
        return self

    def serving(self) -> "Gateway":
        try:
            started = self.until(lambda line: line.get("event") == "started")
        except BaseException:
            assert self.process is not None
            self.process.kill()  # its fixture will never reach the end
            raise
        self.public = f"http://127.0.0.1:{started['public']}"
        self.internal = f"http://127.0.0.1:{started['internal']}"
        # Nothing is encrypted here; without this each client would read the list of authorities, 26 ms.
        self.client = httpx.Client(base_url=self.public, headers=self.headers, timeout=WAIT, verify=False)
        self.mesh = httpx.Client(base_url=self.internal, headers={"Authorization": "Bearer mesh-token"}, timeout=WAIT, verify=False)
        return self

    def _pump(self, process: forked.Fork) -> None:
        assert process.stderr is not None
        for text in process.stderr:
            line = json.loads(text) if text.startswith("{") else {"text": text}
            with self._news:
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self.lines.append({"event": "ended"})
            self._news.notify_all()

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first log line that is `wanted`."""
        with self._news:
            found = self._news.wait_for(
                lambda: [line for line in self.lines if wanted(line)] or self.lines[-1:] == [{"event": "ended"}], WAIT
            )
        assert isinstance(found, list), f"never logged; last lines: {self.lines[-8:]}"
        return found[0]

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(WAIT)
        self.pump.join(WAIT)
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.client.close()
        self.mesh.close()
        return code

    # ---------------------------------------------------------------------------------------------------------------- shorthand

    def call(self, tool: str = "text-processor", arguments: Any = None, **headers: str) -> httpx.Response:
        return self.client.post(f"/tools/{tool}", json={"text": "hi"} if arguments is None else arguments, headers=headers)

    def envelope(self, tool: str = "text-processor", arguments: Any = None) -> str:
        answer = self.call(tool, arguments)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def progress(self, *reports: dict[str, Any], cursor: int | None = None) -> dict[str, Any]:
        body: dict[str, Any] = {
            "reports": [{"attempt": 1, "hop": 0, "state": "running", "actor": "text-processor", **each} for each in reports]
        }
        if cursor is not None:
            body["cursor"] = cursor
        answer = self.mesh.post("/internal/v1/progress", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def final(self, envelope_id: str, status: str = "succeeded", **more: Any) -> dict[str, Any]:
        body = {"id": envelope_id, "status": status, "actor": "happy-end", "attempt": 1, "at": "2026-01-01T00:00:00Z", **more}
        answer = self.mesh.post("/internal/v1/final", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def view(self, envelope_id: str) -> dict[str, Any]:
        answer = self.client.get(f"/envelopes/{envelope_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def messages(self, actor: str = "text-processor") -> list[bytes]:
        admin = EmbeddedAdmin(self.folder / "queues.db")
        try:
            return admin.peek(f"asya-{NAMESPACE}-{actor}", 10_000)
        finally:
            admin.close()

    def message(self, envelope_id: str, actor: str = "text-processor") -> dict[str, Any]:
        """The message of `envelope_id`, once it is in its queue."""
        return wait_for(lambda: next((each for each in map(json.loads, self.messages(actor)) if each["id"] == envelope_id), None))


def wait_for(look: Callable[[], Any]) -> Any:
    """What `look` gives once it gives something."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it never came")


def environment_of(folder: Path, **more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ASYA_")}
    return (
        clean
        | {
            "ASYA_NAMESPACE": NAMESPACE,
            "ASYA_TRANSPORT": "embedded",
            "ASYA_EMBEDDED_PATH": str(folder / "queues.db"),
            "ASYA_GATEWAY_LISTEN": "127.0.0.1:0",
            "ASYA_GATEWAY_INTERNAL_LISTEN": "127.0.0.1:0",
            "ASYA_GATEWAY_TOOLS": str(folder / "tools"),
            "ASYA_GATEWAY_SQLITE_PATH": str(folder / "gateway.db"),
            "ASYA_GATEWAY_AUTH": "none",
            "ASYA_GATEWAY_INTERNAL_AUTH": "key",
            "ASYA_GATEWAY_INTERNAL_KEY_FILE": str(folder / "internal-key"),
            "ASYA_GATEWAY_RATE": "100000",
            "ASYA_GATEWAY_BURST": "100000",
        }
        | more
    )


def prepare(folder: Path, tools: str = TOOLS, queues: tuple[str, ...] = QUEUES) -> Path:
    (folder / "tools").mkdir(parents=True)
    (folder / "tools" / "tools.yaml").write_text(tools, encoding="utf-8")
    (folder / "internal-key").write_text("mesh-token\n", encoding="utf-8")
    admin = EmbeddedAdmin(folder / "queues.db")
    for name in queues:
        admin.ensure(QueueSpec(f"asya-{NAMESPACE}-{name}"))
    admin.close()
    return folder


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One gateway for all tests of a module."""
    folder = prepare(tmp_path_factory.mktemp("gateway") / "state")
    running = Gateway(folder, environment_of(folder)).start()
    yield running
    assert running.stop() == 0


@pytest.fixture
def make_gateway(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Makes gateways of a test's own; what still runs at its end is stopped."""
    made: list[Gateway] = []

    def make(name: str = "state", *, tools: str = TOOLS, **more: str) -> Gateway:
        folder = tmp_path / name
        if not folder.exists():
            prepare(folder, tools)
        made.append(Gateway(folder, environment_of(folder, **more)))
        return made[-1]

    yield make
    for each in made:
        if each.process is not None:
            each.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def gateway_of() -> Callable[..., Gateway]:
    """Makes a gateway over a new folder, not started; whoever starts it stops it."""

    def make(folder: Path, **more: str) -> Gateway:
        return Gateway(folder if folder.exists() else prepare(folder), environment_of(folder, **more))

    return make


@pytest.fixture(scope="session")
def eventually() -> Callable[[Callable[[], Any]], Any]:
    """Gives what a look gives once it gives something."""
    return wait_for
