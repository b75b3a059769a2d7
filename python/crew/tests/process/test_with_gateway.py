"""The whole way with nothing played: a call at the real gateway, real actors, real end actors, and the answer back at the gateway."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from python.gateway.tests.process.conftest import Gateway, environment_of, prepare, wait_for
from python.sidecar.tests.process.conftest import Actor, Mesh

TOOLS = """
tools:
  greet: {description: Greets, actor: a}
  two: {description: Two actors, route: [a, b]}
  fail: {description: Fails, actor: fails}
  split: {description: Makes several, actor: splits}
"""


@pytest.fixture
def real_gateway(mesh: Mesh, folder: Path) -> Iterator[Gateway]:
    """On the same queue file as the mesh."""
    state = prepare(folder / "gateway", TOOLS, ())
    settings = {"ASYA_NAMESPACE": mesh.broker.namespace, **mesh.broker.environment}
    gateway = Gateway(state, environment_of(state, **settings)).start()
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture
def told(real_gateway: Gateway, folder: Path) -> dict[str, str]:
    """The settings of sidecars that report to the gateway."""
    return {"ASYA_GATEWAY_URL": real_gateway.internal, "ASYA_GATEWAY_TOKEN_FILE": str(folder / "gateway" / "internal-key")}


def ended(gateway: Gateway, envelope_id: str) -> dict[str, Any]:
    view = wait_for(lambda: (view := gateway.view(envelope_id))["status"] not in ("pending", "running") and view)
    return dict(view)


@pytest.mark.behaviour("gateway:final-until-recorded")
def test_a_call_ends_with_the_stored_result(
    mesh: Mesh, crew: Callable[..., Actor], record: Callable[[str], dict[str, Any]], real_gateway: Gateway, told: dict[str, str]
) -> None:
    mesh.actor("a", "sample.greet", **told)
    mesh.actor("b", "sample.identity", **told)
    crew("happy-end", **told)

    envelope_id = real_gateway.envelope("two", {"name": "x"})

    view = ended(real_gateway, envelope_id)
    assert (view["status"], view["result"], view["progress"]) == ("succeeded", {"name": "x", "greeting": "hello x"}, 100)
    assert record(f"results/{envelope_id}.json")["payload"] == view["result"]


def test_progress_of_each_actor_arrives_while_the_call_runs(
    mesh: Mesh, crew: Callable[..., Actor], real_gateway: Gateway, told: dict[str, str], folder: Path
) -> None:
    mesh.actor("a", "sample.identity", **told)
    mesh.actor("b", "sample.wait_for", **told)
    crew("happy-end", **told)
    go = folder / "go"

    envelope_id = real_gateway.envelope("two", {"started": str(folder / "started"), "go": str(go)})
    wait_for(lambda: (view := real_gateway.view(envelope_id)).get("actor") == "b" and view["progress"] == 50)
    go.touch()

    assert ended(real_gateway, envelope_id)["progress"] == 100


def test_a_call_that_fails_ends_with_the_error_and_its_traceback_is_stored_only(
    mesh: Mesh, crew: Callable[..., Actor], record: Callable[[str], dict[str, Any]], real_gateway: Gateway, told: dict[str, str]
) -> None:
    mesh.actor("fails", "sample.fail", **told)
    crew("error-end", **told)

    envelope_id = real_gateway.envelope("fail", {"x": 1})

    view = ended(real_gateway, envelope_id)
    assert (view["status"], view["error"]["code"], view["error"]["type"], view["error"]["actor"]) == (
        "failed",
        "handler_error",
        "ValueError",
        "fails",
    )
    assert "traceback" not in view["error"]
    assert "in fail" in record(f"errors/{envelope_id}.json")["error"]["traceback"]


def test_a_call_that_fans_out_ends_with_the_results_of_its_children(
    mesh: Mesh, crew: Callable[..., Actor], real_gateway: Gateway, told: dict[str, str]
) -> None:
    mesh.actor("splits", "sample.split", **told)
    crew("happy-end", **told)

    envelope_id = real_gateway.envelope("split", {"count": 3})

    view = ended(real_gateway, envelope_id)
    assert (view["status"], view["result"]) == ("succeeded", [{"n": 0}, {"n": 1}, {"n": 2}])


def test_a_gateway_that_was_killed_learns_how_it_ended_once_it_is_back(
    mesh: Mesh, crew: Callable[..., Actor], record: Callable[[str], dict[str, Any]], real_gateway: Gateway, told: dict[str, str]
) -> None:
    actor = mesh.actor("a", "sample.greet", **told)
    envelope_id = real_gateway.envelope("greet", {"name": "x"})
    actor.sidecar.event("delivery", envelope_id=envelope_id)
    internal = int(real_gateway.internal.rpartition(":")[2])
    real_gateway.stop(9)
    happy = crew("happy-end", **told)
    assert happy.sidecar.event("delivery", envelope_id=envelope_id, attempt=1)["outcome"] == "retry"
    assert record(f"results/{envelope_id}.json")["payload"]["greeting"] == "hello x"

    real_gateway.lines.clear()
    real_gateway.environment["ASYA_GATEWAY_INTERNAL_LISTEN"] = f"127.0.0.1:{internal}"
    real_gateway.start()

    assert ended(real_gateway, envelope_id)["result"]["greeting"] == "hello x"
