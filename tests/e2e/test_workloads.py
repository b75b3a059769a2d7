"""What an actor may ask for beside the usual: a StatefulSet, waking early, pods by the clock, a pause, each kind of queue and its end."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.e2e.stage import RECORDING, STAGE_VOLUME, Stage
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.timeout(900)

COUNTING = """
from pathlib import Path

def process(payload):
    file = Path("/data/count")
    count = int(file.read_text()) + 1 if file.exists() else 1
    file.write_text(str(count))
    return {"count": count}
"""


@pytest.mark.behaviour("operator:stateful")
def test_stateful_actor_keeps_its_claim_through_sleep_and_a_new_template(crewed: Stage) -> None:
    workload = {"kind": "StatefulSet", "volumeClaimTemplates": {"data": {"accessModes": ["ReadWriteOnce"], **STORAGE}}}
    values: dict[str, Any] = {"workload": workload, "volumeMounts": {"data": {"mountPath": "/data"}}}
    crewed.install_source("keeper", "keeper.process", COUNTING, **values)
    crewed.await_condition("keeper", "Ready", "True", "Napping")

    (first,) = crewed.publish("keeper", {})
    assert crewed.result(first)["payload"] == {"count": 1}
    assert {pod.metadata.name for pod in crewed.kube.pods(crewed.namespace, "keeper")} <= {"keeper-0"}
    crewed.await_pods("keeper", 0)
    crewed.await_condition("keeper", "Ready", "True", "Napping")

    crewed.helm.upgrade(crewed.namespace, "keeper", "asya-actor", "--reuse-values", "--set", "env.REVISION=two")
    (second,) = crewed.publish("keeper", {})
    assert crewed.result(second)["payload"] == {"count": 2}


STORAGE = {"resources": {"requests": {"storage": "1Gi"}}}


@pytest.mark.behaviour("operator:prewarm")
def test_prewarm_the_clock_and_a_pause_decide_on_pods_without_a_message(crewed: Stage) -> None:
    crewed.install_source("first", "first.process", RECORDING, **STAGE_VOLUME)
    crewed.apply("later", scaling={"prewarm": [{"actor": "first"}]})
    now = datetime.now(UTC)
    around_now = {
        "timezone": "UTC",
        "start": _daily(now - timedelta(hours=1)),
        "end": _daily(now + timedelta(hours=2)),
        "desiredReplicas": "2",
    }
    crewed.apply("daily", scaling={"extraTriggers": [{"name": "daytime", "type": "cron", "metadata": around_now}]})
    crewed.apply("paused", scaling={"paused": True, "pausedReplicas": 1})
    crewed.await_condition("later", "Ready", "True", "Napping")

    (id_,) = crewed.publish("first", {"n": 1, "until": "later-is-warm"}, route=["later"])
    crewed.await_pods("later", 1)
    assert crewed.stored("results") == set(), "the first actor still works"
    assert crewed.broker.waiting(crewed.queue("later")) == 0
    crewed.let_go("later-is-warm")
    assert crewed.result(id_)["route"]["actors"][:2] == ["first", "later"]

    crewed.await_pods("daily", 2)
    crewed.await_pods("paused", 1)
    seen = crewed.await_condition("paused", "ScalingReady", "True", "Paused")
    assert seen["message"] == "Scaling is paused at 1 pod"


def _daily(at: datetime) -> str:
    return f"{at.minute} {at.hour} * * *"


EDITS: list[dict[str, Any]] = [
    {"timeout": "1m", "concurrency": 2},
    {"retry": {"maxAttempts": 3, "backoff": {"initial": "2s"}}},
    {"scaling": {"queueLength": 9, "maxReplicas": 3}},
    {"sidecar": {"logLevel": "debug", "prefetch": 3}},
    {"queue": {"deletionPolicy": "Delete"}},
    {"queue": {"deletionPolicy": "Retain"}},
]


@pytest.mark.behaviour("operator:queue-ends")
def test_queues_of_every_kind_are_declared_and_end_as_their_actors_say(crewed: Stage) -> None:
    policies = ("Retain", "DeleteIfEmpty", "Delete")
    names = {f"{kind}-{policy}".lower(): {"type": kind, "deletionPolicy": policy} for kind in ("quorum", "classic") for policy in policies}
    for name, queue in names.items():
        # Nothing may take a message away.
        kind = "StatefulSet" if name == "quorum-delete" else "Deployment"
        crewed.apply(name, queue=queue, scaling={"paused": True, "pausedReplicas": 0}, workload={"kind": kind})
    for name in names:
        crewed.await_condition(name, "QueueReady", "True", "Declared")
    crewed.publish("quorum-retain", {"text": "a"})
    for edit in EDITS:
        crewed.kube.change_actor(crewed.namespace, "quorum-retain", {"spec": edit})
        crewed.await_condition("quorum-retain", "QueueReady", "True", "Declared")
    eventually("its message waits", lambda: _waits(crewed, "quorum-retain") == 1)
    crewed.publish("classic-deleteifempty", {"text": "a"})
    crewed.publish("quorum-delete", {"text": "a"})
    eventually("both messages wait", lambda: all(_waits(crewed, name) == 1 for name in ("classic-deleteifempty", "quorum-delete")))
    for name in names:
        crewed.kube.delete_actor(crewed.namespace, name)

    end = names.keys() - {"classic-deleteifempty"}
    eventually("all others are gone", lambda: not end & {each["metadata"]["name"] for each in crewed.kube.actors(crewed.namespace)})
    seen = crewed.await_condition("classic-deleteifempty", "QueueReady", "False", "QueueKept")
    assert "is not empty" in seen["message"]
    left = {crewed.queue(name) for name in ("quorum-retain", "classic-retain", "classic-deleteifempty")}
    ours = {crewed.queue(name) for name in names}
    eventually("these queues are left", lambda: ours & set(crewed.broker.queues(f"asya-{crewed.namespace}-")) == left)

    abandoned = {"metadata": {"annotations": {"asya.sh/abandon-queue": "true"}}}
    crewed.kube.change_actor(crewed.namespace, "classic-deleteifempty", abandoned)
    eventually("it is gone too", lambda: crewed.kube.actor(crewed.namespace, "classic-deleteifempty") is None)
    assert _waits(crewed, "classic-deleteifempty") == 1


def _waits(stage: Stage, name: str) -> int:
    return stage.broker.waiting(stage.queue(name))
