"""`ActorSpec` from a custom resource: defaults filled in, what the API server's rules cannot check refused with the field's path. Pure.

Called by `reconcile`; `desired` takes its result. The defaults are the definition's (`crd`), so that an object that was stored before a
field existed means the same. Knows no cluster, no broker.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from asya_core.ops.settings import parse_duration
from asya_core.wire.names import check_actor
from asya_operator.settings import OperatorSettings
from asya_operator.words import OWN_ENV_PREFIXES, RUNTIME_CONTAINER, SIDECAR_CONTAINER

__all__ = ["ActorSpec", "InvalidSpec", "RefusedTemplate", "ScalingSpec", "read_spec", "refuse_template"]

Json = dict[str, Any]
_HANDLER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+")
ACTOR_LABEL: Final = "asya.sh/actor"
SIDECAR_OWN_ENV: Final = frozenset(
    {
        "ASYA_ACTOR",
        "ASYA_NAMESPACE",
        "ASYA_TRANSPORT",
        "ASYA_TIMEOUT",
        "ASYA_GRACE",
        "ASYA_RETRY",
        "ASYA_PREFETCH",
        "ASYA_SOCKET",
        "ASYA_MAX_FRAME_BYTES",
        "ASYA_LOG_LEVEL",
        "ASYA_HEALTH_LISTEN",
    }
)
"""Variables that the operator always sets. Broker address and credentials are not among them: `spec.sidecar.env` may override those."""


class InvalidSpec(Exception):
    """The resource cannot be acted on. Its text is the sentence for the status: path, problem, remedy."""


class RefusedTemplate(Exception):
    """The pod template breaks a rule of `podPolicy`. Its text is the sentence for the status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingSpec:
    """`spec.scaling` with defaults; seconds and messages."""

    enabled: bool
    min_replicas: int
    max_replicas: int
    queue_length: int
    activation: int
    polling_seconds: int
    cooldown_seconds: int
    initial_cooldown_seconds: int
    paused: bool
    paused_replicas: int | None
    behavior: Json
    fallback: Json
    modifiers: Json
    prewarm: tuple[tuple[str, int], ...]
    extra_triggers: tuple[Json, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorSpec:
    """What a resource asks for.

    Attributes:
        labels: all of the AsyncActor's that are copied to children and pods.
        gateway: False where label ``asya.sh/gateway: none`` leaves the gateway out.
        transport: None if the resource names none.
        timeout: as written, such as ``5m``; `timeout_seconds` is its value.
        retry: the object for the sidecar's ASYA_RETRY, whole.
        queue_type: None for the operator's.
        template: the user's pod template, as written.
    """

    namespace: str
    name: str
    labels: Mapping[str, str]
    gateway: bool
    transport: str | None
    timeout: str
    timeout_seconds: float
    concurrency: int
    retry: Json
    scaling: ScalingSpec
    queue_type: str | None
    deletion_policy: str
    interpreter: tuple[str, ...]
    startup_seconds: float
    source_path: str | None
    sidecar_image: str | None
    sidecar_pull_policy: str | None
    sidecar_resources: Json | None
    sidecar_log_level: str | None
    prefetch: str
    sidecar_env: tuple[Json, ...]
    workload_kind: str
    replicas: int
    strategy: Json
    revision_history_limit: int | None
    volume_claim_templates: tuple[Json, ...]
    template: Json


def read_spec(namespace: str, name: str, labels: Mapping[str, str], spec: Mapping[str, Any]) -> ActorSpec:
    """The resource's spec with defaults. Raises `InvalidSpec`."""
    check_actor(name)
    if ACTOR_LABEL in labels and labels[ACTOR_LABEL] != name:
        raise InvalidSpec(f"metadata.labels[{ACTOR_LABEL}] belongs to the operator; remove it")
    workload = _mapping(spec, "workload")
    template = _mapping(workload, "template")
    if ACTOR_LABEL in _mapping(_mapping(template, "metadata"), "labels"):
        raise InvalidSpec(f"spec.workload.template.metadata.labels[{ACTOR_LABEL}] belongs to the operator; remove it")
    _check_containers(_mapping(template, "spec"))
    runtime, sidecar, queue = _mapping(spec, "runtime"), _mapping(spec, "sidecar"), _mapping(spec, "queue")
    scaling = _read_scaling(_mapping(spec, "scaling"))
    timeout = str(spec.get("timeout", "5m"))
    return ActorSpec(
        namespace=namespace,
        name=name,
        labels={key: value for key, value in labels.items() if _is_copied(key)},
        gateway=labels.get("asya.sh/gateway") != "none",
        transport=spec.get("transport"),
        timeout=timeout,
        timeout_seconds=_seconds(timeout, "spec.timeout"),
        concurrency=int(spec.get("concurrency", 1)),
        retry=_read_retry(_mapping(spec, "retry")),
        scaling=scaling,
        queue_type=queue.get("type"),
        deletion_policy=str(queue.get("deletionPolicy", "Retain")),
        interpreter=tuple(runtime.get("interpreter") or ["python3"]),
        startup_seconds=_seconds(str(runtime.get("startupTimeout", "10m")), "spec.runtime.startupTimeout"),
        source_path=runtime.get("sourcePath"),
        sidecar_image=sidecar.get("image") or None,
        sidecar_pull_policy=sidecar.get("imagePullPolicy"),
        sidecar_resources=sidecar.get("resources") or None,
        sidecar_log_level=sidecar.get("logLevel"),
        prefetch=str(sidecar.get("prefetch") or "auto"),
        sidecar_env=_read_sidecar_env(sidecar.get("env") or []),
        workload_kind=str(workload.get("kind", "Deployment")),
        replicas=int(workload.get("replicas", 1)),
        strategy=_mapping(workload, "strategy"),
        revision_history_limit=workload.get("revisionHistoryLimit"),
        volume_claim_templates=tuple(workload.get("volumeClaimTemplates") or ()),
        template=template,
    )


def refuse_template(spec: ActorSpec, settings: OperatorSettings) -> None:
    """Raises `RefusedTemplate` for a user or account that `podPolicy` does not allow."""
    policy, pod = settings.pod_policy, _mapping(spec.template, "spec")
    account = pod.get("serviceAccountName")
    if policy.service_accounts and (account or "default") not in policy.service_accounts:
        allowed = ", ".join(sorted(policy.service_accounts))
        raise RefusedTemplate(
            f"spec.workload.template.spec.serviceAccountName {account or 'default'} is not among podPolicy.serviceAccounts; "
            f"choose one of {allowed}"
        )
    if policy.allow_root:
        return
    places = [("spec.workload.template.spec", _mapping(pod, "securityContext"))]
    for group in ("initContainers", "containers"):
        for index, container in enumerate(pod.get(group) or []):
            places.append((f"spec.workload.template.spec.{group}[{index}]", _mapping(container, "securityContext")))
    for path, context in places:
        if context.get("runAsUser") == 0:
            raise RefusedTemplate(
                f"{path}.securityContext.runAsUser 0 is root; choose another user, or set podPolicy.allowRoot of the operator's chart"
            )
        if context.get("runAsNonRoot") is False:
            raise RefusedTemplate(
                f"{path}.securityContext.runAsNonRoot must not be false; remove it, or set podPolicy.allowRoot of the operator's chart"
            )


def _is_copied(label: str) -> bool:
    # Tracking labels would make Argo CD or Helm take the children for objects of their own.
    return not label.startswith(("argocd.argoproj.io/", "app.kubernetes.io/managed-by", "app.kubernetes.io/instance", "helm.sh/"))


def _mapping(parent: Mapping[str, Any], key: str) -> Json:
    value = parent.get(key)
    return dict(value) if isinstance(value, Mapping) else {}


def _seconds(text: str, path: str) -> float:
    try:
        return parse_duration(text)
    except ValueError:
        raise InvalidSpec(f"{path} {text[:40]!r} is no duration; write 30s, 5m or 1h") from None


def _check_containers(pod: Json) -> None:
    base = "spec.workload.template.spec"
    containers = pod.get("containers") or []
    runtimes = [index for index, each in enumerate(containers) if each.get("name") == RUNTIME_CONTAINER]
    if len(runtimes) != 1:
        raise InvalidSpec(
            f"{base}.containers has {len(runtimes)} containers {RUNTIME_CONTAINER}; expected exactly one, it runs the handler"
        )
    if any(each.get("name") == SIDECAR_CONTAINER for each in (*containers, *(pod.get("initContainers") or []))):
        raise InvalidSpec(f"{base} has a container {SIDECAR_CONTAINER}, which belongs to the operator; rename it")
    for index, volume in enumerate(pod.get("volumes") or []):
        if str(volume.get("name", "")).startswith("asya-"):
            raise InvalidSpec(f"{base}.volumes[{index}].name {volume['name']} belongs to the operator; choose a name without asya-")
    at = runtimes[0]
    for key in ("command", "args"):
        if containers[at].get(key):
            raise InvalidSpec(f"{base}.containers[{at}].{key} belongs to the operator; choose spec.runtime.interpreter")
    for index, each in enumerate(containers[at].get("env") or []):
        name = str(each.get("name", ""))
        path = f"{base}.containers[{at}].env[{index}]"
        if name.startswith("ASYA_") and not name.startswith(OWN_ENV_PREFIXES):
            raise InvalidSpec(f"{path}.name {name} belongs to the operator; remove it")
        if name == "ASYA_HANDLER" and "value" in each and _HANDLER.fullmatch(str(each["value"])) is None and "$(" not in str(each["value"]):
            raise InvalidSpec(f"{path}.value {str(each['value'])[:80]!r} is no handler; write module.function or module.Class.method")


def _read_sidecar_env(env: list[Json]) -> tuple[Json, ...]:
    for index, each in enumerate(env):
        if each.get("name") in SIDECAR_OWN_ENV:
            raise InvalidSpec(f"spec.sidecar.env[{index}].name {each['name']} belongs to the operator; remove it")
    return tuple(env)


def _read_retry(retry: Json) -> Json:
    backoff = _mapping(retry, "backoff")
    return {
        "maxAttempts": int(retry.get("maxAttempts", 1)),
        "backoff": {"initial": backoff.get("initial", "1s"), "factor": backoff.get("factor", 2), "max": backoff.get("max", "5m")},
        "include": list(retry.get("include") or []),
        "exclude": list(retry.get("exclude") or []),
    }


def _read_scaling(scaling: Json) -> ScalingSpec:
    result = ScalingSpec(
        enabled=bool(scaling.get("enabled", True)),
        min_replicas=int(scaling.get("minReplicas", 0)),
        max_replicas=int(scaling.get("maxReplicas", 10)),
        queue_length=int(scaling.get("queueLength", 5)),
        activation=int(scaling.get("activationQueueLength", 0)),
        polling_seconds=int(scaling.get("pollingInterval", 15)),
        cooldown_seconds=int(scaling.get("cooldownPeriod", 300)),
        initial_cooldown_seconds=int(scaling.get("initialCooldownPeriod", 0)),
        paused=bool(scaling.get("paused", False)),
        paused_replicas=scaling.get("pausedReplicas"),
        behavior=_mapping(scaling, "behavior"),
        fallback=_mapping(scaling, "fallback"),
        modifiers=_mapping(scaling, "modifiers"),
        prewarm=tuple((str(each["actor"]), int(each.get("percent", 100))) for each in scaling.get("prewarm") or ()),
        extra_triggers=tuple(scaling.get("extraTriggers") or ()),
    )
    if result.min_replicas > result.max_replicas:
        raise InvalidSpec(f"spec.scaling.minReplicas {result.min_replicas} is above maxReplicas {result.max_replicas}; lower it")
    return result
