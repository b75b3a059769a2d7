"""Objects of the cluster, cut on arrival to what is read of them. Pure; made by `watch`, held by its caches, read through `gather`.

A Deployment is some 40 kB as Python dictionaries and 2 kB here: its body is kept as compressed JSON, unpacked only to compare. That is
what lets a thousand actors fit in the operator's memory.
"""

import datetime
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asya_operator.desired import labels
from asya_operator.desired.sidecar import sidecar_version
from asya_operator.words import RUNTIME_CONTAINER, SIDECAR_CONTAINER

__all__ = ["Actor", "Child", "ContainerState", "Pod", "Progress", "ScalerState", "cut_actor", "cut_child", "cut_pod", "packed", "unpacked"]

Json = dict[str, Any]


def packed(value: object) -> bytes:
    """JSON, compressed."""
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 1)


def unpacked(body: bytes) -> Json:
    """What `packed` was given."""
    found: Json = json.loads(zlib.decompress(body))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """An AsyncActor. `created` and `deleted` are RFC 3339 text; `body` is its packed spec."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    generation: int
    created: str
    deleted: str | None
    labels: Mapping[str, str]
    abandons_queue: bool
    finalizers: tuple[str, ...]
    transport: str | None
    body: bytes
    status: bytes
    skips_drain: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Of a workload: what its controller has reported. `observed`: generation that it has acted on; `is_observed`: that is the newest."""

    observed: int
    is_observed: bool
    replicas: int
    updated: int
    ready: int
    available: int
    refusal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalerState:
    """Of a ScaledObject: KEDA's condition Ready; None while there is none."""

    ready: bool | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A workload, ScaledObject or TriggerAuthentication.

    Attributes:
        generation: of its spec.
        owner: uid of its controlling owner.
        desired: annotation of the object that we applied last; None if it is not ours.
        user_part: annotation of the user's part in it.
        replicas: of its spec.
        owns_replicas: whether managedFields calls ``spec.replicas`` ours.
        runtime: ConfigMap with the runtime's file that its template mounts.
        sidecar: tag of the sidecar in its template.
        body: packed labels, annotations, owners and spec.
    """

    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str
    owner: str | None
    desired: str | None
    user_part: str | None
    generation: int = 1
    is_deleted: bool = False
    replicas: int | None = None
    owns_replicas: bool = False
    runtime: str | None = None
    sidecar: str | None = None
    progress: Progress | None = None
    scaler: ScalerState | None = None
    body: bytes = b""

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.namespace, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """A container that is not ready: why it waits, how it ended last, how often it was restarted. Times are seconds since 1970."""

    name: str
    waiting: str
    waiting_message: str
    exit_code: int | None
    exit_reason: str
    exit_message: str
    ran_seconds: float
    restarts: int
    has_started: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod of an actor.

    Attributes:
        created: seconds since 1970.
        unschedulable: the scheduler's words, or empty.
        scheduled: when it got its node, in seconds since 1970; None before.
        can_start: the condition PodReadyToStartContainers: volumes are mounted, the network is there.
        troubled: containers that are not ready.
        secrets: Secrets that its volumes need.
        runtime: ConfigMap with the runtime's file that it mounts.
    """

    namespace: str
    name: str
    resource_version: str
    actor: str
    created: float
    is_deleted: bool
    is_ready: bool
    unschedulable: str
    scheduled: float | None
    can_start: bool
    troubled: tuple[ContainerState, ...] = field(default=())
    secrets: tuple[str, ...] = field(default=())
    runtime: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name of the pod."""
        return self.namespace, self.name


def cut_actor(raw: Mapping[str, Any]) -> Actor:
    """An AsyncActor."""
    meta = raw["metadata"]
    status = raw.get("status") or {}
    return Actor(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        generation=int(meta.get("generation", 1)),
        created=meta.get("creationTimestamp", ""),
        deleted=meta.get("deletionTimestamp"),
        labels=meta.get("labels") or {},
        abandons_queue=(meta.get("annotations") or {}).get("asya.sh/abandon-queue") == "true",
        finalizers=tuple(meta.get("finalizers") or ()),
        transport=(raw.get("spec") or {}).get("transport") or (status.get("queue") or {}).get("transport"),
        body=packed(raw.get("spec") or {}),
        status=packed(status),
        skips_drain=(meta.get("annotations") or {}).get("asya.sh/skip-drain") == "true",
    )


def cut_child(raw: Mapping[str, Any], kind: str) -> Child:
    """A child of kind `kind` (items of lists do not name theirs)."""
    meta, spec = raw["metadata"], raw.get("spec") or {}
    annotations = meta.get("annotations") or {}
    owner = next((each["uid"] for each in meta.get("ownerReferences") or [] if each.get("controller")), None)
    is_workload = kind in ("Deployment", "StatefulSet")
    pod = ((spec.get("template") or {}).get("spec") or {}) if is_workload else {}
    sidecar = next((each.get("image") for each in pod.get("initContainers") or [] if each.get("name") == SIDECAR_CONTAINER), None)
    body = {
        "metadata": {"labels": meta.get("labels") or {}, "annotations": annotations, "ownerReferences": meta.get("ownerReferences") or []},
        "spec": spec,
    }
    return Child(
        kind=kind,
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        resource_version=meta["resourceVersion"],
        generation=int(meta.get("generation", 1)),
        owner=owner,
        desired=annotations.get(labels.DESIRED),
        user_part=annotations.get(labels.SPEC),
        is_deleted="deletionTimestamp" in meta,
        replicas=spec.get("replicas") if is_workload else None,
        owns_replicas=is_workload and _owns_replicas(meta.get("managedFields") or []),
        runtime=_runtime(pod),
        sidecar=sidecar_version(sidecar) if sidecar else None,
        progress=_progress(kind, meta, spec, raw.get("status") or {}) if is_workload else None,
        scaler=_scaler(raw.get("status") or {}) if kind == "ScaledObject" else None,
        body=packed(body),
    )


def cut_pod(raw: Mapping[str, Any]) -> Pod:
    """A pod."""
    meta, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or []}
    scheduled = conditions.get("PodScheduled") or {}
    states = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    volumes = spec.get("volumes") or []
    return Pod(
        namespace=meta["namespace"],
        name=meta["name"],
        resource_version=meta["resourceVersion"],
        actor=(meta.get("labels") or {}).get(labels.ACTOR_LABEL, ""),
        created=_time(meta.get("creationTimestamp")) or 0.0,
        is_deleted="deletionTimestamp" in meta,
        is_ready=(conditions.get("Ready") or {}).get("status") == "True",
        unschedulable=str(scheduled.get("message", "")) if scheduled.get("reason") == "Unschedulable" else "",
        scheduled=_time(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else None,
        can_start=(conditions.get("PodReadyToStartContainers") or {"status": "True"}).get("status") == "True",
        troubled=tuple(_container(each) for each in states if not each.get("ready")),
        secrets=tuple(sorted({name for each in volumes if (name := (each.get("secret") or {}).get("secretName"))})),
        runtime=_runtime(spec),
    )


def _runtime(pod: Json) -> str | None:
    for volume in pod.get("volumes") or []:
        if volume.get("name") == "asya-runtime-file":
            return (volume.get("configMap") or {}).get("name")
    return None


def _owns_replicas(entries: list[Json]) -> bool:
    for entry in entries:
        if entry.get("manager") == labels.MANAGER and entry.get("operation") == "Apply" and not entry.get("subresource"):
            return "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    return False


def _progress(kind: str, meta: Json, spec: Json, status: Json) -> Progress:
    failure = next((each for each in status.get("conditions") or [] if each["type"] == "ReplicaFailure" and each["status"] == "True"), None)
    wanted = int(spec.get("replicas", 1))
    updated = int(status.get("updatedReplicas", 0))
    if kind == "StatefulSet" and status.get("currentRevision") == status.get("updateRevision"):
        updated = max(updated, min(wanted, int(status.get("replicas", 0))))
    return Progress(
        observed=int(status.get("observedGeneration", 0)),
        is_observed=int(status.get("observedGeneration", 0)) >= int(meta.get("generation", 1)),
        replicas=int(status.get("replicas", 0)),
        updated=updated,
        ready=int(status.get("readyReplicas", 0)),
        available=int(status.get("availableReplicas", 0)),
        refusal=str(failure.get("message", "")) if failure else "",
    )


def _scaler(status: Json) -> ScalerState:
    ready = next((each for each in status.get("conditions") or [] if each["type"] == "Ready"), None)
    if ready is None or ready.get("status") not in ("True", "False"):
        return ScalerState(ready=None, message="")
    return ScalerState(ready=ready["status"] == "True", message=str(ready.get("message", "")))


def _container(status: Json) -> ContainerState:
    state, last = status.get("state") or {}, status.get("lastState") or {}
    waiting = state.get("waiting") or {}
    ended = state.get("terminated") or last.get("terminated") or {}
    begun, finished = _time(ended.get("startedAt")), _time(ended.get("finishedAt"))
    return ContainerState(
        name=status["name"],
        waiting=str(waiting.get("reason", "")),
        waiting_message=str(waiting.get("message", "")),
        exit_code=ended.get("exitCode"),
        exit_reason=str(ended.get("reason", "")),
        exit_message=_last_line(str(ended.get("message", ""))) if status["name"] == RUNTIME_CONTAINER or ended.get("message") else "",
        ran_seconds=finished - begun if begun is not None and finished is not None else 0.0,
        restarts=int(status.get("restartCount", 0)),
        has_started=bool(status.get("started", False)),
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else ""


def _time(text: str | None) -> float | None:
    return seconds_of(text) if text else None


def seconds_of(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 time."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
