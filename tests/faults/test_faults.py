"""Fault experiments with real processes and a real broker; numbers as in docs/explanation/delivery-guarantees.md.

Every one ends with nothing lost and nothing unexpected; how often a handler may run again is stated by each.
"""

import random
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from asya_core.transports.rabbitmq import QueueType
from tests.broker import Node
from tests.faults.harness import ActorSpec, Mesh, wait_until

pytestmark = [pytest.mark.rabbitmq, pytest.mark.timeout(240)]

MakeMesh = Callable[..., Mesh]
FAST_PREFETCH = {"ASYA_PREFETCH": "20"}


@pytest.mark.hurts_broker
@pytest.mark.behaviour("delivery:nothing-lost")
def test_f01_all_connections_closed_five_times_under_load_lose_nothing(make_mesh: MakeMesh, broker: Node) -> None:
    prefetch, cuts = 20, 5
    mesh = make_mesh(*(ActorSpec(name=name, handler="takes_a_moment", settings=FAST_PREFETCH) for name in ("a", "b", "c")))
    mesh.declare()
    mesh.publish(1000, lambda n: {"ms": 4})
    mesh.start()
    for cut in range(cuts):
        wait_until(lambda cut=cut: mesh.runs_of("c") >= 150 * cut + 20, f"load before cut {cut + 1}")
        broker.close_all_connections()
    verdict = mesh.run_until_done()
    verdict.assert_all()
    assert verdict.errors == {}
    again = {name: mesh.runs_of(name) - 1000 for name in mesh.names}
    assert all(
        count <= prefetch * cuts + again_before for count, again_before in zip(again.values(), (0, again["a"], again["b"]), strict=True)
    )
    assert {pair.exit_code for pair in mesh.each()} == {0}


@pytest.mark.hurts_broker
@pytest.mark.behaviour("delivery:broker-restart")
def test_f02_broker_killed_and_restarted_loses_nothing_of_quorum_and_classic_queues(make_mesh: MakeMesh, broker: Node) -> None:
    names = ("a", "b", "c")
    meshes = [
        make_mesh(*(ActorSpec(name=name, handler="takes_a_moment", settings=FAST_PREFETCH) for name in names), queue_type=queue_type)
        for queue_type in QueueType
    ]
    for mesh in meshes:
        mesh.declare()
        mesh.publish(600, lambda n: {"ms": 8})
    for mesh in meshes:
        mesh.start()
    for mesh in meshes:
        wait_until(lambda mesh=mesh: mesh.runs_of("c") >= 60, "load before the kill")
    broker.kill()
    broker.start()
    verdicts = [mesh.run_until_done() for mesh in meshes]
    for mesh in meshes:
        mesh.stop()
    broker.renew()
    for verdict in verdicts:
        verdict.assert_all()
        assert verdict.errors == {}


CRASH_POINTS_OF_A_FANOUT = (
    "before:Call:5",
    "after:Call:7",
    "before:Publish:4",
    "after:Publish:5",
    "soon:Publish:9",
    "before:Ack:3",
    "after:Ack:3",
    "soon:Ack:4",
    "after:LogDelivery:4",
)
CRASH_POINTS_OF_A_RETRY = ("before:Retry:3", "after:Retry:3", "soon:Retry:4")


def children_of(identity: str) -> set[str]:
    """Ids of the three children of an envelope that fanned out at the first actor."""
    return {f"{identity}.0.{index}" for index in range(3)}


def test_f07_sidecar_killed_at_each_point_of_a_fanout_loses_nothing(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(ActorSpec(name="a", handler="multiplies"), ActorSpec(name="b", handler="passes"))
    mesh.declare()
    mesh.publish(200)
    first, second = mesh.pairs["a"][0], mesh.pairs["b"][0]
    for pair in (first, second):
        pair.start_runtime()
    second.start_sidecar()
    for point in CRASH_POINTS_OF_A_FANOUT:
        first.start_sidecar(crash_at=point)
        assert first.sidecar is not None
        assert first.sidecar.wait(30) == -signal.SIGKILL, point
    first.start_sidecar()
    verdict = mesh.run_until_done(children_of)
    verdict.assert_all()
    assert verdict.errors == {}
    assert set(verdict.results) == {child for identity in mesh.accepted for child in children_of(identity)}
    assert mesh.runs_of("a") - 200 <= len(CRASH_POINTS_OF_A_FANOUT) * 100  # at most the prefetch per kill


def test_f07_sidecar_killed_around_a_retry_loses_nothing(make_mesh: MakeMesh) -> None:
    retry = {"ASYA_RETRY": '{"maxAttempts": 20, "backoff": {"initial": "250ms", "max": "250ms"}}', "ASYA_MAX_DELIVERIES": "60"}
    mesh = make_mesh(ActorSpec(name="a", handler="fails_at_first", settings=retry))
    mesh.declare()
    mesh.publish(40)
    pair = mesh.pairs["a"][0]
    pair.start_runtime()
    for point in CRASH_POINTS_OF_A_RETRY:
        pair.start_sidecar(crash_at=point)
        assert pair.sidecar is not None
        assert pair.sidecar.wait(30) == -signal.SIGKILL, point
    pair.start_sidecar()
    verdict = mesh.run_until_done()
    verdict.assert_all()
    assert verdict.errors == {}


@pytest.mark.behaviour("sidecar:drain")
def test_f08_sigterm_at_a_hundred_random_times_runs_every_handler_once(make_mesh: MakeMesh) -> None:
    """Four actors that know nothing of each other are each stopped 25 times, with handlers of 0 to 3 s."""
    seed = 20260101
    meshes = [make_mesh(ActorSpec(name="a", handler="takes_a_moment", settings={"ASYA_PREFETCH": "3"})) for _ in range(4)]
    with ThreadPoolExecutor(len(meshes)) as pool:
        for stopped in [pool.submit(_stop_at_random, mesh, 25, random.Random(seed + number)) for number, mesh in enumerate(meshes)]:
            stopped.result()
    for mesh in meshes:
        mesh.pairs["a"][0].start_sidecar()
    for mesh in meshes:
        verdict = mesh.run_until_done()
        verdict.assert_all()
        assert verdict.errors == {}
        assert set(mesh.runs().values()) == {1}
        assert verdict.duplicates == 0


def _stop_at_random(mesh: Mesh, stops: int, chance: random.Random) -> None:
    mesh.declare()
    mesh.publish(stops * 3, lambda n: {"ms": chance.choices((0, 5, 30, 80, 700, 3000), weights=(30, 25, 20, 15, 6, 4))[0]})
    pair = mesh.pairs["a"][0]
    pair.start_runtime()
    for stop in range(stops):
        goal = min(mesh.runs_of("a") + chance.randrange(4), stops * 3)
        pair.start_sidecar()
        assert pair.sidecar is not None
        wait_until(lambda stop=stop: pair.log("sidecar").count('"event":"started"') > stop, f"start {stop}")
        wait_until(lambda goal=goal: mesh.runs_of("a") >= goal, f"run {goal} before stop {stop}")
        pair.sidecar.terminate()
        assert pair.sidecar.wait(30) == 0, f"stop {stop}: {pair.log('sidecar')[-2000:]}"


@pytest.mark.behaviour("sidecar:timeout:one-copy")
def test_f10_hanging_handler_gives_one_error_record_each_time_while_the_sidecar_lives_on(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(ActorSpec(name="a", handler="hangs_on", settings={"ASYA_TIMEOUT": "1s"}))
    mesh.start()
    pair = mesh.pairs["a"][0]
    sidecar = pair.sidecar
    mesh.publish(12, lambda n: {"hang": n % 4 == 1})
    verdict = mesh.run_until_done()
    verdict.assert_all()
    assert {identity: [error["error"]["code"] for error in errors] for identity, errors in verdict.errors.items()} == {
        "e1": ["timeout"],
        "e5": ["timeout"],
        "e9": ["timeout"],
    }
    assert verdict.duplicates == 0
    assert pair.sidecar is sidecar
    assert pair.exit_code == 0


@pytest.mark.behaviour("sidecar:crash:counted")
def test_f11_runtime_killed_in_a_call_is_tried_three_times_while_others_proceed(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(ActorSpec(name="a", handler="dies_on"))
    mesh.start()
    mesh.publish(30, lambda n: {"deadly": n == 7})
    verdict = mesh.run_until_done()
    verdict.assert_all()
    assert [error["error"]["code"] for error in verdict.errors["e7"]] == ["runtime_crashed"]
    assert mesh.runs()["a", 7] == 3
    assert len(verdict.results) == 29
    assert {count for (_, number), count in mesh.runs().items() if number != 7} == {1}


@pytest.mark.behaviour("sidecar:unroutable")
def test_f06_missing_next_queue_that_comes_back_costs_no_second_run(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(ActorSpec(name="a", handler="passes", settings=FAST_PREFETCH), ActorSpec(name="b", handler="passes"))
    mesh.start()
    with mesh.channel() as channel:
        channel.queue_delete(f"asya-{mesh.namespace}-b")
    mesh.publish(50)
    wait_until(lambda: mesh.runs_of("a") == 20, "as many run at the first actor as it may hold")
    mesh.declare()
    verdict = mesh.run_until_done()
    verdict.assert_all()
    assert verdict.errors == {}
    assert set(mesh.runs().values()) == {1}


def test_f06_next_queue_that_never_comes_ends_each_as_unroutable_after_one_run(make_mesh: MakeMesh) -> None:
    mesh = make_mesh(ActorSpec(name="a", handler="passes", settings={"ASYA_UNROUTABLE_TRIES": "1"}))
    mesh.start()
    mesh.publish(20, route=["a", "nobody"])
    verdict = mesh.run_until_done()
    verdict.assert_all()
    assert {error["error"]["code"] for errors in verdict.errors.values() for error in errors} == {"unroutable"}
    assert len(verdict.errors) == 20
    assert set(mesh.runs().values()) == {1}


@pytest.mark.hurts_broker
def test_f05_memory_alarm_delays_and_loses_nothing(make_mesh: MakeMesh, broker: Node) -> None:
    mesh = make_mesh(*(ActorSpec(name=name, handler="takes_a_moment", settings=FAST_PREFETCH) for name in ("a", "b")))
    mesh.declare()
    mesh.publish(400, lambda n: {"ms": 20})  # so that some are still to be published when the alarm comes
    mesh.start()
    wait_until(lambda: mesh.runs_of("b") >= 40, "load before the alarm")
    broker.set_memory_limit(0.00001)
    try:
        before = mesh.runs_of("a")
        wait_until(lambda: "broker blocked" in mesh.pairs["a"][0].log("sidecar"), "the alarm is seen")
    finally:
        broker.set_memory_limit(0.4)
    verdict = mesh.run_until_done()
    verdict.assert_all()
    assert verdict.errors == {}
    assert before <= 400
