"""The definition of AsyncActor on a real API server: each rule with its message, defaults, and the quick start's manifests unchanged.

Everything but the changes of what exists is sent as a dry run, which validates alike and leaves nothing behind.
"""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client.exceptions import ApiException

from tests.e2e.kube import GROUP, VERSION, Kube
from tests.e2e.stage import Stage

PLURAL = "asyncactors"
QUICKSTART = Path(__file__).parents[1] / "contract" / "quickstart"
Json = dict[str, Any]


def manifest(name: str = "defined", **spec: Any) -> Json:
    container = {"name": "asya-runtime", "image": "my-processor:v1", "env": [{"name": "ASYA_HANDLER", "value": "text.process"}]}
    body = {"transport": "sqs", "workload": {"template": {"spec": {"containers": [container]}}}, **spec}
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": "AsyncActor", "metadata": {"name": name}, "spec": body}


def pod(runtime: Json | None = None, others: list[Json] | None = None, **keys: Any) -> Json:
    """Spec keys of an actor with this pod."""
    base = manifest()["spec"]["workload"]["template"]["spec"]["containers"][0]
    return {"workload": {"template": {"spec": {"containers": [{**base, **(runtime or {})}, *(others or [])], **keys}}}}


def create(kube: Kube, namespace: str, body: Json, *, dry: bool = True) -> Json:
    options = {"dry_run": "All"} if dry else {}
    made: Json = kube.custom.create_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, body, **options)
    return made


def refusal(error: ApiException) -> str:
    assert error.status == 422, error.body
    return str(json.loads(error.body or "{}")["message"])


NOT_OURS = "belong to the operator"
REFUSED: dict[str, tuple[Json, str]] = {
    "long name": (manifest("a" * 54), "at most 53 characters"),
    "name with a digit first": (manifest("1a"), "first a letter"),
    "name with a dot": (manifest("a.b"), "at most 53 characters"),
    "name mode": (manifest("mode"), "ASYA_HANDLER_MODE"),
    "long name of a StatefulSet": (
        manifest("a" * 53, workload={**manifest()["spec"]["workload"], "kind": "StatefulSet"}),
        "at most 52 characters for a StatefulSet",
    ),
    "timeout of nothing": (manifest(timeout="0s"), "timeout: from 1s to 24h"),
    "timeout over a day": (manifest(transport="rabbitmq", timeout="25h"), "timeout: from 1s to 24h"),
    "timeout in days": (manifest(timeout="1d"), "spec.timeout"),
    "timeout over 11 hours on sqs": (manifest(timeout="12h"), "at most 11h"),
    "min above max": (manifest(scaling={"minReplicas": 5, "maxReplicas": 2}), "minReplicas must not be above maxReplicas"),
    "no pods at most": (manifest(scaling={"maxReplicas": 0}), "maxReplicas"),
    "replicas beside KEDA": (
        manifest(workload={**manifest()["spec"]["workload"], "replicas": 2}),
        "workload.replicas needs scaling.enabled: false",
    ),
    "pause without scaling": (manifest(scaling={"enabled": False, "paused": True}), "paused needs enabled"),
    "claims of a Deployment": (
        manifest(workload={**manifest()["spec"]["workload"], "volumeClaimTemplates": [{"metadata": {"name": "d"}}]}),
        "needs workload.kind: StatefulSet",
    ),
    "own claim name": (
        manifest(
            workload={**manifest()["spec"]["workload"], "kind": "StatefulSet", "volumeClaimTemplates": [{"metadata": {"name": "asya-d"}}]}
        ),
        "volume names asya-*",
    ),
    "trigger called queue": (manifest(scaling={"extraTriggers": [{"name": "queue", "type": "cron"}]}), "queue and prewarm-*"),
    "trigger called prewarm-x": (manifest(scaling={"extraTriggers": [{"name": "prewarm-x", "type": "cron"}]}), "queue and prewarm-*"),
    "no asya-runtime": (manifest(**pod({"name": "main"})), "exactly one must be called asya-runtime"),
    "a sidecar of the user's": (manifest(**pod(others=[{"name": "asya-sidecar"}])), NOT_OURS),
    "a sidecar as init container": (manifest(**pod(initContainers=[{"name": "asya-sidecar"}])), NOT_OURS),
    "own volume name": (manifest(**pod(volumes=[{"name": "asya-x", "emptyDir": {}}])), "names asya-*"),
    "command": (manifest(**pod({"command": ["sh"]})), "choose spec.runtime.interpreter"),
    "arguments": (manifest(**pod({"args": ["x"]})), "choose spec.runtime.interpreter"),
    "own variable": (manifest(**pod({"env": [{"name": "ASYA_SOCKET", "value": "x"}]})), "asya-runtime: env ASYA_*"),
    "host network": (manifest(**pod(hostNetwork=True)), "hostNetwork is not allowed"),
    "host processes": (manifest(**pod(hostPID=True)), "hostPID is not allowed"),
    "host memory": (manifest(**pod(hostIPC=True)), "hostIPC is not allowed"),
    "host folder": (manifest(**pod(volumes=[{"name": "x", "hostPath": {"path": "/"}}])), "hostPath is not allowed"),
    "privileged": (manifest(**pod({"securityContext": {"privileged": True}})), "privileged is not allowed"),
    "privileged helper": (manifest(**pod(others=[{"name": "h", "securityContext": {"privileged": True}}])), "privileged is not allowed"),
    "escalation": (
        manifest(**pod(initContainers=[{"name": "i", "securityContext": {"allowPrivilegeEscalation": True}}])),
        "allowPrivilegeEscalation is not allowed",
    ),
    "restart policy": (manifest(**pod(restartPolicy="Never")), "restartPolicy must be Always"),
    "shared processes": (manifest(**pod(shareProcessNamespace=True)), "shareProcessNamespace is not allowed"),
    "prefetch of a word": (manifest(sidecar={"prefetch": "many"}), "prefetch: auto or"),
    "prefetch of nothing": (manifest(sidecar={"prefetch": 0}), "prefetch: auto or"),
    "transport": (manifest(transport="kafka"), "spec.transport"),
    "concurrency": (manifest(concurrency=65), "spec.concurrency"),
    "attempts": (manifest(retry={"maxAttempts": 0}), "spec.retry.maxAttempts"),
    "no containers": (manifest(workload={"template": {"spec": {"containers": []}}}), "containers"),
}


@pytest.mark.point(58)
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_refused_in_a_sentence(kube: Kube, operator: str, case: str) -> None:
    body, sentence = REFUSED[case]
    with pytest.raises(ApiException) as caught:
        create(kube, operator, body)
    assert sentence in refusal(caught.value)


ACCEPTED: dict[str, Json] = {
    "longest name": manifest("a" * 53),
    "shortest name": manifest("a"),
    "longest timeout": manifest(transport="rabbitmq", timeout="24h"),
    "shortest timeout": manifest(timeout="1s"),
    "own mapping variables": manifest(
        **pod(
            {
                "env": [
                    {"name": "ASYA_HANDLER_X", "value": "x"},
                    {"name": "ASYA_FLOW_ACTOR", "value": "x"},
                    {"name": "ASYA_CREW_X", "value": "x"},
                ]
            }
        )
    ),
    "fixed pods": manifest(scaling={"enabled": False}, workload={**manifest()["spec"]["workload"], "replicas": 0}),
    "stateful with claim": manifest(
        workload={
            **manifest()["spec"]["workload"],
            "kind": "StatefulSet",
            "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {}}],
        }
    ),
    "every part of scaling": manifest(
        scaling={
            "paused": True,
            "pausedReplicas": 0,
            "behavior": {"scaleUp": {"policies": []}},
            "fallback": {"failureThreshold": 3, "replicas": 2},
            "modifiers": {"formula": "x"},
            "prewarm": [{"actor": "first", "percent": 50}],
            "extraTriggers": [{"name": "nightly", "type": "cron", "metadata": {"start": "0 6 * * *"}}],
        }
    ),
    "unknown parts of the pod": manifest(
        **pod(
            {"resources": {"limits": {"nvidia.com/gpu": 1}}, "livenessProbe": {"httpGet": {"port": 1}}},
            tolerations=[{"key": "gpu", "operator": "Exists"}],
            runtimeClassName="nvidia",
            dnsConfig={"options": [{"name": "ndots", "value": "1"}]},
        )
    ),
    "prefetch": manifest(sidecar={"prefetch": 10, "env": [{"name": "ASYA_LOG_DELIVERIES", "value": "all"}]}),
    "prefetch auto": manifest(sidecar={"prefetch": "auto"}),
    "500 variables": manifest(**pod({"env": [{"name": f"V{number}", "value": "x" * 100} for number in range(500)]})),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_is_allowed_is_kept_as_written(kube: Kube, operator: str, case: str) -> None:
    wanted = ACCEPTED[case]["spec"]
    found = create(kube, operator, copy.deepcopy(ACCEPTED[case]))["spec"]
    assert found["workload"]["template"] == wanted["workload"]["template"]
    for key, value in wanted.get("scaling", {}).items():
        assert found["scaling"][key] == value


@pytest.mark.parametrize("file", sorted(QUICKSTART.glob("*.yaml")), ids=lambda file: file.stem)
def test_manifests_of_the_quick_start_are_taken_unchanged(kube: Kube, operator: str, file: Path) -> None:
    for body in yaml.safe_load_all(file.read_text()):
        found = create(kube, operator, body)
        assert found["spec"]["workload"]["template"] == body["spec"]["workload"]["template"]


def test_defaults_are_filled_in(kube: Kube, operator: str) -> None:
    found = create(kube, operator, manifest(retry={}, runtime={}, queue={}))["spec"]
    assert (found["timeout"], found["concurrency"], found["workload"]["kind"]) == ("5m", 1, "Deployment")
    assert found["scaling"] == {
        "enabled": True,
        "minReplicas": 0,
        "maxReplicas": 10,
        "queueLength": 5,
        "activationQueueLength": 0,
        "pollingInterval": 15,
        "cooldownPeriod": 300,
        "initialCooldownPeriod": 0,
        "paused": False,
    }
    assert found["retry"] == {"maxAttempts": 1}
    assert found["runtime"] == {"interpreter": ["python3"], "startupTimeout": "10m"}
    assert found["queue"] == {"deletionPolicy": "Retain"}


CHANGES: dict[str, tuple[Json, Json, str]] = {
    "transport changed": (manifest(), {"transport": "rabbitmq"}, "transport cannot be changed"),
    "transport removed": (manifest(), {"transport": None}, "transport cannot be changed"),
    "queue type changed": (manifest(queue={"type": "quorum"}), {"queue": {"type": "classic"}}, "queue.type cannot be changed"),
    "queue type removed": (manifest(queue={"type": "quorum"}), {"queue": {"type": None}}, "queue.type cannot be changed"),
    "kind changed": (manifest(), {"workload": {"kind": "StatefulSet"}}, "workload.kind cannot be changed"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_cannot_be_changed_says_what_to_do(kube: Kube, stage: Stage, case: str) -> None:
    body, patch, sentence = CHANGES[case]
    create(kube, stage.namespace, body, dry=False)
    with pytest.raises(ApiException) as caught:
        kube.custom.patch_namespaced_custom_object(GROUP, VERSION, stage.namespace, PLURAL, "defined", {"spec": patch})
    assert sentence in refusal(caught.value)
    assert "empty the queue, delete the actor, create it again" in refusal(caught.value)
