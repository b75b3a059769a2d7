"""The health endpoints of a real sidecar."""

from typing import Any

import pytest

from asya_core.testing.exposition import differences
from asya_sidecar.metrics import SidecarMetrics


def test_live_answers_while_everything_else_is_away(mesh: Any, folder: Any) -> None:
    environment = {"ASYA_SOCKET": str(folder / "none.sock")}
    actor = mesh.actor("a", "sample.identity", **environment)

    assert actor.get("/live") == (200, "alive\n")
    actor.get_until("/ready", lambda status, text: status == 503 and "not ready: runtime: the runtime's socket" in text)


def test_ready_once_runtime_and_links_are_up(mesh: Any) -> None:
    actor = mesh.actor("a", "sample.identity").ready()

    assert actor.get_until("/ready", lambda status, text: status == 200) == "ready\n"


@pytest.mark.behaviour("metrics:documented")
def test_metrics_count_the_delivery_and_are_those_declared(mesh: Any) -> None:
    actor = mesh.actor("a", "sample.identity")
    mesh.send("a", {"id": "1", "route": {"actors": ["a"]}, "payload": 1})
    mesh.receive("happy-end")
    lines = {
        'asya_sidecar_deliveries_total{actor="a",outcome="ok"} 1',
        'asya_sidecar_publishes_total{actor="a",result="confirmed"} 1',
        'asya_sidecar_handler_seconds_count{actor="a"} 1',
        'asya_sidecar_hop_seconds_count{actor="a"} 1',
        'asya_sidecar_confirm_seconds_count{actor="a"} 1',
        'asya_sidecar_unconfirmed{actor="a"} 0',
        'asya_sidecar_connected{actor="a",link="consume"} 1',
        'asya_sidecar_connected{actor="a",link="publish"} 1',
    }

    text = actor.get_until("/metrics", lambda status, text: lines <= set(text.splitlines()))

    assert differences(text, SidecarMetrics("a").registry) == []


def test_a_health_address_that_is_taken_is_refused_in_one_line(mesh: Any) -> None:
    first = mesh.actor("a", "sample.identity")
    port = first.sidecar.event("started")["health_port"]

    second = mesh.actor("b", "sample.identity", ASYA_HEALTH_LISTEN=f"127.0.0.1:{port}")

    assert second.sidecar.exit_code() == 78
    assert second.sidecar.lines == [
        f"asya-sidecar: ASYA_HEALTH_LISTEN 127.0.0.1:{port} cannot be had: Address already in use; choose another port, or off"
    ]
