"""Gateway, sidecars, runtimes and end actors as real processes: what a caller sees of a result, an exception and a fan-out."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from asya_core.transports.base import QueueSpec
from asya_core.transports.embedded import EmbeddedAdmin
from tests import forked
from tests.runtimes import runtime_command

WAIT = 60
HANDLERS = """
def up(payload):
    if "n" in payload:
        return [{"i": i} for i in range(payload["n"])]
    return {"up": payload["text"].upper()}
"""
CREW = {"up": "handlers.up", "happy-end": "asya_crew.happy_end.store", "error-end": "asya_crew.error_end.store"}


class Mesh:
    """A gateway, one actor and both end actors in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[forked.Fork | subprocess.Popen[bytes]] = []
        self.client = httpx.Client(timeout=WAIT)

    def start(self) -> None:
        folder = self.folder
        for name in ("tools", "objects"):
            (folder / name).mkdir()
        (folder / "tools" / "tools.yaml").write_text("tools: {up: {actor: up}}\n")
        (folder / "key").write_text("canary-of-the-mesh\n")
        (folder / "handlers.py").write_text(HANDLERS)
        admin = EmbeddedAdmin(folder / "queues.db")
        for name in CREW:
            admin.ensure(QueueSpec(f"asya-mesh-{name}"))
        admin.close()
        shared = {"ASYA_NAMESPACE": "mesh", "ASYA_TRANSPORT": "embedded", "ASYA_EMBEDDED_PATH": str(folder / "queues.db")}
        gateway = {
            "ASYA_GATEWAY_LISTEN": "127.0.0.1:0",
            "ASYA_GATEWAY_INTERNAL_LISTEN": "127.0.0.1:0",
            "ASYA_GATEWAY_TOOLS": str(folder / "tools"),
            "ASYA_GATEWAY_SQLITE_PATH": str(folder / "gateway.db"),
            "ASYA_GATEWAY_AUTH": "none",
            "ASYA_GATEWAY_INTERNAL_AUTH": "key",
            "ASYA_GATEWAY_INTERNAL_KEY_FILE": str(folder / "key"),
            "ASYA_GATEWAY_RESULTS_URL": f"file://{folder / 'objects'}",
        }
        self.spawn("gateway", ["-m", "asya_gateway"], shared | gateway)
        started = self.logged("gateway", "started")
        self.client.base_url = f"http://127.0.0.1:{started['public']}"
        for name, handler in CREW.items():
            socket = {"ASYA_SOCKET": str(folder / f"{name}.sock")}
            mode = "payload" if name == "up" else "envelope"
            storage = {"ASYA_CREW_STORAGE_URL": f"file://{folder / 'objects'}"}
            self.spawn(
                f"{name}-runtime",
                [],
                {"ASYA_HANDLER": handler, "ASYA_HANDLER_MODE": mode} | socket | storage,
            )
            reports = {"ASYA_GATEWAY_URL": f"http://127.0.0.1:{started['internal']}", "ASYA_GATEWAY_TOKEN_FILE": str(folder / "key")}
            sidecar = {"ASYA_ACTOR": name, "ASYA_HEALTH_LISTEN": "off"}
            self.spawn(f"{name}-sidecar", ["-m", "asya_sidecar"], shared | sidecar | socket | reports)

    def spawn(self, name: str, words: list[str], settings: dict[str, str]) -> None:
        """``python WORDS…``, or a runtime if there are none."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ASYA_")} | settings
        with (self.folder / f"{name}.log").open("wb") as log:
            if words:
                self.processes.append(
                    forked.start(
                        words, env=environment, cwd=self.folder, program="asya_cli", imports=("asya_gateway",), stderr=log.fileno()
                    )
                )
            else:
                command, inherited = runtime_command(environment)
                self.processes.append(
                    subprocess.Popen(command, env=environment, cwd=self.folder, stderr=log, stdout=subprocess.DEVNULL, pass_fds=inherited)
                )

    def logged(self, name: str, event: str) -> dict[str, Any]:
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            for line in (self.folder / f"{name}.log").read_text().splitlines():
                if line.startswith("{") and json.loads(line).get("event") == event:
                    return dict(json.loads(line))
            time.sleep(0.05)
        raise AssertionError((self.folder / f"{name}.log").read_text())

    def call(self, arguments: dict[str, Any]) -> dict[str, Any]:
        answer = self.client.post("/tools/up", json=arguments, headers={"Prefer": "wait=50"})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def stop(self) -> list[int]:
        self.client.close()
        for process in reversed(self.processes):
            process.terminate()
        return [process.wait(WAIT) for process in self.processes]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    made = Mesh(tmp_path_factory.mktemp("mesh"))
    try:
        made.start()
        yield made
    finally:
        codes = made.stop()
    assert set(codes) == {0}


def test_result_is_told_and_stored(mesh: Mesh) -> None:
    view = mesh.call({"text": "hi"})
    assert (view["status"], view["result"], view["progress"]) == ("succeeded", {"up": "HI"}, 100)
    stored = json.loads((mesh.folder / "objects" / "results" / f"{view['id']}.json").read_text())
    assert stored["payload"] == {"up": "HI"}


def test_exception_is_told_without_its_traceback_which_the_record_has(mesh: Mesh) -> None:
    view = mesh.call({})
    error = view["error"]
    assert (view["status"], error["code"], error["type"], error["message"], error["actor"]) == (
        "failed",
        "handler_error",
        "KeyError",
        "'text'",
        "up",
    )
    assert "traceback" not in error
    assert view["result_ref"]["key"] == f"errors/{view['id']}.json"
    record = mesh.client.get(f"/envelopes/{view['id']}/record").json()
    assert 'payload["text"]' in record["error"]["traceback"]


def test_fan_out_is_final_when_all_its_parts_are(mesh: Mesh) -> None:
    view = mesh.call({"n": 5})
    assert (view["status"], view["result"]) == ("succeeded", [{"i": i} for i in range(5)])
    assert view["children"] == {"total": 5, "succeeded": 5, "failed": 0}


def test_replay_of_what_failed_runs_it_again(mesh: Mesh) -> None:
    first = mesh.call({})
    again = mesh.client.post(f"/envelopes/{first['id']}/replay", json={}).json()
    with mesh.client.stream("GET", f"/envelopes/{again['id']}/stream") as answer:
        lines = list(answer.iter_lines())
    final = json.loads(lines[lines.index("event: final") + 2].removeprefix("data: "))
    assert (final["status"], final["replay_of"]) == ("failed", first["id"])


def test_no_process_logs_the_internal_credential(mesh: Mesh) -> None:
    for log in mesh.folder.glob("*.log"):
        assert "canary-of-the-mesh" not in log.read_text(), log
