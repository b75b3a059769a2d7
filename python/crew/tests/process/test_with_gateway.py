"""The whole way with nothing played: a call at the real gateway, real actors, real end actors, and the answer back at the gateway."""

import json
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from python.crew.tests.process.conftest import ENVELOPE_MODE
from python.gateway.tests.process.conftest import Gateway, environment_of, prepare, wait_for
from python.sidecar.tests.process.conftest import Actor, EmbeddedBroker, Mesh

TOOLS = """
tools:
  greet: {description: Greets, actor: a}
  two: {description: Two actors, route: [a, waits]}
  fail: {description: Fails, actor: fails}
  split: {description: Makes several, actor: splits}
"""


class Stage:
    """A mesh whose sidecars report to a real gateway on the same queue file, and the folder that the crew stores to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = folder / "records"
        self.records.mkdir()
        self.mesh = Mesh(EmbeddedBroker(folder), folder)
        state = prepare(folder / "gateway", TOOLS, ())
        settings = {"ASYA_NAMESPACE": self.mesh.broker.namespace, **self.mesh.broker.environment}
        self.gateway = Gateway(state, environment_of(state, **settings)).start()

    def actor(self, name: str, handler: str, runtime: dict[str, str] | None = None) -> Actor:
        token_file = str(self.folder / "gateway" / "internal-key")
        return self.mesh.actor(name, handler, runtime, ASYA_GATEWAY_URL=self.gateway.internal, ASYA_GATEWAY_TOKEN_FILE=token_file)

    def end_actor(self, name: str) -> Actor:
        handler = f"asya_crew.{name.replace('-', '_')}.store"
        return self.actor(name, handler, {**ENVELOPE_MODE, "ASYA_CREW_STORAGE_URL": f"file://{self.records}"})

    def ended(self, envelope_id: str) -> dict[str, Any]:
        """The gateway's view once it is final. The bound is long, as a report that found no gateway comes again after up to 8 s, 16 s …"""
        deadline = time.monotonic() + 60
        while (view := self.gateway.view(envelope_id))["status"] in ("pending", "running"):
            assert time.monotonic() < deadline, view
            time.sleep(0.02)  # polls another process
        return view

    def record(self, key: str) -> dict[str, Any]:
        path = self.records / key
        wait_for(path.exists)
        return dict(json.loads(path.read_bytes()))


@contextmanager
def staged() -> Iterator[Stage]:
    folder = Path("/tmp") / f"asya-{uuid.uuid4().hex[:8]}"  # a Unix socket's path is at most 107 bytes
    folder.mkdir()
    stage = Stage(folder)
    try:
        yield stage
    finally:
        stage.mesh.close()
        stage.mesh.broker.admin.close()
        assert stage.gateway.stop() == 0
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged() as stage:
        for name, handler in (("a", "sample.greet"), ("waits", "sample.wait_for"), ("fails", "sample.fail"), ("splits", "sample.split")):
            stage.actor(name, handler)
        stage.end_actor("happy-end")
        stage.end_actor("error-end")
        yield stage


@pytest.mark.behaviour("gateway:final-until-recorded")
def test_a_call_ends_with_the_stored_result(stage: Stage) -> None:
    envelope_id = stage.gateway.envelope("greet", {"name": "x"})

    view = stage.ended(envelope_id)
    assert (view["status"], view["result"], view["progress"]) == ("succeeded", {"name": "x", "greeting": "hello x"}, 100)
    assert stage.record(f"results/{envelope_id}.json")["payload"] == view["result"]


def test_progress_of_each_actor_arrives_while_the_call_runs(stage: Stage) -> None:
    gateway, go = stage.gateway, stage.folder / "go"
    envelope_id = gateway.envelope("two", {"name": "x", "started": str(stage.folder / "started"), "go": str(go)})

    def second_actor() -> dict[str, Any] | None:
        view = gateway.view(envelope_id)
        return view if view.get("actor") == "waits" else None

    assert wait_for(second_actor)["progress"] == 50
    go.touch()
    assert stage.ended(envelope_id)["progress"] == 100


def test_a_call_that_fails_ends_with_the_error_and_its_traceback_is_stored_only(stage: Stage) -> None:
    envelope_id = stage.gateway.envelope("fail", {"x": 1})

    view = stage.ended(envelope_id)
    error = view["error"]
    assert (view["status"], error["code"], error["type"], error["actor"]) == ("failed", "handler_error", "ValueError", "fails")
    assert "traceback" not in error
    assert "in fail" in stage.record(f"errors/{envelope_id}.json")["error"]["traceback"]


def test_a_call_that_fans_out_ends_with_the_results_of_its_children(stage: Stage) -> None:
    envelope_id = stage.gateway.envelope("split", {"count": 3})

    view = stage.ended(envelope_id)
    assert (view["status"], view["result"]) == ("succeeded", [{"n": 0}, {"n": 1}, {"n": 2}])


def test_a_gateway_that_was_killed_learns_how_it_ended_once_it_is_back() -> None:
    with staged() as stage:
        gateway, actor = stage.gateway, stage.actor("a", "sample.greet")
        envelope_id = gateway.envelope("greet", {"name": "x"})
        actor.sidecar.event("delivery", envelope_id=envelope_id)
        gateway.stop(9)
        happy = stage.end_actor("happy-end")
        assert happy.sidecar.event("delivery", envelope_id=envelope_id, attempt=1)["outcome"] == "retry"
        assert stage.record(f"results/{envelope_id}.json")["payload"]["greeting"] == "hello x"

        gateway.lines.clear()
        gateway.environment["ASYA_GATEWAY_INTERNAL_LISTEN"] = gateway.internal.removeprefix("http://")
        gateway.start()

        assert stage.ended(envelope_id)["result"]["greeting"] == "hello x"
