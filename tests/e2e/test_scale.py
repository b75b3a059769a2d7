"""KEDA scales an actor with its queue, and nothing is lost or run twice on the way, up or down."""

import pytest

from tests.e2e.stage import RECORDING, STAGE_VOLUME, Stage
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.timeout(500)

PROMPT = {"scaleDown": {"stabilizationWindowSeconds": 0, "policies": [{"type": "Percent", "value": 100, "periodSeconds": 1}]}}
"""The autoscaler shrinks at once, so that a story need not wait for its usual five minutes."""


def test_two_hundred_messages_of_a_second_use_four_pods_and_all_results_are_stored(crewed: Stage) -> None:
    crewed.install_source("work", "work.process", RECORDING, scaling={"maxReplicas": 4, "queueLength": 5}, **STAGE_VOLUME)
    ids = crewed.publish("work", *({"n": n, "seconds": 1} for n in range(200)))
    crewed.await_pods("work", 4)
    eventually("all results are stored", lambda: crewed.stored("results") >= set(ids), within=200)
    assert crewed.stored("results") == set(ids)
    assert crewed.stored("errors") == set()
    assert crewed.run_counts() == {str(n): 1 for n in range(200)}
    crewed.await_pods("work", 0)


def test_pod_whose_call_outlasts_the_cooldown_is_not_put_to_sleep(crewed: Stage) -> None:
    crewed.install_source("slow", "slow.process", RECORDING, scaling={"cooldownPeriod": 3}, **STAGE_VOLUME)
    (id_,) = crewed.publish("slow", {"n": 1, "seconds": 25})
    crewed.result(id_)
    assert crewed.run_counts() == {"1": 1}
    crewed.await_pods("slow", 0)


def test_pod_that_the_autoscaler_removes_finishes_its_call_first(crewed: Stage) -> None:
    scaling = {"maxReplicas": 4, "queueLength": 1, "behavior": PROMPT}
    crewed.install_source("mixed", "mixed.process", RECORDING, scaling=scaling, **STAGE_VOLUME)
    short = crewed.publish("mixed", *({"n": n, "seconds": 20} for n in range(3)))
    (long,) = crewed.publish("mixed", {"n": 3, "seconds": 45})
    eventually("all four run", lambda: len(crewed.runs()) == 4)
    (busy,) = crewed.runs()["3"]
    # Of four pods the autoscaler takes three; this one is the first to go.
    first_to_go = {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-1000"}}}
    crewed.kube.core.patch_namespaced_pod(busy, crewed.namespace, first_to_go)

    def is_ending() -> bool:
        return any(pod.metadata.name == busy and pod.metadata.deletion_timestamp for pod in crewed.kube.pods(crewed.namespace, "mixed"))

    eventually("the pod that works is taken", is_ending)
    assert long not in crewed.stored("results")
    assert crewed.result(long)["payload"]["n"] == 3
    assert crewed.stored("results") == {*short, long}
    assert crewed.run_counts() == {str(n): 1 for n in range(4)}


def test_rolling_update_and_deleted_pods_under_load_lose_nothing(crewed: Stage) -> None:
    scaling = {"minReplicas": 2, "maxReplicas": 3}
    crewed.install_source("busy", "busy.process", RECORDING, scaling=scaling, **STAGE_VOLUME)
    crewed.await_pods("busy", 2)
    ids = crewed.publish("busy", *({"n": n, "seconds": 0.5} for n in range(120)))
    eventually("work has begun", lambda: len(crewed.runs()) > 5)

    victim = crewed.kube.ready_pods(crewed.namespace, "busy")[0].metadata.name
    crewed.kube.core.delete_namespaced_pod(victim, crewed.namespace)
    old = {pod.metadata.name for pod in crewed.kube.pods(crewed.namespace, "busy")}
    crewed.helm.upgrade(crewed.namespace, "busy", "asya-actor", "--reuse-values", "--set", "env.REVISION=two")
    eventually("new pods have replaced the old ones", lambda: _is_replaced(crewed, old), within=120)

    eventually("all results are stored", lambda: crewed.stored("results") >= set(ids), within=150)
    assert crewed.stored("errors") == set()
    assert crewed.run_counts() == {str(n): 1 for n in range(120)}


def _is_replaced(stage: Stage, old: set[str]) -> bool:
    now = {pod.metadata.name for pod in stage.kube.ready_pods(stage.namespace, "busy")}
    return len(now) >= 2 and not now & old
