"""SIGTERM: what runs is finished, what waits is given back, exit 0."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

WAIT = 20.0


def envelope(payload: Any, envelope_id: str) -> dict[str, Any]:
    return {"id": envelope_id, "route": {"actors": ["a"], "current": 0}, "payload": payload}


def wait_for_file(path: Path) -> None:
    deadline = time.monotonic() + WAIT
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)  # the handler is another process; its file is the signal


def test_sigterm_finishes_the_running_call_and_exits_0(mesh: Any, folder: Path) -> None:
    actor = mesh.actor("a", "sample.wait_for")
    started, go = folder / "started", folder / "go"
    mesh.send("a", envelope({"started": str(started), "go": str(go)}, "1"))
    wait_for_file(started)

    actor.sidecar.signal(signal.SIGTERM)
    actor.sidecar.event("draining")
    go.touch()

    assert actor.sidecar.exit_code() == 0
    assert mesh.receive("happy-end")["id"] == "1"
    assert mesh.broker.admin.depth(mesh.queue("a")).unsettled == 0


@pytest.mark.parametrize("transport", ["embedded", "sqs"])
def test_sigterm_gives_back_what_was_not_started(request: pytest.FixtureRequest, folder: Path, transport: str) -> None:
    mesh = request.getfixturevalue(f"{transport}_mesh")
    actor = mesh.actor("a", "sample.wait_for", ASYA_PREFETCH="5")
    started, go = folder / "started", folder / "go"
    for number in range(3):
        mesh.send("a", envelope({"started": str(started), "go": str(go)}, str(number)))
    wait_for_file(started)

    actor.sidecar.signal(signal.SIGTERM)
    actor.sidecar.event("draining")
    go.touch()

    assert actor.sidecar.exit_code() == 0
    depth = mesh.broker.admin.depth(mesh.queue("a"))
    assert (depth.ready, depth.unsettled) == (2, 0)


def test_a_second_sigterm_changes_nothing(mesh: Any, folder: Path) -> None:
    actor = mesh.actor("a", "sample.wait_for")
    started, go = folder / "started", folder / "go"
    mesh.send("a", envelope({"started": str(started), "go": str(go)}, "1"))
    wait_for_file(started)

    actor.sidecar.signal(signal.SIGTERM)
    actor.sidecar.event("draining")
    actor.sidecar.signal(signal.SIGTERM)
    go.touch()

    assert actor.sidecar.exit_code() == 0
    assert len(actor.sidecar.events("draining")) == 1
    assert mesh.receive("happy-end")["id"] == "1"


def test_when_the_grace_is_over_the_sidecar_leaves_and_the_message_stays(mesh: Any, folder: Path) -> None:
    actor = mesh.actor("a", "sample.wait_for", ASYA_GRACE="6s")
    started = folder / "started"
    mesh.send("a", envelope({"started": str(started), "go": str(folder / "never")}, "1"))
    wait_for_file(started)

    actor.sidecar.signal(signal.SIGTERM)

    assert actor.sidecar.exit_code() == 0
    depth = mesh.broker.admin.depth(mesh.queue("a"))
    assert depth.ready + depth.unsettled == 1


def test_a_draining_runtime_stops_consuming_before_sigterm_reaches_the_sidecar(mesh: Any) -> None:
    actor = mesh.actor("a", "sample.identity").ready()

    actor.runtime.signal(signal.SIGTERM)

    assert actor.runtime.exit_code() == 0
    actor.sidecar.event("drained")
    assert actor.sidecar.event("runtime left")["level"] == "info"
    actor.start_runtime()
    mesh.send("a", envelope(1, "1"))
    assert mesh.receive("happy-end")["payload"] == 1
