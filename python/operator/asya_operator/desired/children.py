"""All children of an actor, together. Pure; called by `reconcile`."""

from dataclasses import dataclass
from typing import Any

from asya_operator.desired import labels, scaling, workload
from asya_operator.settings import OperatorSettings
from asya_operator.spec import ActorSpec

__all__ = ["Desired", "desired_children"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """What should exist.

    Attributes:
        runtime: name of the namespace's ConfigMap with the runtime's file.
        workload: Deployment or StatefulSet, without replicas.
        replicas: how many pods, if the operator says so at all times; None while KEDA scales.
        first_replicas: how many at creation.
        scaled: ScaledObject and TriggerAuthentication in the order of their application; empty without KEDA.
    """

    runtime: str
    workload: Json
    replicas: int | None
    first_replicas: int
    scaled: tuple[Json, ...]


def desired_children(
    spec: ActorSpec, settings: OperatorSettings, *, uid: str, transport: str, runtime: str, has_keda: bool, queue_url: str = ""
) -> Desired:
    """What should exist for `spec`.

    Args:
        spec: of the actor.
        settings: of the operator.
        uid: of the AsyncActor, for owner references.
        transport: the resolved one.
        runtime: name of the ConfigMap with the runtime's file.
        has_keda: whether the cluster has KEDA's definitions.
        queue_url: address of the queue, for SQS.
    """
    made = workload.workload(spec, settings, uid=uid, transport=transport, runtime_config_map=runtime)
    made["metadata"]["annotations"][labels.SPEC] = user_part(spec)
    scales = spec.scaling.enabled and settings.keda != "disabled"
    if not scales:
        fixed: int | None = spec.replicas if not spec.scaling.enabled else max(1, spec.scaling.min_replicas)
    else:
        fixed = None if has_keda else max(1, spec.scaling.min_replicas)
    children: tuple[Json, ...] = ()
    if scales and has_keda:
        children = (
            scaling.trigger_authentication(spec, settings, uid=uid, transport=transport),
            scaling.scaled_object(spec, settings, uid=uid, transport=transport, queue_url=queue_url),
        )
    return Desired(
        runtime=runtime,
        workload=sealed(made),
        replicas=fixed,
        first_replicas=spec.scaling.min_replicas if fixed is None else fixed,
        scaled=tuple(sealed(each) for each in children),
    )


def sealed(manifest: Json) -> Json:
    """The manifest with the annotation that holds its hash."""
    meta = manifest["metadata"]
    annotations = {**meta["annotations"], labels.DESIRED: labels.digest(manifest)}
    return {**manifest, "metadata": {**meta, "annotations": annotations}}


def user_part(spec: ActorSpec) -> str:
    """Hash of what the user wrote that ends in the workload; the operator's settings are not in it."""
    return labels.digest(
        [
            dict(spec.labels),
            spec.gateway,
            spec.transport,
            spec.timeout,
            spec.concurrency,
            spec.retry,
            spec.queue_type,
            spec.interpreter,
            spec.startup_seconds,
            spec.source_path,
            spec.sidecar_image,
            spec.sidecar_pull_policy,
            spec.sidecar_resources,
            spec.sidecar_log_level,
            spec.prefetch,
            spec.sidecar_env,
            spec.workload_kind,
            spec.strategy,
            spec.revision_history_limit,
            spec.volume_claim_templates,
            spec.template,
        ]
    )
