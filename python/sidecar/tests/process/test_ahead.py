"""A call that was handed to a real runtime ahead, and what ends the one before it."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def mesh(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("embedded_mesh")


def envelope(payload: Any, envelope_id: str) -> dict[str, Any]:
    return {"id": envelope_id, "route": {"actors": ["a"], "current": 0}, "payload": payload}


def one_runs_and_one_is_ahead(mesh: Any, folder: Path, payload: dict[str, Any]) -> Any:
    """An actor with a handler that was quick eight times, and now waits for the file `go`; envelope ``next`` is in its runtime's socket."""
    actor = mesh.actor("a", "sample.wait_or_die", ASYA_PREFETCH="3")
    for number in range(8):
        mesh.send("a", envelope(number, str(number)))
        mesh.receive("happy-end")
    mesh.send("a", envelope({"started": str(folder / "started"), "go": str(folder / "go"), **payload}, "first"))
    deadline = time.monotonic() + 30
    while not (folder / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)  # the handler is another process; its file is the signal
    mesh.send("a", envelope({"x": 1}, "next"))
    actor.get_until("/metrics", lambda _, text: 'asya_sidecar_in_flight{actor="a",state="ahead"} 1' in text)
    return actor


def test_crash_before_its_beginning_costs_a_call_ahead_no_attempt(mesh: Any, folder: Path) -> None:
    actor = one_runs_and_one_is_ahead(mesh, folder, {"dies": True})

    (folder / "go").touch()

    assert mesh.receive("happy-end")["id"] == "next"
    assert actor.sidecar.event("delivery", envelope_id="next")["attempt"] == 1
    assert actor.sidecar.event("delivery", envelope_id="first")["outcome"] == "retry"


def test_runtime_that_drains_leaves_a_call_ahead_to_others(mesh: Any, folder: Path) -> None:
    actor = one_runs_and_one_is_ahead(mesh, folder, {})

    actor.runtime.signal(signal.SIGTERM)
    assert actor.sidecar.event("delivery", envelope_id="next")["outcome"] == "requeue"
    (folder / "go").touch()

    assert actor.runtime.exit_code() == 0
    assert mesh.receive("happy-end")["id"] == "first"
    assert mesh.broker.admin.depth(mesh.queue("a")).ready == 1
