"""KEDA's objects of an actor: ScaledObject and TriggerAuthentication. Pure."""

import copy
import math
from typing import Any, Final

from asya_core.wire.names import queue_name
from asya_operator.desired import labels
from asya_operator.desired.triggers import rabbitmq, sqs
from asya_operator.settings import OperatorSettings
from asya_operator.spec import ActorSpec

__all__ = ["cooldown_seconds", "scaled_object", "trigger_authentication"]

Json = dict[str, Any]
API: Final = "keda.sh/v1alpha1"
BLIND_COOLDOWN_SECONDS: Final = 60
"""Beyond the handler's limit: how long an actor stays awake when KEDA cannot see running messages."""

BEHAVIOR: Final[Json] = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}, {"type": "Pods", "value": 4, "periodSeconds": 15}],
    },
    # A dip must not unload every model.
    "scaleDown": {"stabilizationWindowSeconds": 300, "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}]},
}


def cooldown_seconds(spec: ActorSpec, settings: OperatorSettings, transport: str) -> int:
    """The user's, but where KEDA sees no running messages at least the handler's limit and a minute."""
    if transport == "rabbitmq" and not rabbitmq.counts_running(settings.rabbitmq):
        return max(spec.scaling.cooldown_seconds, math.ceil(spec.timeout_seconds) + BLIND_COOLDOWN_SECONDS)
    return spec.scaling.cooldown_seconds


def trigger_authentication(spec: ActorSpec, settings: OperatorSettings, *, uid: str, transport: str) -> Json:
    """The TriggerAuthentication, named like the actor."""
    body = (
        rabbitmq.trigger_authentication_spec(settings.rabbitmq)
        if transport == "rabbitmq"
        else sqs.trigger_authentication_spec(settings.sqs)
    )
    return {"apiVersion": API, "kind": "TriggerAuthentication", "metadata": labels.metadata(spec, uid), "spec": body}


def scaled_object(spec: ActorSpec, settings: OperatorSettings, *, uid: str, transport: str, queue_url: str = "") -> Json:
    """The ScaledObject, named like the actor.

    Args:
        spec: of the actor.
        settings: of the operator.
        uid: of the AsyncActor.
        transport: where the queue is.
        queue_url: address of the queue, for SQS; sibling queues differ in the last part only.
    """
    scaling = spec.scaling
    advanced: Json = {
        "restoreToOriginalReplicaCount": False,
        "horizontalPodAutoscalerConfig": {"behavior": copy.deepcopy(scaling.behavior or dict(settings.behavior) or BEHAVIOR)},
    }
    if scaling.modifiers:
        advanced["scalingModifiers"] = copy.deepcopy(scaling.modifiers)
    body: Json = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": spec.workload_kind, "name": spec.name},
        "pollingInterval": scaling.polling_seconds,
        "cooldownPeriod": cooldown_seconds(spec, settings, transport),
        "initialCooldownPeriod": scaling.initial_cooldown_seconds,
        "minReplicaCount": scaling.min_replicas,
        "maxReplicaCount": scaling.max_replicas,
        "advanced": advanced,
        "triggers": _triggers(spec, settings, transport, queue_url),
    }
    if scaling.fallback:
        body["fallback"] = copy.deepcopy(scaling.fallback)
    meta = labels.metadata(spec, uid)
    if scaling.paused and scaling.paused_replicas is not None:
        meta["annotations"]["autoscaling.keda.sh/paused-replicas"] = str(scaling.paused_replicas)
    elif scaling.paused:
        meta["annotations"]["autoscaling.keda.sh/paused"] = "true"
    return {"apiVersion": API, "kind": "ScaledObject", "metadata": meta, "spec": body}


def _triggers(spec: ActorSpec, settings: OperatorSettings, transport: str, queue_url: str) -> list[Json]:
    def own(name: str, actor: str, value: int, activation: int) -> Json:
        queue = queue_name(spec.namespace, actor)
        if transport == "rabbitmq":
            kind, meta = "rabbitmq", rabbitmq.trigger_metadata(settings.rabbitmq, queue=queue, value=value, activation=activation)
        else:
            url = f"{queue_url.rpartition('/')[0]}/{queue}" if queue_url else queue
            kind, meta = "aws-sqs-queue", sqs.trigger_metadata(settings.sqs, queue_url=url, value=value, activation=activation)
        return {"type": kind, "name": name, "metricType": "AverageValue", "authenticationRef": {"name": spec.name}, "metadata": meta}

    scaling = spec.scaling
    triggers = [own("queue", spec.name, scaling.queue_length, scaling.activation)]
    for actor, percent in scaling.prewarm:
        triggers.append(own(f"prewarm-{actor}", actor, math.ceil(scaling.queue_length * 100 / percent), scaling.activation))
    return triggers + [copy.deepcopy(each) for each in scaling.extra_triggers]
