"""Connections that the broker ends: nothing is lost, no run is repeated, nobody restarts."""

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.rabbitmq


def envelope(number: int, payload: Any) -> dict[str, Any]:
    return {"id": f"m{number}", "route": {"actors": ["a"], "current": 0}, "payload": payload}


def end_connections(mesh: Any, actor: Any) -> None:
    """End both of the sidecar's links and wait until they are back."""
    assert mesh.broker.close_connections(f"asya-sidecar {mesh.broker.namespace}/a ") == 2
    actor.get_until("/metrics", lambda status, text: all(f'reconnects_total{{actor="a",link="{link}"}} 1\n' in text for link in LINKS))


LINKS = ("consume", "publish")


def test_messages_after_broken_connections_arrive_by_the_same_process(rabbitmq_mesh: Any) -> None:
    mesh = rabbitmq_mesh
    actor = mesh.actor("a", "sample.identity").ready()
    mesh.send("a", envelope(0, 0))
    mesh.receive("happy-end")

    end_connections(mesh, actor)
    for number in range(1, 21):
        mesh.send("a", envelope(number, number))

    assert sorted(mesh.receive("happy-end")["payload"] for _ in range(20)) == list(range(1, 21))
    for link in LINKS:
        actor.sidecar.event("link down", link=link)
    assert actor.sidecar.is_alive
    assert mesh.is_quiet("error-end")


def test_a_run_that_outlives_its_connection_is_not_repeated(rabbitmq_mesh: Any, folder: Path) -> None:
    mesh = rabbitmq_mesh
    actor = mesh.actor("a", "sample.wait_for").ready()
    mesh.send("a", envelope(1, {"started": str(folder / "started"), "go": str(folder / "go"), "runs": str(folder / "runs")}))
    actor.get_until("/metrics", lambda status, text: (folder / "started").exists())

    end_connections(mesh, actor)
    (folder / "go").touch()

    assert mesh.receive("happy-end")["id"] == "m1"
    actor.get_until("/metrics", lambda status, text: 'outcome="ok"} 1\n' in text)
    assert (folder / "runs").read_text() == "x"
    assert mesh.is_quiet("happy-end")
