"""The Deployment or StatefulSet of an actor: the user's pod with sidecar, runtime, probes and "restricted" security injected. Pure."""

import copy
import math
from typing import Any, Final

from asya_operator.desired import labels
from asya_operator.desired.runtime import RUNTIME_KEY, start_command, stop_hook
from asya_operator.desired.sidecar import SOCKET_DIR, SOCKET_PATH, sidecar_container, sidecar_volumes
from asya_operator.settings import OperatorSettings, PodPolicy
from asya_operator.spec import ActorSpec
from asya_operator.words import RUNTIME_CONTAINER

__all__ = ["grace_seconds", "workload"]

Json = dict[str, Any]
RUNTIME_DIR: Final = "/opt/asya"
RUNTIME_FILE: Final = f"{RUNTIME_DIR}/{RUNTIME_KEY}"
DRAIN_SECONDS: Final = 30
"""What a pod gets beyond its handler's limit to publish, confirm and say goodbye."""
PROBE_PERIOD_SECONDS: Final = 2


def grace_seconds(spec: ActorSpec) -> int:
    """The pod's grace period: the user's, but at least the handler's limit and 30 s."""
    wanted = int(((spec.template.get("spec") or {}).get("terminationGracePeriodSeconds")) or 0)
    return max(wanted, math.ceil(spec.timeout_seconds) + DRAIN_SECONDS)


def workload(spec: ActorSpec, settings: OperatorSettings, *, uid: str, transport: str, runtime_config_map: str) -> Json:
    """The workload without replicas, which are `plan`'s to decide."""
    body: Json = {
        "selector": {"matchLabels": {labels.ACTOR_LABEL: spec.name}},
        "template": _template(spec, settings, transport, runtime_config_map),
    }
    if spec.revision_history_limit is not None:
        body["revisionHistoryLimit"] = spec.revision_history_limit
    if spec.workload_kind == "StatefulSet":
        # A headless Service is not made: nobody calls an actor by name. The field is required.
        body["serviceName"] = spec.name
        # Messages have no order, and waiting for pod 0 before pod 1 would only slow a wake-up.
        body["podManagementPolicy"] = "Parallel"
        if spec.strategy:
            body["updateStrategy"] = copy.deepcopy(spec.strategy)
        if spec.volume_claim_templates:
            body["volumeClaimTemplates"] = [copy.deepcopy(each) for each in spec.volume_claim_templates]
    elif spec.strategy:
        body["strategy"] = copy.deepcopy(spec.strategy)
    return {"apiVersion": "apps/v1", "kind": spec.workload_kind, "metadata": labels.metadata(spec, uid), "spec": body}


def _template(spec: ActorSpec, settings: OperatorSettings, transport: str, runtime_config_map: str) -> Json:
    user_meta = spec.template.get("metadata") or {}
    pod: Json = copy.deepcopy(spec.template.get("spec") or {})
    containers = pod.get("containers") or []
    policy = settings.pod_policy
    names_tmp = any(mount.get("mountPath", "").rstrip("/") == "/tmp" for mount in _runtime(containers).get("volumeMounts") or [])
    pod["enableServiceLinks"] = pod.get("enableServiceLinks", False)
    pod["automountServiceAccountToken"] = pod.get("automountServiceAccountToken", False)
    pod["terminationGracePeriodSeconds"] = grace_seconds(spec)
    pod["securityContext"] = _pod_security(pod.get("securityContext") or {}, policy, has_root=policy.allow_root and _has_root(pod))
    pod["initContainers"] = [
        *(_secured(each, policy) for each in pod.get("initContainers") or []),
        sidecar_container(spec, settings, transport=transport, grace_seconds=grace_seconds(spec)),
    ]
    pod["containers"] = [
        _runtime_container(each, spec, settings, mounts_tmp=not names_tmp)
        if each.get("name") == RUNTIME_CONTAINER
        else _secured(each, policy)
        for each in containers
    ]
    pod["volumes"] = [
        *(pod.get("volumes") or []),
        {"name": "asya-runtime-file", "configMap": {"name": runtime_config_map, "defaultMode": 0o444}},
        {"name": "asya-socket", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        *([] if names_tmp else [{"name": "asya-tmp", "emptyDir": {"sizeLimit": policy.tmp_size}}]),
        *sidecar_volumes(spec, settings, transport=transport),
    ]
    return {
        "metadata": {
            "labels": labels.pod_labels(spec, user_meta.get("labels") or {}),
            "annotations": {**(user_meta.get("annotations") or {}), "kubectl.kubernetes.io/default-container": RUNTIME_CONTAINER},
        },
        "spec": pod,
    }


def _runtime(containers: list[Json]) -> Json:
    return next(each for each in containers if each.get("name") == RUNTIME_CONTAINER)


def _has_root(pod: Json) -> bool:
    contexts = [
        pod.get("securityContext"),
        *(each.get("securityContext") for key in ("initContainers", "containers") for each in pod.get(key) or []),
    ]
    return any((context or {}).get("runAsUser") == 0 for context in contexts)


def _pod_security(user: Json, policy: PodPolicy, *, has_root: bool) -> Json:
    made: Json = {} if has_root else {"runAsNonRoot": True}
    if policy.run_as_user is not None:
        made["runAsUser"] = policy.run_as_user
    if policy.fs_group is not None:
        made["fsGroup"] = policy.fs_group
    made["seccompProfile"] = {"type": "RuntimeDefault"}
    return {**made, **user}


def _secured(container: Json, policy: PodPolicy) -> Json:
    """The container with what "restricted" asks of each; what the user set and may set is kept."""
    user = container.get("securityContext") or {}
    # Of capabilities "restricted" allows NET_BIND_SERVICE alone to be added; the API server refuses the pod else, in words for the status.
    capabilities = {**(user.get("capabilities") or {}), "drop": ["ALL"]}
    made = {"allowPrivilegeEscalation": False, **({"readOnlyRootFilesystem": True} if policy.read_only_root else {})}
    return {**container, "securityContext": {**made, **user, "capabilities": capabilities}}


def _runtime_container(container: Json, spec: ActorSpec, settings: OperatorSettings, *, mounts_tmp: bool) -> Json:
    env: list[Json] = list(container.get("env") or [])
    names = {each.get("name") for each in env}
    env += [
        {"name": "ASYA_SOCKET", "value": SOCKET_PATH},
        {"name": "ASYA_CONCURRENCY", "value": str(spec.concurrency)},
        {"name": "ASYA_MAX_FRAME_BYTES", "value": str(settings.limits.max_frame_bytes)},
        {"name": "ASYA_MAX_ITEMS", "value": str(settings.limits.max_items)},
    ]
    if spec.source_path:
        env.append({"name": "ASYA_SOURCE_PATH", "value": spec.source_path})
    # A user without an entry in the image's passwd has no home; with a read-only root nothing but /tmp can be written.
    env += [{"name": name, "value": value} for name, value in (("HOME", "/tmp"), ("PYTHONUNBUFFERED", "1")) if name not in names]
    ready, live = _probe(spec, "ready"), _probe(spec, "live")
    probes: Json = {
        "startupProbe": {
            **ready,
            "periodSeconds": PROBE_PERIOD_SECONDS,
            "timeoutSeconds": 5,
            "failureThreshold": max(1, math.ceil(spec.startup_seconds / PROBE_PERIOD_SECONDS)),
        },
        "readinessProbe": {**ready, "periodSeconds": 10, "timeoutSeconds": 5},
        "livenessProbe": {**live, "periodSeconds": 30, "timeoutSeconds": 10, "failureThreshold": 3},
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    mounts = [
        *(container.get("volumeMounts") or []),
        {"name": "asya-runtime-file", "mountPath": RUNTIME_DIR, "readOnly": True},
        {"name": "asya-socket", "mountPath": SOCKET_DIR},
        *([{"name": "asya-tmp", "mountPath": "/tmp"}] if mounts_tmp else []),
    ]
    lifecycle = {**stop_hook(spec.interpreter), **(container.get("lifecycle") or {})}
    container = {**container, **({"lifecycle": lifecycle} if lifecycle else {})}
    made = {**probes, **container, "command": start_command(spec.interpreter, RUNTIME_FILE), "env": env, "volumeMounts": mounts}
    return _secured(made, settings.pod_policy)


def _probe(spec: ActorSpec, kind: str) -> Json:
    return {"exec": {"command": [*spec.interpreter, RUNTIME_FILE, "--probe", kind]}}
