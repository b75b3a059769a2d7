"""The page in a real browser before a real gateway: one of each for all tests. The mesh's side is played over the internal API."""

import asyncio
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from asya_gateway.store.queries import for_sqlite
from asya_gateway.store.sqlite import SqliteStore

Gateway = Any
ROOT = Path(__file__).parents[5]
COMPILED = ROOT / "examples" / "flows" / "compiled"
KEYS = {"caller": "call", "stranger": "call", "client": "call", "operator": "operate"}
TOKENS = {name: f"asya_{name}-{'k' * 38}" for name in KEYS}
MANY = 10_000
collect_ignore = [] if os.environ.get("ASYA_PICTURES") else ["test_pictures.py"]  # pictures are taken on request
WAIT_MS = 60_000
TOOLS = """
tools:
  text-processor:
    description: Upper-cases a text and counts its characters
    actor: text-processor
  two-hops:
    description: Two actors, one after the other
    route: [text-processor, second]
  nightly-import:
    description: Runs by night
    actor: text-processor
"""
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-software-rasterizer",
    "--in-process-gpu",
    "--renderer-process-limit=1",
)


def missing(what: str) -> None:
    """Skip, or in CI fail."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


@dataclass
class Mesh:
    """What callers and sidecars do."""

    gateway: Gateway
    who: str = "caller"
    made: list[str] = field(default_factory=list)

    def call(self, tool: str, arguments: Any = None) -> str:
        answer = self.gateway.client.post(f"/tools/{tool}", json=arguments or {}, headers={"Authorization": f"Bearer {TOKENS[self.who]}"})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def hop(
        self,
        envelope_id: str,
        route: list[str],
        hop: int,
        *,
        queue: float,
        handler: float,
        begin: float,
        attempt: int = 1,
        state: str = "done",
    ) -> float:
        """One hop whole: waited `queue` seconds from `begin`, ran `handler`; gives when it ended."""
        began, ended = begin + queue, begin + queue + handler
        times = {"received": stamp(began - min(queue, 0.002)), "running": stamp(began)}
        if state == "running":
            at, earlier = stamp(began), {"received": times["received"]}
        else:
            at, earlier = stamp(ended), times
        report = {"id": envelope_id, "actor": route[hop].split(":")[0], "hop": hop, "attempt": attempt, "state": state, "route": route}
        self.gateway.progress({**report, "at": at, "earlier": earlier})
        return ended

    def final(self, envelope_id: str, **more: Any) -> None:
        self.gateway.final(envelope_id, **more)

    def fail(self, envelope_id: str, record: dict[str, Any] | None = None, **error: Any) -> None:
        told = {"code": "handler_error", "type": "ValueError", "mro": ["ValueError", "Exception"], "attempt": 1, **error}
        if record is not None:
            folder = self.gateway.folder / "objects" / "errors"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{envelope_id}.json").write_text(json.dumps({"id": envelope_id, **record}))
        self.gateway.final(envelope_id, "failed", error=told)


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, gateway_of: Callable[..., Gateway]) -> Iterator[Gateway]:
    """One gateway with API keys, storage, the examples' flows, and 10,000 envelopes that belong to operator."""
    folder = tmp_path_factory.mktemp("page") / "state"
    keys = {name: {"sha256": [hashlib.sha256(TOKENS[name].encode()).hexdigest()], "roles": [role]} for name, role in KEYS.items()}
    made = gateway_of(
        folder,
        ASYA_GATEWAY_AUTH="apiKey",
        ASYA_GATEWAY_KEYS_FILE=str(folder / "keys.yaml"),
        ASYA_GATEWAY_RESULTS_URL=f"file://{folder / 'objects'}",
    )
    (folder / "keys.yaml").write_text(json.dumps(keys))
    (folder / "objects").mkdir()
    (folder / "tools" / "tools.yaml").write_text(TOOLS)
    for name in ("ml_pipeline_flow", "retrieval_loop"):
        for file in (COMPILED / name / "tools").glob("*.yaml"):
            shutil.copy(file, folder / "tools")
    fill_store(folder / "gateway.db")
    made.start()
    yield made
    assert made.stop() == 0


def fill_store(path: Path) -> None:
    """Many final envelopes, by the store's own statements."""
    begin = int(time.time() * 1000) - 40_000_000
    made, ended = [], []
    for number in range(MANY):
        at = begin + number * 2_000
        envelope = {
            "id": f"bulk-{number:05}",
            "tool": "nightly-import",
            "owner": "operator",
            "route": '["text-processor"]',
            "message": "{}",
        }
        made.append(nothing_for("insert_envelope") | envelope | {"hop": 0, "now": at, "deadline_at": at + 86_400_000})
        error = {"code": "handler_error", "type": "KeyError", "message": f"row {number}", "actor": "text-processor"}
        outcome = {"status": "failed", "error": json.dumps(error)} if number % 50 == 0 else {"status": "succeeded", "error": None}
        ended.append(nothing_for("finish") | outcome | {"id": envelope["id"], "now": at + 700, "done": 1, "actor": "text-processor"})

    def many(tx: Any) -> None:
        tx.many("insert_envelope", made)
        tx.many("finish", ended)

    async def work() -> None:
        store = SqliteStore(path)
        await store.open()
        await store.write(many)
        await store.close()

    with ThreadPoolExecutor(1) as thread:  # the browser's driver has a loop in this one
        thread.submit(lambda: asyncio.run(work())).result()


@cache
def nothing_for(statement: str) -> dict[str, None]:
    """Each place of a statement, empty."""
    return dict.fromkeys(re.findall(r"(?<![:\w]):([a-z_]+)", for_sqlite()[statement]))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless, with a profile of its own.

    For a module and no longer: while its driver lives, this thread's loop counts as running, and no other test of the process can run one.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        missing("Chromium is not installed: ci/tools.sh")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, headless=True, args=list(OPTIONS))
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core's source."""
    got = subprocess.run([ROOT / "ci" / "axe.sh"], capture_output=True, text=True, timeout=100)
    if got.returncode != 0:
        missing(f"axe-core cannot be had: {got.stderr.strip().splitlines()[-1:]}")
    return Path(got.stdout.strip()).read_text(encoding="utf-8")


class Proxy:
    """Passes bytes on to the gateway until it is cut."""

    def __init__(self, url: str) -> None:
        self._target = int(url.rpartition(":")[2])
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._is_cut = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._start(self._serve)

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        with suppress(OSError), self._listening:
            while True:
                near, _ = self._listening.accept()
                self._start(self._carry, near)

    def _carry(self, near: socket.socket) -> None:
        with suppress(OSError), near, socket.create_connection(("127.0.0.1", self._target)) as far:
            with self._lock:
                if self._is_cut:
                    return
                self._open |= {near, far}
            back = threading.Thread(target=self._copy, args=(far, near), daemon=True)
            back.start()
            self._copy(near, far)
            back.join()
            with self._lock:
                self._open -= {near, far}

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        with self._lock:
            self._is_cut = True
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._is_cut = False

    def close(self) -> None:
        self.cut()
        self._listening.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)


@pytest.fixture(scope="session")
def proxy(gateway: Gateway) -> Iterator[Proxy]:
    """What stands between the browser and the gateway, and can be cut."""
    made = Proxy(gateway.public)
    yield made
    made.close()


@dataclass
class Visitors:
    """One page per person, kept from test to test: a new one costs a second of a processor, a move within it a tenth.

    Attributes:
        wrong: errors of the pages since the test began, but those that it expects.
        expected: parts of their texts.
    """

    browser: Browser
    public: str
    kept: dict[str, Page] = field(default_factory=dict)
    own: list[BrowserContext] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def open(self, path: str = "", *, who: str = "caller", signed_in: bool = True, expected: tuple[str, ...] = (), **more: Any) -> Page:
        """The page at `path` as somebody; in a context of its own if `more` asks for something of it.

        One who is not signed in is so for the tests that come, and has to be at the end.
        """
        self.expected = expected
        if more:
            page = self._new(who if signed_in else None, **more)
            self.own.append(page.context)
        else:
            page = self.kept.get(who) or self._new(who if signed_in else None)
            self.kept[who] = page
            if not signed_in and page.context.cookies():
                page.context.clear_cookies()
                page.goto("/static/icon.svg")
        page.goto(f"/{path}")
        return page

    def rest(self) -> None:
        """Let kept pages show nothing that asks the gateway for news."""
        for page in self.kept.values():
            page.goto("/#/nothing")
        while self.own:
            self.own.pop().close()

    def _new(self, who: str | None, **more: Any) -> Page:
        context = self.browser.new_context(**({"base_url": self.public, "reduced_motion": "reduce"} | more))
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: self._heard(str(error)))
        page.on("console", lambda line: self._heard(line.text) if line.type == "error" else None)
        if who is not None:
            page.goto("/static/icon.svg")
            assert page.evaluate(SIGN_IN, TOKENS[who]) == 200
        return page

    def _heard(self, text: str) -> None:
        if not any(each in text for each in self.expected):
            self.wrong.append(text)


SIGN_IN = """
(key) => fetch("/login", {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({key})})
    .then((answer) => answer.status)
"""


@pytest.fixture(scope="module")
def visitors(browser: Browser, proxy: Proxy) -> Visitors:
    expect.set_options(timeout=WAIT_MS)
    return Visitors(browser, proxy.url)


@pytest.fixture
def opened(visitors: Visitors) -> Iterator[Callable[..., Page]]:
    """Opens the page; nothing may be refused or go wrong in it that the test does not expect."""
    visitors.wrong.clear()
    yield visitors.open
    visitors.rest()
    assert visitors.wrong == []


@pytest.fixture
def keys() -> dict[str, str]:
    """The API key of each."""
    return TOKENS


@pytest.fixture
def mesh(gateway: Gateway) -> Mesh:
    return Mesh(gateway)


@pytest.fixture
def mesh_of(gateway: Gateway) -> Callable[[str], Mesh]:
    return lambda who: Mesh(gateway, who)
