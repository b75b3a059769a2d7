"""What goes wrong is told by the AsyncActor's status in one sentence that says what to do, and is gone after the fix."""

import uuid
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.conftest import Control, Stages, broker_secret, restart_operator
from tests.e2e.stage import QUICK, Stage
from tests.e2e.waiting import eventually

pytestmark = pytest.mark.timeout(900)

GOOD = "def process(payload):\n    return payload\n"
AWAKE = {**QUICK, "scaling": {**QUICK["scaling"], "minReplicas": 1}}


def test_wrong_handler_is_told_with_the_nearest_name_and_gone_after_the_fix(stage: Stage) -> None:
    stage.install_actor("ocr", values={**AWAKE, "handler": "ocr.proces", "source": {"files": {"ocr.py": GOOD}}})
    seen = stage.await_condition("ocr", "Ready", "False", "HandlerInvalid")
    assert "ocr.process" in seen["message"]
    stage.await_condition("ocr", "Stalled", "True", "HandlerInvalid")

    stage.helm.upgrade(stage.namespace, "ocr", "asya-actor", "--reuse-values", "--set", "handler=ocr.process")
    stage.await_condition("ocr", "Ready", "True", "Running")
    assert stage.kube.condition(stage.namespace, "ocr", "Stalled") == {}


def test_wrong_image_is_told(stage: Stage) -> None:
    image = {"repository": "registry.example.com/no-such-image", "tag": "v1"}
    stage.install_actor("ocr", values={**AWAKE, "handler": "ocr.process", "image": image})
    seen = stage.await_condition("ocr", "WorkloadReady", "False", "ImagePullFailed")
    assert "registry.example.com/no-such-image:v1" in seen["message"]


def test_missing_secret_is_told_by_name_and_its_creation_is_enough(stage: Stage) -> None:
    source = {"files": {"ocr.py": GOOD}}
    needs = {"TOKEN": {"valueFrom": {"secretKeyRef": {"name": "model-token", "key": "token"}}}}
    stage.install_actor("ocr", values={**AWAKE, "handler": "ocr.process", "source": source, "env": needs})
    seen = stage.await_condition("ocr", "WorkloadReady", "False", "SecretMissing")
    assert "model-token" in seen["message"]

    stage.kube.core.create_namespaced_secret(stage.namespace, {"metadata": {"name": "model-token"}, "stringData": {"token": "t"}})
    stage.await_condition("ocr", "Ready", "True", "Running")


def test_memory_limit_that_a_handler_exceeds_is_told(stage: Stage) -> None:
    hungry = "hoard = bytearray(200_000_000)\n\ndef process(payload):\n    return payload\n"
    resources = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "100Mi"}}
    stage.install_actor("ocr", values={**AWAKE, "handler": "ocr.process", "source": {"files": {"ocr.py": hungry}}, "resources": resources})
    seen = stage.await_condition("ocr", "WorkloadReady", "False", "OutOfMemory")
    assert "100Mi" in seen["message"]


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """An actor that cannot work. `words`: in the message, beside the reason."""

    condition: str
    reason: str
    words: str
    spec: dict[str, Any] = field(default_factory=dict)
    container: dict[str, Any] = field(default_factory=dict)


WAKING = {"scaling": {"minReplicas": 1}}
MISTAKES = {
    "bad-variable": Mistake(
        condition="Ready",
        reason="SpecInvalid",
        words="spec.sidecar.env[0].name ASYA_ACTOR",
        spec={"sidecar": {"env": [{"name": "ASYA_ACTOR", "value": "x"}]}},
    ),
    "bad-path": Mistake(
        condition="Ready", reason="SpecInvalid", words="no-path", container={"env": [{"name": "ASYA_HANDLER", "value": "no-path"}]}
    ),
    "root": Mistake(
        condition="WorkloadReady",
        reason="PodTemplateRefused",
        words="runAsUser 0",
        container={"securityContext": {"runAsUser": 0}},
    ),
    "capability": Mistake(
        condition="WorkloadReady",
        reason="PodsRefused",
        words="NET_ADMIN",
        spec=WAKING,
        container={"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}},
    ),
    "too-big": Mistake(
        condition="WorkloadReady",
        reason="Unschedulable",
        words="Insufficient memory",
        spec=WAKING,
        container={"resources": {"requests": {"memory": "900Gi"}}},
    ),
    "crashing": Mistake(
        condition="WorkloadReady",
        reason="CrashLoop",
        words="ended with code 3",
        spec={**WAKING, "runtime": {"interpreter": ["python3", "-c", "raise SystemExit(3)"]}},
    ),
    "other-broker": Mistake(condition="QueueReady", reason="TransportDisabled", words="transports.sqs", spec={"transport": "sqs"}),
    "other-queue": Mistake(condition="QueueReady", reason="QueueMismatch", words="left as it is"),
    "managed": Mistake(condition="ScalingReady", reason="ScalingRefused", words="already managed by the"),
}


@pytest.mark.behaviour("operator:told-in-the-status")
def test_each_mistake_has_its_reason_and_one_sentence_and_hurts_no_other_actor(stage: Stage) -> None:
    stage.broker.declare(stage.queue("other-queue"), **{"x-queue-type": "classic"})
    foreign = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "foreign"},
        "spec": {"scaleTargetRef": {"name": "managed"}, "triggers": [{"type": "cron", "metadata": {**CRON}}]},
    }
    where = SCALED_OBJECTS.format(stage.namespace)
    stage.kube.create(where, foreign)
    # KEDA's webhook looks at a cache, which may not have it yet.
    another = {**foreign, "metadata": {"name": "another"}}
    eventually("KEDA knows of the foreign one", lambda: "already managed" in stage.kube.refusal(where, another))
    for name, mistake in MISTAKES.items():
        stage.apply(name, container=mistake.container, **mistake.spec)
    stage.apply("well")
    for name, mistake in MISTAKES.items():
        message = stage.await_condition(name, mistake.condition, "False", mistake.reason)["message"]
        assert mistake.words in message
        assert "\n" not in message
    stage.await_condition("well", "Ready", "True", "Napping")


SCALED_OBJECTS = "/apis/keda.sh/v1alpha1/namespaces/{}/scaledobjects"
CRON = {"timezone": "UTC", "start": "0 0 1 1 *", "end": "1 0 1 1 *", "desiredReplicas": "1"}
"""One minute a year."""


def test_missing_secret_of_the_broker_is_told_of_waking_and_of_sleeping_actors(stages: Stages) -> None:
    stage = stages(has_secret=False)
    stage.apply("awake", scaling={"minReplicas": 1})
    stage.apply("asleep")
    assert "asya-rabbitmq" in stage.await_condition("awake", "WorkloadReady", "False", "SecretMissing")["message"]
    assert "KEDA: " in stage.await_condition("asleep", "ScalingReady", "False", "TriggerFailing")["message"]

    stage.kube.core.create_namespaced_secret(stage.namespace, broker_secret())
    # The kubelet tries to mount it again within two minutes; in a new pod at once.
    for pod in stage.kube.pods(stage.namespace, "awake"):
        stage.kube.delete_pod(stage.namespace, pod.metadata.name, grace_seconds=0)
    stage.await_condition("awake", "Ready", "True", "Running")
    stage.await_condition("asleep", "Ready", "True", "Napping")


def test_two_actors_whose_queue_names_clash_share_nothing_and_the_later_is_told(stages: Stages) -> None:
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    earlier, later = stages(name=name), stages(name=f"{name}-b")
    # Retained, the queue would be told of as QueueMismatch later: its dead letters go to the first namespace.
    earlier.apply("b-c", queue={"deletionPolicy": "Delete"})
    earlier.await_condition("b-c", "Ready", "True", "Napping")
    later.apply("c")
    seen = later.await_condition("c", "QueueReady", "False", "NameCollision")
    assert f"{earlier.queue('b-c')} belongs to AsyncActor {name}/b-c" in seen["message"]
    later.await_condition("c", "Stalled", "True", "NameCollision")
    assert later.kube.wanted(later.namespace, "c") == -1, "a workload would take the other actor's messages"

    earlier.kube.delete_actor(name, "b-c")
    later.await_condition("c", "Ready", "True", "Napping")


@pytest.mark.alone
@pytest.mark.behaviour("operator:told-in-the-status")
def test_broker_that_is_away_is_told_and_hurts_no_running_pod(crewed: Stage, cluster_control: Control) -> None:
    crewed.apply("asleep", queue={"deletionPolicy": "DeleteIfEmpty"}, drainTimeout="0s")
    crewed.apply("awake", scaling={"minReplicas": 1})
    crewed.await_condition("asleep", "Ready", "True", "Napping")
    crewed.await_condition("awake", "Ready", "True", "Running")
    before = crewed.await_one_pod("awake")

    cluster_control("stop", "rabbitmq")
    crewed.apply("new")
    seen = crewed.await_condition("new", "QueueReady", "False", "BrokerUnreachable")
    assert "rabbitmq.infra.svc" in seen["message"]
    assert crewed.kube.wanted(crewed.namespace, "new") == -1, "a new workload waits for its queue"
    crewed.await_condition("awake", "QueueReady", "False", "BrokerUnreachable")
    crewed.kube.delete_actor(crewed.namespace, "asleep")
    crewed.await_condition("asleep", "QueueReady", "False", "QueueKept")

    cluster_control("up")
    crewed.await_condition("new", "Ready", "True", "Napping")
    crewed.await_condition("awake", "Ready", "True", "Running")
    eventually("the deleted actor ends", lambda: crewed.kube.actor(crewed.namespace, "asleep") is None)
    eventually("its queue is gone", lambda: crewed.broker.queues(crewed.queue("asleep")) == [])
    (id_,) = crewed.publish("awake", {"text": "a"})
    assert crewed.result(id_)["payload"]["processed"] == "A"
    after = crewed.await_one_pod("awake")  # its sidecar may be on its way back to the broker
    assert (after.metadata.name, after.status.container_statuses[0].restart_count) == (before.metadata.name, 0)


KEDAS = ("scaledobjects", "triggerauthentications")
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.mark.alone
@pytest.mark.behaviour("operator:told-in-the-status")
def test_missing_keda_is_told_and_fixed_pods_run_until_it_is_there(stage: Stage) -> None:
    stage.apply("asleep")
    stage.await_condition("asleep", "Ready", "True", "Napping")
    kept = [stage.kube.get(f"{DEFINITIONS}/{kind}.keda.sh") for kind in KEDAS]
    for kind in KEDAS:
        stage.kube.delete(f"{DEFINITIONS}/{kind}.keda.sh")
    try:
        eventually("the definitions are gone", lambda: all(stage.kube.get(f"{DEFINITIONS}/{kind}.keda.sh") is None for kind in KEDAS))
        seen = stage.await_condition("asleep", "ScalingReady", "False", "KedaMissing")
        assert seen["message"] == "KEDA is not installed: 1 fixed pod"
        stage.await_condition("asleep", "WorkloadReady", "True", "Available")
    finally:
        for definition in kept:
            meta = {key: definition["metadata"][key] for key in ("name", "labels", "annotations") if key in definition["metadata"]}
            body = {key: definition[key] for key in ("apiVersion", "kind", "spec")}
            stage.kube.create(DEFINITIONS, {**body, "metadata": meta})
    # It looks for KEDA every minute, and at its start.
    restart_operator(stage.kube)
    stage.await_condition("asleep", "Ready", "True", "Napping")
