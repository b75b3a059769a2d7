"""What is kept of objects of the cluster, as kubelet, controllers and KEDA write them."""

from typing import Any

import pytest

from asya_operator.observed import ContainerState, cut_actor, cut_child, cut_pod, unpacked

Json = dict[str, Any]
META = {"name": "ocr-1", "namespace": "demo", "uid": "u", "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z"}


def status(name: str, **more: Any) -> Json:
    return {"name": name, "ready": False, "restartCount": 2, "started": False, "state": {}, "lastState": {}, **more}


def pod(**more: Any) -> Json:
    meta = META | {"labels": {"asya.sh/actor": "ocr"}}
    volumes = [
        {"name": "asya-broker", "secret": {"secretName": "asya-rabbitmq"}},
        {"name": "asya-runtime-file", "configMap": {"name": "r1"}},
    ]
    return {"metadata": meta, "spec": {"volumes": volumes}, "status": more}


def test_ended_container_is_kept_with_its_last_line_and_time():
    ended = {
        "exitCode": 78,
        "reason": "Error",
        "message": "Traceback\n  x\nASYA_HANDLER 'a.b': no\n\n",
        "startedAt": "2026-01-01T00:00:00Z",
        "finishedAt": "2026-01-01T00:01:30Z",
    }
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 10s"}
    states = [status("asya-runtime", state={"waiting": waiting}, lastState={"terminated": ended}), {"name": "helper", "ready": True}]
    found = cut_pod(pod(containerStatuses=states))
    assert found.troubled == (
        ContainerState(
            name="asya-runtime",
            waiting="CrashLoopBackOff",
            waiting_message="back-off 10s",
            exit_code=78,
            exit_reason="Error",
            exit_message="ASYA_HANDLER 'a.b': no",
            ran_seconds=90.0,
            restarts=2,
            has_started=False,
        ),
    )
    assert (found.actor, found.secrets, found.runtime) == ("ocr", ("asya-rabbitmq",), "r1")


def test_conditions_of_a_pod_are_kept():
    conditions = [
        {"type": "Ready", "status": "True"},
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:05Z"},
        {"type": "PodReadyToStartContainers", "status": "False"},
    ]
    found = cut_pod(pod(conditions=conditions))
    assert (found.is_ready, found.can_start, found.unschedulable) == (True, False, "")
    assert found.scheduled == found.created + 5
    assert cut_pod(pod()).can_start
    refused = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}]
    assert cut_pod(pod(conditions=refused)).unschedulable == "0/1 nodes"


@pytest.mark.parametrize(
    ("entries", "ours"),
    [
        ([{"manager": "keda", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}}], False),
        ([{"manager": "asya-operator", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}], True),
        ([{"manager": "asya-operator", "operation": "Apply", "fieldsV1": {"f:spec": {}}}], False),
        ([{"manager": "asya-operator", "operation": "Apply", "subresource": "status", "fieldsV1": {"f:spec": {"f:replicas": {}}}}], False),
        ([], False),
    ],
)
def test_replicas_are_ours_by_managed_fields(entries, ours):
    found = cut_child({"metadata": META | {"managedFields": entries}, "spec": {"replicas": 2}}, "Deployment")
    assert found.owns_replicas is ours
    assert found.replicas == 2


def test_stateful_set_that_never_changed_counts_all_pods_as_updated():
    body = {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 0, "currentRevision": "a", "updateRevision": "a"}
    found = cut_child({"metadata": META, "spec": {"replicas": 3}, "status": body}, "StatefulSet")
    assert found.progress is not None
    assert found.progress.updated == 3
    rolling = cut_child({"metadata": META, "spec": {"replicas": 3}, "status": body | {"updateRevision": "b"}}, "StatefulSet")
    assert rolling.progress is not None
    assert rolling.progress.updated == 0


def test_refused_replicas_are_the_deployments_own_words():
    conditions = [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]
    found = cut_child({"metadata": META, "spec": {}, "status": {"conditions": conditions}}, "Deployment")
    assert found.progress is not None
    assert found.progress.refusal == "exceeded quota"


@pytest.mark.parametrize(("value", "ready"), [("True", True), ("False", False), ("Unknown", None)])
def test_scalers_state_is_kedas_condition(value, ready):
    body = {"conditions": [{"type": "Active", "status": "True"}, {"type": "Ready", "status": value, "message": "m"}]}
    found = cut_child({"metadata": META, "spec": {}, "status": body}, "ScaledObject")
    assert found.scaler is not None
    assert found.scaler.ready is ready
    assert cut_child({"metadata": META, "spec": {}}, "TriggerAuthentication").scaler is None


def test_actor_keeps_its_spec_packed_and_the_transport_it_once_had():
    raw = {"metadata": META, "spec": {"timeout": "5m"}, "status": {"queue": {"transport": "rabbitmq"}}}
    found = cut_actor(raw)
    assert unpacked(found.body) == {"timeout": "5m"}
    assert found.transport == "rabbitmq"
    assert cut_actor(raw | {"spec": {"transport": "sqs"}}).transport == "sqs"
    assert not found.abandons_queue
    annotated = raw | {"metadata": META | {"annotations": {"asya.sh/abandon-queue": "true"}}}
    assert cut_actor(annotated).abandons_queue


def test_everything_is_known_by_namespace_and_name():
    key = ("demo", "ocr-1")
    assert cut_pod(pod()).key == key
    assert cut_actor({"metadata": META}).key == key
    assert cut_child({"metadata": META, "spec": {}}, "ScaledObject").key == key
